"""What YOLO folders hold on people's disks: keypoints, labels in other places, class names in other files."""

import re
import zlib

import pytest
from PIL import Image

from data import datasets, yolo
from data.annotation import SWAPPED, TWICE
from data.photo_search import MOVED

BOX = "0 0.5 0.5 0.2 0.4"


def photo(path, size=(100, 50)):
    """Write a photo in one colour, another one for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, tuple(zlib.crc32(path.name.encode()).to_bytes(4, "big")[:3])).save(path)
    return path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def one_photo(root, label, yaml=None):
    """A set of one photo with one label file, images/a.png and labels/a.txt."""
    photo(root / "images" / "a.png")
    write(root / "labels" / "a.txt", label)
    if yaml:
        write(root / "data.yaml", f"train: images\nnames: [cat]\n{yaml}")
    return root


@pytest.mark.parametrize(
    ("shape", "keypoints"),
    [
        ([17, 3], " 0.5 0.5 2" * 17),  # 56 columns
        ([2, 3], " 0.45 0.5 2 0.0 0.0 0"),  # 11 columns, as many as a polygon of five corners
        ([4, 2], " 0.9 0.1" * 4),  # 13 columns
    ],
)
def test_keypoints_are_not_corners_of_a_polygon(tmp_path, shape, keypoints):
    root = one_photo(tmp_path, f"{BOX}{keypoints}\n0 0.5 0.5 0.4 0.4\n", f"kpt_shape: {shape}\n")
    (record,) = yolo.load(root, "train")
    assert record.boxes.tolist() == [[40, 15, 59, 34], [30, 15, 69, 34]]


@pytest.mark.parametrize(
    ("line", "yaml", "message"),
    [
        (f"{BOX} 0.5 0.5 2 0.5 0.5 1", None, r"11 columns.*with keypoints, set kpt_shape in data\.yaml"),
        (f"{BOX} 0.5 0.5 1 0.5 0.5 1", None, r"11 columns.*with keypoints, set kpt_shape in data\.yaml"),
        (f"{BOX} 0.9 0.1 2 0.5 0.5 2", None, "2 is not a fraction of the image; .* set kpt_shape"),
        (f"{BOX} 0.5 0.5 2", None, "8 columns"),
        (f"{BOX} 0.5 0.5 2", "kpt_shape: [2, 3]", r"8 columns, expected 5, or 11 as kpt_shape is \[2, 3\]"),
        ("0 50 25 20 20", None, "50 is not a fraction of the image; are the numbers pixels"),
    ],
)
def test_a_line_that_is_no_box_and_no_polygon_is_named(tmp_path, line, yaml, message):
    root = one_photo(tmp_path, f"{BOX}\n\n{line}\n", yaml)
    with pytest.raises(ValueError, match=rf"a\.txt: line 3.*{message}"):
        yolo.load(root, "train" if yaml else "all")


def test_a_polygon_at_the_border_stays_a_polygon(tmp_path):
    (record,) = yolo.load(one_photo(tmp_path, "0 0.5 0.1 0.5 0.5 0.1 0.5 0 0.4 0.1 0\n"), "all")
    assert record.boxes.tolist() == [[0, 0, 49, 24]]


@pytest.mark.parametrize("shape", ["17", "[17, 4]", "[0, 3]", "[17]", "many"])
def test_a_shape_of_keypoints_that_makes_no_sense_is_named(tmp_path, shape):
    with pytest.raises(ValueError, match=r"data\.yaml: kpt_shape is .*, expected \[number of keypoints, 2 or 3\]"):
        yolo.load(one_photo(tmp_path, BOX, f"kpt_shape: {shape}"), "train")


@pytest.mark.parametrize(
    ("images", "labels", "splits"),
    [
        ("", "", ("all", "train", "test")),
        ("images", "images", ("all", "train", "test")),
        ("Images", "Labels", ("all", "train", "test")),
        ("obj_train_data", "obj_train_data", ("all", "train", "test")),
        ("{split}", "{split}", ("test", "train")),
        ("images/{split}", "images/{split}", ("test", "train")),
        ("IMAGES/{split}", "labels/{split}", ("test", "train")),
        ("{split}/Images", "{split}/Labels", ("test", "train")),
        ("{split}/images", "{split}/images", ("test", "train")),
    ],
)
def test_labels_are_found_beside_the_photos_and_in_labels(tmp_path, caplog, images, labels, splits):
    for i in range(12):
        split = ("train", "test")[i % 2]
        photo(tmp_path / images.format(split=split) / f"{i}.JPG")
        write(tmp_path / labels.format(split=split) / f"{i}.txt", BOX)
    write(tmp_path / "classes.txt", "cat\n")
    assert datasets.splits(tmp_path) == splits
    found = [record for split in ("train", "test") for record in datasets.load(tmp_path, split)]
    assert sorted(record.id for record in found) == sorted(map(str, range(12)))
    assert all(len(record.boxes) == 1 for record in found)
    assert "without a photo" not in caplog.text


def test_pictures_in_folders_without_labels_are_no_photos_of_the_set(tmp_path, caplog):
    for i in range(3):
        photo(tmp_path / f"{i}.png")
        write(tmp_path / f"{i}.txt", BOX if i else "")
        photo(tmp_path / "runs" / "set" / "pictures" / f"{i}.png")
    assert [r.id for r in yolo.load(tmp_path, "all")] == ["0", "1", "2"]
    assert f"left out 3 photos in folders without labels, such as {tmp_path / 'runs' / 'set'}" in caplog.text


def test_data_yaml_finds_labels_beside_the_photos(tmp_path):
    photo(tmp_path / "images" / "train" / "a.png")
    write(tmp_path / "images" / "train" / "a.txt", BOX)
    write(tmp_path / "data.yaml", "train: images/train\nnames: [cat]\n")
    assert len(yolo.load(tmp_path, "train")[0].boxes) == 1


def test_label_files_without_a_photo_are_counted_and_named(tmp_path, caplog):
    one_photo(tmp_path, BOX)
    orphans = [write(tmp_path / "labels" / name, BOX) for name in ("b.txt", "sub/c.txt")]
    orphans.insert(0, write(tmp_path / "images" / "beside.txt", BOX))
    write(tmp_path / "images" / "notes.txt", "photos of May")
    write(tmp_path / "labels" / "classes.txt", "cat\n")
    found = yolo.load(tmp_path, "all")
    assert found.notes == {"labels without a photo": tuple(map(str, orphans))}
    assert f"labels without a photo: 3; {orphans[0]}" in caplog.text


def test_labels_of_another_split_are_not_without_a_photo(tmp_path, caplog):
    for name in "ab":
        photo(tmp_path / "images" / f"{name}.png")
        write(tmp_path / "labels" / f"{name}.txt", BOX)
        write(tmp_path / f"{name}.txt", f"images/{name}.png\n")
    write(tmp_path / "data.yaml", "train: a.txt\nval: b.txt\nnames: [cat]\n")
    assert [r.id for r in datasets.load(tmp_path, "val")] == ["b"]
    assert not caplog.messages


def test_photos_that_all_lack_labels_are_told(tmp_path, caplog):
    photo(tmp_path / "pictures" / "a.png")
    write(tmp_path / "data.yaml", "train: pictures\nnames: [cat]\n")
    assert len(yolo.load(tmp_path, "train")[0].boxes) == 0
    assert "none of the 1 photos has a label file, so all of them are background" in caplog.text


def test_a_photo_that_is_listed_twice_is_used_once(tmp_path, caplog):
    one_photo(tmp_path, BOX)
    write(tmp_path / "list.txt", "images/a.png\n./images/a.png\n")
    write(tmp_path / "data.yaml", "train: [list.txt, images]\nnames: [cat]\n")
    assert [r.id for r in yolo.load(tmp_path, "train")] == ["a"]
    assert "photos listed more than once, used once: 1" in caplog.text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("dataset.yaml", "path: /elsewhere\ntrain: images\nnames: {0: cat, 1: dog}\n"),
        ("coco128.yml", "names:\n  - cat\n  - dog\n"),
        ("data.yaml", "\ufefftrain: images\nnames: [cat, dog]\n"),
        ("data.yml", "train: images\nnames: [cat, dog]\n"),
        ("classes.txt", "\ufeffcat\ndog\n"),
        ("labels/classes.txt", "cat\r\ndog\r\n"),
        ("images/classes.txt", "cat\ndog\n"),
        ("train/classes.txt", "cat\ndog\n"),
        ("predefined_classes.txt", "cat\ndog\n"),
        ("obj.names", "cat\ndog\n"),
    ],
)
def test_class_names_are_found_in_any_of_these_files(tmp_path, file, text):
    write(one_photo(tmp_path, "1 0.5 0.5 0.2 0.4") / file, text)
    write(tmp_path / "hyp.yaml", "lr: 0.1\n")
    found = datasets.load(tmp_path, "all")
    assert found.classes == ("cat", "dog")
    assert [found.classes[k] for k in found[0].labels] == ["dog"]


def test_quoted_numbers_and_gaps_keep_names_and_numbers_together(tmp_path):
    names = "".join(f'  "{k}": c{k}\n' for k in (0, 2, 10))
    one_photo(tmp_path, "10 0.5 0.5 0.2 0.4\n2 0.5 0.5 0.2 0.4\n")
    write(tmp_path / "data.yaml", f"train: images\nnames:\n{names}")
    found = yolo.load(tmp_path, "train")
    assert found.classes == ("c0", "c2", "c10")
    assert [found.classes[k] for k in found[0].labels] == ["c10", "c2"]
    write(tmp_path / "labels" / "a.txt", "1 0.5 0.5 0.2 0.4")
    with pytest.raises(ValueError, match="class 1, expected one of 0, 2, 10"):
        yolo.load(tmp_path, "train")


def test_each_folder_has_its_own_list_as_labelimg_writes_it(tmp_path):
    for split, names in (("train", "cat\ndog\n"), ("test", "dog\n")):
        photo(tmp_path / split / f"{split}.png")
        write(tmp_path / split / f"{split}.txt", BOX)
        write(tmp_path / split / "classes.txt", names)
    train = datasets.load(tmp_path, "train")
    test = datasets.load(tmp_path, "test", classes=train.classes)
    assert [[d.classes[k] for k in d[0].labels] for d in (train, test)] == [["cat"], ["dog"]]


def test_several_files_with_names_must_be_chosen_from(tmp_path):
    one_photo(tmp_path, BOX)
    for name in ("a.yaml", "b.yaml"):
        write(tmp_path / name, "train: images\nnames: [cat]\n")
    with pytest.raises(ValueError, match=r"a\.yaml and .*b\.yaml name classes; give the path of one of them"):
        datasets.splits(tmp_path)
    assert datasets.load(tmp_path / "b.yaml", "all").classes == ("cat",)


@pytest.mark.parametrize("names", ["[cat, ' ']", "[cat, [dog]]", "{0: cat, 1: }", "[cat, true]"])
def test_a_class_has_a_name(tmp_path, names):
    photo(tmp_path / "images" / "a.png")
    write(tmp_path / "data.yaml", f"train: images\nnames: {names}\n")
    with pytest.raises(ValueError, match=r"data\.yaml: names: 1"):
        datasets.load(tmp_path, "train")


def test_names_that_are_no_list_are_refused(tmp_path):
    one_photo(tmp_path, BOX)
    write(tmp_path / "data.yaml", "train: images\nnames: cat\n")
    with pytest.raises(ValueError, match=r"data\.yaml: names is 'cat', expected a list"):
        yolo.load(tmp_path, "train")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("5", "names is 5, expected a list or numbers with names"),
        ("{0: car, '0': cat}", "names: 0 stands twice, as a number and as text; delete one"),
        ("{1: car, ' 1 ': cat}", "names: 1 stands twice"),
        ("{0: car, 0: cat}", "0 stands twice, in lines 2 and 2"),
        ("{0: car, x: cat}", "'x' is no number of a class"),
        ("{0: car, 1.5: cat}", "1.5 is no number of a class"),
        ("{0: car, '1.5': cat}", "'1.5' is no number of a class"),
        ("{0: car, true: cat}", "True is no number of a class"),
        ("{0: car, -1: cat}", "-1 is no number of a class"),
        ("{0: car, '1_0': cat}", "'1_0' is no number of a class"),
        ("{0: car, null: cat}", "None is no number of a class"),
        ("{0: car, [1]: cat}", "not valid YAML"),
    ],
)
def test_numbers_of_classes_that_are_doubtful_are_named(tmp_path, names, message):
    one_photo(tmp_path, BOX)
    write(tmp_path / "data.yaml", f"train: images\nnames: {names}\n")
    with pytest.raises(ValueError, match=rf"data\.yaml: .*{re.escape(message)}") as caught:
        yolo.load(tmp_path, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["classes.txt", "obj.names", "labels/classes.txt"])
@pytest.mark.parametrize(("text", "line"), [("cat\n\ndog\n", 2), ("\ncat\ndog", 1), ("cat\ndog\n \t\nhen\n\n", 3)])
def test_a_blank_line_among_class_names_is_named(tmp_path, file, text, line):
    write(one_photo(tmp_path, "1 0.5 0.5 0.2 0.4") / file, text)
    with pytest.raises(ValueError, match=rf"{file.rpartition('/')[2]}: line {line} is blank, .* delete the line"):
        datasets.load(tmp_path, "all")


def test_blank_lines_after_the_class_names_are_none(tmp_path):
    write(one_photo(tmp_path, "1 0.5 0.5 0.2 0.4") / "classes.txt", "cat\ndog\n\n \n")
    assert datasets.load(tmp_path, "all").classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train: 1", "data.yaml: no such folder or list: "),
        ("train: {a: images}", "data.yaml: no such folder or list: "),
        ("train: [[images]]", "data.yaml: no such folder or list: "),
        ("train: images\npath: [a, b]", "data.yaml: path is ['a', 'b'], expected text"),
        ("train: images\npath: 5", "data.yaml: path is 5, expected text"),
    ],
)
def test_places_of_another_kind_are_named(tmp_path, line, message):
    one_photo(tmp_path, BOX)
    write(tmp_path / "data.yaml", f"{line}\nnames: [cat]\n")
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        datasets.load(tmp_path, "train")


def test_classes_without_names_are_told(tmp_path, caplog):
    assert yolo.load(one_photo(tmp_path, BOX), "all").classes == ("0",)
    assert "no class names, so classes are called by their numbers; add data.yaml or classes.txt" in caplog.text


def test_twelve_quoted_numbers_are_in_the_order_of_numbers(tmp_path):
    one_photo(tmp_path, "".join(f"{k} 0.5 0.5 0.2 0.{k + 10}\n" for k in (11, 2, 10)))
    names = ", ".join(f"'{k}': c{k}" for k in sorted(range(12), key=str))
    write(tmp_path / "data.yaml", f"train: images\nnames: {{{names}}}\n")
    found = yolo.load(tmp_path, "train")
    assert found.classes == tuple(f"c{k}" for k in range(12))
    assert found[0].labels.tolist() == [11, 2, 10]


def test_names_with_a_gap_belong_to_their_numbers(tmp_path):
    one_photo(tmp_path, "2 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4\n")
    write(tmp_path / "data.yaml", "train: images\nnames: {0: car, 2: cat}\n")
    found = yolo.load(tmp_path, "train")
    assert [found.classes[k] for k in found[0].labels] == ["cat", "car"]
    write(tmp_path / "labels" / "a.txt", "1 0.5 0.5 0.2 0.4\n")
    with pytest.raises(ValueError, match=r"a\.txt: line 1: class 1, expected one of 0, 2"):
        yolo.load(tmp_path, "train")


def two_splits(root, yaml):
    """Photos in train/images and valid/images, and a data.yaml that states them otherwise."""
    for split in ("train", "valid"):
        photo(root / split / "images" / f"{split}.png")
        write(root / split / "labels" / f"{split}.txt", BOX)
    return write(root / "data.yaml", f"names: [cat]\n{yaml}")


@pytest.mark.parametrize(
    ("yaml", "moved"),
    [
        ("train: train/images\nval: valid/images\n", 0),
        ("train: ../train/images\nval: ../valid/images\n", 0),
        ("path: set\ntrain: train/images\nval: valid/images\n", 0),
        ("path: /content/set\ntrain: /content/set/train/images\nval: /content/set/valid/images\n", 1),
        ("train: /content/datasets/set/train/images\nval: /content/datasets/set/valid/images\n", 1),
        ("train: set/train/images\nval: set/valid/images\n", 1),
        ("path: ../set\ntrain: set/train/images\nval: set/valid/images\n", 1),
        ("train: ..\\train\\images\nval: C:\\x\\valid\\images\n", 1),
        ("train: [../other/train/images]\nval: [../other/valid/images]\n", 1),
    ],
)
def test_folders_of_another_machine_are_found_by_their_end_and_told_once(tmp_path, caplog, yaml, moved):
    two_splits(tmp_path / "set", yaml)
    assert datasets.usual(tmp_path / "set") == ("train", "val")
    for split, name in (("train", "train"), ("val", "valid")):
        found = datasets.load(tmp_path / "set", split)
        assert [r.path.resolve() for r in found] == [tmp_path / "set" / name / "images" / f"{name}.png"]
        assert len(found[0].boxes) == 1
        assert len(found.notes.get(MOVED, ())) == moved
    assert [MOVED in message for message in caplog.messages] == [True, True] * moved


def test_a_folder_beside_that_of_data_yaml_is_found(tmp_path):
    two_splits(tmp_path, "train: ../train/images\nval: ../valid/images\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "data.yaml").rename(tmp_path / "config" / "data.yaml")
    found = datasets.load(tmp_path / "config" / "data.yaml", "train")
    assert [r.path.name for r in found] == ["train.png"]
    assert MOVED not in found.notes


def test_two_splits_are_never_found_in_one_folder(tmp_path):
    photo(tmp_path / "images" / "a.png")
    write(tmp_path / "data.yaml", "train: /x/train/images\nval: /x/valid/images\nnames: [cat]\n")
    with pytest.raises(ValueError, match=r"data\.yaml: train \(/x/train/images\) and val would both be .*/images"):
        datasets.load(tmp_path, "train")
    write(tmp_path / "data.yaml", "train: /x/images\nval: /x/images\nnames: [cat]\n")  # as COCO128 means it
    assert len(datasets.load(tmp_path, "train")) == len(datasets.load(tmp_path, "val")) == 1


def test_a_test_split_that_was_not_exported_is_left_out(tmp_path):
    two_splits(tmp_path, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n")
    assert datasets.usual(tmp_path) == ("train", "val")
    write(tmp_path / "data.yaml", "train: ../train/images\ntest: ../test/images\nnames: [cat]\n")
    with pytest.raises(FileNotFoundError, match="no such folder or list"):
        datasets.load(tmp_path, datasets.usual(tmp_path)[1])


def test_the_same_line_twice_is_one_object(tmp_path, caplog):
    found = yolo.load(one_photo(tmp_path, f"{BOX}\n1 0.5 0.5 0.2 0.4\n{BOX}\n0 0.5 0.5 0.3 0.4\n"), "all")
    assert found[0].labels.tolist() == [0, 1, 0]
    assert found.notes == {TWICE: ("a: object 3 (0) [0.5, 0.5, 0.2, 0.4]",)}
    assert "objects labelled twice, used once: 1; a: object 3" in caplog.text


def test_negative_sides_are_swapped_corners(tmp_path):
    found = yolo.load(one_photo(tmp_path, "0 0.5 0.5 -0.2 0.4\n0 0.5 0.5 0 0.4\n"), "all")
    assert found[0].boxes.tolist() == [[40, 15, 59, 34]]
    assert len(found.notes[SWAPPED]) == 1
    assert found.dropped == ("a: object 2 (0) [0.5, 0.5, 0, 0.4] is empty",)
