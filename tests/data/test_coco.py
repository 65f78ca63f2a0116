"""COCO files that contradict themselves or the photos."""

import codecs
import json
import math
import re

import numpy as np
import pytest
from pycocotools import mask

from data import coco, datasets
from data.annotation import SWAPPED, TWICE
from data.coco_file import GROUPS, MERGED
from tests.data.test_yolo import photo


def write(root, images, annotations, categories=((1, "cat"), (2, "dog")), encode=str.encode):
    """Write boxes.json: (id, file) of images, (image id, category id, box) of annotations or dicts."""
    for _, file in images:
        photo(root / file)
    content = {
        "images": [{"id": i, "file_name": file, "width": 100, "height": 50} for i, file in images],
        "annotations": [
            a if isinstance(a, dict) else {"id": n, "image_id": a[0], "category_id": a[1], "bbox": a[2]}
            for n, a in enumerate(annotations)
        ],
        "categories": [{"id": i, "name": name} for i, name in categories],
    }
    (root / "boxes.json").write_bytes(encode(json.dumps(content)))
    return root


A, B = [0, 0, 10, 10], [20, 20, 10, 10]


def test_a_photo_listed_under_two_ids_has_the_objects_of_both(tmp_path, caplog):
    images = [(1, "a.png"), (2, "b.png"), (7, "./a.png")]
    found = coco.load(write(tmp_path, images, [(1, 1, A), (7, 2, B), (7, 1, A), (2, 1, B)]), "all")
    first, second = found
    assert [first.id, second.id] == ["a", "b"]
    assert first.boxes.tolist() == [[0, 0, 9, 9], [20, 20, 29, 29]]
    assert first.labels.tolist() == [0, 1]
    assert len(second.boxes) == 1
    assert "photos listed more than once, used once: 1; a: ids 1, 7" in caplog.text


def test_a_photo_listed_twice_with_two_sizes_is_refused(tmp_path):
    path = write(tmp_path, [(1, "a.png"), (7, "a.png")], [(1, 1, A)]) / "boxes.json"
    path.write_text(path.read_text().replace('"width": 100', '"width": 90', 1))
    with pytest.raises(ValueError, match=r"a\.png: is listed 2 times, with sizes \(50, 90\) and \(50, 100\)"):
        coco.load(tmp_path, "all")


@pytest.mark.parametrize(
    ("images", "categories"),
    [([(1, "a.png"), (1, "b.png")], [(1, "cat")]), ([(1, "a.png")], [(3, "cat"), (3, "dog")])],
)
def test_one_id_for_two_things_is_refused(tmp_path, images, categories):
    with pytest.raises(ValueError, match=r"boxes\.json: .* have the same id"):
        coco.load(write(tmp_path, images, [], categories), "all")


@pytest.mark.parametrize("name", [" ", "", [], None, True])
def test_a_category_without_a_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"boxes\.json: .*category 3"):
        coco.load(write(tmp_path, [(1, "a.png")], [(1, 1, A)], [(1, "cat"), (3, name)]), "all")


def test_spaces_around_names_of_categories_do_not_count(tmp_path):
    found = coco.load(write(tmp_path, [(1, "a.png")], [(1, 1, A), (1, 3, B)], [(1, "cat "), (3, 7)]), "all")
    assert found.classes == ("cat", "7")


def test_annotations_without_a_photo_are_counted_and_named(tmp_path, caplog):
    found = coco.load(write(tmp_path, [(1, "a.png")], [(1, 1, A), (9, 1, A)]), "all")
    assert len(found[0].boxes) == 1
    assert found.notes == {"labels without a photo": (f"{tmp_path / 'boxes.json'}: annotation 1 of image 9",)}
    assert "labels without a photo: 1" in caplog.text


@pytest.mark.parametrize(
    ("flag", "difficult"),
    [(0, False), (1, True), ("0", False), ("1", True), ("false", False), (None, False), (True, True)],
)
def test_flags_may_be_numbers_or_words(tmp_path, flag, difficult):
    annotation = {"image_id": 1, "category_id": 1, "bbox": A, "iscrowd": flag}
    assert coco.load(write(tmp_path, [(1, "a.png")], [annotation]), "all")[0].difficult.tolist() == [difficult]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path, mark):
    encoding = "utf-8" if mark == codecs.BOM_UTF8 else "utf-16-le"
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A)], encode=lambda text: mark + text.encode(encoding))
    assert len(coco.load(root, "all")[0].boxes) == 1


def test_the_photos_of_a_single_file_may_lie_in_the_folder_of_its_name(tmp_path):
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A)])
    (root / "Annotations").mkdir()
    (root / "boxes.json").rename(root / "Annotations" / "instances_train2017.json")
    (root / "Images" / "train2017").mkdir(parents=True)
    (root / "a.png").rename(root / "Images" / "train2017" / "a.png")
    assert coco.load(root, "all")[0].path == root / "Images" / "train2017" / "a.png"


def test_a_missing_first_photo_is_one_missing_photo(tmp_path):
    root = write(tmp_path, [(1, "a.png"), (2, "b.png")], [(1, 1, A), (2, 2, B)])
    (root / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"image is missing: .*a\.png"):
        coco.load(root, "all")
    found = coco.load(root, "all", skip_bad=True)
    assert ([r.id for r in found], list(found.bad)) == (["b"], ["a"])


def change(root, what, entry, **values):
    """Change an entry of boxes.json; None removes a key."""
    content = json.loads((root / "boxes.json").read_text())
    content[what][entry].update(values)
    content[what][entry] = {key: value for key, value in content[what][entry].items() if value is not None}
    (root / "boxes.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("listed", "annotated"), [((1, 2), ("1", "2")), (("1", "2"), (1, 2)), ((1, 2), (1.0, 2.0)), (("01", "02"), (1, 2))]
)
def test_ids_are_the_same_as_text_and_as_numbers(tmp_path, listed, annotated):
    images = list(zip(listed, ("a.png", "b.png"), strict=True))
    boxes = [(annotated[0], "1", A), (annotated[1], "2", B)]
    found = coco.load(write(tmp_path, images, boxes), "all")
    assert [r.boxes.tolist() for r in found] == [[[0, 0, 9, 9]], [[20, 20, 29, 29]]]
    assert [r.labels.tolist() for r in found] == [[0], [1]]
    assert [r.file_id for r in found] == list(listed)


def test_ids_that_a_file_distinguishes_stay_different(tmp_path):
    images = [("1", "a.png"), ("01", "b.png")]
    found = coco.load(write(tmp_path, images, [("01", "7", A)], [("7", "cat"), ("07", "dog")]), "all")
    assert [(r.id, len(r.boxes)) for r in found] == [("a", 0), ("b", 1)]
    assert [found.classes[k] for k in found[1].labels] == ["cat"]


def test_a_file_in_which_most_annotations_match_no_image_is_refused(tmp_path):
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A), (8, 1, A), ("x", 1, A)])
    with pytest.raises(
        ValueError, match=r"boxes\.json: 2 of 3 annotations are of images .* such as annotation 1 of image"
    ):
        coco.load(root, "all")


def test_categories_of_one_name_are_one_class(tmp_path, caplog):
    categories = [(0, "cat"), (3, "dog"), (7, "cat")]
    found = coco.load(write(tmp_path, [(1, "a.png")], [(1, 7, A), (1, 3, B), (1, 0, [5, 5, 5, 5])], categories), "all")
    assert found.classes == ("cat", "dog")
    assert found[0].labels.tolist() == [0, 1, 0]
    assert found.notes == {MERGED: ("cat: ids 0, 7",)}
    assert f"{MERGED}: 1; cat: ids 0, 7" in caplog.text
    assert found.category_ids == (0, 3)
    unused = coco.load(write(tmp_path, [(1, "a.png")], [(1, 7, A)], categories), "all")
    assert unused.category_ids == (7, 3)  # the id that objects have


def test_a_category_that_only_groups_others_is_no_class(tmp_path, caplog):
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A)], [(0, "animals"), (1, "cat"), (2, "dog")])
    for entry in (1, 2):
        change(root, "categories", entry, supercategory="animals")
    change(root, "categories", 0, supercategory="none")
    found = coco.load(root, "all")
    assert found.classes == ("cat", "dog")
    assert found.notes == {GROUPS: ("animals: id 0",)}
    change(root, "annotations", 0, category_id=0)
    assert coco.load(root, "all").classes == ("animals", "cat", "dog")


def test_a_category_in_its_own_supercategory_is_a_class(tmp_path):
    root = write(tmp_path, [(1, "a.png")], [], [(1, "person"), (2, "cat")])
    change(root, "categories", 0, supercategory="person")
    assert coco.load(root, "all").classes == ("person", "cat")


@pytest.mark.parametrize("sides", [(None, None), (0, 0), (100, None), (None, 50)])
def test_a_size_that_is_missing_or_zero_is_that_of_the_photo(tmp_path, sides):
    root = write(tmp_path, [(1, "a.png")], [(1, 1, [90, 0, 50, 10])])
    change(root, "images", 0, width=sides[0], height=sides[1])
    (record,) = coco.load(root, "all")
    assert record.size == (50, 100)
    assert record.boxes.tolist() == [[90, 0, 99, 9]]


MASK = np.zeros((50, 100), np.uint8, order="F")
MASK[10:20, 30:45] = 1
MASK[15:30, 40:60] = 1
BOX = [30, 10, 59, 29]


def uncompressed(pixels):
    flat = pixels.ravel("F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0] * (1 + int(flat[0])), changes, [len(flat)]])
    return {"size": list(pixels.shape), "counts": np.diff(starts).tolist()}


def compressed(pixels):
    runs = mask.encode(pixels)
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


SEGMENTATIONS = {
    "polygon": [[30, 10, 60, 10, 60, 30, 30, 12.5]],
    "two polygons": [[30, 10, 45, 10, 45, 20], [40, 15, 60, 15, 60, 30]],
    "a flat polygon": [30, 10, 60, 10, 60, 30],
    "runs": uncompressed(MASK),
    "compressed runs": compressed(MASK),
}


@pytest.mark.parametrize("kind", SEGMENTATIONS)
@pytest.mark.parametrize("bbox", [None, []])
def test_an_annotation_without_a_box_has_that_of_its_mask(tmp_path, kind, bbox):
    annotation = {"image_id": 1, "category_id": 1, "segmentation": SEGMENTATIONS[kind], "bbox": bbox, "iscrowd": 1}
    (record,) = coco.load(write(tmp_path, [(1, "a.png")], [annotation]), "all")
    assert record.boxes.tolist() == [BOX]
    assert record.difficult.tolist() == [True]


def test_a_box_counts_more_than_a_mask(tmp_path):
    annotation = {"image_id": 1, "category_id": 1, "segmentation": SEGMENTATIONS["polygon"], "bbox": A}
    assert coco.load(write(tmp_path, [(1, "a.png")], [annotation]), "all")[0].boxes.tolist() == [[0, 0, 9, 9]]


@pytest.mark.parametrize(
    "segmentation",
    [
        *(None, [], {}, "mask", [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, "x"]], [[1, 2, 3, 4, 5]]),
        *([[1, 2, 3, 4, 5, 10**400]], [[1, 2, 3, 4, 5, math.nan]], [[1, 2, 3, 4, 5, math.inf]]),
        {"size": [50, 100], "counts": [3, 5]},
        {"size": [50, 100], "counts": [-1, 5001]},
        {"size": [0, 0], "counts": []},
        {"size": [50, 100], "counts": "\x7f~"},
        {"size": [50, 100], "counts": "PPPPPPPPPPPP"},
        {"size": [5, 5], "counts": compressed(MASK)["counts"]},
        {"counts": compressed(MASK)["counts"]},
    ],
)
def test_an_annotation_with_neither_box_nor_mask_is_dropped_and_told(tmp_path, caplog, segmentation):
    annotation = {"image_id": 1, "category_id": 2, "segmentation": segmentation}
    found = coco.load(write(tmp_path, [(1, "a.png")], [annotation, (1, 1, A)]), "all")
    assert found[0].boxes.tolist() == [[0, 0, 9, 9]]
    assert found.dropped == ("a: object 1 (dog) has no bbox and no usable mask",)
    assert "dropped 1 of 2 boxes" in caplog.text


def test_a_mask_without_pixels_is_an_empty_box(tmp_path):
    annotation = {"image_id": 1, "category_id": 1, "segmentation": compressed(np.zeros_like(MASK))}
    found = coco.load(write(tmp_path, [(1, "a.png")], [annotation]), "all")
    assert found.dropped == ("a: object 1 (cat) [0, 0, 0, 0] is empty",)


def test_negative_sides_are_swapped_corners(tmp_path):
    boxes = [[30, 30, -10, -20], [30, 31, -10, 10], [30, 30, 0, 10], [30, 30, 0.5, 10]]
    found = coco.load(write(tmp_path, [(1, "a.png")], [(1, 1, box) for box in boxes]), "all")
    assert found[0].boxes.tolist() == [[20, 10, 29, 29], [20, 31, 29, 40]]
    assert len(found.notes[SWAPPED]) == 2
    assert [remark.endswith("is empty") for remark in found.dropped] == [True, True]


def test_the_same_object_twice_is_one(tmp_path, caplog):
    found = coco.load(write(tmp_path, [(1, "a.png")], [(1, 1, A), (1, 1, A), (1, 2, A)]), "all")
    assert found[0].labels.tolist() == [0, 1]
    assert found.notes == {TWICE: ("a: object 2 (cat) [0, 0, 10, 10]",)}
    assert "objects labelled twice, used once: 1; a: object 2" in caplog.text


def test_the_json_file_itself_may_be_named(tmp_path):
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A)])
    (root / "annotations").mkdir()
    (root / "train2017").mkdir()
    (root / "boxes.json").rename(root / "annotations" / "instances_train2017.json")
    (root / "a.png").rename(root / "train2017" / "a.png")
    assert len(datasets.load(root / "annotations" / "instances_train2017.json", "all")) == 1


def without(key):
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != key})


SPOILT = {
    "no annotations": (without("annotations"), "has no list annotations"),
    "no images": (without("images"), "has no list images"),
    "an empty list": (lambda text: "[]", "the content is [], expected an object"),
    "an empty object": (lambda text: "{}", "has no list images"),
    "null": (
        lambda text: json.dumps({**json.loads(text), "annotations": None}),
        "annotations is None, expected a list",
    ),
    "cut off": (lambda text: text[:-40], "not valid JSON"),
    "empty": (lambda text: "", "not valid JSON"),
}


@pytest.mark.parametrize("name", ["train.json", "instances_train2017.json", "instances_rest.json"])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_list_beside_a_good_one_is_named_and_the_good_one_is_not_divided(tmp_path, spoilt, name):
    for file in (name, "val.json"):
        write(tmp_path, [(i, f"{i}.png") for i in range(9)], [(1, 1, A)])
        (tmp_path / "boxes.json").rename(tmp_path / file)
    spoil, message = SPOILT[spoilt]
    (tmp_path / name).write_text(spoil((tmp_path / name).read_text()))
    split = name.removeprefix("instances_").removesuffix(".json")
    assert set(datasets.splits(tmp_path)) == {split, "val"}
    assert len(datasets.load(tmp_path, "val")) == 9
    with pytest.raises(ValueError, match=rf"{name}: .*{re.escape(message)}"):
        datasets.load(tmp_path, split)


def test_other_json_files_beside_a_list_are_not_taken_for_lists(tmp_path):
    write(tmp_path, [(i, f"{i}.png") for i in range(9)], [(1, 1, A)])
    for name in ("info", "captions_train2017", "licenses"):
        (tmp_path / f"{name}.json").write_text("[]")
    assert datasets.splits(tmp_path) == ("all", "train", "test")


@pytest.mark.parametrize(
    ("what", "values", "message"),
    [
        ("images", {"file_name": []}, r"file_name is \[\], expected text"),
        ("images", {"file_name": 7}, "file_name is 7, expected text"),
        ("images", {"id": [1]}, r"an id in images is \[1\], expected a number or text"),
        ("categories", {"id": {}}, r"an id in categories is {}, expected a number or text"),
        ("categories", {"name": ["cat"]}, r"category 1: the class is \['cat'\]"),
    ],
)
def test_names_and_ids_of_another_type_are_named(tmp_path, what, values, message):
    root = write(tmp_path, [(1, "a.png"), (2, "b.png")], [(2, 2, A)])
    change(root, what, 0, **values)
    with pytest.raises(
        ValueError, match=rf"boxes\.json: not a detection data set in COCO format \({message}\); export"
    ):
        datasets.load(root, "all")


@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_annotations_whose_ids_are_lists_are_of_nothing_in_the_file(tmp_path, key):
    root = write(tmp_path, [(1, "a.png")], [(1, 1, A), (1, 1, A)])
    change(root, "annotations", 0, **{key: [1]})
    if key == "image_id":
        assert list(datasets.load(root, "all").notes) == ["labels without a photo"]
    else:
        with pytest.raises(ValueError, match=r"has category \[1\], which the file does not define"):
            datasets.load(root, "all")
