"""Makes a calibration: measures how similar strangers are, and how similar a head is to itself in another scan.

Every head of a folder is embedded, and so are simulated further scans of it (rescan.py), each parsed anew. Different
heads give the scores of strangers. The scans of one head give the scores of a person with itself. The calibration holds
numbers of pairs only. judge/calibration.py reads it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.bids.carry import pointer_sentence
from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.common.imagenames import image_extension
from RefaceLib.common.progress import Cancelled, Progress, no_progress
from ReidentRiskLib.attack.views import view_set
from ReidentRiskLib.judge.calibration import Calibration, distribution_of
from ReidentRiskLib.judge.identify import compare_views, identification_record, identify
from ReidentRiskLib.judge.scores import ATTACKERS, number, rows_of, similarity_matrix
from ReidentRiskLib.judge.statistics import rate_record
from ReidentRiskLib.runs.embedscans import SCANS, CalibrateOptions, Scan, embed_scans, load_all_tools, load_scan
from ReidentRiskLib.runs.rescan import RECIPE

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding

FEWEST_HEADS = 15  # 105 pairs of strangers: with fewer, "1 in 100" cannot be told
EMBEDDINGS = "embeddings"  # folder for what is kept between runs


# ---- statistics ----


def pair_scores(heads: Sequence[Sequence[HeadEmbedding]], attacker: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the first scans of different heads, all pairs, and of the scans of each head with each other.

    `heads` are the scans of each head; NaN stands for a pair without a face that was acquired.
    """
    firsts = [scans[0] for scans in heads]
    matrix = similarity_matrix(firsts, firsts, attacker)
    different = matrix[np.triu_indices(len(firsts), 1)]
    same = [
        similarity_matrix([one], [other], attacker)[0, 0]
        for scans in heads
        for one, other in itertools.combinations(scans, 2)
    ]
    return different, np.array(same)


def with_views(head: HeadEmbedding, views: str) -> HeadEmbedding:
    """The head in a view set that its own one holds."""
    names = [view.name for view in view_set(head.views)]
    index = [names.index(view.name) for view in view_set(views)]
    return replace(
        head,
        views=views,
        aligned=head.aligned[index],
        detected=head.detected[index],
        pictures=None,
        crops=None,
        found=None,
    )


def make_calibrations(
    heads: Sequence[Sequence[HeadEmbedding]], views: Sequence[str], sha256: str, about: dict[str, Any]
) -> list[Calibration]:
    """The calibrations of both attackers for one model (of the file `sha256`) and each of the `views`."""
    made = []
    for name in views:
        chosen = [[with_views(scan, name) for scan in scans] for scans in heads]
        for attacker in ATTACKERS:
            different, same = (distribution_of(scores) for scores in pair_scores(chosen, attacker))
            model = chosen[0][0].model
            made.append(Calibration(model, sha256, name, attacker, different, same, about))
    return made


def check_heads(heads: Sequence[Sequence[HeadEmbedding]], views: str) -> dict[str, Any]:
    """How well a network tells the heads apart: single views against each other, and further scans in the gallery."""
    chosen = [[with_views(scan, views) for scan in scans] for scans in heads]
    firsts = [scans[0] for scans in chosen]
    again = [(scans[0].name, scan) for scans in chosen for scan in scans[1:]]
    result: dict[str, Any] = {}
    for attacker in ATTACKERS:
        result[attacker] = {"views_with_a_face": _acquired(firsts, attacker)}
        if len(view_set(views)) > 1:
            single = compare_views(firsts, attacker)
            result[attacker]["single_views"] = {
                "heads": single.heads,
                "same_pairs": single.same_pairs,
                "different_pairs": single.different_pairs,
                "auc": number(single.auc),
                "d_prime": number(single.d_prime),
                "rank1_held_out_views": rate_record(single.rank1),
            }
        if again:
            result[attacker]["further_scans"] = identification_record(identify(firsts, again, attacker))
    return result


def _acquired(heads: Sequence[HeadEmbedding], attacker: str) -> float | None:
    """Share of the views of all heads in which the attacker has a face."""
    return number(np.mean([np.isfinite(rows_of(head, attacker)).all(axis=1).mean() for head in heads]))


# ---- the whole of it ----


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What a run gives: ``calibrations`` for all models, view sets and attackers; ``checks`` by model and view set."""

    calibrations: tuple[Calibration, ...]
    checks: dict[str, Any]
    heads: int
    notes: tuple[str, ...]


def head_files(folder: Path, pattern: str = "*") -> list[Path]:
    """The volumes of a folder whose names match `pattern`, in the order of their names. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give a folder of heads.")
    files = sorted(path for path in folder.glob(pattern) if not path.is_dir() and image_extension(path))
    if not files:
        raise InputError(f"{folder} holds no volume whose name matches '{pattern}': check the folder and --pattern.")
    for path in files:
        if elsewhere := pointer_sentence(path):
            raise InputError(elsewhere)
    return files


def calibrate(
    heads: Path,
    out: Path,
    options: CalibrateOptions,
    *,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Calibrated:
    """Embed all heads of the folder `heads` and count; embeddings are kept in the folder `out` between runs.

    Raises InputError where there are not enough heads, and as load_tools does.
    """
    from ReidentRiskLib.attack.render import renderer_name

    progress = progress or no_progress
    files = head_files(heads, options.pattern)
    _check_count(len(files), heads)
    folder = out / EMBEDDINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefaceError(f"The folder {folder} cannot be made ({error.strerror}): choose another one.") from error
    every = load_all_tools(options.models, options.device, options.accept_licence)  # downloads what is missing, once
    scans = [
        [
            Scan(path, number, options, folder)
            for number in range(1 + options.scans * (index % options.rescan_every == 0))
        ]
        for index, path in enumerate(files)
    ]
    notes = embed_scans([scan for each in scans for scan in each], options.jobs, progress, cancelled)

    about = {
        "data": options.data or f"{len(files)} heads of the folder {heads.name}",
        "scans": f"{options.scans} simulated further scan(s) of {_which(options.rescan_every)}, recipe {RECIPE}",
        "command": command_of(heads, out, options),
        "renderer": renderer_name(),
        "detector_sha256": every[0].detector.sha256,
        "date": date.today().isoformat(),
    }
    calibrations: list[Calibration] = []
    checks: dict[str, Any] = {}
    used = 0
    for tools in every:
        embedded = [[load_scan(scan, tools) for scan in each] for each in scans]
        complete = [[scan for scan in each if scan is not None] for each in embedded if each[0] is not None]
        used = len(complete)
        _check_count(used, heads)
        counted = {"heads": used, **about}
        calibrations += make_calibrations(complete, options.views, tools.embedder.sha256, counted)
        checks[tools.embedder.name] = {views: check_heads(complete, views) for views in options.views}
    return Calibrated(tuple(calibrations), checks, used, tuple(notes))


def _which(every: int) -> str:
    return "each head" if every == 1 else f"one head in {every}"


def _check_count(count: int, folder: Path) -> None:
    if count < FEWEST_HEADS:
        raise InputError(
            f"{folder} holds {count} heads that can be used, but a calibration needs {FEWEST_HEADS}: add more."
        )


def command_of(heads: Path, out: Path, options: CalibrateOptions) -> str:
    """The command that makes the same again, with the folders' names alone."""
    models = " ".join(Path(model).name for model in options.models)
    parts = ["reident-risk calibrate", heads.name, out.name, f"--model {models}", f"--views {' '.join(options.views)}"]
    parts += [f"--pattern '{options.pattern}'"] if options.pattern != "*" else []
    parts += [f"--scans {options.scans}"] if options.scans != SCANS else []
    parts += [f"--rescan-every {options.rescan_every}"] if options.rescan_every != 1 else []
    return " ".join(parts)
