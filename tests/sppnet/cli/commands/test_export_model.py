"""`sppnet export model`: packed detectors and their cards."""

import json
from pathlib import Path

import pytest

from detection import SPPDetector
from detection.model import load
from detection.networks.fc_head import FcHead
from sppnet.detector.packing import read_scores
from tests import commands

export_model = commands.command("export model")


def test_a_packed_model_detects_as_before_and_its_card_describes_it(work, weights):
    packed = work.run / "packed"
    argv = [*work.data, "--to", str(packed), "--weights", str(weights), "--licence", "made here"]
    assert export_model([*argv, "--report", str(work.run / "test.json"), "--command", "train-svms"]) == 0
    card = json.loads((packed / "card.json").read_text())
    report = json.loads((work.run / "test.json").read_text())["result"]
    assert card["scores"]["regressed"]["voc07_map"] == report["regressed"]["mean_ap"]
    assert (card["trained_on"]["images"], card["commands"], card["licence"]) == (8, ["train-svms"], "made here")
    assert 0 < card["seconds_per_image"] < 60
    assert card["bytes"] < 0.6 * sum(f.stat().st_size for f in (work.run / "model").iterdir())
    photo = next(work.devkit.rglob("*.jpg"))
    found = [SPPDetector.from_pretrained(d, weights=weights).detect(photo) for d in (packed, work.run / "model")]
    assert len(found[0]) == len(found[1]) > 0
    assert commands.test_net([*work.data, "--model", str(packed)]) == 0  # scores the packed model


def test_another_report_than_of_test_net_is_refused_before_anything_is_written(work, weights, tmp_path, capsys):
    (tmp_path / "other.json").write_text("[]")
    argv = [*work.data, "--to", str(tmp_path / "packed"), "--weights", str(weights)]
    assert export_model([*argv, "--report", str(tmp_path / "other.json")]) == 1
    assert "not a report of test-net --json" in capsys.readouterr().err
    assert not (tmp_path / "packed").exists()


def test_a_card_gives_the_scores_of_several_ways_of_inference(work, weights, capsys):
    reports = [str(work.run / f"{name}.json") for name in ("paper", "fast")]
    for path in reports:
        assert commands.test_net([*work.data, "--inference", Path(path).stem, "--json", path]) == 0
    packed = work.run / "packed"
    argv = [*work.data, "--to", str(packed), "--weights", str(weights)]
    assert export_model([*argv, "--inference", "fast", "--report", *reports]) == 0
    assert load(packed).config.inference == "fast"
    card = json.loads((packed / "card.json").read_text())
    paper, fast = (json.loads(Path(path).read_text())["result"]["regressed"] for path in reports)
    assert (card["inference"], card["scores"]["regressed"]["voc07_map"]) == ("fast", fast["mean_ap"])
    other = {"voc07_map": paper["mean_ap"], "coco_ap": paper["coco"]["ap"]}
    assert card["other_inference"] == {"paper": other}
    capsys.readouterr()
    assert export_model([*argv, "--inference", "best", "--report", *reports]) == 1
    assert "--report: measured paper, fast inference, but the model is packed for best" in capsys.readouterr().err


def test_the_runs_own_model_is_not_overwritten(work, weights, capsys):
    before = load(work.run / "model").svms.weights
    assert export_model([*work.data, "--to", str(work.run / "model")]) == 1
    assert "name another folder" in capsys.readouterr().err
    assert (load(work.run / "model").svms.weights == before).all()


def test_fully_connected_layers_are_compressed(work, weights, capsys):
    layers = work.run / "wide.safetensors"
    FcHead.random(12800, 64).save(layers)
    train = [*work.data, "--features", "fc7", "--head", str(layers), "--model-name", "fc7-model"]
    assert commands.train_svms(train) == 0
    packed = [work.run / f"packed-{energy}" for energy in ("1", "0.7")]
    for folder in packed:
        argv = [*work.data, "--model-name", "fc7-model", "--to", str(folder), "--weights", str(weights)]
        assert export_model([*argv, "--energy", folder.name.removeprefix("packed-")]) == 0
    heads = [load(folder).fc.head for folder in packed]
    assert [type(head.fc6).__name__ for head in heads] == ["Linear", "LowRankLinear"]
    assert load(packed[1]).notes["energy"] == 0.7
    assert commands.test_net([*work.data, "--model", str(packed[1])]) == 0


def test_a_model_of_pool5_has_no_layers_to_compress(work, weights, capsys):
    argv = [*work.data, "--to", str(work.run / "none"), "--weights", str(weights), "--energy", "0.9"]
    assert export_model(argv) == 1
    assert "no layers to compress" in capsys.readouterr().err
    assert not (work.run / "none").exists()


def test_a_report_of_another_metric_is_refused(tmp_path):
    stage = {"metric": "area", "mean_ap": 0.5, "ap": {}, "coco": {"ap": 0.2}}
    (tmp_path / "area.json").write_text(json.dumps({"result": {"windows": stage}}))
    with pytest.raises(ValueError, match="scored with --metric area, but cards state 11-point AP"):
        read_scores(tmp_path / "area.json")


def test_what_a_killed_export_left_is_removed(work, weights):
    left = work.run / ".packed.4194305-0123abcd.tmp"  # of a process whose number is above those that Linux gives
    left.mkdir()
    (left / "svms.safetensors").write_bytes(b"half a model")
    assert export_model([*work.data, "--to", work.run / "packed", "--weights", weights]) == 0
    assert not left.exists()
    assert not list(work.run.glob(".packed*"))
