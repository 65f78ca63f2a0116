import numpy as np
import pytest

from detection.boxes import iou
from proposals import grid
from proposals.grid import Grid
from proposals.reach import reachable
from proposals.sources import ProposalSettings, in_turn, propose

SIZE = (120, 200)


def test_windows_of_a_shape_cover_the_photo_at_equal_steps_and_end_at_its_border():
    boxes = Grid(((0.5, 0.25),), step=0.5).windows(SIZE)  # 60 x 30 pixels
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2] + 1, np.tile([60, 30], (len(boxes), 1)), atol=1e-4)
    assert np.unique(boxes[:, 0]).tolist() == [0, 28, 56, 84, 112, 140]  # at most 30 pixels apart
    assert np.unique(boxes[:, 1]).tolist() == [0, 15, 30, 45, 60, 75, 90]
    assert len(boxes) == 6 * 7 == Grid(((0.5, 0.25),), step=0.5).count(SIZE)


def test_a_shape_larger_than_the_photo_is_the_whole_photo_once():
    boxes = Grid(((3.0, 2.0), (4.0, 5.0))).windows(SIZE)
    assert boxes.tolist() == [[0, 0, 199, 119]]


def test_first_windows_are_of_all_shapes():
    both = Grid(((0.5, 0.5), (0.1, 0.1)))
    first = both.windows(SIZE)[:50]
    sides = set((first[:, 2] - first[:, 0] + 1).round().tolist())
    assert sides == {60, 12}


def test_best_overlaps_are_those_of_the_windows():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (40, 2)) * (150, 80)
    boxes = np.hstack([corners, corners + rng.uniform(5, 49, (40, 2))])
    laid = Grid(((0.3, 0.2), (0.1, 0.15), (1.5, 0.1)), step=0.3)
    expected = iou(boxes, laid.windows(SIZE)).max(axis=1)
    np.testing.assert_allclose(laid.best_overlaps(boxes, SIZE), expected, atol=1e-6)
    per_object = laid.best_overlaps(boxes, np.tile(SIZE, (40, 1)))
    np.testing.assert_allclose(per_object, expected, atol=1e-6)


def test_learned_shapes_are_those_of_the_objects():
    boxes = [np.array([[10, 10, 39, 29]] * 3 + [[50, 50, 59, 109]]), np.zeros((0, 4)), np.array([[0, 0, 29, 19]])]
    learned = grid.learn(boxes, [SIZE, SIZE, SIZE])
    assert set(learned.shapes) == {(0.25, 0.1667), (0.0833, 0.5)}
    assert learned.shapes[0] == (0.25, 0.1667)  # the most frequent
    assert learned == grid.learn(boxes, [SIZE, SIZE, SIZE])


def test_learned_grids_have_a_bounded_number_of_windows():
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 400, (300, 2))
    boxes = np.hstack([corners, corners + rng.uniform(15, 200, (300, 2))])
    learned = grid.learn([boxes], [(600, 800)])
    assert 1000 < learned.count((600, 800)) <= grid.MOST_WINDOWS
    tiny = np.hstack([corners, corners + 2])  # even the coarsest grid of objects of 3 pixels has more
    assert grid.learn([tiny], [(600, 800)]).step == max(grid.STEPS)


def test_no_object_to_learn_from_is_an_error():
    with pytest.raises(ValueError, match="no objects whose shapes windows could take; label some"):
        grid.learn([np.zeros((0, 4))], [SIZE])


@pytest.mark.parametrize("wrong", [Grid.from_meta, lambda meta: Grid((), 0.5), lambda meta: Grid(((0.1, -1.0),), 0.5)])
def test_a_grid_of_other_values_is_refused(wrong):
    with pytest.raises(ValueError, match=r"grid(\.\w+)?: expected "):
        wrong({"shapes": 5})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 0.5}, "grid.shapes: expected a list of .* missing"),
        ({"shapes": [], "step": 0.5}, "grid.shapes: expected a list of 1 to 1000 values"),
        ({"shapes": [[0.1, "0.1"]], "step": 0.5}, r"grid.shapes\[0\]\[1\]: expected a number above 0"),
        ({"shapes": [[0.1]], "step": 0.5}, r"grid.shapes\[0\]: expected a list of 2 values"),
        ({"shapes": [[0.1, float("nan")]], "step": 0.5}, r"grid.shapes\[0\]\[1\]: .* got nan"),
        ({"shapes": [[0.1, 0.1]], "step": 1e-9}, "grid.step: expected a number from 0.001 to 1000, got 1e-09"),
        ({"shapes": [[0.1, 0.1]], "step": 0.5, "more": 1}, "grid: expected only shapes, step, got 'more'"),
    ],
)
def test_values_of_a_grid_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        Grid.from_meta(values)


def test_a_grid_lays_no_more_windows_than_memory_holds():
    with pytest.raises(ValueError, match=r"grid: lays [\d,]{10,} windows on a photo of 800 x 600 pixels, at most"):
        Grid(((1e-6, 1e-6),), 0.001).windows((600, 800))


def test_a_grid_is_a_source_of_proposals_and_part_of_their_settings():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).repeat(20, 0).repeat(20, 1).astype(np.uint8)
    laid = Grid(((0.25, 0.3),))
    settings = ProposalSettings("grid", grid=laid)
    np.testing.assert_array_equal(propose(image, settings), laid.windows((120, 160)))
    both = ProposalSettings("ss+grid", grid=laid, max_boxes=50)
    np.testing.assert_array_equal(propose(image, both), in_turn(propose(image), laid.windows((120, 160)))[:50])
    assert both.meta["grid"] == {"shapes": [[0.25, 0.3]], "step": 0.25}
    assert ProposalSettings.from_meta(both.meta) == both
    for source, shapes in (("grid", None), ("ss", laid)):
        with pytest.raises(ValueError, match="needs the shapes that"):
            ProposalSettings(source, grid=shapes)


def test_objects_of_the_shapes_of_a_grid_are_reached_however_small():
    laid = Grid(((0.05, 0.05),))  # 6 pixels
    small = [[10, 10, 15, 15], [10, 10, 12, 12]]
    assert reachable(small, SIZE, ProposalSettings("grid", grid=laid)).tolist() == [True, False]
    assert reachable(small, SIZE, ProposalSettings()).tolist() == [False, False]
    assert reachable([[0, 0, 99, 99]], SIZE, ProposalSettings("ss+grid", grid=laid)).tolist() == [True]
