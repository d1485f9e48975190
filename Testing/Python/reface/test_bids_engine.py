"""Runs over whole data sets through real workers: what dies loses one try, what is done stays, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from distributed import LocalCluster

from helpers.bidsset import outputs, phantoms
from helpers.reface.bidswork import blank_person, faulty_person, hungry_person
from RefaceLib.bids.engine import KILLED, Workers, do_tasks, local_size, started
from RefaceLib.bids.job import Options
from RefaceLib.bids.run import run_participants
from RefaceLib.common.errors import InputError

TWO = Workers(2)


def test_persons_whose_workers_meet_faults(tmp_path):  # Testing/DataSets/faults.py does this with 200
    root, out = phantoms(tmp_path / "in", 40), tmp_path / "out"
    records = run_participants(root, out, Options(), seed=1, workers=TWO, work=faulty_person)
    failed = {int(record.label): record.rows[0].sentence for record in records if record.rows[0].status == "failed"}
    assert set(failed) == {7, 33} and failed[7] == KILLED and "ValueError: a mistake" in failed[33]
    assert len((out / "reface.tsv").read_text().splitlines()) == 41
    assert len(list(out.glob("sub-*/anat/*_T1w.nii.gz"))) == 38
    start = time.perf_counter()
    again = run_participants(root, out, Options(), workers=TWO, work=blank_person)
    assert [record.rows[0].status for record in again] == ["defaced"] * 40
    assert not any(record.again for record in again) and time.perf_counter() - start < 60


def test_a_worker_that_takes_too_much_memory_loses_its_person_alone(tmp_path):
    root, out = phantoms(tmp_path / "in", 3), tmp_path / "out"
    records = run_participants(root, out, Options(), workers=Workers(1, memory=400 << 20), work=hungry_person)
    assert [record.rows[0].status for record in records] == ["failed", "defaced", "defaced"]
    assert "--mem-mb" in records[0].rows[0].sentence


RUN = """
import sys
from pathlib import Path
from helpers.reface.bidswork import slow_person
from RefaceLib.bids.engine import Workers
from RefaceLib.bids.job import Options
from RefaceLib.bids.run import run_participants
if __name__ == "__main__":
    run_participants(Path(sys.argv[1]), Path(sys.argv[2]), Options(), seed=1, workers=Workers(2), work=slow_person)
"""


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(tmp_path):
    root = phantoms(tmp_path / "in", 8)
    whole = tmp_path / "whole"
    run_participants(root, whole, Options(), seed=1, workers=TWO, work=blank_person)
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(RUN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, script, root, out], env=environment)
    until = time.monotonic() + 60
    while len(list(out.glob(".reface/sub-*.json"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(list(out.glob("sub-*"))) < 8
    run_participants(root, out, Options(), workers=TWO, work=blank_person)
    assert outputs(out) == outputs(whole)


def test_a_cluster_that_is_there_is_used():
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        with started(Workers(scheduler=cluster.scheduler_address)) as client:
            assert dict(do_tasks(client, abs, [-1, 2, -3], ["a", "b", "c"])) == {0: 1, 1: 2, 2: 3}


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch):
    def refuse(address, timeout):
        raise OSError("Timed out")

    monkeypatch.setattr("distributed.Client", refuse)
    with (
        pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        started(Workers(scheduler="tcp://127.0.0.1:9")),
    ):
        pass


def test_workers_share_the_memory():
    assert local_size(Workers(4, memory=8 << 30)) == (4, 2 << 30)
    count, memory = local_size(Workers(memory=7 << 30))
    assert count in (1, 2) and count * memory <= 7 << 30
