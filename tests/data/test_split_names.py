"""Splits are taken for what their names say, in every format."""

import pytest

from data import class_folders, datasets
from data.split_names import for_purpose, kind_of
from tests.commands import train
from tests.data.test_coco import write as write_coco
from tests.data.test_cvat import BOXED
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import BOX, photo, write
from tests.data.tools import cvat as write_cvat
from tests.data.tools import cvat_image


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "train") for name in ("train", "Train", "TRAINING", "train2017", "train_labels", "images-train")),
        *((name, "val") for name in ("val", "valid", "Valid", "validation", "dev", "val2017", "val_annotations")),
        *((name, "test") for name in ("test", "testing", "Test_2012", "test.coco")),
        *((name, "trainval") for name in ("trainval", "train_val", "trainval2012")),
        *((name, None) for name in ("", "all", "trainval2600", "mini_train", "cat_train", "trainer", "labels", "2017")),
    ],
)
def test_a_name_says_what_a_split_is_for(name, kind):
    assert kind_of(name) == kind


def test_the_preferred_kind_of_split_is_chosen():
    assert for_purpose(["val", "test", "train", "trainval"], "train") == ["trainval"]
    assert for_purpose(["val2017", "testing", "train"], "test") == ["testing"]
    assert for_purpose(["val", "valid", "train"], "test") == ["val", "valid"]
    assert for_purpose(["train"], "test") == []


def voc_of(root, splits):
    write_voc(root, {f"{split}{i}": xml(obj()) for split in splits for i in "ab"})
    (root / "ImageSets" / "Main" / "trainval.txt").unlink()
    for split in splits:
        write(root / "ImageSets" / "Main" / f"{split}.txt", f"{split}a\n{split}b\n")


def voc_folders_of(root, splits):
    size = "<size><width>100</width><height>50</height></size>"
    for split in splits:
        for i in "ab":
            photo(root / split / f"{split}{i}.png")
            write(root / split / f"{split}{i}.xml", xml(obj(), size=size))


def coco_of(root, splits):
    for split in splits:
        (root / split).mkdir(parents=True)
        write_coco(root / split, [(i, f"{split}{i}.png") for i in (1, 2)], [(1, 1, [0, 0, 9, 9])])
        (root / "annotations").mkdir(exist_ok=True)
        (root / split / "boxes.json").rename(root / "annotations" / f"instances_{split}.json")


def roboflow_of(root, splits):
    coco_of(root, splits)
    for split in splits:
        (root / "annotations" / f"instances_{split}.json").rename(root / split / "_annotations.coco.json")


def yolo_of(root, splits):
    for split in splits:
        for i in "ab":
            photo(root / "images" / split / f"{split}{i}.png")
            write(root / "labels" / split / f"{split}{i}.txt", BOX)


def yolo_beside_of(root, splits):
    for split in splits:
        for i in "ab":
            photo(root / split / f"{split}{i}.png")
            write(root / split / f"{split}{i}.txt", BOX)


def yaml_of(root, splits):
    yolo_beside_of(root, splits)
    write(root / "data.yaml", "names: [cat]\n" + "".join(f"{split}: {split}\n" for split in splits))


def csv_of(root, splits):
    for split in splits:
        for i in "ab":
            photo(root / split / f"{split}{i}.png")
        rows = [f"{split}{i}.png,0,0,9,9,cat" for i in "ab"]
        write(root / f"{split}.csv", "\n".join(["file,xmin,ymin,xmax,ymax,class", *rows]))


def column_of(root, splits):
    for split in splits:
        for i in "ab":
            photo(root / split / f"{split}{i}.png")
    rows = [f"{split}{i}.png,0,0,9,9,cat,{split}" for split in splits for i in "ab"]
    write(root / "boxes.csv", "\n".join(["file,xmin,ymin,xmax,ymax,class,split", *rows]))


MAKERS = [
    *(voc_of, voc_folders_of, coco_of, roboflow_of),
    *(yolo_of, yolo_beside_of, yaml_of, csv_of, column_of),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("splits", "usual"),
    [
        (("train2017", "val2017"), ("train2017", "val2017")),
        (("training", "testing"), ("training", "testing")),
        (("Train", "valid"), ("Train", "valid")),
        (("train", "dev"), ("train", "dev")),
        (("train", "valid", "test"), ("train", "test")),
    ],
)
def test_splits_of_every_format_are_taken_for_what_they_are(tmp_path, make, splits, usual):
    make(tmp_path / "set", splits)
    assert datasets.usual(tmp_path / "set") == usual
    for split in usual:
        assert sorted(r.id for r in datasets.load(tmp_path / "set", split)) in (
            [f"{split}a", f"{split}b"],
            [f"{split}1", f"{split}2"],
        )


@pytest.mark.parametrize("make", MAKERS)
def test_where_two_could_be_meant_the_error_names_them_and_the_flag(tmp_path, make):
    make(tmp_path / "set", ("train", "train2017", "val", "valid"))
    with pytest.raises(ValueError, match=r"train and train2017 could each be the train split; .* --train-split"):
        datasets.usual_split(tmp_path / "set", "train")
    with pytest.raises(ValueError, match=r"val and valid could each be the test split; .* --test-split or --split"):
        datasets.usual_split(tmp_path / "set", "test")


def test_folders_of_classes_may_be_in_splits_of_any_usual_name(tmp_path):
    for split in ("Training", "valid"):
        for name in ("cat", "dog"):
            photo(tmp_path / split / name / "1.png")
    assert class_folders.splits(tmp_path) == ("Training", "valid")
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match="val and valid could each be one split; rename all but one"):
        class_folders.splits(tmp_path)


LEADING_OUT = ["../../../train", "a/b", "a\\b", "..", "C:train", "x" * 151]


@pytest.mark.parametrize("split", LEADING_OUT)
def test_names_of_splits_that_could_lead_out_of_a_folder_are_refused(tmp_path, split):
    photo(tmp_path / "a.png")
    table, tool = tmp_path / "csv" / "boxes.csv", tmp_path / "cvat" / "annotations.xml"
    header = "file,xmin,ymin,xmax,ymax,class,split"
    write(table, f'{header}\na.png,0,0,9,9,cat,"{split}"\na.png,0,0,9,9,cat,val\n')
    tool.parent.mkdir()
    write_cvat(tool, [(cvat_image("a.png", split), BOXED), (cvat_image("b.png", "val"), BOXED)])
    for path in (table, table.parent, tool, tool.parent):
        with pytest.raises(ValueError, match=rf"{path.name}: split '.*; rename the split, in its column"):
            datasets.splits(path, images=tmp_path)
        with pytest.raises(ValueError, match="rename the split"):
            datasets.load(path, split, images=tmp_path)


def test_names_of_splits_in_names_of_files_are_checked_too(tmp_path):
    coco_of(tmp_path, ("train",))
    for file in tmp_path.rglob("*.json"):
        file.rename(file.with_name("instances_...json"))
    write(tmp_path / "annotations" / "instances_val.json", '{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ValueError, match=r"split '\.\.' is not a plain file name"):
        datasets.splits(tmp_path)


def test_a_command_refuses_a_split_that_leads_out_of_the_run_before_any_work(tmp_path, capsys):
    column_of(tmp_path / "set", ("a/b", "val"))
    run = tmp_path / "below" / "run"
    assert train(["--data", tmp_path / "set", "--run", run, "--train-split", "a/b"]) == 1
    assert "set: split 'a/b' is not a plain file name; rename the split" in capsys.readouterr().err
    column_of(tmp_path / "other", ("train", "val"))
    assert train(["--data", tmp_path / "other", "--run", run, "--train-split", "../train"]) == 1
    assert "split '../train' is not a plain file name" in capsys.readouterr().err
    assert not run.exists()
