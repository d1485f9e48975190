"""Where and how precisely the networks run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from RefaceLib.common.errors import InputError
from RefaceLib.common.options import DEVICES

if TYPE_CHECKING:
    from torch import nn

Net = TypeVar("Net", bound="nn.Module")


def choose_device(name: str) -> str:
    """Turn 'auto' into the best device of this machine; raise InputError for one that it does not have."""
    import torch

    if name not in DEVICES:
        raise InputError(f"The device '{name}' is unknown: choose one of {', '.join(DEVICES)}.")
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
    if not has[name]:
        raise InputError(f"This machine has no '{name}' device for PyTorch: choose auto or cpu.")
    return name


def placed(net: Net, device: str) -> Net:
    """``net`` on ``device``, its weights in the memory layout that is fastest for 3D convolutions."""
    import torch

    # PyTorch documents this argument, and does not declare it.
    return net.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


@cache
def cpu_has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; without it, bfloat16 is slower than float32."""
    import torch

    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool((check and check()) or (amx and amx()))


@contextlib.contextmanager
def precision(device: str) -> Iterator[None]:
    """Half precision where it is fast: float16 on CUDA, bfloat16 on a CPU that has it, else float32."""
    import torch

    if device == "cuda":
        with torch.autocast("cuda", torch.float16):
            yield
    elif device == "cpu" and cpu_has_fast_bfloat16():
        with torch.autocast("cpu", torch.bfloat16):
            yield
    else:
        yield
