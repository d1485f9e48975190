"""What is to be done to one person, as it is sent to a worker, and where its outputs go."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from RefaceLib.bids.index import Person, Scan, stem_of
from RefaceLib.common.options import MAX_SEED
from RefaceLib.common.steps import with_names

OUTPUTS = ("derivatives", "dataset")
MASKS = "derivatives/reface"  # where a data set has its masks: a data set of its own
PERSONS = "persons"  # pages and pictures of persons
STATE = ".reface"  # what a later run must know; hidden, so no part of the data set
STAGING = f"{STATE}/work"  # where outputs are made, a folder a person
_BLOCK = 4  # see face/seeds.py: the seeds of different blocks are independent


@dataclass(frozen=True)
class Options:
    """The options of a run that decide what its outputs are; all else decides only when they are there."""

    mode: str = "auto"
    output: str = "derivatives"
    ears: bool = True
    func: bool = False
    seed: int = 0  # of the run: that of a person follows from it
    device: str = "cpu"
    threads: int = 1  # another number may change some bits
    models: Path | None = None


@dataclass(frozen=True)
class Job:
    """The work on one ``person`` of the data set at ``source``, whose outputs go below ``out``.

    ``again``: do it even where the outputs are there.
    """

    source: Path
    out: Path
    person: Person
    options: Options
    again: bool = False

    @property
    def seed(self) -> int:
        return seed_of(self.options.seed, self.person.label)

    @property
    def record(self) -> Path:
        return record_path(self.out, self.person.label)

    @property
    def work(self) -> Path:
        """The folder in which outputs wait until they are complete, on the disk of the others."""
        return self.out / STAGING / f"sub-{self.person.label}"

    def unnamed(self, sentence: str, path: str = "") -> str:
        """The sentence without the folders of this computer, which are no business of those who get the outputs.

        It is of the file at ``path`` in the data set, whose row says which it is.
        """
        names = {self.out: "OUT_DIR", self.source: "BIDS_DIR"}
        if path:
            names[self.source / path] = "The file"
        return with_names(sentence, names)

    def image(self, scan: Scan, description: str) -> str:
        """The path in the outputs of the new volume, which was `refaced` or `defaced`."""
        return scan.path if self.options.output == "dataset" else _described(scan.path, description, scan.suffix)

    def mask(self, scan: Scan) -> str:
        """The path in the outputs of the volume's face mask; BIDS' names tell suffixes of masks by `desc` alone."""
        label = "face" if scan.suffix == "T1w" else f"face{scan.suffix}"
        path = stem_of(_described(scan.path, label, "mask")) + ".nii.gz"
        return f"{MASKS}/{path}" if self.options.output == "dataset" else path

    def picture(self, scan: Scan) -> str:
        """The path in the outputs of the volume's picture."""
        return f"{PERSONS}/{scan.stem}.jpg"


def _described(path: str, description: str, suffix: str) -> str:
    """`a/sub-01_T1w.nii.gz` with the entity `desc` and the suffix that are given."""
    folder, _, name = path.rpartition("/")
    stem, _, extension = name.partition(".")
    name = f"{stem.rpartition('_')[0]}_desc-{description}_{suffix}.{extension}"
    return f"{folder}/{name}" if folder else name


def record_path(out: Path, label: str) -> Path:
    """Where the record of the person is."""
    return out / STATE / f"sub-{label}.json"


def seed_of(seed: int, label: str) -> int:
    """The seed of a person's faces: all visits have one, and it tells nothing but the label that is public anyway.

    It is an HMAC-SHA256 of the label under the ``seed`` of the run, the first of a block of four.
    """
    digest = hmac.digest(str(seed).encode(), label.encode(), hashlib.sha256)
    return _BLOCK * (int.from_bytes(digest[:8], "big") % (MAX_SEED // _BLOCK + 1))
