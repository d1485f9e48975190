"""What is done to a volume of a data set, by its suffix: an explicit table, which the documentation shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FACE, DEFACE, AS_MAGNITUDE, ASKED, KEEP, LEAVE_OUT = "face", "deface", "as magnitude", "asked", "keep", "leave out"


@dataclass(frozen=True)
class Rule:
    """One row: these ``suffixes`` (in the ``folder``, "" for any) get this ``action``, of which ``done`` is said."""

    action: str
    suffixes: tuple[str, ...]
    done: str
    folder: str = ""


_ANYWHERE = (
    "T2w FLAIR PDw PDT2 UNIT1 inplaneT1 inplaneT2 T2star T2starw MEGRE MESE MP2RAGE MPM MTS MTR VFA IRT1 TB1DAM TB1EPI "
    "TB1AFI TB1TFL TB1RFM TB1SRGE TB1map RB1COR RB1map T1map T2map T2starmap R1map R2map R2starmap PDmap MTRmap MTsat "
    "MWFmap MTVmap T1rho S0map M0map Chimap angio swi CT ct"
)
TABLE = (
    Rule(ASKED, ("bold", "cbv", "sbref", "boldref"), "defaced with `--func`; else copied as it is", "func"),
    Rule(FACE, ("T1w",), "the best of a session gets a face; others are defaced beside it"),
    Rule(DEFACE, tuple(_ANYWHERE.split()), "defaced"),
    Rule(DEFACE, ("dwi", "sbref"), "defaced; frames have one mask, that of their mean", "dwi"),
    Rule(DEFACE, ("asl", "m0scan", "pet"), "defaced; frames have one mask, that of their mean"),
    Rule(DEFACE, ("magnitude", "magnitude1", "magnitude2", "epi", "m0scan"), "defaced", "fmap"),
    Rule(AS_MAGNITUDE, ("phase", "phase1", "phase2", "phasediff", "fieldmap"), "masked as its magnitude", "fmap"),
    Rule(KEEP, ("svs", "mrsi", "unloc", "mrsref"), "spectra, which show no face: copied as they are", "mrs"),
    Rule(LEAVE_OUT, ("defacemask", "mask", "photo"), "shows or outlines a face: left out"),
)
PARTS = ("phase", "real", "imag")  # values of the entity `part` whose volumes are masked as the magnitude
MAGNITUDES = {
    "phase": ("magnitude",),
    "phase1": ("magnitude1",),
    "phase2": ("magnitude2",),
    "phasediff": ("magnitude1", "magnitude2"),
    "fieldmap": ("magnitude",),
}  # suffixes of what a phase image is masked as, the best first


def action_of(suffix: str, folder: str, entities: Mapping[str, object] | None = None) -> str:
    """The action for a volume in the ``folder`` ("anat"); LEAVE_OUT for a suffix that is not in the table.

    What the entity ``part`` marks as no magnitude is masked as the magnitude beside it.
    """
    for rule in TABLE:
        if suffix in rule.suffixes and rule.folder in ("", folder):
            masked = (entities or {}).get("part") in PARTS and rule.action in (FACE, DEFACE)
            return AS_MAGNITUDE if masked else rule.action
    return LEAVE_OUT


def why_left_out(suffix: str) -> str:
    """The sentence of a volume whose action is LEAVE_OUT."""
    if any(suffix in rule.suffixes for rule in TABLE if rule.action == LEAVE_OUT):
        return "The volume shows or outlines a face, so it was left out."
    return "The suffix is not in the table of what is done, so the volume was left out."


def markdown_table() -> str:
    """The table as the documentation shows it."""
    lines = ["| folder | suffix | what is done |", "|---|---|---|"]
    for rule in TABLE:
        names = ", ".join(f"`{suffix}`" for suffix in rule.suffixes)
        lines.append(f"| {f'`{rule.folder}`' if rule.folder else 'any'} | {names} | {rule.done} |")
    lines.append(f"| any | any of these with `part-{'`, `part-'.join(PARTS)}` | masked as its magnitude |")
    lines.append("| any | any other suffix of a NIfTI file | left out, with a row that says so |")
    return "\n".join(lines)
