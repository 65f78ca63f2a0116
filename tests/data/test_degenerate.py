"""Data sets at the edge: no object, one photo, only difficult objects, objects larger than the photo."""

import json

import pytest

from data import datasets
from tests.data.test_coco import write as write_coco
from tests.data.test_table import HEADER
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import photo, write

SIZE = "<size><width>100</width><height>50</height></size>"
NAMES = ("a", "b")


def coco(root, boxes):
    write_coco(root, [(i, f"{i}.png") for i in NAMES], [(i, 1, [x, y, w, h]) for i in NAMES for x, y, w, h in boxes])


def csv(root, boxes):
    rows = [f"{i}.png,{x},{y},{x + w - 1},{y + h - 1},cat\n" for i in NAMES for x, y, w, h in boxes]
    write(root / "boxes.csv", HEADER + "".join(rows or [f"{i}.png,,,,,\n" for i in NAMES]))


def yolo(root, boxes):
    for i in NAMES:
        lines = [f"0 {(x + w / 2) / 100} {(y + h / 2) / 50} {w / 100} {h / 50}\n" for x, y, w, h in boxes]
        write(root / f"{i}.txt", "".join(lines))
    write(root / "data.yaml", "train: .\nnames: [cat]\n")


def annotation(boxes):
    return xml(*[obj("cat", (x + 1, y + 1, x + w, y + h)) for x, y, w, h in boxes], size=SIZE)


def voc_files(root, boxes):
    for i in NAMES:
        write(root / f"{i}.xml", annotation(boxes))


def voc_lists(root, boxes):
    write_voc(root, {i: annotation(boxes) for i in NAMES})


MAKERS = (coco, csv, yolo, voc_files, voc_lists)


def load(root, make, boxes, split="all"):
    for i in NAMES:
        photo(root / f"{i}.png")
    make(root, boxes)
    return datasets.load(root, split)


@pytest.mark.parametrize("make", MAKERS)
def test_a_split_may_have_no_object(tmp_path, make):
    found = load(tmp_path, make, [])
    assert [(r.boxes.shape, r.labels.shape, r.difficult.shape) for r in found] == [((0, 4), (0,), (0,))] * 2
    train, test = (datasets.load(tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test), found.dropped, found.left_out) == (1, 1, (), {})


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("box", [(-5, -7, 120, 90), (-1, -1, 102, 52), (0, 0, 150, 50)])
def test_objects_larger_than_the_photo_are_clipped_to_it_and_told(tmp_path, caplog, make, box):
    found = load(tmp_path, make, [box])
    assert [r.boxes.tolist() for r in found] == [[[0, 0, 99, 49]]] * 2
    assert "clipped 2 of 2 boxes, which extend beyond the image" in caplog.text


@pytest.mark.parametrize("make", MAKERS)
def test_a_single_photo_is_read_but_not_divided(tmp_path, monkeypatch, make):
    monkeypatch.setattr("tests.data.test_degenerate.NAMES", ("a",))
    assert [len(r.boxes) for r in load(tmp_path, make, [(0, 0, 9, 9)])] == [1]
    with pytest.raises(ValueError, match="one image is too few for training and testing; add others"):
        datasets.load(tmp_path, "train")


def test_all_objects_may_be_difficult(tmp_path):
    coco(tmp_path, [(0, 0, 9, 9)])
    content = json.loads((tmp_path / "boxes.json").read_text())
    for entry in content["annotations"]:
        entry["iscrowd"] = 1
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    assert [r.difficult.tolist() for r in datasets.load(tmp_path, "all")] == [[True], [True]]


def test_a_class_with_one_object_is_a_class_of_both_parts(tmp_path):
    for i in NAMES:
        photo(tmp_path / f"{i}.png")
    write(tmp_path / "boxes.csv", f"{HEADER}a.png,0,0,9,9,cat\nb.png,0,0,9,9,cat\nb.png,10,0,19,9,dog\n")
    parts = [datasets.load(tmp_path, split) for split in ("train", "test")]
    assert [part.classes for part in parts] == [("cat", "dog")] * 2
    assert sorted(len(part[0].boxes) for part in parts) == [1, 2]


@pytest.mark.parametrize("side", [1_000_001, 1e308, 10**400])
def test_a_size_that_no_photo_has_is_an_error_that_names_the_file(tmp_path, side):
    images = [{"id": 1, "file_name": "a.png", "height": 50, "width": side}]
    content = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": []}
    photo(tmp_path / "a.png")
    write(tmp_path / "boxes.json", json.dumps(content))
    with pytest.raises(ValueError, match=r"boxes\.json.*(more than 1,000,000 pixels|expected)"):
        datasets.load(tmp_path, "all")
