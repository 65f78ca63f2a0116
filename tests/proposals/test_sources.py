from dataclasses import replace

import numpy as np
import pytest

from proposals import edge_boxes, selective_search
from proposals.edge_boxes import EdgeBoxesSettings
from proposals.grid import Grid
from proposals.sources import SOURCES, ProposalSettings, in_turn, propose


@pytest.fixture(scope="module")
def image():
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    return blocks.repeat(25, axis=0).repeat(25, axis=1).astype(np.uint8)


def test_each_source_gives_the_boxes_of_its_search(image):
    np.testing.assert_array_equal(propose(image), selective_search(image, "fast"))
    for source, mode in (("ss", "fast"), ("ss-single", "single"), ("ss-quality", "quality")):
        np.testing.assert_array_equal(propose(image, ProposalSettings(source)), selective_search(image, mode))
    both = propose(image, ProposalSettings("ss+edgeboxes"))
    np.testing.assert_array_equal(both, in_turn(selective_search(image), edge_boxes.edge_boxes(image)[0]))
    np.testing.assert_array_equal(
        propose(image, ProposalSettings("edgeboxes", min_side=40)),
        edge_boxes.edge_boxes(image, settings=EdgeBoxesSettings(min_side=40))[0],
    )


@pytest.mark.parametrize("source", SOURCES)
def test_the_best_boxes_are_kept(image, source):
    settings = ProposalSettings(source, grid=Grid(((0.3, 0.2),)) if "grid" in source else None)
    everything = propose(image, settings)
    assert len(everything) > 10
    np.testing.assert_array_equal(propose(image, replace(settings, max_boxes=7)), everything[:7])
    assert propose(image, replace(settings, max_boxes=0)).shape == (0, 4)


def test_interleaved_boxes_alternate_without_duplicates():
    a = np.array([[0, 0, 9, 9], [1, 1, 9, 9], [2, 2, 9, 9]], np.float32)
    b = np.array([[1, 1, 9, 9], [5, 5, 9, 9]], np.float32)
    assert in_turn(a, b)[:, 0].tolist() == [0, 1, 5, 2]
    assert in_turn(a, b[:0])[:, 0].tolist() == [0, 1, 2]
    assert in_turn(a[:0], b[:0]).shape == (0, 4)


def test_settings_are_restored_from_the_meta_of_a_file():
    settings = ProposalSettings("edgeboxes", max_boxes=5, seed=3)
    assert ProposalSettings.from_meta(settings.meta) == settings
    with pytest.raises(ValueError, match="expected settings of version"):
        ProposalSettings.from_meta({"file": "theirs.mat"})


def test_a_file_states_the_edge_detector_and_another_one_is_refused():
    meta = ProposalSettings("edgeboxes").meta
    assert list(meta) == ["version", "source", "edges", "max_boxes", "min_side", "max_side", "seed"]
    assert meta["edges"] == "gradient"
    with pytest.raises(ValueError, match="proposals: expected edges 'gradient', got 'canny'; pass boxes instead"):
        ProposalSettings.from_meta({**meta, "edges": "canny"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": 5}, "proposals.source: expected text, got 5"),
        ({"source": "slow"}, "source: expected one of ss, "),
        ({"max_boxes": "5"}, "proposals.max_boxes: expected an integer from 0 to 1000000000 or null, got '5'"),
        ({"max_boxes": 1.5}, "proposals.max_boxes: expected an integer"),
        ({"max_side": [1000]}, r"proposals.max_side: .* got \[1000\]"),
        ({"min_side": -1}, "proposals.min_side: expected an integer from 0 to 32768, got -1"),
        ({"seed": float("nan")}, "proposals.seed: expected an integer"),
        ({"seeds": 1}, "proposals: expected only source, .*, got 'seeds'"),
        ({"grid": {"shapes": 5, "step": 1}}, "proposals.grid.shapes: expected a list"),
    ],
)
def test_other_values_in_a_file_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        ProposalSettings.from_meta(ProposalSettings().meta | wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": "slow"}, "source: expected one of ss, "),
        ({"max_boxes": -1}, "max_boxes: expected 0 or more, got -1"),
        ({"max_side": 0}, "max_side: expected 1 to 32768, got 0"),
        ({"max_side": 40_000}, "max_side: expected 1 to 32768, got 40000"),
        ({"seed": -1}, "seed: expected 0 or more"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        ProposalSettings(**wrong)


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (30, 30)])
@pytest.mark.parametrize("source", ["ss", "edgeboxes", "ss+edgeboxes"])
def test_images_without_structure_have_at_most_one_box(shape, source):
    boxes = propose(np.full((*shape, 3), 50, np.uint8), ProposalSettings(source))
    assert boxes.dtype == np.float32
    assert boxes.shape[1] == 4
    assert len(boxes) <= 1
