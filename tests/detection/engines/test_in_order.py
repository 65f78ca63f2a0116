"""Results by number, whatever order they come in."""

import itertools

import pytest

from detection.engines.in_order import in_order


@pytest.mark.parametrize("memory", [0, 50, 10**6])  # all that wait are in files, some, none
def test_results_come_by_number_in_every_order(memory, tmp_path):
    for order in itertools.permutations(range(4)):
        results = ((n, [n] * 10) for n in order)
        assert list(in_order(results, tmp_path / "early", memory)) == [[n] * 10 for n in range(4)]
    assert (tmp_path / "early").is_dir() == (memory < 10**6)
    assert not list(tmp_path.glob("early/*"))


def test_no_results_are_no_results(tmp_path):
    assert list(in_order([], tmp_path)) == []


def test_a_result_is_yielded_as_soon_as_it_is_its_turn(tmp_path):
    def results():
        yield 1, "b"
        yield 0, "a"
        pytest.fail("taken too early")

    ordered = in_order(results(), tmp_path)
    assert [next(ordered), next(ordered)] == ["a", "b"]
