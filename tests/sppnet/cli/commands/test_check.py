"""What `sppnet check` reports about a data set, and when it fails."""

import json
import shutil

import pytest
from PIL import Image

from data import datasets, minivoc
from detection.image import read
from sppnet.cli import main
from tests.data.test_formats import write_coco, write_yolo
from tests.data.test_yolo import BOX, photo, write


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
    (twice,) = faults["objects labelled twice, used once"]
    assert twice.startswith(f"{train[0].stem}: object 2 (")
    assert f"trainval: objects labelled twice, used once: 1; first: {train[0]}" in said.out
    assert result["faults"]["test"]["unusable photos"] == {}
    names = [{place for _, place in group} for group in result["in_several_splits"]]
    assert names == [{str(train[2]), str(root / "images" / "test" / "again.jpg")}]
    assert "trainval: unusable photos: 1" in said.out
    assert "photos in several splits: 1" in said.out
    assert said.err.splitlines()[-1].startswith(
        f"error: {root}: 1 unusable photos, 1 photos in several splits; correct"
    )
    assert read(tmp_path / "sheet.png").shape[1] > 400


def test_the_data_set_is_named_as_in_other_commands(devkit, tmp_path, capsys):
    root = write_coco(devkit, tmp_path / "set", "flat")
    _, named, _ = check(capsys, tmp_path, root)
    for argv in (["--data", root], ["--devkit", devkit], ["--voc2007", "--devkit", devkit]):
        code, result, _ = check(capsys, tmp_path, *argv)
        assert code == 0
        assert [sum(row["objects"] for row in rows.values()) for rows in result["counts"].values()] == [
            sum(row["objects"] for row in rows.values()) for rows in named["counts"].values()
        ]
    assert json.loads((tmp_path / "report.json").read_text())["settings"]["devkit"] == str(devkit)
    (tmp_path / "photos").mkdir()
    for path in (root / "images").iterdir():
        path.rename(tmp_path / "photos" / path.name)
    assert check(capsys, tmp_path, root, "--images", tmp_path / "photos")[1] == named
    assert main(["check", str(root), "--data", str(root)]) == 1
    assert "name the data set once: DATA, or --data DATA" in capsys.readouterr().err
    assert main(["check"]) == 1
    assert "which data? give --voc2007, or --data" in capsys.readouterr().err


def test_the_sizes_of_the_photos_are_stated(tmp_path, capsys):
    for i, size in enumerate([(40, 30), (200, 100), (60, 50), (90, 80)]):
        photo(tmp_path / "train" / f"{i}.png", size)
        write(tmp_path / "train" / f"{i}.txt", BOX)
        photo(tmp_path / "val" / f"v{i}.png", (50, 20))
        write(tmp_path / "val" / f"v{i}.txt", BOX)
    code, result, said = check(capsys, tmp_path, tmp_path)
    assert code == 0
    assert result["sizes"]["train"] == {"smallest": [30, 40], "median": [50, 60], "largest": [100, 200]}
    assert "width x height: 40 x 30 (smallest), 60 x 50 (median), 200 x 100 (largest)" in said.out
    assert "width x height: 50 x 20 (smallest), 50 x 20 (median), 50 x 20 (largest)" in said.out


def test_copies_that_were_resized_or_compressed_are_found_across_splits(devkit, tmp_path, capsys):
    root = write_yolo(devkit, tmp_path / "set", "folders")
    photos = sorted((root / "images" / "trainval").iterdir())
    with Image.open(photos[0]) as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(root / "images" / "test" / "small.png")
    with Image.open(photos[1]) as picture:
        picture.save(root / "images" / "test" / "squeezed.jpg", quality=30)
    code, result, said = check(capsys, tmp_path, root)
    assert code == 0  # they may be frames of a film, which is for the user to judge
    found = [[path.rpartition("/")[2] for _, path in pair] for pair in result["alike_in_several_splits"]]
    assert found == [[photos[0].name, "small.png"], [photos[1].name, "squeezed.jpg"]]
    assert "photos that look like one in another split: 2" in said.out


def test_splits_of_unusual_names_are_all_checked(devkit, tmp_path, capsys):
    root = write_yolo(devkit, tmp_path / "set", "folders")
    for kind in ("images", "labels"):
        (root / kind / "trainval").rename(root / kind / "first")
    assert list(check(capsys, tmp_path, root)[1]["counts"]) == ["first", "test"]


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
    for path in (copy / "VOC2007" / "JPEGImages").iterdir():
        path.write_bytes(b"")
    assert main(["check", str(copy), "--sheet", str(tmp_path / "sheet.png")]) == 1
    said = capsys.readouterr()
    assert "no photo can be read" in said.err
    assert "trainval: unusable photos: 3" in said.out
