"""The methods that a study compares, ours and those of others, each from a volume to a volume.

A method runs in a process of its own (``python -m refacestudy.methods JOB.json``), so that its time and memory are its
own and nothing it does can stop the study. What others made is called through their own interfaces; a package that is
not installed is an error, and so a row of the report that says so.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refacestudy import cells

RECIPE = 2  # to be raised when a method is called in another way
Job = dict[str, Any]  # source, out, mask_out, templates; for the oracle also mask, pose, donor, donor_pose (paths)
NOISE = 0.01  # of the tissue's median, in "renoised"
OURS, PEER, YARDSTICK = "ours", "peer", "yardstick"
ORACLE = "oracle"
ANYBODY = ("oracle_anybody", "oracle_anybody2", "oracle_anybody3")
ORACLES = (ORACLE, *ANYBODY)
AVERAGE_FACES = ("average_face", "average_face_pydeface")
SEEDS = ("reface", "reface_seed1", "reface_seed2", "reface_seed3")  # a block: RefaceLib.face.seeds
OTHER_BLOCK = "reface_other_block"


@dataclass(frozen=True)
class Method:
    """``kind``: OURS, PEER or YARDSTICK; ``source``: the method whose volume it starts from; ``run`` does it."""

    name: str
    what: str
    kind: str
    run: Callable[[Job], dict[str, Any]]
    source: str = "original"
    packages: tuple[str, ...] = ()


# ---- ours ----


def _ours(mode: str, draw: int = 0) -> Callable[[Job], dict[str, Any]]:
    """``draw`` counts the faces of a head, whose seeds follow each other. Every head has its own: with one for all, all
    faces are alike."""

    def run(job: Job) -> dict[str, Any]:
        from RefaceLib import pipeline
        from RefaceLib.face.seeds import BLOCK
        from RefaceLib.face.weights import load_models
        from RefaceLib.volume.io import read_volume, write_mask, write_volume

        volume = read_volume(Path(job["source"]))
        models = load_models("cpu")
        head = Path(job["out"]).parents[1].name
        seed = zlib.crc32(head.encode()) // BLOCK * BLOCK + draw
        start = time.perf_counter()
        result = pipeline.reface_volume(
            volume, pipeline.RefaceOptions(mode=mode, seed=seed, device="cpu"), models=models
        )
        seconds = time.perf_counter() - start
        write_volume(Path(job["out"]), volume, result.stored)
        write_mask(Path(job["mask_out"]), result.mask, volume)
        return {
            "seed": seed,
            "landmarks": result.landmarks,
            "warnings": list(result.warnings),
            "seconds_array_to_array": seconds,
            "seconds_generate": result.seconds.get("generate"),
        }

    return run


# ---- yardsticks ----


def _renoised(job: Job) -> dict[str, Any]:
    """The original with a little noise: what any two scans differ by at the least."""
    from RefaceLib.volume.io import read_volume, write_volume
    from refacestudy import measures

    volume = read_volume(Path(job["source"]))
    values = np.nan_to_num(volume.values())
    noise = NOISE * float(np.median(values[values > measures.skin_level(values, volume.affine)]))
    random = np.random.default_rng(0).standard_normal(values.shape, dtype=np.float32)
    write_volume(Path(job["out"]), volume, volume.codec.to_stored(np.abs(values + noise * random)))
    return {"noise_sd": noise}


def _oracle(job: Job) -> dict[str, Any]:
    from refacestudy import oracle

    return oracle.make(job)


# ---- peers ----


def _niimath(job: Job, *arguments: str | Path) -> None:
    _call([sys.executable, "-m", "niimath", job["source"], *map(str, arguments), job["out"]], job["out"])


def _pydeface_data() -> tuple[Path, Path]:
    """The template and the mask (1: keep) that pydeface brings; the package need not run."""
    folder = Path(_package("pydeface")) / "data"
    return folder / "mean_reg2mean.nii.gz", folder / "facemask.nii.gz"


def _niimath_deface(job: Job) -> dict[str, Any]:
    _package("niimath")
    _niimath(job, "-deface", *_pydeface_data())
    return {}


def _average_face(job: Job) -> dict[str, Any]:
    """AFNI's refacer with its shell of an average face, as niimath does it."""
    _package("niimath")
    names = ("MNI152_2009_SSW", "refacer_shell_sym212", "MNI152_2009_SSW_weight")
    template, shell, weight = (_template(job, f"{name}.nii.gz") for name in names)
    _niimath(job, "-reface", template, shell, weight)
    return {}


def _average_face_pydeface(job: Job) -> dict[str, Any]:
    """The same with pydeface's mean head for a shell: all of it comes with pip."""
    import nibabel as nib
    from scipy import ndimage

    _package("niimath")
    template, keep = (nib.load(path) for path in _pydeface_data())
    values, kept = np.asarray(template.dataobj, np.float32), np.asarray(keep.dataobj) > 0.5
    head = ndimage.gaussian_filter(values, 1.0) > 0.12 * np.percentile(values, 99)
    shell = np.where(kept, 0.0, np.where(head, np.maximum(values, 1.0), -1.0)).astype(np.float32)
    weight = np.where(kept & head, 1.0, 0.0).astype(np.float32)
    folder = Path(job["out"]).parent
    paths = {"shell": folder / "shell.nii.gz", "weight": folder / "weight.nii.gz"}
    try:
        for path, array in zip(paths.values(), (shell, weight), strict=True):
            nib.save(nib.Nifti1Image(array, template.affine), path)
        _niimath(job, "-reface", _pydeface_data()[0], paths["shell"], paths["weight"])
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)
    return {}


def _quickshear(job: Job) -> dict[str, Any]:
    import nibabel as nib

    _package("deepbet"), _package("quickshear")
    from quickshear import quickshear

    from refacestudy import morphometry

    image = nib.load(job["source"])
    brain = nib.Nifti1Image(morphometry.brain_mask(image).astype(np.uint8), image.affine)
    nib.save(quickshear(image, brain), job["out"])
    return {}


def _radveil(job: Job) -> dict[str, Any]:
    _package("radveil")
    import radveil

    found = radveil.deface_auto(job["source"], job["out"], mode="adaptive", region="face+ears")
    names = ("escalated_to_block", "verify_rounds", "residual_detections")
    return {name: found[name] for name in names if name in found}


def _pydeface(job: Job) -> dict[str, Any]:
    _package("pydeface")
    if shutil.which("flirt") is None:
        raise FileNotFoundError("pydeface needs FSL, which is not on this computer.")
    _call([sys.executable, "-m", "pydeface", job["source"], "--outfile", job["out"], "--force"], job["out"])
    return {}


def _package(name: str) -> str:
    """The folder of a Python package; ModuleNotFoundError, in one sentence, where it is not installed."""
    found = importlib.util.find_spec(name)
    if found is None or not found.origin:
        raise ModuleNotFoundError(f"The Python package {name} is not installed: pip install {name}.")
    return str(Path(found.origin).parent)


def _template(job: Job, name: str) -> Path:
    folder = job.get("templates")
    path = Path(folder) / name if folder else None
    if path is None or not path.is_file():
        raise FileNotFoundError(f"AFNI's refacer templates are not there: give a folder with {name} (--templates).")
    return path


def _call(command: list[str], out: str) -> None:
    """Run a program; RuntimeError with the last line that it wrote where it fails or writes nothing."""
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode or not Path(out).is_file():
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no message"]
        raise RuntimeError(f"The program ended with code {done.returncode} ({lines[-1].strip()}).")


# ---- all of them ----

METHODS = {
    method.name: method
    for method in (
        Method("original", "the head as it was scanned", YARDSTICK, lambda job: {}, source=""),
        Method("renoised", "the original with noise of 1 % of its tissue", YARDSTICK, _renoised),
        Method(ORACLE, "the real face of somebody else of like size, age and sex in our mask", YARDSTICK, _oracle),
        *(
            Method(name, "the same, of somebody whose size, age and sex are no matter", YARDSTICK, _oracle)
            for name in ANYBODY
        ),
        Method("deface", "our face removal", OURS, _ours("deface")),
        *(
            Method(name, f"our new face, seed {draw + 1} of {len(SEEDS)}", OURS, _ours("reface", draw))
            for draw, name in enumerate(SEEDS)
        ),
        Method(OTHER_BLOCK, "the same, a seed of another four", OURS, _ours("reface", len(SEEDS))),
        Method("niimath_deface", "niimath -deface with pydeface's template and mask", PEER, _niimath_deface),
        Method("quickshear", "QuickShear with deepbet's brain mask", PEER, _quickshear),
        Method("radveil", "RadVeil, face and ears, adaptive", PEER, _radveil),
        Method("pydeface", "pydeface with FSL", PEER, _pydeface),
        Method("average_face", "average face: niimath -reface with AFNI's shell", PEER, _average_face),
        Method(
            "average_face_pydeface", "average face: niimath -reface, pydeface's mean head", PEER, _average_face_pydeface
        ),
        Method("recover_deface", "a face put back after our defacing", OURS, _ours("recover"), "deface"),
        Method("recover_niimath", "after niimath -deface", OURS, _ours("recover"), "niimath_deface"),
        Method("recover_quickshear", "after QuickShear", OURS, _ours("recover"), "quickshear"),
    )
}


def _peak_mb() -> float | None:
    """The largest memory of this process or of one that it started; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1e6 if sys.platform == "darwin" else 1e3
    own, children = (
        resource.getrusage(who).ru_maxrss / unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux the parent, from which this process was forked, counts as well in the first number
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        own = float(lines["VmHWM"].split()[0]) / 1e3
    return max(own, children)


def main() -> int:
    """Do the job in the file that is named; its result is written beside it."""
    path = Path(sys.argv[1])
    job = json.loads(path.read_text(encoding="utf-8"))
    try:
        result: dict[str, Any] = METHODS[job["method"]].run(job)
    except Exception as error:  # the parent reports it
        result = {"error": cells.sentence(error)}
    times = os.times()
    result["cpu_seconds"] = times.user + times.system + times.children_user + times.children_system
    result["peak_mb"] = _peak_mb()
    path.with_suffix(".result").write_text(json.dumps(cells.plain(result)), encoding="utf-8")
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
