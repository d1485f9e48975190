"""Fields of JSON files that name a person, a site or an examination, by their keys.

They are the attributes that the Basic Profile of DICOM (PS3.15, table E.1-1) removes or replaces, and every UID.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

EDITION = "dicomfields_2026c"  # of the table, as dicom-anonymizer names it
# Neutral, and needed: which sequence was run, and with which agent. Others are names of too many other things.
_KEPT = ("ProtocolName", "ContrastBolusAgent", "Date", "Time", "DateTime")
# No keywords of DICOM, or of BIDS only.
_OF_CONVERTERS = ("ProcedureStepDescription", "ScanDate", "AcqTime", "Operator", "SubjectName")
_UID = re.compile("(UID|Uid|_uid|instanceuid)s?$")  # "fluid" is none
_WORD = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|\d+")  # of a key such as "DICOM_PatientIDs[0]"
_BASE = re.compile(r"(?<![^\W_])0?x(?=[0-9A-Fa-f]{4})")  # what marks a tag as hexadecimal
# BIDS: what describes a column of a table, and never a value.
_COLUMN = frozenset(
    ("Description", "LongName", "Levels", "Units", "TermURL", "Delimiter", "HED", "Maximum", "Minimum", "Format")
)


def without_personal(value: Any, columns: bool = False) -> Any:
    """The content of a JSON file without personal fields, at any depth, in lists as well.

    ``columns``: the file describes the columns of a table, whose descriptions stay, whatever a column is called.
    """
    if isinstance(value, dict):
        return {
            key: without_personal(inner)
            for key, inner in value.items()
            if not is_personal(key) or (columns and _is_column(inner))
        }
    if isinstance(value, list):
        return [without_personal(inner) for inner in value]
    return value


def personal_fields(value: Any) -> list[str]:
    """The names of the fields that `without_personal` leaves out, each once."""
    return list(dict.fromkeys(_found(value)))


def _found(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if is_personal(key):
                yield key
            else:
                yield from _found(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _found(inner)


def _is_column(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and value.keys() <= _COLUMN


def is_personal(key: str) -> bool:
    """Whether a field of this key holds something personal, as any converter may write it.

    "global.const.PatientName", "tPatientName", "PatientName_0", "dicom:PatientName" and "0x00100010" do.
    """
    return bool(_UID.search(key)) or has_words(key, _names())


def has_words(key: str, known: Collection[str]) -> bool:
    """Whether words of the key that follow one another make one of the ``known`` names, which are in lower case.

    A word ends where the case or the kind of the character changes.
    """
    words = [word.lower() for word in _WORD.findall(_BASE.sub("_", key))]
    ends = range(1, len(words) + 1)
    return any("".join(words[start:end]) in known for end in ends for start in range(end))


@cache
def _names() -> frozenset[str]:
    """The keys in lower case: keywords, their former spellings (PatientsName), and tags (00100010)."""
    from dicomanonymizer.simpledicomanonymizer import initialize_actions
    from pydicom.datadict import keyword_for_tag

    tags = [tag for tag in initialize_actions(EDITION) if len(tag) == 2]
    words = {keyword_for_tag(tag) for tag in tags}
    kept = {tag for tag in tags if keyword_for_tag(tag) in _KEPT}
    words = words.union(_OF_CONVERTERS).difference(_KEPT, [""])
    former = {re.sub("(Patient|Physician)(?!s)", r"\1s", word) for word in words}
    hexadecimal = {f"{group:04x}{element:04x}" for group, element in set(tags) - kept}
    return frozenset({word.lower() for word in words | former} | hexadecimal | {"uid", "uids"})
