"""LabelMe files: shapes, photos in other places, and faults."""

import base64
import codecs
import json

import pytest

from data import coco, datasets, labelme
from data.annotation import REPEATED, UNLABELLED
from data.shapes import NO_BOXES
from tests.data.test_yolo import BOX, photo, write
from tests.data.tools import labelme as write_labelme
from tests.data.tools import labelme_shape

BOXED = ("cat", "rectangle", [[10, 5], [30, 25]])


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        ("rectangle", [[10, 5], [30, 25]], [10, 5, 29, 24]),
        ("rectangle", [[30, 25], [10, 5]], [10, 5, 29, 24]),
        ("rectangle", [[30, 5], [10, 25]], [10, 5, 29, 24]),
        ("rectangle", [[10, 5], [30, 5], [30, 25], [10, 25]], [10, 5, 29, 24]),
        ("rotation", [[20, 5], [30, 15], [20, 25], [10, 15]], [10, 5, 29, 24]),
        ("oriented_rectangle", [[20, 5], [30, 15], [20, 25], [10, 15]], [10, 5, 29, 24]),
        ("polygon", [[10.5, 5], [30, 12.25], [12, 25]], [10.5, 5, 29, 24]),
        (None, [[10, 5], [30, 12], [12, 25]], [10, 5, 29, 24]),
        ("circle", [[20, 20], [26, 28]], [10, 10, 29, 29]),
        ("mask", [[10, 5], [29, 24]], [10, 5, 29, 24]),
    ],
)
def test_every_shape_with_an_area_is_the_box_around_it(tmp_path, kind, points, box):
    write_labelme(tmp_path / "a.json", [("cat", kind, points)])
    (record,) = labelme.load(tmp_path, "all")
    assert record.boxes.tolist() == [box]
    assert record.size == (50, 100)
    assert record.path == tmp_path / "a.png"


def test_shapes_without_area_and_unknown_shapes_are_left_out_and_named(tmp_path, caplog):
    shapes = [
        ("eye", "point", [[3, 3]]),
        ("road", "linestrip", [[3, 3], [9, 9]]),
        ("soul", "tesseract", [[3, 3], [9, 9]]),
        ("odd", 7, 7),
        BOXED,
        ("dot", "rectangle", [[3, 3], [3, 9]]),
    ]
    write_labelme(tmp_path / "a.json", shapes)
    found = labelme.load(tmp_path, "all")
    assert found.classes == ("cat",)
    names = ["shape 1 (eye): point", "shape 2 (road): linestrip", "shape 3 (soul): tesseract", "shape 4 (odd): 7"]
    assert found.notes == {NO_BOXES: tuple(f"a: {name}" for name in names)}
    assert found.dropped == ("a: object 2 (dot) [3, 3, 3, 9] has no area",)
    assert "shapes that are no boxes, left out: 4" in caplog.text


@pytest.mark.parametrize(
    ("extra", "difficult"),
    [({}, False), ({"difficult": True}, True), ({"difficult": False}, False), ({"flags": {"difficult": True}}, True)],
)
def test_the_flag_difficult_is_read(tmp_path, extra, difficult):
    write_labelme(tmp_path / "a.json", [labelme_shape("cat", "rectangle", [[1, 1], [9, 9]]) | extra])
    assert labelme.load(tmp_path, "all")[0].difficult.tolist() == [difficult]


def test_a_photo_without_shapes_is_background_and_one_without_a_file_is_left_out(tmp_path):
    write_labelme(tmp_path / "a.json", [])
    write_labelme(tmp_path / "b.json", [BOXED])
    photo(tmp_path / "c.png")
    found = labelme.load(tmp_path, "all")
    assert [(r.id, r.boxes.shape) for r in found] == [("a", (0, 4)), ("b", (1, 4))]
    assert found.notes == {UNLABELLED: (str(tmp_path / "c.png"),)}


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path, mark):
    path = write_labelme(tmp_path / "a.json", [BOXED])
    encoding = "utf-8" if mark == codecs.BOM_UTF8 else "utf-16-le"
    path.write_bytes(mark + path.read_text().encode(encoding))
    assert len(datasets.load(tmp_path, "all")[0].boxes) == 1


@pytest.mark.parametrize(
    ("label", "stated", "at"),
    [
        ("a.json", r"C:\Users\me\photos\a.png", "a.png"),
        ("labels/a.json", r"..\photos\a.png", "photos/a.png"),
        ("labels/a.json", "../photos/a.png", "photos/a.png"),
        ("labels/a.json", "/home/me/set/photos/a.png", "photos/a.png"),
        ("labels/x/a.json", "a.png", "photos/x/a.png"),
        ("a.json", "b.bmp", "a.png"),
        ("a.json", "", "a.png"),
    ],
)
def test_the_photo_is_found_by_the_tail_of_its_name_or_beside_the_file(tmp_path, label, stated, at):
    write_labelme(tmp_path / label, [BOXED], stated, make_photo=False)
    photo(tmp_path / at)
    assert labelme.load(tmp_path, "all")[0].path == tmp_path / at


def test_the_longest_tail_decides_between_photos_of_one_name(tmp_path):
    for folder in ("one", "two"):
        photo(tmp_path / folder / "a.png", (100, 50 if folder == "one" else 51))
        write_labelme(tmp_path / "json" / f"{folder}.json", [BOXED], rf"D:\set\{folder}\a.png", make_photo=False)
    found = labelme.load(tmp_path, "all")
    assert {r.path for r in found} == {tmp_path / "one" / "a.png", tmp_path / "two" / "a.png"}
    assert sorted(r.id for r in found) == ["one-a", "two-a"]


def test_photos_that_cannot_be_told_apart_are_refused_unless_they_are_the_same(tmp_path):
    write_labelme(tmp_path / "json" / "a.json", [BOXED], make_photo=False)
    photo(tmp_path / "one" / "a.png")
    photo(tmp_path / "two" / "a.png")
    assert labelme.load(tmp_path, "all")[0].path == tmp_path / "one" / "a.png"
    photo(tmp_path / "two" / "a.png", (100, 51))
    with pytest.raises(ValueError, match=r"a\.json: a\.png can be .*one/a\.png or .*two/a\.png; rename one"):
        labelme.load(tmp_path, "all")


def test_labels_in_several_folders_are_one_set(tmp_path):
    for folder in ("one", "two"):
        write_labelme(tmp_path / folder / "a.json", [BOXED])
    found = datasets.load(tmp_path, "all")
    assert [(r.id, r.path.parent.name) for r in found] == [("one-a", "one"), ("two-a", "two")]


@pytest.mark.parametrize("place", ["{}", "labels/{}", "{}/labels"])
def test_folders_called_like_splits_are_splits(tmp_path, place):
    for split in ("Train", "val"):
        write_labelme(tmp_path / place.format(split) / f"{split}.json", [BOXED])
    write_labelme(tmp_path / "stray.json", [BOXED])
    assert set(datasets.splits(tmp_path)) == {"Train", "val"}
    found = datasets.load(tmp_path, "Train")
    assert [r.id for r in found] == ["Train"]
    assert list(found.notes.values()) == [(str(tmp_path / "stray.json"),)]


def test_a_single_file_is_a_data_set_of_one_photo(tmp_path):
    path = write_labelme(tmp_path / "a.json", [BOXED])
    write_labelme(tmp_path / "b.json", [BOXED])
    assert [r.id for r in datasets.load(path, "all")] == ["a"]
    with pytest.raises(ValueError, match="one image is too few"):
        datasets.load(path, "train")


def test_two_files_of_one_photo_are_put_together(tmp_path):
    write_labelme(tmp_path / "a.json", [BOXED])
    write_labelme(tmp_path / "copy.json", [BOXED, ("dog", "rectangle", [[50, 5], [60, 15]])], "a.png")
    found = labelme.load(tmp_path, "all")
    assert found[0].boxes.tolist() == [[10, 5, 29, 24], [50, 5, 59, 14]]
    assert len(found) == 1
    assert REPEATED in found.notes


def test_a_missing_photo_that_the_file_embeds_is_asked_for(tmp_path):
    path = write_labelme(tmp_path / "a.json", [BOXED], imageData=base64.b64encode(b"photo").decode())
    assert labelme.load(tmp_path, "all")[0].id == "a"
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.json: the photo a\.png is missing, but is embedded in this file; export"):
        labelme.load(path, "all")


def test_a_label_without_a_photo_is_one_missing_photo(tmp_path):
    write_labelme(tmp_path / "a.json", [BOXED], make_photo=False)
    write_labelme(tmp_path / "b.json", [BOXED])
    with pytest.raises(FileNotFoundError, match=r"image is missing: a\.png of .*a\.json; looked in"):
        labelme.load(tmp_path, "all")
    found = labelme.load(tmp_path, "all", skip_bad=True)
    assert ([r.id for r in found], list(found.bad)) == (["b"], ["a"])


def test_a_missing_size_is_that_of_the_photo(tmp_path):
    write_labelme(tmp_path / "a.json", [BOXED], imageHeight=None, imageWidth=None)
    assert labelme.load(tmp_path, "all")[0].size == (50, 100)


FAULTS = [
    ({"shapes": 5}, "shapes is 5, expected a list"),
    ({"shapes": [5]}, "shape 1 is 5, expected an object"),
    ({"shapes": [{"points": [[1, 1], [2, 2]]}]}, "shape 1 has no class"),
    ({"shapes": [labelme_shape(["a"], "rectangle", [[1, 1], [2, 2]])]}, "shape 1: the class is "),
    (
        {"shapes": [labelme_shape("cat", "rectangle", "a")]},
        r"shape 1 \(cat\): points is 'a', expected a list of points",
    ),
    ({"shapes": [labelme_shape("cat", "rectangle", [])]}, r"points is \[\], expected"),
    ({"shapes": [labelme_shape("cat", "rectangle", [[1, 2, 3]])]}, r"points is \[\[1, 2, 3\]\], expected"),
    ({"shapes": [labelme_shape("cat", "rectangle", [[1, "x"], [2, 2]])]}, "points: y is 'x', expected a finite number"),
    ({"shapes": [labelme_shape("cat", "rectangle", [[1, 10**400], [2, 2]])]}, "expected a finite number"),
    ({"shapes": [labelme_shape("cat", "circle", [[1, 2]])]}, "a circle of 1 points"),
    ({"imageHeight": "tall"}, "the height is 'tall'"),
    ({"imageHeight": 0}, "the size is 100x0"),
    ({"imageHeight": 2.5}, "the size is 100x2.5"),
]


@pytest.mark.parametrize(("extra", "message"), FAULTS, ids=[m for _, m in FAULTS])
def test_a_damaged_value_is_named_with_its_file(tmp_path, extra, message):
    write_labelme(tmp_path / "a.json", [BOXED], **extra)
    write_labelme(tmp_path / "b.json", [BOXED])
    with pytest.raises(ValueError, match=rf"a\.json.*{message}") as error:
        datasets.load(tmp_path, "all")
    assert "\n" not in str(error.value)
    assert [r.id for r in datasets.load(tmp_path, "all", skip_bad=True)] == ["b"]


def test_a_file_that_is_no_json_is_named(tmp_path):
    write_labelme(tmp_path / "b.json", [BOXED])
    path = write_labelme(tmp_path / "a.json", [BOXED])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
        datasets.load(tmp_path, "all")
    for damaged in (path, tmp_path):
        (tmp_path / "b.json").unlink(missing_ok=True)
        with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
            datasets.splits(damaged)


def test_other_json_files_are_left_out_and_named(tmp_path):
    write_labelme(tmp_path / "b.json", [BOXED])
    other = write(tmp_path / "a.json", '{"shapes": 1}')
    found = datasets.load(tmp_path, "all")
    assert found.notes == {labelme.OTHER_FILES: (str(other),)}


def test_a_large_json_file_of_another_kind_is_not_parsed(tmp_path, monkeypatch):
    write(tmp_path / "a.json", json.dumps({"numbers": list(range(100_000))}))
    monkeypatch.setattr("data.json_files.load_json", lambda path: pytest.fail("parsed"))
    assert labelme.splits(tmp_path) == {}


def test_photos_and_labels_in_two_folders_are_no_yolo_set(tmp_path):
    for name in "abc":
        photo(tmp_path / "images" / f"{name}.png")
        write_labelme(tmp_path / "labels" / f"{name}.json", [BOXED], f"../images/{name}.png", make_photo=False)
    assert [len(r.boxes) for r in datasets.load(tmp_path, "all")] == [1, 1, 1]
    write(tmp_path / "labels" / "a.txt", f"{BOX}\n0 0.5 0.5 0.1 0.1\n")
    assert [len(r.boxes) for r in datasets.load(tmp_path, "all")] == [2, 0, 0]


def test_coco_files_are_not_labelme(tmp_path):
    content = {"images": [{"id": 1, "file_name": "a.png", "height": 50, "width": 100}], "annotations": []}
    photo(tmp_path / "a.png")
    write(tmp_path / "a.json", json.dumps({**content, "categories": [], "shapes": 1}))
    assert labelme.splits(tmp_path) == {}
    assert coco.splits(tmp_path)


def test_a_table_of_labels_comes_first_and_another_table_does_not_matter(tmp_path):
    write_labelme(tmp_path / "a.json", [BOXED])
    write(tmp_path / "notes.csv", "photo,weather\na.png,rain\n")
    assert datasets.load(tmp_path, "all")[0].boxes.tolist() == [[10, 5, 29, 24]]
    write(tmp_path / "notes.csv", "file,xmin,ymin,xmax,ymax,class\na.png,1,1,9,9,cat\n")
    assert datasets.load(tmp_path, "all")[0].boxes.tolist() == [[1, 1, 9, 9]]


@pytest.mark.parametrize("folder", ["val", "test2017", "Validation"])
def test_a_photo_of_another_split_is_not_taken_for_a_missing_one(tmp_path, folder):
    write_labelme(tmp_path / "train" / "a.json", [BOXED], r"D:\set\train\a.png", make_photo=False)
    photo(tmp_path / folder / "a.png")
    with pytest.raises(FileNotFoundError, match=r"image is missing: a\.png"):
        labelme.load(tmp_path, "train")
    photo(tmp_path / "trainval" / "a.png")
    assert labelme.load(tmp_path, "train")[0].path == tmp_path / "trainval" / "a.png"


def test_coordinates_beyond_all_numbers_are_dropped(tmp_path):
    write_labelme(tmp_path / "a.json", [("cat", "circle", [[1e308, 1e308], [-1e308, 0]]), BOXED])
    found = labelme.load(tmp_path, "all")
    assert found[0].boxes.tolist() == [[10, 5, 29, 24]]
    assert "is not finite" in found.dropped[0]
