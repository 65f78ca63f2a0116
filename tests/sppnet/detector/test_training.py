"""One command from labelled photos to a detector."""

import json
import shutil

import pytest

from detection import SPPDetector
from detection.model import load
from tests import commands
from tests.data.test_formats import write_yolo

QUICK = ["--backbone", "alexnet", "--features", "pool5", "--precision", "fp32", "--scales", "160", "-j", "1"]


def test_a_yolo_folder_becomes_a_detector_that_the_last_line_uses(work, weights, tmp_path, capsys, monkeypatch):
    write_yolo(work.devkit, tmp_path / "things", "folders")
    monkeypatch.chdir(tmp_path)
    assert commands.train(["things", "--data", "things"]) == 1
    assert "name the data set once" in capsys.readouterr().err
    assert commands.train(["things", *QUICK, "--weights", str(weights)]) == 0
    said = capsys.readouterr().out
    assert "detector: runs/things/model" in said
    report = json.loads((tmp_path / "runs" / "things" / "train.json").read_text())
    assert list(report["result"]["stage_seconds"]) == [
        "windows", "features", "SVMs", "box regressors", "probabilities", "test",
    ]  # fmt: skip
    assert 0 <= report["result"]["regressed"]["mean_ap"] <= 1
    photo = next((tmp_path / "things" / "images" / "test").iterdir())
    command = said.strip().splitlines()[-1].split()
    assert command[:4] == ["use", "it:", "sppnet", "detect"]
    argv = [str(photo) if part == "PHOTOS" else part for part in command[4:]]
    assert commands.detect([*argv, "--weights", str(weights)]) == 0
    assert (tmp_path / "found" / photo.name).is_file()
    assert "<h2" in (tmp_path / "runs" / "things" / "report.html").read_text()
    detector = SPPDetector.from_pretrained(tmp_path / "runs/things/model", weights=weights)
    assert detector.classes == tuple(report["result"]["regressed"]["ap"])


def test_finished_stages_are_not_done_again(work, capfd):
    models = sorted((work.run / "model").rglob("*.safetensors"))
    made = [path.stat().st_mtime_ns for path in models]
    assert commands.train([*work.extract, "--backbone", "alexnet", "--precision", "fp32"]) == 0
    assert models
    assert [path.stat().st_mtime_ns for path in models] == made


@pytest.mark.parametrize("stage", ["train_bbox_regressors", "_state_inference", "calibrate"])
def test_a_training_that_was_interrupted_goes_on_to_the_same_model(work, weights, tmp_path, monkeypatch, stage):
    argv = ["--devkit", work.devkit, *QUICK, "--weights", weights, "--cost", "0.001", "--run"]
    assert commands.train([*argv, tmp_path / "straight"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(f"sppnet.detector.training.{stage}", lambda *_: (_ for _ in ()).throw(OSError("disk is full")))
        assert commands.train([*argv, tmp_path / "again"]) == 1
    assert commands.train([*argv, tmp_path / "again"]) == 0
    straight, again = (load(tmp_path / name / "model") for name in ("straight", "again"))
    assert straight.config.inference == "fast"
    assert again.config == straight.config


@pytest.mark.slow
def test_fully_connected_layers_are_fine_tuned_on_the_way(work, weights, tmp_path):
    argv = ["--devkit", str(work.devkit), "--run", str(tmp_path / "tuned"), *QUICK, "--weights", str(weights)]
    assert commands.train([*argv, "--features", "pool5+fc7", "--schedule", "3:1e-3", "--width", "32"]) == 0
    trained = load(tmp_path / "tuned" / "model")
    assert (trained.fc.layer, trained.notes["energy"], trained.bbox_on_fc) == ("pool5+fc7", 0.95, False)
    stages = json.loads((tmp_path / "tuned" / "train.json").read_text())["result"]["stage_seconds"]
    assert list(stages)[2:4] == ["mirrored features", "fully connected layers"]
    assert json.loads((tmp_path / "tuned" / "head" / "finetune.json").read_text())["mirror"] is True


def test_the_report_is_of_the_model_just_trained(work):
    argv = [*work.extract, "--backbone", "alexnet", "--precision", "fp32"]
    assert commands.train([*argv, "--model-name", "second"]) == 0
    assert "<h1>run (second)</h1>" in (work.run / "report.html").read_text()


def test_an_object_of_a_class_that_training_lacks_is_left_out_and_told(work, tmp_path, capsys):
    devkit = tmp_path / "devkit"
    shutil.copytree(work.devkit, devkit)
    first = (devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt").read_text().split()[0]
    annotation = devkit / "VOC2007" / "Annotations" / f"{first}.xml"
    name = annotation.read_text().split("<name>")[1].split("</name>")[0]
    annotation.write_text(annotation.read_text().replace(f"<name>{name}</name>", "<name>tram</name>", 1))
    argv = [*work.extract, "--devkit", devkit, "--backbone", "alexnet", "--precision", "fp32"]
    assert commands.train(argv) == 0
    told = "left out: 1 object of classes unknown from training: tram (1)"
    said = capsys.readouterr()
    assert told in said.out
    assert said.err.count("left out 1 of") == 1  # once, although each stage reads the data
    assert json.loads((work.run / "train.json").read_text())["result"]["windows"]["left_out"] == {"tram": 1}
    assert "does not know these classes: objects of tram (1)" in (work.run / "report.html").read_text()
    comp4 = work.run / "results" / "test-regressed"
    classes = [path.stem.removeprefix("comp4_det_test_") for path in sorted(comp4.glob("comp4_det_test_*.txt"))]
    assert commands.evaluate(["--comp4", comp4, "--devkit", devkit, "--classes", *classes]) == 0
    assert told in capsys.readouterr().out


def test_without_box_regression_there_is_one_score(work, capsys):
    argv = [*work.extract, "--backbone", "alexnet", "--precision", "fp32", "--no-bbox-regression"]
    assert commands.train([*argv, "--model-name", "plain"]) == 0
    report = json.loads((work.run / "train.json").read_text())
    assert set(report["result"]) == {"windows", "stage_seconds", "choices"}
    assert "after it" not in capsys.readouterr().out


def test_windows_cost_and_classes_are_chosen_and_stated(work, tmp_path, capsys):
    argv = [*work.extract, "--run", str(tmp_path / "own"), "--backbone", "alexnet", "--features", "pool5"]
    assert commands.train([*argv, "--classes", "car", "bus"]) == 1
    assert "--classes: bus not in the data set; " in capsys.readouterr().err
    assert not (tmp_path / "own").exists()
    names = load(work.run / "model").classes[:2]
    assert commands.train([*argv, "--proposals", "grid", "--classes", *names]) == 0
    trained = load(tmp_path / "own" / "model")
    assert trained.classes == names
    assert trained.config.svm.cost == 0.02
    assert trained.proposals["source"] == "grid"
    assert trained.proposals["grid"]["shapes"]
    choices = json.loads((tmp_path / "own" / "choices.json").read_text())
    assert choices == json.loads((tmp_path / "own" / "train.json").read_text())["result"]["choices"]
    assert [c["setting"] for c in choices] == [
        "cost", "max_negatives_per_image", "bbox_features", "bbox_windows", "inference",
    ]  # fmt: skip
    assert trained.config.inference == "fast"
