"""What an export takes from a training, what from the shipped weights, and which fitted constants still hold."""

from __future__ import annotations

import copy

import pytest
import torch

from RefaceLib.face.fitted import neutral
from RefaceLib.face.weights import models_folder, read_registry, sha256_of
from RefaceLib.training import train as training


def test_an_export_takes_what_was_not_trained_from_the_shipped_weights(tmp_path, monkeypatch, models):
    (tmp_path / "faces").mkdir()
    changed = copy.deepcopy(models.coarse)
    with torch.no_grad():
        next(changed.parameters()).add_(1.0)
    torch.save({"parts": {"average": changed.state_dict()}}, tmp_path / "faces" / "faces.pt")
    (tmp_path / "faces" / "log.jsonl").write_text('{"step": 7, "s": 120}\n')
    data = ([], [], models.shape, models.atlas)
    monkeypatch.setattr(training.TrainCommand, "coarse_data", lambda self: data)
    monkeypatch.setattr(training, "coarse_error", lambda *arguments: 0.5)
    training.export(tmp_path, tmp_path)
    own, ours = (read_registry(folder) for folder in (tmp_path / "Models", models_folder()))
    made, shipped = own["models"], ours["models"]
    assert {name for name in shipped if made[name] != shipped[name]} == {"coarse"}
    assert (made["coarse"]["steps"], made["coarse"]["minutes"]) == (7, 2)
    assert made["coarse"]["figures"] == {"l1_in_mask": 0.5}
    for entry in made.values():
        assert sha256_of(tmp_path / "Models" / entry["file"]) == entry["sha256"]
    # Parser and shape are the shipped ones, and so is what was fitted to them; the rest holds no more.
    kept = {name: ours["fitted"][name] for name in ("defaced_brain_points", "true_faces")}
    assert own["fitted"] == {**neutral(), **kept}


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ((), {"skin_curve", "contrast_offsets", "defaced_brain_points", "true_faces"}),
        (("localizer",), {"skin_curve", "contrast_offsets", "true_faces"}),
        (("parser",), {"skin_curve", "contrast_offsets", "true_faces"}),
        (("shape",), {"defaced_brain_points"}),
        (("fine",), {"defaced_brain_points", "true_faces"}),
        (("parser", "coarse"), {"true_faces"}),
    ],
)
def test_constants_of_the_shipped_weights_are_kept_only_for_the_files_they_were_fitted_to(changed, kept, capsys):
    shipped = read_registry()
    models = copy.deepcopy(shipped["models"])
    for name in changed:
        models[name]["sha256"] = "0" * 64
    section, printed = training.fitted_section(models, shipped), capsys.readouterr().out
    assert set(section) == set(shipped["fitted"])
    for name, value in section.items():
        assert value == (shipped["fitted"] if name in kept else neutral())[name]
        assert (f"The constant {name} is neutral" in printed) is (name not in kept)
