"""Kills `reface bids` at random moments, and proves that what is left goes on to the same bytes.

    python Testing/DataSets/kill_and_resume.py WORK [--data ../shared/data] [--kills 10] [--persons 01 02]

A data set of thirteen persons is made in WORK, done once undisturbed, and once with kills. Every promise is counted on
every volume, the official validator runs on what was written, and a further run has nothing to do.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Python"))

from helpers.bidsset import outputs, twelve_persons  # noqa: E402


def command(root: Path, out: Path, chosen: list[str]) -> list[str]:
    options = ["participant", *chosen, "--seed", "5", "--n-procs", "2", "--device", "cpu"]
    return [sys.executable, "-m", "RefaceLib", "bids", str(root), str(out), *options]


def run(root: Path, out: Path, chosen: list[str]) -> float:
    """Run to the end; the seconds that it took. One volume fails, as it must."""
    start = time.perf_counter()
    ran = subprocess.run(command(root, out, chosen), capture_output=True, text=True)
    told = [line for line in ran.stderr.splitlines() if line.startswith("reface: sub-")]
    assert ran.returncode == 2 and len(told) == 1 and "sub-09_T1w.nii.gz: The file is truncated" in told[0], ran.stderr
    return time.perf_counter() - start


def kill(root: Path, out: Path, chosen: list[str], seconds: float) -> None:
    """Run, and kill it with all its workers after so many seconds."""
    process = subprocess.Popen(
        command(root, out, chosen), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_promises(root: Path, out: Path) -> dict[str, int]:
    """Every promise on the numbers of every volume; how many volumes have which status."""
    with (out / "reface.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
        if row["output"] == "n/a":
            continue
        before, after = (np.asanyarray(nib.load(path).dataobj) for path in (root / row["file"], out / row["output"]))
        mask = np.asanyarray(nib.load(out / row["mask"]).dataobj) > 0
        assert np.array_equal(before[~mask], after[~mask], equal_nan=before.dtype.kind == "f"), row["file"]
        assert row["brain_voxels_changed"] == row["voxels_changed_outside_mask"] == "0", row["file"]
        if row["status"] != "recovered":  # of those, another tool has chosen the mask
            assert min(float(row[name]) for name in row if name.startswith("removed_")) >= 0.98, row["file"]
    return counts


def validate(folder: Path) -> None:
    program = shutil.which("bids-validator-deno")
    assert program, "pip install bids-validator-deno"
    ran = subprocess.run([program, str(folder)], capture_output=True, text=True)
    print(f"  validator on {folder.name}: {'no error' if ran.returncode == 0 else ran.stdout[-2000:]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--output", choices=("derivatives", "dataset"), default="dataset")
    parser.add_argument("--persons", nargs="+", metavar="LABEL", help="these and 09, instead of all thirteen")
    options = parser.parse_args()
    labels = [f"{number:02d}" for number in range(1, 14)]
    if options.persons:
        labels = sorted({*options.persons, "09"})  # one volume of which fails, as is checked
    chosen = ["--output", options.output, "--participant-label", *labels]
    root = twelve_persons(options.work / "Süd Klinik" / "heads", options.data)
    whole, killed = options.work / "whole", options.work / "killed"
    took = run(root, whole, chosen)
    print(f"undisturbed: {took:.0f} s; {check_promises(root, whole)}", flush=True)
    validate(whole)
    print(f"again, with nothing to do: {run(root, whole, chosen):.1f} s", flush=True)
    chance = random.Random(0)
    for number in range(options.kills):
        seconds = chance.uniform(2.0, max(4.0, 0.2 * took))
        kill(root, killed, chosen, seconds)
        done = len(list(killed.glob(".reface/sub-*.json")))
        print(f"kill {number + 1} after {seconds:.1f} s: {done} of {len(labels)} persons done", flush=True)
    print(f"resumed: {run(root, killed, chosen):.0f} s; {check_promises(root, killed)}", flush=True)
    same = outputs(whole) == outputs(killed)
    print(f"the same bytes in {len(outputs(whole))} files: {same}", flush=True)
    assert same


if __name__ == "__main__":
    main()
