"""Counts of classes and sizes."""

import numpy as np

from data import checks
from data.records import Dataset, ImageRecord


def test_sizes_are_cocos():
    boxes = np.array([[0, 0, 30, 31], [0, 0, 31, 31], [0, 0, 94, 95], [0, 0, 95, 95]], np.float32)
    record = ImageRecord("a", None, (200, 200), boxes, np.zeros(4, int), np.array([0, 1, 0, 0], bool))
    row = checks.class_counts(Dataset("x", ("cat",), (record,)))["cat"]
    assert row == {"images": 1, "objects": 4, "difficult": 1, "small": 1, "medium": 2, "large": 1}
