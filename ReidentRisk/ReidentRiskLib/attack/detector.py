"""Finds faces in pictures, as an attacker would who has nothing but the picture: YuNet, with our own decoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.progress import Cancelled, Progress
from ReidentRiskLib.attack.align import checked
from ReidentRiskLib.attack.models import MODELS, ensure
from ReidentRiskLib.attack.sessions import open_session

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from ReidentRiskLib.attack.sessions import Session

NAME = "yunet"
SIZE = 320  # pixels of the longer side when a picture enters; the network finds faces of about 10 to 300 pixels
THRESHOLD = 0.6  # of the score; below it nothing is taken for a face
OVERLAP = 0.3  # of two boxes (intersection over union), above which the weaker one is the same face
_STRIDES = (8, 16, 32)
_KINDS = ("cls", "obj", "bbox", "kps")


@dataclass(frozen=True, eq=False)
class Detection:
    """A face in a picture: score 0..1, ``box`` (4,) left, top, right, bottom, ``points`` (5, 2) as in align, pixels."""

    score: float
    box: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class Detector:
    """The face detector, ready to run."""

    name: str
    sha256: str
    session: Session

    def detect(self, image: np.ndarray, size: int = SIZE, threshold: float = THRESHOLD) -> Detection | None:
        """The face of the highest score in ``image`` (as for detect_all); None where there is none."""
        found = self.detect_all(image, size, threshold)
        return found[0] if found else None

    def detect_all(self, image: np.ndarray, size: int = SIZE, threshold: float = THRESHOLD) -> list[Detection]:
        """All faces in ``image`` (H, W, 3) uint8 RGB, or (H, W, 1) where it is grey, the highest score first.

        ``size``: see SIZE, a multiple of 32.
        """
        picture, scale = letterbox(checked(image), size)
        blue_first = np.broadcast_to(picture[..., ::-1], (*picture.shape[:2], 3))  # the network was trained on BGR
        tensor = np.ascontiguousarray(blue_first.transpose(2, 0, 1)[None])
        names = [f"{kind}_{stride}" for stride in _STRIDES for kind in _KINDS]
        outputs = dict(zip(names, self.session.run(names, {"input": tensor}), strict=True))
        scores, boxes, points = decode(outputs, picture.shape[1] // 8, threshold)
        kept = non_maximum_suppression(boxes, scores)
        back = [(values + 0.5) / scale - 0.5 for values in (boxes[kept], points[kept])]
        return [Detection(float(s), box, five) for s, box, five in zip(scores[kept], *back, strict=True)]


def load_detector(
    *, cache: Path | None = None, progress: Progress | None = None, cancelled: Cancelled | None = None
) -> Detector:
    """YuNet, downloaded at first use; raises as models.ensure. On the CPU: a picture takes it a few milliseconds."""
    path = ensure(NAME, cache=cache, progress=progress, cancelled=cancelled)
    return Detector(NAME, MODELS[NAME].sha256, open_session(path, "cpu", free_size=True))


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """``image`` (H, W, C) with its longer side ``size``, below and beside it black up to a multiple of 32 (float32).

    Also the scale. Linear, over as many pixels as become one.
    """
    height, width, channels = image.shape
    scale = size / max(height, width)
    rows, columns = (max(1, round(n * scale)) for n in (height, width))
    picture = np.zeros((-(-rows // 32) * 32, -(-columns // 32) * 32, channels), np.float32)
    lines = _resampling(height, rows, scale) @ image.reshape(height, -1).astype(np.float32)
    turned = lines.reshape(rows, width, channels).transpose(1, 0, 2).reshape(width, -1)
    turned = (_resampling(width, columns, scale) @ turned).reshape(columns, rows, channels)
    picture[:rows, :columns] = turned.transpose(1, 0, 2)
    return picture, scale


@lru_cache(maxsize=8)
def _resampling(before: int, after: int, scale: float) -> csr_array:
    """The matrix (after, before) that resamples a line of pixels: triangles, as wide as the coarser of both rasters."""
    from scipy.sparse import csr_array

    middle = (np.arange(after)[:, None] + 0.5) / scale - 0.5
    middle = np.clip(middle, 0, before - 1)
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(before) - middle) * min(scale, 1.0))
    return csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def decode(outputs: dict[str, np.ndarray], columns: int, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N,), boxes (N, 4) and points (N, 5, 2) in pixels of the network's picture, of a score over ``threshold``.

    ``outputs``: by name, ``cls``, ``obj`` (1, A, 1), ``bbox`` (1, A, 4) and ``kps`` (1, A, 10) at the strides 8, 16
    and 32, rows first; ``columns`` is the number of anchors in a row at stride 8. Boxes and points are relative to
    their anchor, in strides: the box by its middle and the logarithm of its size. YuNet's points begin with the
    subject's right eye, as the template does.
    """
    scores, boxes, points = [], [], []
    for stride in _STRIDES:
        sure, is_face, box, five = (outputs[f"{kind}_{stride}"][0] for kind in _KINDS)
        score = np.sqrt(np.clip(sure[:, 0], 0.0, 1.0) * np.clip(is_face[:, 0], 0.0, 1.0))
        (chosen,) = np.nonzero(score >= threshold)
        in_row = columns * 8 // stride
        anchor = np.stack([chosen % in_row, chosen // in_row], axis=1).astype(float)
        middle, half = anchor + box[chosen, :2], 0.5 * np.exp(box[chosen, 2:])
        scores.append(score[chosen])
        boxes.append(stride * np.hstack([middle - half, middle + half]))
        points.append(stride * (anchor[:, None] + five[chosen].reshape(-1, 5, 2)))
    return np.concatenate(scores), np.concatenate(boxes), np.concatenate(points)


def non_maximum_suppression(boxes: np.ndarray, scores: np.ndarray, overlap: float = OVERLAP) -> np.ndarray:
    """Indices of the boxes (N, 4) that no box of a higher score covers, highest score first."""
    left = np.argsort(-scores, kind="stable")
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        corners = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        common = np.prod(np.maximum(corners, 0.0), axis=1)
        left = left[common <= overlap * (area[best] + area[left] - common)]
    return np.array(kept, int)
