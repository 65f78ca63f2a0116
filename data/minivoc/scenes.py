"""Scenes of MiniVOC: objects among clutter, and their ground truth from the visible pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.minivoc import shapes
from data.minivoc.backgrounds import background
from data.minivoc.shapes import Part, Points, Rng
from data.minivoc.textures import Floats, Material, blur, even, material, noise

LONG_SIDE = (320, 420)
"""Longer side of an image in pixels, minimum and maximum."""

OBJECT_SIDE = (40, 250)
"""Longer side of an object in pixels before truncation and occlusion, minimum and maximum."""

LEAST_VISIBLE = 0.22
"""Smallest visible fraction of an annotated object; a layer that would hide more is not added."""

DIFFICULT_VISIBLE = 0.45
"""An object is difficult if a smaller fraction of it is visible."""

DIFFICULT_SIDE = 20
"""An object is also difficult if the shorter side of its box is less than this many pixels."""

_FREE = -1
_SHIFT = 4  # fillPoly takes fixed-point coordinates with this many fractional bits


@dataclass(frozen=True)
class SceneObject:
    """One annotated object.

    Attributes:
        name: class name.
        box: x1, y1, x2, y2 of the visible pixels, 0-based and inclusive.
        pose: "Right" if the object is mirrored, else "Left".
        truncated: whether it extends beyond the border of the image.
        difficult: whether it is mostly hidden, or tiny.
    """

    name: str
    box: tuple[int, int, int, int]
    pose: str
    truncated: bool
    difficult: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and its ground truth.

    Attributes:
        image: uint8 RGB (H, W, 3).
        objects: the annotated objects.
        owner: int16 (H, W), index of the object visible at each pixel, -1 for none.
    """

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    owner: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class _Layer:
    """An object or distractor, placed on the image and ready to be painted.

    Attributes:
        parts: parts with their outlines in image pixels.
        to_frame: float64 (2, 3), affine map from image pixels to the frame of the original outlines.
        corner: (x, y) of the mask's upper left pixel in the image; may lie outside the image.
        mask: uint8 (h, w), coverage of each pixel, 0 to 255.
        mirrored: whether the outlines are mirrored.
    """

    parts: list[Part]
    to_frame: NDArray[np.float64]
    corner: tuple[int, int]
    mask: NDArray[np.uint8]
    mirrored: bool


@dataclass
class _Canvas:
    """The image while it is painted.

    Attributes:
        image: float32 RGB (H, W, 3), 0 to 255.
        owner: int16 (H, W), as in `Scene`.
        light: unit vector (x, y) of the light.
        covers: area in pixels of each object without occlusion and truncation.
        cut: whether each object is truncated.
    """

    image: Floats
    owner: NDArray[np.int16]
    light: tuple[float, float]
    covers: list[int]
    cut: list[bool]


def compose(rng: Rng) -> Scene:
    """Draw a scene with one to five objects."""
    long, short = rng.integers(*LONG_SIDE, endpoint=True), rng.uniform(0.6, 1.0)
    size = (int(long * short), int(long))
    size = size if rng.random() < 0.75 else size[::-1]
    turn = rng.uniform(0, 2 * np.pi)
    scenery = background(rng, size)
    canvas = _Canvas(scenery, np.full(size, _FREE, np.int16), (np.cos(turn), np.sin(turn)), [], [])
    wanted = int(rng.choice(5, p=[0.22, 0.28, 0.24, 0.16, 0.1])) + 1
    found: list[tuple[str, bool]] = []
    for _ in range(int(rng.integers(2, 7))):
        _add_junk(rng, canvas)
    for _ in range(8 * wanted):  # an object may not fit where it is placed
        name = list(shapes.KINDS)[rng.integers(len(shapes.KINDS))]
        layer = _place(rng, shapes.KINDS[name](rng), size, OBJECT_SIDE)
        if _fits(canvas, layer, len(found)):
            _paint(rng, canvas, layer, len(found))
            found.append((name, layer.mirrored))
            if rng.random() < 0.35:
                _add_junk(rng, canvas)
        if len(found) == wanted:
            break
    if not found:
        return compose(rng)
    return Scene(_photograph(rng, canvas), tuple(_describe(canvas, *f, i) for i, f in enumerate(found)), canvas.owner)


def _add_junk(rng: Rng, canvas: _Canvas) -> None:
    layer = _place(rng, shapes.junk(rng), canvas.owner.shape, (20, 150))
    if _fits(canvas, layer, _FREE):
        _paint(rng, canvas, layer, _FREE)


def _place(rng: Rng, parts: list[Part], size: tuple[int, int], sides: tuple[int, int]) -> _Layer:
    """Stretch, mirror, shear, rotate and scale parts at random and place them, seldom beyond the border."""
    points = np.concatenate([p.outline for p in parts])
    low, high = points.min(0), points.max(0)
    stretch = np.exp(rng.uniform(-0.3, 0.3))
    mirrored = bool(rng.random() < 0.5)
    shape = np.diag([stretch * (-1 if mirrored else 1), 1 / stretch])
    shape = np.array([[1, rng.normal(0, 0.14)], [0, 1]]) @ shape
    turn = rng.normal(0, 0.22)
    shape = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ shape
    moved = (points - (low + high) / 2) @ shape.T
    side = np.exp(rng.uniform(*np.log(sides)))
    shape = shape * min(side, 0.9 * max(size)) / np.ptp(moved, axis=0).max()
    margin = np.ptp((points - low) @ shape.T, axis=0) * (0.2 if rng.random() < 0.2 else 0.5)
    extent = np.array([size[1], size[0]], np.float64)
    margin = np.minimum(margin, extent / 2)
    center = rng.uniform(margin, extent - margin)
    shift = center - shape @ ((low + high) / 2)
    return _rasterise(parts, np.column_stack([shape, shift]), mirrored)


def _rasterise(parts: list[Part], to_image: NDArray[np.float64], mirrored: bool) -> _Layer:
    """Map parts to the image by an affine map (2, 3) and draw their mask."""
    linear, shift = to_image[:, :2], to_image[:, 2]
    placed = [Part(p.outline @ linear.T + shift, p.role) for p in parts]
    points = np.concatenate([p.outline for p in placed])
    x, y = (int(v) for v in np.floor(points.min(0)) - 2)
    width, height = (int(v) for v in np.ceil(points.max(0)) + 3 - (x, y))
    mask = np.zeros((height, width), np.uint8)
    for part in placed:
        _fill(mask, part.outline - (x, y))
    back = np.linalg.inv(linear)
    return _Layer(placed, np.column_stack([back, -back @ shift]), (x, y), mask, mirrored)


def _fill(mask: NDArray[np.uint8], outline: Points) -> None:
    """Draw a filled, antialiased outline on a mask."""
    fixed = np.round(outline * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SHIFT)


def _window_of(layer: _Layer, size: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the rows and columns where image and layer overlap, as slices of the image and of the layer."""
    on_image, on_layer = [], []
    for start, length, limit in zip(layer.corner[::-1], layer.mask.shape, size, strict=False):
        first, last = max(start, 0), max(min(start + length, limit), 0)
        on_image.append(slice(first, last))
        on_layer.append(slice(first - start, last - start))
    return (on_image[0], on_image[1]), (on_layer[0], on_layer[1])


def _fits(canvas: _Canvas, layer: _Layer, index: int) -> bool:
    """Whether all objects, including this one, stay visible enough with the layer on top."""
    here, inside = _window_of(layer, canvas.owner.shape)
    covered = layer.mask[inside] > 127
    total = int((layer.mask > 127).sum())
    if index != _FREE and covered.sum() < 2 * LEAST_VISIBLE * total:
        return False
    hidden = np.bincount(canvas.owner[here][covered] + 1, minlength=len(canvas.covers) + 1)[1:]
    seen = np.bincount(canvas.owner.ravel() + 1, minlength=len(canvas.covers) + 1)[1:]
    return bool(np.all(seen - hidden >= LEAST_VISIBLE * np.array(canvas.covers)))


def _paint(rng: Rng, canvas: _Canvas, layer: _Layer, index: int) -> None:
    """Paint a layer on top of the image and record which pixels it covers."""
    here, inside = _window_of(layer, canvas.owner.shape)
    if canvas.owner[here].size == 0:
        return
    backdrop = canvas.image[here].mean((0, 1))
    tint = backdrop if rng.random() < 0.35 else None  # some objects have little contrast
    materials = [*(material(rng, tint) for _ in range(3)), even(rng, (45, 42, 45)), even(rng, (205, 210, 212))]
    _cast_shadow(rng, canvas, layer)
    for part in layer.parts:
        _paint_part(canvas, layer, part, materials[part.role])
    covered = layer.mask[inside] > 127
    canvas.owner[here][covered] = index
    if index != _FREE:
        total = int((layer.mask > 127).sum())
        canvas.covers.append(total)
        canvas.cut.append(int(covered.sum()) < total)


def _cast_shadow(rng: Rng, canvas: _Canvas, layer: _Layer) -> None:
    """Darken the image beside the layer, on the side away from the light."""
    reach = 0.06 * max(layer.mask.shape)
    pad = int(3 * reach) + 2
    soft = np.asarray(cv2.GaussianBlur(np.pad(layer.mask, pad), (0, 0), reach / 2 + 0.5), np.uint8)
    x, y = (int(c - pad - reach * d) for c, d in zip(layer.corner, canvas.light, strict=True))
    shadow = _Layer([], layer.to_frame, (x, y), soft, False)
    here, inside = _window_of(shadow, canvas.owner.shape)
    strength = rng.uniform(0.1, 0.55) / 255
    canvas.image[here] *= 1 - np.float32(strength) * soft[inside][..., None]


def _paint_part(canvas: _Canvas, layer: _Layer, part: Part, cover: Material) -> None:
    """Blend one part into the image, shaded towards its rim and lit from one side."""
    corner = np.floor(part.outline.min(0)).astype(int) - 1
    extent = np.ceil(part.outline.max(0)).astype(int) + 2 - corner
    mask = np.zeros((extent[1], extent[0]), np.uint8)
    _fill(mask, part.outline - corner)
    piece = _Layer([part], layer.to_frame, (int(corner[0]), int(corner[1])), mask, False)
    here, inside = _window_of(piece, canvas.owner.shape)
    if canvas.owner[here].size == 0:
        return
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    rim = np.clip(depth / max(2.0, 0.12 * float(extent.min())), 0, 1)[inside]
    y, x = np.mgrid[here[0], here[1]].astype(np.float32)
    aside = ((x - corner[0]) / extent[0] - 0.5) * canvas.light[0] + ((y - corner[1]) / extent[1] - 0.5) * canvas.light[
        1
    ]
    m = layer.to_frame.astype(np.float32)
    surface = cover.paint(m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2])
    surface *= ((0.7 + 0.3 * rim) * (1 + 0.35 * aside))[..., None].astype(np.float32)
    alpha = (mask[inside].astype(np.float32) / 255)[..., None]
    canvas.image[here] += alpha * (surface - canvas.image[here])


def _photograph(rng: Rng, canvas: _Canvas) -> NDArray[np.uint8]:
    """Add uneven light, a colour cast, contrast, lens blur and sensor noise: float32 -> uint8 (H, W, 3)."""
    size = canvas.owner.shape
    light = 1 + rng.uniform(0, 0.5) * (noise(rng, (size[0], size[1]), 2) - 0.5)
    image = np.clip(canvas.image / 255 * light[..., None], 0, 1) ** np.float32(rng.uniform(0.75, 1.35))
    image = image * rng.uniform(0.92, 1.05, 3).astype(np.float32)
    image = blur(image, rng.uniform(0.3, 1.1))
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0.005, 0.035))
    return np.asarray(np.clip(255 * (image + grain) + 0.5, 0, 255), np.uint8)


def _describe(canvas: _Canvas, name: str, mirrored: bool, index: int) -> SceneObject:
    """Return the ground truth of an object from its visible pixels."""
    rows, columns = np.nonzero(canvas.owner == index)
    box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
    short = min(box[2] - box[0], box[3] - box[1]) + 1
    hard = len(rows) < DIFFICULT_VISIBLE * canvas.covers[index] or short < DIFFICULT_SIDE
    return SceneObject(name, box, "Right" if mirrored else "Left", canvas.cut[index], hard)
