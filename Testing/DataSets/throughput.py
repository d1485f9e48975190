"""How much faster two workers are than one, on heads of 2 mm.

python Testing/DataSets/throughput.py WORK [--data ../shared/data] [--heads 8]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Python"))

from helpers.bidsset import add, begin  # noqa: E402
from RefaceLib.bids.engine import Workers  # noqa: E402
from RefaceLib.bids.job import Options  # noqa: E402
from RefaceLib.bids.run import run_participants  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--heads", type=int, default=8)
    options = parser.parse_args()
    root = begin(options.work / "in")
    heads = sorted((options.data / "ixi-t1-2mm").glob("*_T1w.nii.gz"))[: options.heads]
    for number, head in enumerate(heads, start=1):
        add(root, f"sub-{number:02d}/anat/sub-{number:02d}_T1w.nii.gz", head)
    seconds = {}
    for count in (1, 2):
        start = time.perf_counter()
        run_participants(root, options.work / f"out{count}", Options(), seed=1, workers=Workers(count))
        seconds[count] = time.perf_counter() - start
        print(f"{count} workers: {seconds[count]:.1f} s for {len(heads)} heads", flush=True)
    print(f"two workers do {seconds[1] / seconds[2]:.2f} times as much as one")


if __name__ == "__main__":
    main()
