"""Feature pyramids, positions of windows and pooled features, on a network with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detection import features, spp
from detection.cache import FeatureCache
from detection.config import PAPER, PoolingConfig
from detection.linear_detectors import LinearDetectors
from detection.networks.fc_head import FcFeatures, FcHead
from tests.detection.conftest import SCALES, windows


def test_maps_have_the_size_that_the_network_states(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    assert [m.shape[1:] for m in pyramid.maps] == [body.map_size((200, 294)), body.map_size((260, 382))]
    assert pyramid.image_size == (150, 220)


def test_cached_maps_equal_fresh_maps_bit_for_bit(body, photo, tmp_path):
    cache = FeatureCache(tmp_path, features.cache_manifest(body, SCALES))
    fresh = features.compute_pyramid(photo, body, SCALES)
    features.store_pyramid(cache, "photo", fresh)
    cached = features.load_pyramid(FeatureCache(tmp_path), "photo")
    assert (cached.scales, cached.image_size, cached.stride, cached.center) == (
        fresh.scales, fresh.image_size, fresh.stride, fresh.center,
    )  # fmt: skip
    for a, b in zip(cached.maps, fresh.maps, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unique_cells_keep_first_appearances_and_map_back(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    cells = features.locate(pyramid, np.repeat(windows(40), 3, axis=0), PAPER.pooling)
    unique, group = cells.unique()
    np.testing.assert_array_equal(unique.windows[group], cells.windows)
    np.testing.assert_array_equal(unique.scale_index[group], cells.scale_index)
    keys = {(s, *w) for s, w in zip(unique.scale_index.tolist(), unique.windows.tolist(), strict=True)}
    assert len(keys) == len(unique.windows) <= 40
    assert np.all(np.diff([np.flatnonzero(group == g)[0] for g in range(len(keys))]) > 0)


def test_pooling_commutes_with_half_precision(body, photo):
    """Pooled values are exact in half precision, so rows kept for training lose nothing."""
    pyramid = features.compute_pyramid(photo, body, SCALES)
    pooled = features.pool(pyramid, features.locate(pyramid, windows(20), PAPER.pooling), PAPER.pooling)
    np.testing.assert_array_equal(pooled, pooled.astype(np.float16))


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("size", [1, 7, 40, 100])
@pytest.mark.parametrize("context", [(), (1.5, 3.0)])
def test_blockwise_work_equals_work_on_all_windows(body, photo, context, size, tensors, dtype, monkeypatch):
    monkeypatch.setattr(features, "BLOCK", size)
    monkeypatch.setattr(features, "TORCH_BLOCK", size)
    monkeypatch.setattr(features, "LARGE_BLOCK", size)
    pyramid = features.compute_pyramid(photo, body, SCALES)
    if tensors:
        pyramid = replace(pyramid, maps=[torch.as_tensor(m) for m in pyramid.maps])
    pooling = PoolingConfig(levels=(1, 2), context=context)
    cells = features.locate(pyramid, windows(40), pooling)
    whole = torch.as_tensor(features.pool(pyramid, cells, pooling))
    whole = whole.bfloat16().float() if dtype == torch.bfloat16 and not tensors else whole
    sizes = []

    def work(pooled):
        sizes.append(len(pooled))
        assert isinstance(pooled, torch.Tensor) == (tensors or dtype is not None)
        return 2 * torch.as_tensor(pooled).float().numpy()

    found = features.apply_pooled(work, pyramid, cells, pooling, dtype)
    assert max(sizes) <= size
    assert sum(sizes) == 40
    np.testing.assert_array_equal(found, 2 * whole.numpy())


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_context_is_what_larger_windows_pool_on_their_own(body, photo, kind):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    pyramid = replace(pyramid, maps=[kind(m) for m in pyramid.maps])
    plain, coarse = PAPER.pooling, PoolingConfig(levels=(1, 2, 3))
    both = replace(plain, context=(1.5, 4.0))
    boxes = windows(30).astype(np.float64)
    cells = features.locate(pyramid, boxes, both)
    alone = [features.pool(pyramid, features.locate(pyramid, boxes, plain), plain)]
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    for factor in both.context:
        larger = np.hstack([middle - factor * half, middle + factor * half]).clip(0, [219, 149, 219, 149])
        place = features.locate(pyramid, larger, coarse, cells.scale_index)  # at the scale of the window itself
        alone.append(features.pool(pyramid, place, coarse))
    expected = np.concatenate([np.asarray(part) for part in alone], axis=1)
    assert expected.shape == (30, body.channels * both.bins)
    np.testing.assert_array_equal(np.asarray(features.pool(pyramid, cells, both)), expected)


def test_windows_on_the_same_cells_are_one_only_if_what_is_around_them_is_too(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    boxes = np.float32([[60, 60, 90, 90], [59, 59, 91, 91], [60, 60, 90, 90]])
    plain, _ = features.locate(pyramid, boxes, PAPER.pooling).unique()
    unique, group = features.locate(pyramid, boxes, replace(PAPER.pooling, context=(4.0,))).unique()
    assert (len(plain.windows), len(unique.windows), group.tolist()) == (1, 2, [0, 1, 0])


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_no_window_gives_an_empty_result(body, photo, kind, dtype):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    pyramid = replace(pyramid, maps=[kind(m) for m in pyramid.maps])
    cells = features.locate(pyramid, np.zeros((0, 4)), PAPER.pooling)
    pooling = PoolingConfig(levels=(1, 2))
    found = features.apply_pooled(
        lambda pooled: torch.as_tensor(pooled).float().numpy()[:, :3], pyramid, cells, pooling, dtype
    )
    assert found.shape == (0, 3)


def test_only_scales_that_windows_use_are_needed():
    pooling = PAPER.with_scales((120, 200, 260, 400)).pooling
    boxes = np.concatenate([windows(40), [[0, 0, 149, 149]]])
    scales, index = features.needed_scales(boxes, (150, 220), pooling)
    assert set(index) == set(range(len(scales)))
    chosen = spp.choose_scales(boxes, (150, 220), pooling.scales, pooling.rule)
    np.testing.assert_array_equal(np.array(scales)[index], np.array(pooling.scales)[chosen])
    assert len(scales) < 4
    scales, index = features.needed_scales(np.zeros((0, 4)), (150, 220), pooling)
    assert (scales, len(index)) == ((120,), 0)


def test_windows_placed_at_chosen_scales_equal_windows_that_choose(body, photo):
    pooling, boxes = PAPER.with_scales((120, 200, 260)).pooling, windows(40)
    scales, index = features.needed_scales(boxes, (150, 220), pooling)
    assert len(scales) < 3
    told = features.place(features.compute_pyramid(photo, body, scales), boxes, pooling, index)
    chosen = features.place(features.compute_pyramid(photo, body, pooling.scales), boxes, pooling)
    np.testing.assert_array_equal(told.rows(told.group), chosen.rows(chosen.group))


def test_cached_maps_of_an_elongated_photo_keep_their_scales(body, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (60, 1200, 3), np.uint8)
    cache = FeatureCache(tmp_path, features.cache_manifest(body, SCALES))
    fresh = features.compute_pyramid(photo, body, SCALES)
    assert all(side < scale for side, scale in zip(fresh.scales, SCALES, strict=True))
    features.store_pyramid(cache, "photo", fresh)
    cached = features.load_pyramid(cache, "photo")
    assert cached.scales == fresh.scales
    boxes = np.array([[0, 0, 59, 59], [1140, 0, 1199, 59]], np.float32)
    cells = features.locate(cached, boxes, PAPER.with_scales(SCALES).pooling)
    height, width = cached.maps[int(cells.scale_index[1])].shape[1:]
    assert cells.windows[:, 1].tolist() == [0, 0]
    assert cells.windows[1, 2:].tolist() == [width - 1, height - 1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_several_scorers_see_windows_that_are_pooled_once(body, photo, monkeypatch, precision):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    fc = FcFeatures(FcHead.random(body.channels * PAPER.pooling.bins, 7), "fc7", precision)
    placed = features.place(pyramid, windows(40), PAPER.pooling)
    rows = placed.rows(slice(None))[placed.group]
    pool5 = LinearDetectors(np.random.default_rng(0).normal(size=(2, rows.shape[1])).astype("f4"), np.zeros(2, "f4"), 1)
    fc7 = LinearDetectors(np.eye(2, 7, dtype=np.float32), np.zeros(2, np.float32), 3.0)
    expected = np.hstack([pool5.scores(rows), fc7.scores(fc(rows))])
    scorers = [(None, pool5.scores), (fc, fc7.scores)]
    near = {"rtol": 0, "atol": {"bf16": 0.03, "fp32": 1e-5}[precision] * np.abs(expected).max()}  # long sums
    np.testing.assert_allclose(placed.scores_of(scorers), expected, **near)
    np.testing.assert_allclose(features.PlacedViews([placed, placed]).scores_of(scorers), expected, **near)
    gate = float(np.median(expected[:, :2].max(axis=1)))
    found = placed.scores_of(scorers, gate)
    passed = (found[:, :2] >= gate).any(axis=1)
    assert 10 < passed.sum() < 30
    np.testing.assert_allclose(found[passed], expected[passed], **near)
    assert (found[~passed, 2:] == -np.inf).all()
    assert (placed.scores_of(scorers, np.inf)[:, 2:] == -np.inf).all()
    assert placed.with_fc(fc).rows(slice(3)).shape == (3, 7)


@pytest.mark.parametrize(
    ("meta", "settings"),
    [
        ({}, {}),
        ({"image_size": [0, 60]}, {}),
        ({"image_size": "80x60"}, {}),
        ({"image_size": [80, 60, 3]}, {}),
        ({"image_size": [80, 60], "scales": [64, 96]}, {}),
        ({"image_size": [80, 60], "scales": None}, {}),
        ({"image_size": [80, 60]}, {"stride": None}),
        ({"image_size": [80, 60]}, {"center": "x"}),
        ({"image_size": [80, 60]}, {"scales": None}),
    ],
)
def test_maps_of_which_the_cache_says_something_impossible_are_refused_by_name(tmp_path, meta, settings):
    stated = {"scales": [64], "stride": 16, "center": 0.0, **settings}
    cache = FeatureCache(tmp_path, {name: value for name, value in stated.items() if value is not None})
    cache.write("a", [np.ones((4, 3, 3), np.float32)], meta)
    with pytest.raises(ValueError, match=r"a\.maps: not the maps of a photo .*; delete the folder"):
        features.load_pyramid(cache, "a")
