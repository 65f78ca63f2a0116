"""Views of the network agree with its computations."""

from dataclasses import replace

import numpy as np
import pytest

from detection import spp
from detection.config import PAPER
from detection.features import Cells, FeaturePyramid, locate, pool
from detection.linear_detectors import LinearDetectors
from detection.model import Model
from detection.networks.fc_head import FcFeatures, FcHead
from detection.pictures import network_views

LEVELS = (1, 2, 3, 6)
BINS = sum(n * n for n in LEVELS)


@pytest.fixture
def pyramid():
    maps = np.random.default_rng(0).random((4, 13, 17), dtype=np.float32)
    return FeaturePyramid([maps], (208,), (104, 136), 16, 8.0)


def model(fc=None, width=BINS * 4):
    rng = np.random.default_rng(1)
    svms = LinearDetectors(rng.normal(size=(2, width)).astype(np.float32), np.float32([0.25, -1]), 0.5)
    config = PAPER.with_scales((208,))
    return Model(("a", "b"), config, "alexnet", "0", svms, fc=fc)


@pytest.mark.parametrize("window", [(0, 0, 16, 12), (3, 2, 9, 8), (5, 5, 6, 5), (7, 7, 7, 7)])
def test_bins_contain_the_cells_whose_maxima_are_pooled(pyramid, window):
    pooled = spp.pyramid_pool(pyramid.maps, [window], [0], LEVELS, channels_last=True).reshape(BINS, 4)
    for values, b in zip(pooled, network_views.bins_of(window, LEVELS), strict=True):
        x0, y0, x1, y1 = b.cells
        np.testing.assert_array_equal(values, pyramid.maps[0][:, y0 : y1 + 1, x0 : x1 + 1].max(axis=(1, 2)))


def test_contributions_and_bias_add_up_to_the_score(pyramid):
    m, cells = model(), Cells(np.array([0]), np.array([[3, 2, 9, 8]]))
    parts, score = network_views.contributions(m, pyramid, cells, 1)
    assert parts.shape == (BINS, 4)
    assert score == pytest.approx(float(m.svms.scores(pool(pyramid, cells, PAPER.pooling))[0, 1]), abs=1e-4)
    assert parts.sum() + m.svms.bias[1] == pytest.approx(score, abs=1e-4)


def test_contributions_are_computed_through_fully_connected_layers(pyramid):
    head = FcHead.random(BINS * 4, 8)
    for layer in (head.fc6, head.fc7):
        layer.bias.data.zero_()  # without biases, gradient times value sums to the score
    m, cells = model(FcFeatures(head, "fc7"), 8), Cells(np.array([0]), np.array([[3, 2, 9, 8]]))
    parts, score = network_views.contributions(m, pyramid, cells, 0)
    assert score == pytest.approx(float(m.svms.scores(m.fc(pool(pyramid, cells, PAPER.pooling)))[0, 0]), abs=1e-5)
    assert parts.sum() + m.svms.bias[0] == pytest.approx(score, abs=1e-5)
    assert np.abs(parts).max() > 0


def test_larger_windows_are_drawn_and_counted(pyramid):
    plain = model(width=(BINS + 28) * 4)
    pooling = replace(plain.config.pooling, context=(1.5, 2.0))
    m = replace(plain, config=replace(plain.config, pooling=pooling))
    photo, box = np.zeros((104, 136, 3), np.uint8), np.array([40.0, 30, 80, 70])
    levels = network_views.levels_of(locate(pyramid, box[None], pooling), pooling)
    names = [level[0].pyramid_level for level in levels]
    assert names[3:6] == ["6 x 6", "1 x 1 of 1.5 times the window", "2 x 2 of 1.5 times the window"]
    assert sum(map(len, levels)) == pooling.bins == BINS + 28
    (inner,), (outer,) = levels[0], levels[names.index("1 x 1 of 2 times the window")]
    assert np.all(np.subtract(outer.cells, inner.cells) * [-1, -1, 1, 1] > 0)
    m.svms.weights[:, -4:] = 9.0  # the last bin of the largest window
    _, pairs = network_views.evidence_sheet(photo, box, m, pyramid, 0)
    assert [(p["level"], p["row"], p["column"], p["size"]) for p in pairs] == [(3, 2, 2, 2.0)] * 3
    sheets = [network_views.bin_sheet(photo, box, pyramid, p)[0] for p in (PAPER.pooling, pooling)]
    assert sheets[1].shape[0] > 1.5 * sheets[0].shape[0]  # six more tiles, in rows of three


def test_the_extent_of_a_window_is_close_to_its_box(pyramid):
    box = np.array([[30.0, 20.0, 90.0, 70.0]])
    cells = locate(pyramid, box, PAPER.with_scales((208,)).pooling)
    got = network_views.extent(cells.windows[0], pyramid, 0)
    np.testing.assert_allclose(got, box[0], atol=8)  # a cell is 8 pixels of the photo
    np.testing.assert_array_equal(network_views.extent((0, 0, 16, 12), pyramid, 0), [0, 0, 135, 103])


def test_a_response_is_bright_at_its_cell(pyramid):
    response = np.zeros((13, 17), np.float32)
    response[4, 10] = 2.0
    photo = np.full((104, 136, 3), 90, np.uint8)
    picture = network_views.heat(photo, response, pyramid, 0)
    x0, y0, x1, y1 = network_views.extent((10, 4, 10, 4), pyramid, 0)
    brightest = np.unravel_index(picture.sum(axis=2).argmax(), photo.shape[:2])
    assert y0 <= brightest[0] <= y1
    assert x0 <= brightest[1] <= x1
    assert picture[0, 0].tolist() == [round(90 * network_views.DIM)] * 3


def test_the_channels_with_the_strongest_responses_are_shown(pyramid):
    pyramid.maps[0][2, 5, 5] = 9
    photo = np.zeros((104, 136, 3), np.uint8)
    picture, shown = network_views.channel_sheet(photo, pyramid, count=2, columns=3)
    assert shown[0] == 2
    assert len(shown) == 2
    assert picture.shape[1] > 3 * 136
    with pytest.raises(ValueError, match="0 to 3, got 4"):
        network_views.channel_sheet(photo, pyramid, [4])


def test_the_strongest_pairs_have_the_largest_contributions(pyramid):
    m = model()
    _, pairs = network_views.evidence_sheet(np.zeros((104, 136, 3), np.uint8), [30, 20, 90, 70], m, pyramid, 0, 2)
    parts, _ = network_views.contributions(m, pyramid, locate(pyramid, [[30, 20, 90, 70]], m.config.pooling), 0)
    assert [p["adds"] for p in pairs] == pytest.approx(np.sort(parts, axis=None)[::-1][:2].tolist())
    at = list(network_views.bins_of((0, 0, 5, 5), LEVELS))[int(parts.argmax()) // 4]
    assert (pairs[0]["level"], pairs[0]["row"], pairs[0]["column"]) == (at.level, at.row, at.column)
    assert pairs[0]["channel"] == int(parts.argmax()) % 4
