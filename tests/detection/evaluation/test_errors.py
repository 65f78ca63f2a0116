from pathlib import Path

import numpy as np
import pytest

from data.records import ImageRecord
from detection.boxes import iou
from detection.detections import Detections
from detection.evaluation import voc
from detection.evaluation.errors import COSTLY, WRONG, Kind, _ap_without, analyse, costs, similarity

OBJECT = (0, 0, 99, 99)
FOUND = (0, 0, 99, 59)  # IoU 0.6 with OBJECT
NEAR = (0, 0, 99, 29)  # 0.3
TOUCHING = (0, 0, 99, 8)  # 0.09
ELSEWHERE = (300, 300, 399, 399)
CLASSES = ("cat", "dog", "car")
PETS = (("cat", "dog"),)


def record(boxes, labels, difficult=None, image_id="a"):
    n = len(boxes)
    hard = np.array(difficult if difficult is not None else [False] * n, np.bool_)
    return ImageRecord(
        image_id, Path("x.jpg"), (400, 400), np.array(boxes, np.float32).reshape(n, 4), np.array(labels, np.int64), hard
    )


def found(boxes, labels, scores=None):
    scores = np.arange(len(boxes), 0, -1) if scores is None else np.array(scores)
    return Detections(np.array(boxes, np.float32), scores.astype(np.float32), np.array(labels, np.int64))


def judge(boxes, labels, truth, scores=None):
    return analyse({"a": found(boxes, labels, scores)}, [truth], CLASSES, PETS)


def ap_without(errors, kinds, metric="voc07"):
    """Average precision of each class without these kinds of error; nan for a class without objects."""
    counts = errors.n_objects
    return np.array([_ap_without(errors, k, kinds, metric) if counts[k] else np.nan for k in range(len(counts))])


def one(box, label, truth):
    """Return the kind of a single detection."""
    return Kind(judge([box], [label], truth).kind[0])


CAT = record([OBJECT], [0])


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        (FOUND, 0, Kind.RIGHT),
        (NEAR, 0, Kind.LOCALISATION),
        (TOUCHING, 0, Kind.BACKGROUND),
        (ELSEWHERE, 0, Kind.BACKGROUND),
        (FOUND, 1, Kind.SIMILAR),
        (NEAR, 1, Kind.SIMILAR),
        (TOUCHING, 1, Kind.BACKGROUND),
        (OBJECT, 2, Kind.OTHER),
        (NEAR, 2, Kind.OTHER),
    ],
)
def test_the_kind_of_a_detection_near_one_cat(box, label, kind):
    assert one(box, label, CAT) == kind


def test_ious_equal_to_the_thresholds_count_as_overlaps():
    assert one((0, 0, 99, 49), 0, CAT) == Kind.RIGHT
    assert one((0, 0, 99, 9), 0, CAT) == Kind.LOCALISATION
    assert one((0, 0, 99, 9), 2, CAT) == Kind.OTHER


def test_the_second_match_is_a_duplicate_whatever_else_it_overlaps():
    errors = judge([FOUND, OBJECT], [0, 0], record([OBJECT, OBJECT], [0, 1]))
    assert errors.kind.tolist() == [Kind.RIGHT, Kind.DUPLICATE]
    assert errors.object.tolist() == [0, 0]


def test_a_localisation_error_takes_precedence_over_class_confusion():
    assert one(OBJECT, 0, record([NEAR, OBJECT], [0, 2])) == Kind.LOCALISATION


def test_among_other_classes_the_object_with_the_largest_iou_decides():
    truth = record([NEAR, FOUND], [0, 2])
    errors = judge([OBJECT], [1], truth)
    assert (Kind(errors.kind[0]), errors.object[0], errors.overlap[0]) == (Kind.OTHER, 1, pytest.approx(0.6))
    assert one(OBJECT, 1, record([FOUND, NEAR], [0, 2])) == Kind.SIMILAR


def test_without_groups_confusion_is_with_other_classes():
    errors = analyse({"a": found([OBJECT], [1])}, [CAT], CLASSES, ())
    assert not errors.groups
    assert errors.kind.tolist() == [Kind.OTHER]


def test_vocs_groups_apply_to_vocs_class_names():
    errors = analyse({"a": found([OBJECT], [1])}, [CAT], CLASSES)
    assert errors.groups
    assert errors.kind.tolist() == [Kind.SIMILAR]
    assert not analyse({}, [record([OBJECT], [0])], ("cat", "teapot")).groups


def test_similarity_is_symmetric_and_excludes_the_class_itself():
    alike = similarity(("aeroplane", "bird", "cat", "sofa"), (("aeroplane", "bird"), ("bird", "cat")))
    assert alike.astype(int).tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_difficult_objects_are_left_out_and_never_missed():
    truth = record([OBJECT, ELSEWHERE], [0, 0], [True, True])
    errors = judge([OBJECT, OBJECT], [0, 0], truth)
    assert errors.kind.tolist() == [Kind.LEFT_OUT] * 2
    assert not errors.missed.any()
    assert not errors.found.any()
    assert np.isnan(costs(errors)[Kind.BACKGROUND]).all()


def test_the_object_of_a_localisation_error_is_not_missed():
    assert judge([NEAR], [0], CAT).missed.tolist() == [False]
    assert judge([OBJECT], [1], CAT).missed.tolist() == [True]
    assert judge([FOUND], [0], CAT).missed.tolist() == [False]


def test_object_indices_count_over_all_images():
    records = [record([ELSEWHERE], [2], image_id="first"), record([OBJECT], [0], image_id="second")]
    errors = analyse({"second": found([NEAR], [0])}, records, CLASSES, PETS)
    assert errors.object.tolist() == [1]
    assert errors.image.tolist() == [1]
    assert errors.missed.tolist() == [True, False]
    assert errors.n_objects.tolist() == [1, 0, 1]


def cost(errors, kind):
    return costs(errors, "area")[kind][0]


def test_an_error_ranked_above_the_only_match_costs_half():
    cases = {
        Kind.BACKGROUND: judge([ELSEWHERE, FOUND], [0, 0], CAT),
        Kind.SIMILAR: judge([ELSEWHERE, FOUND], [0, 0], record([OBJECT, ELSEWHERE], [0, 1])),
        Kind.OTHER: judge([ELSEWHERE, FOUND], [0, 0], record([OBJECT, ELSEWHERE], [0, 2])),
    }
    for kind, errors in cases.items():
        assert {k: cost(errors, k) for k in COSTLY} == {k: pytest.approx(0.5 * (k == kind)) for k in COSTLY}


def test_a_duplicate_lowers_the_precision_of_later_matches():
    errors = judge([OBJECT, FOUND, ELSEWHERE], [0, 0, 0], record([OBJECT, ELSEWHERE], [0, 0]))
    assert ap_without(errors, (), "area")[0] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert cost(errors, Kind.DUPLICATE) == pytest.approx(1 / 6)


def test_a_localisation_error_moves_onto_its_object():
    assert cost(judge([NEAR], [0], CAT), Kind.LOCALISATION) == 1


def test_the_better_of_two_localisation_errors_moves_and_the_other_is_removed():
    errors = judge([NEAR, ELSEWHERE, NEAR], [0, 0, 0], CAT)
    assert ap_without(errors, (Kind.LOCALISATION,), "area")[0] == 1
    late = judge([ELSEWHERE, NEAR, NEAR], [0, 0, 0], CAT)
    assert ap_without(late, (Kind.LOCALISATION,), "area")[0] == pytest.approx(1 / 2)


def test_localisation_errors_on_matched_or_difficult_objects_are_removed():
    ahead = judge([NEAR, OBJECT], [0, 0], CAT)
    assert ap_without(ahead, (Kind.LOCALISATION,), "area")[0] == 1
    errors = judge([NEAR, ELSEWHERE], [0, 0], record([OBJECT, ELSEWHERE], [0, 0], [True, False]))
    assert errors.kind.tolist() == [Kind.LOCALISATION, Kind.RIGHT]
    assert cost(errors, Kind.LOCALISATION) == pytest.approx(1 / 2)


def test_missed_objects_cost_their_share():
    errors = judge([OBJECT], [0], record([OBJECT, ELSEWHERE], [0, 0]))
    assert cost(errors, Kind.MISSED) == pytest.approx(1 / 2)


def test_without_detections_missed_objects_cost_everything():
    errors = judge([], [], CAT)
    assert {k: cost(errors, k) for k in COSTLY} == {k: float(k == Kind.MISSED) for k in COSTLY}


def test_correcting_one_of_two_errors_that_hide_each_other_gains_nothing():
    errors = judge([ELSEWHERE], [0], CAT)
    assert (cost(errors, Kind.MISSED), cost(errors, Kind.BACKGROUND)) == (0, 0)
    assert ap_without(errors, COSTLY)[0] == 1


def test_no_images_and_no_classes_give_empty_results():
    for records in ([], [record([], [])]):
        errors = analyse({}, records, CLASSES)
        assert len(errors.kind) == len(errors.missed) == 0
        assert np.isnan(costs(errors)[Kind.MISSED]).all()
    assert analyse({}, [], ()).n_objects.tolist() == []


def test_unknown_images_and_labels_are_refused():
    with pytest.raises(ValueError, match="not in the ground truth"):
        analyse({"b": found([OBJECT], [0])}, [CAT], CLASSES)
    with pytest.raises(ValueError, match="label 3 is outside"):
        judge([OBJECT], [3], CAT)


def scene(seed):
    """Crowded images: objects on a coarse grid, detections near them and at random places."""
    rng = np.random.default_rng(seed)
    records, detections = [], {}
    for image in range(25):
        corners = rng.integers(0, 5, (rng.integers(0, 7), 2)) * 40
        boxes = np.hstack([corners, corners + rng.integers(30, 80, corners.shape)])
        truth = record(boxes, rng.integers(0, 3, len(boxes)), rng.random(len(boxes)) < 0.2, str(image))
        shaken = np.repeat(boxes, 4, axis=0) + rng.integers(-25, 25, (4 * len(boxes), 4))
        extra = rng.integers(0, 200, (5, 2))
        shaken = np.vstack([shaken, np.hstack([extra, extra + 50])])
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 1)
        n = len(shaken)
        detections[str(image)] = found(shaken, rng.integers(0, 3, n), rng.integers(0, 9, n))
        records.append(truth)
    return detections, records


def literal_kind(box, label, truth, taken):
    """Return the kind of one detection and its object's index in the image; `taken` are objects matched before."""
    overlaps = [iou([box], [b])[0, 0] for b in truth.boxes]
    mine = [g for g in range(len(overlaps)) if truth.labels[g] == label]
    others = [g for g in range(len(overlaps)) if truth.labels[g] != label]
    best = max(mine, key=lambda g: overlaps[g], default=None)
    if best is not None and overlaps[best] >= 0.5:
        if truth.difficult[best]:
            return Kind.LEFT_OUT, best
        return (Kind.DUPLICATE if best in taken else Kind.RIGHT), best
    if best is not None and overlaps[best] >= 0.1:
        return Kind.LOCALISATION, best
    best = max(others, key=lambda g: overlaps[g], default=None)
    if best is not None and overlaps[best] >= 0.1:
        return (Kind.SIMILAR if {label, truth.labels[best]} == {0, 1} else Kind.OTHER), best
    return Kind.BACKGROUND, None


@pytest.mark.parametrize("seed", range(5))
def test_kinds_agree_with_a_literal_loop_over_detections(seed):
    detections, records = scene(seed)
    errors = analyse(detections, records, CLASSES, PETS)
    flat = [(i, d) for i, r in enumerate(records) for d in range(len(detections[r.id]))]
    expected, taken = [None] * len(flat), {i: set() for i in range(len(records))}
    for row in sorted(range(len(flat)), key=lambda n: -detections[records[flat[n][0]].id].scores[flat[n][1]]):
        i, d = flat[row]
        mine = detections[records[i].id]
        kind, of = literal_kind(mine.boxes[d], mine.labels[d], records[i], taken[i])
        if kind == Kind.RIGHT:
            taken[i].add(of)
        expected[row] = (kind, -1 if of is None else of + sum(len(r.labels) for r in records[:i]))
    assert list(zip(errors.kind.tolist(), errors.object.tolist(), strict=True)) == expected
    assert set(errors.kind.tolist()) == {*WRONG, Kind.RIGHT, Kind.LEFT_OUT}


@pytest.mark.parametrize("metric", ["voc07", "area"])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_vocs_costs_are_not_negative_and_no_errors_give_one(seed, metric):
    detections, records = scene(seed)
    errors = analyse(detections, records, CLASSES, PETS)
    scored = voc.evaluate(detections, records, metric=metric, classes=CLASSES)
    np.testing.assert_array_equal(ap_without(errors, (), metric), scored.ap)
    for label in range(3):
        np.testing.assert_array_equal(errors.kind[errors.ranked(label)] != Kind.RIGHT, is_wrong(scored, label))
    for values in costs(errors, metric).values():
        assert (values >= 0).all()
        assert (values + scored.ap <= 1 + 1e-12).all()
    np.testing.assert_array_equal(ap_without(errors, COSTLY, metric), np.ones(3))


def is_wrong(scored, label):
    """Find the wrong detections of a class from its precision curve."""
    right = np.rint(scored.precision[label] * np.arange(1, 1 + len(scored.precision[label])))
    return np.diff(right, prepend=0) == 0
