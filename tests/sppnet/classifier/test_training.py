"""Training with settings from Python and from YAML; the names that settings share with classification."""

import json
import logging
from typing import get_args

import numpy as np
import pytest
import yaml

import sppnet
from classification import config, linear_classifier
from sppnet.settings import ClassifierSettings, NetworkTrainingSettings
from sppnet.settings import classifier as settings
from tests.sppnet.classifier.helpers import alexnet_flags, train_network, train_svms


def test_svms_trained_from_python_are_those_of_the_command(folder, weights, tmp_path, capfd, caplog):
    caplog.set_level(logging.WARNING, "sppnet")  # as without commands in the same process
    chosen = ClassifierSettings(backbone="alexnet", weights=weights, short_side=64, divisions=2)
    classifier = sppnet.train_classifier(folder, run=tmp_path / "python", settings=chosen)
    assert capfd.readouterr() == ("", "")
    flags = [*alexnet_flags(folder, tmp_path / "command", weights), "--short-side", "64", "--divisions", "2"]
    assert train_svms([*flags, "--json", tmp_path / "r.json"]) == 0
    assert classifier.scores == json.loads((tmp_path / "r.json").read_text())["result"]
    photo = folder / "down" / "1.png"
    for run in ("python", "command"):
        loaded = sppnet.SPPClassifier.from_pretrained(tmp_path / run / "classifier", weights=weights)
        assert np.array_equal(loaded.classify(photo).scores, classifier.classify(photo).scores)
    assert loaded.scores == {}


def test_scores_cannot_be_changed(folder, weights, tmp_path):
    chosen = ClassifierSettings(backbone="alexnet", weights=weights, short_side=64, divisions=1, limit=2)
    classifier = sppnet.train_classifier(folder, run=tmp_path, settings=chosen)
    assert classifier.scores["deviation"] == 0
    with pytest.raises(TypeError):
        classifier.scores["mean"] = 1


@pytest.mark.parametrize("start", ["random", "frozen", "tuned"])
def test_a_network_trained_from_python_is_loaded_with_its_scores(start, folder, weights, tmp_path, caplog):
    chosen = NetworkTrainingSettings(epochs=1, width=16, train_share=0.5, start=start)
    if start != "random":
        chosen = NetworkTrainingSettings(**chosen.to_dict() | {"backbone": "alexnet", "weights": weights})
    classifier = sppnet.train_classifier(folder, run=tmp_path / "run", settings=chosen)
    assert classifier.classes == ("across", "down")
    last = json.loads((tmp_path / "run" / "training.json").read_text())["curve"][-1]
    assert classifier.scores == {"accuracy": last["validation_accuracy"], "loss": last["validation_loss"]}
    with caplog.at_level(logging.INFO, "sppnet"):
        again = sppnet.train_classifier(folder, run=tmp_path / "run", settings=chosen)
    assert "trained already" in caplog.text
    assert again.scores == classifier.scores
    photo = folder / "down" / "1.png"
    assert np.array_equal(again.classify(photo).scores, classifier.classify(photo).scores)


def test_a_config_file_trains_a_network_and_flags_win(folder, tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text(f"data: {folder}\nrun: {tmp_path / 'run'}\nepochs: 5\nwidth: 16\ntrain-share: 0.5\nsizes: 192\n")
    assert train_network(["--config", file, "--epochs", "1"]) == 0
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (record["width"], record["config"]["epochs"], record["config"]["sizes"]) == (16, 1, [192])
    assert train_network(["--config", tmp_path / "run" / "classifier-train-network.yaml"]) == 0
    assert "trained already" in capsys.readouterr().err


def test_the_run_folder_that_was_chosen_holds_the_settings(folder, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data", folder, "--backbone", "alexnet", "--weights", weights, "--short-side", "64", "--divisions", "1"]
    assert train_svms(flags) == 0
    kept = yaml.safe_load((tmp_path / "runs" / "stripes-classification" / "classifier-train.yaml").read_text())
    assert (kept["run"], kept["divisions"]) == ("runs/stripes-classification", 1)


def test_names_in_the_settings_are_those_of_classification():
    assert ClassifierSettings.kinds()["layer"][0].choices == config.LAYERS
    assert {*get_args(settings.ViewName), *get_args(settings.TestViewName)} == set(config.VIEWS)
    assert set(get_args(settings.PyramidName)) == {"none", *config.PYRAMIDS}
    assert ClassifierSettings().cost == linear_classifier.COST
