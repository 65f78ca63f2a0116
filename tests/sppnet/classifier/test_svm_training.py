"""`sppnet classifier train`: SVMs by the protocols of VOC 2007 and Caltech-101, and on any photos."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from classification import SPPClassifier
from data import minivoc
from sppnet.classifier import svms
from sppnet.run import exclusive
from tests.sppnet.classifier.helpers import (
    alexnet_flags,
    network_flags,
    represent,
    show_errors,
    train_network,
    train_svms,
)


def test_svms_on_folders_end_in_a_classifier(folder, weights, tmp_path, capsys):
    data = [*alexnet_flags(folder, tmp_path, weights), "--short-side", "96"]
    assert represent([*data, "--layers", "spp", "6x6"]) == 0
    assert "16 vectors of length 12800" in capsys.readouterr().out
    assert train_svms([*data, "--divisions", "3", "--json", tmp_path / "r.json"]) == 0
    out, err = capsys.readouterr()
    assert "computed already" in err
    assert "3 random divisions" in out
    assert f"use it: sppnet classify PHOTOS --model {tmp_path / 'classifier'}\n" in out
    result = json.loads((tmp_path / "r.json").read_text())["result"]
    assert len(result["accuracies"]) == 3
    assert result["mean"] == pytest.approx(np.mean(result["accuracies"]))
    assert result["deviation"] == pytest.approx(np.std(result["accuracies"], ddof=1))
    classifier = SPPClassifier.from_pretrained(tmp_path / "classifier", weights=weights)
    found = [(path.parent.name, classifier.classify(path)) for path in folder.rglob("*.png")]
    # Of the sixteen that it was trained on, by random features.
    assert sum(name == answer.label for name, answer in found) >= 13
    assert found[0][1].scores.max() > 0 > found[0][1].scores.min()


def test_margins_of_several_views_are_those_that_were_evaluated(folder, weights, tmp_path):
    data = alexnet_flags(folder, tmp_path, weights)
    assert train_svms([*data, "--view", "ten", "--layer", "6x6", "--limit", "3", "--divisions", "1"]) == 0
    classifier = SPPClassifier.from_pretrained(tmp_path / "classifier", weights=weights)
    made = tmp_path / "representations" / "alexnet-ten-224" / "all-limit-3"
    photos = json.loads((made / "manifest.json").read_text())["photos"]
    answers = np.array([classifier.classify(photo).scores for photo in photos])
    assert np.allclose(answers, classifier.model.linear(np.load(made / "6x6.npy")), atol=1e-4)


def test_test_photos_may_be_limited_where_half_of_the_photos_are_for_training(folder, weights, tmp_path, monkeypatch):
    tested, real = [], svms.evaluation.mean_class_accuracy

    def counted(scores, labels):
        tested.append(np.bincount(labels).tolist())
        return real(scores, labels)

    monkeypatch.setattr(svms.evaluation, "mean_class_accuracy", counted)
    data = [*alexnet_flags(folder, tmp_path, weights), "--short-side", "64", "--divisions", "1"]
    assert train_svms([*data, "--test", "3"]) == 0
    assert train_svms(data) == 0
    assert tested == [[3, 3], [4, 4]]


def test_folders_for_training_and_testing_are_used_as_they_are(folder, weights, tmp_path, capsys):
    for name, first in (("train", 0), ("test", 6)):
        for kind in ("across", "down"):
            (tmp_path / "data" / name / kind).mkdir(parents=True)
            for i in range(first, first + 6 if name == "train" else 8):
                shutil.copy(folder / kind / f"{i}.png", tmp_path / "data" / name / kind)
    data = [*alexnet_flags(tmp_path / "data", tmp_path / "run", weights), "--short-side", "96"]
    assert train_svms(data) == 0
    assert "of 4 test photos right" in capsys.readouterr().out
    assert train_svms([*data, "--divisions", "3"]) == 1
    assert "--divisions: the photos are divided into training and test already; leave" in capsys.readouterr().err
    scratch = ["--data", tmp_path / "data", "--run", tmp_path / "run-scratch"]
    assert train_network([*scratch, "--epochs", "1", "--width", "16"]) == 0
    assert "of 4 held-out photos right" in capsys.readouterr().out


def test_the_protocol_of_voc_gives_every_class_its_average_precision(weights, tmp_path, capsys):
    devkit = minivoc.generate(tmp_path / "VOCdevkit", train=24, test=8, seed=0)
    data = ["--voc2007", "--devkit", devkit, "--run", tmp_path / "run", "--backbone", "alexnet", "--weights", weights]
    data += ["--short-side", "64", "--json", tmp_path / "r.json"]
    assert train_svms(data) == 0
    assert "trainval -> VOC2007 test" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())["result"]
    assert found["mean_ap"] == pytest.approx(np.nanmean(list(found["ap"].values())))
    assert train_svms([*data, "--metric", "area", "--cost", "0.1"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["result"]["ap"] != found["ap"]
    assert train_svms([*data, "--train-split", "test"]) == 1
    assert "--test-split test: this is the training split; name another split" in capsys.readouterr().err
    assert train_svms([*data, "--train", "3"]) == 1
    assert "--train: the photos are divided into training and test already" in capsys.readouterr().err
    assert train_svms([*data, "--limit", "1"]) == 1
    assert re.search(r"trainval: \w+ is in [01] of 1 photos, expected some with", capsys.readouterr().err)
    assert train_svms([*data, "--data", "elsewhere"]) == 1
    assert "--voc2007 names the data set" in capsys.readouterr().err


def test_the_protocol_of_caltech_takes_thirty_photos_of_each_class(folder, weights, tmp_path, capsys, monkeypatch):
    fetched = []

    class Caltech101:
        def __init__(self, root, download):
            fetched.append(download)
            shutil.copytree(folder, Path(root) / "caltech101" / "101_ObjectCategories")

    monkeypatch.setattr("torchvision.datasets.Caltech101", Caltech101)
    data = ["--caltech101", "--data-root", tmp_path / "data", "--run", tmp_path / "run"]
    data += ["--backbone", "alexnet", "--weights", weights, "--short-side", "64"]
    assert train_svms(data) == 1
    assert "no such folder" in capsys.readouterr().err
    assert train_svms([*data, "--download"]) == 1
    assert "across has 8 photos, expected 30 for training and one for testing" in capsys.readouterr().err
    assert train_svms([*data, "--download", "--train", "4", "--test", "3", "--divisions", "2"]) == 0
    assert fetched == [True]


def test_svms_do_not_replace_a_trained_network_nor_the_other_way_round(folder, weights, tmp_path, capsys):
    network, data = network_flags(folder, tmp_path), alexnet_flags(folder, tmp_path / "run", weights)
    assert train_network(network) == 0
    before = (tmp_path / "run" / "classifier" / "classifier.json").read_bytes()
    data = [*data, "--short-side", "64", "--divisions", "1"]
    assert train_svms(data) == 1
    assert "holds a trained network; give another --run, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "run" / "classifier" / "classifier.json").read_bytes() == before
    assert train_svms([*data, "--overwrite"]) == 0
    assert train_svms([*data, "--cost", "1"]) == 0  # SVMs of the same run are replaced: a minute's work
    assert train_network(network) == 1
    assert "holds a classifier of other data or settings" in capsys.readouterr().err
    # The SVMs were trained on the photos that the network's training held out.
    assert show_errors(["--run", tmp_path / "run", "--weights", weights, "--views", "full"]) == 1
    assert "no record of held-out photos; give --data with photos to test on" in capsys.readouterr().err


def test_a_classifier_that_another_process_trains_is_left_alone(folder, weights, tmp_path, capsys):
    with exclusive(tmp_path / "classifier"):
        assert train_svms(alexnet_flags(folder, tmp_path, weights)) == 1
    assert "another process is working on it" in capsys.readouterr().err
