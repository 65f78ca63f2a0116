"""Windows of the training objects' own shapes, laid over a photo at regular steps; nothing is searched.

The shapes are the clusters of the objects' widths and heights, relative to the short side of their photos. Objects of a
few sizes, such as cells under a microscope, are reached more often than by a search, in no time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.boxes import as_boxes
from detection.plain_values import Limits, read

STEP = 0.25  # between neighbouring windows, of their width and height
COUNTS = (2, 3, 4, 6, 8, 12, 16, 20)  # numbers of shapes that are tried
STEPS = (0.2, STEP, 0.3, 0.4, 0.5)  # steps that are tried
MOST_WINDOWS = 5000  # per photo of median size
MOST_LAID = 10_000_000  # windows on one photo
SAMPLE = 20_000  # objects that shapes are learned from
Side = Annotated[float, Limits(0, 1e6, above=True)]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Shapes of windows, and how densely they are laid.

    Attributes:
        shapes: (width, height) of each shape, relative to the short side of a photo, the most frequent first.
        step: distance of neighbouring windows, relative to their width and height.

    Raises:
        ValueError: there is no shape, or a number is not positive and finite.
    """

    shapes: Annotated[tuple[tuple[Side, Side], ...], Limits(1, 1000)]
    step: Annotated[float, Limits(0.001, 1000)] = STEP

    def __post_init__(self) -> None:
        numbers = [self.step, *(side for shape in self.shapes for side in shape)]
        if not self.shapes or not all(math.isfinite(v) and v > 0 for v in numbers):
            raise ValueError(f"grid: expected shapes and a step of positive numbers, got {self}")

    @property
    def meta(self) -> dict[str, Any]:
        """The grid as plain values."""
        return {"shapes": [list(shape) for shape in self.shapes], "step": self.step}

    @classmethod
    def from_meta(cls, meta: Any) -> Grid:
        """Inverse of `meta`.

        Raises:
            ValueError: the values are of another kind, which the line names.
        """
        found: Grid = read(cls, meta, "grid")
        return found

    def windows(self, image_size: tuple[int, int]) -> NDArray[np.float32]:
        """Lay the windows over an image of (H, W) pixels: float32 (R, 4), xyxy, 0-based inclusive image pixels.

        Windows of all shapes alternate, so that the first ones are a choice from all.

        Raises:
            ValueError: there would be more than `MOST_LAID`.
        """
        if (count := self.count(image_size)) > MOST_LAID:
            raise ValueError(
                f"grid: lays {count:,} windows on a photo of {image_size[1]} x {image_size[0]} pixels, at most "
                f"{MOST_LAID:,}; choose other proposals"
            )
        laid = [self._of_shape(shape, image_size) for shape in self.shapes]
        rank = np.concatenate([(np.arange(len(boxes)) + 0.5) / len(boxes) for boxes in laid])
        boxes = np.concatenate(laid)[np.argsort(rank, kind="stable")]
        return boxes[np.sort(np.unique(boxes, axis=0, return_index=True)[1])]

    def count(self, image_size: tuple[int, int]) -> int:
        """Number of windows on an image of (H, W) pixels, before duplicates are removed."""
        laid = [_lay(shape, self.step, np.array(image_size)) for shape in self.shapes]
        return sum(int((steps + 1).prod()) for _, steps, _ in laid)

    def best_overlaps(self, boxes: ArrayLike, image_sizes: ArrayLike) -> Floats:
        """Return the IoU of each object with the best window: float64 (G,).

        Args:
            boxes: (G, 4), image pixels.
            image_sizes: (H, W) of the image in pixels, or (G, 2) of the image of each object.
        """
        found, sizes = as_boxes(boxes), np.asarray(image_sizes)
        first, after = found[:, :2], found[:, 2:] + 1
        areas, best = (after - first).prod(axis=1), np.zeros(len(found))
        for shape in self.shapes:
            sides, steps, distance = _lay(shape, self.step, sizes)
            nearest = ((first + after - sides) / 2 / distance).round().clip(0, steps) * distance  # centre to centre
            shared = (np.minimum(after, nearest + sides) - np.maximum(first, nearest)).clip(0).prod(axis=1)
            best = np.maximum(best, shared / (areas + sides.prod(axis=-1) - shared))
        return best

    def _of_shape(self, shape: tuple[float, float], image_size: tuple[int, int]) -> NDArray[np.float32]:
        """Lay the windows of one shape, row by row."""
        (width, height), steps, (dx, dy) = _lay(shape, self.step, np.array(image_size))
        y, x = np.meshgrid(np.arange(steps[1] + 1) * dy, np.arange(steps[0] + 1) * dx, indexing="ij")
        return np.stack([x, y, x + width - 1, y + height - 1], axis=-1).reshape(-1, 4).astype(np.float32)


def learn(boxes: Sequence[ArrayLike], image_sizes: Sequence[tuple[int, int]], seed: int = 0) -> Grid:
    """Choose shapes and step for the objects of a training set.

    Of the grids with at most `MOST_WINDOWS` windows, the one whose best windows overlap the objects most on average; if
    all have more, the coarsest one of the fewest shapes.

    Args:
        boxes: (G, 4) per image, image pixels.
        image_sizes: (H, W) of each image, in pixels.
        seed: of the clustering, and of the choice of objects where there are very many.

    Raises:
        ValueError: there are no objects.
    """
    objects = np.concatenate([as_boxes(b) for b in boxes])
    sizes = np.repeat(np.array(image_sizes).reshape(-1, 2), [len(as_boxes(b)) for b in boxes], axis=0)
    if not len(objects):
        raise ValueError("grid: the training photos have no objects whose shapes windows could take; label some")
    chosen = np.random.default_rng(seed).permutation(len(objects))[:SAMPLE]
    objects, sizes = objects[chosen], sizes[chosen]
    height, width = np.median(np.array(image_sizes), axis=0).astype(int).tolist()
    relative = (objects[:, 2:] - objects[:, :2] + 1) / sizes.min(axis=1, keepdims=True)
    grids = [Grid(shapes, step) for shapes in _clusterings(relative, seed) for step in STEPS]
    few = [grid for grid in grids if grid.count((height, width)) <= MOST_WINDOWS]
    return max(few or grids[len(STEPS) - 1 : len(STEPS)], key=lambda g: float(g.best_overlaps(objects, sizes).mean()))


def _clusterings(relative: Floats, seed: int) -> Iterator[tuple[tuple[float, float], ...]]:
    """Yield the shapes of every number of clusters, the most frequent shape first.

    Args:
        relative: (N, 2), width and height of the objects, relative to the short side of their photos.
        seed: of the clustering.
    """
    from sklearn.cluster import KMeans  # takes a second to import

    points = np.log(relative)
    distinct = len(np.unique(points, axis=0))
    for count in sorted({min(count, distinct) for count in COUNTS}):
        found = KMeans(count, n_init=1, random_state=seed).fit(points)
        order = np.argsort(-np.bincount(found.labels_, minlength=count), kind="stable")
        yield tuple((round(w, 4), round(h, 4)) for w, h in np.exp(found.cluster_centers_[order]).tolist())


def _lay(shape: tuple[float, float], step: float, image_sizes: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Return side, number of steps and distance of the windows of a shape in x and y, in pixels: each float64 (..., 2).

    The last window ends at the border of the image. Windows have at least one pixel and at most those of the image.

    Args:
        shape: width and height, relative to the short side.
        step: relative to width and height.
        image_sizes: (..., 2), (H, W) in pixels.
    """
    wide = image_sizes[..., ::-1]
    sides = (np.array(shape) * image_sizes.min(axis=-1, keepdims=True)).clip(1, wide)
    room = wide - sides
    steps = np.ceil(room / (step * sides))
    return sides, steps, room / np.maximum(steps, 1) + (room == 0)
