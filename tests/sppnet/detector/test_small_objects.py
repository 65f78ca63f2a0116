"""What is said about objects that no candidate window reaches."""

from pathlib import Path

import numpy as np
import pytest

from data.records import Dataset, ImageRecord
from proposals.sources import ProposalSettings
from sppnet.detector.small_objects import advice, find_small
from tests import commands
from tests.data.test_coco import write

TOO_SMALL = "too small for any candidate window: windows start at 20 pixels per side (--min-side)"


def dataset(sides, image_size=(300, 400), difficult=False):
    boxes = np.array([[10, 10, 9 + side, 9 + side] for side in sides], np.float32).reshape(-1, 4)
    flags = np.full(len(sides), difficult)
    return Dataset(
        "set", ("cat",), (ImageRecord("a", Path("a.png"), image_size, boxes, np.zeros(len(sides), int), flags),)
    )


@pytest.mark.parametrize(
    ("sides", "image_size", "expected"),
    [
        ([12, 12, 40, 40], (300, 400), f"2 of 4 objects (50 %) are {TOO_SMALL}; use --min-side 12"),
        ([12], (3000, 4000), "use --min-side 12 --max-side 4000"),
        ([25], (6000, 8000), "use --max-side 8000"),
        ([5], (300, 400), "enlarge the photos 4 times and use --max-side 1600"),
        ([5], (150, 200), "enlarge the photos 4 times"),
        ([7], (150, 200), "enlarge the photos 3 times"),  # 49 pixels
        ([8], (150, 200), "use --min-side 8"),
    ],
)
def test_the_advice_names_the_share_and_what_helps(sides, image_size, expected):
    told = advice(dataset(sides, image_size), ProposalSettings())
    assert told.startswith("set: ")
    assert told.endswith(expected)


def test_the_advice_reaches_every_object():
    for settings in (ProposalSettings(min_side=12), ProposalSettings("ss+edgeboxes", min_side=10)):
        assert find_small(dataset([12, 40]), settings) == []
    assert find_small(dataset([25], (6000, 8000)), ProposalSettings(max_side=8000)) == []


@pytest.mark.parametrize("quiet", [dataset([]), dataset([20, 300]), dataset([5], difficult=True)])
def test_objects_that_are_large_enough_or_difficult_are_no_reason_for_advice(quiet):
    assert advice(quiet, ProposalSettings()) is None


def test_check_and_the_search_tell_before_training(tmp_path, capsys):
    images = [(i, f"{i}.png") for i in range(12)]
    data = write(tmp_path, images, [(i, 1, [10, 10, 12, 12]) for i, _ in images])
    assert commands.command("check")([data]) == 0
    said = capsys.readouterr().out
    assert "objects too small for candidate windows" in said
    assert TOO_SMALL in said
    search = ["--data", data, "--run", tmp_path / "run", "-j", 1]
    assert commands.extract_proposals(search) == 0
    assert "(100 %) are too small for any candidate window" in capsys.readouterr().err
    assert commands.extract_proposals([*search, "--min-side", 12, "--overwrite"]) == 0
    assert "too small" not in capsys.readouterr().err
