"""Training windows: ground truth and proposals of an image, their overlaps with the classes, their features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detection import features
from detection.boxes import iou, mirror
from detection.cache import FeatureCache
from detection.config import PoolingConfig
from detection.networks.fc_head import FcFeatures

if TYPE_CHECKING:
    from data.records import ImageRecord


@dataclass(frozen=True, eq=False)
class LabelledBoxes:
    """The windows of one training image, ground truth first (roidb_from_voc.m).

    Attributes:
        id: of the image.
        boxes: float32 (G + R, 4), image pixels.
        labels: int64 (G,), classes of the ground truth.
        difficult: bool (G,).
        gt_overlaps: float64 (G + R, G), IoU with every object.
        overlaps: float64 (G + R, K), largest IoU with an object of each class, 0 without one.
    """

    id: str
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    gt_overlaps: NDArray[np.float64]
    overlaps: NDArray[np.float64]


def label_boxes(record: ImageRecord, proposals: NDArray[np.float32], n_classes: int) -> LabelledBoxes:
    """Join an image's ground truth and proposals."""
    boxes = np.concatenate([record.boxes, proposals]).astype(np.float32)
    gt_overlaps = iou(boxes, record.boxes)  # (G + R, G)
    overlaps = np.zeros((len(boxes), n_classes))
    for g, label in enumerate(record.labels):
        overlaps[:, label] = np.maximum(overlaps[:, label], gt_overlaps[:, g])
    return LabelledBoxes(record.id, boxes, record.labels, record.difficult, gt_overlaps, overlaps)


class TrainingImages:
    """All training images: labelled at once, features read off the cache when asked for.

    Args:
        records: the images.
        proposals: image id -> float32 (R, 4).
        cache: conv5 maps of every image.
        pooling: how boxes become features.
        n_classes: K.
        fc: from pool5 to the features; None where pool5 is what is learned from.
        mirrored: the maps are those of the mirrored photos; boxes are still given in the photos as they are.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        proposals: Mapping[str, NDArray[np.float32]],
        cache: FeatureCache,
        pooling: PoolingConfig,
        n_classes: int,
        fc: FcFeatures | None = None,
        mirrored: bool = False,
    ) -> None:
        self.records = records
        self.proposals = proposals
        self.cache = cache
        self.pooling = pooling
        self.n_classes = n_classes
        self.fc = fc
        self.mirrored = mirrored

    def __len__(self) -> int:
        return len(self.records)

    def labelled_boxes(self, index: int) -> LabelledBoxes:
        """The windows of image `index`, without features."""
        record = self.records[index]
        return label_boxes(record, self.proposals[record.id], self.n_classes)

    @property
    def pooled_length(self) -> int:
        """D of pool5."""
        pyramid = features.load_pyramid(self.cache, self.records[0].id)
        return int(pyramid.maps[0].shape[0]) * sum(n * n for n in self.pooling.levels)

    def boxes(self, index: int) -> NDArray[np.float32]:
        """Those of the labelled of image `index`: float32 (G + R, 4), ground truth first."""
        record = self.records[index]
        return np.concatenate([record.boxes, self.proposals[record.id]]).astype(np.float32)

    def pool(
        self, index: int, boxes: NDArray[np.float32], scale_index: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Unscaled features of boxes of image `index`: (N, 4) -> float32 (N, D).

        `scale_index` (N,) puts the boxes on given scales instead of those the pooling rule picks.
        """
        placed = self.place(index, boxes, scale_index)
        return placed.rows(slice(None))[placed.group]

    def place(
        self, index: int, boxes: NDArray[np.float32], scale_index: NDArray[np.int64] | None = None
    ) -> PlacedWindows:
        """Where boxes of image `index` lie on its maps; arguments as of `pool`."""
        pyramid = features.load_pyramid(self.cache, self.records[index].id)
        if self.mirrored:
            boxes = mirror(boxes, pyramid.image_size[1])
        cells, group = features.locate(pyramid, boxes, self.pooling, scale_index).unique()
        return PlacedWindows(pyramid, cells, group, self.pooling.levels, self.fc)


@dataclass(frozen=True, eq=False)
class PlacedWindows:
    """Windows of one image, those on the same cells once.

    Attributes:
        pyramid: maps of the image.
        cells: U different places of windows on it.
        group: int64 (N,), which of them each window has.
        levels: of the pyramid pooling.
        fc: from pool5 to the features; None for pool5 itself.
    """

    pyramid: features.FeaturePyramid
    cells: features.Cells
    group: NDArray[np.int64]
    levels: tuple[int, ...]
    fc: FcFeatures | None

    def rows(self, places: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Unscaled features of some of the places: float32 (n, D)."""
        pool5 = features.pool(self.pyramid, self.cells[places], self.levels)
        return np.asarray(self.fc(pool5) if self.fc else pool5)

    def scores(self, scorer: Callable[[features.spp.Array], NDArray[np.float32]]) -> NDArray[np.float32]:
        """What `scorer` gives the features of all places: float32 (U, K)."""
        return features.score_pooled(scorer, self.fc, self.pyramid, self.cells, self.levels)


def feature_sample(
    images: TrainingImages, seed: int = 3, n_images: int = 200, n_boxes: int = 200
) -> Iterator[NDArray[np.float32]]:
    """Unscaled features of a sample of windows, ground truth among them, image by image: float32 (N, D), N >= 1.

    Args:
        images: the training images.
        seed: of the sample.
        n_images: most images drawn.
        n_boxes: most windows drawn of each.
    """
    rng = np.random.default_rng(seed)
    for index in rng.permutation(len(images))[:n_images]:
        boxes = images.labelled_boxes(index).boxes
        chosen = rng.permutation(len(boxes))[:n_boxes]
        if len(chosen):
            yield images.pool(index, boxes[chosen])


def mean_norm(images: TrainingImages, seed: int = 3, n_images: int = 200, n_boxes: int = 200) -> float:
    """Mean L2 norm of the features of a sample of windows, ground truth among them (spp_feature_stats.m).

    Args:
        images: the training images.
        seed: of the sample; the authors' is 3.
        n_images: most images drawn.
        n_boxes: most windows drawn of each.

    Raises:
        ValueError: no image has a window, or every feature is zero.
    """
    norms = [np.linalg.norm(rows, axis=1) for rows in feature_sample(images, seed, n_images, n_boxes)]
    mean = float(np.concatenate(norms).mean(dtype=np.float64)) if norms else 0.0
    if mean == 0:
        raise ValueError("features: no training window has a feature other than zero; nothing can be learned")
    return mean
