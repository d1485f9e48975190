"""Measures where the head parser sees the landmarks of a brain whose face is gone: the constant defaced_brain_points.

    python -m RefaceLib.training.defaced DATA [--models FOLDER]

prints them for the shipped parser. With --models it measures them for the weights of FOLDER and writes them into the
registry there. Every head of DATA with brain labels and known face landmarks, except those of validation.txt and
excluded.txt, is defaced and parsed again. The labels give the true place of its brain.

The shipped constants are means over 134 heads. They differ from the landmarks of whole heads by less than 3 mm, but a
face placed by those would lie a millimetre too deep.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.face import weights
from RefaceLib.face.fitted import points_record
from RefaceLib.head import facemask
from RefaceLib.head.canonical import BRAIN_LANDMARKS, FACE_LANDMARKS
from RefaceLib.head.headparser import brain_frame
from RefaceLib.head.pose import parse_head
from RefaceLib.training import heads
from RefaceLib.volume import geometry


def seen_defaced(image_path: Path, label_path: Path, face: np.ndarray, folder: Path | None = None) -> np.ndarray:
    """Canonical mm (11, 3) of the landmarks that the parser sees in the brain of one head without its face.

    ``face`` (6, 3) are its face landmarks in RAS mm; they and the labels give the canonical pose. ``folder`` holds the
    parser's weights, None for the shipped ones.
    """
    values, affine = heads.load(image_path)
    truth = heads.labelled_parse(image_path, label_path, face)
    frame = brain_frame(truth.points, truth.certainty)
    models = weights.load_models("cpu", folder)
    whole = parse_head(values, affine, models.localizer, models.parser, "cpu")
    values[facemask.face_mask(whole, values.shape, affine, ears=True)] = 0
    rest = parse_head(values, affine, models.localizer, models.parser, "cpu")
    return geometry.apply_affine(np.linalg.inv(frame), rest.points[len(FACE_LANDMARKS) :])


def mean_of(seen: np.ndarray) -> np.ndarray:
    """The mean (11, 3) of landmarks ``seen`` in heads (N, 11, 3) and in their mirror images."""
    start = len(FACE_LANDMARKS)
    mean, swap = seen.mean(axis=0), np.array(heads.SWAP[start:]) - start
    return (mean + mean[swap] * [-1, 1, 1]) / 2


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m RefaceLib.training.defaced", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of <id>_T1w.nii.gz and <id>_dlmuse.nii.gz")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="own weights; the landmarks are written there")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    arguments = parser.parse_args(argv)
    landmarks, labelled = heads.read_landmarks(), heads.labelled_heads(arguments.data)
    unused = heads.validation_ids() | heads.excluded_ids()
    names = [name for name in labelled if name in landmarks and name not in unused]
    try:
        if not names:
            raise InputError(f"The folder {arguments.data} holds no head with brain labels that has known landmarks.")
        columns = zip(*((*labelled[name], landmarks[name]) for name in names), strict=True)
        with ProcessPoolExecutor(max(arguments.jobs, 1)) as pool:
            mean = mean_of(np.array(list(pool.map(seen_defaced, *columns, repeat(arguments.models)))))
    except RefaceError as error:
        print(f"defaced: {error}", file=sys.stderr)
        return 2
    print(f"{len(names)} heads; canonical mm:")
    for name, point in zip(BRAIN_LANDMARKS, mean, strict=True):
        print(f"{name:22}" + "".join(f"{value:8.1f}" for value in point))
    if arguments.models:
        registry = weights.read_registry(arguments.models)
        registry["fitted"]["defaced_brain_points"] = points_record(mean)
        weights.write_registry(registry, arguments.models)
    return 0


if __name__ == "__main__":
    sys.exit(main())
