"""Photos that lie elsewhere than the labels say: on another machine, in another folder, or where --images says."""

import shutil

import pytest

from data import datasets
from data.photo_search import MOVED, PhotoSearch
from tests.data.test_coco import write as write_coco
from tests.data.test_table import HEADER
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import BOX, photo, write

NAMES = ("a.png", "b.png")


def coco_file(root, stated):
    write_coco(root, [(1, "a.png"), (2, "b.png")], [(1, 1, [0, 0, 9, 9]), (2, 2, [0, 0, 9, 9])])
    path = root / "boxes.json"
    for name in NAMES:
        (root / name).unlink()
        path.write_text(path.read_text().replace(f'"{name}"', f'"{stated(name)}"'.replace("\\", "\\\\")))


def csv_file(root, stated):
    write(root / "boxes.csv", HEADER + "".join(f"{stated(name)},0,0,9,9,cat\n" for name in NAMES))


def yolo_list(root, stated):
    write(root / "train.txt", "".join(f"{stated(name)}\n" for name in NAMES))
    write(root / "data.yaml", "train: train.txt\nnames: [cat]\n")


LISTS = (coco_file, csv_file, yolo_list)
PREFIXES = ["images\\", "C:\\Users\\me\\set\\images\\", "/home/me/set/images/", "set/images/", "./images/", "images/"]


@pytest.mark.parametrize("write_list", LISTS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_paths_of_another_machine_are_found_by_their_end_and_told_once(tmp_path, caplog, write_list, prefix):
    write_list(tmp_path, lambda name: prefix + name)
    for name in NAMES:
        photo(tmp_path / "images" / name)
    found = datasets.load(tmp_path, "all")
    assert [r.path for r in found] == [tmp_path / "images" / name for name in NAMES]
    moved = prefix not in ("./images/", "images/")
    assert len(found.notes.get(MOVED, ())) == 2 * moved
    assert [MOVED in message for message in caplog.messages].count(True) == moved


@pytest.mark.parametrize("write_list", LISTS)
def test_photos_in_folders_that_are_named_otherwise_are_found_below_the_data_set(tmp_path, write_list):
    write_list(tmp_path, lambda name: f"D:\\photos\\{name[0]}\\{name}")
    for name in NAMES:
        photo(tmp_path / "pictures" / "2024" / name[0] / name)
    assert [r.path.parent.name for r in datasets.load(tmp_path, "all")] == ["a", "b"]


def search(root, *stated):
    return PhotoSearch([root], root, root / "labels").find(stated)


def test_a_missing_photo_is_not_replaced_by_another_of_its_name(tmp_path):
    for name in ("train/a.png", "train/c.png", "test/a.png", "test/b.png"):
        photo(tmp_path / name)
    for prefix in ("train", "C:\\set\\train", "/set/train"):
        found, _ = search(tmp_path, f"{prefix}/a.png", f"{prefix}/b.png")
        assert found[f"{prefix}/a.png"] == tmp_path / "train" / "a.png"
        assert not found[f"{prefix}/b.png"].exists()
    found, _ = search(tmp_path / "train", "/x/a.png", "/x/b.png")
    assert [path.exists() for path in found.values()] == [True, False]


def test_the_longest_end_decides(tmp_path):
    for name in ("day1/front/a.png", "day2/front/a.png", "day2/back/a.png"):
        photo(tmp_path / "x" / name)
    found, moved = search(tmp_path, "/disk/day2/front/a.png")
    assert found == {"/disk/day2/front/a.png": tmp_path / "x" / "day2" / "front" / "a.png"}
    assert moved == [f"/disk/day2/front/a.png: {tmp_path / 'x/day2/front/a.png'}"]


def test_a_path_that_can_mean_two_photos_is_refused(tmp_path):
    for width, name in enumerate(("day1/a.png", "day2/a.png"), 9):
        photo(tmp_path / name, (width, 9))
    with pytest.raises(ValueError, match=r"labels: a\.png can be .*day1/a\.png or .*day2/a\.png; .*--images"):
        search(tmp_path, "a.png")


def test_copies_of_a_photo_are_one_photo(tmp_path):
    for name in ("day1/a.png", "day2/a.png"):
        photo(tmp_path / name)
    assert search(tmp_path, "a.png")[0] == {"a.png": tmp_path / "day1" / "a.png"}


def test_a_photo_in_the_folder_of_another_split_is_not_taken(tmp_path):
    for name in ("test/a.png", "photos/b.png"):
        photo(tmp_path / name)
    found, moved = search(tmp_path, "/set/train/a.png", "/set/train/b.png")
    assert [path.exists() for path in found.values()] == [False, True]
    assert len(moved) == 1


def test_two_paths_that_lead_to_one_photo_are_refused(tmp_path):
    photo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"labels: C:\\1\\a\.png and C:\\2\\a\.png both lead to .*a\.png"):
        search(tmp_path, "C:\\1\\a.png", "C:\\2\\a.png")


def test_slashes_and_backslashes_may_be_mixed(tmp_path):
    stated = ("images/a.png", "images\\b.png", "/images/c.png")
    for name in "abc":
        photo(tmp_path / "images" / f"{name}.png")
    found, moved = search(tmp_path, *stated)
    assert [path.relative_to(tmp_path).as_posix() for path in found.values()] == [f"images/{i}.png" for i in "abc"]
    assert len(moved) == 2


def test_names_may_lack_the_suffix_or_differ_in_case(tmp_path):
    for name in ("Images/a.JPG", "Images/b.png"):
        photo(tmp_path / name)
    found, _ = search(tmp_path, "images/A.jpg", "b")
    assert [path.name for path in found.values()] == ["a.JPG", "b.png"]


# ---- photos in another folder


def coco_data(root):
    (root / "annotations").mkdir(parents=True)
    coco_file(root, lambda name: f"train/{name}")
    (root / "boxes.json").rename(root / "annotations" / "instances_all.json")


def csv_data(root):
    csv_file(root, lambda name: f"C:\\x\\{name}")


def yolo_folders(root):
    for name in NAMES:
        write(root / "labels" / "train" / f"{name[0]}.txt", BOX)
    write(root / "classes.txt", "cat\n")


def yolo_yaml(root):
    yolo_folders(root)
    write(root / "data.yaml", "train: ../images/train\nnames: [cat]\n")


def voc_lists(root):
    write_voc(root, {name[0]: xml(obj("cat"), size="") for name in NAMES})
    shutil.rmtree(root / "JPEGImages")


def voc_files(root):
    for name in NAMES:
        write(root / f"{name[0]}.xml", xml(obj("cat"), size=""))


DATA = (coco_data, csv_data, yolo_folders, yolo_yaml, voc_lists, voc_files)


@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize("place", ["", "train"])
def test_photos_may_be_in_another_folder(tmp_path, caplog, make, place):
    root, images = tmp_path / "set", tmp_path / "photos"
    root.mkdir()
    make(root)
    for name in NAMES:
        photo(images / place / name)
    assert datasets.usual(root, images=images) == ("train", "test")
    found = datasets.load(root, "train", images=images), datasets.load(root, "test", images=images)
    assert sorted(r.path for part in found for r in part) == [images / place / name for name in NAMES]
    assert all(len(r.boxes) == 1 for part in found for r in part)
    assert "without a" not in caplog.text


@pytest.mark.parametrize("make", DATA)
def test_missing_photos_name_the_flag(tmp_path, make):
    root = tmp_path / "set"
    root.mkdir()
    make(root)
    with pytest.raises(FileNotFoundError, match="name it with --images"):
        datasets.load(root, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"image is missing.*; if the photos are in .* name it with --images"):
        datasets.load(root, "train", images=tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder of photos"):
        datasets.load(root, "train", images=tmp_path / "nowhere")


def test_yolo_photos_in_another_folder_that_no_label_names_are_told(tmp_path, caplog):
    yolo_folders(tmp_path / "set")
    write(tmp_path / "set" / "labels" / "train" / "gone.txt", BOX)
    for name in (*NAMES, "bare.png"):
        photo(tmp_path / "photos" / name)
    found = datasets.load(tmp_path / "set", "all", images=tmp_path / "photos")
    assert [r.id for r in found] == ["a", "b"]
    assert "labels without a photo: 1" in caplog.text
    assert f"photos without an annotation, left out: 1; {tmp_path / 'photos' / 'bare.png'}" in caplog.text


def test_a_list_of_voc_may_name_photos_in_any_subfolder_but_only_one_each(tmp_path):
    voc_lists(tmp_path / "set")
    for name in ("set/images/1/a.png", "set/images/2/b.png"):
        photo(tmp_path / name)
    assert [len(r.boxes) for r in datasets.load(tmp_path / "set", "all")] == [1, 1]
    photo(tmp_path / "set" / "images" / "2" / "a.png")
    with pytest.raises(ValueError, match=r"image a can be .*1/a\.png or .*2/a\.png"):
        datasets.load(tmp_path / "set", "all")
