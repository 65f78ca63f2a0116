"""Box regressors by blocks are those of one pass over the images."""

from dataclasses import replace

import numpy as np
import pytest

from detection import bbox_regression
from detection.config import PAPER
from detection.engines.engine import WorkerLost
from detection.engines.this_process import ThisProcess
from detection.networks.fc_head import FcFeatures, FcHead
from detection.training import regression_blocks
from detection.training.images import ViewedImages
from detection.training.regressor_checkpoint import RegressorParts
from tests.detection.conftest import make_images
from tests.detection.training.backwards import Backwards

ENGINES = [pytest.param(e, id=e.__name__) for e in (ThisProcess, Backwards)]

WEAK = replace(PAPER.bbox, ridge=5.0)


@pytest.fixture
def many():
    """Six classes: some with more windows than features, some with fewer, the last one with none."""
    images = make_images(n=40, classes=5, seed=3)
    images.n_classes = 6
    return images


@pytest.fixture
def small(monkeypatch):
    """Blocks of about 82 windows, so that most classes have several."""
    monkeypatch.setattr(regression_blocks, "BLOCK_ROWS", 1)


def fitted(images, folder, engine, config=PAPER.bbox, **options):
    return regression_blocks.fit_all_with(engine, images, config, 0.7, RegressorParts(folder, "key"), **options)


def assert_same(found, expected, atol=0.0):
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.weights, b.weights, rtol=0, atol=atol)
            np.testing.assert_array_equal(a.mean, b.mean)


def blocks_of(images):
    windows = bbox_regression.all_training_windows(images, PAPER.bbox)
    return [len(regression_blocks._divided(windows, k, 2 * (images.feature_length + 1))) for k in range(5)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("difficult", [True, False])
@pytest.mark.parametrize("limit", [None, 30])
def test_classes_of_one_block_have_the_regressors_of_one_pass(many, tmp_path, engine, difficult, limit):
    config, finished = replace(PAPER.bbox, max_windows=limit), []
    found = fitted(many, tmp_path, engine(), config, difficult=difficult, on_class=finished.append)
    assert_same(found, bbox_regression.fit_all(many, config, 0.7, difficult=difficult))
    assert sorted(finished) == list(range(6))


@pytest.mark.parametrize("engine", ENGINES)
def test_classes_of_several_blocks_have_the_same_to_rounding(many, tmp_path, small, engine):
    assert {1, 3} <= set(blocks_of(many))
    finished = []
    found = fitted(many, tmp_path, engine(), WEAK, on_class=finished.append)
    assert_same(found, bbox_regression.fit_all(many, WEAK, 0.7), 1e-5)
    assert max(np.abs(r.weights).max() for r in found[:5]) > 1e-2
    assert sorted(finished) == list(range(6))


def test_the_order_in_which_blocks_come_back_does_not_matter(many, tmp_path, small):
    here, there = fitted(many, tmp_path / "a", ThisProcess()), fitted(many, tmp_path / "b", Backwards())
    assert_same(here, there)


def test_windows_of_every_view_are_examples(tmp_path, small):
    images, mirrored = make_images(), make_images()
    mirrored.mirrored = True
    both = ViewedImages([images, mirrored])
    assert_same(fitted(both, tmp_path, Backwards(), WEAK), bbox_regression.fit_all(both, WEAK, 0.7), 1e-5)


def test_features_may_be_those_of_layers(many, tmp_path):
    images = many.with_fc(FcFeatures(FcHead.random(many.pooled_length, 9), "fc7"))
    found, pool5 = fitted(images, tmp_path / "a", Backwards()), fitted(many, tmp_path / "b", Backwards())
    # layers round with the number of windows
    assert_same(found, bbox_regression.fit_all(images, PAPER.bbox, 0.7), 1e-6)
    assert found[0].weights.shape != pool5[0].weights.shape


def test_blocks_travel_without_other_windows(many):
    windows = bbox_regression.all_training_windows(many, PAPER.bbox)
    places = regression_blocks._divided(windows, 0, 10**6)[0]
    images, own = regression_blocks._with_class(many, windows, 0, places)
    for n, i in enumerate(places.tolist()):
        there = many.labelled_boxes(i).boxes[windows[i].rows[windows[i].labels == 0]]
        np.testing.assert_array_equal(images.boxes(n)[own[n].rows], there)
        assert len(images.proposals[images.records[n].id]) <= len(there)


@pytest.mark.parametrize("finished", [1, 3])
def test_an_interrupted_training_resumes_with_the_classes_that_are_missing(many, tmp_path, small, finished):
    done = []

    def interrupt(k):
        done.append(k)
        if len(done) == finished + 1:  # the class without windows is the first
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(many, tmp_path, ThisProcess(), on_class=interrupt)
    engine = Backwards()
    assert_same(fitted(many, tmp_path, engine), fitted(many, tmp_path / "whole", ThisProcess()))
    assert engine.items == sum(n for k, n in enumerate(blocks_of(many)) if k not in done)


def test_a_block_that_ends_its_workers_is_named(many, tmp_path):
    with pytest.raises(WorkerLost, match=r"^box regression, class \d: killed; use fewer workers \(-j\)$"):
        fitted(many, tmp_path, Backwards(lost=0))
