"""Folders of photos that are links."""

import os

import pytest
from PIL import Image

from data import class_folders, datasets
from data.folders import files_below, named
from data.minivoc import generate
from tests.data.test_yolo import BOX, photo, write


def link(path, target):
    path.symlink_to(os.path.relpath(target, path.parent), target_is_directory=True)


def test_links_are_followed_and_each_file_comes_once(tmp_path):
    for name in ("set/a/1.jpg", "set/a/deep/2.jpg", "elsewhere/3.jpg", "set/.hidden/4.jpg", "set/a/._1.jpg"):
        write(tmp_path / name, "")
    link(tmp_path / "set" / "0 first", tmp_path / "set" / "a" / "deep")  # sorts before the folder itself
    link(tmp_path / "set" / "b", tmp_path / "elsewhere")
    link(tmp_path / "set" / "c", tmp_path / "elsewhere")
    link(tmp_path / "set" / "a" / "loop", tmp_path)
    link(tmp_path / "set" / "self", tmp_path / "set" / "self")
    link(tmp_path / "set" / "broken.jpg", tmp_path / "nowhere.jpg")
    found = [p.relative_to(tmp_path).as_posix() for p in files_below(tmp_path / "set")]
    assert found == ["set/a/1.jpg", "set/a/deep/2.jpg", "set/b/3.jpg"]


def test_names_match_in_any_case_but_exactly_first(tmp_path):
    (tmp_path / "Labels").mkdir()
    assert named(tmp_path, "labels") == tmp_path / "Labels"
    (tmp_path / "labels").mkdir()
    assert named(tmp_path, "labels") == tmp_path / "labels"
    assert named(tmp_path / "none", "labels") == tmp_path / "none" / "labels"


def test_yolo_reads_photos_in_linked_folders(tmp_path):
    for i, place in enumerate(["set", "store"] * 2):
        photo(tmp_path / place / "images" / f"{i}.png")
        write(tmp_path / place / "labels" / f"{i}.txt", BOX)
    for kind in ("images", "labels"):
        link(tmp_path / "set" / kind / "more", tmp_path / "store" / kind)
    link(tmp_path / "link", tmp_path / "set")
    for root in (tmp_path / "set", tmp_path / "link"):
        found = datasets.load(root, "all")
        assert sorted(r.id for r in found) == ["0", "1", "2", "3"]
        assert all(len(r.boxes) == 1 for r in found)


def test_classes_and_their_subfolders_may_be_links(tmp_path):
    photo(tmp_path / "store" / "1.jpg")
    photo(tmp_path / "set" / "cat" / "2.jpg")
    link(tmp_path / "set" / "cat" / "more", tmp_path / "store")
    link(tmp_path / "set" / "dog", tmp_path / "store")
    found = class_folders.from_folder(tmp_path / "set")
    assert [p.relative_to(tmp_path).as_posix() for p in found.paths] == [
        "set/cat/2.jpg", "set/cat/more/1.jpg", "set/dog/1.jpg",
    ]  # fmt: skip
    assert found.labels.tolist() == [0, 0, 1]


def test_voc_folders_may_be_links(tmp_path):
    devkit = generate(tmp_path / "minivoc", 2, 1, seed=0)
    folder = next(devkit.glob("VOC*"))
    for name in ("Annotations", "JPEGImages", "ImageSets"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    assert len(datasets.load(devkit, "trainval")) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read every folder")
def test_a_folder_that_cannot_be_read_is_an_error(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "1.jpg")
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(PermissionError, match="closed"):
        files_below(tmp_path)
