"""Files of finished box regressors."""

from functools import partial

import numpy as np

from detection.bbox_regression import BoxRegressor
from detection.training import regressor_checkpoint
from detection.training.regressor_checkpoint import RegressorParts
from tests.damage import flip_bits, without_checksum


def test_regressors_are_kept_for_their_training_until_removed(tmp_path):
    regressor = BoxRegressor(np.ones((6, 4), np.float32), np.arange(4.0))
    parts = RegressorParts(tmp_path / "training", "key")
    assert parts.get(0) is None
    parts.put(0, regressor)
    again = RegressorParts(tmp_path / "training", "key").get(0)
    np.testing.assert_array_equal(again.weights, regressor.weights)
    np.testing.assert_array_equal(again.mean, regressor.mean)
    assert parts.get(1) is None
    assert RegressorParts(tmp_path / "training", "other").get(0) is None
    regressor_checkpoint.remove(tmp_path / "training")
    assert parts.get(0) is None
    assert not list((tmp_path / "training").iterdir())


def test_damaged_files_are_ignored(tmp_path):
    parts = RegressorParts(tmp_path, "key")
    parts.put(0, BoxRegressor(np.ones((6, 4), np.float32), np.arange(4.0)))
    path = tmp_path / "regressor-0.npz"
    for damaged in (b"torn", path.read_bytes()[:100]):
        path.write_bytes(damaged)
        assert parts.get(0) is None


def test_regressors_with_flipped_bits_or_without_checksum_are_told_and_trained_again(tmp_path, caplog):
    parts, path = RegressorParts(tmp_path, "key"), tmp_path / "regressor-0.npz"
    for damaged in (*(partial(flip_bits, path, 1, seed) for seed in range(20)), partial(without_checksum, path)):
        parts.put(0, BoxRegressor(np.ones((6, 4), np.float32), np.arange(4.0)))
        damaged()
        assert parts.get(0) is None
    assert len(caplog.messages) == 21
    assert all(line.startswith(f"{path} is damaged (") for line in caplog.messages)
