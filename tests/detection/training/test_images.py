"""Training windows: their labels, overlaps and features."""

import numpy as np

from detection import features
from detection.cache import FeatureCache
from detection.config import PAPER
from detection.training.images import TrainingImages
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
