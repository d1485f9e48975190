"""The networks of a run, loaded once for many heads, and the calibrations that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import RefaceLib
from RefaceLib.common.progress import Cancelled, Progress, no_progress, part
from ReidentRiskLib.judge.calibration import Calibration, load_calibration
from ReidentRiskLib.judge.scores import ATTACKERS

if TYPE_CHECKING:
    from RefaceLib.face.weights import Parsers
    from ReidentRiskLib.attack.detector import Detector
    from ReidentRiskLib.attack.embedder import Embedder

REPORT_VERSION = 2  # of the keys and what they mean


@dataclass(frozen=True, eq=False, kw_only=True)
class Finders:
    """Networks that find heads and faces, loaded once for many heads: face detector, and RefaceLib's head parser."""

    detector: Detector
    head_models: Parsers


@dataclass(frozen=True, eq=False, kw_only=True)
class Tools(Finders):
    """All networks: those that find faces, and a face recogniser."""

    embedder: Embedder


def load_tools(
    model: str | Path | None = None,
    device: str = "auto",
    *,
    accept_licence: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Tools:
    """Load everything that embeds heads; the recogniser and the detector are downloaded at first use.

    `model`: a name of the registry or an ONNX file; None takes the best whose licence is accepted.
    """
    from ReidentRiskLib.attack.embedder import load_embedder
    from ReidentRiskLib.attack.models import default_model

    progress = progress or no_progress
    name = model or default_model(accept_licence)
    embedder = load_embedder(name, device, accept_licence, progress=part(progress, 0.0, 0.7), cancelled=cancelled)
    finders = load_finders(device, progress=part(progress, 0.7, 0.8), cancelled=cancelled)
    return Tools(embedder=embedder, detector=finders.detector, head_models=finders.head_models)


def load_finders(
    device: str = "auto", *, progress: Progress | None = None, cancelled: Cancelled | None = None
) -> Finders:
    """Load what finds heads and faces, and compares none; the detector is downloaded at first use."""
    from RefaceLib.face.weights import load_parsers
    from ReidentRiskLib.attack.detector import load_detector

    detector = load_detector(progress=progress, cancelled=cancelled)
    return Finders(detector=detector, head_models=load_parsers(device))


def calibrations_for(tools: Tools, views: str, path: Path | None = None) -> dict[str, Calibration | None]:
    """The calibrations of the attackers for a network and a view set, shipped or in the file `path`."""
    name, sha256 = tools.embedder.name, tools.embedder.sha256
    return {attacker: load_calibration(name, views, attacker, sha256, path) for attacker in ATTACKERS}


def network_name(model: Mapping[str, Any]) -> str:
    """The network of `about`, as terminal, tables and pictures name it; files of the user's may have any name."""
    return f"{model['name']} (sha256 {model['sha256'][:12]})"


def about(tools: Finders) -> dict[str, Any]:
    """What made the numbers: networks (``model`` is the one that compares faces, where one does) and renderer."""
    from ReidentRiskLib.attack.render import renderer_name

    model = {}
    if isinstance(tools, Tools):
        model["model"] = {
            "name": tools.embedder.name,
            "sha256": tools.embedder.sha256,
            "embedding": tools.embedder.size,
            "licence": tools.embedder.model.licence,
        }
    return {
        "report_version": REPORT_VERSION,
        "reident_risk_version": RefaceLib.__version__,
        **model,
        "detector": {"name": tools.detector.name, "sha256": tools.detector.sha256},
        "renderer": renderer_name(),
    }
