"""Photos of data sets: which files of a folder are photos, and their sizes."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data import class_folders, coco, files, photo_files, table, voc, yolo
from detection import image


def make(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_photos_of_every_suffix_are_found(tmp_path):
    names = [f"{i}{suffix}" for i, suffix in enumerate(photo_files.SUFFIXES)]
    assert {".jfif", ".jpe", ".mpo", ".heic", ".heif", ".gif", ".jp2", ".avif", ".tga"} <= set(photo_files.SUFFIXES)
    make(tmp_path / "a", *names)
    assert sorted(p.name for p in files.images_in(tmp_path)) == sorted(names)
    assert sorted(p.name for p in class_folders.photos_in(tmp_path)) == sorted(names)
    assert set(photo_files.SUFFIXES) == files.PHOTOS


@pytest.mark.parametrize("search", [files.images_in, class_folders.photos_in])
def test_one_line_counts_what_is_left_out(tmp_path, caplog, search):
    caplog.set_level("WARNING", "data")  # earlier commands may have changed it
    make(tmp_path, "a.jpg", "b.raw", "c.RAW", "d.psd", "e", "a.txt", "a.xml", "data.yaml", ".hidden", "Thumbs.db")
    for _ in range(2):
        assert [p.name for p in search(tmp_path)] == ["a.jpg"]
    assert caplog.messages == [f"{tmp_path}: left out 4 files: 2 .raw, 1 .psd, 1 without a suffix"]


def test_of_photos_with_one_name_the_preferred_one_is_used(tmp_path, caplog):
    caplog.set_level("WARNING", "data")
    make(tmp_path, "a.heic", "a.jpg", "a.png", "b.heic")
    make(tmp_path / "below", "a.png")
    assert files.images_in(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.heic", tmp_path / "below" / "a.png"]
    assert "1 .heic (another photo has the same name), 1 .png (another photo has the same name)" in caplog.text


def write_voc(root, photo, size, box):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    photo(root / "JPEGImages")
    (root / "ImageSets" / "Main" / "train.txt").write_text("p\n")
    corners = "".join(f"<{k}>{v + 1}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    (root / "Annotations" / "p.xml").write_text(
        f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
        f"<object><name>cat</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    return voc.load(root, None, "train")


def write_coco(root, photo, size, box):
    (root / "images").mkdir(parents=True)
    name = photo(root / "images").name
    x0, y0, x1, y1 = box
    entry = {"image_id": 1, "id": 1, "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1], "category_id": 1}
    content = {
        "images": [{"id": 1, "file_name": name, "height": size[0], "width": size[1]}],
        "annotations": [entry],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "train.json").write_text(json.dumps(content))
    return coco.load(root, "all")


def write_yolo(root, photo, size, box):
    for name in ("images", "labels"):
        (root / name / "train").mkdir(parents=True)
    photo(root / "images" / "train")
    (x0, y0, x1, y1), (height, width) = box, size
    values = (x0 + x1 + 1) / 2 / width, (y0 + y1 + 1) / 2 / height, (x1 - x0 + 1) / width, (y1 - y0 + 1) / height
    (root / "labels" / "train" / "p.txt").write_text(" ".join(map(str, (0, *values))) + "\n")
    return yolo.load(root, "train")


def write_csv(root, photo, size, box):
    root.mkdir()
    name = photo(root).name
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "xmin", "ymin", "xmax", "ymax", "class"], [name, *box, "cat"]])
    return table.load(root, "all")


def upright_photo():
    """Black with a white box, uint8 RGB (40, 60, 3), and the box."""
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[4:16, 30:52] = 255
    return photo, (30, 4, 51, 15)


TO_STORED = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The turn that undoes each EXIF orientation."""


@pytest.mark.parametrize("suffix", ["tif", "jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo, write_csv])
def test_boxes_drawn_on_an_upright_photo_mark_their_object(tmp_path, write, orientation, suffix):
    upright, box = upright_photo()

    def photo(folder):
        exif = Image.Exif()
        exif[photo_files.ORIENTATION] = orientation
        stored = image._turned(Image.fromarray(upright), TO_STORED[orientation])
        stored.save(folder / f"p.{suffix}", exif=exif)
        return folder / f"p.{suffix}"

    record = write(tmp_path / "set", photo, upright.shape[:2], box)[0]
    assert record.size == upright.shape[:2]
    assert record.boxes.tolist() == [list(box)]
    pixels = image.read(record.path, record.size)
    x0, y0, x1, y1 = box
    assert pixels[y0 : y1 + 1, x0 : x1 + 1].mean() > 200
    assert pixels.mean() < 60


def test_the_size_of_a_rotated_photo_is_the_one_a_viewer_shows(tmp_path):
    picture = Image.new("RGB", (30, 20))
    exif = picture.getexif()
    exif[photo_files.ORIENTATION] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert files.image_size(tmp_path / "turned.jpg") == (30, 20)
    (tmp_path / "bad.jpg").write_text("no")
    with pytest.raises(ValueError, match=r"bad\.jpg: not an image"):
        files.image_size(tmp_path / "bad.jpg")
    with pytest.raises(FileNotFoundError, match=r"image is missing: .*nowhere\.jpg"):
        files.image_size(tmp_path / "nowhere.jpg")


def test_reading_sizes_does_not_load_opencv_and_torch():
    code = "import sys, data.files; sys.exit(bool({'torch', 'cv2'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
