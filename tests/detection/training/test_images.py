"""Training windows: their labels, overlaps and features."""

from pathlib import Path

import numpy as np

from data.records import ImageRecord
from detection import features
from detection.boxes import iou
from detection.cache import FeatureCache
from detection.config import PAPER, PoolingConfig
from detection.networks.fc_head import FcFeatures, FcHead
from detection.training.fingerprint import fingerprint
from detection.training.images import TrainingImages, ViewedImages, label_boxes
from tests.detection.conftest import SCALES, windows


def test_training_and_testing_see_the_same_features(body, photo, tmp_path):
    cache = FeatureCache(tmp_path, features.cache_manifest(body, SCALES))
    pyramid = features.compute_pyramid(photo, body, SCALES)
    features.store_pyramid(cache, "0", pyramid)

    class Record:
        id = "0"

    images = TrainingImages([Record()], {}, cache, PAPER.pooling, 3)
    boxes = windows(30)
    direct = features.pool(pyramid, features.locate(pyramid, boxes, PAPER.pooling), PAPER.pooling)
    np.testing.assert_array_equal(images.pool(0, boxes), direct)
    placed = images.place(0, boxes)
    np.testing.assert_array_equal(placed.rows(placed.group), direct)


def test_features_in_several_views_are_means(body, photo, tmp_path):
    half = PoolingConfig(scales=(100,))
    views = []
    for pooling, mirrored in ((PAPER.with_scales(SCALES).pooling, False), (half, True)):
        manifest = features.cache_manifest(body, pooling.scales, mirrored=mirrored)
        cache = FeatureCache(tmp_path / str(mirrored), manifest)
        pyramid = features.compute_pyramid(photo, body, pooling.scales, mirrored)
        features.store_pyramid(cache, "0", pyramid)
        record = ImageRecord("0", Path("0.jpg"), (150, 220), windows(1), np.zeros(1, np.int64), np.zeros(1, np.bool_))
        views.append(TrainingImages([record], {"0": windows(40)}, cache, pooling, 3, mirrored=mirrored))
    both = ViewedImages(views)
    boxes = np.tile(windows(40), (2, 1))
    expected = (views[0].pool(0, boxes) + views[1].pool(0, boxes)) / 2
    np.testing.assert_allclose(both.pool(0, boxes), expected, rtol=1e-6)
    placed = both.place(0, boxes)
    assert placed.group.max() < 40  # windows on the same cells in both views are one
    np.testing.assert_allclose(placed.rows(placed.group[[3, 0]]), expected[[3, 0]], rtol=1e-6)
    weights = np.random.default_rng(0).normal(size=(expected.shape[1], 2)).astype(np.float32)
    scores = placed.scores(lambda rows: rows @ weights + np.float32(0.5))
    np.testing.assert_allclose(scores, expected @ weights + 0.5, rtol=1e-3, atol=1e-3)
    both.fc = fc = FcFeatures(FcHead.random(both.pooled_length, 8), "fc7")
    assert [view.fc for view in views] == [fc, fc]
    assert both.pool(0, boxes).shape == (80, 8)
    assert len({fingerprint(images, PAPER.svm, ()) for images in (both, *views, ViewedImages(views[::-1]))}) == 4


def test_labelled_boxes_put_objects_first_with_full_overlap(images):
    record = images.records[0]
    labelled = label_boxes(record, images.proposals[record.id], 2)
    n = len(record.labels)
    np.testing.assert_array_equal(labelled.boxes[:n], record.boxes)
    np.testing.assert_array_equal(labelled.overlaps[np.arange(n), record.labels], 1)
    np.testing.assert_array_equal(labelled.gt_overlaps, iou(labelled.boxes, record.boxes))


def test_windows_over_a_difficult_object_are_never_negatives(images):
    for index, record in enumerate(images.records):
        labelled = images.labelled_boxes(index)
        for box, label in zip(record.boxes[record.difficult], record.labels[record.difficult], strict=True):
            near = iou(labelled.boxes, box[None])[:, 0] >= 0.3
            assert (labelled.overlaps[near, label] >= 0.3).all()
