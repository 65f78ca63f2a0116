"""Ridge regression on rows that arrive in blocks; tests/detection/test_bbox_regression.py compares its solutions."""

import numpy as np
import pytest

from detection.training.ridge import FOLD_ROWS, RidgeSystem, system_bytes


@pytest.mark.parametrize(("rows", "held"), [(10, 10), (99, 99), (100, 100), (5000, 100)])
def test_the_size_of_a_system_is_that_of_its_rows_or_of_its_gram_matrix(rows, held):
    system = RidgeSystem(1.0)
    for start in range(0, rows, 50):
        n = min(50, rows - start)
        system.add(np.ones((n, 99), np.float32), np.zeros((n, 4)))
    buffered = sum(block.nbytes for block in system._buffer)
    gram = 0 if system._gram is None else system._gram.nbytes
    assert (system._gram is None) == (rows < 100)
    assert buffered + gram <= system_bytes(rows, 99)
    assert system_bytes(rows, 99) == 4 * 100 * (held + (FOLD_ROWS if rows >= 100 else 0))
