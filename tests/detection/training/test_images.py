"""Training windows: their labels, overlaps and features."""

import numpy as np

from detection import features
from detection.boxes import iou
from detection.cache import FeatureCache
from detection.config import PAPER
from detection.training.images import TrainingImages, label_boxes
from tests.detection.conftest import SCALES, windows


def test_training_and_testing_see_the_same_features(body, photo, tmp_path):
    cache = FeatureCache(tmp_path, features.cache_manifest(body, SCALES))
    pyramid = features.compute_pyramid(photo, body, SCALES)
    features.store_pyramid(cache, "0", pyramid)

    class Record:
        id = "0"

    images = TrainingImages([Record()], {}, cache, PAPER.pooling, 3)
    boxes = windows(30)
    direct = features.pool(pyramid, features.locate(pyramid, boxes, PAPER.pooling), PAPER.pooling.levels)
    np.testing.assert_array_equal(images.pool(0, boxes), direct)
    placed = images.place(0, boxes)
    np.testing.assert_array_equal(placed.rows(placed.group), direct)


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
