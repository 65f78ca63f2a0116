"""Written data sets: photos, names and everything that a format cannot hold."""

import json
import os

import numpy as np
import pytest
import yaml
from defusedxml.ElementTree import fromstring
from PIL import Image

from data import datasets, writers
from data.records import Dataset, ImageRecord, PredictedRecord
from tests.data.test_yolo import photo

FORMATS = tuple(writers.FORMATS)
TURNED = 6  # EXIF orientation


def record(path, boxes=(), labels=None, image_id=None, size=(50, 100), difficult=None):
    labels = [0] * len(boxes) if labels is None else labels
    return ImageRecord(
        image_id or path.stem,
        path,
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(difficult or [False] * len(boxes), bool),
    )


def of(*records, classes=("cat",)):
    return Dataset("a set", classes, tuple(records))


BOX = (10, 5, 29, 24)


def one(tmp_path, **changes):
    """A split of one photo with one object."""
    return {"train": of(record(photo(tmp_path / "photos" / "a.png"), [BOX], **changes))}


# ---- photos and the folder


@pytest.mark.parametrize("format", FORMATS)
def test_photos_are_links_by_default_and_copies_on_request(tmp_path, format):
    found = one(tmp_path)
    original = found["train"][0].path
    for copy in (False, True):
        done = writers.write(tmp_path / f"out-{copy}", found, format, copy)
        (written,) = datasets.load(tmp_path / f"out-{copy}", "all")
        assert os.path.samefile(written.path, original) is not copy
        assert (done.linked, done.copied) == ((0, 1) if copy else (1, 0))
        assert written.path.read_bytes() == original.read_bytes()


def test_where_links_are_impossible_photos_are_copied(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("different file systems")

    monkeypatch.setattr("os.link", refuse)
    done = writers.write(tmp_path / "out", one(tmp_path), "voc")
    assert (done.linked, done.copied) == (0, 1)
    assert len(datasets.load(tmp_path / "out", "all")) == 1


def test_the_photo_behind_a_symbolic_link_is_linked(tmp_path):
    original = photo(tmp_path / "original.png")
    (tmp_path / "a.png").symlink_to(original)
    writers.write(tmp_path / "out", {"train": of(record(tmp_path / "a.png", [BOX]))}, "coco")
    written = tmp_path / "out" / "train" / "a.png"
    assert not written.is_symlink()
    assert os.path.samefile(written, original)


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten(tmp_path, format):
    for there in ("file", "folder", "link"):
        target = tmp_path / there
        if there == "file":
            target.write_text("mine")
        elif there == "folder":
            (target / "kept").mkdir(parents=True)
        else:
            target.symlink_to(tmp_path / "nowhere")
        with pytest.raises(FileExistsError, match="exists, and nothing is overwritten; name a new or empty folder"):
            writers.write(target, one(tmp_path), format)
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "folder" / "kept").is_dir()
    (tmp_path / "empty").mkdir()
    writers.write(tmp_path / "empty", one(tmp_path), format)
    assert len(datasets.load(tmp_path / "empty", "all")) == 1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_data_set_is_written_whole_or_not_at_all(tmp_path, format, error, monkeypatch):
    found = {"train": of(*(record(photo(tmp_path / "photos" / f"{i}.png"), [BOX]) for i in range(3)))}
    put = writers.Photos.put

    def fail(self, path, target):
        if path.stem == "2":
            raise error
        put(self, path, target)

    monkeypatch.setattr(writers.Photos, "put", fail)
    with pytest.raises(error):
        writers.write(tmp_path / "new" / "out", found, format)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_photo_is_named(tmp_path, format):
    found = one(tmp_path)
    found["train"][0].path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        writers.write(tmp_path / "out", found, format)
    assert not (tmp_path / "out").exists()


# ---- names


@pytest.mark.parametrize("format", FORMATS)
def test_photos_of_one_name_in_several_folders_and_splits_are_kept_apart(tmp_path, format):
    def scene(place, red):
        path = tmp_path / "photos" / place / "1.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (100, 50), (red, 0, 0)).save(path)
        return path

    train = [record(scene(f"train/{name}", i), [BOX], image_id=f"{name}-1") for i, name in enumerate("ab")]
    test = [record(scene("test", 9), [BOX], image_id="1"), record(photo(tmp_path / "photos" / "2.png"))]
    writers.write(tmp_path / "out", {"train": of(*train), "test": of(*test)}, format)
    for split, records in (("train", train), ("test", test)):
        again = datasets.load(tmp_path / "out", split)
        assert {r.path.read_bytes() for r in again} == {r.path.read_bytes() for r in records}
        if split == "train":
            assert sorted(r.id for r in again) == ["a-1", "b-1"]


def test_names_that_differ_only_in_case_are_kept_apart_in_one_folder(tmp_path):
    found = {"train": of(record(photo(tmp_path / "x" / "a.png"))), "test": of(record(photo(tmp_path / "y" / "A.png")))}
    writers.write(tmp_path / "out", found, "voc")
    assert {p.name for p in (tmp_path / "out" / "JPEGImages").iterdir()} == {"train-a.png", "test-A.png"}


def test_photos_that_would_still_have_one_name_are_refused(tmp_path):
    taken = [
        record(photo(tmp_path / place), image_id=i) for place, i in (("x/a.png", "b"), ("y/a.png", "a"), ("b.png", "c"))
    ]
    with pytest.raises(ValueError, match=r"b\.png and .*a\.png: would both be called b; rename one"):
        writers.write(tmp_path / "out", {"train": of(*taken)}, "coco")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", "a\tb", "\ud800", "", " cat", "cat\n"])
def test_class_names_that_label_files_cannot_hold_are_refused(tmp_path, format, name):
    found = {"train": of(record(photo(tmp_path / "a.png"), [BOX]), classes=(name,))}
    with pytest.raises(ValueError, match=r"class .*; rename it") as error:
        writers.write(tmp_path / "out", found, format)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["a/b", "a\\b", 'a "b", c', "yes", "1.0", "<b>", "&amp;", "#1", "Ä: ö", "🚗", "a  b"])
def test_any_other_class_name_is_written(tmp_path, format, name):
    found = {"train": of(record(photo(tmp_path / "a.png"), [BOX]), classes=(name,))}
    writers.write(tmp_path / "out", found, format)
    assert datasets.load(tmp_path / "out", "all").classes == (name,)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("split", ["a/b", "..", "a\\b", "c:d", ".hidden", "a\nb", ""])
def test_names_of_splits_that_are_no_file_names_are_refused(tmp_path, format, split):
    with pytest.raises(ValueError, match=r"split .*rename it"):
        writers.write(tmp_path / "out", {split: one(tmp_path)["train"]}, format)


@pytest.mark.parametrize("format", FORMATS)
def test_photo_names_with_line_breaks_are_refused(tmp_path, format):
    found = {"train": of(record(photo(tmp_path / "a\nb.png"), [BOX]))}
    with pytest.raises(ValueError, match=r"photo 'a\\nb' has line breaks"):
        writers.write(tmp_path / "out", found, format)


def test_voc_refuses_names_that_its_readers_would_mistake(tmp_path):
    found = {"train": of(record(photo(tmp_path / "a:b.png"), [BOX]))}
    with pytest.raises(ValueError, match="VOC cannot hold the name 'a:b'; rename the photo"):
        writers.write(tmp_path / "out", found, "voc")
    found = {"train": one(tmp_path)["train"], "my_train": one(tmp_path)["train"]}
    with pytest.raises(ValueError, match="split 'my_train': VOC's readers take it for a class in the split 'train'"):
        writers.write(tmp_path / "out", found, "voc")


def test_splits_that_differ_only_in_case_or_are_empty_are_refused(tmp_path):
    found = one(tmp_path)["train"]
    with pytest.raises(ValueError, match="splits Train, train: two names differ only in case"):
        writers.write(tmp_path / "out", {"Train": found, "train": found}, "coco")
    with pytest.raises(ValueError, match="a set: has no photos to write"):
        writers.write(tmp_path / "out", {"train": of()}, "coco")


# ---- splits and classes


@pytest.mark.parametrize("format", FORMATS)
def test_a_photo_in_several_splits_is_in_all_of_them(tmp_path, format):
    first, second = (record(photo(tmp_path / "photos" / f"{name}.png"), [BOX]) for name in "ab")
    found = {"trainval": of(first, second), "train": of(first), "val": of(second)}
    writers.write(tmp_path / "out", found, format)
    again = datasets.load_all(tmp_path / "out")
    assert {split: [r.id for r in of_split] for split, of_split in again.items()} == {
        "trainval": ["a", "b"],
        "train": ["a"],
        "val": ["b"],
    }


def test_different_labels_of_one_photo_in_two_splits_do_not_fit_into_voc(tmp_path):
    path = photo(tmp_path / "photos" / "a.png")
    found = {"train": of(record(path, [BOX])), "test": of(record(path, [BOX, (1, 1, 5, 5)]))}
    with pytest.raises(ValueError, match=r"a\.png: has other labels in test than in another split; VOC holds one set"):
        writers.write(tmp_path / "out", found, "voc")
    writers.write(tmp_path / "out", found, "coco")
    assert [len(datasets.load(tmp_path / "out", split)[0].boxes) for split in found] == [1, 2]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("split", ["all", "train", "test", "fold1"])
def test_the_only_split_keeps_its_meaning(tmp_path, format, split):
    found = {split: of(*(record(photo(tmp_path / "photos" / f"{i}.png"), [BOX]) for i in range(4)))}
    writers.write(tmp_path / "out", found, format)
    divided = ("all", "train", "test")
    assert datasets.splits(tmp_path / "out") == (("test",) if split == "test" else divided)
    assert list(datasets.load_all(tmp_path / "out")) == [split]


@pytest.mark.parametrize("format", FORMATS)
def test_splits_with_different_classes_share_one_list(tmp_path, format):
    first = of(record(photo(tmp_path / "photos" / "a.png"), [BOX], [1]), classes=("cat", "dog"))
    second = of(record(photo(tmp_path / "photos" / "b.png"), [BOX, (1, 1, 9, 9)], [0, 1]), classes=("fish", "cat"))
    writers.write(tmp_path / "out", {"train": first, "test": second}, format)
    for split, names in (("train", ["dog"]), ("test", ["fish", "cat"])):
        found = datasets.load(tmp_path / "out", split)
        assert [found.classes[k] for k in found[0].labels] == names


@pytest.mark.parametrize("format", FORMATS)
def test_photos_without_any_object_are_written(tmp_path, format, caplog):
    found = {"train": of(*(record(photo(tmp_path / "photos" / f"{i}.png")) for i in range(2)), classes=())}
    writers.write(tmp_path / "out", found, format)
    assert [r.boxes.shape for r in datasets.load(tmp_path / "out", "all")] == [(0, 4), (0, 4)]


@pytest.mark.parametrize(
    ("splits", "keys"),
    [(("train", "val", "test"), ["train", "val", "test"]), (("train",), ["train"]), (("trainval", "test"), [])],
)
def test_data_yaml_names_splits_that_yolo_knows(tmp_path, splits, keys):
    found = one(tmp_path)["train"]
    writers.write(tmp_path / "out", dict.fromkeys(splits, found), "yolo")
    content = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert content == {key: f"images/{key}" for key in keys} | {"nc": 1, "names": ["cat"]}
    assert set(datasets.load_all(tmp_path / "out")) == set(splits)


# ---- boxes


def test_boxes_at_the_border_stay_in_the_photo(tmp_path):
    sizes = [(w, 7) for w in range(10, 60)]
    paths = [photo(tmp_path / "photos" / f"{w}.png", (w, h)) for w, h in sizes]
    boxes = [[(0.1 + 0.13 * (w % 7), 0.3, w - 1, h - 1)] for w, h in sizes]
    records = [record(p, b, size=(h, w)) for p, b, (w, h) in zip(paths, boxes, sizes, strict=True)]
    for format in FORMATS:
        writers.write(tmp_path / format, {"train": of(*records)}, format)
        found = datasets.load(tmp_path / format, "all")
        assert found.clipped == found.dropped == ()
        by_id = {r.id: r for r in found}
        for r in records:
            np.testing.assert_allclose(by_id[r.id].boxes, r.boxes, atol=1e-3)


def test_a_box_that_would_be_taken_for_fractions_is_refused_in_tables(tmp_path):
    found = {"train": of(record(photo(tmp_path / "photos" / "a.png"), [(0.25, 0, 1, 1)]))}
    with pytest.raises(ValueError, match="would be taken for fractions"):
        writers.write(tmp_path / "csv", found, "csv")
    for format in set(FORMATS) - {"csv"}:
        writers.write(tmp_path / format, found, format)
        assert datasets.load(tmp_path / format, "all")[0].boxes.tolist() == [[0.25, 0, 1, 1]]


def test_labels_for_the_stored_pixels_of_a_turned_photo_are_kept_or_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = TURNED
    path = tmp_path / "a.jpg"
    Image.new("RGB", (100, 50)).save(path, exif=exif)
    for format in FORMATS:
        upright = {"train": of(record(path, [BOX], size=(100, 50)))}
        writers.write(tmp_path / format, upright, format)
        assert datasets.load(tmp_path / format, "all")[0].size == (100, 50)
        stored = {"train": of(record(path, [BOX], size=(50, 100)))}
        if format in ("voc", "coco"):
            writers.write(tmp_path / f"{format}-stored", stored, format)
            assert datasets.load(tmp_path / f"{format}-stored", "all")[0].size == (50, 100)
        else:
            with pytest.raises(ValueError, match=r"a\.jpg: viewers show 50 x 100 pixels, its labels are for 100 x 50"):
                writers.write(tmp_path / f"{format}-stored", stored, format)


def test_difficult_objects_are_crowds_in_coco(tmp_path):
    writers.write(tmp_path / "out", one(tmp_path, difficult=[True]), "coco")
    content = json.loads((tmp_path / "out" / "train" / "_annotations.coco.json").read_text())
    (annotation,) = content["annotations"]
    assert annotation == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [10, 5, 20, 20],
        "area": 400,
        "segmentation": [],
        "iscrowd": 1,
    }


# ---- labelling tools


def predicted(tmp_path, probabilities=None):
    """A split of a photo with two found objects and one without any."""
    labelled = record(photo(tmp_path / "photos" / "a b.png"), [BOX, (0, 0, 99, 49)], [1, 0])
    empty = record(photo(tmp_path / "photos" / "c.png"))
    found = [
        PredictedRecord(**vars(r), model="m1", probabilities=None if probabilities is None else np.array(p))
        for r, p in ((labelled, probabilities), (empty, []))
    ]
    return {"all": of(*found, classes=("cat", "dog & co"))}


def tasks(folder):
    return json.loads((folder / "all" / "tasks.json").read_text("utf-8"))


def test_found_objects_are_predictions_in_label_studio_with_scores_and_a_label_config(tmp_path):
    writers.write(tmp_path / "out", predicted(tmp_path, [0.9, 0.4]), "label-studio")
    first, second = tasks(tmp_path / "out")
    assert first["data"] == {"image": "/data/local-files/?d=all/images/a%20b.png"}
    assert (tmp_path / "out" / "all" / "images" / "a b.png").is_file()
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("m1", 0.65)
    common = {"type": "rectanglelabels", "original_width": 100, "original_height": 50, "image_rotation": 0}
    value = {"x": 10, "y": 10, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": ["dog & co"]}
    names = {"from_name": "label", "to_name": "image"}
    assert prediction["result"][0] == {"id": "1", **common, **names, "value": value, "score": 0.9}
    assert prediction["result"][1]["value"] | {"rectanglelabels": []} == {
        **dict.fromkeys("xy", 0),
        **{"width": 100, "height": 100, "rotation": 0, "rectanglelabels": []},
    }
    assert second["predictions"] == [{"model_version": "m1", "result": []}]
    config = fromstring((tmp_path / "out" / "label_config.xml").read_text("utf-8"))
    (shown, labels) = config
    assert (config.tag, shown.attrib) == ("View", {"name": "image", "value": "$image"})
    assert (labels.tag, labels.attrib) == ("RectangleLabels", {"name": "label", "toName": "image"})
    assert [(label.tag, label.get("value")) for label in labels] == [("Label", "cat"), ("Label", "dog & co")]


def test_a_detector_without_probabilities_gives_predictions_without_scores(tmp_path):
    writers.write(tmp_path / "out", predicted(tmp_path), "label-studio")
    (prediction,) = tasks(tmp_path / "out")[0]["predictions"]
    assert "score" not in prediction
    assert all("score" not in region for region in prediction["result"])


def test_cvat_is_told_what_a_detector_found_and_all_labels(tmp_path):
    writers.write(tmp_path / "out", predicted(tmp_path), "cvat")
    root = fromstring((tmp_path / "out" / "annotations.xml").read_bytes())
    assert [name.text for name in root.iterfind("meta/task/labels/label/name")] == ["cat", "dog & co"]
    images = root.findall("image")
    assert [(i.get("id"), i.get("name"), i.get("subset")) for i in images] == [
        ("0", "a b.png", None),
        ("1", "c.png", None),
    ]
    box = images[0].find("box")
    edges = {"xtl": "10", "ytl": "5", "xbr": "30", "ybr": "25"}
    assert box.attrib == {"label": "dog & co", "source": "auto", "occluded": "0", **edges, "z_order": "0"}
    writers.write(tmp_path / "labelled", one(tmp_path), "cvat")
    assert 'source="manual"' in (tmp_path / "labelled" / "annotations.xml").read_text()
