"""A test split without an object that counts has no mAP, and everything still ends well."""

import json
import re
import shutil

import pytest

from data import minivoc
from sppnet.server.offered_detectors import OfferedDetector
from tests import commands
from tests.commands import command
from tests.sppnet.report.helpers import report, text

TRAIN = ["--backbone", "alexnet", "--features", "pool5", "--precision", "fp32"]


def without_objects(text):
    return re.sub(r"(?s)<object>.*?</object>", "", text)


def all_difficult(text):
    return re.sub(r"<difficult>0</difficult>", "<difficult>1</difficult>", text)


@pytest.fixture(params=[without_objects, all_difficult])
def empty(work, tmp_path, request):
    """The finished run, with test annotations in which nothing counts."""
    work.devkit = tmp_path / "empty" / "VOCdevkit"
    shutil.copytree(work.data[1], work.devkit)
    for path in work.devkit.rglob("test_*.xml"):
        path.write_text(request.param(path.read_text()))
    for flags in (work.data, work.extract):
        flags[1] = str(work.devkit)
    return work


def strict(path):
    """A json file that holds no NaN."""
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{path}: {name}"))


def test_training_ends_with_the_model(empty, capsys):
    assert commands.train([*empty.extract, *TRAIN, "--json", empty.run / "out.json"]) == 0
    shown = capsys.readouterr()
    assert "windows: voc07 mAP n/a, COCO AP n/a, AP50 n/a" in shown.out
    assert "mAP n/a before box regression, n/a after it" in shown.out
    assert f"detector: {empty.run / 'model'}" in shown.out
    assert "nan" not in shown.out
    assert "no object that counts" in shown.err
    for name in ("out.json", "train.json"):
        assert strict(empty.run / name)["result"]["regressed"]["mean_ap"] is None
    assert "no objects of car" in text(empty.run / "report.html")


def test_test_net_report_and_evaluate_end_well(empty, weights, capsys):
    assert commands.test_net([*empty.data, "--json", empty.run / "t.json"]) == 0
    assert report(empty.run, *empty.data[:2], "--json", empty.run / "r.json") == 0
    argv = ["--model", empty.run / "model", "--weights", weights, *empty.data[:2], "--json", empty.run / "e.json"]
    assert commands.evaluate(argv) == 0
    out = capsys.readouterr().out
    assert "mAP n/a (voc07, IoU 0.5)" in out
    assert "nan" not in out
    for name in ("t.json", "r.json", "e.json"):
        strict(empty.run / name)


def test_proposals_are_measured_without_objects(empty, capsys):
    argv = [*empty.data, "--plot", empty.run / "recall.png", "--json", empty.run / "p.json"]
    assert command("stage evaluate-proposals")(argv) == 0
    assert "n/a" in capsys.readouterr().out
    strict(empty.run / "p.json")


def test_a_packed_model_states_no_scores(empty, weights):
    assert commands.test_net([*empty.data, "--json", empty.run / "t.json"]) == 0
    argv = [*empty.data, "--weights", weights, "--to", empty.run / "packed", "--report", empty.run / "t.json"]
    assert command("export model")(argv) == 0
    assert strict(empty.run / "packed" / "card.json")["scores"]["regressed"]["voc07_map"] is None
    assert OfferedDetector.of(str(empty.run / "packed")).description["map"] is None


def test_a_packed_model_without_a_report_is_offered(work, weights):
    assert command("export model")([*work.data, "--weights", weights, "--to", work.run / "packed"]) == 0
    assert OfferedDetector.of(str(work.run / "packed")).description["map"] is None


def test_a_classifier_is_tested_on_photos_without_an_object_that_counts(weights, tmp_path, capsys):
    devkit = minivoc.generate(tmp_path / "VOCdevkit", train=24, test=4, seed=0)
    for path in devkit.rglob("test_*.xml"):
        path.write_text(without_objects(path.read_text()))
    argv = ["--voc2007", "--devkit", devkit, "--run", tmp_path, "--backbone", "alexnet", "--weights", weights]
    assert command("classifier train")([*argv, "--short-side", "64", "--json", tmp_path / "c.json"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"mAP +n/a", out)
    assert f"classifier: {tmp_path / 'classifier'}" in out
    assert strict(tmp_path / "c.json")["result"]["mean_ap"] is None
