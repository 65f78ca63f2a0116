"""Box regression against the textbook formula, and its two ways to solve it against each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detection import bbox_regression as br
from detection.boxes import iou
from detection.config import PAPER, RELEASED
from detection.training.images import ViewedImages
from detection.training.regressor_checkpoint import RegressorParts
from tests.detection.conftest import DIM, make_images


def literal_fit(features, boxes, gt_boxes, ridge):
    """(weights, mean): targets whitened by the eigenvectors of their covariance, one dense solve."""
    targets = np.array([literal_target(b, g) for b, g in zip(boxes, gt_boxes, strict=True)])
    x = np.hstack([features, np.ones((len(features), 1))])
    mean = targets.mean(axis=0)
    covariance = (targets - mean).T @ (targets - mean) / len(targets)
    values, v = np.linalg.eigh(covariance)
    whiten = v @ np.diag(1 / np.sqrt(values + 0.001)) @ v.T
    restore = v @ np.diag(np.sqrt(values + 0.001)) @ v.T
    beta = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ ((targets - mean) @ whiten))
    return beta @ restore, mean


def literal_target(box, gt):
    w, h, gw, gh = box[2] - box[0], box[3] - box[1], gt[2] - gt[0], gt[3] - gt[1]
    dx = (gt[0] + gw / 2 - box[0] - w / 2) / w
    return dx, (gt[1] + gh / 2 - box[1] - h / 2) / h, np.log(gw / w), np.log(gh / h)


def sample(n, dim, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 200, (n, 2))
    boxes = np.hstack([corner, corner + rng.uniform(20, 100, (n, 2))])
    gt_boxes = boxes + rng.uniform(-8, 8, (n, 4))
    features = rng.random((n, dim))
    features[:, :4] += (gt_boxes - boxes) / 8  # something to learn
    return features, boxes, gt_boxes


@pytest.mark.parametrize("n", [30, 120, 121, 500])  # fewer rows than columns, as many, more
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_is_the_textbook_solution(n, dtype):
    features, boxes, gt_boxes = sample(n, 120)
    weights, mean = literal_fit(features, boxes, gt_boxes, 5.0)
    regressor = br.fit(features.astype(dtype), boxes, gt_boxes, ridge=5.0)
    np.testing.assert_allclose(regressor.mean, mean, atol=1e-9)
    np.testing.assert_allclose(regressor.weights, weights, atol=2e-4 if dtype == np.float32 else 1e-6)


@pytest.mark.parametrize("n", [50, 3000])
def test_blocks_give_what_one_array_gives(n):
    features, boxes, gt_boxes = sample(n, 60)
    whole = br.fit(features, boxes, gt_boxes, ridge=2.0)
    blocks = [(features[i : i + 37], boxes[i : i + 37], gt_boxes[i : i + 37]) for i in range(0, n, 37)]
    empty = (features[:0], boxes[:0], gt_boxes[:0])
    parts = br.fit(iter([empty, *blocks, empty]), ridge=2.0)
    np.testing.assert_allclose(parts.weights, whole.weights, atol=1e-6)
    np.testing.assert_allclose(parts.mean, whole.mean)


def test_regression_moves_unseen_boxes_to_their_objects():
    regressor = br.fit(*sample(800, 30), ridge=1.0)
    features, boxes, gt_boxes = sample(200, 30, seed=1)
    moved = regressor.apply(features, boxes)
    before, after = (np.diag(iou(b, gt_boxes)).mean() for b in (boxes, moved))
    assert after > before + 0.3 * (1 - before)


def test_decode_inverts_encode():
    _, boxes, gt_boxes = sample(50, 5)
    np.testing.assert_allclose(br.decode(boxes, br.encode(boxes, gt_boxes)), gt_boxes)


def test_encoding_a_one_pixel_box_is_finite():
    assert np.isfinite(br.encode([[3, 3, 3, 3]], [[2, 2, 5, 6]])).all()


def test_regressing_no_box_gives_no_box():
    regressor = br.fit(*sample(20, 5))
    assert regressor.apply(np.zeros((0, 5)), np.zeros((0, 4))).shape == (0, 4)


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(ValueError, match="expected at least one window"):
        br.fit(np.zeros((0, 5)), np.zeros((0, 4)), np.zeros((0, 4)))
    with pytest.raises(ValueError, match="expected 2 rows"):
        br.fit(np.zeros((3, 5)), np.ones((2, 4)), np.ones((2, 4)))


def test_training_windows_overlap_their_object_enough(images):
    for config in (PAPER.bbox, RELEASED.bbox):
        for index in range(len(images)):
            windows, labelled = br.training_windows(images, index, config), images.labelled_boxes(index)
            overlaps = labelled.gt_overlaps[windows.rows, windows.objects]
            assert (overlaps > 0.5).all() if config.strict else (overlaps >= 0.5).all()
            np.testing.assert_array_equal(windows.labels, labelled.labels[windows.objects])


def test_an_overlap_of_exactly_one_half_counts_only_in_the_paper_preset(images):
    record = images.records[0]
    box = np.array([[0, 0, 9, 9]], np.float32)
    images.records = [replace(record, boxes=box, labels=np.array([0]), difficult=np.array([False]))]
    images.proposals[record.id] = np.array([[0, 0, 9, 4]], np.float32)
    counts = [len(br.training_windows(images, 0, c.bbox).rows) for c in (PAPER, RELEASED)]
    assert counts == [2, 1]  # the object itself, and the half


def test_a_window_serves_the_class_of_the_object_that_it_overlaps_most(images):
    for index in range(len(images)):
        windows, labelled = br.training_windows(images, index, PAPER.bbox), images.labelled_boxes(index)
        if len(labelled.labels):
            best = labelled.gt_overlaps.argmax(axis=1)
            enough = labelled.gt_overlaps.max(axis=1) >= 0.5
            np.testing.assert_array_equal(windows.labels, labelled.labels[best[enough]])
        else:
            assert len(windows.rows) == 0


def test_windows_of_difficult_objects_can_be_left_out(images):
    for index in range(len(images)):
        windows = br.training_windows(images, index, PAPER.bbox, difficult=False)
        assert not images.records[index].difficult[windows.objects].any()


def one_by_one(images, config, scale, difficult):
    """The regressors as `fit` trains them, each class for itself, image by image."""

    def blocks(k):
        for index in range(len(images)):
            labelled = images.labelled_boxes(index)
            if k in labelled.labels:
                match, overlap = labelled.gt_overlaps.argmax(axis=1), labelled.gt_overlaps.max(axis=1)
                enough = overlap > config.min_iou if config.strict else overlap >= config.min_iou
                chosen = enough & (labelled.labels[match] == k) & (difficult | ~labelled.difficult[match])
                boxes = labelled.boxes[chosen]
                if len(boxes):
                    features = images.pool(index, boxes) * np.float32(scale)
                    yield features, boxes, images.records[index].boxes[match[chosen]]

    regressors = []
    for k in range(images.n_classes):
        rows = list(blocks(k))
        regressors.append(br.fit(iter(rows), ridge=config.ridge) if rows else None)
    return regressors


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a.weights, b.weights)
            np.testing.assert_array_equal(a.mean, b.mean)


@pytest.fixture
def many():
    """Six classes: some with more windows than features, some with fewer, the last one with none."""
    images = make_images(n=20, classes=5, seed=3)
    images.n_classes = 6
    return images


@pytest.mark.parametrize("difficult", [True, False])
@pytest.mark.parametrize("config", [PAPER.bbox, RELEASED.bbox])
@pytest.mark.parametrize("memory", [br.MEMORY, 420_000, 1])  # one group, three, one per class
def test_all_regressors_equal_those_trained_class_by_class(many, config, difficult, memory):
    finished = []
    found = br.fit_all(many, config, 0.7, difficult=difficult, memory=memory, on_class=finished.append)
    same(found, one_by_one(many, config, 0.7, difficult))
    assert found[5] is None
    assert sorted(finished) == list(range(6))


def counts_of(images):
    return np.bincount(
        np.concatenate([br.training_windows(images, i, PAPER.bbox).labels for i in range(len(images))]), minlength=6
    )


def test_a_limit_on_windows_takes_a_random_choice_of_each_class_over_all_images(many):
    whole = [br.training_windows(many, i, PAPER.bbox) for i in range(len(many))]
    counts = counts_of(many)
    limit = int(np.sort(counts)[3])
    some = br._sample(whole, limit)
    kept = np.concatenate([w.labels for w in some])
    assert np.bincount(kept, minlength=6).tolist() == np.minimum(counts, limit).tolist()
    assert (counts > limit).any()
    for one, part in zip(whole, some, strict=True):
        rows = {(r, o, k) for r, o, k in zip(one.rows, one.objects, one.labels, strict=True)}
        assert {(r, o, k) for r, o, k in zip(part.rows, part.objects, part.labels, strict=True)} <= rows
    largest = int(counts.argmax())
    assert any(len(w.rows) < len(o.rows) for w, o in zip(some[:3], whole[:3], strict=True))  # not the last ones
    limited = br.fit_all(many, replace(PAPER.bbox, max_windows=limit), 0.7)
    free = br.fit_all(many, replace(PAPER.bbox, max_windows=int(counts.max())), 0.7)
    same(free, br.fit_all(many, PAPER.bbox, 0.7))
    assert not np.array_equal(limited[largest].weights, free[largest].weights)


def test_the_maps_of_an_image_are_read_once_per_group_of_classes(many):
    with_objects = {i for i, record in enumerate(many.records) if len(record.labels)}
    assert (counts_of(many) > DIM).any()
    assert (counts_of(many)[:5] <= DIM).any()
    br.fit_all(many, PAPER.bbox, 1.0)
    assert many.reads == dict.fromkeys(with_objects, 1)
    many.reads.clear()
    br.fit_all(many, PAPER.bbox, 1.0, memory=1)  # every class alone
    assert many.reads == {i: len(set(many.records[i].labels)) for i in with_objects}


def test_classes_are_grouped_up_to_the_memory_limit():
    assert br._groups({0: 5, 2: 5, 3: 1, 4: 20, 5: 2}, 10) == [[0, 2], [3], [4], [5]]
    assert br._groups({}, 10) == []


def test_an_interrupted_training_resumes_with_the_classes_that_are_missing(many, tmp_path):
    finished = []

    def interrupt(k):
        finished.append(k)
        if len(finished) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        br.fit_all(many, PAPER.bbox, 1.0, parts=RegressorParts(tmp_path, "key"), on_class=interrupt)
    done = set(finished)
    many.reads.clear()
    again = br.fit_all(many, PAPER.bbox, 1.0, parts=RegressorParts(tmp_path, "key"))
    missing = {0, 1, 2, 3, 4} - done
    assert missing
    assert set(many.reads) == {i for i, record in enumerate(many.records) if missing & set(record.labels)}
    same(again, one_by_one(many, PAPER.bbox, 1.0, True))
    many.reads.clear()
    same(br.fit_all(many, PAPER.bbox, 1.0, parts=RegressorParts(tmp_path, "key")), again)
    assert not many.reads


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_all_classes_at_once_are_the_classes_one_by_one(kind):
    rng = np.random.default_rng(0)
    one, other = (br.BoxRegressor(rng.normal(0, 0.1, (7, 4)).astype(np.float32), rng.normal(0, 0.1, 4)) for _ in "ab")
    regressors, labels = [one, None, other], np.array([2, 0, 1, 2, 0])
    corner = rng.uniform(0, 50, (5, 2))
    boxes = np.hstack([corner, corner + 30]).astype(np.float32)
    features = rng.random((5, 6), np.float32)
    together = br.BoxRegressors(regressors, 3.0)
    found = together.apply(boxes, labels, together.targets(kind(features)))
    for box, label, row, got in zip(boxes, labels, features, found, strict=True):
        alone = regressors[label]
        expected = box if alone is None else alone.apply(3 * row[None], box[None])[0]
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_windows_of_every_view_are_examples_and_mirrored_ones_move_the_other_way():
    images, mirrored = make_images(), make_images()
    mirrored.mirrored = True
    alone = br.fit_all(images, replace(PAPER.bbox, ridge=50.0), 1.0)
    both = br.fit_all(ViewedImages([images, mirrored]), replace(PAPER.bbox, ridge=100.0), 1.0)
    for one, two in zip(alone, both, strict=True):
        assert two.mean[0] == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(two.mean[1:], one.mean[1:], atol=1e-12)
        assert np.abs(two.weights[:, 0]).max() < 1e-4 < np.abs(one.weights[:, 0]).max()
        assert np.abs(two.weights[:, 1:]).max() > 1e-3
