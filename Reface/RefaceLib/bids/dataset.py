"""The top of what is written: descriptions, tables and the files that belong to nobody, and which folders will do."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from RefaceLib import __version__
from RefaceLib.bids.carry import Taken, check_no_links, pointer_sentence
from RefaceLib.bids.index import Person
from RefaceLib.bids.job import MASKS, PERSONS, STAGING, STATE, Options
from RefaceLib.bids.marks import MARKS, read_marks
from RefaceLib.bids.otherfiles import CARRIED, left_out_of_top
from RefaceLib.bids.published import Content, NotPublishedError, published, read_text, tsv
from RefaceLib.bids.quality import INDEX, Report, page_of
from RefaceLib.bids.record import LEFT_OUT, TABLE, Record, Row, read_records, table
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.files import OutputSet, check_exists, write_error, write_json
from RefaceLib.common.options import MAX_SEED
from RefaceLib.common.personal import without_personal

_BIDS = "1.10.0"  # of data sets that are made here
_RUN = "run.json"  # in STATE: what all runs into OUT have in common
_TOP = "top.json"  # in STATE: the files of the top that were written
_NAME = "volumes with faces replaced or removed"
_GENERATED_BY = {
    "Name": "Reface",
    "Version": __version__,
    "Description": "Faces replaced by artificial ones, or removed; all other voxels are unchanged.",
}
_README = """\
{name}

These volumes were made by Reface {version}. T1-weighted volumes have an artificial face in place of the person's; from
all others the face was removed. Voxels outside the face masks are those of the original scans, bit for bit. The table
{table} tells what became of every volume, and what was checked.
"""
_README_MASKS = """\
{name}

Masks of the faces that Reface {version} has replaced or removed in this data set: 1 where voxels may have changed. The
table {table} of the data set tells what became of every volume.
"""
# Names that BIDS has no rules for: of ours, of masks in folders where BIDS has none, and of CT.
_IGNORED = (TABLE, INDEX, MARKS, PERSONS)
_IGNORED_DERIVED = (
    *(f"**/{folder}/*_mask.*" for folder in ("fmap", "perf", "pet", "func", "swi")),
    "ct",
    "*_ct.*",
    "*_CT.*",
)


def check_folders(source: Path, out: Path, output: str) -> None:
    """Raise InputError where there is no data set, and OutputError where OUT is no folder or would mix with it.

    OUT may be below the data set for derivatives alone.
    """
    check_exists(source)
    if not source.is_dir():
        raise InputError(f"{source} is a file: give the top folder of a data set.")
    if os.path.lexists(out) and not out.is_dir():
        raise OutputError(f"{out} is a file: give the name of a folder.")
    check_no_links(out, [f"{STAGING}/sub"])
    source, out = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    if out == source or out in source.parents:
        raise OutputError(f"{out} holds the data set itself: give another folder for the outputs.")
    inside = source in out.parents
    if inside and (output == "dataset" or not out.is_relative_to(source / "derivatives")):
        raise OutputError(f"{out} is in the data set: give a folder outside it, or below its 'derivatives'.")


def check_description(source: Path) -> dict[str, Any]:
    """The data set's description. Raises InputError where it cannot be read."""
    path = source / "dataset_description.json"
    if not os.path.lexists(path):
        raise InputError(f"{source} is no BIDS data set (it has no {path.name}): give its top folder.")
    if sentence := pointer_sentence(path):
        raise InputError(sentence)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: repair it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no description of a data set: repair it.")
    return content


def title_of(description: dict[str, Any]) -> str:
    """The data set's name."""
    return str(description.get("Name") or "Data set")


def check_top(source: Path, output: str) -> None:
    """Raise InputError where the content of a file that goes with the data set is not here."""
    for path in _carried(source) if output == "dataset" else ():
        if sentence := pointer_sentence(source / path):
            raise InputError(sentence)


def check_outputs(source: Path, out: Path, options: Options, persons: Sequence[Person]) -> None:
    """Raise OutputError, before the work, where a link or another one's file stands in the way of an output.

    Of another one's files it finds those at the top: what a person's are is known only when they are written.
    """
    paths = [path for person in persons for path in (*(scan.path for scan in person.scans), *person.files)]
    places = ("", f"{PERSONS}/", f"{MASKS}/") if options.output == "dataset" else ("", f"{PERSONS}/")
    check_no_links(out, [f"{place}{path}" for path in paths for place in places])
    records = [Record(person.label) for person in persons]
    contents = {**_contents(source, options, []), **_blank_pages(records)}
    Taken(out, _former(out)).check(contents)  # read last: another run may be writing them


def write_top(source: Path, out: Path, options: Options) -> list[Record]:
    """Write the table, the quality pages and the top of OUT, from the records of all persons there, which are returned.

    Raises OutputError, before anything is written, where another one's file stands in the way.
    """
    check_top(source, options.output)
    records = read_records(out)
    top_rows = rows_of_top(source, options.output)
    report = Report(title_of(check_description(source)), records, read_marks(out), top=top_rows)
    contents = _contents(source, options, records)
    top = Taken(out, _former(out))
    top.claim({**_blank_pages(records), **contents})
    _write_state(out, top.former)  # before all of them, so that a run that ends in between knows its files
    for path, content in itertools.chain(contents.items(), report.pages()):
        top.put(content, path)
    top.remove_others()
    _write_state(out, top.paths)
    return records


def _former(out: Path) -> frozenset[str]:
    """Which files of the top are ours, as earlier runs have kept it."""
    try:
        return frozenset(json.loads((out / STATE / _TOP).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return frozenset()


def _contents(source: Path, options: Options, records: Sequence[Record]) -> dict[str, Content]:
    """All files of the top but the pages."""
    description = check_description(source)
    rows = [row for record in records for row in record.rows]
    contents: dict[str, Content] = {TABLE: table([*rows, *rows_of_top(source, options.output)])}
    if options.output == "dataset":
        contents |= _published(source, description, records)
        return contents | _derived(description, f"{MASKS}/", "Face masks", _README_MASKS)
    return contents | _derived(description, "", f"{title_of(description)}: {_NAME}", _README)


def _blank_pages(records: Sequence[Record]) -> dict[str, Content]:
    """The pages, with "" for their content, which is known only at the end."""
    return dict.fromkeys([INDEX, *(page_of(record) for record in records)], "")


def _write_state(out: Path, paths: Iterable[str]) -> None:
    """Keep which files of the top are ours."""
    path = f"{STATE}/{_TOP}"
    Taken(out, frozenset([path])).put(json.dumps(sorted(paths)), path)


def _derived(description: dict[str, Any], folder: str, name: str, readme: str) -> dict[str, Content]:
    """The top of a data set of derivatives in ``folder`` ("" or ending with a slash)."""
    kept = {key: value for key, value in description.items() if key in ("License", "EthicsApprovals")}
    sources = [{"DOI": description["DatasetDOI"]}] if description.get("DatasetDOI") else []
    found: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": _BIDS,
        "DatasetType": "derivative",
        **kept,
        "GeneratedBy": [_GENERATED_BY],
    }
    if sources:
        found["SourceDatasets"] = sources
    return {
        f"{folder}dataset_description.json": _json(found),
        f"{folder}README.md": readme.format(name=name, version=__version__, table=TABLE),
        f"{folder}.bidsignore": "\n".join([*_IGNORED, *_IGNORED_DERIVED]) + "\n",
    }


def _published(source: Path, description: dict[str, Any], records: Sequence[Record]) -> dict[str, Content]:
    """The top of a copy of the data set: its own, but for what names persons who are not in it."""
    made = description.get("GeneratedBy")
    found = {key: value for key, value in without_personal(description).items() if key != "DatasetDOI"}  # of another
    found.setdefault("DatasetType", "raw")  # or validators take what was generated for derivatives
    found["GeneratedBy"] = [*(made if isinstance(made, list) else []), _GENERATED_BY]
    if description.get("DatasetDOI"):
        found["SourceDatasets"] = [*description.get("SourceDatasets", []), {"DOI": description["DatasetDOI"]}]
    contents: dict[str, Content] = {"dataset_description.json": _json(found)}
    there = {f"sub-{record.label}" for record in records if record.carried or any(row.written for row in record.rows)}
    for path in _carried(source):
        try:
            contents[path], _ = published(source / path, path)
        except NotPublishedError:  # of which rows_of_top tells
            continue
    people = contents.get("participants.tsv")
    if people is not None:
        text = read_text(people) if isinstance(people, Path) else people
        contents["participants.tsv"] = participants_table(text, there)
    ignored = source / ".bidsignore"
    lines = read_text(ignored).splitlines() if ignored.is_file() else []
    contents[".bidsignore"] = "\n".join([*lines, *(line for line in _IGNORED if line not in lines)]) + "\n"
    return contents


def rows_of_top(source: Path, output: str) -> list[Row]:
    """A row for each file beside the persons' folders that does not go with the data set, or lost columns."""
    rows = []
    for path in _top_files(source) if output == "dataset" else ():
        said = left_out_of_top(path)
        if not said:
            try:
                _, said = published(source / path, path)
            except NotPublishedError as error:
                said = str(error)
        if said:
            rows.append(Row("", "", path, "", LEFT_OUT, said))
    return rows


def _carried(source: Path) -> list[str]:
    """Those files of the top that go with a data set, if they can be read as what they are."""
    return [path for path in _top_files(source) if not left_out_of_top(path)]


def _top_files(source: Path) -> list[str]:
    """The files beside the persons' folders, but those in others that are never taken over; no hidden ones."""
    found = [path.name for path in source.iterdir() if not path.name.startswith(".") and not path.is_dir()]
    for folder in CARRIED:
        for parent, folders, names in os.walk(source / folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(parent).relative_to(source)
            found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(set(found) - {"dataset_description.json", *_IGNORED})  # ours, of a data set that was written so


def participants_table(text: str, there: set[str]) -> str:
    """A participants.tsv with the rows of those alone who are ``there`` ("sub-01")."""
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or "participant_id" not in rows[0]:
        return text
    kept = ([row[name] or "n/a" for name in rows[0]] for row in rows if row["participant_id"] in there)
    return tsv(list(rows[0]), kept)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def settle(out: Path, output: str, seed: int | None) -> int:
    """The seed of the run: the one that is given, that of an earlier run into OUT, or one that is drawn; it is kept.

    So is the kind of ``output``, which cannot change later: OutputError.
    """
    former = _settled(out)
    if former.get("output", output) != output:
        raise OutputError(f"{out} holds the outputs of --output {former['output']}: give another folder for this run.")
    if seed is None:
        seed = former.get("seed", secrets.randbelow(MAX_SEED + 1))
    with OutputSet(overwrite=True) as staged:
        write_json(staged.stage(out / STATE / _RUN), {"seed": seed, "output": output})
    return seed


def settled_output(out: Path) -> str:
    """The kind of output of earlier runs into OUT; InputError where there was none."""
    try:
        return str(_settled(out)["output"])
    except LookupError as error:
        raise InputError(f"{out} holds no outputs: run the level 'participant' first.") from error


def _settled(out: Path) -> dict[str, Any]:
    try:
        content = json.loads((out / STATE / _RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def make_out(out: Path) -> None:
    """Make OUT and the folder of what a later run must know; OutputError where that is impossible."""
    try:
        (out / STAGING).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out / STATE, error) from error
