"""Reading Pascal VOC: what is accepted, what is corrected with a warning, what is refused."""

import logging
from pathlib import Path

import numpy as np
import pytest

from data import voc


def obj(name="fish", box=(11, 21, 30, 60), extra=""):
    corners = "".join(f"<{t}>{v}</{t}>" for t, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def xml(*objects, size="<size><width>100</width><height>80</height><depth>3</depth></size>"):
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def write_voc(folder: Path, annotations: dict[str, str], listed: str | None = None) -> Path:
    """Write a data set in VOC layout, with empty files as images."""
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    for image_id, text in annotations.items():
        (folder / "Annotations" / f"{image_id}.xml").write_text(text)
        (folder / "JPEGImages" / f"{image_id}.jpg").touch()
    lines = "\n".join(annotations) if listed is None else listed
    (folder / "ImageSets/Main/trainval.txt").write_text(lines)
    return folder


def load_one(folder: Path, text: str, **options):
    return voc.load(write_voc(folder / "set", {"a": text}), **options)


def test_boxes_become_zero_based_and_keep_fractions(tmp_path):
    (record,) = load_one(tmp_path, xml(obj(), obj(box=(1.5, 2.25, 100, 80))))
    np.testing.assert_array_equal(record.boxes, np.float32([[10, 20, 29, 59], [0.5, 1.25, 99, 79]]))
    assert record.boxes.dtype == np.float32
    assert record.size == (80, 100)


def test_an_image_without_objects_has_empty_arrays(tmp_path):
    (record,) = load_one(tmp_path, xml())
    assert record.boxes.shape == (0, 4)
    assert record.labels.shape == record.difficult.shape == (0,)
    assert (record.labels.dtype, record.difficult.dtype) == (np.int64, np.bool_)


def test_missing_flags_mean_zero_and_difficult_is_read(tmp_path):
    extra = "<truncated>1</truncated><difficult>1</difficult>"
    zero = "<difficult> 0 </difficult>"
    (record,) = load_one(tmp_path, xml(obj(), obj("cat", extra=extra), obj("dog", extra=zero)))
    assert record.difficult.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("word", "difficult", "told"),
    [
        *((word, True, False) for word in ("1", "true", "TRUE", "yes", "Y", "1.0")),
        *((word, False, False) for word in ("0", "False", "no", " ", "none")),
        *((word, False, True) for word in ("Unspecified", "2", "difficile")),
    ],
)
def test_flags_are_words_at_times(tmp_path, caplog, word, difficult, told):
    extra = f"<truncated>{word}</truncated><difficult>{word}</difficult>"
    (record,) = load_one(tmp_path, xml(obj(), obj("cat", extra=extra), obj("dog", extra=extra)))
    assert record.difficult.tolist() == [False, difficult, difficult]
    kind = f"flags that are neither true nor false, taken as false: 2; a: object 2: difficult is '{word}'"
    assert [kind in message for message in caplog.messages] == [True] * told


NAMES = {
    "gbk": "猫",  # its two bytes are "è" in UTF-8
    "GB2312": "斑马",
    "Big5": "斑馬",
    "Shift_JIS": "シマウマ",
    "euc-kr": "얼룩말",
    "windows-1252": "zèbre",
    "utf-8": "斑马",
    "UTF-16": "斑马",
}


def write_encoded(folder, declared, name, encoding):
    root = write_voc(folder, {"a": ""})
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{xml(obj(name))}'
    (root / "Annotations" / "a.xml").write_bytes(text.encode(encoding))
    return root


@pytest.mark.parametrize("encoding", NAMES)
def test_annotations_may_declare_any_encoding(tmp_path, encoding):
    root = write_encoded(tmp_path / "set", encoding, NAMES[encoding], encoding)
    assert voc.load(root).classes == (NAMES[encoding],)


@pytest.mark.parametrize("encoding", ["gbk", "Big5", "Shift_JIS", "euc-kr"])
@pytest.mark.parametrize("written", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_whatever_is_declared(tmp_path, encoding, written):
    root = write_encoded(tmp_path / "set", encoding, NAMES[encoding], written)
    assert voc.load(root).classes == (NAMES[encoding],)


def test_an_unknown_encoding_is_named(tmp_path):
    root = write_encoded(tmp_path / "set", "klingon", "zèbre", "latin-1")
    with pytest.raises(ValueError, match=r"a\.xml: not a readable annotation \(unknown encoding: klingon"):
        voc.load(root)


def test_annotations_without_a_photo_are_counted_and_named(tmp_path, caplog):
    root = write_voc(tmp_path / "set", {i: xml(obj()) for i in "abc"}, "a\n")
    (root / "JPEGImages" / "b.jpg").unlink()
    (root / "Annotations" / "a.xml").rename(root / "Annotations" / "a.XML")
    found = voc.load(root)
    assert found.notes == {"labels without a photo": (str(root / "Annotations" / "b.xml"),)}
    assert "labels without a photo: 1" in caplog.text


def test_parts_of_objects_are_not_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    data = load_one(tmp_path, xml(obj("person", extra=part)))
    assert data[0].boxes.tolist() == [[10, 20, 29, 59]]
    assert data.classes == voc.VOC_CLASSES


def test_voc_names_give_the_twenty_classes_in_voc_order(tmp_path):
    data = load_one(tmp_path, xml(obj("person"), obj("aeroplane")))
    assert data.classes == voc.VOC_CLASSES
    assert len(data.classes) == 20
    assert data[0].labels.tolist() == [14, 0]


def test_any_other_name_gives_the_sorted_names_found(tmp_path):
    data = load_one(tmp_path, xml(obj("person"), obj("fish"), obj("boat")))
    assert data.classes == ("boat", "fish", "person")
    assert data[0].labels.tolist() == [2, 1, 0]


def test_given_classes_set_the_order_of_labels(tmp_path):
    data = load_one(tmp_path, xml(obj("fish"), obj("boat")), classes=["fish", "boat", "tram"])
    assert data.classes == ("fish", "boat", "tram")
    assert data[0].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((11, 21, 11, 21), "a single point"),
        ((101, 21, 130, 60), "outside the image"),
        ((-9, 21, 0, 60), "outside the image"),
        ((11, 81, 30, 90), "outside the image"),
    ],
)
def test_unusable_boxes_are_dropped_with_one_warning(tmp_path, caplog, box, fault):
    with caplog.at_level(logging.WARNING):
        (record,) = load_one(tmp_path, xml(obj("boat", box), obj("fish"), obj("fish", box)))
    assert len(record.labels) == 1
    (message,) = caplog.messages
    assert "dropped 2 of 3 boxes" in message
    assert fault in message
    assert "a: object 1 (boat)" in message


def test_the_same_object_twice_is_one_and_difficult_only_if_both_are(tmp_path, caplog):
    hard = "<difficult>1</difficult>"
    objects = [obj(extra=hard), obj(), obj("cat", extra=hard), obj("cat", extra=hard)]
    (record,) = load_one(tmp_path, xml(*objects))
    assert record.labels.tolist() == [1, 0]
    assert record.difficult.tolist() == [False, True]
    (message,) = caplog.messages
    assert "objects labelled twice, used once: 2; a: object 2 (fish) [11, 21, 30, 60]; a: object 4" in message


def test_a_box_one_pixel_wide_is_kept(tmp_path, caplog):
    (record,) = load_one(tmp_path, xml(obj(box=(11, 21, 11, 60)), obj(box=(100, 1, 100, 80))))
    assert record.boxes.tolist() == [[10, 20, 10, 59], [99, 0, 99, 79]]
    assert not caplog.messages


def test_boxes_beyond_the_image_are_clipped_with_one_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        (record,) = load_one(tmp_path, xml(obj(box=(0, -3, 30, 60)), obj(box=(11, 21, 101, 85.5))))
    assert record.boxes.tolist() == [[0, 0, 29, 59], [10, 20, 99, 79]]
    (message,) = caplog.messages
    assert "clipped 2 of 2 boxes" in message


def test_the_warning_names_a_few_and_counts_the_rest(tmp_path, caplog):
    load_one(tmp_path, xml(*[obj(box=(5, 5, 5, 5))] * 5))
    assert caplog.messages[0].endswith("; and 2 more")


DAMAGED = {
    "not XML": ("<annotation><size>", r"a\.xml: not a readable annotation"),
    "an entity bomb": ('<!DOCTYPE x [<!ENTITY a "aaaa">]><annotation>&a;</annotation>', "not a readable"),
    "a negative size": (xml(size="<size><width>9</width><height>-9</height></size>"), "<size> is 9x-9"),
    "a fraction of a pixel": (xml(size="<size><width>9.5</width><height>9</height></size>"), r"<size> is 9\.5x9"),
    "a size in words": (xml(size="<size><width>wide</width></size>"), "<size>: <width> is 'wide'"),
    "another root": ("<note><object/></note>", "its root is <note>, expected <annotation>"),
    "a word": (xml(obj(), obj(box=(1, "ten", 3, 4))), r"object 2 \(fish\): <ymin> is 'ten'"),
    "not a number": (xml(obj(box=(1, 2, "nan", 4))), r"object 1 \(fish\): <xmax> is 'nan'"),
    "infinity": (xml(obj(box=(1, 2, 3, "inf"))), r"object 1 \(fish\): <ymax> is 'inf'"),
    "no coordinate": (xml("<object><name>fish</name><bndbox/></object>"), r"\(fish\) has no <xmin>"),
    "no box": (xml("<object><name>fish</name></object>"), r"object 1 \(fish\) has no <bndbox>"),
    "no name": (xml(obj(name=" ")), "object 1 has no <name>"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_annotation_is_a_one_line_error_that_names_it(tmp_path, case):
    text, message = DAMAGED[case]
    with pytest.raises(ValueError, match=message) as error:
        load_one(tmp_path, text)
    assert "a.xml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_annotation_can_be_skipped(tmp_path, case):
    folder = write_voc(tmp_path / "set", {"a": DAMAGED[case][0], "b": xml(obj())})
    data = voc.load(folder, skip_bad=True)
    assert [r.id for r in data] == ["b"]
    assert list(data.bad) == ["a"]
    assert "a.xml" in data.bad["a"]


def test_skipping_every_image_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"none of the 1 images can be used; first error: .*has no <name>"):
        load_one(tmp_path, xml(obj(name=" ")), skip_bad=True)


@pytest.mark.parametrize(("folder", "name"), [("Annotations", "b.xml"), ("JPEGImages", "b.jpg")])
def test_a_missing_file_is_named_or_skipped(tmp_path, folder, name):
    root = write_voc(tmp_path / "set", {i: xml(obj()) for i in "abc"})
    (root / folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"missing: .*{name}"):
        voc.load(root)
    data = voc.load(root, skip_bad=True)
    assert [r.id for r in data] == ["a", "c"]
    assert list(data.bad) == ["b"]


def test_images_are_found_by_stem_and_jpg_is_preferred(tmp_path):
    root = write_voc(tmp_path / "set", {i: xml(obj()) for i in "ab"})
    (root / "JPEGImages/a.jpg").rename(root / "JPEGImages/a.PNG")
    (root / "JPEGImages/b.png").touch()
    (root / "JPEGImages/a.txt").touch()
    assert [r.path.name for r in voc.load(root)] == ["a.PNG", "b.jpg"]


def test_a_folder_is_not_an_image(tmp_path):
    root = write_voc(tmp_path / "set", {"a": xml(obj())})
    (root / "JPEGImages/a.jpg").unlink()
    (root / "JPEGImages/a.jpg").mkdir()
    with pytest.raises(FileNotFoundError, match="image is missing"):
        voc.load(root)


def test_the_list_may_have_blank_lines_a_second_column_and_names_with_blanks(tmp_path):
    annotations = {i: xml(obj()) for i in ("b", "a", "my photo")}
    root = write_voc(tmp_path / "set", annotations, "\ufeffb  1\r\n\r\na -1\nmy photo\n\n")
    assert [r.id for r in voc.load(root)] == ["b", "a", "my photo"]


@pytest.mark.parametrize("bad_id", ["../a", "/etc/passwd", "x/a", "x\\a", "C:a", "..", "."])
def test_ids_that_lead_out_of_the_folder_are_refused(tmp_path, bad_id):
    root = write_voc(tmp_path / "set", {"a": xml(obj())}, f"a\n{bad_id}\n")
    with pytest.raises(ValueError, match=r"trainval\.txt: image id .* is not a plain file name"):
        voc.load(root, skip_bad=True)


@pytest.mark.parametrize("split", ["../trainval", "", "Main/trainval"])
def test_a_split_that_leads_out_of_the_folder_is_refused(tmp_path, split):
    with pytest.raises(ValueError, match=r"split .* is not a plain file name"):
        load_one(tmp_path, xml(obj()), split=split)


def test_an_empty_list_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"trainval\.txt: the list is empty"):
        voc.load(write_voc(tmp_path / "set", {"a": xml()}, "\n\n"))


def test_an_id_listed_twice_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="'a' is listed twice"):
        voc.load(write_voc(tmp_path / "set", {"a": xml()}, "a\na 1\n"))


def test_a_list_that_is_not_text_is_an_error(tmp_path):
    root = write_voc(tmp_path / "set", {"a": xml()})
    (root / "ImageSets/Main/trainval.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"trainval\.txt: not a text file"):
        voc.load(root)


def test_the_error_for_an_unknown_split_lists_the_known_ones(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no list .*val2\.txt; ImageSets/Main holds trainval"):
        load_one(tmp_path, xml(), split="val2")


def test_the_year_picks_a_folder_of_the_devkit(tmp_path):
    for year in ("2007", "2012"):
        write_voc(tmp_path / f"VOC{year}", {f"of_{year}": xml(obj())})
    data = voc.load(tmp_path, "2012")
    assert (data.name, data[0].id) == ("VOC2012 trainval", "of_2012")
    with pytest.raises(ValueError, match="holds VOC2007, VOC2012; give the folder of one year"):
        voc.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no VOC2010 .* it holds VOC2007, VOC2012"):
        voc.load(tmp_path, "2010")


def test_without_a_year_the_only_one_is_taken(tmp_path):
    write_voc(tmp_path / "VOC2012", {"a": xml(obj())})
    (tmp_path / "VOCcode").mkdir()
    assert voc.load(str(tmp_path)).name == "VOC2012 trainval"


def test_the_folder_of_another_year_is_refused(tmp_path):
    root = write_voc(tmp_path / "VOC2012", {"a": xml(obj())})
    assert len(voc.load(root, "2012")) == 1
    with pytest.raises(ValueError, match="is VOC2012, expected VOC2007; give its parent folder"):
        voc.load(root, "2007")


@pytest.mark.parametrize("year", [None, "2007"])
@pytest.mark.parametrize("there", [True, False])
def test_a_missing_devkit_says_how_to_get_one(tmp_path, year, there):
    with pytest.raises(FileNotFoundError, match=r"Annotations,ImageSets/Main,JPEGImages.*--download"):
        voc.load(tmp_path if there else tmp_path / "absent", year)


@pytest.mark.parametrize(
    ("split", "images", "objects", "difficult"),
    [
        ("trainval", 5008, 15655, 3054),
        ("trainval2600", 2600, 8141, 1593),
        ("test", 500, 1567, 297),
        ("mini_train", 284, None, None),
    ],
)
def test_real_voc_2007_is_read_whole(shared, caplog, split, images, objects, difficult):
    data = voc.load(shared / "voc2007/VOCdevkit2007", "2007", split)
    assert data.classes == voc.VOC_CLASSES
    assert len(data) == images
    assert not caplog.messages
    if objects is not None:
        assert sum(len(r.labels) for r in data) == objects
        assert sum(int(r.difficult.sum()) for r in data) == difficult
    for record in data:
        height, width = record.size
        assert record.boxes.min() >= 0
        assert (record.boxes.max(0) <= [width - 1, height - 1, width - 1, height - 1]).all()


def test_object_counts_of_real_files_equal_their_tag_counts(shared):
    """Counts the tags as text, without a parser."""
    folder = shared / "voc2007/VOCdevkit2007/VOC2007"
    data = voc.load(folder, split="mini_test")
    for record in data:
        text = (folder / f"Annotations/{record.id}.xml").read_text()
        assert len(record.labels) == text.count("<object>")
        assert record.difficult.sum() == text.count("<difficult>1</difficult>")


def test_an_objects_box_may_follow_the_boxes_of_its_parts(shared):
    """26 objects of this subset of VOC 2007 are written like that."""
    folder = shared / "voc2007/VOCdevkit2007/VOC2007"
    record = next(r for r in voc.load(folder, split="mini_test") if r.id == "007320")
    assert record.boxes[0].tolist() == [152, 237, 240, 439]


@pytest.mark.parametrize(("split", "images", "objects", "dropped"), [("trainval", 292, 3941, 2), ("test", 72, 945, 0)])
def test_a_users_data_set_is_usable_despite_two_bad_boxes(shared, caplog, split, images, objects, dropped):
    data = voc.load(shared / "bccd", split=split)
    assert data.classes == ("Platelets", "RBC", "WBC")
    assert (len(data), sum(len(r.labels) for r in data)) == (images, objects)
    assert len(caplog.messages) == (1 if dropped else 0)
    if dropped:
        assert "dropped 2 of 3943 boxes" in caplog.messages[0]
        assert "BloodImage_00338" in caplog.messages[0]
