"""Learning image by image: every change counts; catching up is a training from the beginning."""

from dataclasses import replace

import numpy as np
import pytest

from detection import svm
from detection.config import PAPER
from detection.linear_detectors import LinearDetectors
from detection.training.live_svms import LiveSVMs
from detection.training.mining import MiningOptions
from detection.training.solver import margins, objective_of
from tests.detection.conftest import make_images

CONFIG = replace(PAPER.svm, retrain_after=100)


def live(tmp_path, classes=2, start=None, images=None, **options):
    images = images or make_images(0, classes)
    chosen = replace(MiningOptions(tmp_path / "live", 2**30, "shared", None, seed=0), **options)
    return LiveSVMs(images, lambda n: CONFIG, chosen, start)


def put_all(learner, images, order=None):
    for i in range(len(images)) if order is None else order:
        learner.put(images.records[i], images.proposals[images.records[i].id])


def caught_up(learner):
    training = learner.catchup()
    training.run()
    learner.adopt(training)
    return learner.detectors()


def assert_same(a, b):
    np.testing.assert_array_equal(a.weights, b.weights)
    np.testing.assert_array_equal(a.bias, b.bias)
    assert a.feature_scale == b.feature_scale


def gaps(learner):
    """Relative duality gap of every class on the windows that are held."""
    miner = learner._miner
    state, classes = miner.windows.state, np.arange(learner.images.n_classes)
    scores = margins(miner.windows.rows, state, classes, miner.problem)
    parts = [objective_of(scores[:, k], state, k, miner.problem) for k in classes]
    return [o.gap / o.total for o in parts if o.total]


def loss(learner, images, k=None):
    """Mean hinge loss over the objects and over the background windows, of one class or of all."""
    found, detectors = [], learner.detectors()
    for i in range(len(images)):
        labelled = images.labelled_boxes(i)
        scores = detectors.scores(images.pool(i, labelled.boxes))
        for j in np.unique(labelled.labels) if k is None else [k]:
            objects, background = labelled.overlaps[:, j] == 1, labelled.overlaps[:, j] < 0.3
            if objects.any():
                found.append(
                    np.maximum(0, 1 - scores[objects, j]).mean() + np.maximum(0, 1 + scores[background, j]).mean()
                )
    return np.mean(found)


def test_every_image_makes_the_svms_better(tmp_path):
    images, learner, losses = make_images(12), live(tmp_path), []
    for i in range(8):
        put_all(learner, images, [i])
        losses.append(loss(learner, images))
    assert losses[7] < 0.3 * losses[2]
    assert np.isinf(losses[1])  # there is no object of the second class yet


def test_the_same_images_in_the_same_order_give_the_same_weights(tmp_path):
    images, found = make_images(8), []
    for name in "ab":
        learner = live(tmp_path / name)
        put_all(learner, images)
        found.append(learner.detectors())
    assert_same(*found)


def test_catching_up_gives_the_svms_of_a_training_from_the_beginning(tmp_path):
    images, learner = make_images(10), live(tmp_path)
    put_all(learner, images)
    online = learner.detectors()
    whole = svm.train(images, CONFIG, replace(learner.options, folder=tmp_path / "whole"))
    assert_same(caught_up(learner), whole)
    assert not np.array_equal(online.weights, whole.weights)


def test_catching_up_twice_is_a_training_from_the_beginning_each_time(tmp_path):
    images, learner = make_images(10), live(tmp_path)
    put_all(learner, images, range(6))
    caught_up(learner)
    put_all(learner, images, range(6, 10))
    learner.save()
    whole = svm.train(images.subset(range(10)), CONFIG, replace(learner.options, folder=tmp_path / "whole"))
    assert_same(caught_up(learner), whole)
    learner.save()
    again = live(tmp_path, images=learner.images)
    assert_same(again.detectors(), whole)


def test_changes_during_catching_up_are_not_lost(tmp_path):
    images, learner = make_images(10), live(tmp_path)
    put_all(learner, images, range(6))
    training = learner.catchup()
    put_all(learner, images, [6])
    learner.remove(images.records[2].id)
    moved = replace(images.records[4], boxes=images.records[4].boxes + 7)
    learner.put(moved, images.proposals[moved.id])
    training.run()
    learner.adopt(training)
    assert learner.ids == ["000", "001", "003", "004", "005", "006"]
    assert max(gaps(learner)) < 0.07
    held = learner._miner.windows.image
    assert set(held[held >= 0]) <= set(range(6))
    positives = np.flatnonzero((learner._miner.windows.state.labels > 0).any(axis=1))
    assert np.bincount(held[positives], minlength=6).tolist() == [len(r.labels) for r in learner.images.records]


def test_what_was_learned_from_a_removed_image_is_gone(tmp_path):
    images, learner, without = make_images(6), live(tmp_path / "a"), live(tmp_path / "b")
    put_all(learner, images)
    learner.remove(images.records[1].id)
    put_all(without, images, [0, 2, 3, 4, 5])
    assert learner.ids == without.ids
    assert max(gaps(learner)) < 0.07  # the dual variables and the weights still belong together
    assert_same(caught_up(learner), caught_up(without))


def test_a_new_annotation_replaces_the_old_one(tmp_path):
    images, learner, right = make_images(6), live(tmp_path / "a"), live(tmp_path / "b")
    put_all(right, images)
    wrong = replace(images.records[0], labels=1 - images.records[0].labels)
    learner.put(wrong, images.proposals[wrong.id])
    put_all(learner, images)
    assert learner.ids == right.ids
    assert_same(caught_up(learner), caught_up(right))
    labels = learner._miner.windows.state.labels
    assert (labels > 0).sum() == sum(len(r.labels) for r in images.records)


def test_a_class_that_comes_later_learns_from_the_windows_that_are_held(tmp_path):
    images, learner = make_images(8, classes=3), live(tmp_path, classes=2)
    first = [i for i in range(8) if 2 not in images.records[i].labels]
    others = [i for i in range(8) if 2 in images.records[i].labels]
    assert first
    assert others
    put_all(learner, images, first)
    assert len(learner.detectors().bias) == 2
    learner.widen(3)
    assert learner.detectors().bias[2] == -np.inf
    put_all(learner, images, others[:1])
    state, held = learner._miner.windows.state, learner._miner.windows.image
    assert ((state.labels[:, 2] < 0) & (held < len(first))).any()
    put_all(learner, images, others[1:])
    assert np.isfinite(learner.detectors().bias).all()
    assert loss(learner, images) < 0.5


def test_a_class_without_objects_any_more_is_not_detected(tmp_path):
    images, learner = make_images(6), live(tmp_path)
    put_all(learner, images)
    for record in images.records:
        kept = record.labels == 0
        learner.put(replace(record, boxes=record.boxes[kept], labels=record.labels[kept],
                            difficult=record.difficult[kept]), images.proposals[record.id])  # fmt: skip
    assert learner.detectors().bias[1] == -np.inf
    assert not learner.detectors().weights[1].any()
    assert np.isfinite(learner.detectors().bias[0])


def test_an_image_without_objects_is_background(tmp_path):
    images, learner = make_images(5), live(tmp_path)
    empty = replace(images.records[4], boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, int),
                    difficult=np.zeros(0, bool))  # fmt: skip
    learner.put(empty, images.proposals[empty.id])
    assert (learner.detectors().bias == -np.inf).all()
    put_all(learner, images, range(4))
    learner.put(empty, images.proposals[empty.id])
    state, held = learner._miner.windows.state, learner._miner.windows.image
    assert (state.labels[held == 0] < 0).any()
    assert not (state.labels[held == 0] > 0).any()


def test_training_continues_after_a_restart(tmp_path):
    images, whole, broken = make_images(8), live(tmp_path / "a"), live(tmp_path / "b")
    put_all(whole, images)
    put_all(broken, images, range(5))
    broken.save()
    again = live(tmp_path / "b", images=broken.images)
    assert again.learned
    assert_same(again.detectors(), broken.detectors())
    put_all(again, images, range(5, 8))
    assert_same(again.detectors(), whole.detectors())


def test_after_a_restart_without_checkpoint_catching_up_learns_all(tmp_path):
    images, learner = make_images(6), live(tmp_path / "a")
    put_all(learner, images)
    again = live(tmp_path / "b", images=learner.images)
    assert not again.learned
    assert again.detectors() is None
    put_all(again, make_images(7), [6])
    found = caught_up(again)
    assert again.learned
    assert found.n_classes == 2
    assert len(again.ids) == 7


def test_an_interrupted_catching_up_resumes(tmp_path):
    images, learner = make_images(8), live(tmp_path, checkpoint_seconds=0)
    put_all(learner, images)
    training, seen = learner.catchup(), []

    def stop(done):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(stop)
    again = learner.catchup()
    again.run(seen.append)
    assert seen[0] == 4
    learner.adopt(again)
    assert_same(learner.detectors(), svm.train(images, CONFIG, replace(learner.options, folder=tmp_path / "whole")))


def test_svms_start_from_those_of_another_training(tmp_path):
    images = make_images(20)
    known = svm.train(images.subset(range(14)), CONFIG, replace(live(tmp_path).options, folder=tmp_path / "w"))
    start = LinearDetectors(known.weights, np.float32([known.bias[0], -np.inf]), known.feature_scale)
    learner, blank = live(tmp_path / "a", start=start), live(tmp_path / "b")
    for each in (learner, blank):
        put_all(each, images, [14])
    assert np.isfinite(learner.detectors().bias[0])
    assert loss(learner, images, 0) < 0.8 * loss(blank, images, 0)
    assert max(gaps(learner)) < 0.07
    for record in images.records[14:]:
        learner.remove(record.id)
    np.testing.assert_array_equal(learner.detectors().weights[0], start.weights[0])


def test_a_class_that_comes_later_may_start_from_another_training(tmp_path):
    images = make_images(20)
    known = svm.train(images.subset(range(14)), CONFIG, replace(live(tmp_path).options, folder=tmp_path / "w"))
    first = LinearDetectors(known.weights[:1], known.bias[:1], known.feature_scale)
    learner = live(tmp_path, classes=1, start=first)
    one = [i for i in range(20) if 1 not in images.records[i].labels][:2]
    put_all(learner, images, one)
    learner.widen(2, known)
    np.testing.assert_array_equal(learner.detectors().weights[1], known.weights[1])
    assert learner.detectors().bias[1] == pytest.approx(known.bias[1])
    put_all(learner, images, [14, 15])
    assert max(gaps(learner)) < 0.07


def test_a_snapshot_does_not_change_any_more(tmp_path):
    images, learner = make_images(4), live(tmp_path)
    put_all(learner, images, range(3))
    before = learner.detectors()
    weights = before.weights.copy()
    put_all(learner, images, [3])
    np.testing.assert_array_equal(before.weights, weights)
