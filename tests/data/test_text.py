"""Text files with a byte-order mark or in UTF-16 are read wherever there are text files."""

import json

import pytest

from data import datasets, voc
from detection.evaluation import results
from proposals import io
from sppnet.cli.execution import read_config
from sppnet.settings import TrainSettings
from tests.data.test_coco import write as write_coco
from tests.data.test_table import HEADER
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import BOX, photo

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]
pytestmark = pytest.mark.parametrize("encoding", ENCODINGS)


def write(path, text, encoding):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def test_coco(tmp_path, encoding):
    root = write_coco(tmp_path, [(1, "a.png")], [(1, 1, [0, 0, 9, 9])], encode=lambda text: text.encode(encoding))
    assert len(datasets.load(root, "all")[0].boxes) == 1


def test_yolo_labels_yaml_and_lists(tmp_path, encoding):
    photo(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", f"{BOX}\n", encoding)
    write(tmp_path / "train.txt", "images/a.png\n", encoding)
    write(tmp_path / "data.yaml", "train: train.txt\nnames: [cat]\n", encoding)
    found = datasets.load(tmp_path, "all")
    assert (found.classes, found[0].labels.tolist()) == (("cat",), [0])


def test_yolo_class_lists(tmp_path, encoding):
    photo(tmp_path / "a.png")
    write(tmp_path / "a.txt", f"{BOX}\n", encoding)
    write(tmp_path / "classes.txt", "cat\ndog\n", encoding)
    assert datasets.load(tmp_path, "all").classes == ("cat", "dog")


def test_csv(tmp_path, encoding):
    photo(tmp_path / "a.png")
    write(tmp_path / "boxes.csv", f"{HEADER}a.png,0,0,9,9,cat\n", encoding)
    assert len(datasets.load(tmp_path, "all")[0].boxes) == 1


@pytest.mark.parametrize("lists", [True, False])
def test_voc_annotations_and_lists(tmp_path, encoding, lists):
    root = write_voc(tmp_path, {"a": xml(obj())})
    write(root / "Annotations" / "a.xml", f'<?xml version="1.0"?>\n{xml(obj())}', encoding)
    if lists:
        write(root / "ImageSets" / "Main" / "trainval.txt", "a\n", encoding)
        assert [r.id for r in voc.load(root)] == ["a"]
    else:
        (root / "ImageSets" / "Main" / "trainval.txt").unlink()
        assert [len(r.boxes) for r in datasets.load(root, "all")] == [1]


def test_result_files(tmp_path, encoding):
    write(tmp_path / "comp4_det_test_cat.txt", "a 0.5 1 1 10 10\n", encoding)
    assert results.read_comp4(tmp_path, ("cat",), "test")["a"].boxes.tolist() == [[0, 0, 9, 9]]


def test_boxes_in_json(tmp_path, encoding):
    path = write(tmp_path / "boxes.json", json.dumps({"a": [[0, 0, 9, 9]]}), encoding)
    assert io.load(path)[0]["a"].tolist() == [[0, 0, 9, 9]]


def test_settings(tmp_path, encoding):
    path = write(tmp_path / "train.yaml", "scales: [480]\n", encoding)
    assert read_config(path, TrainSettings) == {"scales": [480]}
