"""The BIDS sidecar of a scan: it goes with the new image, says that the face was removed, and names nobody.

Fields: BIDS specification, rules/sidecars/mri.yaml. Code: DICOM PS3.16, context ID 7050.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from RefaceLib.common.imagenames import FORMATS, image_extension, image_stem, sidecar_beside
from RefaceLib.common.personal import without_personal

CODE = {
    "CodeValue": "113102",
    "CodingSchemeDesignator": "DCM",
    "CodeMeaning": "Clean Recognizable Visual Features Option",
}
METHODS = {"deface": "face removed", "apply-to": "face removed", "recover": "artificial face in place of a removed one"}
NEW_FACE = "face replaced by an artificial one"


def sidecar_pair(image: Path, output: Path) -> tuple[Path, Path] | None:
    """The BIDS sidecar of the NIfTI `image`, and that of its `output`; None where there is none to be carried over."""
    if FORMATS.get(image_extension(image)) != "NIfTI":
        return None
    source, target = sidecar_beside(image), sidecar_beside(output)
    return None if source == target or read_sidecar(source) is None else (source, target)


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """The fields of a sidecar; None where there is no file, or it holds no JSON object or a report of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and "reface_version" not in content else None


def inherited(root: Path, image: Path, everything: bool = True) -> dict[str, Any]:
    """The metadata of the BIDS file ``image`` in the data set ``root``: those of its own sidecar and, with
    ``everything``, those that it inherits.

    A JSON file in a folder above applies where it has the same suffix and no other entities (BIDS specification,
    "The Inheritance Principle"); what is nearer to the image wins.
    """
    own = read_sidecar(sidecar_beside(image)) or {}
    if not everything:
        return own
    entities, suffix = _entities(image_stem(image))
    folders = [folder for folder in reversed(image.parents) if folder == root or root in folder.parents]
    fields: dict[str, Any] = {}
    for folder in folders:
        near = [path for path in folder.glob(f"*{suffix}.json") if _entities(path.stem)[1] == suffix]
        for path in sorted(near, key=lambda path: len(path.name)):
            if _entities(path.stem)[0] <= entities:
                fields |= read_sidecar(path) or {}
    return fields | own


def _entities(stem: str) -> tuple[set[str], str]:
    *entities, suffix = stem.split("_")
    return set(entities), suffix


def deidentified(sidecar: Mapping[str, Any], mode: str, version: str) -> dict[str, Any]:
    """The sidecar of the new image: the fields of the old one without the personal ones, and how the face was removed.

    `mode` is that of the report, `version` that of this program. What other programs said of their de-identification
    stays.
    """
    method = f"Reface {version}: {METHODS.get(mode, NEW_FACE)}"
    methods = _as_list(sidecar.get("DeidentificationMethod"))
    codes = _as_list(sidecar.get("DeidentificationMethodCodeSequence"))
    return {
        **without_personal(sidecar),
        "DeidentificationMethod": [*methods, *([] if method in methods else [method])],
        "DeidentificationMethodCodeSequence": [*codes, *([] if _has_code(codes) else [CODE])],
    }


def _as_list(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def _has_code(codes: list[Any]) -> bool:
    return any(isinstance(code, dict) and str(code.get("CodeValue")) == CODE["CodeValue"] for code in codes)
