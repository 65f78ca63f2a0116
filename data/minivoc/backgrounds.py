"""Backgrounds of MiniVOC's scenes."""

from __future__ import annotations

import cv2
import numpy as np

from data.minivoc.textures import Floats, Rng, blur, color, material, mix, noise


def background(rng: Rng, size: tuple[int, int]) -> Floats:
    """Draw a random background: (H, W) -> float32 RGB (H, W, 3), about 0 to 255."""
    kinds = (_landscape, _landscape, _foliage, _wall, _room, _pebbles, _water, _blurred)
    return kinds[rng.integers(len(kinds))](rng, size)


def _near(rng: Rng, rgb: tuple[int, int, int], spread: float = 25) -> Floats:
    """Draw a colour near a given one, float32 (3,)."""
    return np.asarray(np.clip(np.array(rgb) + rng.uniform(-spread, spread, 3), 5, 250), np.float32)


def _landscape(rng: Rng, size: tuple[int, int]) -> Floats:
    height, width = size
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None] * np.ones((1, width), np.float32)
    scene = mix(_near(rng, (95, 140, 200)), _near(rng, (215, 220, 225)), down)
    clouds = np.clip(2.2 * noise(rng, size, 2, 1.8) - 1.0, 0, 1)
    scene = scene + (_near(rng, (245, 240, 235), 8) - scene) * clouds[..., None]
    horizon = rng.uniform(0.3, 0.65)
    for layer in range(int(rng.integers(1, 4))):  # hills, nearer ones lower and darker
        ridge = noise(rng, (2, width), int(rng.integers(2, 6)))[0] * 0.25
        below = down > horizon + 0.07 * layer - ridge[None]
        hill = mix(_near(rng, (70, 90, 80)), _near(rng, (130, 135, 105)), noise(rng, size, 8))
        scene[below] = (hill * (1 - 0.15 * layer))[below]
    ground = down > horizon + 0.1 + 0.02 * noise(rng, (2, width), 8)[:1]
    soil = ((95, 120, 55), (150, 130, 95), (120, 118, 115), (205, 190, 150))[rng.integers(4)]
    field = mix(_near(rng, soil), _near(rng, soil) * np.float32(0.55), noise(rng, size, 10, 2.2))
    scene[ground] = field[ground]
    return scene


def _foliage(rng: Rng, size: tuple[int, int]) -> Floats:
    tones = [_near(rng, (70, 105, 45)), _near(rng, (150, 150, 80))]
    scene = mix(tones[0] * np.float32(0.5), tones[0], noise(rng, size, 5))
    lean = rng.uniform(-0.5, 0.5)
    for _ in range(int(rng.integers(250, 700))):  # blades and leaves
        x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
        length, turn = rng.uniform(8, 34), lean + rng.normal(0, 0.5)
        tip = (x + length * np.sin(turn), y - length * np.cos(turn))
        shade = (tones[0] + (tones[1] - tones[0]) * rng.random()) * rng.uniform(0.5, 1.1)
        start, end = np.array([(x, y), tip]).round().astype(int).tolist()
        cv2.line(scene, start, end, shade.tolist(), int(rng.integers(1, 4)))
    return blur(scene, rng.uniform(0.4, 1.2))


def _surface(rng: Rng, size: tuple[int, int], tilt: float) -> Floats:
    """Draw a patterned plane; with tilt 0 it faces the viewer, with a larger tilt its top recedes."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / 180
    depth = 1 + tilt * (size[0] / 180 - y)
    plane = material(rng).paint((x - 1) * depth, y * depth)
    return np.asarray(0.75 * plane + 0.25 * color(rng), np.float32)


def _wall(rng: Rng, size: tuple[int, int]) -> Floats:
    stains = 0.65 + 0.5 * noise(rng, size, 3)
    return _surface(rng, size, rng.uniform(0, 0.3)) * stains[..., None]


def _room(rng: Rng, size: tuple[int, int]) -> Floats:
    scene = _wall(rng, size)
    start = int(size[0] * rng.uniform(0.5, 0.8))
    scene[start:] = _surface(rng, (size[0] - start, size[1]), rng.uniform(0.3, 1.0))
    scene[start - int(rng.integers(3, 12)) : start] = color(rng)  # skirting board
    return scene


def _pebbles(rng: Rng, size: tuple[int, int]) -> Floats:
    tone = color(rng)
    scene = mix(tone * np.float32(0.3), tone * np.float32(0.6), noise(rng, size, 12))
    largest = rng.uniform(8, 26)
    for _ in range(int(120 + 9000 / largest)):
        at = (int(rng.integers(size[1])), int(rng.integers(size[0])))
        axes = (int(rng.uniform(4, largest)), int(rng.uniform(3, largest)))
        shade = (0.6 * tone + 0.4 * color(rng)) * rng.uniform(0.55, 1.15)
        turn = rng.uniform(0, 180)
        cv2.ellipse(scene, at, axes, turn, 0, 360, (shade * 0.55).tolist(), -1, cv2.LINE_AA)
        inner = (max(1, axes[0] - 2), max(1, axes[1] - 2))
        cv2.ellipse(scene, (at[0] - 1, at[1] - 1), inner, turn, 0, 360, shade.tolist(), -1, cv2.LINE_AA)
    return scene * (0.75 + 0.5 * noise(rng, size, 20))[..., None]


def _water(rng: Rng, size: tuple[int, int]) -> Floats:
    waves = noise(rng, size, 14, rng.uniform(2, 5))
    glints = np.clip(4 * waves - 2.9, 0, 1)[..., None]
    scene = mix(_near(rng, (25, 65, 95)), _near(rng, (110, 155, 165)), waves)
    return scene + (235 - scene) * glints


def _blurred(rng: Rng, size: tuple[int, int]) -> Floats:
    """Draw soft blobs of light, as out of focus."""
    scene = mix(color(rng), color(rng), noise(rng, size, 2))
    for _ in range(int(rng.integers(10, 40))):
        at = (int(rng.integers(size[1])), int(rng.integers(size[0])))
        cv2.circle(scene, at, int(rng.uniform(6, 45)), color(rng).tolist(), -1, cv2.LINE_AA)
    return blur(scene, rng.uniform(3, 10))
