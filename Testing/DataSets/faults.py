"""200 phantoms through two real workers; some persons crash their worker, kill it, or raise, once or always.

    python Testing/DataSets/faults.py WORK

The work on a person is a stub (Testing/Python/helpers/reface/bidswork.py); the engine, files and records are real.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Python"))

from helpers.bidsset import phantoms  # noqa: E402
from helpers.reface.bidswork import blank_person, faulty_person  # noqa: E402
from RefaceLib.bids.engine import KILLED, Workers  # noqa: E402
from RefaceLib.bids.job import Options  # noqa: E402
from RefaceLib.bids.run import run_participants  # noqa: E402


def main() -> None:
    work = Path(sys.argv[1])
    root, out = phantoms(work / "in", 200), work / "out"
    start = time.perf_counter()
    records = run_participants(root, out, Options(), seed=1, workers=Workers(2), work=faulty_person)
    failed = {int(record.label): record.rows[0].sentence for record in records if record.rows[0].status == "failed"}
    print(f"{time.perf_counter() - start:.0f} s; {200 - len(failed)} done; lost: {sorted(failed)}")
    assert {number for number, sentence in failed.items() if sentence == KILLED} == {7, 57, 107, 157}
    assert set(failed) == {7, 57, 107, 157, 33, 83, 133, 183}
    start = time.perf_counter()
    again = run_participants(root, out, Options(), workers=Workers(2), work=blank_person)
    assert [record.rows[0].status for record in again] == ["defaced"] * 200
    print(f"without faults, the lost ones alone: {time.perf_counter() - start:.0f} s; all 200 done")


if __name__ == "__main__":
    main()
