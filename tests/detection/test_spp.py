"""Pooling against the authors' program (tests/golden) and against a literal reference."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detection import spp
from tests.reference.spp import project_one, pyramid_pool_one

GOLDEN = Path(__file__).parents[1] / "golden" / "sppnet_matlab_1.npz"
GOLDEN_SCALES = (480, 576, 688, 874, 1200)
# image (H, W), box 1-based, scales, 1-based cells x, cells y: independent re-computation of the authors' rule
RELEASED_CASES = [
    ((500, 353), (48, 240, 195, 371), GOLDEN_SCALES, 480, (4, 16), (20, 31)),
    ((500, 353), (8, 12, 352, 498), GOLDEN_SCALES, 480, (1, 29), (1, 41)),
    ((375, 500), (1, 1, 500, 375), GOLDEN_SCALES, 480, (1, 39), (1, 29)),
    ((375, 500), (100, 100, 119, 119), GOLDEN_SCALES, 1200, (20, 23), (20, 23)),
    ((375, 500), (481, 356, 500, 375), GOLDEN_SCALES, 1200, (96, 99), (71, 74)),
    ((375, 500), (1, 1, 30, 20), GOLDEN_SCALES, 1200, (1, 5), (1, 3)),
    ((375, 500), (123, 77, 310, 290), GOLDEN_SCALES, 480, (10, 24), (6, 22)),
    ((375, 500), (123, 77, 310, 290), (688,), 688, (14, 35), (9, 33)),
]
ZF5_MAPS = {(500, 353): {480: (41, 29)}, (375, 500): {480: (29, 39), 688: (42, 56), 1200: (74, 99)}}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def released_windows(golden, scales, index):
    boxes = golden["boxes_1based"] - 1
    size = (int(golden["im_h"]), int(golden["im_w"]))
    scaled = spp.scale_boxes(boxes, size, np.asarray(scales)[index], "released")
    sizes = np.array([golden[f"map_{list(golden['scales']).index(s)}"].shape[:2] for s in scales])[index]
    return scaled, spp.project(scaled, sizes, stride=16, center=20, offset=6.5)


def test_released_scales_are_the_authors(golden):
    size = (int(golden["im_h"]), int(golden["im_w"]))
    index = spp.choose_scales(golden["boxes_1based"] - 1, size, golden["scales"], "released")
    np.testing.assert_array_equal(index, golden["scale_index"])


def test_released_scaled_boxes_are_the_authors_to_the_bit(golden):
    scaled, _ = released_windows(golden, golden["scales"], golden["scale_index"])
    np.testing.assert_array_equal(scaled + 1, golden["scaled_boxes_1based"])


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_released_pooling_is_the_authors_to_the_bit(golden, kind):
    maps = [np.ascontiguousarray(golden[f"map_{i}"].transpose(2, 0, 1)) for i in range(5)]
    _, windows = released_windows(golden, golden["scales"], golden["scale_index"])
    if kind == "torch":
        maps = [torch.from_numpy(m) for m in maps]
    pooled = spp.pyramid_pool(maps, windows, golden["scale_index"])
    np.testing.assert_array_equal(np.asarray(pooled), golden["pooled"])


def test_released_pooling_at_one_scale_is_the_authors_to_the_bit(golden):
    index = np.zeros(len(golden["boxes_1based"]), int)
    _, windows = released_windows(golden, [688.0], index)
    maps = [np.ascontiguousarray(golden["map_2"].transpose(2, 0, 1))]
    np.testing.assert_array_equal(spp.pyramid_pool(maps, windows, index), golden["pooled_single_688"])


@pytest.mark.parametrize(("size", "box", "scales", "scale", "columns", "rows"), RELEASED_CASES)
def test_released_windows_of_known_boxes(size, box, scales, scale, columns, rows):
    boxes = np.array([box]) - 1
    chosen = scales[spp.choose_scales(boxes, size, scales, "released")[0]]
    assert chosen == scale
    scaled = spp.scale_boxes(boxes, size, [chosen], "released")
    cells = spp.project(scaled, ZF5_MAPS[size][scale], 16, 20, 6.5)[0] + 1
    assert (tuple(cells[[0, 2]]), tuple(cells[[1, 3]])) == (columns, rows)


@pytest.mark.parametrize(
    ("side", "cells"),
    [((1, 224), (1, 13)), ((1, 16), (1, 1)), ((28, 30), (1, 1)), ((22, 36), (1, 2)), ((7, 688), (1, 42))],
)
def test_released_projection_of_known_sides(side, cells):
    low, high = side[0] - 1, side[1] - 1
    window = spp.project([[low, low, high, high]], (42, 42), 16, 20, 6.5)[0] + 1
    assert tuple(window) == (cells[0], cells[0], cells[1], cells[1])


@pytest.mark.parametrize("offset", [None, 6.5])
def test_projection_agrees_with_a_search_over_all_cells(offset):
    rng = np.random.default_rng(1)
    corners = np.sort(rng.uniform(-60, 760, (3000, 2, 2)).round(1), axis=1)
    boxes = corners.reshape(-1, 4)[:, [0, 1, 2, 3]]
    windows = spp.project(boxes, (42, 56), 16, 15, offset)
    for box, window in zip(boxes, windows, strict=True):
        x = project_one(box[0], box[2], 56, 16, 15, offset)
        y = project_one(box[1], box[3], 42, 16, 15, offset)
        assert tuple(window) == (x[0], y[0], x[1], y[1]), box


def test_paper_scale_is_the_closest_area():
    size, scales = (375, 500), (480, 576, 688, 864, 1200)
    boxes = np.array([[0, 0, a - 1, a - 1] for a in range(5, 375, 3)])
    chosen = spp.choose_scales(boxes, size, scales, "paper")
    for box, index in zip(boxes, chosen, strict=True):
        side = box[2] + 1
        distances = [abs((side * s / 375) ** 2 - 224**2) for s in scales]
        assert distances[index] == min(distances)


def test_paper_box_scaling_maps_pixel_centres_like_resizing():
    scaled = spp.scale_boxes([[0, 0, 499, 374]], (375, 500), [750], "paper")
    np.testing.assert_allclose(scaled, [[0.5, 0.5, 998.5, 748.5]])


@pytest.mark.parametrize("levels", [(1, 2, 3, 6), (6,), (3, 2, 1), (4, 3, 2, 1), (5, 7)])
@pytest.mark.parametrize("kind", ["numpy", "torch", "channels_last"])
def test_pooling_agrees_with_the_literal_reference(levels, kind):
    rng = np.random.default_rng(2)
    maps = [rng.standard_normal((4, h, w)).astype(np.float32) for h, w in ((1, 1), (9, 14), (17, 8))]
    index = rng.integers(0, 3, 60)
    windows = np.empty((60, 4), np.int64)
    for row, s in enumerate(index):
        windows[row, 0::2] = np.sort(rng.integers(0, maps[s].shape[2], 2))
        windows[row, 1::2] = np.sort(rng.integers(0, maps[s].shape[1], 2))
    expected = [pyramid_pool_one(maps[s], window, levels) for s, window in zip(index, windows, strict=True)]
    if kind == "torch":
        maps = [torch.from_numpy(m) for m in maps]
    elif kind == "channels_last":
        maps = [np.ascontiguousarray(m.transpose(1, 2, 0)).transpose(2, 0, 1) for m in maps]
    np.testing.assert_array_equal(np.asarray(spp.pyramid_pool(maps, windows, index, levels)), expected)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_channels_last_gives_the_same_values_with_those_of_a_bin_adjacent(kind):
    maps = [np.random.default_rng(3).standard_normal((5, 9, 14)).astype(np.float32)]
    windows, index = [[0, 0, 13, 8], [3, 2, 4, 8]], [0, 0]
    usual = np.asarray(spp.pyramid_pool([kind(m) for m in maps], windows, index))
    turned = np.asarray(spp.pyramid_pool([kind(m) for m in maps], windows, index, channels_last=True))
    for row in range(2):
        levels = np.split(usual[row], 5 * np.cumsum([1, 4, 9])), np.split(turned[row], 5 * np.cumsum([1, 4, 9]))
        for chw, hwc in zip(*levels, strict=True):
            np.testing.assert_array_equal(chw.reshape(5, -1).T, hwc.reshape(-1, 5))


@pytest.mark.parametrize("tensor", [False, True])
def test_pooling_no_windows_gives_no_rows(tensor):
    maps = [np.zeros((3, 4, 5), np.float32)]
    pooled = spp.pyramid_pool([torch.from_numpy(maps[0])] if tensor else maps, np.zeros((0, 4), int), [])
    assert tuple(pooled.shape) == (0, 150)


def test_pooling_tensors_has_the_right_gradient():
    torch.manual_seed(0)
    values = torch.randperm(2 * 6 * 7, dtype=torch.float64).reshape(2, 6, 7).requires_grad_()
    windows, index = [[0, 0, 6, 5], [2, 1, 3, 1], [4, 4, 4, 4]], [0, 0, 0]
    assert torch.autograd.gradcheck(lambda m: spp.pyramid_pool([m], windows, index, (1, 2, 3)), (values,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pooling_on_cuda_equals_the_cpu(golden):
    maps = [np.ascontiguousarray(golden[f"map_{i}"].transpose(2, 0, 1)) for i in range(5)]
    _, windows = released_windows(golden, golden["scales"], golden["scale_index"])
    pooled = spp.pyramid_pool([torch.from_numpy(m).cuda() for m in maps], windows, golden["scale_index"])
    np.testing.assert_array_equal(pooled.cpu().numpy(), golden["pooled"])


@pytest.mark.parametrize(
    ("windows", "index", "message"),
    [
        ([[0, 0, 5, 3]], [0], "not inside"),
        ([[-1, 0, 1, 1]], [0], "not inside"),
        ([[2, 0, 1, 1]], [0], "not inside"),
        ([[0, 0, 1, 1]], [1], "scale_index"),
        ([[0, 0, 1, 1]], [0, 0], "scale_index"),
    ],
)
def test_invalid_windows_are_errors_that_name_the_argument(windows, index, message):
    with pytest.raises(ValueError, match=message):
        spp.pyramid_pool([np.zeros((2, 4, 5), np.float32)], windows, index)


def test_out_is_filled_if_it_has_the_right_shape_and_dtype():
    maps, cells, index = [np.ones((2, 4, 5), np.float32)], [[0, 0, 1, 1]], [0]
    for wrong in (np.zeros((1, 99), np.float32), np.zeros((1, 100))):
        with pytest.raises(ValueError, match="out: expected float32"):
            spp.pyramid_pool(maps, cells, index, out=wrong)
    out = np.zeros((1, 100), np.float32)
    assert spp.pyramid_pool(maps, cells, index, out=out) is out
    assert (out == 1).all()


def test_unknown_rule_and_empty_scales_are_refused():
    with pytest.raises(ValueError, match="rule"):
        spp.choose_scales([[0, 0, 1, 1]], (5, 5), (480,), "other")
    with pytest.raises(ValueError, match="scales"):
        spp.choose_scales([[0, 0, 1, 1]], (5, 5), ())


def signed_maps(seed=0):
    rng = np.random.default_rng(seed)
    maps = [rng.normal(0, 10, (5, h, w)).astype(np.float16).astype(np.float32) for h, w in ((9, 12), (20, 27))]
    maps[0][:, :2] = -0.0
    return maps


def test_keys_are_in_the_order_of_the_rounded_numbers():
    values = np.float32([-np.inf, -65504, -1.01, -1, -1e-6, 0, 1e-6, 0.99, 1, 1.01, 3, 65504, np.inf])
    keys = spp.bfloat16_keys(values.reshape(1, 1, -1)).ravel()
    rounded = torch.from_numpy(values).bfloat16().float().numpy()
    assert (np.sign(np.diff(keys.astype(int))) == np.sign(np.diff(rounded))).all()


@pytest.mark.parametrize("levels", [(1, 2, 3, 6), (4,), (1, 5)])
@pytest.mark.parametrize("threads", [1, 3])
def test_pooling_in_bfloat16_gives_the_rounded_maxima(levels, threads):
    maps, rng = signed_maps(), np.random.default_rng(1)
    index = rng.integers(0, 2, 90)
    corners = rng.random((90, 2, 2)) * np.array([m.shape[:0:-1] for m in maps])[index][:, None]
    windows = np.sort(corners.astype(np.int64), axis=1).reshape(-1, 4)
    whole = np.array([[0, 0, m.shape[2] - 1, m.shape[1] - 1] for m in maps])[index]
    regions, pyramids = (windows, whole), (levels, (1, 2))
    exact = spp.pool_regions(maps, regions, index, pyramids, channels_last=True)
    keys = [spp.bfloat16_keys(m) for m in maps]
    found = spp.pool_bfloat16(keys, regions, index, pyramids, threads=threads)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, torch.from_numpy(exact).bfloat16())
    memory = np.empty(exact.shape, np.int16)
    assert torch.equal(spp.pool_bfloat16(keys, regions, index, pyramids, memory), found)
    assert np.shares_memory(memory, spp.pool_bfloat16(keys, regions, index, pyramids, memory).view(torch.int16).numpy())
    with pytest.raises(ValueError, match="out: expected int16"):
        spp.pool_bfloat16(keys, regions, index, pyramids, memory[1:])
