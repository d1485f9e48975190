"""RefaceLib replaces the face in a head MRI by a generated one and leaves every other voxel as it was.

The names of ``__all__`` are the library for scripts and notebooks. They are imported at first use, so that importing
RefaceLib costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from RefaceLib.common.errors import RefaceError
    from RefaceLib.face.weights import load_models
    from RefaceLib.pipeline import RefaceOptions, RefaceResult, reface_volume
    from RefaceLib.volume.io import Volume, read_volume, write_mask, write_volume

__version__ = "0.1.0"
__all__ = [
    "RefaceError", "RefaceOptions", "RefaceResult", "Volume", "load_models", "read_volume", "reface_volume",
    "write_mask", "write_volume",
]  # fmt: skip

_MODULES = {
    "RefaceError": "common.errors",
    "RefaceOptions": "pipeline",
    "RefaceResult": "pipeline",
    "Volume": "volume.io",
    "load_models": "face.weights",
    "read_volume": "volume.io",
    "reface_volume": "pipeline",
    "write_mask": "volume.io",
    "write_volume": "volume.io",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
