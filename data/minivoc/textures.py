"""Surfaces of MiniVOC's scenes: noise, colours and patterned materials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rng = np.random.Generator

TILE = 128
"""Side of a material's grain in pixels; beyond it, the grain is mirrored."""


def noise(rng: Rng, size: tuple[int, int], cells: int = 3, stretch: float = 1.0) -> Floats:
    """Draw smooth noise of several octaves.

    Args:
        rng: random number generator.
        size: (H, W) of the result.
        cells: waves along the longer side in the coarsest octave.
        stretch: ratio of the wavelengths along x and along y.

    Returns:
        float32 (H, W), scaled to [0, 1].
    """
    height, width = size
    total = np.zeros(size, np.float32)
    amplitude = 1.0
    while cells <= max(size) / 2:
        rows = max(2, round(cells * height / max(size) * stretch) + 1)
        columns = max(2, round(cells * width / max(size) / stretch) + 1)
        grid = rng.random((min(rows, height), min(columns, width)), dtype=np.float32)
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, amplitude = cells * 2, amplitude * 0.55
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def color(rng: Rng) -> Floats:
    """Draw an RGB colour of moderate saturation: float32 (3,), 0 to 255."""
    hue = rng.uniform(0, 6) + np.array([0, 4, 2])
    pure = np.clip(np.abs((hue % 6) - 3) - 1, 0, 1)
    saturation, value = rng.beta(1.6, 3), rng.uniform(0.25, 1.0)
    return np.asarray(255 * value * (1 - saturation + saturation * pure), np.float32)


def mix(a: Floats, b: Floats, weight: Floats) -> Floats:
    """Mix colour a (weight 0) with colour b (weight 1): (3,), (3,), (H, W) -> (H, W, 3)."""
    return a + (b - a) * weight[..., None]


def _to_and_fro(x: Floats) -> Floats:
    """Fold coordinates into [0, TILE - 1] by mirroring."""
    return np.float32(TILE - 1) - np.abs(x % (2 * (TILE - 1)) - np.float32(TILE - 1))


def blur(image: Floats, sigma: float) -> Floats:
    """Blur a float32 image with a Gaussian; sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _plain(u: Floats, v: Floats, k: float) -> Floats:
    return np.full_like(u, 0.3)


def _stripes(u: Floats, v: Floats, k: float) -> Floats:
    return np.clip(0.5 + 2 * np.sin(6.28 * k * u), 0, 1)


def _checks(u: Floats, v: Floats, k: float) -> Floats:
    return np.clip(0.5 + 3 * np.sin(6.28 * k * u) * np.sin(6.28 * k * v), 0, 1)


def _spots(u: Floats, v: Floats, k: float) -> Floats:
    a, b = u * k * 1.4, v * k * 1.4
    a = a + np.float32(0.5) * (np.floor(b) % 2)  # every other row is shifted by half
    return np.clip(8 * (0.32 - np.hypot(a - np.floor(a) - 0.5, b - np.floor(b) - 0.5)), 0, 1)


def _bricks(u: Floats, v: Floats, k: float) -> Floats:
    b = v * k * 2
    a = u * k + 0.5 * (np.floor(b) % 2)
    joint = np.minimum(a - np.floor(a), 0.5 * (b - np.floor(b)))
    tone = 0.35 * np.abs(np.sin(12.9 * np.floor(a) + 78.2 * np.floor(b)))
    return np.where(joint < 0.06, 1.0, tone).astype(np.float32)


def _scales(u: Floats, v: Floats, k: float) -> Floats:
    b = v * k * 2.5
    a = u * k * 2 + 0.5 * (np.floor(b) % 2)
    arc = np.hypot(a - np.floor(a) - 0.5, b - np.floor(b))
    return np.clip(1 - 4 * np.abs(arc - 0.5), 0, 1)


def _planks(u: Floats, v: Floats, k: float) -> Floats:
    a = u * k * 1.5
    tone = 0.4 * np.abs(np.sin(12.9 * np.floor(a)))
    return np.where(a - np.floor(a) < 0.08, 1.0, tone).astype(np.float32)


PATTERNS: tuple[Callable[[Floats, Floats, float], Floats], ...] = (
    *(_plain, _plain, _stripes, _checks, _spots, _bricks, _scales, _planks),
)


@dataclass(frozen=True, eq=False)
class Material:
    """A pattern of two colours, modulated by a grain.

    Attributes:
        pattern: (u, v, frequency) -> weight of the second colour, 0 to 1.
        colors: two RGB colours, float32 (3,).
        frequency: waves per unit of (u, v).
        angle: rotation of the pattern in radians.
        grain: float32 (TILE, TILE) in [0, 1].
        roughness: strength of the grain's effect on the brightness, 0 to 1.
    """

    pattern: Callable[[Floats, Floats, float], Floats]
    colors: tuple[Floats, Floats]
    frequency: float
    angle: float
    grain: Floats
    roughness: float

    def paint(self, u: Floats, v: Floats) -> Floats:
        """Return the colours at surface coordinates u, v (H, W): float32 (H, W, 3), 0 to 255 or slightly beyond."""
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        weight = self.pattern(c * u - s * v, s * u + c * v, self.frequency)
        at_u, at_v = _to_and_fro(u * 90), _to_and_fro(v * 90)
        grain = cv2.remap(self.grain, at_u, at_v, cv2.INTER_LINEAR)
        base = mix(*self.colors, np.clip(weight + 0.3 * (grain - 0.5), 0, 1))
        return np.asarray(base * (1 + self.roughness * (grain[..., None] - 0.5)), np.float32)


def material(rng: Rng, tint: Floats | None = None) -> Material:
    """Draw a random material; its colours are averaged with `tint`, float32 (3,), if given."""
    first, second = color(rng), color(rng)
    if rng.random() < 0.5:  # often two tones of one hue
        second = first * np.float32(rng.uniform(0.45, 0.8))
    if tint is not None:
        half = np.float32(0.5)
        first, second = (first + tint) * half, (second + tint) * half
    return Material(
        PATTERNS[rng.integers(len(PATTERNS))],
        (first, second),
        float(rng.uniform(2.0, 7.0)),
        float(rng.choice([0, 0, np.pi / 2, rng.uniform(0, np.pi)])),
        noise(rng, (TILE, TILE), cells=4),
        float(rng.uniform(0.2, 0.9)),
    )


def even(rng: Rng, rgb: tuple[int, int, int]) -> Material:
    """Draw a plain material of about the given colour, 0 to 255."""
    tone = np.array(rgb, np.float32) + rng.uniform(-18, 18, 3).astype(np.float32)
    grain = noise(rng, (TILE, TILE), cells=8)
    return Material(_plain, (tone, tone * np.float32(0.8)), 1.0, 0.0, grain, 0.3)
