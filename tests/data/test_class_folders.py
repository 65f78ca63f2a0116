"""Class folders of photos, and the classes of objects in photos."""

from pathlib import Path

import numpy as np
import pytest

from data import class_folders, voc
from data.class_folders import LabelledPhotos
from data.records import Dataset, ImageRecord


def make(root, **counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.jpg").touch()
    return root


def test_each_folder_is_a_class_and_files_beside_them_are_ignored(tmp_path):
    make(tmp_path, dog=2, cat=1)
    (tmp_path / "README.txt").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "dog" / "notes.txt").touch()
    (tmp_path / "dog" / "young").mkdir()
    (tmp_path / "dog" / "young" / "x.PNG").touch()
    (tmp_path / "dog" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "dog" / ".ipynb_checkpoints" / "0.jpg").touch()
    (tmp_path / "dog" / "folder.jpg").mkdir()
    found = class_folders.from_folder(tmp_path)
    assert found.classes == ("cat", "dog")
    assert [p.relative_to(tmp_path).as_posix() for p in found.paths] == [
        "cat/0.jpg", "dog/0.jpg", "dog/1.jpg", "dog/young/x.PNG",
    ]  # fmt: skip
    assert found.labels.tolist() == [0, 1, 1, 1]
    assert found.truth.tolist() == [[1, -1], [-1, 1], [-1, 1], [-1, 1]]


@pytest.mark.parametrize(
    ("counts", "error", "words"),
    [
        ({"cat": 2, "dog": 0}, ValueError, "dog: holds no photos; add some or remove the folder"),
        ({"train": 2}, ValueError, "only one class, train; expected .* within train and test"),
        ({}, FileNotFoundError, "holds no folders; expected one folder of photos per class"),
    ],
)
def test_unusable_folders_are_an_error_that_says_why(tmp_path, counts, error, words):
    with pytest.raises(error, match=words):
        class_folders.from_folder(make(tmp_path, **counts))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        class_folders.from_folder(tmp_path / "nowhere")


def test_a_test_folder_may_lack_a_class(tmp_path):
    make(tmp_path / "train", a=1, b=1, c=1)
    make(tmp_path / "test", c=2)
    assert class_folders.splits(tmp_path) == ("train", "test")
    assert class_folders.from_folder(tmp_path / "test", ("a", "b", "c")).labels.tolist() == [2, 2]


def test_a_class_named_train_is_not_a_split(tmp_path):
    assert class_folders.splits(make(tmp_path, train=1, bus=1)) is None


def record(name, labels, difficult):
    boxes = np.zeros((len(labels), 4), np.float32)
    return ImageRecord(name, Path(name), (9, 9), boxes, np.array(labels, np.int64), np.array(difficult, bool))


def test_classes_whose_objects_are_all_difficult_are_ignored():
    records = (record("a", [0, 0, 1], [True, False, True]), record("b", [], []))
    found = class_folders.of_objects(Dataset("d", ("x", "y", "z"), records))
    assert found.truth.tolist() == [[1, 0, -1], [-1, -1, -1]]
    with pytest.raises(ValueError, match="b has 0 classes, expected one per photo"):
        _ = found.labels


def test_real_photos_have_their_classes(shared):
    photos = class_folders.of_objects(voc.load(shared / "voc2007" / "VOCdevkit2007", "2007", "mini_test"))
    person = photos.classes.index("person")
    assert (photos.truth[:, person] == 1).sum() > 20
    assert set(np.unique(photos.truth)) == {-1, 0, 1}


def photos_of(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    paths = tuple(Path(f"{i}.jpg") for i in range(len(labels)))
    return LabelledPhotos("p", tuple("abc"[: len(counts)]), paths, class_folders.one_class(labels, len(counts)))


def test_divide_draws_the_requested_numbers_of_photos_per_class():
    train, test = class_folders.divide(photos_of(40, 9), 5, 20, seed=0)
    assert np.bincount(train.labels).tolist() == [5, 5]
    assert np.bincount(test.labels).tolist() == [20, 4]
    assert not set(train.paths) & set(test.paths)
    again, other = (class_folders.divide(photos_of(40, 9), 5, 20, seed=s)[0].paths for s in (0, 1))
    assert again == train.paths
    assert other != train.paths


def test_a_class_with_too_few_photos_is_named():
    with pytest.raises(ValueError, match="b has 5 photos, expected 5 for training and one for testing"):
        class_folders.divide(photos_of(40, 5), 5, 20, seed=0)
