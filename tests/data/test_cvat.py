"""CVAT's XML files: shapes, subsets, photos in other places, and faults."""

import codecs

import pytest

from data import cvat, datasets, voc
from data.annotation import SWAPPED
from data.shapes import NO_BOXES
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import photo, write
from tests.data.tools import cvat as write_cvat
from tests.data.tools import cvat_box, cvat_image

BOXED = cvat_box("cat", (10, 5, 30, 25))


def one(tmp_path, shapes, name="a.png"):
    photo(tmp_path / "images" / "a.png")
    return write_cvat(tmp_path / "annotations.xml", [(cvat_image(name), shapes)])


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (BOXED, [10, 5, 29, 24]),
        (cvat_box("cat", (10.5, 5.25, 30, 25)), [10.5, 5.25, 29, 24]),
        (cvat_box("cat", (10, 20, 30, 30), 'rotation="90.0"'), [15, 15, 24, 34]),
        (cvat_box("cat", (10, 20, 30, 30), 'rotation="360"'), [10, 20, 29, 29]),
        ('<polygon label="cat" occluded="0" points="10,5;30,12.5;12.00,25"/>', [10, 5, 29, 24]),
        ('<ellipse label="cat" cx="40" cy="25" rx="20" ry="10" z_order="0"/>', [20, 15, 59, 34]),
        ('<ellipse label="cat" cx="40" cy="25" rx="20" ry="10" rotation="90"/>', [30, 5, 49, 44]),
        ('<mask label="cat" rle="0, 400" left="10" top="5" width="20" height="20"/>', [10, 5, 29, 24]),
    ],
)
def test_shapes_with_an_area_are_the_boxes_around_them(tmp_path, shape, box):
    (record,) = cvat.load(one(tmp_path, shape), "all")
    assert record.boxes.tolist() == [box]
    assert record.size == (50, 100)


def test_swapped_corners_are_swapped_back_and_named(tmp_path):
    found = cvat.load(one(tmp_path, cvat_box("cat", (30, 25, 10, 5))), "all")
    assert found[0].boxes.tolist() == [[10, 5, 29, 24]]
    assert found.notes == {SWAPPED: ("a: object 1 (cat) [30, 25, 10, 5]",)}


def test_a_box_turned_by_45_degrees_is_turned_about_its_middle(tmp_path):
    (record,) = cvat.load(one(tmp_path, cvat_box("cat", (40, 15, 60, 35), 'rotation="45"')), "all")
    half = 200**0.5
    assert record.boxes[0].tolist() == pytest.approx([50 - half, 25 - half, 49 + half, 24 + half], abs=1e-3)


def test_other_shapes_are_left_out_and_named_and_tags_are_no_shapes(tmp_path, caplog):
    points = '<points label="eye" points="1,2"/><polyline label="road" points="1,2;3,4"/>'
    cuboid = '<cuboid label="box" xtl1="1"/><skeleton label="man"><points label="arm" points="1,2"/></skeleton>'
    found = cvat.load(one(tmp_path, f'<tag label="indoors"/>{points}{cuboid}{BOXED}'), "all")
    assert found.classes == ("cat",)
    left_out = ("shape 1 (eye): points", "shape 2 (road): polyline", "shape 3 (box): cuboid", "shape 4 (man): skeleton")
    assert found.notes == {NO_BOXES: tuple(f"a: {name}" for name in left_out)}
    assert "shapes that are no boxes, left out: 4" in caplog.text


def test_the_attribute_difficult_is_read_and_others_are_ignored(tmp_path):
    attributes = ['<attribute name="difficult">true</attribute>', '<attribute name="Difficult">false</attribute>', ""]
    shapes = [
        cvat_box("cat", (1, 1, 9 + i, 9), inside=f'<attribute name="hue">x</attribute>{attribute}')
        for i, attribute in enumerate(attributes)
    ]
    assert cvat.load(one(tmp_path, "".join(shapes)), "all")[0].difficult.tolist() == [True, False, False]


def test_an_image_without_shapes_has_no_objects(tmp_path):
    assert cvat.load(one(tmp_path, ""), "all")[0].boxes.shape == (0, 4)


def test_subsets_are_splits(tmp_path):
    for name in "abc":
        photo(tmp_path / "images" / "x" / f"{name}.png")
    images = [(cvat_image("a.png", "Train"), BOXED), (cvat_image("b.png", "Test"), ""), (cvat_image("c.png"), BOXED)]
    write_cvat(tmp_path / "annotations.xml", images)
    assert datasets.splits(tmp_path) == ("Test", "Train", "default")
    assert [[r.id for r in datasets.load(tmp_path, s)] for s in ("Train", "Test", "default")] == [["a"], ["b"], ["c"]]


def test_files_called_like_splits_and_folders_are_splits(tmp_path):
    for split in ("train", "val"):
        photo(tmp_path / "flat" / "images" / split / "a.png")
        write_cvat(tmp_path / "flat" / f"{split}.xml", [(cvat_image("a.png"), BOXED)])
        photo(tmp_path / "deep" / split / "images" / "a.png", (100, 50 + len(split)))
        write_cvat(tmp_path / "deep" / split / "annotations.xml", [(cvat_image("a.png"), BOXED)])
    for layout in ("flat", "deep"):
        assert set(datasets.splits(tmp_path / layout)) == {"train", "val"}
        (record,) = datasets.load(tmp_path / layout, "val")
        assert "val" in record.path.parts


def test_two_files_that_are_no_splits_are_refused(tmp_path):
    for name in ("job_1", "job_2"):
        write_cvat(tmp_path / f"{name}.xml", [(cvat_image("a.png"), BOXED)])
    with pytest.raises(ValueError, match=r"job_1\.xml and job_2\.xml: CVAT files of the same photos, or of different"):
        datasets.splits(tmp_path)


def test_photos_with_one_name_in_several_folders_are_told_apart_by_their_folders(tmp_path):
    for folder in ("one", "two"):
        photo(tmp_path / "images" / folder / "a.png", (100, 50 if folder == "one" else 60))
    images = [
        (cvat_image(f"{folder}/a.png", size=size), BOXED) for folder, size in (("one", (100, 50)), ("two", (100, 60)))
    ]
    found = cvat.load(write_cvat(tmp_path / "annotations.xml", images), "all")
    assert [(r.id, r.size) for r in found] == [("one-a", (50, 100)), ("two-a", (60, 100))]


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    path = one(tmp_path, BOXED)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert len(datasets.load(tmp_path, "all")) == 1


def test_the_annotations_of_voc_are_not_those_of_cvat(tmp_path):
    root = write_voc(tmp_path / "set", {"a": xml(obj())})
    (root / "ImageSets").rename(root / "Lists")
    assert not voc.is_voc(root)
    assert cvat.splits(root / "Annotations") == {}
    write(tmp_path / "other.xml", "<annotations/>")
    assert cvat.splits(tmp_path / "other.xml") == {}


FAULTS = [
    (BOXED.replace("cat", ""), "box 1 has no class"),
    (BOXED.replace('xtl="10"', ""), r"box 1 \(cat\): xtl is None, expected a finite number"),
    (BOXED.replace('"10"', '"inf"'), r"box 1 \(cat\): xtl is 'inf'"),
    ('<polygon label="cat" points="1,2;3"/>', r"polygon 1 \(cat\): points is '1,2;3'"),
    ('<polygon label="cat"/>', r"polygon 1 \(cat\): points is None"),
]


@pytest.mark.parametrize(("shape", "message"), FAULTS, ids=[m for _, m in FAULTS])
def test_a_damaged_shape_is_named_with_its_file_and_image(tmp_path, shape, message):
    path = one(tmp_path, shape)
    with pytest.raises(ValueError, match=rf"annotations\.xml: image a\.png: {message}"):
        datasets.load(path, "all")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</image>", "", "not a readable annotation"),
        ('name="a.png"', "", "image 0 has no name"),
        ('name="a.png"', 'name="gone.png"', r"image is missing: gone\.png of"),
        ('width="100"', 'width="wide"', "image a.png: the width is 'wide'"),
        ('width="100"', "", "image a.png: the width is None"),
        (
            "<image ",
            '<track id="0" label="cat"/><image ',
            "has the tracks of a video; export it as CVAT for images 1.1",
        ),
        ("<annotations>", '<!DOCTYPE x [<!ENTITY a "b">]><annotations>', "not a data set of a known format"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, old, new, message):
    path = one(tmp_path, BOXED)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises((ValueError, OSError), match=message) as error:
        datasets.load(path, "all")
    assert str(path) in str(error.value)


def test_a_file_without_images_is_named(tmp_path):
    path = write_cvat(tmp_path / "annotations.xml", [])
    with pytest.raises(ValueError, match=r"annotations\.xml: lists no images"):
        datasets.load(path, "all")
