"""Checkpoints of SVM training."""

from functools import partial

import numpy as np
import pytest

from detection.training import svm_checkpoint
from detection.training.solver import SharedState
from detection.training.svm_checkpoint import Checkpoint
from tests.damage import flip_bits, without_checksum


def checkpoint():
    state = SharedState(np.ones((8, 2), np.int8), np.ones((8, 2)), np.ones(8), np.ones((2, 9), np.float32), np.zeros(2))
    rows = np.arange(8)
    return Checkpoint("key", rows, rows, state, 0.5, np.zeros(2, np.int64), 3, 4)


def test_a_damaged_checkpoint_is_ignored(tmp_path, caplog):
    (tmp_path / svm_checkpoint.FILE).write_bytes(b"PK\x03\x04 not an archive")
    assert svm_checkpoint.load(tmp_path, "key") is None
    assert "damaged" in caplog.text


@pytest.mark.parametrize("file", [svm_checkpoint.FILE, svm_checkpoint.FINISHED])
def test_checkpoints_with_flipped_bits_or_without_checksum_are_told_and_not_used(tmp_path, caplog, file):
    path = tmp_path / file
    for damaged in (*(partial(flip_bits, path, 1, seed) for seed in range(40)), partial(without_checksum, path)):
        svm_checkpoint.save(tmp_path, checkpoint(), file)
        assert svm_checkpoint.load(tmp_path, "key", file).next_image == 4
        damaged()
        assert svm_checkpoint.load(tmp_path, "key", file) is None
    assert len(caplog.messages) == 41
    assert all(line.startswith(f"{path} is damaged (") for line in caplog.messages)
