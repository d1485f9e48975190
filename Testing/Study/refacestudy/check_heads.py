"""Measures what Reface promises, on a folder of real heads:

    PYTHONPATH=Testing/Study python -m refacestudy.check_heads DATA OUT [--only validation|all] [--jobs N] [--limit N]
                                        [--heads ID ...] [--contact-sheet FILE.png [--with-originals]]

DATA holds heads ``<id>_T1w.nii.gz``, with brain labels ``<id>_dlmuse.nii.gz`` beside them where there are any. Every
head is refaced with two seeds of its own and measured (measures.py says how); those of the validation list are also
defaced as three other tools do it, and recovered. OUT gets ``<id>.json`` and a strip of pictures ``<id>.png`` a head,
then ``heads.csv`` and ``heads.md``. A head that was measured with the same weights and code is not measured again. The
exit code is 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import RefaceLib
from RefaceLib import pipeline
from RefaceLib.face import weights
from RefaceLib.face.weights import load_models
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.skin.surface import face_surface
from RefaceLib.training import heads
from RefaceLib.volume.io import Volume, read_volume
from refacestudy import measures, sheet, table

# What a face is made by, below RefaceLib (patterns are allowed); a result of other code or weights is measured anew.
CODE = ("pipeline.py", "volume/geometry.py", "networks/*.py", "head/*.py", "face/*.py")
SPACING = 2.0  # mm, for the Dice of the brain


@dataclass(frozen=True)
class Head:
    """One head to measure; ``labels`` is None where nobody labelled its brain."""

    name: str
    image: Path
    labels: Path | None
    validation: bool


def find_heads(folder: Path) -> list[Head]:
    """All heads below a folder, the validation heads first: a limited or broken run has seen the most telling ones."""
    labelled, held_out = heads.labelled_heads(folder), heads.validation_ids()
    found = []
    for image in sorted(folder.rglob("*_T1w.nii.gz")):
        name = image.name.removesuffix("_T1w.nii.gz")
        found.append(Head(name, image, labelled.get(name, (image, None))[1], name in held_out))
    return sorted(found, key=lambda head: (not head.validation, head.name))


def fingerprint() -> str:
    """A hash of the weights and of the code that makes a face."""
    digest = hashlib.sha256(json.dumps(weights.read_registry(), sort_keys=True).encode())
    for path in code_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def code_files() -> list[Path]:
    """The files of CODE; FileNotFoundError where one of its patterns finds none."""
    package = Path(RefaceLib.__file__).parent
    found = {pattern: sorted(package.glob(pattern)) for pattern in CODE}
    lost = [pattern for pattern, paths in found.items() if not paths]
    if lost:
        raise FileNotFoundError(f"There is no {', '.join(lost)} in {package}: CODE of check_heads.py is out of date.")
    return [path for paths in found.values() for path in paths]


# ---- one head ----


def one_thread() -> None:
    """In every process: one thread, so that the processes do not stall each other."""
    import torch

    torch.set_num_threads(1)


def measure(head: Head, out: Path, mark: str, device: str) -> dict[str, Any]:
    """Measure one head and write its JSON and its strip of pictures; never raises."""
    row: dict[str, Any] = {"name": head.name, "validation": head.validation, "fingerprint": mark, "status": "ok"}
    try:
        row |= measured(head, out, device)
    except Exception as error:  # whatever it is, it is a result: this head failed
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    partial = out / f"{head.name}.json.part"
    partial.write_text(json.dumps(row, indent=1), encoding="utf-8")
    partial.replace(out / f"{head.name}.json")
    return row


def measured(head: Head, out: Path, device: str) -> dict[str, Any]:
    """All measures of one head, flat."""
    volume = read_volume(head.image)
    models = load_models(device)
    start = time.perf_counter()
    seeds = [zlib.crc32(f"{head.name} {draw}".encode()) for draw in range(2)]  # one seed makes all heads alike
    result = pipeline.reface_volume(volume, pipeline.RefaceOptions(seed=seeds[0], device=device), models=models)
    row: dict[str, Any] = {"seeds": seeds, "seconds": round(time.perf_counter() - start, 2)}
    row |= {f"seconds_{stage}": round(seconds, 2) for stage, seconds in result.seconds.items()}
    row |= {"mask_ml": result.counts["mask_ml"], "warnings": " ".join(result.warnings)}
    same = measures.same_bits(volume.stored, result.stored)
    row["changed_outside_mask"] = int((~same & ~result.mask).sum())
    if head.labels is not None:
        brain = np.asarray(read_volume(head.labels).stored) > 0
        row |= {"dlmuse_in_mask": int((brain & result.mask).sum()), "dlmuse_changed": int((brain & ~same).sum())}
        found, truth = (measures.at_spacing(mask, volume.affine, SPACING) for mask in (result.brain, brain))
        row["brain_dice"] = measures.dice(found, truth)
    second = pipeline.reface_volume(volume, pipeline.RefaceOptions(seed=seeds[1], device=device), models=models)
    known = heads.read_landmarks().get(head.name)
    landmarks = result.landmarks if known is None else dict(zip(FACE_LANDMARKS, known, strict=True))
    if known is not None:
        missed = np.linalg.norm(known - np.array([result.landmarks[name] for name in FACE_LANDMARKS]), axis=1)
        row["landmarks_mm"] = float(missed.mean())
    row |= faces(volume, result, second, landmarks, out / f"{head.name}.png")
    if head.validation:
        row |= recovered(volume, result, landmarks, device)
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def faces(
    volume: Volume,
    result: pipeline.RefaceResult,
    second: pipeline.RefaceResult,
    landmarks: measures.Landmarks,
    picture: Path,
) -> dict[str, float]:
    """Noise and surfaces: the original against the first seed, that against the second; writes the pictures."""
    values, affine = volume.values(), volume.affine
    refaced = volume.codec.to_values(result.stored)
    level = measures.skin_level(values, affine)
    row: dict[str, float] = {}
    for prefix, image in (("noise", refaced), ("noise_original", values)):
        ratios = measures.noise_ratios(image, affine, result.mask, level)
        row |= {f"{prefix}_{name}": ratio for name, ratio in ratios.items()}
        solid = measures.solid_head(image, affine, level)
        row[prefix.replace("noise", "air_step")] = measures.air_step(image, result.mask, solid, level)
    row["mask_tissue_ml"] = float((result.mask & (values > level)).sum()) * measures.voxel_ml(affine)
    old, new, other = (
        face_surface(image, affine) for image in (values, refaced, volume.codec.to_values(second.stored))
    )
    region = (result.mask, affine, landmarks)
    row["surface_mm"], row["surface_forward_mm"] = measures.surface_distance(old, new, *region)
    row["seeds_mm"], _ = measures.surface_distance(new, other, *region)
    row["surface_elsewhere_mm"] = measures.distance_elsewhere(old, new, result.mask, affine)
    sheet.write_strip(picture, old, new, refaced, affine, landmarks)
    return row


def recovered(
    volume: Volume, result: pipeline.RefaceResult, landmarks: measures.Landmarks, device: str
) -> dict[str, float | str]:
    """Deface the raw head as other tools do, recover it, and measure what came back."""
    x, y, z = measures.face_coordinates(volume.stored.shape, volume.affine, landmarks)
    chin = np.asarray(landmarks["chin"]) - (np.asarray(landmarks["left_eye"]) + landmarks["right_eye"]) / 2
    depth = float(np.linalg.norm(chin))
    values = volume.values()
    level = measures.skin_level(values, volume.affine)
    before = measures.solid_head(values, volume.affine, level)
    torn = measures.ragged(x, y, z, depth)
    peers = {
        "shell": (measures.shell(x, y, z, depth), 0.0),
        "plane": (measures.plane(result.brain, x, y, z), 0.0),
        "ragged": (torn, 0.0),
        "ragged_grey": (torn, float(np.median(values[values > level]))),
    }
    row: dict[str, float | str] = {}
    for peer, (lost, fill) in peers.items():
        stored = volume.stored.copy()
        stored[lost] = volume.codec.to_stored(np.array([fill], np.float32))[0]
        defaced = Volume(stored, volume.affine, volume.slope, volume.inter)
        try:
            again = pipeline.reface_volume(defaced, pipeline.RefaceOptions(mode="recover", device=device))
        except Exception as error:
            row[f"recover_{peer}_error"] = f"{type(error).__name__}: {error}"
            continue
        after = measures.solid_head(volume.codec.to_values(again.stored), volume.affine, level)
        shares = measures.recovery(lost, again.mask, result.mask, before, after, volume.affine)
        row |= {f"recover_{peer}_{name}": value for name, value in shares.items()}
    return row


# ---- all heads ----


def known_row(head: Head, out: Path, mark: str) -> dict[str, Any] | None:
    """The row of an earlier run of the same weights and code, unless the head failed then."""
    try:
        row = json.loads((out / f"{head.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if row.get("fingerprint") == mark and row.get("status") == "ok" else None


def measure_all(todo: list[Head], out: Path, jobs: int, device: str) -> list[dict[str, Any]]:
    """Measure every head that is not yet measured, in parallel; the rows in the order of ``todo``."""
    mark = fingerprint()
    rows = {head.name: known_row(head, out, mark) for head in todo}
    missing = [head for head in todo if rows[head.name] is None]
    print(f"{len(todo)} heads, {len(todo) - len(missing)} of them measured before", flush=True)
    if missing:
        context = multiprocessing.get_context("spawn")  # a forked process would inherit PyTorch's threads
        with ProcessPoolExecutor(min(jobs, len(missing)), context, initializer=one_thread) as pool:
            started = [pool.submit(measure, head, out, mark, device) for head in missing]
            for number, future in enumerate(as_completed(started), 1):
                row = future.result()
                rows[row["name"]] = row
                print(f"{number}/{len(missing)} {row['name']}: {row.get('error', table.brief(row))}", flush=True)
    return [rows[head.name] for head in todo]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m refacestudy.check_heads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of heads, searched to its depth")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results, which is created")
    parser.add_argument("--only", choices=("validation", "all"), default="all")
    parser.add_argument("--jobs", type=int, default=max(1, os.cpu_count() or 1), help="processes (default: the cores)")
    parser.add_argument("--limit", type=int, help="the first heads only; validation heads come first")
    parser.add_argument("--heads", nargs="+", metavar="ID", help="these heads only")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE.png", help="pictures of some heads")
    parser.add_argument("--sheet-heads", type=int, default=sheet.SHEET_HEADS, metavar="N", help="(%(default)s)")
    parser.add_argument("--with-originals", action="store_true", help="true faces too: never publish such a sheet")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes inherit it
    todo = [head for head in find_heads(given.data) if given.only == "all" or head.validation]
    if given.heads:
        todo = [head for head in todo if head.name in given.heads]
    todo = todo[: given.limit]
    if not todo:
        print(f"No heads <id>_T1w.nii.gz were found below {given.data}.", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    rows = measure_all(todo, given.out, given.jobs, given.device)
    table.write_csv(given.out / "heads.csv", rows)
    text = table.markdown(rows)
    (given.out / "heads.md").write_text(text, encoding="utf-8")
    print(text)
    if given.contact_sheet:
        names = sheet.choose([row for row in rows if row["status"] == "ok"], given.sheet_heads)
        strips = [given.out / f"{name}.png" for name in names]
        sheet.write_sheet(given.contact_sheet, strips, with_originals=given.with_originals)
    return 1 if table.broken(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
