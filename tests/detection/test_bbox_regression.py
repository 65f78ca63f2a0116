"""Box regression against the textbook formula, and its two ways to solve it against each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detection import bbox_regression as br
from detection.boxes import iou
from detection.config import PAPER, RELEASED
from detection.training import svm_checkpoint
from detection.training.svm_checkpoint import RegressorParts


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
    with pytest.raises(ValueError, match="no window"):
        br.fit(np.zeros((0, 5)), np.zeros((0, 4)), np.zeros((0, 4)))
    with pytest.raises(ValueError, match="expected 2 rows"):
        br.fit(np.zeros((3, 5)), np.ones((2, 4)), np.ones((2, 4)))


def test_training_windows_overlap_their_object_enough(images):
    for config in (PAPER.bbox, RELEASED.bbox):
        for k in range(2):
            for features, boxes, gt_boxes in br.training_blocks(images, k, config, 1.0):
                overlaps = np.diag(iou(boxes, gt_boxes))
                assert (overlaps > 0.5).all() if config.strict else (overlaps >= 0.5).all()
                assert len(features) == len(boxes)


def test_an_overlap_of_exactly_one_half_counts_only_in_the_paper_preset(images):
    record = images.records[0]
    box = np.array([[0, 0, 9, 9]], np.float32)
    images.records = [replace(record, boxes=box, labels=np.array([0]), difficult=np.array([False]))]
    images.proposals[record.id] = np.array([[0, 0, 9, 4]], np.float32)
    counts = [sum(len(b[1]) for b in br.training_blocks(images, 0, c, 1.0)) for c in (PAPER.bbox, RELEASED.bbox)]
    assert counts == [2, 1]  # the object itself, and the half


def test_a_window_serves_the_class_of_the_object_it_overlaps_most(images):
    served = [
        sum(len(boxes) for _, boxes, _ in br.training_blocks(images, k, PAPER.bbox, 1.0))
        for k in range(images.n_classes)
    ]
    expected = np.zeros(images.n_classes, int)
    for index in range(len(images)):
        labelled = images.labelled_boxes(index)
        if len(labelled.labels):
            best = labelled.gt_overlaps.argmax(axis=1)
            enough = labelled.gt_overlaps.max(axis=1) >= 0.5
            np.add.at(expected, labelled.labels[best[enough]], 1)
    assert served == expected.tolist()


def test_finished_classes_are_not_trained_again(tmp_path):
    regressor = br.fit(*sample(20, 5))
    calls = []

    def train():
        calls.append(1)
        return regressor

    first = RegressorParts(tmp_path, "key")
    first.get(0, train)
    assert first.get(1, lambda: None) is None
    again = RegressorParts(tmp_path, "key")
    np.testing.assert_array_equal(again.get(0, train).weights, regressor.weights)
    assert again.get(1, train) is None
    assert len(calls) == 1
    RegressorParts(tmp_path, "other").get(0, train)
    assert len(calls) == 2
    (tmp_path / "regressor-0.npz").write_bytes(b"torn")
    RegressorParts(tmp_path, "other").get(0, train)
    assert len(calls) == 3
    svm_checkpoint.remove_regressors(tmp_path)
    assert not list(tmp_path.iterdir())


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
