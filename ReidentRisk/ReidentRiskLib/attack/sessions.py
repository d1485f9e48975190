"""ONNX files as sessions of onnxruntime, on the graphics card where there is one.

onnxruntime has telemetry: from version 1.32 on it keeps an identifier of the computer in the user's cache, and sends
what it has counted. Nothing leaves the computer, so it is imported by `load_runtime` alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.common.options import DEVICES

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession as Session

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_BROADCASTING = 7  # the version of ONNX' operations from which Mul takes a slope a channel
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"  # read by onnxruntime when it is imported; children get it, too


def load_runtime() -> Any:
    """The package onnxruntime, its telemetry turned off; ImportError where it is not installed."""
    os.environ[_NO_TELEMETRY] = "1"
    import onnxruntime

    # Alone this comes too late, as the files are there by then. It helps where another program imported it before.
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def open_session(path: Path, device: str = "auto", free_size: bool = False) -> Session:
    """A session of the network in ``path``; with ``free_size`` it takes pictures of any height and width.

    ``device``: one of RefaceLib's; "auto" takes the CPU where onnxruntime has no CUDA, and "mps" always does, because
    Apple's accelerator rounds to half precision. InputError for a device that is not there and for a file that is no
    network, RefaceError where onnx or onnxruntime is not installed.
    """
    try:
        from onnx import load

        runtime = load_runtime()
    except ImportError as error:
        needed = "The Python packages onnx and onnxruntime are needed to compare faces"
        raise RefaceError(f"{needed}: install them with 'pip install onnx onnxruntime'.") from error
    providers = _providers(device, runtime.get_available_providers())
    try:
        graph = _with_fast_prelu(_runnable(load(path), free_size))
        session = runtime.InferenceSession(graph.SerializeToString(), _options(runtime), providers=providers)
    except Exception as error:  # protobuf and onnxruntime have many of their own
        raise InputError(f"{path} cannot be used: it is damaged or not a network in the ONNX format.") from error
    if device == "cuda" and _CUDA not in session.get_providers():
        raise InputError("onnxruntime does not find the CUDA libraries that it needs: choose the device auto or cpu.")
    return session


def _providers(device: str, available: list[str]) -> list[Any]:
    if device not in DEVICES:
        raise InputError(f"The device '{device}' is unknown: choose one of {', '.join(DEVICES)}.")
    if device == "cuda" and _CUDA not in available:
        raise InputError("onnxruntime has no CUDA support: install onnxruntime-gpu, or choose the device auto or cpu.")
    if device in ("auto", "cuda") and _CUDA in available:
        return [(_CUDA, {"use_tf32": "0"}), _CPU]  # full precision: the same scores as on a CPU
    return [_CPU]


def _options(runtime: Any) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # warnings about harmless leftovers in the files would fill the terminal
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0  # 0: one a core
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the cores to others
    # Only the weights are of 8 bits: they are unpacked, and the arithmetic does not depend on the processor.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def _runnable(graph: ModelProto, free_size: bool) -> ModelProto:
    """The network as onnxruntime takes it; the files of the OpenCV Zoo need three repairs."""
    network = graph.graph
    weights = {weight.name: list(weight.dims) for weight in network.initializer}
    used = {name for node in network.node for name in node.input}
    inputs = [each for each in network.input if each.name in used and each.name not in weights]
    del network.input[:]  # SFace names its former weights as inputs, though nothing reads them
    network.input.extend(inputs)
    for node in network.node:  # YuNet asks for blocks where there is one factor for all
        if node.op_type == "DequantizeLinear" and weights.get(node.input[1]) in ([], [1]):
            kept = [each for each in node.attribute if each.name != "block_size"]
            del node.attribute[:]
            node.attribute.extend(kept)
    if free_size:  # YuNet's layers take any size, but the file says 640 throughout
        del network.value_info[:]
        for side, dim in zip(("height", "width"), network.input[0].type.tensor_type.shape.dim[2:], strict=True):
            dim.dim_param = side
        for output in network.output:
            output.type.tensor_type.shape.dim[1].dim_param = f"anchors of {output.name}"
    return graph


def _with_fast_prelu(graph: ModelProto) -> ModelProto:
    """The network with every PRelu of slope a written as x + (1 - a) * relu(-x).

    onnxruntime computes PRelu slowly, and these operations together with the convolution before them: a face takes a
    third of the time. Results differ by rounding.
    """
    from onnx import helper, numpy_helper

    network = graph.graph
    if any(each.domain in ("", "ai.onnx") and each.version < _BROADCASTING for each in graph.opset_import):
        return graph
    weights = {each.name: each for each in network.initializer}
    nodes = []
    for node in network.node:
        if node.op_type != "PRelu" or node.input[1] not in weights:
            nodes.append(node)
            continue
        (x, name), y = node.input, node.output[0]
        slope = numpy_helper.to_array(weights[name])
        minus, rest, mirrored, below, added = (f"{y}/{i}" for i in range(5))
        network.initializer.append(numpy_helper.from_array(-np.ones_like(slope), minus))
        network.initializer.append(numpy_helper.from_array(1 - slope, rest))
        nodes += [
            helper.make_node("Mul", [x, minus], [mirrored]),
            helper.make_node("Relu", [mirrored], [below]),
            helper.make_node("Mul", [below, rest], [added]),
            helper.make_node("Add", [x, added], [y]),
        ]
    del network.node[:]
    network.node.extend(nodes)
    return graph
