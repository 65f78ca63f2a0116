"""Outlines of MiniVOC's six classes of objects, and of distractors that belong to none.

Each shape is a list of parts, painted in order. Coordinates are (x, y) with y downwards, in a frame of the shape; a
scene scales, stretches, shears, rotates and mirrors them. A class is recognised by its parts and their arrangement,
never by colour or texture, which are random.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Rng = np.random.Generator

MAIN, SECOND, ACCENT, DARK, LIGHT = range(5)
"""Index of the material of a part, among the materials of its object."""


class Part(NamedTuple):
    """A filled outline, float64 (N, 2), and the index of its material."""

    outline: Points
    role: int


def polygon(*points: tuple[float, float]) -> Points:
    return np.array(points, np.float64)


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Points:
    return polygon((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, stop: float = 360) -> Points:
    """Return an arc of an ellipse, (40, 2); angles in degrees, clockwise on the screen, 0 to the right."""
    t = np.deg2rad(np.linspace(start, stop, 40))
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


def bend(*controls: tuple[float, float]) -> Points:
    """Return a Bezier curve of three or four control points, (24, 2)."""
    t = np.linspace(0, 1, 24)[:, None]
    points = [np.array(p, np.float64)[None] for p in controls]
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in pairwise(points)]
    return points[0]


def stroke(line: ArrayLike, width: float, end_width: float | None = None) -> Points:
    """Return the outline of a line whose width may change to `end_width`: (N, 2) -> (2 N, 2)."""
    p = np.asarray(line, np.float64)
    along = np.gradient(p, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    half = np.linspace(width, width if end_width is None else end_width, len(p))[:, None] / 2
    return np.concatenate([p + across * half, (p - across * half)[::-1]])


def car(rng: Rng) -> list[Part]:
    """Return a car from the side: bonnet, cabin with windows, two wheels, lights, an aerial."""
    roof, front, back = rng.uniform(0.3, 0.6), rng.uniform(-0.55, -0.25), rng.uniform(0.3, 0.85)
    wheel = rng.uniform(0.15, 0.22)
    cabin = polygon((front - 0.2, 0), (front + 0.1, -roof), (back - 0.15, -roof), (back + 0.1, 0))
    split = (front + back) / 2 + rng.uniform(-0.1, 0.1)
    top = -roof + 0.07
    hull = polygon((-1, 0.1), (-0.92, 0.02), (front, -0.05), (0.95, -0.03), (1, 0.12), (0.98, 0.4), (-0.99, 0.4))
    parts = [
        Part(stroke([(0.75, 0), (0.86, -rng.uniform(0.35, 0.75))], 0.022), DARK),
        Part(cabin, MAIN),
        Part(polygon((front - 0.08, -0.03), (front + 0.13, top), (split - 0.03, top), (split - 0.03, -0.03)), LIGHT),
        Part(polygon((split + 0.03, -0.03), (split + 0.03, top), (back - 0.18, top), (back, -0.03)), LIGHT),
        Part(hull, MAIN),
        Part(rectangle(-0.97, 0.26, 0.97, 0.31), SECOND),
        Part(ellipse(-0.93, 0.14, 0.05, 0.06), LIGHT),
        Part(rectangle(0.92, 0.06, 0.99, 0.18), ACCENT),
        Part(rectangle(split + 0.05, 0.07, split + 0.15, 0.1), DARK),
    ]
    for x in (-0.58, 0.58):
        parts += [Part(ellipse(x, 0.4, wheel, wheel), DARK), Part(ellipse(x, 0.4, wheel / 2, wheel / 2), LIGHT)]
    return parts


def cat(rng: Rng) -> list[Part]:
    """Return a cat, sitting or walking, with ears, whiskers and a long tail."""
    return _sitting_cat(rng) if rng.random() < 0.5 else _walking_cat(rng)


def _sitting_cat(rng: Rng) -> list[Part]:
    reach, lift = rng.uniform(0.55, 1.0), rng.uniform(-0.3, 0.7)
    tail = bend((0.2, 0.85), (reach + 0.2, 1.05), (reach, lift + 0.2), (reach - 0.15, lift))
    return [
        Part(stroke(tail, 0.13, 0.06), MAIN),
        Part(ellipse(0, 0.5, rng.uniform(0.3, 0.42), 0.48), MAIN),
        Part(ellipse(0, 0.55, 0.16, 0.3), SECOND),
        Part(ellipse(-0.17, 0.93, 0.13, 0.09), MAIN),
        Part(ellipse(0.17, 0.93, 0.13, 0.09), MAIN),
        *_cat_head(rng, 0.0, -0.18, 1.0),
    ]


def _walking_cat(rng: Rng) -> list[Part]:
    lift = rng.uniform(0.2, 0.9)
    tail = bend((0.75, -0.1), (1.2, 0.0), (0.95, -lift), (rng.uniform(0.9, 1.4), -lift))
    parts = [Part(stroke(tail, 0.13, 0.05), MAIN)]
    for x in (-0.5, -0.32, 0.52, 0.7):
        foot = x + rng.uniform(-0.14, 0.1)
        parts.append(Part(stroke([(x, 0.1), (foot, 0.55), (foot - 0.03, 0.72)], 0.15, 0.11), MAIN))
    parts.append(Part(ellipse(0.1, 0.05, 0.75, rng.uniform(0.24, 0.33)), MAIN))
    return parts + _cat_head(rng, -0.68, -0.22, 0.85)


def _cat_head(rng: Rng, x: float, y: float, scale: float) -> list[Part]:
    ear = rng.uniform(0.2, 0.34)
    whisker = rng.uniform(0.3, 0.5)
    parts = []
    for side in (-1, 1):
        tip = (side * 0.29, -0.18 - ear)
        parts.append(Part(polygon((side * 0.08, -0.2), tip, (side * 0.35, -0.02)), MAIN))
        parts.append(Part(polygon((side * 0.15, -0.2), (side * 0.27, -0.12 - ear), (side * 0.3, -0.1)), SECOND))
    parts.append(Part(ellipse(0, 0, 0.36, rng.uniform(0.26, 0.32)), MAIN))
    for side in (-1, 1):
        parts.append(Part(ellipse(side * 0.14, -0.04, 0.075, 0.06), LIGHT))
        parts.append(Part(ellipse(side * 0.14, -0.04, 0.025, 0.055), DARK))
        for rise in (-0.03, 0.07):
            line = [(side * 0.08, 0.11), (side * whisker, 0.09 + rise)]
            parts.append(Part(stroke(line, 0.016), LIGHT))
    parts.append(Part(polygon((-0.05, 0.06), (0.05, 0.06), (0, 0.12)), DARK))
    return [Part(p.outline * scale + (x, y), p.role) for p in parts]


def fish(rng: Rng) -> list[Part]:
    """Return a fish from the side: tail fin, fins above and below, gill and eye."""
    fat, tail, fin = rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.5), rng.uniform(0.12, 0.4)
    back = bend((-1, 0), (-0.6, -2.0 * fat), (0.3, -1.1 * fat), (0.72, 0))
    belly = bend((0.72, 0), (0.3, 1.1 * fat), (-0.6, 1.7 * fat), (-1, 0.02))
    crest = bend((-0.45, -fat), (-0.1, -fat - 1.4 * fin), (0.2, -fat - fin), (0.35, -0.4 * fat))
    return [
        Part(polygon((0.6, 0), (1.1, -tail), (0.98, 0), (1.1, tail)), SECOND),
        Part(crest, SECOND),
        Part(polygon((-0.2, 0.8 * fat), (0.15, 0.8 * fat + fin), (0.2, 0.6 * fat)), SECOND),
        Part(np.concatenate([back, belly]), MAIN),
        Part(stroke(bend((-0.62, -0.6 * fat), (-0.45, 0), (-0.62, 0.6 * fat)), 0.03), DARK),
        Part(polygon((-0.4, 0.05), (-0.1, -0.1), (-0.12, 0.25)), ACCENT),
        Part(ellipse(-0.77, -0.2 * fat, 0.07, 0.07), LIGHT),
        Part(ellipse(-0.77, -0.2 * fat, 0.035, 0.035), DARK),
        Part(stroke(bend((-0.98, 0.02), (-0.9, 0.1), (-0.83, 0.08)), 0.02), DARK),
    ]


def house(rng: Rng) -> list[Part]:
    """Return a house: walls under a gable roof with eaves and a chimney, a door, windows with crosses."""
    wide, tall, roof = rng.uniform(0.6, 1.1), rng.uniform(0.6, 1.2), rng.uniform(0.4, 0.9)
    eaves, ridge = wide + rng.uniform(0.1, 0.28), rng.uniform(0, 0.5) * wide
    pipe = rng.choice([-1, 1]) * rng.uniform(0.3, 0.6) * wide
    door = rng.uniform(-0.6, 0.35) * wide
    parts = [
        Part(rectangle(pipe - 0.09, -roof - rng.uniform(0.05, 0.35), pipe + 0.09, 0), ACCENT),
        Part(rectangle(-wide, -0.02, wide, tall), MAIN),
        Part(polygon((-eaves, 0.05), (-ridge, -roof), (ridge, -roof), (eaves, 0.05)), SECOND),
        Part(rectangle(door, tall - 0.45, door + 0.26 * wide, tall), DARK),
    ]
    columns = np.linspace(-wide, wide, int(rng.integers(3, 5)) + 1)
    for y in np.arange(0.12, tall - 0.6, 0.42) if tall > 0.9 else [0.12]:
        for left, right in pairwise(columns):
            parts += _window(left + 0.12, y, right - 0.12, y + 0.26)
    return parts


def _window(x1: float, y1: float, x2: float, y2: float) -> list[Part]:
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    cross = [rectangle(x - 0.015, y1, x + 0.015, y2), rectangle(x1, y - 0.015, x2, y + 0.015)]
    frame = rectangle(x1 - 0.03, y1 - 0.03, x2 + 0.03, y2 + 0.03)
    return [Part(frame, LIGHT), Part(rectangle(x1, y1, x2, y2), DARK), *(Part(c, LIGHT) for c in cross)]


def teapot(rng: Rng) -> list[Part]:
    """Return a teapot: a belly with spout, handle and a lid with a knob."""
    wide, tall = rng.uniform(0.5, 0.72), rng.uniform(0.42, 0.7)
    reach, up = wide + rng.uniform(0.25, 0.5), rng.uniform(0.2, 0.6)
    loop = bend(
        (0.75 * wide, -0.6 * tall), (reach + 0.35, -0.8 * tall), (reach + 0.2, 0.9 * tall), (0.75 * wide, 0.5 * tall)
    )
    spout = bend((-0.7 * wide, 0.35 * tall), (-reach, 0.3 * tall), (-wide, -0.4 * up), (-reach - 0.1, -up))
    return [
        Part(stroke(loop, rng.uniform(0.06, 0.12)), SECOND),
        Part(stroke(spout, 0.3, 0.1), MAIN),
        Part(rectangle(-0.6 * wide, 0.8 * tall, 0.6 * wide, 1.04 * tall), SECOND),
        Part(ellipse(0, 0, wide, tall), MAIN),
        Part(ellipse(0, -0.78 * tall, 0.62 * wide, 0.3 * tall, 180, 360), SECOND),
        Part(ellipse(0, -1.08 * tall - 0.05, 0.08, 0.08), ACCENT),
        Part(stroke(bend((-0.98 * wide, 0.1 * tall), (0, 0.35 * tall), (0.98 * wide, 0.1 * tall)), 0.06), ACCENT),
    ]


def umbrella(rng: Rng) -> list[Part]:
    """Return an umbrella: a canopy of scalloped panels on a thin shaft that ends in a hook, with a tip on top."""
    dome, shaft = rng.uniform(0.45, 0.9), rng.uniform(0.6, 1.2)
    hook = rng.choice([-1, 1]) * rng.uniform(0.12, 0.22)
    handle = bend((0, shaft - 0.05), (0, shaft + 0.25), (hook, shaft + 0.25), (hook, shaft))
    panels = int(rng.integers(4, 8))
    ribs = -np.cos(np.linspace(0, np.pi, panels + 1))
    parts = [
        Part(rectangle(-0.025, -dome - 0.05, 0.025, shaft), DARK),
        Part(stroke([(0, -dome + 0.02), (0, -dome - rng.uniform(0.1, 0.2))], 0.05, 0.02), DARK),
        Part(stroke(handle, 0.075), ACCENT),
    ]
    for i, (left, right) in enumerate(pairwise(ribs)):
        up = bend((left, 0.0), (left, -0.62 * dome), (0.45 * left, -dome), (0, -dome))
        down = bend((0, -dome), (0.45 * right, -dome), (right, -0.62 * dome), (right, 0.0))
        hem = bend((right, 0.0), ((left + right) / 2, -0.16), (left, 0.0))
        parts.append(Part(np.concatenate([up, down, hem]), MAIN if i % 2 else SECOND))
    return parts


KINDS: dict[str, Callable[[Rng], list[Part]]] = {
    "car": car,
    "cat": cat,
    "fish": fish,
    "house": house,
    "teapot": teapot,
    "umbrella": umbrella,
}


def junk(rng: Rng) -> list[Part]:
    """Return a distractor: one to four simple shapes, some of which occur in objects too."""
    parts = []
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(-0.7, 0.7, 2)
        w, h = rng.uniform(0.12, 0.8, 2)
        bits = _simple(rng, w, h)
        turn = rng.uniform(0, 2 * np.pi)
        turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        parts += [Part(b.outline @ turned + (x, y), b.role) for b in bits]
    return parts


def _simple(rng: Rng, w: float, h: float) -> list[Part]:
    """Return a simple shape centred on the origin, with half sides w and h."""
    role = int(rng.integers(4))
    choices: list[Callable[[], list[Part]]] = [
        lambda: [Part(ellipse(0, 0, w, h), role)],
        lambda: [Part(rectangle(-w, -h, w, h), role)],
        lambda: [Part(polygon((-w, h), (rng.uniform(-w, w), -h), (w, h)), role)],
        lambda: [Part(ellipse(0, 0, w, h, 180, 360), role)],
        lambda: [Part(stroke(bend((-w, h), (-w, -h), (w, -h), (w, h)), rng.uniform(0.04, 0.15)), role)],
        lambda: [Part(stroke([(-w, 0), (w, 0)], rng.uniform(0.03, 0.12)), role)],
        lambda: [Part(ellipse(0, 0, w, w), DARK), Part(ellipse(0, 0, w / 2, w / 2), LIGHT)],
        lambda: _window(-w, -h, w, h),
        lambda: [Part(_star(rng, w, h), role)],
    ]
    return choices[rng.integers(len(choices))]()


def _star(rng: Rng, w: float, h: float) -> Points:
    """Return a jagged blob."""
    t = np.linspace(0, 2 * np.pi, int(rng.integers(5, 12)), endpoint=False)
    r = rng.uniform(0.4, 1, len(t))
    return np.stack([w * r * np.cos(t), h * r * np.sin(t)], axis=1)
