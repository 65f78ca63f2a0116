"""The two presets."""

import json
from dataclasses import replace
from typing import get_args

import pytest

from detection import config
from detection.config import INFERENCE, PAPER, PRESETS, RELEASED, Config, View
from sppnet.settings import shared


@pytest.mark.parametrize(
    "config",
    [
        PAPER,
        RELEASED,
        PAPER.with_scales((688,)),
        PAPER.with_inference("best"),
        replace(PAPER, best_views=(View(0.7), View(1.25, mirror=True))).with_inference("fast"),
    ],
)
def test_configurations_survive_json(config):
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == Config.from_dict(config.to_dict()) == config


def test_presets_differ_as_published():
    assert set(PRESETS) == {"paper", "released"}
    assert (PAPER.pooling.scales[3], RELEASED.pooling.scales[3]) == (864, 874)
    assert (PAPER.bbox.strict, RELEASED.bbox.strict) == (False, True)
    assert (PAPER.svm.thinning_iou, RELEASED.svm.thinning_iou) == (0.7, None)


def test_models_without_voting_do_not_state_it():
    assert "voting" not in PAPER.to_dict()["test"]


def test_settings_and_configurations_know_the_same_names():
    assert tuple(INFERENCE) == get_args(config.Inference) == get_args(shared.Inference)
    assert get_args(config.Precision) == get_args(shared.Precision)


def test_views_are_read_as_they_are_written():
    for view, text in ((View(), "1"), (View(mirror=True), "1m"), (View(0.7), "0.7"), (View(1.25, True), "1.25m")):
        assert (str(view), View.parse(text)) == (text, view)
    for text in ("", "m", "0", "-1", "1.5x", "20", "1 m"):
        with pytest.raises(ValueError, match=r"view: expected a factor from 0\.1 to 10"):
            View.parse(text)


def test_a_view_has_the_scales_of_the_training_times_its_factor():
    assert View(0.7).scales((688, 480)) == (482, 336)
    assert View(mirror=True).scales((688,)) == (688,)


def test_a_way_of_inference_keeps_the_threshold():
    picky = replace(PAPER, test=replace(PAPER.test, score_threshold=0.1))
    best = picky.with_inference("best")
    assert (best.test.score_threshold, best.views) == (0.1, (View(), View(mirror=True)))
    sizes = (View(0.7), View(1.25, mirror=True))
    assert replace(picky, best_views=sizes).with_inference("fast").with_inference("best").views == sizes
    assert picky.with_inference("fast").views == picky.views == (View(),)
    assert best.with_inference("paper") == picky
    assert (best.inference, picky.inference) == ("best", "paper")


def test_a_way_of_inference_keeps_the_overlap():
    dense = PAPER.with_nms_iou(0.6).with_inference("fast")
    assert (dense.test.nms_iou, dense.inference) == (0.6, "fast")
    for wrong in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="nms_iou: expected more than 0 and at most 1"):
            PAPER.with_nms_iou(wrong)


def test_other_constants_are_no_way_of_inference_and_other_names_are_refused():
    assert replace(PAPER, test=replace(PAPER.test, max_per_image=4)).inference is None
    with pytest.raises(ValueError, match="inference: expected paper, fast, best, got 'bets'"):
        PAPER.with_inference("bets")
