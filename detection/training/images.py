"""Training windows: ground truth and proposals of an image, their overlaps with the classes, their features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

SAMPLE_SEED = 3  # of the windows whose mean norm is measured; spp_feature_stats.m
SAMPLE_IMAGES, SAMPLE_BOXES = 200, 200  # images in the sample, windows of each; spp_feature_stats.m


@dataclass(frozen=True, eq=False)
class LabelledBoxes:
    """The windows of one training image: its G objects, then its R proposals (roidb_from_voc.m).

    Attributes:
        id: id of the image.
        boxes: float32 (G + R, 4), image pixels.
        labels: int64 (G,), class of each object.
        difficult: bool (G,).
        gt_overlaps: float64 (G + R, G), IoU of each window with each object.
        overlaps: float64 (G + R, K), largest IoU of each window with an object of each class; 0 if there is none.
    """

    id: str
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    gt_overlaps: NDArray[np.float64]
    overlaps: NDArray[np.float64]


def label_boxes(record: ImageRecord, proposals: NDArray[np.float32], n_classes: int) -> LabelledBoxes:
    """Join the objects and the proposals of an image, float32 (R, 4), and compute their overlaps."""
    boxes = np.concatenate([record.boxes, proposals]).astype(np.float32)
    gt_overlaps = iou(boxes, record.boxes)  # (G + R, G)
    overlaps = np.zeros((len(boxes), n_classes))
    for g, label in enumerate(record.labels):
        overlaps[:, label] = np.maximum(overlaps[:, label], gt_overlaps[:, g])
    return LabelledBoxes(record.id, boxes, record.labels, record.difficult, gt_overlaps, overlaps)


class TrainingImages:
    """All training images; overlaps and features are computed when they are asked for.

    Args:
        records: the images with their objects.
        proposals: image id -> float32 (R, 4), image pixels.
        cache: conv5 maps of every image.
        pooling: how boxes become features.
        n_classes: K.
        fc: fully connected layers that turn pool5 into the features; None: the features are pool5.
        mirrored: the maps are those of the mirrored photos; boxes are still given in the unmirrored photos.
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

    @property
    def views(self) -> Sequence[TrainingImages]:
        """The images in each view."""
        return (self,)

    def subset(
        self, places: Sequence[int], proposals: Mapping[str, NDArray[np.float32]] | None = None
    ) -> TrainingImages:
        """Return some of the images.

        Args:
            places: their numbers.
            proposals: of these images; None: theirs, without those of the others.
        """
        records = [self.records[i] for i in places]
        if proposals is None:
            proposals = {record.id: self.proposals[record.id] for record in records}
        return TrainingImages(records, proposals, self.cache, self.pooling, self.n_classes, self.fc, self.mirrored)

    def labelled_boxes(self, index: int) -> LabelledBoxes:
        """Return the windows of image `index` with their overlaps."""
        record = self.records[index]
        return label_boxes(record, self.proposals[record.id], self.n_classes)

    @property
    def pooled_length(self) -> int:
        """Length of pool5; reads the maps of the first image."""
        pyramid = features.load_pyramid(self.cache, self.records[0].id)
        return int(pyramid.maps[0].shape[0]) * self.pooling.bins

    def with_fc(self, fc: FcFeatures | None) -> TrainingImages:
        """Return the same images with the features of other layers; these keep theirs."""
        images = self.subset(range(len(self)))
        images.fc = fc
        return images

    @property
    def feature_length(self) -> int:
        """Length of a window's features."""
        return int(self.pool(0, np.zeros((0, 4), np.float32)).shape[1])

    def boxes(self, index: int) -> NDArray[np.float32]:
        """Return the windows of image `index` without overlaps: float32 (G + R, 4), objects first."""
        record = self.records[index]
        return np.concatenate([record.boxes, self.proposals[record.id]]).astype(np.float32)

    def pool(
        self, index: int, boxes: NDArray[np.float32], scale_index: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return the unscaled features of boxes of image `index`: float32 (N, D).

        Args:
            index: number of the image; its maps are read from the cache.
            boxes: float32 (N, 4), image pixels.
            scale_index: int64 (N,), the map of each box; None: the one that the pooling rule chooses.
        """
        placed = self.place(index, boxes, scale_index)
        return placed.rows(slice(None))[placed.group]

    def place(
        self, index: int, boxes: NDArray[np.float32], scale_index: NDArray[np.int64] | None = None
    ) -> features.Placed:
        """Return boxes of image `index` on its feature pyramid; arguments as of `pool`."""
        pyramid = features.load_pyramid(self.cache, self.records[index].id)
        if self.mirrored:
            boxes = mirror(boxes, pyramid.image_size[1])
        return features.place(pyramid, boxes, self.pooling, scale_index, self.fc)


class ViewedImages(TrainingImages):
    """The same training images in several views; the features of a window are means over these.

    Args:
        views: the images in each view, in the same order. Records, overlaps and the length of features are those of
            the first.
    """

    def __init__(self, views: Sequence[TrainingImages]) -> None:
        first = views[0]
        self._views = views
        super().__init__(first.records, first.proposals, first.cache, first.pooling, first.n_classes, first.fc)

    @property
    def views(self) -> Sequence[TrainingImages]:
        """The images in each view."""
        return self._views

    def subset(
        self, places: Sequence[int], proposals: Mapping[str, NDArray[np.float32]] | None = None
    ) -> TrainingImages:
        """Return some of the images in all views; arguments as of `TrainingImages.subset`."""
        return ViewedImages([view.subset(places, proposals) for view in self._views])

    @property
    def fc(self) -> FcFeatures | None:
        """Fully connected layers of all views."""
        return self._views[0].fc

    @fc.setter
    def fc(self, fc: FcFeatures | None) -> None:
        for view in self._views:
            view.fc = fc

    def place(
        self, index: int, boxes: NDArray[np.float32], scale_index: NDArray[np.int64] | None = None
    ) -> features.Placed:
        """Return boxes of image `index` on the feature pyramids of all views; arguments as of `pool`."""
        return features.PlacedViews([view.place(index, boxes, scale_index) for view in self._views])


def feature_sample(
    images: TrainingImages, seed: int = SAMPLE_SEED, n_images: int = SAMPLE_IMAGES, n_boxes: int = SAMPLE_BOXES
) -> Iterator[NDArray[np.float32]]:
    """Yield unscaled features of a random sample of windows, objects among them: float32 (N, D) per image, N >= 1.

    Args:
        images: the training images.
        seed: random seed of the sample.
        n_images: maximum number of images.
        n_boxes: maximum number of windows per image.
    """
    rng = np.random.default_rng(seed)
    for index in rng.permutation(len(images))[:n_images]:
        boxes = images.labelled_boxes(index).boxes
        chosen = rng.permutation(len(boxes))[:n_boxes]
        if len(chosen):
            yield images.pool(index, boxes[chosen])


def mean_norm(
    images: TrainingImages, seed: int = SAMPLE_SEED, n_images: int = SAMPLE_IMAGES, n_boxes: int = SAMPLE_BOXES
) -> float:
    """Return the mean L2 norm of the features of a random sample of windows (spp_feature_stats.m).

    Args:
        images: the training images.
        seed: random seed of the sample.
        n_images: maximum number of images.
        n_boxes: maximum number of windows per image.

    Raises:
        ValueError: no image has a window, or all features are zero.
    """
    norms = [np.linalg.norm(rows, axis=1) for rows in feature_sample(images, seed, n_images, n_boxes)]
    mean = float(np.concatenate(norms).mean(dtype=np.float64)) if norms else 0.0
    if mean == 0:
        raise ValueError(
            "features: all features of the sampled training windows are zero; check the photos, the proposals and "
            "the weights of the network"
        )
    return mean
