"""What training says and does where there is hardly anything to learn from."""

import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

import sppnet
from sppnet.settings import TrainSettings
from tests import commands
from tests.data.test_table import HEADER
from tests.data.test_yolo import write

QUICK = ["--backbone", "alexnet", "--features", "pool5", "--precision", "fp32", "--scales", "160", "-j", "1"]


def photos(root, *names):
    """Noise with bright squares, which windows find."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = rng.integers(0, 60, (120, 160, 3), np.uint8)
        pixels[20:80, 20:80] = 250
        pixels[30:90, 100:150, 0] = 200
        Image.fromarray(pixels).save(root / name)


def squares(root, *, photos, each, side, classes, seed=0):
    """Photos of noise with squares of their own colours, whose classes take turns, and the table of their boxes."""
    rng = np.random.default_rng(seed)
    root.mkdir()
    rows, names = [], itertools.cycle(f"class{k:03d}" for k in range(classes))
    for i in range(photos):
        pixels = rng.integers(0, 60, (120, 160, 3), np.uint8)
        for x, y in zip(rng.integers(0, 160 - side, each), rng.integers(0, 120 - side, each), strict=True):
            pixels[y : y + side, x : x + side] = rng.integers(100, 256, 3)
            rows.append(f"{i}.png,{x},{y},{x + side - 1},{y + side - 1},{next(names)}\n")
        Image.fromarray(pixels).save(root / f"{i}.png")
    write(root / "boxes.csv", HEADER + "".join(rows))


def train(root, tmp_path, weights, *argv):
    return commands.train(["--data", root, "--run", tmp_path / "run", *QUICK, "--weights", weights, *argv])


def test_without_an_object_training_ends_before_the_work(tmp_path, weights, capsys):
    photos(tmp_path / "set", "a.png", "b.png")
    write(tmp_path / "set" / "train.csv", f"{HEADER}a.png,,,,,\n")
    write(tmp_path / "set" / "test.csv", f"{HEADER}b.png,20,20,79,79,cat\n")
    assert train(tmp_path / "set", tmp_path, weights) == 1
    assert "error: set train: no photo shows an object; label some" in capsys.readouterr().err
    assert not (tmp_path / "run" / "proposals").exists()


def test_one_photo_each_with_one_object_of_a_class_becomes_a_detector(tmp_path, weights, capsys):
    photos(tmp_path / "photos", "a.png", "b.png")
    rows = "a.png,20,20,79,79,cat\na.png,100,30,149,89,dog\na.png,-9,-9,500,500,scene\n"
    write(tmp_path / "set" / "train.csv", HEADER + rows)
    write(tmp_path / "set" / "test.csv", f"{HEADER}b.png,20,20,79,79,cat\nb.png,1,1,9,9,tram\n")
    assert train(tmp_path / "set", tmp_path, weights, "--images", tmp_path / "photos") == 0
    said = capsys.readouterr()
    assert "clipped 1 of 3 boxes, which extend beyond the image" in said.err
    assert "left out: 1 object of classes unknown from training: tram (1)" in said.out
    detector = sppnet.SPPDetector.from_pretrained(tmp_path / "run" / "model", weights=weights)
    assert detector.classes == ("cat", "dog", "scene")
    assert sppnet.evaluate(detector, tmp_path / "set", images=tmp_path / "photos").ap.shape == (3,)
    assert f"images: {tmp_path / 'photos'}" in (tmp_path / "run" / "train.yaml").read_text()
    again = TrainSettings(
        backbone="alexnet",
        features="pool5",
        precision="fp32",
        scales=(160,),
        workers=1,
        weights=weights,
        run=tmp_path / "run",
    )
    trained = sppnet.train_detector(tmp_path / "set", settings=again, images=tmp_path / "photos")
    assert trained.classes == detector.classes


@pytest.mark.parametrize(("argv", "code"), [([], 0), (["--no-difficult"], 1)])
def test_only_difficult_objects_are_learned_unless_they_are_ruled_out(tmp_path, weights, capsys, argv, code):
    photos(tmp_path / "set" / "JPEGImages", "a.png", "b.png")
    box = "<bndbox><xmin>21</xmin><ymin>21</ymin><xmax>80</xmax><ymax>80</ymax></bndbox>"
    for split, name in (("train", "a"), ("test", "b")):
        text = f"<annotation><object><name>cat</name><difficult>1</difficult>{box}</object></annotation>"
        write(tmp_path / "set" / "Annotations" / split / f"{name}.xml", text)
    assert train(tmp_path / "set", tmp_path, weights, *argv) == code
    said = capsys.readouterr()
    told = "set train: all objects are difficult; label others, or leave --no-difficult out"
    assert (told in said.err) == bool(argv)
    assert ("mAP n/a" in said.out) != bool(argv)


def test_photos_of_one_colour_have_one_window_and_become_a_detector(tmp_path, weights, capsys):
    (tmp_path / "set").mkdir()
    for name in ("train.png", "test.png"):
        Image.new("RGB", (160, 120), (90, 90, 95)).save(tmp_path / "set" / name)
    for split in ("train", "test"):
        write(tmp_path / "set" / f"{split}.csv", f"{HEADER}{split}.png,0,0,159,119,sky\n")
    assert train(tmp_path / "set", tmp_path, weights, "--proposals", "ss") == 0
    assert "mAP 100.0 before box regression" in capsys.readouterr().out
    with np.load(tmp_path / "run" / "proposals" / "ss" / "test.npz") as file:
        assert file["boxes"].tolist() == [[0, 0, 159, 119]]
    detector = sppnet.SPPDetector.from_pretrained(tmp_path / "run" / "model", weights=weights)
    found = detector.detect(tmp_path / "set" / "test.png")
    assert found.names == ["sky"]


def test_objects_of_five_pixels_are_learned_with_windows_of_their_size(tmp_path, weights, capsys):
    squares(tmp_path / "set", photos=6, each=5, side=5, classes=1)
    assert train(tmp_path / "set", tmp_path, weights, "--scales", "600") == 0
    capsys.readouterr()
    run = tmp_path / "run"
    windows = next((run / "proposals").glob("*/test.npz"))
    with np.load(windows) as file:
        sides = file["boxes"][:, 2:] - file["boxes"][:, :2] + 1
    assert sides.min() <= 6
    result = json.loads((run / "train.json").read_text())["result"]
    assert result["regressed"]["mean_ap"] > 0.3


def test_class_names_that_look_like_paths_are_learned_and_stay_in_their_folders(tmp_path, weights, capsys):
    names = ["a/b", "../../x", "/tmp/y", ".."]
    photos(tmp_path / "set", "a.png", "b.png")
    boxes = ["20,20,79,79", "100,30,149,89", "0,0,159,119", "0,0,79,119"]
    for split, photo in (("train", "a.png"), ("test", "b.png")):
        rows = [f"{photo},{box},{name}\n" for box, name in zip(boxes, names, strict=True)]
        write(tmp_path / "set" / f"{split}.csv", HEADER + "".join(rows))
    assert train(tmp_path / "set", tmp_path, weights) == 0
    before = {p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "run")}
    found = [tmp_path / "set", "--crop", tmp_path / "crops", "--save", tmp_path / "found", "--score-threshold", "-1.5"]
    assert commands.detect([*found, "--model", tmp_path / "run" / "model", "--weights", weights]) == 0
    assert {p.name for p in (tmp_path / "crops").iterdir()} == {"a%2Fb", "..%2F..%2Fx", "%2Ftmp%2Fy", "%2E%2E"}
    outputs = {tmp_path / "crops", tmp_path / "found"}
    new = {p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "run")} - before
    assert {outer for outer in new if outer.parent == tmp_path} == outputs
    assert "../../x" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_five_hundred_classes_are_learned_and_not_all_named_in_a_line(tmp_path, weights, capsys):
    squares(tmp_path / "set", photos=10, each=60, side=12, classes=500)
    fc7 = ["--features", "fc7", "--schedule", "20:1e-2", "--width", "64", "--proposals", "ss"]
    assert train(tmp_path / "set", tmp_path, weights, *fc7) == 0
    said = capsys.readouterr()
    assert max(map(len, said.err.splitlines())) < 400
    assert re.search(r"no training object of (class\d{3}, ){20}and \d+ more: never detected", said.err)
    detector = sppnet.SPPDetector.from_pretrained(tmp_path / "run" / "model", weights=weights)
    assert len(detector.classes) == 500
