"""Vectors and SVMs that are made anew with --overwrite: an interrupted command continues without it, as it says."""

import shutil

import pytest

from classification import SPPClassifier, views
from classification.representations import Representations
from detection import network
from detection.weights.state_dict import write_state
from tests.sppnet.classifier.helpers import alexnet_flags, network_flags, represent, train_network, train_svms

SIZE = ["--short-side", "64"]


@pytest.fixture
def others(tmp_path):
    """Convolutions with other weights."""
    path = tmp_path / "others.safetensors"
    write_state(path, network.assemble("alexnet", seed=3).state_dict())
    return path


@pytest.fixture
def split(folder, tmp_path):
    """Photos with a folder of each split."""
    for name in ("train", "test"):
        shutil.copytree(folder, tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.mark.parametrize("calls", [0, 3, 20])  # 16 photos are of the training split
@pytest.mark.parametrize("command", [represent, train_svms])
def test_vectors_of_other_weights(split, weights, others, tmp_path, monkeypatch, capsys, command, calls):
    assert command([*alexnet_flags(split, tmp_path / "run", weights), *SIZE]) == 0
    argv, done, vectors = [*alexnet_flags(split, tmp_path / "run", others), *SIZE], [], views.vectors

    def stopped(*args):
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(1)
        return vectors(*args)

    with monkeypatch.context() as patch:
        patch.setattr(views, "vectors", stopped)
        assert command([*argv, "--overwrite"]) == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command, without --overwrite, continues\n")
    monkeypatch.setattr(views, "vectors", lambda *args: (done.append(1), vectors(*args))[1])
    assert command(argv) == 0
    assert len(done) == 32
    if command is train_svms:
        SPPClassifier.from_pretrained(tmp_path / "run" / "classifier", weights=others)


def test_svms_in_place_of_a_trained_network(folder, weights, tmp_path, monkeypatch, capsys):
    assert train_network(network_flags(folder, tmp_path, "--epochs", "1")) == 0
    argv = [*alexnet_flags(folder, tmp_path / "run", weights), *SIZE, "--divisions", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(Representations, "get", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train_svms([*argv, "--overwrite"]) == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command, without --overwrite, continues\n")
    assert train_svms(argv) == 0


def test_an_error_gives_the_trained_network_back(folder, weights, tmp_path, monkeypatch):
    assert train_network(network_flags(folder, tmp_path, "--epochs", "1")) == 0
    before = (tmp_path / "run" / "classifier" / "classifier.json").read_bytes()
    argv = [*alexnet_flags(folder, tmp_path / "run", weights), *SIZE, "--divisions", "1"]
    monkeypatch.setattr(Representations, "get", lambda *args: (_ for _ in ()).throw(ValueError("no room")))
    assert train_svms([*argv, "--overwrite"]) == 1
    assert (tmp_path / "run" / "classifier" / "classifier.json").read_bytes() == before
