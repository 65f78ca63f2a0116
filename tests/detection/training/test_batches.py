"""Mini-batches of windows: which windows, from which images, in which order."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detection.bbox_regression import decode
from detection.config import FinetuneConfig
from detection.training import batches as batches_module
from detection.training.batches import WindowBatches
from detection.training.subspace import Subspace

CONFIG = FinetuneConfig(positives=4, negatives=12, schedule=((90, 0.05), (30, 0.005)))


def make_batches(images, config=CONFIG, batches=5, **options):
    return WindowBatches([images], config, batches, **options)


def rows_of(images, block):
    """(image, row of its labelled boxes) of each window of a block, found by its float16 features."""
    table = {}
    for i in range(len(images)):
        boxes = images.labelled_boxes(i).boxes
        for row, pooled in enumerate(images.pool(i, boxes).astype(np.float16)):
            table[pooled.tobytes()] = (i, row)
    return [[table[f.tobytes()] for f in batch] for batch in block.features]


def test_positives_overlap_their_class_by_at_least_half_and_negatives_by_a_tenth_to_a_half(images):
    block = make_batches(images).block(0)
    assert block.features.shape[:2] == block.labels.shape == (5, 16)
    assert (block.labels[:, :4] > 0).all()
    assert (block.labels[:, 4:] == 0).all()
    for batch, labels in zip(rows_of(images, block), block.labels, strict=True):
        for (i, row), label in zip(batch, labels, strict=True):
            overlaps = images.labelled_boxes(i).overlaps[row]
            if label:
                assert overlaps.max() >= 0.5
                assert overlaps.argmax() == label - 1
            else:
                assert 0.1 <= overlaps.max() < 0.5


def test_a_batch_mixes_many_images(images):
    batch = rows_of(images, make_batches(images).block(0))[0]
    assert len({i for i, _ in batch}) >= 5


def test_windows_of_a_block_are_drawn_without_replacement(images):
    block = make_batches(images, replace(CONFIG, positives=2, negatives=6), batches=3).block(1)
    everything = [window for batch in rows_of(images, block) for window in batch]
    assert len(set(everything)) == len(everything)


def test_windows_are_drawn_repeatedly_where_there_are_too_few(images):
    block = make_batches(images, replace(CONFIG, positives=100), batches=50).block(0)
    assert block.labels.shape == (50, 112)
    assert (block.labels[:, :100] > 0).all()


def test_blocks_depend_on_their_number_and_the_seed_alone(images):
    one, again, other = make_batches(images), make_batches(images), make_batches(images, seed=1)
    for streamed, number in zip(one.stream(2, 4), (2, 3), strict=True):
        np.testing.assert_array_equal(streamed.features, again.block(number).features)
        np.testing.assert_array_equal(streamed.labels, again.block(number).labels)
    assert not np.array_equal(one.block(2).features, one.block(3).features)
    assert not np.array_equal(one.block(2).features, other.block(2).features)


def test_windows_of_difficult_objects_can_be_left_out(images):
    without = make_batches(images, difficult=False)
    for i, candidates in enumerate(without._candidates):
        labelled = images.labelled_boxes(i)
        best = labelled.gt_overlaps.argmax(axis=1) if len(labelled.labels) else []
        for row in candidates.positives:
            assert not labelled.difficult[best[row]]
    assert sum(len(c.positives) for c in make_batches(images)._candidates) > sum(
        len(c.positives) for c in without._candidates
    )


def test_random_scales_are_used_only_if_asked_for(images, monkeypatch):
    seen = []
    pool = type(images).pool
    monkeypatch.setattr(
        type(images), "pool", lambda self, i, boxes, scale=None: seen.append(scale) or pool(self, i, boxes)
    )
    make_batches(images, replace(CONFIG, random_scale=True)).block(0)
    assert set(np.concatenate(seen)) == set(range(len(images.pooling.scales)))
    seen.clear()
    make_batches(images).block(0)
    assert all(scale is None for scale in seen)


def test_targets_lead_from_positives_to_the_objects_that_they_overlap_most(images):
    block = make_batches(images).block(0)
    for found, targets in zip(rows_of(images, block), block.targets, strict=True):
        for (i, row), target in zip(found, targets, strict=False):
            labelled = images.labelled_boxes(i)
            gt_box = images.records[i].boxes[labelled.gt_overlaps[row].argmax()]
            np.testing.assert_allclose(decode(labelled.boxes[[row]], target)[0], gt_box, atol=1e-3)


def test_targets_of_mirrored_images_point_the_other_way(images):
    plain = make_batches(images).block(0).targets
    images.mirrored = True
    mirrored = make_batches(images).block(0).targets
    np.testing.assert_array_equal(mirrored, plain * np.array([-1, 1, 1, 1], np.float32))


def test_images_without_positives_are_one_clear_error(images):
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "difficult": np.zeros(0, bool)}
    images.records = [replace(images.records[0], **nothing)]
    with pytest.raises(ValueError, match="no window of 1 images can be one of the positives"):
        make_batches(images)


def test_classes_are_those_with_positive_windows(images):
    assert make_batches(images).classes() == set(range(images.n_classes))
    images.n_classes += 1  # a class that no image has
    assert make_batches(images).classes() == set(range(images.n_classes - 1))


def test_a_sample_is_drawn_as_the_windows_of_batches_are(images):
    batches = make_batches(images)
    sample = batches.sample(40)
    assert (sample.shape, sample.dtype) == ((40, images.pooled_length), np.float16)
    of_blocks = make_batches(images, batches=3).block(0).features  # three batches have 48 windows
    np.testing.assert_array_equal(sample, of_blocks.reshape(-1, images.pooled_length)[:40])


@pytest.mark.parametrize("at_a_time", [1, 13, 1000])
def test_windows_in_a_subspace_are_those_of_pool5_projected(images, monkeypatch, at_a_time):
    monkeypatch.setattr(batches_module, "PROJECTED", at_a_time)
    plain, inside = make_batches(images), make_batches(images)
    inside.subspace = Subspace.spanned_by(plain.sample(20))
    whole, block = plain.block(1), inside.block(1)
    expected = inside.subspace.project(torch.from_numpy(whole.features.astype(np.float32))).numpy()
    assert block.features.shape == (5, 16, 20)
    np.testing.assert_allclose(block.features, expected, atol=0.02)
    np.testing.assert_array_equal(block.labels, whole.labels)
