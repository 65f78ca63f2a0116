"""Hard-negative mining in rounds, so that many workers can share it.

In the usual order, each image is mined with SVMs that know the images before it. In a round, workers mine many images
with the same SVMs, which are then trained on what all have found. The first images are mined in the usual order. Each
round of the first pass then takes as many images as were seen before it. Further rounds take all images, until the
windows that are hard but not held yet hardly change the objective of any class.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from detection.engines.engine import Engine, WorkerLost
from detection.engines.in_order import in_order
from detection.training.mining import Miner, mine
from detection.training.shards import Found, Learned, Shard, ShardMiner, Windows
from detection.training.solver import margins, objective_of

log = logging.getLogger(__name__)

FIRST_IMAGES = 64
"""Images that are mined one after the other; with SVMs that know fewer, almost all windows are hard."""

SHARD_IMAGES = 8
"""Images of a shard: seconds of work, which is repeated if a worker dies, and megabytes of features."""

NEW_LOSS = 0.004
"""Largest share of a class's objective that is the loss of new windows in the last round.

With the relative duality gap of 0.001 at which training stops, the objective is then within 0.5 % of the optimum over
all windows that are held or were found last. On three draws of 300 photos of VOC 2007, the largest share was 0.14 to
0.34 in the first round over all images and 0.001 to 0.002 in the second (benchmarks/mining_rounds.py).
"""

MOST_ROUNDS = 10
"""Rounds over all images; two or three are usual."""


def mine_in_rounds(
    miners: Sequence[Miner], engine: Engine, on_image: Callable[[int], None] = lambda done: None
) -> None:
    """Mine hard negatives over all images and train every class.

    The result does not depend on the engine. After each round a checkpoint is written, from which an interrupted
    training continues.

    Args:
        miners: of the same images with the features of different layers; all have seen the same images.
        engine: what mines the images.
        on_image: called with the number of images that were mined, which begins again with each round over all images,
            for a progress bar; what it raises ends the training.

    Raises:
        WorkerLost: some images ended their workers.
        OSError, ValueError: features are missing or damaged.
    """
    mine(miners, on_image, FIRST_IMAGES)
    count, settled = len(miners[0].images), False
    while not settled:
        seen = miners[0].next_image
        places = range(seen, min(2 * seen, count)) if seen < count else range(count)
        shares = _round(miners, places, engine, on_image)
        settled = seen >= count and _is_last(shares, seen // count)
        for m in miners:
            m.retrain(np.flatnonzero(m.trainable), _tolerance(m, places))
            m.next_image = seen + len(places)
        if not settled:  # else the checkpoint of the round before leads to the same end
            for m in miners:
                m.save()


def _is_last(shares: Sequence[float], rounds: int) -> bool:
    """Whether to end after so many rounds over all images, whose last one found these shares; see `_round`."""
    largest = max(shares)
    log.info("round %d over all images: new windows are at most %.2g of the objective of a class", rounds, largest)
    if largest > NEW_LOSS and rounds >= MOST_ROUNDS:
        log.warning("mining ends after %d rounds; new windows are still %.2g of the objective", rounds, largest)
    return largest <= NEW_LOSS or rounds >= MOST_ROUNDS


def _tolerance(miner: Miner, places: range) -> float:
    """The duality gap at which the training after a round over some images stops."""
    seen_all = places.stop == len(miner.images)
    return miner.options.tolerance if seen_all else miner.options.mining_tolerance


def _round(miners: Sequence[Miner], places: range, engine: Engine, on_image: Callable[[int], None]) -> list[float]:
    """Mine images and add what is hard to the windows of the miners.

    Args:
        miners: as of `mine_in_rounds`.
        places: numbers of the images.
        engine: as of `mine_in_rounds`.
        on_image: as of `mine_in_rounds`.

    Returns:
        the largest share of a class's objective that is the loss of the new windows, for each miner.
    """
    before = [m.windows.state.labels < 0 for m in miners]
    make = ShardMiner(miners[0].config, [Learned.of(m) for m in miners])
    starts = range(places.start, places.stop, SHARD_IMAGES)
    pieces = [range(start, min(start + SHARD_IMAGES, places.stop)) for start in starts]
    mined = _mined(engine, make, (_shard(miners, number, piece) for number, piece in enumerate(pieces)))
    with closing(mined), closing(in_order(mined, miners[0].options.folder)) as found:
        for piece, parts in zip(pieces, found, strict=True):
            for m, part in zip(miners, parts, strict=True):
                _add(m, piece, part)
            on_image(piece.stop)
    return [float(_new_loss(m, held).max()) for m, held in zip(miners, before, strict=True)]


def _mined(engine: Engine, make: ShardMiner, shards: Iterable[Shard]) -> Generator[tuple[int, list[Found]], None, None]:
    """Yield the number of each shard and what the trainings find in it, in any order."""
    with closing(engine.map(make, shards)) as results:
        for shard, outcome in results:
            try:
                yield shard.number, outcome.result()
            except WorkerLost as error:
                names = ", ".join(record.id for record in shard.images.records)
                raise WorkerLost(f"one of the images {names}: {error}; use fewer workers (-j)") from error


def _shard(miners: Sequence[Miner], number: int, places: range) -> Shard:
    return Shard(number, miners[0].images.subset(places).with_fc(None), [_held(m, places) for m in miners])


def _held(miner: Miner, places: range) -> Windows:
    """The windows of some images that a miner holds as negatives."""
    w, slots = miner.windows, _negatives(miner, places)
    return Windows(w.image[slots] - places.start, w.box[slots], np.minimum(w.state.labels[slots], 0))


def _negatives(miner: Miner, places: range) -> NDArray[np.int64]:
    """The slots, int64 (n,), of these windows."""
    image, labels = miner.windows.image, miner.windows.state.labels
    slots = np.flatnonzero((image >= places.start) & (image < places.stop))
    return slots[(labels[slots] < 0).any(axis=1)]


def _add(miner: Miner, places: range, found: Found) -> None:
    """Add what was found in some images to the windows of a miner."""
    windows, new = miner.windows, found.new
    slots = _negatives(miner, places)
    held = windows.state.labels[slots]
    miner.new += ((found.labels < 0) & (held >= 0)).sum(axis=0) + (new.labels < 0).sum(axis=0)
    windows.state.labels[slots] = np.where(found.labels < 0, found.labels, held)
    for image in np.unique(new.image).tolist():
        own = new.image == image
        features = found.features[own].astype(np.float32)
        windows.add(places.start + image, new.box[own], features, new.labels[own])


def _new_loss(miner: Miner, before: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each class's objective that is the loss of new negatives: float64 (K,).

    Args:
        miner: holds the windows.
        before: bool (N, K), the negatives of each class in the first slots before.
    """
    state, classes = miner.windows.state, np.flatnonzero(miner.trainable)
    scores = margins(miner.windows.rows, state, classes, miner.problem)
    new = state.labels < 0
    new[: len(before)] &= ~before
    shares = np.zeros(len(miner.trainable))
    for column, k in enumerate(classes.tolist()):
        hinge = np.maximum(0, 1 + scores[new[:, k], column].astype(np.float64))
        shares[k] = miner.problem.cost * hinge.sum() / objective_of(scores[:, column], state, k, miner.problem).total
    return shares
