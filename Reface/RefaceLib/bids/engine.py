"""Does tasks that are independent of each other in worker processes (Dask), here or on a cluster.

A worker that crashes, is killed or runs out of memory loses its try at one task; the task is tried again.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.common.shell import sentence_of

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")
TRIES = 3  # of a task whose worker dies
LEAST_MEMORY = 3 << 30  # bytes for a worker: a head of 256^3 voxels takes 1.4 GB
KILLED = (
    f"The process was ended {TRIES} times while it worked on this person, as happens when memory runs out: give each "
    "worker more (--mem-mb, or fewer with --n-procs) and run again."
)
_EXTRA = "slicer-reface[bids]"
_PATIENCE = 300.0  # seconds without any worker
_LEAST_SENT = 100
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


@dataclass(frozen=True)
class Workers:
    """``count`` processes of this machine (None: as many as cores and memory allow) with ``threads`` threads each, that
    share ``memory`` bytes (None: all); or the cluster whose scheduler has the address ``scheduler``."""

    count: int | None = None
    threads: int = 1
    memory: int | None = None
    scheduler: str | None = None

    @classmethod
    def asked_for(cls, count: int | None, threads: int, mem_mb: int | None, scheduler: str | None) -> Workers:
        """Those of the options --n-procs, --omp-nthreads, --mem-mb and --scheduler."""
        return cls(count, threads, mem_mb << 20 if mem_mb else None, scheduler)


def check_packages(*names: str) -> None:
    """Raise InputError where one of the packages ``names``, which data sets and workers need, is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in names if find_spec(name) is None]:
        raise InputError(f"This needs {' and '.join(missing)}: install them with 'pip install \"{_EXTRA}\"'.")


@contextlib.contextmanager
def started(workers: Workers) -> Iterator[Client]:
    """A client of the workers, which end with the block. Raises InputError where a scheduler does not answer."""
    import dask
    from distributed import Client, LocalCluster, Security

    for name in ("distributed", "bokeh", "tornado"):  # they tell of every worker that dies; the table tells of tasks
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if workers.scheduler:
        try:
            client = Client(workers.scheduler, timeout="30s")
        except (OSError, ValueError) as error:
            raise InputError(f"No Dask scheduler answers at {workers.scheduler}: check --scheduler.") from error
        with client:
            yield client
        return
    count, memory = local_size(workers)
    settings = {
        "distributed.scheduler.allowed-failures": TRIES - 1,
        "distributed.deploy.lost-worker-timeout": "1d",  # one that starts slowly again is not given up
        "distributed.worker.memory.target": False,  # a head cannot be spilt to the disk
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.nanny.pre-spawn-environ": {name: str(workers.threads) for name in _THREADS},
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=memory,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            security=Security.temporary(),  # or anyone on this machine could send it tasks
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def local_size(workers: Workers) -> tuple[int, int]:
    """How many processes this machine has for the work, and the bytes of memory of each."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    memory = workers.memory or MEMORY_LIMIT
    count = workers.count or max(1, min(CPU_COUNT // workers.threads, memory // LEAST_MEMORY))
    return count, memory // count


def do_tasks(
    client: Client, work: Callable[[Task], Result], tasks: Sequence[Task], keys: Sequence[str]
) -> Iterator[tuple[int, Result | str]]:
    """Do ``work`` on every one of ``tasks``; yield the number of each that has ended, and its result or a sentence.

    The sentence tells why all its tries were lost. ``keys`` are unique names of the tasks. Raises RefaceError where the
    workers of this machine have all ended and do not come back.
    """
    from distributed import TimeoutError as NoneEnded  # not the built-in one in Python 3.10
    from distributed import wait

    waiting = iter(range(len(tasks)))
    running: dict[Any, int] = {}
    seen = time.monotonic()  # when there was a worker
    while True:
        for index in itertools.islice(waiting, max(0, _at_once(client) - len(running))):
            running[client.submit(work, tasks[index], key=keys[index], retries=1, pure=False)] = index
        if not running:
            return
        try:
            ended = wait(list(running), timeout=_PATIENCE / 10, return_when="FIRST_COMPLETED").done
        except NoneEnded:
            ended = set()
        for future in ended:
            yield running.pop(future), _outcome(future)
        if ended or client.nthreads() or client.cluster is None:
            seen = time.monotonic()
        elif time.monotonic() - seen > _PATIENCE:
            raise RefaceError("All workers have ended and do not start again: run the same command again to go on.")


def _at_once(client: Client) -> int:
    """How many tasks are sent at once: to a cluster many, so that it can grow with them; here one a worker.

    The death of a worker is counted against every task that was sent to it.
    """
    threads = sum(client.nthreads().values())
    return max(1, threads) if client.cluster is not None else max(_LEAST_SENT, 2 * threads)


def _outcome(future: Any) -> Any:
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, KilledWorker):
        return KILLED
    return sentence_of(error) if isinstance(error, Exception) else str(error)
