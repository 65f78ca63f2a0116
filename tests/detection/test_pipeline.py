"""Image -> pyramid -> cells -> scores -> detections, and the model folder, on a network with random weights."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from detection import features, model, network, parallel, postprocessing
from detection.bbox_regression import BoxRegressor
from detection.boxes import iou, nms
from detection.cache import FeatureCache
from detection.config import PAPER, PRESETS, RELEASED, Config
from detection.detector import Evidence, SPPDetector, detect_windows
from detection.svm import LinearDetectors
from detection.training.images import TrainingImages
from detection.weights import half_precision

SCALES = (200, 260)


@pytest.fixture(scope="module")
def body():
    return network.build("alexnet", weights=None)


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (150, 220, 3), np.uint8)


def windows(n, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 120, (n, 2))
    return np.hstack([corner, corner + rng.integers(5, 60, (n, 2))]).clip(0, [219, 149, 219, 149]).astype(np.float32)


def trained(body, regressors=True):
    rng = np.random.default_rng(1)
    dim, classes = body.channels * 50, 3
    svms = LinearDetectors(
        (rng.standard_normal((classes, dim)) / 400).astype(np.float32), np.zeros(classes, np.float32), 0.7
    )
    fitted = tuple(
        BoxRegressor((rng.standard_normal((dim + 1, 4)) / 5000).astype(np.float32), rng.standard_normal(4) / 50)
        for _ in range(2)
    )
    return model.Model(
        ("a", "b", "c"), PAPER.with_scales(SCALES), "alexnet", body.weights_hash, svms,
        (*fitted, None) if regressors else (), 0.3, {"data": "none"},
    )  # fmt: skip


def test_maps_have_the_size_the_network_states(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    assert [m.shape[1:] for m in pyramid.maps] == [body.map_size((200, 294)), body.map_size((260, 382))]
    assert pyramid.image_size == (150, 220)


def test_cached_maps_are_the_fresh_ones_to_the_bit(body, photo, tmp_path):
    cache = FeatureCache(tmp_path, features.cache_manifest(body, SCALES))
    fresh = features.compute_pyramid(photo, body, SCALES)
    features.store_pyramid(cache, "photo", fresh)
    cached = features.load_pyramid(FeatureCache(tmp_path), "photo")
    assert (cached.scales, cached.image_size, cached.stride, cached.center) == (
        fresh.scales, fresh.image_size, fresh.stride, fresh.center,
    )  # fmt: skip
    for a, b in zip(cached.maps, fresh.maps, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unique_cells_keep_the_first_of_each_and_lead_back(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    cells = features.locate(pyramid, np.repeat(windows(40), 3, axis=0), PAPER.pooling)
    unique, group = cells.unique()
    np.testing.assert_array_equal(unique.windows[group], cells.windows)
    np.testing.assert_array_equal(unique.scale_index[group], cells.scale_index)
    keys = {(s, *w) for s, w in zip(unique.scale_index.tolist(), unique.windows.tolist(), strict=True)}
    assert len(keys) == len(unique.windows) <= 40
    assert np.all(np.diff([np.flatnonzero(group == g)[0] for g in range(len(keys))]) > 0)


def test_training_and_testing_see_the_same_features(body, photo, tmp_path):
    cache = FeatureCache(tmp_path, features.cache_manifest(body, SCALES))
    pyramid = features.compute_pyramid(photo, body, SCALES)
    features.store_pyramid(cache, "0", pyramid)

    class Record:
        id = "0"

    images = TrainingImages([Record()], {}, cache, PAPER.pooling, 3)
    boxes = windows(30)
    direct = features.pool(pyramid, features.locate(pyramid, boxes, PAPER.pooling), PAPER.pooling.levels)
    np.testing.assert_array_equal(images.pool(0, boxes), direct)
    placed = images.place(0, boxes)
    np.testing.assert_array_equal(placed.rows(placed.group), direct)


def test_pooling_commutes_with_half_precision(body, photo):
    """Pooled values are exact in half precision, so rows kept for training lose nothing."""
    pyramid = features.compute_pyramid(photo, body, SCALES)
    pooled = features.pool(pyramid, features.locate(pyramid, windows(20), PAPER.pooling), (1, 2, 3, 6))
    np.testing.assert_array_equal(pooled, pooled.astype(np.float16))


@pytest.mark.parametrize("own_threads", [False, True])
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("size", [1, 7, 40, 100])
def test_work_on_blocks_is_work_on_all_windows(body, photo, size, tensors, own_threads, monkeypatch):
    monkeypatch.setattr(features, "BLOCK", size)
    monkeypatch.setattr(features, "LARGE_BLOCK", size)
    pyramid = features.compute_pyramid(photo, body, SCALES)
    if tensors:
        pyramid = replace(pyramid, maps=[torch.as_tensor(m) for m in pyramid.maps])
    cells = features.locate(pyramid, windows(40), PAPER.pooling)
    whole = np.asarray(features.pool(pyramid, cells, (1, 2)))
    sizes = []

    def work(pooled):
        sizes.append(len(pooled))
        return 2 * np.asarray(pooled)

    found = features.apply_pooled(work, pyramid, cells, (1, 2), own_threads)
    assert max(sizes) <= size
    assert sum(sizes) == 40
    np.testing.assert_array_equal(found, 2 * whole)


def test_threads_that_each_make_their_products_leave_blas_as_it_was():
    def threads():
        return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]

    before = threads()
    with ExitStack() as later:
        with parallel.single_threaded_blas():
            later.enter_context(parallel.single_threaded_blas())  # leaves last, as in a server
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert threads() == before


def test_an_image_without_windows_has_no_detections(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    found = detect_windows(Evidence(pyramid, np.zeros((0, 4), np.float32), trained(body)))
    assert [len(f) for f in found] == [0, 0]


def test_selection_is_threshold_suppression_and_cap(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    boxes = windows(200)
    scored = postprocessing.score_windows(pyramid, boxes, trained(body).svms, PAPER.pooling)
    threshold = float(scored.scores.max(axis=0).min()) - 0.01
    test = replace(PAPER.test, score_threshold=threshold, max_per_image=7)
    rows, found = postprocessing.select(scored.boxes, scored.scores, test)
    for k in range(3):
        mine = found.labels == k
        assert 0 < mine.sum() <= 7
        assert (found.scores[mine] > threshold).all()
        assert found.scores[mine].max() == scored.scores[:, k].max()
        overlaps = iou(found.boxes[mine], found.boxes[mine])
        assert (overlaps[~np.eye(mine.sum(), dtype=bool)] <= 0.3).all()
    np.testing.assert_array_equal(found.boxes, boxes[rows])


def test_regression_keeps_scores_clips_and_suppresses_again(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    before, after = detect_windows(Evidence(pyramid, windows(200), trained(body)))
    assert len(after) <= len(before)
    assert set(after.scores) <= set(before.scores)
    assert after.boxes.min() >= 0
    assert (after.boxes.max(axis=0) <= [219, 149, 219, 149]).all()
    for k in (0, 1):
        assert not np.isin(after.boxes[after.labels == k], before.boxes).all()
        overlaps = iou(after.boxes[after.labels == k], after.boxes[after.labels == k])
        assert (overlaps[~np.eye(len(overlaps), dtype=bool)] <= 0.3).all()
    np.testing.assert_array_equal(after.boxes[after.labels == 2], before.boxes[before.labels == 2])  # has no regressor


def test_no_window_and_no_detection_are_ordinary(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    nothing = np.zeros((0, 4), np.float32)
    assert [len(d) for d in detect_windows(Evidence(pyramid, nothing, trained(body)))] == [0, 0]
    picky = replace(trained(body), config=replace(PAPER, test=replace(PAPER.test, score_threshold=1e9)))
    assert [len(d) for d in detect_windows(Evidence(pyramid, windows(10), picky))] == [0, 0]


def test_detector_saved_and_loaded_detects_the_same(body, photo, tmp_path, monkeypatch):
    detector = SPPDetector(body, trained(body))
    detector.save(tmp_path / "model")
    monkeypatch.setattr(network, "build", lambda name, weights, device, precision: body)
    again = SPPDetector.from_pretrained(tmp_path / "model")
    boxes = windows(100)
    first, second = detector.detect(photo, boxes), again.detect(photo, boxes)
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert again.model.notes == {"data": "none"}
    assert again.classes == ("a", "b", "c")


def test_detector_proposes_its_own_windows(body, photo):
    found = SPPDetector(body, trained(body)).detect(photo)
    assert len(found) > 0
    assert found.labels.dtype == np.int64


def test_detector_makes_only_the_maps_that_windows_lie_on(body, photo, monkeypatch):
    model = trained(body)
    many = replace(model, config=model.config.with_scales((120, 200, 260, 400)))
    made = []
    compute = features.compute_pyramid

    def watched(image, body, scales):
        made.append(tuple(scales))
        return compute(image, body, scales)

    monkeypatch.setattr(features, "compute_pyramid", watched)
    boxes = np.array([[0, 0, 149, 130], [3, 3, 148, 140]], np.float32)
    found = SPPDetector(body, many).detect(photo, boxes)
    whole = detect_windows(Evidence(compute(photo, body, (120, 200, 260, 400)), boxes, many))[1]
    assert made == [(260,)]
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert len(SPPDetector(body, many).detect(photo, np.zeros((0, 4)))) == 0


def test_detector_looks_at_the_scales_it_is_told(body, photo, tmp_path, monkeypatch):
    SPPDetector(body, trained(body)).save(tmp_path / "model")
    monkeypatch.setattr(network, "build", lambda name, weights, device, precision: body)
    told = SPPDetector.from_pretrained(tmp_path / "model", scales=(150, 300))
    pyramid = features.compute_pyramid(photo, body, (150, 300))
    expected = detect_windows(Evidence(pyramid, windows(100), told.model))[1]
    np.testing.assert_array_equal(told.detect(photo, windows(100)).scores, expected.scores)
    own = SPPDetector.from_pretrained(tmp_path / "model").detect(photo, windows(100))
    assert not np.array_equal(own.scores, expected.scores)


def test_detector_refuses_other_convolutions(body):
    with pytest.raises(ValueError, match="load the weights it was trained on"):
        SPPDetector(body, replace(trained(body), weights_hash="0" * 64))


@pytest.mark.parametrize("levels", [(1, 2, 4), (1, 2, 3)])
def test_detector_refuses_a_model_of_another_pyramid(body, levels):
    other = trained(body)
    config = replace(other.config, pooling=replace(other.config.pooling, levels=levels))
    with pytest.raises(ValueError, match=r"takes pooled vectors of 12800, .* it is of another network or pyramid"):
        SPPDetector(body, replace(other, config=config))


def test_half_precision_halves_the_files_and_keeps_the_detections(body, photo, tmp_path):
    whole = trained(body)
    whole.save(tmp_path / "whole")
    SPPDetector(body, whole).save(tmp_path / "half", half=True)
    size = {kind: sum(f.stat().st_size for f in (tmp_path / kind).glob("*.safetensors")) for kind in ("whole", "half")}
    assert size["half"] < 0.51 * size["whole"]
    again = model.load(tmp_path / "half")
    np.testing.assert_allclose(again.svms.weights, whole.svms.weights, rtol=2**-11, atol=1e-9)
    first, second = (SPPDetector(body, m).detect(photo, windows(200)) for m in (whole, again))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=0.1)
    np.testing.assert_allclose(first.scores, second.scores, atol=2e-3)


def test_values_that_are_not_finite_are_not_written_in_half_precision():
    with pytest.raises(ValueError, match="weights: holds values that are not finite"):
        half_precision.to_half({"weights": np.full(2000, np.nan, np.float32)})


def test_a_class_without_positives_keeps_its_bias_of_minus_infinity(body, tmp_path):
    whole = trained(body, regressors=False)
    whole.svms.bias[1] = -np.inf
    whole.save(tmp_path, half=True)
    assert model.load(tmp_path).svms.bias.tolist() == [0, -np.inf, 0]


@pytest.mark.parametrize("name", ["svms.safetensors", "bbox_regressors.safetensors"])
def test_a_file_with_one_changed_number_is_refused(body, tmp_path, name):
    trained(body).save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[-1000] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"damaged model \({name} is not the file that model.json tells of\)"):
        model.load(tmp_path)


def test_a_name_that_is_neither_folder_nor_detector_is_one_clear_error():
    with pytest.raises(FileNotFoundError, match=r"yolo-voc2007: neither a folder nor a bundled detector"):
        SPPDetector.from_pretrained("yolo-voc2007")


def test_saving_without_regressors_drops_those_of_before(body, tmp_path):
    trained(body).save(tmp_path)
    trained(body, regressors=False).save(tmp_path)
    assert model.load(tmp_path).regressors == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "svms.safetensors"]


@pytest.mark.parametrize("name", ["model.json", "svms.safetensors", "bbox_regressors.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_model_is_an_error_that_names_it(body, tmp_path, name, damage):
    trained(body).save(tmp_path)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path)):
        model.load(tmp_path)


@pytest.mark.parametrize("config", [PAPER, RELEASED, PAPER.with_scales((688,))])
def test_configurations_survive_json(config):
    import json

    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_presets_differ_as_published():
    assert set(PRESETS) == {"paper", "released"}
    assert (PAPER.pooling.scales[3], RELEASED.pooling.scales[3]) == (864, 874)
    assert (PAPER.bbox.strict, RELEASED.bbox.strict) == (False, True)
    assert (PAPER.svm.thinning_iou, RELEASED.svm.thinning_iou) == (0.7, None)


def test_models_together_are_suppressed_over_the_union(body, photo):
    pyramid, boxes, one = features.compute_pyramid(photo, body, SCALES), windows(200), trained(body)
    weights, bias = one.svms.weights, one.svms.bias
    other = replace(one, svms=replace(one.svms, weights=weights[:, ::-1].copy(), bias=bias + 0.1), regressors=())
    alone = [Evidence(pyramid, boxes, m).scored() for m in (one, other)]
    before, after = detect_windows(Evidence(pyramid, boxes, one), Evidence(pyramid, boxes, other))
    for k in range(3):
        scores, everything = np.concatenate([s.scores[:, k] for s in alone]), np.concatenate([boxes, boxes])
        above = np.flatnonzero(scores > PAPER.test.score_threshold)
        kept = above[nms(everything[above], scores[above], 0.3)[:100]]
        np.testing.assert_array_equal(before.scores[before.labels == k], scores[kept])
        np.testing.assert_array_equal(before.boxes[before.labels == k], everything[kept])
    # boxes are regressed by the model they came from, so those of the second stay
    of_second = np.isin(after.scores, alone[1].scores) & ~np.isin(after.scores, alone[0].scores)
    assert of_second.any()
    assert all((b == boxes).all(axis=1).any() for b in after.boxes[of_second])
    of_first = np.isin(after.scores, alone[0].scores) & (after.labels < 2)
    assert of_first.any()
    assert not any((b == boxes).all(axis=1).any() for b in after.boxes[of_first])


def test_a_model_with_itself_changes_nothing(body, photo):
    evidence = Evidence(features.compute_pyramid(photo, body, SCALES), windows(100), trained(body))
    for alone, twice in zip(detect_windows(evidence), detect_windows(evidence, evidence), strict=True):
        assert set(map(tuple, twice.boxes)) == set(map(tuple, alone.boxes))


def test_the_mean_of_models_has_mean_scores_and_boxes(body, photo):
    pyramid, boxes, one = features.compute_pyramid(photo, body, SCALES), windows(200), trained(body)
    other = replace(one, svms=replace(one.svms, weights=one.svms.weights[:, ::-1].copy()))
    pair = [Evidence(pyramid, boxes, m) for m in (one, other)]
    scores = (pair[0].scored().scores + pair[1].scored().scores) / 2
    before, after = detect_windows(*pair, combine="mean")
    for k in range(3):
        above = np.flatnonzero(scores[:, k] > PAPER.test.score_threshold)
        kept = above[nms(boxes[above], scores[above, k], 0.3)[:100]]
        np.testing.assert_allclose(before.scores[before.labels == k], scores[kept, k], rtol=1e-6)
    twice = detect_windows(pair[0], pair[0], combine="mean")
    for mine, alone in zip(twice, detect_windows(pair[0]), strict=True):
        np.testing.assert_array_equal(mine.boxes, alone.boxes)
        np.testing.assert_array_equal(mine.scores, alone.scores)
    unmoved = replace(other, regressors=())
    half = detect_windows(pair[0], replace(pair[1], model=unmoved), combine="mean")[1]
    assert {tuple(b) for b in half.boxes} == {tuple(b) for b in after.boxes}


def test_the_mean_needs_the_same_windows(body, photo):
    pyramid, one = features.compute_pyramid(photo, body, SCALES), trained(body)
    pair = [Evidence(pyramid, windows(20, seed), one) for seed in (0, 1)]
    with pytest.raises(ValueError, match="give models that learned from the same proposals"):
        detect_windows(*pair, combine="mean")
