"""What `sppnet check` reports about a data set, and when it fails."""

import json
import shutil

import pytest

from data import datasets, minivoc
from detection.image import read
from sppnet.cli import main
from tests.data.test_formats import write_coco, write_yolo


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("voc") / "minivoc", 3, 2, seed=0)


def check(capsys, tmp_path, *argv):
    code = main(["check", *map(str, argv), "--json", str(tmp_path / "report.json")])
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
    assert "set trainval: 3 photos, 0 of them without objects" in said.out
    assert max(map(len, said.out.splitlines()[:-1])) <= 80
    height, width, _ = read(tmp_path / "sheets" / "sheet.png").shape
    assert width > 3 * 400
    assert 300 < height < 400


def test_faults_are_listed_and_make_the_check_fail(devkit, tmp_path, capsys):
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
    assert "trainval: unusable photos: 1" in said.out
    assert "photos in several splits: 1" in said.out
    assert said.err.splitlines()[-1].startswith(
        f"error: {root}: 1 unusable photos, 1 photos in several splits; correct"
    )
    assert read(tmp_path / "sheet.png").shape[1] > 400


def test_only_named_splits_are_checked(devkit, tmp_path, capsys):
    code, result, _ = check(capsys, tmp_path, devkit, "--splits", "test")
    assert code == 0
    assert list(result["counts"]) == ["test"]
    code = main(["check", str(tmp_path / "nothing")])
    assert code == 1
    assert "no such data set" in capsys.readouterr().err


def test_a_sheet_needs_a_picture_name_and_readable_photos(devkit, tmp_path, capsys):
    assert main(["check", str(devkit), "--sheet", str(tmp_path / "sheet.txt")]) == 1
    assert "sheet.txt: expected a name that ends in .png" in capsys.readouterr().err
    copy = tmp_path / "copy"
    shutil.copytree(devkit, copy)
    for photo in (copy / "VOC2007" / "JPEGImages").iterdir():
        photo.write_bytes(b"")
    assert main(["check", str(copy), "--sheet", str(tmp_path / "sheet.png")]) == 1
    said = capsys.readouterr()
    assert "no photo can be read" in said.err
    assert "trainval: unusable photos: 3" in said.out
