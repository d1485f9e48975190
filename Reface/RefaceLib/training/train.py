"""`reface train DATA OUT`: makes all of the shipped weights anew, in stages that resume where they were stopped.

DATA is any folder with heads: `<id>_T1w.nii.gz` with DLMUSE labels `<id>_dlmuse.nii.gz` beside them train the head
parser and the coarse stage, `training_seg_*.nii.gz` (whole-head label maps) add contrasts to the parser, and T1w heads
of at most 1.25 mm without labels train the fine stage. Subjects of validation.txt are never trained on.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.common.options import DEVICES
from RefaceLib.face import fitted, weights
from RefaceLib.head.pose import parse_head
from RefaceLib.training import boxes, heads
from RefaceLib.training.atlas import build_face_model

if TYPE_CHECKING:
    from torch import nn

    from RefaceLib.face.shapemodel import Atlas, ShapeModel
    from RefaceLib.networks.layers import Generator, HeadParserNet

Net = TypeVar("Net", bound="nn.Module")
STAGES = ("localizer", "parser", "faces", "fine", "export")
_SHARES = {"localizer": 0.3, "parser": 0.15, "faces": 0.4, "fine": 0.15}  # of the whole time budget


@dataclass(frozen=True)
class TrainCommand:
    """``minutes``: time budget of the networks together; ``threads``: of PyTorch on the CPU;
    ``jobs``: processes that register heads for the atlas; ``from_shipped``: keep the shipped face model, and train the
    shipped coarse generator further."""

    data: Path
    out: Path
    minutes: float = 200.0
    stage: str = "all"
    device: str = "auto"
    threads: int = 0
    jobs: int = 2
    seed: int = 0
    from_shipped: bool = False

    def run(self) -> None:
        import torch

        from RefaceLib.networks.inference import choose_device

        if not self.data.is_dir():
            raise InputError(f"The folder of heads {self.data} does not exist.")
        if not heads.all_heads(self.data):
            raise InputError(f"The folder {self.data} holds no <id>_T1w.nii.gz.")
        if self.threads:
            torch.set_num_threads(self.threads)
        self.out.mkdir(parents=True, exist_ok=True)
        device = choose_device(self.device)
        for stage in STAGES if self.stage == "all" else (self.stage,):
            getattr(self, f"_{stage}")(device)

    def _localizer(self, device: str) -> None:
        self._train_parser("localizer", device)

    def _parser(self, device: str) -> None:
        self._train_parser("parser", device)

    def _train_parser(self, name: str, device: str) -> None:
        from RefaceLib.training.parserloop import ParserTraining, train

        if not heads.labelled_heads(self.data):
            print(f"{self.data} has no brain labels: the shipped {name} is used as it is.")
            return
        minutes, posed = self.minutes * _SHARES[name], name == "parser"
        train(ParserTraining(self.data, self.out / name, posed, minutes=minutes, device=device, seed=self.seed))

    def _faces(self, device: str) -> None:
        from RefaceLib.training.ganloop import FaceTraining, train_faces
        from RefaceLib.training.samples import write_samples

        training, validation, model, atlas = self.coarse_data()

        def look(generator: Generator, step: int) -> None:
            write_samples(self.out / "faces" / f"samples_{step:06d}.png", generator, validation, model, atlas, device)

        config = FaceTraining(
            self.out / "faces", minutes=self.minutes * _SHARES["faces"], device=device, seed=self.seed
        )
        if self.from_shipped:
            config = replace(config, start=weights.load_models(device).coarse, rate=config.rate / 3)
        train_faces(config, training, model, atlas, validate=look)

    def _fine(self, device: str) -> None:
        from RefaceLib.training.fineloop import FineTraining, train_fine

        config = FineTraining(self.out / "fine", minutes=self.minutes * _SHARES["fine"], device=device, seed=self.seed)
        train_fine(config, self.fine_data())

    def _export(self, device: str) -> None:
        del device
        export(self.out, self.data)

    def coarse_data(self) -> tuple[list[boxes.Box], list[boxes.Box], ShapeModel, Atlas]:
        """Training boxes, validation boxes, the shape model and its atlas; made once and kept in ``out``."""
        cache = self.out / "boxes.pkl"
        if not cache.exists():
            held_out, broken = heads.validation_ids(), heads.excluded_ids()
            made = self._coarse_boxes()
            training = [b for b in made if b.name not in held_out | broken]
            if self.from_shipped:
                model, atlas = weights.load_shape_model()
            else:
                model, atlas = build_face_model(training, jobs=self.jobs)
            with cache.open("wb") as stream:
                pickle.dump((training, [b for b in made if b.name in held_out], model, atlas), stream, protocol=4)
        with cache.open("rb") as stream:
            return pickle.load(stream)

    def _coarse_boxes(self) -> list[boxes.Box]:
        """Boxes of labelled heads with known landmarks; without any, of all heads, by the head parser."""
        landmarks, labelled = heads.read_landmarks(), heads.labelled_heads(self.data)
        made = [boxes.labelled_box(name, *labelled[name], landmarks[name]) for name in labelled if name in landmarks]
        return made or [self._parsed_box(path, 2.0) for path in heads.all_heads(self.data)]

    def _parsed_box(self, path: Path, spacing: float) -> boxes.Box:
        values, affine = heads.load(path)
        values = np.nan_to_num(values)
        parse = parse_head(values, affine, *self._parser_networks(), "cpu")
        return boxes.make_box(heads.head_id(path), values, affine, parse, spacing)

    def _parser_networks(self) -> tuple[HeadParserNet, HeadParserNet]:
        """Localizer and parser of this training where they were trained, else those that are shipped."""
        from RefaceLib.networks.layers import localizer_net, parser_net

        localizer, parser = (self.out / _CHECKPOINTS[name] for name in ("localizer", "parser"))
        if localizer.exists() and parser.exists():
            return _averaged(localizer, localizer_net()), _averaged(parser, parser_net())
        shipped = weights.load_models("cpu")
        return shipped.localizer, shipped.parser

    def fine_data(self) -> list[boxes.Box]:
        """1 mm boxes of the fine heads, by the head parser."""
        made = [self._parsed_box(path, 1.0) for path in heads.fine_heads(self.data)]
        if not made:
            raise InputError(f"The folder {self.data} holds no T1w heads of 1.25 mm or finer for the fine stage.")
        return made


def _averaged(path: Path, net: Net) -> Net:
    """``net`` with the averaged weights of the checkpoint ``path``, ready for use."""
    import torch

    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["parts"]["average"])
    return net.eval().requires_grad_(False)


def export(out: Path, data: Path) -> None:
    """Write ``out``/Models: the weights as safetensors and their registry with hashes and validation figures.

    What was not trained in ``out`` is taken over from the shipped weights, its entry in the registry with it. Constants
    that were fitted to weights which are no longer the shipped ones become neutral (see ``fitted_section``).
    """
    folder = out / "Models"
    folder.mkdir(exist_ok=True)
    training, validation, model, atlas = TrainCommand(data, out).coarse_data()
    detail = atlas.detail
    if detail is None:
        raise InputError(f"The face model in {out} has no details: remove {out / 'boxes.pkl'} and train it again.")
    shipped = weights.read_registry()
    models = dict(shipped["models"])
    nets = _trained(out, model.size)
    for name in _CHECKPOINTS:
        if name in nets:
            weights.save_network(folder / f"{name}.safetensors", nets[name])
        else:
            shutil.copy(weights.checked_file(name), folder)
    weights.save_shape_model(folder / "shape.safetensors", model, atlas)
    weights.save_detail(folder / "detail.safetensors", detail)
    figures = _figures(nets, data, validation, model, atlas)
    figures |= {"shape": {"modes": model.size, "heads": len(training)}}
    figures |= {"detail": {"modes": len(detail.modes), "heads": len(training)}}
    for name in figures:
        path = folder / f"{name}.safetensors"
        if weights.sha256_of(path) == shipped["models"][name]["sha256"]:
            continue
        models[name] = {
            "file": path.name, "sha256": weights.sha256_of(path), "version": "1", "date": date.today().isoformat(),
            "licence": _LICENCE[name], "data": _DATA[name], "command": "reface train DATA OUT; see docs/experiments.md",
            "figures": figures[name], **training_log(out / _CHECKPOINTS.get(name, _CHECKPOINTS["coarse"])),
        }  # fmt: skip
    registry = {"name": "Reface cGAN", "version": "1", "models": models, "fitted": fitted_section(models, shipped)}
    weights.write_registry(registry, folder)


def fitted_section(models: dict[str, Any], shipped: dict[str, Any]) -> dict[str, Any]:
    """The section "fitted" of the registry for ``models``, the entries of its files by name.

    A constant of the ``shipped`` registry holds only for the files that it was fitted to. For others it is neutral.
    """
    section = fitted.neutral()
    for name, files in fitted.FITTED_TO.items():
        if all(models[file]["sha256"] == shipped["models"][file]["sha256"] for file in files):
            section[name] = shipped["fitted"][name]
        else:
            print(f"The constant {name} is neutral: docs/training.md explains how to fit it to the new weights.")
    return section


_CHECKPOINTS = {
    "localizer": "localizer/parser.pt",
    "parser": "parser/parser.pt",
    "coarse": "faces/faces.pt",
    "fine": "fine/fine.pt",
}


def _trained(out: Path, codes: int) -> dict[str, nn.Module]:
    """The networks that were trained in ``out``, by name; the face model has ``codes`` components."""
    from RefaceLib.networks import layers

    untrained: dict[str, nn.Module] = {
        "localizer": layers.localizer_net(),
        "parser": layers.parser_net(),
        "coarse": layers.Generator(codes),
        "fine": layers.FineGenerator(),
    }
    checkpoints = {name: out / checkpoint for name, checkpoint in _CHECKPOINTS.items()}
    return {name: _averaged(path, untrained[name]) for name, path in checkpoints.items() if path.exists()}


def _figures(
    nets: dict[str, nn.Module], data: Path, validation: list[boxes.Box], model: ShapeModel, atlas: Atlas
) -> dict[str, dict[str, float]]:
    """What the trained ``nets`` reach on the validation heads."""
    from RefaceLib.networks.layers import HeadParserNet
    from RefaceLib.training.parserloop import load_samples, validate

    figures: dict[str, dict[str, float]] = {name: {} for name in nets}
    parsers = {name: net for name, net in nets.items() if isinstance(net, HeadParserNet)}
    samples = load_samples(data)[2] if parsers else []
    for name, net in parsers.items():
        figures[name] = validate(net, samples, posed=name == "parser", device="cpu")
    if "coarse" in nets:
        figures["coarse"] = {"l1_in_mask": coarse_error(nets["coarse"], validation, model, atlas)}
    return figures


_IXI_LICENCE = "CC-BY-SA-3.0"  # what is made of IXI keeps its licence
_LICENCE = {
    "localizer": _IXI_LICENCE,
    "parser": _IXI_LICENCE,
    "shape": _IXI_LICENCE,
    "detail": _IXI_LICENCE,
    "coarse": _IXI_LICENCE,
    "fine": "Apache-2.0",
}
_IXI = "IXI T1 at 2 mm with DLMUSE labels (CC BY-SA 3.0), less the subjects of validation.txt"
_DATA = {
    "localizer": [_IXI, "SynthSeg training label maps (Apache-2.0)"],
    "parser": [_IXI, "SynthSeg training label maps (Apache-2.0)"],
    "shape": [_IXI + " and excluded.txt"],
    "detail": [_IXI + " and excluded.txt"],
    "coarse": [_IXI + " and excluded.txt"],
    "fine": ["T1 heads of about 1 mm: adi (Apache-2.0), child3y (MIT), philips and uiha (BSD-2-Clause)"],
}


def training_log(checkpoint: Path) -> dict[str, int]:
    """Steps and minutes of a stage, from the last line of the log beside its checkpoint."""
    path = checkpoint.with_name("log.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    timed = [row for row in rows if "s" in row]
    return {"steps": timed[-1]["step"], "minutes": round(timed[-1]["s"] / 60)} if timed else {}


def coarse_error(generator: nn.Module, validation: list[boxes.Box], model: ShapeModel, atlas: Atlas) -> float:
    """Mean absolute error in the mask (1 = white matter) of faces painted with the heads' own codes."""
    import torch

    from RefaceLib.training.faces import random_face

    errors = []
    for index, box in enumerate(validation):
        s = random_face(np.random.default_rng(index), box, model, atlas, own=True)
        with torch.inference_mode():
            painted = generator(s.image, s.mask, s.shape, s.atlas, s.view, s.code) * s.view
        counted = s.mask * s.view
        errors.append(float((counted * (painted - s.image).abs()).sum() / counted.sum()))
    return round(float(np.mean(errors)), 4)


def main(argv: list[str] | None = None) -> None:
    """The command `reface train`."""
    parser = argparse.ArgumentParser(prog="reface train", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of heads, searched with its subfolders")
    parser.add_argument("out", type=Path, help="folder for checkpoints, logs, sample pictures and the weights")
    parser.add_argument(
        "--minutes", type=float, default=200.0, help="time budget of all networks together (default 200)"
    )
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--jobs", type=int, default=2, help="processes that register heads for the atlas (default 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--from-shipped", action="store_true", help="keep the shipped face model and train its coarse generator further"
    )
    TrainCommand(**vars(parser.parse_args(argv))).run()
