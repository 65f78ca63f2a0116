"""The format of a json file is known by its keys, however large it is and in whatever order they come."""

import json
import os

import pytest

from data import coco_file, json_files
from data.json_files import COCO, DAMAGED, LABEL_STUDIO, LABELME, OTHER, VIA, format_of
from tests.data import tools
from tests.data.test_yolo import write

MANY = 3000


def coco():
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 50, "width": 100} for i in range(MANY)]
    annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 9, 9]} for i in range(MANY)]
    return {"info": {"note": "n" * 99}, "images": images, "annotations": annotations, "categories": []}


def labelme():
    shapes = [tools.labelme_shape("cat", "rectangle", [[1, 1], [9, 9]]) for _ in range(MANY)]
    return {"version": "5", "shapes": shapes, "imagePath": "a.png", "imageData": "A" * 500_000, "imageHeight": 50}


def label_studio():
    return [tools.task(i, f"{i}.png", [tools.region("cat", 1, 1, 9, 9)]) for i in range(MANY)]


def label_studio_min():
    return [tools.task_min(i, f"{i}.png", [tools.region("cat", 1, 1, 9, 9)]) for i in range(MANY)]


def via():
    regions = [tools.via_region(tools.rect(1, 1, 9, 9), kind="cat")]
    return {f"{i}.png1": {"filename": f"{i}.png", "size": 1, "regions": regions} for i in range(MANY)}


MAKERS = [(coco, COCO), (labelme, LABELME), (label_studio, LABEL_STUDIO), (label_studio_min, LABEL_STUDIO), (via, VIA)]


@pytest.mark.parametrize(("make", "found"), MAKERS, ids=[m.__name__ for m, _ in MAKERS])
@pytest.mark.parametrize("sort_keys", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_large_files_are_known_with_keys_in_any_order(tmp_path, make, found, sort_keys, encoding):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(make(), sort_keys=sort_keys), encoding)
    assert path.stat().st_size > 1 << 17
    assert format_of(path) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", OTHER),
        ("{}", OTHER),
        ("[5]", OTHER),
        ("5", OTHER),
        ('{"shapes": []}', OTHER),
        ('{"images": [], "annotations": []}', OTHER),
        ('[{"id": 1, "data": {}}]', OTHER),
        ('{"a": {"filename": "a.png"}}', OTHER),
        ('{"shapes": 5, "imagePath": 5}', LABELME),
        ('{"shapes": 5, "imagePath": 5, "images": [], "annotations": [], "categories": []}', COCO),
        ('{"_via_img_metadata": {}}', VIA),
        ("{", DAMAGED),
        ("", DAMAGED),
        ("[" * 100_000, DAMAGED),
    ],
)
def test_small_files_are_known_by_the_keys_that_a_format_needs(tmp_path, text, found):
    assert format_of(write(tmp_path / "a.json", text)) == found


def test_a_file_is_parsed_again_only_after_a_change(tmp_path, monkeypatch):
    path = write(tmp_path / "a.json", json.dumps(labelme()))
    assert format_of(path) == LABELME
    parsed = []
    load = json_files.load_json
    monkeypatch.setattr(json_files, "load_json", lambda p: parsed.append(p) or load(p))
    assert format_of(path) == LABELME
    assert not parsed
    path.write_text("[]")
    os.utime(path, (1, 1))
    assert format_of(path) == OTHER
    assert len(parsed) == 1


def test_a_missing_file_is_damaged(tmp_path):
    assert format_of(tmp_path / "absent.json") == DAMAGED


@pytest.mark.parametrize("text", ['{"images": ' + "[" * 100_000, '{"images": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("read", [json_files.load_json, coco_file.read])
def test_deep_nesting_and_endless_numbers_name_the_file(tmp_path, text, read):
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
        read(write(tmp_path / "a.json", text))
