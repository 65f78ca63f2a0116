"""What training says and does where there is hardly anything to learn from."""

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
