"""The two presets."""

import json

import pytest

from detection.config import PAPER, PRESETS, RELEASED, Config


@pytest.mark.parametrize("config", [PAPER, RELEASED, PAPER.with_scales((688,))])
def test_configurations_survive_json(config):
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_presets_differ_as_published():
    assert set(PRESETS) == {"paper", "released"}
    assert (PAPER.pooling.scales[3], RELEASED.pooling.scales[3]) == (864, 874)
    assert (PAPER.bbox.strict, RELEASED.bbox.strict) == (False, True)
    assert (PAPER.svm.thinning_iou, RELEASED.svm.thinning_iou) == (0.7, None)
