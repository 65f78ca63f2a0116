"""Mining in rounds: one result whatever the engine, close to that of one image after the other."""

from dataclasses import replace

import numpy as np
import pytest

from detection import svm
from detection.config import PAPER
from detection.engines.engine import WorkerLost
from detection.engines.this_process import ThisProcess
from detection.networks.fc_head import FcFeatures, FcHead
from detection.training import mining, mining_rounds, svm_checkpoint
from tests.detection.conftest import make_images
from tests.detection.training.backwards import Backwards
from tests.detection.training.interruption import interrupt_after

CONFIG = replace(PAPER.svm, retrain_after=100, cost=0.01)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(mining_rounds, "FIRST_IMAGES", 4)
    monkeypatch.setattr(mining_rounds, "SHARD_IMAGES", 3)


@pytest.fixture
def images():
    return make_images(30)


def options_of(folder, **changes):
    given = {"memory": 2**30, "solver": "shared", "max_negatives": None, "seed": 0, "rounds": True}
    return svm.MiningOptions(folder, **given | changes)


def mined(images, folder, engine=None, config=CONFIG, **changes):
    miner = mining.Miner.resume(images, config, options_of(folder, **changes))
    if miner.options.rounds:
        mining_rounds.mine_in_rounds([miner], engine or ThisProcess())
    else:
        mining.mine([miner])
    return miner


def assert_same(a, b):
    np.testing.assert_array_equal(a.windows.image, b.windows.image)
    np.testing.assert_array_equal(a.windows.box, b.windows.box)
    for name, values in vars(a.windows.state).items():
        np.testing.assert_array_equal(values, getattr(b.windows.state, name), name)


def pairs_of(miner):
    """(image, box, class) of the negatives."""
    w = miner.windows
    slots, classes = np.nonzero(w.state.labels < 0)
    return list(zip(w.image[slots].tolist(), w.box[slots].tolist(), classes.tolist(), strict=True))


def objective(miner, pairs, k):
    """The objective of the SVM of class k over all objects and some negatives."""
    images, found = miner.images, miner.detectors()
    loss = 0.0
    for i in range(len(images)):
        labelled = images.labelled_boxes(i)
        margins = found.scores(images.pool(i, labelled.boxes))[:, k]
        negatives = [box for image, box, label in pairs if (image, label) == (i, k)]
        loss += 2 * np.maximum(0, 1 - margins[np.flatnonzero(labelled.labels == k)]).sum()
        loss += np.maximum(0, 1 + margins[negatives]).sum()
    weights, bias = found.weights[k].astype(float), float(found.bias[k]) / CONFIG.bias_feature
    return (weights @ weights + bias**2) / 2 + CONFIG.cost * loss


@pytest.mark.parametrize("changes", [{}, {"max_negatives": 5}, {"solver": "liblinear"}], ids=str)
def test_the_order_in_which_shards_come_back_does_not_matter(images, tmp_path, changes):
    here, there = (mined(images, tmp_path / n, e, **changes) for n, e in (("a", ThisProcess()), ("b", Backwards())))
    assert len(pairs_of(here)) > 50
    assert_same(here, there)


@pytest.mark.parametrize("seed", range(3))
def test_the_objective_over_the_windows_of_both_is_that_of_one_after_the_other(tmp_path, seed):
    images = make_images(40, seed=seed)
    rounds, usual = (mined(images, tmp_path / str(r), rounds=r) for r in (True, False))
    both = sorted({*pairs_of(rounds), *pairs_of(usual)})
    for k in range(2):
        assert objective(rounds, both, k) <= 1.005 * objective(usual, both, k)


def test_hardly_any_window_is_hard_and_not_held_at_the_end(images, tmp_path):
    miner = mined(images, tmp_path)
    held, before = set(pairs_of(miner)), [objective(miner, pairs_of(miner), k) for k in range(2)]
    for index in range(len(images)):
        miner.visit(index)
    assert held <= set(pairs_of(miner))
    for k in range(2):
        assert objective(miner, pairs_of(miner), k) <= 1.005 * before[k]


def test_a_window_is_held_once_and_an_image_has_no_more_than_the_limit(images, tmp_path):
    miner = mined(images, tmp_path, max_negatives=5)
    pairs = pairs_of(miner)
    assert len(set(pairs)) == len(pairs)
    assert len({(image, box) for image, box, _ in pairs}) == (miner.windows.state.labels < 0).any(axis=1).sum()
    per_image = np.unique([(image, k) for image, _, k in pairs], axis=0, return_counts=True)[1]
    assert per_image.max() == 5


def test_negatives_of_all_rounds_are_thinned_together(images, tmp_path):
    from detection.boxes import iou

    miner = mined(images, tmp_path)
    for i in range(len(images)):
        boxes = images.labelled_boxes(i).boxes
        for k in range(2):
            mine = boxes[[box for image, box, label in pairs_of(miner) if (image, label) == (i, k)]]
            assert (iou(mine, mine)[~np.eye(len(mine), dtype=bool)] <= CONFIG.thinning_iou).all()


@pytest.mark.parametrize("saves", [0, 1, 2])
def test_an_interrupted_training_continues_at_its_round(images, tmp_path, monkeypatch, saves):
    whole = mined(images, tmp_path / "whole")
    interrupt_after(saves, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        mined(images, tmp_path / "broken")
    monkeypatch.undo()
    monkeypatch.setattr(mining_rounds, "FIRST_IMAGES", 4)
    monkeypatch.setattr(mining_rounds, "SHARD_IMAGES", 2)  # of no influence
    engine = Backwards()
    again = mined(images, tmp_path / "broken", engine)
    assert_same(whole, again)
    fresh = Backwards()
    mined(images, tmp_path / "fresh", fresh)
    assert (engine.items < fresh.items) == (saves > 0)  # rounds before the checkpoint are not mined again


def test_an_interrupted_round_is_mined_again(images, tmp_path):
    whole = mined(images, tmp_path / "whole")

    def interrupt(done):
        if done == 14:
            raise KeyboardInterrupt

    miner = mining.Miner.resume(images, CONFIG, options_of(tmp_path / "broken"))
    with pytest.raises(KeyboardInterrupt):
        mining_rounds.mine_in_rounds([miner], ThisProcess(), interrupt)
    assert svm_checkpoint.load(tmp_path / "broken", miner.key).next_image == 8
    assert_same(whole, mined(images, tmp_path / "broken"))


def test_progress_is_that_of_each_pass(images, tmp_path):
    seen = []
    miner = mining.Miner.resume(images, CONFIG, options_of(tmp_path))
    mining_rounds.mine_in_rounds([miner], Backwards(), seen.append)
    first = [0, 1, 2, 3, 4, *(7, 8), *(11, 14, 16), *(19, 22, 25, 28, 30)]
    assert seen[: len(first)] == first
    assert seen[len(first) :] == list(range(3, 31, 3)) * (len(seen[len(first) :]) // 10)


def test_trainings_on_several_layers_mine_together(images, tmp_path):
    fc = FcFeatures(FcHead.random(images.pooled_length, 9), "fc7")
    found = []
    for engine in (ThisProcess(), Backwards()):
        parts = [
            svm.Part(images.with_fc(layers), options_of(tmp_path / type(engine).__name__ / str(n)))
            for n, layers in enumerate((None, fc))
        ]
        found.append(svm.train_together(parts, CONFIG, engine=engine))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        np.testing.assert_array_equal(a.bias, b.bias)
    assert found[0][0].weights.shape != found[0][1].weights.shape


def test_images_that_end_their_workers_are_named(images, tmp_path):
    with pytest.raises(WorkerLost, match=r"^one of the images 004, 005, 006: killed; use fewer workers \(-j\)$"):
        mined(images, tmp_path, Backwards(lost=0))


def test_a_training_of_one_kind_does_not_continue_one_of_the_other(images, tmp_path):
    mining.Miner.resume(images, CONFIG, options_of(tmp_path)).save()
    assert mining.Miner.restored(images, CONFIG, options_of(tmp_path)) is not None
    assert mining.Miner.restored(images, CONFIG, options_of(tmp_path, rounds=False)) is None


def test_svms_without_some_images_begin_with_rounds(images, tmp_path):
    trained = svm.train(images, CONFIG, options_of(tmp_path / "first"))
    (kept,) = svm.trained_without([[]], images, CONFIG, options_of(tmp_path / "first"))
    (anew,) = svm.trained_without([[]], images, CONFIG, options_of(tmp_path / "second"))
    key = mining.training_key(images, CONFIG, options_of(tmp_path), None)
    first, second = (svm_checkpoint.load(tmp_path / n, key, svm_checkpoint.FINISHED) for n in ("first", "second"))
    assert first.trainings == second.trainings == mined(images, tmp_path / "third").trainings
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(kept.weights, anew.weights)
    np.testing.assert_allclose(kept.weights, trained.weights, atol=1e-3)


def test_a_class_without_positives_never_fires(images, tmp_path):
    images.n_classes = 3
    miner = mined(images, tmp_path)
    detectors = miner.detectors()
    assert detectors.bias[2] == -np.inf
    assert not miner.windows.state.labels[:, 2].any()
    assert np.isfinite(detectors.bias[:2]).all()


def test_fewer_images_than_are_mined_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(mining_rounds, "FIRST_IMAGES", 64)
    images, engine = make_images(5), Backwards()
    assert_same(mined(images, tmp_path / "a"), mined(images, tmp_path / "b", engine))
    assert engine.items >= 2  # a round over all


def test_rounds_that_go_on_finding_hard_windows_end_with_a_warning(images, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mining_rounds, "NEW_LOSS", -1.0)
    monkeypatch.setattr(mining_rounds, "MOST_ROUNDS", 3)
    miner = mined(images, tmp_path)
    assert miner.next_image == 4 * len(images)
    assert "mining ends after 3 rounds" in caplog.text
