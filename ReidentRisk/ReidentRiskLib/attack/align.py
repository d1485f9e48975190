"""Brings a face into the place where face recognisers expect it: five points onto a template, by a similarity.

Pixels: x to the right, y down, the middle of the first pixel is (0, 0). The five points are, in the order of the
template, the subject's right eye (the one on the left of the picture), left eye, tip of the nose, right and left corner
of the mouth.
"""

from __future__ import annotations

import numpy as np

from RefaceLib.common.errors import InputError

SIZE = 112  # pixels; what the recognisers take
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_SHRINK = 0.35  # a picture that would become smaller than this is averaged first: nothing finer could be shown


def similarity(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix of the rotation, scale and shift that bring ``src`` (N, 2) nearest to ``dst`` (N, 2).

    Least squares after Umeyama (1991); never a reflection. Raises InputError for points that are not finite or all in
    one place.
    """
    src, dst = np.asarray(src, float), np.asarray(dst, float)
    if src.shape != dst.shape or src.ndim != 2 or src.shape[1] != 2 or len(src) < 2:
        raise InputError(f"Points to align must be two lists of (x, y) of one length, not {src.shape} and {dst.shape}.")
    src_mean, dst_mean = src.mean(axis=0), dst.mean(axis=0)
    finite = bool(np.isfinite(src_mean).all() and np.isfinite(dst_mean).all())
    from_middle = src - src_mean if finite else np.zeros_like(src)
    spread = float((from_middle**2).sum())
    if spread < 1e-9:
        raise InputError("A face cannot be aligned by these points: they are not finite, or all in one place.")
    u, strength, vt = np.linalg.svd((dst - dst_mean).T @ from_middle)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(sign) @ vt * float(strength @ sign) / spread
    return np.column_stack([turn, dst_mean - turn @ src_mean])


def crop(image: np.ndarray, points: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The face in ``image`` (H, W, C) uint8 with its five ``points`` (5, 2) on the template: (size, size, C) uint8.

    C is 3, or 1 for a grey picture.
    """
    matrix = similarity(points, template(size))
    return warp(image, matrix, (size, size))


def template(size: int = SIZE) -> np.ndarray:
    """TEMPLATE (5, 2) in a picture of ``size`` pixels that shows the same as one of 112 pixels."""
    return (TEMPLATE + 0.5) * (size / SIZE) - 0.5


def warp(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``image`` (H, W, 3 or 1) uint8 moved by ``matrix`` (2, 3) into a picture of ``shape`` (rows, columns).

    Linear between pixels, black outside.
    """
    image = checked(image)
    blocks = int(_SHRINK * 2 / np.sqrt(max(abs(np.linalg.det(matrix[:, :2])), 1e-12)))
    if blocks > 1:
        image, matrix = _averaged(image, matrix, min(blocks, *image.shape[:2]))
    inverse = np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2].astype(np.float32)
    column, row = np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32)[:, None]
    x, y = (a * column + (b * row + c) for a, b, c in inverse)
    return _sampled(image, x, y)


def checked(image: np.ndarray) -> np.ndarray:
    """``image``; InputError where it is not (H, W, 3) or, for a grey picture, (H, W, 1) uint8."""
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"A picture must be (H, W, 3) or (H, W, 1) uint8, not {image.shape} {image.dtype}.")
    return image


def _averaged(image: np.ndarray, matrix: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """The image in blocks of so many pixels, and the matrix for it."""
    rows, columns = (n // blocks for n in image.shape[:2])
    trimmed = image[: rows * blocks, : columns * blocks].reshape(rows, blocks, columns, blocks, image.shape[2])
    back = np.array([[blocks, 0, 0.5 * (blocks - 1)], [0, blocks, 0.5 * (blocks - 1)], [0, 0, 1.0]])
    return np.rint(trimmed.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8), matrix @ back


def _sampled(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values (..., C) uint8 at pixel places, linear between pixels."""
    height, width, channels = image.shape
    framed = np.zeros((height + 2, width + 2, channels), np.float32)  # a black frame: no cases at the border
    framed[1:-1, 1:-1] = image
    x, y = np.clip(x + 1, 0, width + 0.999), np.clip(y + 1, 0, height + 0.999)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    first = top * (width + 2) + left
    flat = framed.reshape(-1, channels)
    above = flat[first] + right_share * (flat[first + 1] - flat[first])
    first += width + 2
    below = flat[first] + right_share * (flat[first + 1] - flat[first])
    return np.rint(above + bottom_share * (below - above)).astype(np.uint8)
