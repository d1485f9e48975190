"""Face recognisers: what enters and leaves them, networks of the user's, and the registered ones on real heads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from helpers.reidentrisk.pictures import demo_face, other_face
from RefaceLib.common.errors import InputError, RefaceError
from ReidentRiskLib.attack.align import SIZE, crop
from ReidentRiskLib.attack.embedder import BATCH, Embedder, load_embedder
from ReidentRiskLib.attack.models import is_accepted
from ReidentRiskLib.attack.sessions import _with_fast_prelu, load_runtime, open_session

SWAPPED = [1, 0, 2, 4, 3]
# Those that need no consent, and ArcFace where its licence was accepted on this computer.
NETWORKS = ["sface"] + ["arcface"] * is_accepted("arcface")
# First numbers for `gradient`; SFace's are those of OpenCV's own recogniser (FaceRecognizerSF, OpenCV 4.12).
KNOWN = {
    "sface": [0.05335062, 0.15763976, -0.06895623, 0.04421319, 0.05461415],
    "arcface": [-0.02297377, 0.03079147, -0.0505225, 0.02346876, -0.00813834],
}


def gradient() -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([2 * x, 2 * y, 255 - x - y], axis=2).clip(0, 255).astype(np.uint8)


def write_mean_network(path: Path, batch: int | str = "N", size: int = SIZE, inputs: int = 1) -> Path:
    """A network whose embedding is the mean of each channel; with several inputs, of their sum."""
    names = [f"in{i}" for i in range(inputs)]
    shape = [batch, 3, size, size]
    nodes = [
        helper.make_node("Sum", names, ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(params=NETWORKS)
def network(request) -> Embedder:
    return load_embedder(request.param)


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (BATCH + 3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch", ["N", 1], ids=["any number", "one at a time"])
def test_a_network_of_the_users(tmp_path, faces, batch):
    embedder = load_embedder(write_mean_network(tmp_path / "mine.onnx", batch))
    assert (embedder.name, embedder.size, len(embedder.sha256)) == ("mine", 3, 64)
    found = embedder.embed(faces)
    expected = (faces.reshape(len(faces), -1, 3).mean(axis=1) - 127.5) / 127.5  # RGB
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-3)


def test_no_faces_give_no_embeddings(tmp_path):
    embedder = load_embedder(write_mean_network(tmp_path / "mine.onnx"))
    assert embedder.embed(np.zeros((0, SIZE, SIZE, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "faces",
    [np.zeros((2, 3, SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((1, SIZE, SIZE, 3))],
    ids=["channels first", "one", "float"],
)
def test_what_are_no_faces_is_refused(tmp_path, faces):
    with pytest.raises(InputError, match="uint8"):
        load_embedder(write_mean_network(tmp_path / "mine.onnx")).embed(faces)


def test_files_that_are_no_recogniser_are_told(tmp_path):
    (tmp_path / "text.onnx").write_text("not a network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    write_mean_network(tmp_path / "large.onnx", size=160)
    write_mean_network(tmp_path / "two.onnx", inputs=2)
    whole = write_mean_network(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "empty", "large", "two", "half"):
        with pytest.raises(InputError, match="cannot be used") as caught:
            load_embedder(tmp_path / f"{name}.onnx")
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_names_that_are_no_recogniser_are_told(tmp_path):
    with pytest.raises(InputError, match="'arcface' or 'sface', or an ONNX file"):
        load_embedder("facenet")
    with pytest.raises(InputError, match="cannot compare"):
        load_embedder("yunet")


def test_arcface_asks_for_consent(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(tmp_path))
    monkeypatch.delenv("REIDENT_RISK_ACCEPT_LICENCE", raising=False)
    with pytest.raises(InputError, match="--accept-licence"):
        load_embedder("arcface")


def test_devices(tmp_path):
    path = write_mean_network(tmp_path / "mine.onnx")
    with pytest.raises(InputError, match="unknown"):
        load_embedder(path, "quantum")
    for device in ("auto", "cpu", "mps"):
        assert load_embedder(path, device).size == 3


def test_a_missing_cuda_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(load_runtime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="onnxruntime-gpu"):
        load_embedder(write_mean_network(tmp_path / "mine.onnx"), "cuda")


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    path = write_mean_network(tmp_path / "mine.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RefaceError, match="pip install"):
        load_embedder(path)


def test_the_network_is_fed_as_it_was_trained(network):
    """Order of the colours, their range, and the repairs of the file, by numbers that are known."""
    found = network.embed(gradient()[None])[0]
    assert len(found) == network.size == network.model.embedding
    assert found[:5] == pytest.approx(KNOWN[network.name], abs=2e-4)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert found @ network.embed(gradient()[None, ..., ::-1])[0] < 0.9  # the order of colours matters to it


def test_a_face_does_not_depend_on_its_company(network, faces):
    together = network.embed(faces[:5])
    assert np.allclose(together, np.vstack([network.embed(faces[i : i + 1]) for i in range(5)]), atol=1e-5)
    assert np.array_equal(together, network.embed(faces[:5]))


def test_a_head_is_like_itself_from_another_side(network):
    pictures, points = demo_face()
    front, yaw, other_yaw = network.embed(
        np.stack([crop(picture, five) for picture, five in zip(pictures, points, strict=True)])
    )
    assert min(front @ yaw, front @ other_yaw) > 0.85


def test_swapped_sides_are_another_face(network):
    pictures, points = demo_face()
    right, wrong = network.embed(np.stack([crop(pictures[0], points[0]), crop(pictures[0], points[0][SWAPPED])]))
    assert right @ wrong < 0.3


def test_another_head_is_another_face(network, shared_data):
    from ReidentRiskLib.attack.detector import load_detector

    pictures, _ = demo_face()
    strangers = sorted((shared_data / "ixi-t1-2mm").glob("*_T1w.nii.gz"))[:3]
    detector = load_detector()
    drawn = [pictures[0], *(other_face(path) for path in strangers)]
    found = network.embed(np.stack([crop(picture, detector.detect(picture).points) for picture in drawn]))
    cosines = (found @ found.T)[np.triu_indices(len(drawn), 1)]
    assert cosines.max() < 0.65 and cosines.mean() < 0.45


def test_a_prelu_is_written_out_and_computes_the_same(tmp_path):
    """Slopes below zero, of zero, and above one; onnxruntime is slow at PRelu itself."""
    from onnx import numpy_helper

    slopes = np.array([-0.4, 0.0, 1.7], np.float32).reshape(3, 1, 1)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 4, 5]) for name in "xy"]
    node = helper.make_node("PRelu", ["x", "slopes"], ["y"])
    graph = helper.make_graph([node], "prelu", ends[:1], ends[1:], [numpy_helper.from_array(slopes, "slopes")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    written_out = _with_fast_prelu(onnx.ModelProto.FromString(made.SerializeToString()))
    assert "PRelu" not in {each.op_type for each in written_out.graph.node}
    onnx.checker.check_model(written_out)
    onnx.save(made, tmp_path / "prelu.onnx")
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    (y,) = open_session(tmp_path / "prelu.onnx", "cpu").run(None, {"x": x})
    assert np.abs(y - np.where(x > 0, x, slopes * x)).max() < 1e-6
    made.opset_import[0].version = 6  # where Mul takes no slope a channel, it is left alone
    assert [each.op_type for each in _with_fast_prelu(made).graph.node] == ["PRelu"]
