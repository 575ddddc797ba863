"""Seeded distortions of line images for training.

Each step is a function `(image, rng, strength) -> image` on uint8 (H, W) or (H, W, 3); `STEPS` names them in the order
in which they run. A strength of 1 is a distortion that a reader hardly notices; 2 is plainly visible.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.images.tones import paper_level

Array = NDArray[np.uint8]
Step = Callable[[Array, np.random.Generator, float], Array]

_SECOND_STAGE = ("elastic", "noise")
_PIECE = 16_384
"""Columns that OpenCV moves at a time: it takes no image of 32,767 pixels or more on a side."""
_JPEG_PIXELS = 65_500
"""More the format has no room for, in either direction."""

AUGMENT_HEIGHT = 64
"""Line images higher than this are reduced to it before they are distorted, so that a distortion means the same."""


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How often each distortion is applied, as a probability from 0 to 1, and how strongly all of them."""

    crop_jitter: float = 0.5
    """Cut or add a little at each edge: line finders crop loosely, tightly, or off centre."""
    shear: float = 0.5
    """Slant the writing."""
    rotation: float = 0.3
    """Turn by up to about two degrees."""
    perspective: float = 0.3
    """Move the four corners apart."""
    stretch: float = 0.5
    """Make the writing wider or narrower."""
    elastic: float = 0.4
    """Smooth random displacement on a coarse grid."""
    stroke_width: float = 0.3
    """Thicken or thin the strokes (grey erosion or dilation, mixed with the original)."""
    blur: float = 0.2
    """Gaussian blur, as of a photograph out of focus, or a scan scaled up."""
    contrast: float = 0.5
    """Change of gamma, contrast and brightness."""
    shading: float = 0.2
    """A slow change of brightness along the line: shadow of a hand, curve of a book."""
    paper: float = 0.2
    """Fibres and stains of the paper."""
    ruling: float = 0.1
    """Horizontal ruled lines, at times vertical ones too."""
    noise: float = 0.3
    """Sensor noise."""
    jpeg: float = 0.2
    """Compression artefacts."""
    strength: float = 1.0
    """Factor on every distortion."""
    elastic_noise: float = 0.0
    """One switch for the second stage of the classic recipe, elastic distortion and noise: how often each of them is
    applied, at least."""

    @property
    def is_active(self) -> bool:
        """Whether anything is ever distorted."""
        return any(self.share(name) > 0 for name in STEPS)

    def share(self, name: str) -> float:
        """The probability of a distortion, by its name in `STEPS`."""
        own: float = getattr(self, name)
        return max(own, self.elastic_noise) if name in _SECOND_STAGE else own

    def __post_init__(self) -> None:
        for name in (*STEPS, "elastic_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} must be a probability from 0 to 1, got {getattr(self, name)}")
        if self.strength <= 0:
            raise ConfigError(f"augment.strength must be above 0, got {self.strength}")


def augment(image: Array, rng: np.random.Generator, config: AugmentConfig) -> Array:
    """Apply a random selection of the distortions.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        rng: Source of all randomness: the same generator state gives the same image.
        config: Probabilities and strength.

    Returns:
        uint8 with as many channels; height and width may differ by a few pixels, or by a third for `stretch`.
    """
    # All draws of "whether" come first, so that switching one step off leaves the choice of the others as it was.
    chosen = rng.random(len(STEPS))
    for draw, (name, step) in zip(chosen, STEPS.items(), strict=True):
        if draw < config.share(name):
            image = step(image, rng, config.strength)
    return image


def _crop_jitter(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    top, bottom = rng.normal(0, 0.06 * strength, 2).clip(-0.14, 0.2)
    left, right = rng.normal(0.03, 0.10 * strength, 2).clip(-0.04, 0.4)
    cut = [int(max(0, -share) * h) for share in (top, bottom, left, right)]
    add = [int(max(0, share) * h) for share in (top, bottom, left, right)]
    image = image[cut[0] : h - cut[1], cut[2] : max(cut[2] + 1, w - cut[3])]
    return np.asarray(
        cv2.copyMakeBorder(image, add[0], add[1], add[2], add[3], cv2.BORDER_CONSTANT, value=paper_level(image)),
        np.uint8,
    )


def _warp(image: Array, matrix: NDArray[np.float64], size: tuple[int, int]) -> Array:
    return np.asarray(
        cv2.warpPerspective(
            image,
            matrix,
            size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=paper_level(image),
        ),
        np.uint8,
    )


def _shear(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    slope = float(np.clip(rng.normal(0, 0.18 * strength), -0.6, 0.6))
    shift = abs(slope) * h
    matrix = np.array([[1, slope, max(0.0, -slope * h)], [0, 1, 0], [0, 0, 1]], np.float64)
    return _warp(image, matrix, (int(w + shift), h))


def _rotation(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    # Long lines swing far at the ends: the angle is bounded so that an end moves by at most 0.15 heights.
    limit = min(np.radians(2.0), 0.3 * h / w) * strength
    angle = float(rng.uniform(-limit, limit))
    c, s = np.cos(angle), np.sin(angle)
    cx, cy = w / 2, h / 2
    matrix = np.array([[c, -s, cx - c * cx + s * cy], [s, c, cy - s * cx - c * cy], [0, 0, 1]], np.float64)
    return _warp(image, matrix, (w, h))


def _perspective(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    shift = rng.uniform(-0.08, 0.08, (4, 2)).astype(np.float32) * h * strength
    # A letter alone may be narrower than the shifts: corners that pass each other would turn it over.
    most = np.array([w, h], np.float32) / 4
    moved = corners + shift.clip(-most, most)
    # All corners stay in sight: descenders that reach the edge would be cut off.
    moved = (moved - moved.min(axis=0)) * (np.array([w, h], np.float32) / np.ptp(moved, axis=0))
    return _warp(image, cv2.getPerspectiveTransform(corners, moved), (w, h))


def _stretch(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    factor = float(np.clip(np.exp(rng.normal(0, 0.07 * strength)), 0.7, 1.4))
    return np.asarray(cv2.resize(image, (max(1, int(w * factor)), h), interpolation=cv2.INTER_LINEAR), np.uint8)


def _elastic(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    # A coarse grid of random shifts, scaled up: Simard et al. 2003 with the smoothing done by the interpolation.
    cells = (3, max(2, round(w / h * float(rng.uniform(0.8, 2.0)))))
    shift = rng.normal(0, 0.03 * h * strength, (2, *cells)).astype(np.float32)
    dx, dy = (cv2.resize(field, (w, h), interpolation=cv2.INTER_CUBIC) for field in shift)
    x = np.arange(w, dtype=np.float32)[None] + dx
    y = np.arange(h, dtype=np.float32)[:, None] + dy
    paper = paper_level(image)
    pieces = []
    for start in range(0, w, _PIECE):
        own_x, own_y = x[:, start : start + _PIECE], y[:, start : start + _PIECE]
        left = int(np.clip(own_x.min() - 2, 0, w - 1)) if w > _PIECE else 0
        part = image[:, left : max(left + 1, int(own_x.max()) + 3)]
        pieces.append(
            cv2.remap(
                part,
                own_x - np.float32(left),
                own_y,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=paper,
            )
        )
    return np.asarray(np.hstack(pieces) if len(pieces) > 1 else pieces[0], np.uint8)


def _stroke_width(image: Array, rng: np.random.Generator, strength: float) -> Array:
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    changed = cv2.erode(image, kernel) if rng.random() < 0.6 else cv2.dilate(image, kernel)
    share = float(min(1.0, rng.uniform(0.1, 0.7) * strength))
    return np.asarray(cv2.addWeighted(changed, share, image, 1 - share, 0), np.uint8)


def _blur(image: Array, rng: np.random.Generator, strength: float) -> Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.1) * strength)), np.uint8)


def _contrast(image: Array, rng: np.random.Generator, strength: float) -> Array:
    gamma = float(np.exp(rng.normal(0, 0.3 * strength)))
    low = float(rng.uniform(0, 70 * strength))
    high = float(255 - rng.uniform(0, 90 * strength))
    levels = np.linspace(0, 1, 256) ** gamma * max(40.0, high - low) + low
    return np.asarray(cv2.LUT(image, levels.clip(0, 255).astype(np.uint8)), np.uint8)


def _add(image: Array, change: NDArray[np.float32]) -> Array:
    """Add grey levels (H, W) to every channel."""
    if image.ndim == 3:
        change = change[..., None]
    return (image.astype(np.float32) + change).clip(0, 255).astype(np.uint8)


def _shading(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    coarse = rng.normal(0, 18 * strength, (2, int(rng.integers(2, 6)))).astype(np.float32)
    return _add(image, np.asarray(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR), np.float32))


def _paper(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    fibres = rng.normal(0, 5 * strength, (h // 2 + 1, w // 3 + 1)).astype(np.float32)
    stains = rng.normal(0, 8 * strength, (2, w // 24 + 2)).astype(np.float32)
    return _add(
        image,
        np.asarray(cv2.resize(fibres, (w, h)), np.float32)
        + np.asarray(cv2.resize(stains, (w, h), interpolation=cv2.INTER_CUBIC), np.float32),
    )


def _ruling(image: Array, rng: np.random.Generator, strength: float) -> Array:
    h, w = image.shape[:2]
    paper = float(np.mean(paper_level(image)))
    change = np.zeros((h, w), np.float32)
    depth = -float(rng.uniform(15, 70) * strength)
    slope = float(rng.uniform(-0.004, 0.004))
    spacing = h * float(rng.uniform(0.35, 1.2))
    thickness = 1 if rng.random() < 0.7 else 2
    y = float(rng.uniform(0, spacing))
    while y < h:
        cv2.line(change, (0, int(y)), (w, int(y + slope * w)), depth, thickness, cv2.LINE_AA)
        y += spacing
    if rng.random() < 0.3:
        x = float(rng.uniform(0, spacing))
        while x < w:
            cv2.line(change, (int(x), 0), (int(x), h), depth, thickness)
            x += spacing
    # Printed rules lie under the ink: they darken the paper, hardly the strokes.
    grey = image if image.ndim == 2 else image.mean(axis=2)
    return _add(image, change * (grey.astype(np.float32) / max(paper, 1.0)).clip(0, 1))


def _noise(image: Array, rng: np.random.Generator, strength: float) -> Array:
    sigma = float(rng.uniform(2, 12) * strength)
    return _add(image, rng.standard_normal(image.shape[:2], np.float32) * np.float32(sigma))


def _jpeg(image: Array, rng: np.random.Generator, strength: float) -> Array:
    quality = int(np.clip(rng.uniform(20, 80) / strength, 5, 95))
    if max(image.shape) > _JPEG_PIXELS:
        return image
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


STEPS: dict[str, Step] = {
    "crop_jitter": _crop_jitter,
    "shear": _shear,
    "rotation": _rotation,
    "perspective": _perspective,
    "stretch": _stretch,
    "elastic": _elastic,
    "stroke_width": _stroke_width,
    "blur": _blur,
    "contrast": _contrast,
    "shading": _shading,
    "paper": _paper,
    "ruling": _ruling,
    "noise": _noise,
    "jpeg": _jpeg,
}

if {f.name for f in fields(AugmentConfig)} != {
    *STEPS,
    "strength",
    "elastic_noise",
}:  # a step without its setting is a bug of ours
    raise TypeError("AugmentConfig and STEPS name different steps")
