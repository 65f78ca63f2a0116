"""Packing a trained detector, and the card that goes with it."""

import json

from detection import SPPDetector
from detection.model import load
from detection.networks.fc_head import FcHead
from tools import export_model, test_net, train_svms


def test_a_packed_model_detects_and_its_card_says_what_it_is(work, weights):
    packed = work.run / "packed"
    argv = [*work.data, "--to", str(packed), "--weights", str(weights), "--licence", "made here"]
    assert export_model.main([*argv, "--report", str(work.run / "test.json"), "--command", "train_svms"]) == 0
    card = json.loads((packed / "card.json").read_text())
    report = json.loads((work.run / "test.json").read_text())["result"]
    assert card["scores"]["regressed"]["voc07_map"] == report["regressed"]["mean_ap"]
    assert (card["trained_on"]["images"], card["commands"], card["licence"]) == (8, ["train_svms"], "made here")
    assert 0 < card["seconds_per_image"] < 60
    assert card["bytes"] < 0.6 * sum(f.stat().st_size for f in (work.run / "model").iterdir())
    photo = next(work.devkit.rglob("*.jpg"))
    found = [SPPDetector.from_pretrained(d, weights=weights).detect(photo) for d in (packed, work.run / "model")]
    assert len(found[0]) == len(found[1]) > 0
    assert test_net.main([*work.data, "--model", str(packed)]) == 0  # scores what is shipped


def test_a_card_without_a_report_of_test_net_is_refused_before_anything_is_written(work, weights, tmp_path, capsys):
    (tmp_path / "other.json").write_text("[]")
    argv = [*work.data, "--to", str(tmp_path / "packed"), "--weights", str(weights)]
    assert export_model.main([*argv, "--report", str(tmp_path / "other.json")]) == 1
    assert "not a report of test_net --json" in capsys.readouterr().err
    assert not (tmp_path / "packed").exists()


def test_the_runs_own_model_is_not_overwritten(work, weights, capsys):
    before = load(work.run / "model").svms.weights
    assert export_model.main([*work.data, "--to", str(work.run / "model")]) == 1
    assert "name another folder" in capsys.readouterr().err
    assert (load(work.run / "model").svms.weights == before).all()


def test_fully_connected_layers_are_packed_smaller(work, weights, capsys):
    layers, model = work.run / "wide.safetensors", work.run / "fc7-model"
    FcHead.random(12800, 64).save(layers)
    train = [*work.data, "--features", "fc7", "--head", str(layers), "--model", str(model)]
    assert train_svms.main(train) == 0
    packed = [work.run / f"packed-{energy}" for energy in ("1", "0.7")]
    for folder in packed:
        argv = [*work.data, "--model", str(model), "--to", str(folder), "--weights", str(weights)]
        assert export_model.main([*argv, "--energy", folder.name.removeprefix("packed-")]) == 0
    heads = [load(folder).fc.head for folder in packed]
    assert [type(head.fc6).__name__ for head in heads] == ["Linear", "LowRankLinear"]
    assert load(packed[1]).notes["energy"] == 0.7
    assert test_net.main([*work.data, "--model", str(packed[1])]) == 0


def test_a_model_of_pool5_has_no_layers_to_compress(work, weights, capsys):
    argv = [*work.data, "--to", str(work.run / "none"), "--weights", str(weights), "--energy", "0.9"]
    assert export_model.main(argv) == 1
    assert "no layers to compress" in capsys.readouterr().err
    assert not (work.run / "none").exists()
