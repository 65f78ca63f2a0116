"""VIA's json and CSV files: shapes, attributes, photos of one name, and faults."""

import codecs
import json
import math

import pytest

from data import datasets, table, via
from data.shapes import NO_BOXES
from tests.data.test_yolo import photo, write
from tests.data.tools import rect, via_csv, via_region
from tests.data.tools import via as via_json

BOXED = via_region(rect(10, 5, 20, 20), kind="cat")
OTHER = via_region(rect(40, 5, 20, 20), kind="cat")
WRITERS = {
    "annotations": lambda folder, photos: via_json(folder / "via.json", photos),
    "project": lambda folder, photos: via_json(folder / "via.json", photos, project=True),
    "table": lambda folder, photos: via_csv(folder / "via.csv", photos),
}


@pytest.fixture(params=WRITERS)
def write_via(request):
    return WRITERS[request.param]


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (rect(10, 5, 20, 20), [10, 5, 29, 24]),
        (rect(30, 25, -20, -20), [10, 5, 29, 24]),
        ({"name": "circle", "cx": 20, "cy": 20, "r": 10}, [10, 10, 29, 29]),
        ({"name": "ellipse", "cx": 40, "cy": 25, "rx": 20, "ry": 10}, [20, 15, 59, 34]),
        ({"name": "ellipse", "cx": 40, "cy": 25, "rx": 20, "ry": 10, "theta": math.pi / 2}, [30, 5, 49, 44]),
        ({"name": "polygon", "all_points_x": [10, 30, 12], "all_points_y": [5, 12, 25]}, [10, 5, 29, 24]),
    ],
)
def test_shapes_with_an_area_are_the_boxes_around_them(tmp_path, write_via, shape, box):
    photo(tmp_path / "a.png")
    found = datasets.load(write_via(tmp_path, {"a.png": [via_region(shape, kind="cat")]}), "all")
    assert found.classes == ("cat",)
    assert found[0].boxes.tolist() == [box]


def test_other_shapes_are_left_out_and_photos_without_regions_are_background(tmp_path, write_via):
    for name in "ab":
        photo(tmp_path / f"{name}.png")
    point = via_region({"name": "point", "cx": 1, "cy": 2}, kind="eye")
    line = via_region({"name": "polyline", "all_points_x": [1], "all_points_y": [2]}, kind="road")
    write_via(tmp_path, {"a.png": [point, line, BOXED], "b.png": []})
    found = datasets.load(tmp_path, "all")
    assert [len(r.boxes) for r in found] == [1, 0]
    assert found.notes == {NO_BOXES: ("a: region 1 (eye): point", "a: region 2 (road): polyline")}


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"species": "cat"}, "cat"),
        ({"hue": "red", "Class": "cat"}, "cat"),
        ({"hue": "red", "type": "cat"}, "cat"),
        ({"name": "Tom", "label": "cat"}, "cat"),
        ({"species": {"cat": True}}, "cat"),
        ({"species": {"cat": True, "dog": False}}, "cat"),
        ({"species": 7}, "7"),
    ],
)
def test_the_class_is_the_only_attribute_or_the_one_called_so(tmp_path, write_via, attributes, name):
    photo(tmp_path / "a.png")
    write_via(tmp_path, {"a.png": [via_region(rect(1, 1, 9, 9), **attributes)]})
    assert datasets.load(tmp_path, "all").classes == (name,)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"hue": "red", "species": "cat"}, "regions have the attributes hue, species; call the one with the class"),
        ({"species": {"cat": True, "dog": True}}, "species has 2 values, cat, dog; choose one"),
        ({"species": {}}, "has no class"),
        ({"species": ""}, "has no class"),
        ({}, "has no class"),
    ],
)
def test_a_class_that_is_missing_or_not_clear_is_named_with_its_file(tmp_path, write_via, attributes, message):
    photo(tmp_path / "a.png")
    path = write_via(tmp_path, {"a.png": [via_region(rect(1, 1, 9, 9), **attributes)]})
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(tmp_path, "all")
    assert str(path) in str(error.value)


def test_files_of_version_1_are_read(tmp_path):
    photo(tmp_path / "a.png")
    old = {"a.png9": {"filename": "a.png", "size": 9, "fileref": "", "regions": {"0": BOXED, "1": OTHER}}}
    assert len(datasets.load(write(tmp_path / "via.json", json.dumps(old)), "all")[0].boxes) == 2
    (tmp_path / "via.json").unlink()
    path = via_csv(tmp_path / "via.csv", {"a.png": [BOXED]})
    path.write_text(f"#{path.read_text()}")
    assert len(datasets.load(tmp_path, "all")[0].boxes) == 1


def test_photos_of_one_name_are_told_apart_by_the_size_of_their_files(tmp_path):
    for folder, color in (("one", "red"), ("two", "green")):
        photo(tmp_path / folder / "a.png", (100, 50 if color == "red" else 60))
    sizes = [(tmp_path / folder / "a.png").stat().st_size for folder in ("one", "two")]
    assert sizes[0] != sizes[1]
    listed = {
        f"a.png{size}": {"filename": "a.png", "size": size, "regions": [via_region(rect(1, 1, 9, 9), kind=kind)]}
        for size, kind in zip(sizes, ("cat", "dog"), strict=True)
    }
    found = datasets.load(write(tmp_path / "via.json", json.dumps(listed)), "all")
    assert [(r.id, r.size, found.classes[r.labels[0]]) for r in found] == [
        ("one-a", (50, 100), "cat"),
        ("two-a", (60, 100), "dog"),
    ]


def test_files_called_like_splits_and_folders_are_splits(tmp_path, write_via):
    for split in ("train", "test"):
        photo(tmp_path / "deep" / split / f"{split}.png")
        write_via(tmp_path / "deep" / split, {f"{split}.png": [BOXED]})
        photo(tmp_path / "flat" / f"{split}.png")
        path = write_via(tmp_path / "flat", {f"{split}.png": [BOXED]})
        path.rename(path.with_stem(split))
    for layout in ("deep", "flat"):
        assert set(datasets.splits(tmp_path / layout)) == {"train", "test"}
        assert [r.id for r in datasets.load(tmp_path / layout, "test")] == ["test"]


def test_one_set_as_json_and_as_table_is_refused(tmp_path):
    via_csv(tmp_path / "export.csv", {"a.png": [BOXED]})
    via_json(tmp_path / "project.json", {"a.png": [BOXED]})
    with pytest.raises(ValueError, match=r"project\.json and export\.csv: VIA files of the same photos"):
        datasets.splits(tmp_path)
    photo(tmp_path / "a.png")
    assert len(datasets.load(tmp_path / "export.csv", "all")) == 1


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path, write_via):
    photo(tmp_path / "a.png")
    path = write_via(tmp_path, {"a.png": [BOXED]})
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert len(datasets.load(tmp_path, "all")[0].boxes) == 1


def test_other_tables_are_not_those_of_via(tmp_path):
    photo(tmp_path / "a.png")
    write(tmp_path / "boxes.csv", "filename,xmin,ymin,xmax,ymax,class\na.png,0,0,9,9,cat\n")
    assert via.splits(tmp_path) == {}
    assert table.splits(tmp_path)
    assert len(datasets.load(tmp_path, "all")) == 1


FAULTS = [
    ({"regions": 5}, "regions is 5, expected a list"),
    ({"regions": [5]}, "region 1 is 5, expected an object"),
    ({"regions": [{**BOXED, "shape_attributes": 5}]}, "region 1: shape_attributes is 5"),
    ({"regions": [{**BOXED, "region_attributes": "cat"}]}, "region 1: region_attributes is 'cat'"),
    ({"regions": [via_region(rect("far", 1, 1, 1), kind="cat")]}, r"region 1 \(cat\): x is 'far'"),
    ({"regions": [via_region({"name": "rect", "x": 1}, kind="cat")]}, r"region 1 \(cat\): y is None"),
    (
        {"regions": [via_region({"name": "polygon", "all_points_x": "a"}, kind="cat")]},
        "all_points_x is 'a', expected a list",
    ),
    (
        {"regions": [via_region({"name": "polygon", "all_points_x": [1], "all_points_y": []}, kind="cat")]},
        "a polygon of 1 x and 0 y",
    ),
    ({"filename": 5}, "filename is 5, expected text"),
    ({"filename": ""}, "a photo has no name"),
    ({"filename": "gone.png"}, r"image is missing: gone\.png of"),
]


@pytest.mark.parametrize(("extra", "message"), FAULTS, ids=[m for _, m in FAULTS])
def test_a_damaged_value_is_named_with_its_file(tmp_path, extra, message):
    photo(tmp_path / "a.png")
    content = {"a": {"filename": "a.png", "size": 1, "regions": [BOXED], **extra}}
    path = write(tmp_path / "via.json", json.dumps(content))
    with pytest.raises((ValueError, OSError), match=message) as error:
        datasets.load(path, "all")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (',"{""kind""', ',"{""kind', "line 2: region_attributes is "),
        ("a.png,123", "a.png", "line 2 has 6 columns, expected 7"),
        ("region_attributes\n", "attributes\n", "no column"),
    ],
)
def test_a_damaged_row_is_named_with_its_line(tmp_path, old, new, message):
    photo(tmp_path / "a.png")
    path = via_csv(tmp_path / "via.csv", {"a.png": [BOXED]})
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"via\.csv: {message}"):
        datasets.load(path, "all")


def test_a_file_without_photos_is_named(tmp_path):
    path = via_json(tmp_path / "via.json", {}, project=True)
    with pytest.raises(ValueError, match=r"via\.json: lists no photos"):
        datasets.load(path, "all")


def test_a_name_may_differ_in_case_but_one_that_is_written_in_the_same_way_comes_first(tmp_path, write_via):
    photo(tmp_path / "photos" / "A.PNG", (100, 51))
    write_via(tmp_path, {"a.png": [BOXED]})
    assert datasets.load(tmp_path, "all")[0].path.name == "A.PNG"
    photo(tmp_path / "photos" / "a.png")
    assert datasets.load(tmp_path, "all")[0].path.name == "a.png"
