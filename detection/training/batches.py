"""Mini-batches of windows for fine-tuning, drawn from many images and pooled block by block.

The authors' scheme (spp_finetune_voc.m): images are taken in random order until they have many times the windows that
a block needs. Positives and negatives are drawn from all of them without replacement and divided into batches. A
batch thus mixes windows of about as many images as it has windows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.bbox_regression import encode
from detection.config import FinetuneConfig
from detection.training.distributed import ProcessGroup
from detection.training.images import TrainingImages
from detection.training.subspace import Subspace

BACKGROUND = 0  # label of negatives; the label of class k is k + 1
PROJECTED = 512  # windows that are projected at a time


@dataclass(frozen=True, eq=False)
class Block:
    """Windows of B batches.

    Attributes:
        mine: bool (B, P + N), the windows that this process pools; all of them, if it trains alone.
        features: float16 (B, P + N, D), pool5 or its coordinates in a subspace; positives first. Those of windows that
            are not mine are undefined.
        labels: int64 (B, P + N), 0 for negatives, k + 1 for class k.
        targets: float32 (B, P, 4), from each positive to its object, see `bbox_regression.encode`.
    """

    mine: NDArray[np.bool_]
    features: NDArray[np.float16]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The windows of one image that can be drawn.

    Attributes:
        positives: int32 (P,), rows of the image's labelled boxes.
        labels: int16 (P,), labels of the positives, 1..K.
        objects: int32 (P,), the object that each positive overlaps most.
        negatives: int32 (N,), rows of the image's labelled boxes.
    """

    positives: NDArray[np.int32]
    labels: NDArray[np.int16]
    objects: NDArray[np.int32]
    negatives: NDArray[np.int32]


class WindowBatches:
    """Blocks of batches, each determined by its number and the seed, so that training can resume anywhere.

    Args:
        sources: training images and, optionally, the same images mirrored.
        config: overlaps and composition of batches.
        batches: number of batches per block.
        difficult: use difficult objects as positives; False: windows that overlap one of them best are not drawn.
        seed: random seed of everything that is drawn.
        subspace: of pool5, in which windows are given; may be set later. None: all of pool5.
        group: processes that share every batch; each pools the windows of its own images.

    Raises:
        ValueError: no image has a positive window, or no image has a negative window.
    """

    def __init__(
        self,
        sources: Sequence[TrainingImages],
        config: FinetuneConfig,
        batches: int = 100,
        difficult: bool = True,
        seed: int = 0,
        subspace: Subspace | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.sources, self.config, self.batches, self.seed = sources, config, batches, seed
        self.subspace, self.group = subspace, group or ProcessGroup()
        images = sources[0]
        self._candidates = [self._find(images, i, difficult) for i in range(len(images))]
        for name in ("positives", "negatives"):
            if not any(len(getattr(c, name)) for c in self._candidates):
                raise ValueError(
                    f"fine-tuning: no window of {len(images)} images can be one of the {name}; use more images or "
                    "other proposals"
                )

    def _find(self, images: TrainingImages, index: int, difficult: bool) -> _Candidates:
        """Select the windows of one image that can be drawn."""
        labelled, config = images.labelled_boxes(index), self.config
        best = labelled.overlaps.max(axis=1, initial=0)
        usable = np.ones(len(best), np.bool_)
        if not difficult and len(labelled.difficult):
            usable = ~labelled.difficult[labelled.gt_overlaps.argmax(axis=1)] | (best < config.negative_iou[0])
        positives = np.flatnonzero(usable & (best >= config.positive_iou))
        low, high = config.negative_iou
        negatives = np.flatnonzero(usable & (best >= low) & (best < high))
        labels = labelled.overlaps[positives].argmax(axis=1) + 1 if len(positives) else np.zeros(0)
        objects = labelled.gt_overlaps[positives].argmax(axis=1) if len(positives) else np.zeros(0)
        return _Candidates(
            positives.astype(np.int32), labels.astype(np.int16), objects.astype(np.int32), negatives.astype(np.int32)
        )

    def classes(self) -> set[int]:
        """Return the classes that have a positive window."""
        return {int(label) - 1 for c in self._candidates for label in c.labels}

    def block(self, number: int) -> Block:
        """Return block `number`, counted from 0; equal numbers give equal blocks."""
        rng, config = np.random.default_rng([self.seed, number]), self.config
        chosen = self._images(rng)
        positives = [self._candidates[i].positives for _, i in chosen]
        negatives = [self._candidates[i].negatives for _, i in chosen]
        labels = [self._candidates[i].labels for _, i in chosen]
        objects = [self._candidates[i].objects for _, i in chosen]
        background = [np.full(len(n), BACKGROUND, np.int16) for n in negatives]
        found = self._draw(rng, config.positives, positives, labels, objects)
        parts = [found[:3], self._draw(rng, config.negatives, negatives, background)]
        place, row, label = np.concatenate(parts, axis=2)  # each (B, P + N)
        mine = place % self.group.size == self.group.rank
        pooled = self._pool(chosen, place.ravel(), row.ravel(), mine.ravel(), rng)
        return Block(mine, pooled.reshape(*label.shape, -1), label, self._targets(chosen, found))

    def sample(self, count: int) -> NDArray[np.float16]:
        """Return pool5 of so many windows, drawn as those of a block are: float16 (count, D)."""
        other = copy.copy(self)
        other.batches, other.subspace = math.ceil(count / (self.config.positives + self.config.negatives)), None
        other.group = ProcessGroup()
        windows = other.block(0).features
        return windows.reshape(-1, windows.shape[2])[:count]

    def _draw(self, rng: np.random.Generator, count: int, *columns: list[NDArray[Any]]) -> NDArray[np.int64]:
        """Draw the windows of all batches in random order, without replacement unless there are too few.

        Args:
            rng: random generator.
            count: number of windows per batch.
            columns: what is known of the windows that can be drawn, each per image: rows of its labelled boxes,
                labels, objects.

        Returns:
            int64 (1 + columns, B, count): index of the image, and the columns.
        """
        place = np.repeat(np.arange(len(columns[0])), [len(r) for r in columns[0]])
        everything = np.stack([place, *(np.concatenate(column) for column in columns)]).astype(np.int64)
        wanted, there = count * self.batches, len(place)
        drawn = np.concatenate([rng.permutation(there) for _ in range(-(-wanted // there))])[:wanted]
        return everything[:, rng.permutation(drawn)].reshape(len(everything), self.batches, count)

    def _targets(self, chosen: list[tuple[int, int]], positives: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the targets of drawn positives: float32 (B, P, 4).

        Args:
            chosen: (source, image) pairs.
            positives: int64 (4, B, P), the pair, the row of the labelled boxes, the label and the object of each.
        """
        place, row, _, item = positives.reshape(4, -1)
        targets = np.empty((len(place), 4), np.float32)
        for n in np.unique(place).tolist():
            source, index = chosen[n]
            images, mine = self.sources[source], np.flatnonzero(place == n)
            objects = images.records[index].boxes[item[mine]]
            targets[mine] = encode(images.boxes(index)[row[mine]], objects)
            if images.mirrored:
                targets[mine, 0] *= -1  # dx
        return targets.reshape(*positives.shape[1:], 4)

    def _images(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Return (source, image) pairs in random order, as many as have enough windows to draw from, or all."""
        pairs = [(s, i) for s in range(len(self.sources)) for i in range(len(self._candidates))]
        wanted = {name: getattr(self.config, name) * self.batches for name in ("positives", "negatives")}
        found, chosen = dict.fromkeys(wanted, 0), []
        for place in rng.permutation(len(pairs)):
            chosen.append(pairs[place])
            for name in wanted:
                found[name] += len(getattr(self._candidates[pairs[place][1]], name))
            if all(found[name] > self.config.pool_factor * wanted[name] for name in wanted):
                break
        return chosen

    def _pool(
        self,
        chosen: list[tuple[int, int]],
        place: NDArray[np.int64],
        row: NDArray[np.int64],
        mine: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> NDArray[np.float16]:
        """Pool windows, reading the maps of each image once: float16 (W, D), or (W, N) in a subspace.

        Args:
            chosen: (source, image) pairs.
            place: int64 (W,), the pair of each window.
            row: int64 (W,), the row of each window among the labelled boxes of its image.
            mine: bool (W,), the windows to pool, all or none of a pair.
            rng: random generator of the scales, if they are random.
        """
        order = np.argsort(place, kind="stable")
        order = order[mine[order]]
        parts = self._parts(chosen, place, row, order, rng)
        groups = _in_groups(parts, PROJECTED) if self.subspace else parts
        pooled, done = np.empty((0, 0), np.float16), 0
        for part in groups:
            features = self.subspace.project(torch.from_numpy(part)).numpy() if self.subspace else part
            if not done:
                pooled = np.empty((len(place), features.shape[1]), np.float16)
            pooled[order[done : done + len(part)]] = features
            done += len(part)
        return pooled

    def _parts(
        self,
        chosen: list[tuple[int, int]],
        place: NDArray[np.int64],
        row: NDArray[np.int64],
        order: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Iterator[NDArray[np.float32]]:
        """Yield pool5 of the windows of each pair, in the order in which windows are sorted by pair."""
        for mine in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
            source, index = chosen[place[mine[0]]]
            images = self.sources[source]
            boxes = images.boxes(index)[row[mine]]
            scale = rng.integers(len(images.pooling.scales), size=len(mine)) if self.config.random_scale else None
            yield images.pool(index, boxes, scale)

    def stream(self, first: int, last: int) -> Iterator[Block]:
        """Yield blocks first..last - 1; the next block is pooled while the caller works on the current one."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.block, first) if first < last else None
            for number in range(first, last):
                assert ahead is not None
                ready = ahead.result()
                ahead = pool.submit(self.block, number + 1) if number + 1 < last else None
                yield ready


def _in_groups(parts: Iterable[NDArray[np.float32]], rows: int) -> Iterator[NDArray[np.float32]]:
    """Join consecutive parts, (n, D) each, to at least so many rows, except for the last."""
    waiting: list[NDArray[np.float32]] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= rows:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
