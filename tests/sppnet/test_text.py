import math

import pytest

from sppnet import text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0.0 s"), (3.44, "3.4 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (75.2, "1 min 15 s"), (7530, "2 h 5 min")],
)
def test_durations(seconds, expected):
    assert text.clock(seconds) == expected


def test_sizes():
    assert [text.size(n) for n in (83_000, 8_400_000, 2_500_000_000)] == ["0.1 MB", "8.4 MB", "2.5 GB"]


def test_shares_and_scores_are_a_dash_if_unknown():
    assert (text.percent(0.5), text.percent(0.126, 0), text.percent(math.nan)) == ("50.0", "13", "–")
    assert (text.score(-0.5), text.score(1.26, 1), text.score(math.nan)) == ("−0.50", "1.3", "–")


def test_nouns_are_in_the_plural_unless_there_is_one():
    assert [text.counted(n, "photo") for n in (0, 1, 2500)] == ["0 photos", "1 photo", "2,500 photos"]
