"""VOC annotations as tools leave them: beside the photos, in folders of other names, with other sizes and corners."""

import pytest

from data import datasets, voc
from data.annotation import SWAPPED, UNLABELLED, UNUSED
from data.voc_folders import OUTSIDE
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import photo, write

SIZE = "<size><width>100</width><height>50</height></size>"
CAT = xml(obj("cat", (11, 21, 30, 40)), size=SIZE)


def one(root, annotation, picture, text=CAT):
    photo(root / picture)
    write(root / annotation, text)


def ids(root, split):
    return sorted(r.id for r in datasets.load(root, split))


@pytest.mark.parametrize(
    ("annotation", "picture"),
    [
        ("{0}.xml", "{0}.jpg"),  # labelImg
        ("{1}/{0}.xml", "{1}/{0}.jpg"),
        ("{1}/deep/{0}.XML", "{1}/deep/{0}.PNG"),
        ("annotations/{0}.xml", "images/{0}.png"),
        ("annotations/xmls/{0}.xml", "images/{0}.jpg"),
        ("Annotations/{0}.xml", "JPEGImages/{0}.jpg"),
        ("{1}/annotations/{0}.xml", "{1}/images/{0}.jpg"),
        ("annotations/{1}/{0}.xml", "images/{1}/{0}.jpg"),
    ],
)
def test_annotations_are_read_wherever_they_lie_and_divided(tmp_path, annotation, picture):
    for i in range(12):
        one(tmp_path, annotation.format(i, f"day{i % 3}"), picture.format(i, f"day{i % 3}"))
    assert datasets.splits(tmp_path) == ("all", "train", "test")
    found = datasets.load(tmp_path, "all")
    assert found.classes == voc.VOC_CLASSES
    assert sorted(r.id for r in found) == sorted(map(str, range(12)))
    for record in found:
        assert record.path.stem == record.id
        assert record.size == (50, 100)
        assert record.boxes.tolist() == [[10, 20, 29, 39]]
    assert sorted(ids(tmp_path, "train") + ids(tmp_path, "test")) == sorted(r.id for r in found)


@pytest.mark.parametrize(
    ("annotation", "picture"),
    [
        ("{0}/{1}.xml", "{0}/{1}.jpg"),  # Roboflow
        ("{0}/annotations/{1}.xml", "{0}/images/{1}.jpg"),
        ("annotations/{0}/{1}.xml", "images/{0}/{1}.jpg"),
        ("annotations/{1}.xml", "images/{0}/{1}.jpg"),
        ("annotations/{0}/{1}.xml", "images/{1}.jpg"),
    ],
)
def test_folders_that_are_named_like_splits_divide(tmp_path, annotation, picture):
    for split in ("train", "valid", "test"):
        for i in range(2):
            one(tmp_path, annotation.format(split, f"{split}{i}"), picture.format(split, f"{split}{i}"))
    assert datasets.splits(tmp_path) == ("test", "train", "valid")
    assert datasets.usual(tmp_path) == ("train", "test")
    for split in ("train", "valid", "test"):
        assert ids(tmp_path, split) == [f"{split}0", f"{split}1"]


def test_photos_of_one_name_belong_to_the_nearest_annotation_and_have_ids_of_their_own(tmp_path):
    boxes = {"day1": (11, 21, 30, 40), "day2": (1, 1, 9, 9)}
    for day, box in boxes.items():
        one(tmp_path, f"{day}/xml/a.xml", f"{day}/photos/a.png", xml(obj("cat", box), size=SIZE))
    found = {r.id: r.boxes.tolist() for r in datasets.load(tmp_path, "all")}
    assert found == {"day1-photos-a": [[10, 20, 29, 39]], "day2-photos-a": [[0, 0, 8, 8]]}


def test_an_annotation_is_not_of_a_photo_in_another_split(tmp_path):
    for name in "abc":
        one(tmp_path, f"train/{name}.xml", f"train/{name}.png")
    (tmp_path / "train" / "c.png").rename(tmp_path / "test.png")
    one(tmp_path, "test/d.xml", "test/c.png")
    photo(tmp_path / "test" / "d.png")
    found = datasets.load(tmp_path, "train")
    assert [r.id for r in found] == ["a", "b"]
    assert found.notes == {UNUSED: (str(tmp_path / "train" / "c.xml"),)}
    assert datasets.load(tmp_path, "test").notes == {UNLABELLED: (str(tmp_path / "test" / "c.png"),)}


def test_the_stated_file_name_counts_where_the_annotation_has_another_name(tmp_path):
    named = CAT.replace("<annotation>", "<annotation><filename>C:\\photos\\a.png</filename>")
    one(tmp_path, "annotations/0001.xml", "images/a.png", named)
    one(tmp_path, "annotations/b.xml", "images/b.png", named)  # its own name comes first
    one(tmp_path, "annotations/0003.xml", "images/c.png", named.replace("a.png", "c"))
    assert ids(tmp_path, "all") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.xml", "1/a.png", "2/a.png"), r"a\.xml: can be of .*1/a\.png or .*2/a\.png"),
        (("1/a.xml", "2/a.xml", "a.png"), r"a\.png: .*1/a\.xml and .*2/a\.xml both annotate it"),
    ],
)
def test_what_can_mean_two_things_is_refused(tmp_path, files, message):
    for name in files:
        photo(tmp_path / name) if name.endswith("png") else write(tmp_path / name, CAT)
    with pytest.raises(ValueError, match=message):
        datasets.splits(tmp_path)


def test_pictures_of_the_same_name_in_other_folders_are_not_the_photo(tmp_path):
    one(tmp_path, "annotations/a.xml", "images/a.png")
    photo(tmp_path / "runs" / "set" / "pictures" / "a.png")
    assert [r.path for r in datasets.load(tmp_path, "all")] == [tmp_path / "images" / "a.png"]


def test_photos_and_annotations_that_are_alone_are_counted_and_named(tmp_path, caplog):
    for name in "abc":
        one(tmp_path, f"{name}.xml", f"{name}.png")
    photo(tmp_path / "bare.png")
    write(tmp_path / "alone.xml", CAT)
    write(tmp_path / "notes.xml", "<?xml version='1.0'?><!-- <annotation> --><notes/>")
    assert ids(tmp_path, "all") == ["a", "b", "c"]
    assert f"labels without a photo: 1; {tmp_path / 'alone.xml'}" in caplog.text
    assert f"photos without an annotation, left out: 1; {tmp_path / 'bare.png'}" in caplog.text
    for name in "abc":
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"image is missing: 4 of 4 annotations have no photo, such as .*a\.xml"
    ):
        datasets.load(tmp_path, "all")


def test_annotations_beside_the_folders_of_the_splits_are_told(tmp_path):
    for split in ("train", "test"):
        one(tmp_path, f"{split}/{split}.xml", f"{split}/{split}.png")
    one(tmp_path, "extra/a.xml", "extra/a.png")
    assert datasets.splits(tmp_path) == ("test", "train")
    assert datasets.load(tmp_path, "train").notes == {OUTSIDE: (str(tmp_path / "extra" / "a.xml"),)}


def test_a_damaged_annotation_is_an_unusable_photo(tmp_path):
    one(tmp_path, "a.xml", "a.png")
    one(tmp_path, "b.xml", "b.png", "")
    one(tmp_path, "c.xml", "c.png", "<note><object/></note>")
    with pytest.raises(ValueError, match=r"b\.xml: not a readable annotation"):
        datasets.load(tmp_path, "all")
    found = datasets.load(tmp_path, "all", skip_bad=True)
    assert ([r.id for r in found], list(found.bad)) == (["a"], ["b", "c"])


def test_voc_folders_without_lists_are_divided(tmp_path):
    for i in range(12):
        one(tmp_path, f"Annotations/{i}.xml", f"JPEGImages/{i}.jpg")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    assert datasets.splits(tmp_path) == ("all", "train", "test")


def test_other_formats_are_not_taken_for_annotations(tmp_path):
    photo(tmp_path / "a.png")
    write(tmp_path / "a.xml", "<annotations><photo/></annotations>")
    with pytest.raises(FileNotFoundError, match="not a data set of a known format"):
        datasets.splits(tmp_path)


def test_a_table_of_something_else_does_not_hide_the_annotations(tmp_path):
    one(tmp_path, "a.xml", "a.png")
    write(tmp_path / "weather.csv", "day,rain\n1,0\n")
    assert ids(tmp_path, "all") == ["a"]
    (tmp_path / "a.xml").unlink()
    with pytest.raises(ValueError, match=r"weather\.csv: no column for"):
        datasets.splits(tmp_path)


@pytest.mark.parametrize(
    "size",
    [
        "",
        "<size/>",
        "<size><width>0</width><height>0</height></size>",
        "<size><width>100</width></size>",
        "<size><width/><height/></size>",
    ],
)
@pytest.mark.parametrize("lists", [True, False])
def test_a_size_that_is_missing_or_zero_is_that_of_the_photo(tmp_path, caplog, size, lists):
    text = xml(obj("cat", (11, 21, 300, 40)), size=size)
    if lists:
        write_voc(tmp_path, {"a": text})
        photo(tmp_path / "JPEGImages" / "a.png").rename(tmp_path / "JPEGImages" / "a.jpg")
    else:
        one(tmp_path, "a.xml", "a.jpg", text)
    (record,) = datasets.load(tmp_path, "all")
    assert record.size == (50, 100)
    assert record.boxes.tolist() == [[10, 20, 99, 39]]
    assert "clipped 1 of 1 boxes" in caplog.text


def test_swapped_corners_are_swapped_back_and_told(tmp_path, caplog):
    boxes = [(30, 21, 11, 40), (11, 42, 30, 23), (32, 44, 13, 25), (15, 27, 34, 46)]
    one(tmp_path, "a.xml", "a.png", xml(*[obj("cat", box) for box in boxes], size=SIZE))
    found = datasets.load(tmp_path, "all")
    assert found[0].boxes.tolist() == [[10, 20, 29, 39], [10, 22, 29, 41], [12, 24, 31, 43], [14, 26, 33, 45]]
    assert found.dropped == ()
    assert found.notes[SWAPPED][0] == "a: object 1 (cat) [30, 21, 11, 40]"
    assert "boxes with swapped corners, swapped back: 3; a: object 1" in caplog.text
