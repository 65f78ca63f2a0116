"""What the command tells of a data set, and when it asks for it to be mended."""

import json
import shutil

import numpy as np
import pytest

from data import checks, datasets, minivoc
from data.records import Dataset, ImageRecord
from detection.image import read
from tests.data.test_formats import write_coco, write_yolo
from tools import check_dataset


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("voc") / "minivoc", 3, 2, seed=0)


def check(capsys, tmp_path, *argv):
    code = check_dataset.main([*map(str, argv), "--json", str(tmp_path / "report.json")])
    return code, json.loads((tmp_path / "report.json").read_text())["result"], capsys.readouterr()


def test_counts_are_those_of_the_annotations(devkit, tmp_path, capsys):
    root = write_coco(devkit, tmp_path / "set", "flat")
    code, result, said = check(capsys, tmp_path, root, "--sheet", tmp_path / "sheets" / "sheet.png", "--photos", 3)
    assert code == 0
    for split in ("trainval", "test"):
        found = datasets.load(root, split)
        assert sum(row["objects"] for row in result["counts"][split].values()) == sum(len(r.boxes) for r in found)
        for k, name in enumerate(found.classes):
            row = result["counts"][split][name]
            assert row["images"] == sum(k in r.labels for r in found)
            assert row["small"] + row["medium"] + row["large"] == row["objects"]
    assert "set trainval: 3 photos" in said.out
    height, width, _ = read(tmp_path / "sheets" / "sheet.png").shape
    assert width > 3 * 400
    assert 300 < height < 400


def test_sizes_are_cocos():
    boxes = np.array([[0, 0, 30, 31], [0, 0, 31, 31], [0, 0, 94, 95], [0, 0, 95, 95]], np.float32)
    record = ImageRecord("a", None, (200, 200), boxes, np.zeros(4, int), np.array([0, 1, 0, 0], bool))
    row = checks.class_counts(Dataset("x", ("cat",), (record,)))["cat"]
    assert row == {"images": 1, "objects": 4, "difficult": 1, "small": 1, "medium": 2, "large": 1}


def test_faults_are_named_and_ask_for_mending(devkit, tmp_path, capsys):
    root = write_yolo(devkit, tmp_path / "set", "folders")
    train = sorted((root / "images" / "trainval").iterdir())
    labels = root / "labels" / "trainval" / f"{train[0].stem}.txt"
    line = labels.read_text().splitlines()[0]
    labels.write_text(f"{line}\n{line}\n0 0.5 0.5 0 0\n0 0.9 0.9 0.4 0.4\n")
    train[1].write_bytes(train[1].read_bytes()[:-2000])
    shutil.copy(train[2], root / "images" / "test" / "again.jpg")
    code, result, said = check(capsys, tmp_path, root, "--sheet", tmp_path / "sheet.png")
    assert code == 1
    faults = result["faults"]["trainval"]
    assert list(faults["unusable photos"]) == [train[1].stem]
    assert len(faults["boxes that mark nothing"]) == len(faults["boxes over the border"]) == 1
    assert faults["photos with an object twice"] == [train[0].stem]
    assert result["faults"]["test"]["unusable photos"] == {}
    names = [{place for _, place in group} for group in result["in_several_splits"]]
    assert names == [{str(train[2]), str(root / "images" / "test" / "again.jpg")}]
    assert "1 photos in several splits" in said.out
    assert said.err.splitlines()[-1].startswith(f"error: {root}: 1 unusable photos, 1 in several splits; mend")
    assert read(tmp_path / "sheet.png").shape[1] > 400


def test_splits_are_chosen(devkit, tmp_path, capsys):
    code, result, _ = check(capsys, tmp_path, devkit, "--splits", "test")
    assert code == 0
    assert list(result["counts"]) == ["test"]
    code = check_dataset.main([str(tmp_path / "nothing")])
    assert code == 1
    assert "no such data set" in capsys.readouterr().err
