"""Fields of JSON files that name a person, a site or an examination, by their keys.

They are the attributes that the Basic Profile of DICOM (PS3.15, table E.1-1) removes or replaces, and every UID.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

EDITION = "dicomfields_2026c"  # of the table, as dicom-anonymizer names it
# Neutral, and needed: which sequence was run, and with which agent. Others are names of too many other things.
_KEPT = ("ProtocolName", "ContrastBolusAgent", "Date", "Time", "DateTime")
_OF_CONVERTERS = ("ProcedureStepDescription", "ScanDate")  # no keywords of DICOM, or of BIDS only
_UID = re.compile("(UID|Uid|_uid|instanceuid)s?$")  # "fluid" is none
_COLUMN = ("Description", "LongName", "Levels", "Units")  # BIDS: what describes a column of a table has some of them


def without_personal(value: Any) -> Any:
    """The content of a JSON file without personal fields, at any depth, in lists as well."""
    if isinstance(value, dict):
        return {key: without_personal(inner) for key, inner in value.items() if not _is_personal(key, inner)}
    if isinstance(value, list):
        return [without_personal(inner) for inner in value]
    return value


def personal_fields(value: Any) -> list[str]:
    """The names of the fields that `without_personal` leaves out, each once."""
    return list(dict.fromkeys(_found(value)))


def _found(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if _is_personal(key, inner):
                yield key
            else:
                yield from _found(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _found(inner)


def _is_personal(key: str, value: Any) -> bool:
    """Whether the field holds something personal; the description of a table's column does not."""
    name = key.rpartition(".")[2]  # of a key such as "global.const.PatientName"
    if _plain(name) not in _names() and not _UID.search(name):
        return False
    return not (isinstance(value, dict) and any(word in value for word in _COLUMN))


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
    return frozenset({_plain(word) for word in words | former} | hexadecimal)


def _plain(key: str) -> str:
    return re.sub(r"[\W_]", "", key).lower()
