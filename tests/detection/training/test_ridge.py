"""Ridge regression on rows that arrive in blocks; tests/detection/test_bbox_regression.py compares its solutions."""

import itertools
import pickle

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


def system_of(rows, targets, block=50):
    system = RidgeSystem(2.0)
    for start in range(0, len(rows), block):
        system.add(rows[start : start + block], targets[start : start + block])
    return system


def solved(system):
    return system.solve(np.concatenate(system.targets).mean(axis=0), np.eye(4))


@pytest.mark.parametrize("parts", [[300, 300], [300, 20], [20, 300], [20, 30], [2500, 200, 300]])
def test_merged_systems_are_the_system_of_all_rows(parts):
    rng = np.random.default_rng(0)
    rows, targets = rng.random((sum(parts), 39), np.float32), rng.random((sum(parts), 4))
    edges = np.cumsum([0, *parts])
    first, *others = [system_of(rows[a:b], targets[a:b]) for a, b in itertools.pairwise(edges)]
    for other in others:
        first.merge(other)
    np.testing.assert_allclose(solved(first), solved(system_of(rows, targets)), atol=2e-4)


@pytest.mark.parametrize("count", [10, 199, 200, 300])  # rows in the dual form, up to their number
def test_a_pickled_system_is_the_same_and_has_half_the_gram_matrix(count):
    rng = np.random.default_rng(0)
    system = system_of(rng.random((count, 199), np.float32), rng.random((count, 4)))
    data = pickle.dumps(system)
    if system._gram is not None:
        assert len(data) < 0.6 * system._gram.nbytes + len(pickle.dumps((system._buffer, system.targets)))
    np.testing.assert_array_equal(solved(pickle.loads(data)), solved(system))
