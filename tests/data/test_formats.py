"""The same data set written as COCO, YOLO and CSV gives the same records as in VOC layout."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from data import coco, datasets, files, minivoc, table, voc, yolo

CLASSES = ("car", "cat", "fish", "house", "teapot", "umbrella")


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("voc") / "minivoc", 3, 2, seed=0)


def records_of(devkit, split):
    return voc.load(devkit, None, split, classes=CLASSES)


def write_coco(devkit, root, style):
    for split in ("trainval", "test"):
        found = records_of(devkit, split)
        folder = {"original": root / split, "roboflow": root / split, "flat": root / "images"}[style]
        folder.mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for i, r in enumerate(found, 1):
            shutil.copy(r.path, folder)
            images.append({"id": i, "file_name": r.path.name, "height": r.size[0], "width": r.size[1]})
            for box, label, crowd in zip(r.boxes.tolist(), r.labels.tolist(), r.difficult.tolist(), strict=True):
                xywh = [box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1]
                annotations.append({"image_id": i, "bbox": xywh, "category_id": 10 + label, "iscrowd": int(crowd)})
        categories = [{"id": 10 + k, "name": name} for k, name in enumerate(found.classes)]
        file = {
            "original": root / "annotations" / f"instances_{split}.json",
            "roboflow": folder / "_annotations.coco.json",
            "flat": root / f"{split}.json",
        }[style]
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return root


def write_yolo(devkit, root, style):
    for split in ("trainval", "test"):
        found = records_of(devkit, split)
        images, labels = (
            root.joinpath(*((kind, split) if style != "roboflow" else (split, kind))) for kind in ("images", "labels")
        )
        for folder in (images, labels):
            folder.mkdir(parents=True, exist_ok=True)
        for r in found:
            shutil.copy(r.path, images)
            (h, w), rows = r.size, []
            for (x0, y0, x1, y1), k in zip(r.boxes.astype(float).tolist(), r.labels.tolist(), strict=True):
                bw, bh = x1 - x0 + 1, y1 - y0 + 1
                rows.append(f"{k} {(x0 + bw / 2) / w:.6f} {(y0 + bh / 2) / h:.6f} {bw / w:.6f} {bh / h:.6f}\n")
            (labels / f"{r.path.stem}.txt").write_text("".join(rows))
    names = list(records_of(devkit, "trainval").classes)
    if style == "ultralytics":
        text = json.dumps(
            {"path": ".", "train": "images/trainval", "test": "images/test", "names": dict(enumerate(names))}
        )
        (root / "data.yaml").write_text(text)
    elif style == "roboflow":
        (root / "data.yaml").write_text(
            json.dumps({"train": "../trainval/images", "test": "../test/images", "nc": 6, "names": names})
        )
    else:
        (root / "classes.txt").write_text("\n".join(names))
    return root


def write_csv(devkit, root, style):
    (root / "images").mkdir(parents=True)
    rows = {"trainval": [], "test": []}
    for split, lines in rows.items():
        found = records_of(devkit, split)
        for r in found:
            shutil.copy(r.path, root / "images")
            for box, k in zip(r.boxes.tolist(), r.labels.tolist(), strict=True):
                lines.append([r.path.name, *box, found.classes[k]])
            if not len(r.boxes):
                lines.append([r.path.name, "", "", "", "", ""])
    header = ["filename", "xmin", "ymin", "xmax", "ymax", "class"]
    if style == "files":
        for split, lines in rows.items():
            write_rows(root / f"{split}.csv", [header, *lines])
    elif style == "column":
        header = ["split", "class", "x1", "y1", "x2", "y2", "Image"]
        lines = [[split, *(line[i] for i in (5, 1, 2, 3, 4, 0))] for split, lines in rows.items() for line in lines]
        write_rows(root / "boxes.csv", [header, *lines])
    else:
        for split, lines in rows.items():
            write_rows(root / f"{split}.csv", lines)
    return root


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


WRITTEN = [
    (write_coco, "original", ("trainval", "test")),
    (write_coco, "roboflow", ("trainval", "test")),
    (write_coco, "flat", ("trainval", "test")),
    (write_yolo, "ultralytics", ("train", "test")),
    (write_yolo, "roboflow", ("train", "test")),
    (write_yolo, "folders", ("trainval", "test")),
    (write_csv, "files", ("trainval", "test")),
    (write_csv, "column", ("trainval", "test")),
    (write_csv, "no header", ("trainval", "test")),
]


@pytest.mark.parametrize(("write", "style", "splits"), WRITTEN, ids=[f"{w.__name__}-{s}" for w, s, _ in WRITTEN])
def test_every_format_gives_the_records_of_voc(write, style, splits, devkit, tmp_path):
    root = write(devkit, tmp_path / "set", style)
    assert sorted(datasets.splits(root)) == sorted(splits)
    for split, original in zip(splits, ("trainval", "test"), strict=True):
        expected = records_of(devkit, original)
        found = datasets.load(root, split, classes=expected.classes)
        assert found.classes == expected.classes
        by_id = {r.id: r for r in found}
        assert by_id.keys() == {r.id for r in expected}
        for r in expected:
            mine = by_id[r.id]
            assert mine.size == r.size
            assert mine.labels.tolist() == r.labels.tolist()
            np.testing.assert_allclose(mine.boxes, r.boxes, atol=0.011)
            assert mine.path.read_bytes() == r.path.read_bytes()
            if write is write_coco:
                assert mine.difficult.tolist() == r.difficult.tolist()


def test_class_names_come_from_the_data_set(devkit, tmp_path):
    names = records_of(devkit, "trainval").classes
    assert datasets.load(write_coco(devkit, tmp_path / "c", "flat"), "test").classes == names
    assert datasets.load(write_yolo(devkit, tmp_path / "y", "folders"), "test").classes == names
    occurring = {n for r in records_of(devkit, "test") for n in np.array(names)[r.labels]}
    assert datasets.load(write_csv(devkit, tmp_path / "t", "files"), "test").classes == tuple(sorted(occurring))


def test_data_without_splits_has_the_split_all(devkit, tmp_path):
    root = write_coco(devkit, tmp_path / "c", "flat")
    (root / "test.json").unlink()
    assert datasets.splits(root) == ("all", "train", "test")
    assert datasets.usual(root) == ("train", "test")
    assert len(datasets.load(root, "all")) == 3
    assert len(datasets.load(root / "trainval.json", "all")) == 3
    flat = write_yolo(devkit, tmp_path / "y", "folders")
    for kind in ("images", "labels"):
        for file in (flat / kind / "trainval").iterdir():
            file.rename(flat / kind / file.name)
        shutil.rmtree(flat / kind / "trainval")
        shutil.rmtree(flat / kind / "test")
    assert datasets.splits(flat) == ("all", "train", "test")
    assert len(datasets.load(flat, "all")) == 3
    assert datasets.splits(devkit) == ("test", "trainval")


def test_yolo_reads_polygons_and_images_without_labels(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "a b.png")
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "none.png")
    (tmp_path / "labels" / "a b.txt").write_text("1 0.1 0.2 0.5 0.2 0.3 0.8\n")
    found = yolo.load(tmp_path, "all")
    assert [r.id for r in found] == ["a_b", "none"]
    assert found.classes == ("1",)
    assert found[0].boxes.tolist() == [[10, 10, 49, 39]]
    assert len(found[1].boxes) == 0


def test_ids_of_images_with_the_same_name_include_their_folders(tmp_path):
    paths = [tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg", tmp_path / "b" / "2.jpg"]
    assert list(files.ids_of(paths)) == ["a-1", "b-1", "b-2"]
    assert list(files.ids_of(paths[1:])) == ["1", "2"]
    with pytest.raises(ValueError, match="would both have the id 1; rename one"):
        files.ids_of([tmp_path / "1.jpg", tmp_path / "1.png"])


def spoil(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


FAULTS = [
    (
        write_coco,
        "flat",
        ("test.json", '"image_id"', '"image"'),
        "one of annotations is without image_id or category_id",
    ),
    (write_coco, "flat", ("test.json", '"category_id": 1', '"category_id": 9'), "has category 9"),
    (write_coco, "flat", ("test.json", '.jpg"', '.gone"'), "image is missing"),
    (write_coco, "original", ("annotations/instances_test.json", "{", "["), "not valid JSON"),
    (write_yolo, "folders", "7 0.5 0.5 0.1 0.1", "class 7, expected 0 to 5"),
    (write_yolo, "folders", "0 0.5 0.5 0.1", "has 4 columns"),
    (write_yolo, "folders", "0 0.5 nan 0.1 0.1", "'nan', expected a finite number"),
    (write_yolo, "ultralytics", ("data.yaml", "images/test", "gone"), "no such folder or list"),
    (write_yolo, "ultralytics", ("data.yaml", "}", ""), "not valid YAML"),
    (write_yolo, "ultralytics", ("data.yaml", '"names"', '"nam"'), "expected names"),
    (write_csv, "files", ("test.csv", "ymax", "why"), "no column for y1"),
    (write_csv, "files", ("test.csv", ".0,", ".x,"), "a coordinate is"),
    (write_csv, "files", ("test.csv", ".jpg", ".gone"), "image is missing"),
]


@pytest.mark.parametrize(("write", "style", "fault", "message"), FAULTS, ids=[m for *_, m in FAULTS])
def test_errors_name_the_problem_and_the_data_set(write, style, fault, message, devkit, tmp_path):
    root = write(devkit, tmp_path / "set", style)
    spoil_labels(root, fault) if isinstance(fault, str) else spoil(root / fault[0], *fault[1:])
    with pytest.raises((ValueError, OSError), match=message) as error:
        datasets.load(root, "test")
    assert str(root) in str(error.value)


def spoil_labels(root, line):
    sorted((root / "labels" / "test").glob("*.txt"))[0].write_text(line)


def test_bad_images_can_be_skipped(devkit, tmp_path):
    root = write_yolo(devkit, tmp_path / "set", "folders")
    spoil_labels(root, "99 0.5 0.5 0.1 0.1")
    found = datasets.load(root, "test", skip_bad=True)
    assert len(found) == 1
    assert len(found.bad) == 1


def test_errors_describe_the_known_formats_and_splits(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a data set of a known format; expected VOC"):
        datasets.splits(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such data set"):
        datasets.load(tmp_path / "none", "train")
    (tmp_path / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax,class\n")
    (tmp_path / "other.json").write_text('{"a": 1}')
    assert coco.splits(tmp_path) == {}
    with pytest.raises(FileNotFoundError, match="no split valid; this CSV data set has all, train, test"):
        datasets.load(tmp_path, "valid")
    with pytest.raises(ValueError, match="no rows for split all"):
        datasets.load(tmp_path, "all")
    assert table.splits(tmp_path)


def test_data_without_splits_is_split_by_the_content_of_the_photos(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for i in range(60):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(tmp_path / "images" / f"{i}.png")
        (tmp_path / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    train, test, whole = ({r.id for r in datasets.load(tmp_path, s)} for s in ("train", "test", "all"))
    assert train | test == whole
    assert not train & test
    assert 6 <= len(test) <= 18
    for i in range(30):
        (tmp_path / "images" / f"{i}.png").unlink()
    assert {r.id for r in datasets.load(tmp_path, "test")} == {i for i in test if int(i) >= 30}


def test_the_usual_splits_are_found_or_the_error_asks_for_them(devkit, tmp_path):
    assert datasets.usual(devkit) == ("trainval", "test")
    root = write_yolo(devkit, tmp_path / "set", "folders")
    for kind in ("images", "labels"):
        (root / kind / "test").rename(root / kind / "valid")
    assert datasets.usual(root) == ("trainval", "valid")
    for kind in ("images", "labels"):
        (root / kind / "trainval").rename(root / kind / "learn")
    with pytest.raises(ValueError, match="has splits learn, valid; choose the train split with --train-split"):
        datasets.usual(root)
    for kind in ("images", "labels"):
        (root / kind / "learn").rename(root / kind / "train")
        (root / kind / "valid").rename(root / kind / "rest")
    with pytest.raises(ValueError, match="choose the test split with --test-split or --split"):
        datasets.usual(root)
