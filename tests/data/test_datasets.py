"""Data sets with one list are divided; objects of classes that training lacks are left out."""

import shutil

import numpy as np
import pytest
from PIL import Image

from data import class_folders, datasets
from sppnet.run import DataSource
from sppnet.settings.shared import DatasetSettings
from tests.data.test_coco import write as write_coco
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import BOX, photo, write

IDS = [str(i) for i in range(12)]


def one_voc(root):
    write_voc(root, {i: xml(obj()) for i in IDS})
    (root / "ImageSets" / "Main" / "trainval.txt").rename(root / "ImageSets" / "Main" / "default.txt")


def one_yolo(root):
    for i in IDS:
        photo(root / "images" / "train" / f"{i}.png")
        write(root / "labels" / "train" / f"{i}.txt", BOX)
    write(root / "data.yaml", "train: images/train\nnames: [cat]\n")


def one_yolo_folder(root):
    one_yolo(root)
    write(root / "data.yaml", "names: [cat]\n")


def one_coco(root):
    write_coco(root, [(i, f"{i}.png") for i in IDS], [(i, 1, [0, 0, 9, 9]) for i in IDS])


def one_roboflow(root):
    (root / "train").mkdir(parents=True)
    one_coco(root / "train")
    (root / "train" / "boxes.json").rename(root / "train" / "_annotations.coco.json")


def one_csv(root):
    for i in IDS:
        photo(root / f"{i}.png")
    rows = [f"{i}.png,0,0,9,9,cat,train" for i in IDS]
    write(root / "boxes.csv", "\n".join(["file,xmin,ymin,xmax,ymax,class,split", *rows]))


@pytest.mark.parametrize("make", [one_voc, one_yolo, one_yolo_folder, one_coco, one_roboflow, one_csv])
def test_one_list_is_divided_with_one_line(tmp_path, caplog, make):
    root = tmp_path / "set"
    root.mkdir()
    make(root)
    assert datasets.splits(root) == ("all", "train", "test")
    assert datasets.usual(root) == ("train", "test")
    whole, train, test = (datasets.load(root, split) for split in ("all", "train", "test"))
    assert len(whole) == len(IDS)
    assert {r.id for r in train} | {r.id for r in test} == set(IDS)
    assert len(train) + len(test) == len(IDS)
    assert 1 <= len(test) <= 5
    assert test.name == "set test"
    assert f"divided automatically: {len(train)} for training, {len(test)} for testing" in caplog.text


def test_each_part_of_a_divided_list_has_its_own_faults(tmp_path):
    one_csv(tmp_path)
    rows = [f"{i}.png,9,9,9,9,cat," for i in IDS] + [f"{i}.png,0,0,999,9,cat," for i in IDS]
    write(tmp_path / "boxes.csv", "\n".join(["file,xmin,ymin,xmax,ymax,class,split", *rows]))
    for bad in IDS[:6]:
        (tmp_path / f"{bad}.png").write_text("no photo")
    parts = [datasets.load(tmp_path, split, skip_bad=True) for split in ("train", "test")]
    assert sorted(i for part in parts for i in part.bad) == sorted(IDS[:6])
    for part in parts:
        ids = [r.id for r in part]
        assert [remark.split(":")[0] for remark in part.dropped] == ids
        assert [remark.split(":")[0] for remark in part.clipped] == ids


def test_a_devkit_with_one_list_is_divided_too(tmp_path):
    one_voc(tmp_path / "set")
    source = DataSource.of(DatasetSettings(devkit=tmp_path / "set"))
    assert [source.usual_split(purpose) for purpose in ("train", "test")] == ["train", "test"]
    assert len(source.load("train")) + len(source.load("test")) == len(IDS)
    assert len(source.load("default")) == len(IDS)


def test_a_list_named_for_testing_is_not_divided(tmp_path):
    one_yolo(tmp_path)
    write(tmp_path / "data.yaml", "val: images/train\nnames: [cat]\n")
    assert datasets.splits(tmp_path) == ("val",)
    assert datasets.usual_split(tmp_path, "test") == "val"
    with pytest.raises(ValueError, match="has only val, for testing; call it train to have it divided automatically"):
        datasets.usual_split(tmp_path, "train")


@pytest.mark.parametrize("ids", ["ab", "cd", "ef", "gh", "ij"])
def test_two_photos_are_one_for_training_and_one_for_testing(tmp_path, ids):
    write_coco(tmp_path, [(i, f"{i}.png") for i in ids], [])
    assert [len(datasets.load(tmp_path, split)) for split in ("train", "test")] == [1, 1]


def test_a_single_photo_cannot_be_divided(tmp_path):
    write_coco(tmp_path, [(1, "a.png")], [])
    with pytest.raises(ValueError, match="one image is too few for training and testing"):
        datasets.load(tmp_path, "train")


def test_objects_of_classes_that_training_lacks_are_left_out_and_named(tmp_path, caplog):
    texts = {"a": xml(obj("tram"), obj("fish", extra="<difficult>1</difficult>"), obj("boat")), "b": xml(obj("tram"))}
    found = datasets.load(write_voc(tmp_path / "set", texts), "trainval", classes=["boat", "fish"])
    assert found.classes == ("boat", "fish")
    assert [r.labels.tolist() for r in found] == [[1, 0], []]
    assert found[0].difficult.tolist() == [True, False]
    assert [r.boxes.shape for r in found] == [(2, 4), (0, 4)]
    assert found.left_out == {"tram": 2}
    assert "left out 2 of 4 objects, of classes unknown from training; tram (2)" in caplog.text


def test_photos_of_classes_that_training_lacks_are_left_out_and_named(tmp_path, caplog):
    for name in ("cat", "dog", "tram"):
        photo(tmp_path / name / "1.png")
    found = class_folders.from_folder(tmp_path, ["cat", "dog"])
    assert found.labels.tolist() == [0, 1]
    assert "left out 1 photos, of classes unknown from training: tram (1)" in caplog.text
    with pytest.raises(ValueError, match="none of its folders is one of the 2 classes"):
        class_folders.from_folder(tmp_path, ["bus", "boat"])


def test_class_folders_with_train_alone_are_those_in_it(tmp_path):
    for name in ("cat", "dog"):
        photo(tmp_path / "train" / name / "1.png")
    assert class_folders.from_folder(tmp_path).classes == ("cat", "dog")


def divided(root):
    return tuple({r.id for r in datasets.load(root, split)} for split in ("train", "test"))


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_copies_of_a_photo_are_in_one_part(tmp_path, ending):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (30, 40, 40, 3), np.uint8)
    for i, values in enumerate(pixels):
        Image.fromarray(values).save(tmp_path / f"{i}{ending}")
        write(tmp_path / f"{i}.txt", BOX)
    before = divided(tmp_path)
    for i in range(30):
        for copy in ("copy", "again"):
            shutil.copy(tmp_path / f"{i}{ending}", tmp_path / f"{i}{copy}{ending}")
            write(tmp_path / f"{i}{copy}.txt", BOX)
    after = divided(tmp_path)
    for old, new in zip(before, after, strict=True):
        assert {f"{i}{copy}" for i in old for copy in ("", "copy", "again")} == new


def test_photos_of_one_size_and_beginning_are_not_taken_for_copies(tmp_path):
    """Uncompressed photos with equal borders, as screenshots are, differ in the middle."""
    for i in range(30):
        pixels = np.zeros((100, 100, 3), np.uint8)
        pixels[45:55] = i
        Image.fromarray(pixels).save(tmp_path / f"{i}.bmp")
        write(tmp_path / f"{i}.txt", BOX)
    assert 1 <= len(divided(tmp_path)[1]) <= 15


def test_added_photos_move_no_other_and_names_do_not_matter(tmp_path):
    for i in range(60):
        photo(tmp_path / f"{i}.png")
        write(tmp_path / f"{i}.txt", BOX)
    before = divided(tmp_path)
    for i in range(60, 90):
        photo(tmp_path / f"{i}.png")
        write(tmp_path / f"{i}.txt", BOX)
    after = divided(tmp_path)
    assert before[0] < after[0]
    assert before[1] < after[1]
    for i in range(90):
        for suffix in (".png", ".txt"):
            (tmp_path / f"{i}{suffix}").rename(tmp_path / f"x{i}{suffix}")
    assert divided(tmp_path) == tuple({f"x{i}" for i in part} for part in after)


def test_copies_of_one_photo_cannot_be_divided(tmp_path):
    for i in range(3):
        photo(tmp_path / "a.png").rename(tmp_path / f"{i}.png")
        write(tmp_path / f"{i}.txt", BOX)
    with pytest.raises(ValueError, match="3 copies of one image are too few for training and testing; add others"):
        datasets.load(tmp_path, "train")
