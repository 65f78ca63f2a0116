"""Hard-negative mining: which windows become negatives; results do not depend on memory, interruption or solver."""

from dataclasses import replace

import numpy as np
import pytest

from detection import svm
from detection.boxes import iou
from detection.config import PAPER, RELEASED
from detection.linear_detectors import LinearDetectors, mean_of
from detection.networks.fc_head import FcFeatures, FcHead
from detection.training import mining, svm_checkpoint
from detection.training.fingerprint import fingerprint
from detection.training.images import mean_norm
from tests.detection.conftest import make_images
from tests.detection.training.interruption import interrupt_after
from tests.reference.svm import objective, optimum


def options_of(folder, **changes):
    return replace(svm.MiningOptions(folder, memory=2**30, solver="shared", max_negatives=None, seed=0), **changes)


def train(images, tmp_path, config=PAPER.svm, **options):
    return svm.train(images, replace(config, retrain_after=100), options_of(tmp_path / "work", **options))


def scores_of_all_windows(images, detectors):
    return [detectors.scores(images.pool(i, images.labelled_boxes(i).boxes)) for i in range(len(images))]


def test_trained_svms_rank_objects_over_background(images, tmp_path):
    detectors = train(images, tmp_path)
    for i, scores in enumerate(scores_of_all_windows(images, detectors)):
        labelled = images.labelled_boxes(i)
        for k in range(2):
            objects, background = labelled.overlaps[:, k] == 1, labelled.overlaps[:, k] < 0.3
            if objects.any():
                assert scores[objects, k].min() > np.quantile(scores[background, k], 0.99)


def test_mined_svm_reaches_the_optimum_over_all_negatives(images, tmp_path):
    """Without thinning and eviction, the held windows are all negatives of the training set."""
    config = replace(PAPER.svm, thinning_iou=None, evict_threshold=-np.inf, hard_threshold=-np.inf)
    detectors = train(images, tmp_path, config)
    for k in range(2):
        features, labels = [], []
        for i in range(len(images)):
            labelled = images.labelled_boxes(i)
            pooled = images.pool(i, labelled.boxes)
            positives = np.flatnonzero(labelled.labels == k)
            negatives = np.flatnonzero(labelled.overlaps[:, k] < 0.3)
            features += [pooled[positives], pooled[negatives]]
            labels += [1] * len(positives) + [-1] * len(negatives)
        x, y = np.concatenate(features) * detectors.feature_scale, np.array(labels)
        found = sum(objective(x, y, detectors.weights[k].astype(float), float(detectors.bias[k]), 1e-3, 2.0, 10.0))
        assert found <= 1.002 * optimum(x, y, 1e-3, 2.0, 10.0)


def test_solvers_agree(images, tmp_path):
    shared = train(images, tmp_path / "a", solver="shared", tolerance=1e-5)
    liblinear = train(images, tmp_path / "b", solver="liblinear")
    for a, b in zip(*(scores_of_all_windows(images, d) for d in (shared, liblinear)), strict=True):
        np.testing.assert_allclose(a, b, atol=0.05)


def test_training_is_deterministic_and_independent_of_memory(images, tmp_path):
    first = train(images, tmp_path / "a")
    for other in (train(images, tmp_path / "b"), train(images, tmp_path / "c", memory=1)):
        np.testing.assert_array_equal(first.weights, other.weights)
        np.testing.assert_array_equal(first.bias, other.bias)


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_interrupted_training_resumes_to_the_same_result(images, tmp_path, stop):
    whole = train(images, tmp_path / "whole")

    def interrupt(done):
        if done == stop + 1:
            raise KeyboardInterrupt

    config = replace(PAPER.svm, retrain_after=100)
    options = options_of(tmp_path / "broken", checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        svm.train(images, config, options, on_image=interrupt)
    seen = []
    resumed = svm.train(images, config, options, on_image=seen.append)
    assert seen[0] == stop  # images before the checkpoint are not visited again
    np.testing.assert_array_equal(whole.weights, resumed.weights)
    svm_checkpoint.remove(options.folder)
    assert not (options.folder / svm_checkpoint.FILE).exists()


def parts_in(images, folder, **options):
    """A training on pool5 and one on fc7 of the same images."""
    fc = FcFeatures(FcHead.random(images.pooled_length, 9), "fc7")
    return [
        svm.Part(images.with_fc(layers), options_of(folder / str(layers is None), **options)) for layers in (None, fc)
    ]


def test_trainings_together_equal_trainings_one_by_one(images, tmp_path, monkeypatch):
    monkeypatch.setattr(mining, "GATE", -np.inf)
    config = replace(PAPER.svm, retrain_after=100)
    apart = [svm.train(part.images, config, part.options) for part in parts_in(images, tmp_path / "apart")]
    parts = parts_in(images, tmp_path / "together")
    for mine, alone in zip(svm.train_together(parts, config), apart, strict=True):
        np.testing.assert_array_equal(mine.weights, alone.weights)
        np.testing.assert_array_equal(mine.bias, alone.bias)
    assert apart[0].weights.shape != apart[1].weights.shape


def test_windows_that_the_first_svms_are_sure_of_are_not_hard_for_the_second(images, tmp_path, monkeypatch):
    config = replace(PAPER.svm, retrain_after=100, evict_threshold=-np.inf)
    held = []
    for gate in (-np.inf, -1.02, np.inf):
        monkeypatch.setattr(mining, "GATE", gate)
        first, second = [
            mining.Miner.resume(p.images, config, p.options) for p in parts_in(images, tmp_path / str(gate))
        ]
        mining.mine([first, second])
        held.append((len(first.windows), len(second.windows)))
    assert held[0][0] == held[1][0] == held[2][0]
    assert held[0][1] > held[1][1] > held[2][1]


def test_windows_are_pooled_once_for_trainings_together(images, tmp_path):
    parts = parts_in(images, tmp_path)
    svm.train_together(parts, PAPER.svm)
    first, second = (part.images.reads for part in parts)
    assert first.total() - second.total() == len(images)  # every image once more; the rest are positives and the scale


@pytest.mark.parametrize("saves", [4, 5])  # the last time, both were saved or only the first
def test_trainings_together_resume_after_an_interruption(images, tmp_path, monkeypatch, saves):
    config = replace(PAPER.svm, retrain_after=100)
    whole = svm.train_together(parts_in(images, tmp_path / "whole"), config)
    parts = parts_in(images, tmp_path / "broken", checkpoint_seconds=0)
    interrupt_after(saves, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        svm.train_together(parts, config)
    monkeypatch.undo()
    seen = []
    for mine, alone in zip(svm.train_together(parts, config, seen.append), whole, strict=True):
        np.testing.assert_allclose(mine.weights, alone.weights, atol=1e-6)  # layers round with the number of windows
    assert seen[0] == {4: 2, 5: 0}[saves]


def test_a_checkpoint_of_another_training_is_ignored(images, tmp_path, caplog):
    key = fingerprint(images, PAPER.svm, ())
    miner = mining.Miner.resume(images, PAPER.svm, options_of(tmp_path))
    miner.save()
    assert svm_checkpoint.load(tmp_path, key) is None
    assert "starting from the beginning" in caplog.text


def test_svms_without_some_images_are_those_of_the_other_images(tmp_path):
    images, everything = make_images(20), {"thinning_iou": None, "hard_threshold": -99.0, "evict_threshold": -99.0}
    config = replace(PAPER.svm, retrain_after=100, cost=1.0, **everything)
    options = options_of(tmp_path / "all", tolerance=1e-5)
    trained = svm.train(images, config, options)
    parts = [[0, 3, 7], [], range(20)]
    without, same, nothing = svm.trained_without(parts, images, config, options)
    others = images.subset([i for i in range(20) if i not in parts[0]])
    fresh = mining.Miner(others, config, options, trained.feature_scale, images.feature_length)
    for index in range(len(others)):
        fresh.add_positives(index)
        fresh.visit(index)  # all windows, as no SVM ranks them
    fresh.fit(np.arange(2), 1e-5)
    far = np.linalg.norm(trained.weights - fresh.detectors().weights)
    assert np.linalg.norm(without.weights - fresh.detectors().weights) < 0.05 * far
    np.testing.assert_allclose(same.weights, trained.weights, rtol=1e-2, atol=1e-4)
    assert np.isinf(nothing.bias).all()


def test_a_training_that_was_not_kept_is_done_before_images_are_left_out(images, tmp_path):
    config, options = replace(PAPER.svm, retrain_after=100), options_of(tmp_path)
    (found,) = svm.trained_without([[1]], images, config, options)
    assert (tmp_path / svm_checkpoint.FINISHED).is_file()
    assert not (tmp_path / svm_checkpoint.FILE).exists()
    (again,) = svm.trained_without([[1]], images, config, options)
    np.testing.assert_array_equal(found.weights, again.weights)


def hard(images, tmp_path, config, index=0, k=0, scores=None, group=None, held=None, **options):
    miner = mining.Miner.resume(images, config, options_of(tmp_path, **options))
    labelled = images.labelled_boxes(index)
    group = np.arange(len(labelled.boxes)) if group is None else group
    return labelled, miner.hard_negatives(labelled, group, k, scores, held)


def test_negatives_overlap_every_object_of_the_class_by_less_than_a_threshold(images, tmp_path):
    labelled, chosen = hard(images, tmp_path, RELEASED.svm)
    assert set(chosen) == set(np.flatnonzero(labelled.overlaps[:, 0] < 0.3))


def test_paper_preset_thins_negatives_and_keeps_the_best(images, tmp_path):
    scores = np.random.default_rng(0).uniform(-1, 1, len(images.labelled_boxes(0).boxes)).astype(np.float32)
    labelled, chosen = hard(images, tmp_path, PAPER.svm, scores=scores)
    overlaps = iou(labelled.boxes[chosen], labelled.boxes[chosen])
    assert (overlaps[~np.eye(len(chosen), dtype=bool)] <= 0.7).all()
    eligible = np.flatnonzero((labelled.overlaps[:, 0] < 0.3) & (scores > -1.0001))
    assert chosen[0] == eligible[scores[eligible].argmax()]


def test_scores_below_the_margin_are_not_hard(images, tmp_path):
    scores = np.full(len(images.labelled_boxes(0).boxes), -1.0002, np.float32)
    assert len(hard(images, tmp_path, RELEASED.svm, scores=scores)[1]) == 0


def test_windows_on_the_same_cells_are_one_negative(images, tmp_path):
    n = len(images.labelled_boxes(0).boxes)
    _, chosen = hard(images, tmp_path, RELEASED.svm, group=np.arange(n) // 2)
    assert len(np.unique(chosen // 2)) == len(chosen)


def test_a_limit_of_negatives_keeps_the_best_scored(images, tmp_path):
    scores = np.linspace(0, 1, len(images.labelled_boxes(0).boxes), dtype=np.float32)
    labelled, chosen = hard(images, tmp_path, RELEASED.svm, scores=scores, max_negatives=3)
    eligible = np.flatnonzero(labelled.overlaps[:, 0] < 0.3)
    assert chosen.tolist() == eligible[::-1][:3].tolist()


def test_negatives_that_are_held_come_before_all_others(images, tmp_path):
    labelled = images.labelled_boxes(0)
    eligible = np.flatnonzero(labelled.overlaps[:, 0] < 0.3)
    alike = iou(labelled.boxes[eligible], labelled.boxes[eligible]) > 0.7
    mine, other = eligible[np.argwhere(np.triu(alike, 1))[0]]
    scores = np.full(len(labelled.boxes), -2, np.float32)
    scores[other] = 1
    held = np.arange(len(scores)) == mine
    assert hard(images, tmp_path, PAPER.svm, scores=scores)[1].tolist() == [other]
    assert hard(images, tmp_path, PAPER.svm, scores=scores, held=held)[1].tolist() == [mine]
    assert hard(images, tmp_path, RELEASED.svm, scores=scores, held=held)[1].tolist() == [mine, other]
    assert hard(images, tmp_path, RELEASED.svm, scores=scores, held=held, max_negatives=1)[1].tolist() == [mine]


def test_difficult_objects_are_positives_or_neither(images, tmp_path):
    difficult = sum(r.difficult.sum() for r in images.records)
    total = sum(len(r.labels) for r in images.records)
    counts = {}
    for flag in (True, False):
        config = replace(PAPER.svm, difficult=flag)
        miner = mining.Miner.resume(images, config, options_of(tmp_path / str(flag)))
        counts[flag] = int((miner.windows.state.labels > 0).sum())
    assert difficult > 0
    assert counts == {True: total, False: total - difficult}


def test_a_class_without_positives_never_fires(images, tmp_path):
    images.n_classes = 3
    detectors = train(images, tmp_path)
    assert detectors.bias[2] == -np.inf
    assert np.isfinite(detectors.bias[:2]).all()


def test_no_usable_object_is_an_error(images, tmp_path):
    images.records = [
        replace(r, boxes=r.boxes[:0], labels=r.labels[:0], difficult=r.difficult[:0]) for r in images.records
    ]
    with pytest.raises(ValueError, match="no object can be a positive"):
        train(images, tmp_path)


def test_images_without_proposals_or_objects_are_skipped(images, tmp_path):
    images.proposals["000"] = np.zeros((0, 4), np.float32)
    empty = replace(
        images.records[0],
        id="empty",
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, int),
        difficult=np.zeros(0, bool),
    )
    images.records = [empty, *images.records]
    images.proposals["empty"] = np.zeros((0, 4), np.float32)
    assert np.isfinite(train(images, tmp_path).weights).all()


def test_feature_scale_makes_the_mean_norm_twenty(images, tmp_path):
    detectors = train(images, tmp_path)
    assert detectors.feature_scale == pytest.approx(20 / mean_norm(images))


def test_scores_of_added_detectors_are_sums():
    rng = np.random.default_rng(0)
    one, other = (
        LinearDetectors(rng.random((3, 5), np.float32), np.float32([1, 2, -np.inf]), scale) for scale in (2.0, 2.0)
    )
    features = rng.random((4, 5), np.float32)
    found = (one + other).scores(features)
    np.testing.assert_allclose(found, one.scores(features) + other.scores(features), rtol=1e-5)
    assert np.isinf(found[:, 2]).all()
    with pytest.raises(ValueError, match="same classes and features"):
        one + replace(other, feature_scale=3.0)


def test_mean_detectors_score_between_those_of_pool5_and_those_of_fc7(tmp_path):
    rng = np.random.default_rng(0)
    layers = FcFeatures(FcHead.random(30, width=8, seed=1), "fc7")
    pool5, fc7 = (
        LinearDetectors(rng.normal(size=(3, n)).astype(np.float32), np.float32([0.5, -np.inf, 2]), scale)
        for n, scale in ((30, 0.1), (8, 3.0))
    )
    mean, beside = mean_of(pool5, fc7, layers)
    windows = rng.random((5, 30), np.float32)
    expected = (pool5.scores(windows) + fc7.scores(layers(windows))) / 2
    np.testing.assert_allclose(mean.scores(beside(windows)), expected, rtol=1e-4, atol=1e-4)
    assert np.isneginf(mean.scores(beside(windows))[:, 1]).all()
    beside.head.save(tmp_path / "head.safetensors")
    again = FcFeatures(FcHead.load(tmp_path / "head.safetensors"), "pool5+fc7")
    np.testing.assert_array_equal(again(windows), beside(windows))
    assert again.digest != FcFeatures(layers.head, "pool5+fc7").digest
    compressed = beside.head.compressed([windows], 0.9)
    np.testing.assert_array_equal(FcFeatures(compressed, "pool5+fc7")(windows)[:, 8:], beside(windows)[:, 8:])
    alone = FcFeatures(beside.head.with_detectors(None), "fc7")
    assert alone.digest == layers.digest
    np.testing.assert_array_equal(alone(windows), layers(windows))
