"""Feature rows in half precision."""

import numpy as np
import pytest

from detection.training.row_store import RowStore
from detection.training.solver import Problem, SharedState, margins


def test_values_beyond_half_precision_are_refused(tmp_path):
    rows = RowStore(2, memory=1, folder=tmp_path)
    rows.grow(1)
    for value in (70000.0, np.nan):
        with pytest.raises(ValueError, match=r"expected finite values of at most 65504 \(half precision\)"):
            rows.write(np.array([0]), np.array([[1.0, value]], np.float32))


def test_subnormal_halves_are_decoded_exactly(tmp_path):
    values = np.array([[6e-8, 6.1e-5, -3.0e-5, 65504.0, -0.5, 0.0]], np.float16).astype(np.float32)
    rows = RowStore(6, memory=1, folder=tmp_path)
    rows.grow(1)
    rows.write(np.array([0]), values)
    state = SharedState(
        np.ones((1, 6), np.int8), np.zeros((1, 6), np.float32), np.zeros(1), np.eye(6, dtype=np.float32), np.zeros(6)
    )
    got = margins(rows, state, np.arange(6), Problem(1e-3, 2.0, 10.0, 1.0))
    np.testing.assert_array_equal(got, values)
