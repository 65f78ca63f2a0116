"""Charts and example pictures of the report."""

import numpy as np
import pytest

from detection.pictures.drawing import PALETTE
from sppnet.report import charts, examples, tested_run
from sppnet.run import DataSource, Run


def test_curves_keep_their_ends_and_few_points():
    correct = np.random.default_rng(0).random(5000) < 0.5
    recall = np.cumsum(correct) / correct.sum()
    precision = np.cumsum(correct) / np.arange(1, 5001)
    points = [tuple(map(float, p.split(","))) for p in charts.curve(precision, recall).split()]
    assert len(points) <= charts.MAX_POINTS
    assert points[-1][0] == 100
    assert [p[0] for p in points] == sorted(p[0] for p in points)
    assert charts.curve([0.0, 0.0], [0.0, 0.0]) == charts.curve([], []) == ""
    assert charts.curve([1.0, 0.5], [np.nan, np.nan]) == ""


def test_histograms_reach_from_the_middle_to_the_edges():
    drawn = charts.histogram([1.0, 1.0, 0.0], [0.0], (0.0, 1.0))
    heights = [float(p.split(",")[1]) for p in drawn.correct.split()]
    assert (min(heights), max(heights)) == (0, 50)
    assert heights[1] == 25  # half as many in the first bin
    assert max(float(p.split(",")[1]) for p in drawn.wrong.split()) == 100
    assert (drawn.n_correct, drawn.n_wrong) == (3, 1)
    assert charts.histogram([], [], (0.0, 1.0)).correct == ""
    assert charts.score_limits([[], [2.0, np.inf]]) == (1.5, 2.5)
    assert charts.score_limits([]) == (-1, 1)


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (390, 290, 399, 299), (-50, -50, 900, 900), (100, 100, 180, 120)])
def test_pictures_are_small_whatever_the_box(box):
    photo = np.zeros((300, 400, 3), np.uint8)
    thing = np.array([150.0, 100, 200, 150])
    for boxes in ((np.array(box, float), None), (np.array(box, float), thing), (None, thing)):
        picture = examples.cut(photo, *boxes, PALETTE[5])
        assert max(picture.shape) <= examples.LONG_SIDE
        assert picture.dtype == np.uint8
        assert (picture == PALETTE[5]).all(axis=2).any() == (boxes[0] is not None)


def test_with_many_classes_those_with_the_most_objects_are_shown(work, monkeypatch):
    monkeypatch.setattr(examples, "MAX_EXAMPLES", 7)
    tested = tested_run.TestedRun.of(Run(work.run, DataSource(work.devkit, None, False, "minivoc")))
    scores = tested_run.Scores.of(tested, "voc07")
    shown = examples.galleries(scores.errors, tested.dataset)
    assert len(shown) == 2
    assert sum(len(g.examples) for g in shown) <= 6
    most = sorted(scores.errors.n_objects.tolist())[-2:]
    counts = [scores.errors.n_objects[tested.classes.index(g.name)] for g in shown]
    assert sorted(counts) == most
