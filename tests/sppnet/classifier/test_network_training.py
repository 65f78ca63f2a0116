"""`sppnet classifier train-network`: what it leaves, when it trains again, how it continues."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from classification import SPPClassifier
from classification.training import Training
from detection import network
from detection.value_digest import with_digest
from detection.weights.state_dict import write_state
from sppnet.classifier import network_training, training_record
from tests.classification.conftest import picture
from tests.damage import flip_bits
from tests.sppnet.classifier.helpers import QUICK, network_flags, put, show_errors, train_network

ROOT = Path(__file__).parents[3]


def test_training_leaves_a_classifier_a_curve_and_its_settings(trained):
    names = {p.name for p in trained.iterdir() if not p.name.startswith(".")}
    kept = {"classifier", "curve.csv", "curve.png", "training.json", "classifier-train-network.yaml", "t.json"}
    assert names - {"classifier-test.yaml"} == kept  # that one is of other tests
    record = json.loads((trained / "training.json").read_text())
    assert [p["epoch"] for p in record["curve"]] == [1, 2]
    assert (record["photos"], record["held_out"]) == (8, 8)
    assert json.loads((trained / "t.json").read_text())["result"] == record


def test_a_finished_training_is_not_repeated_and_another_does_not_replace_it(trained, folder, capsys):
    data = ["--data", folder, "--run", trained, *QUICK]
    before = (trained / "classifier" / "network.safetensors").read_bytes()
    assert train_network(data) == 0
    out, err = capsys.readouterr()
    assert "trained already" in err
    assert "% of 8 held-out photos right (centre crops) after epoch 2" in out
    assert f"use it: sppnet classify PHOTOS --model {trained / 'classifier'}\n" in out
    assert train_network([*data, "--seed", "1"]) == 1
    assert "other data or settings; give --overwrite, or another --run" in capsys.readouterr().err
    assert (trained / "classifier" / "network.safetensors").read_bytes() == before


def test_grey_and_coloured_photos_are_learned_together(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / "data", name, (60, 80), (70, 60))
    put(tmp_path / "data", "c", (60, 80), (70, 60), mode="L")
    assert train_network(network_flags(tmp_path / "data", tmp_path, "--epochs", "1")) == 0


@pytest.mark.parametrize(("start", "changes"), [("frozen", False), ("tuned", True)])
def test_pretrained_convolutions_are_kept_or_trained_as_asked(folder, weights, tmp_path, start, changes):
    flags = ["--backbone", "alexnet", "--weights", weights, "--epochs", "1", "--start", start]
    assert train_network(network_flags(folder, tmp_path, *flags)) == 0
    made = tmp_path / "run" / "classifier"
    classifier = SPPClassifier.from_pretrained(made, weights="pretrained" if changes else weights)
    before = network.build("alexnet", weights)
    assert (classifier.extractor.body.weights_hash != before.weights_hash) == changes
    assert ((made / "network.safetensors").stat().st_size > 9e6) == changes  # without convolutions: 0.8 MB
    if not changes:
        other = tmp_path / "other.safetensors"
        write_state(other, network.assemble("alexnet", seed=9).state_dict())
        with pytest.raises(ValueError, match="trained on other weights of alexnet"):
            SPPClassifier.from_pretrained(made, weights=other)


@pytest.mark.parametrize(
    "flags",
    [
        ["--pyramid", "none"],
        ["--pyramid", "30", "--sizes", "224", "180"],
        ["--pyramid", "21", "--sizes", "180-224", "--no-norm", "--no-mirror", "--colour", "0", "--batch", "1"],
        ["--patience", "3", "--rate", "0.001", "--batch", "4", "--precision", "fp32", "-j", "1"],
    ],
)
def test_every_kind_of_training_ends_in_a_classifier(folder, tmp_path, flags):
    assert train_network(network_flags(folder, tmp_path, *flags)) == 0
    views = ["crop", "ten"] if "none" in flags else ["full"]
    assert show_errors(["--run", tmp_path / "run", "--views", *views]) == 0


def test_an_interrupted_repetition_continues_without_overwrite(folder, tmp_path, monkeypatch):
    run = network_flags(folder, tmp_path)
    assert train_network(run) == 0
    before = (tmp_path / "run" / "classifier" / "network.safetensors").read_bytes()
    real, epochs = Training._train, []

    def stopped(self, *args):
        if len(epochs) == 1:
            raise KeyboardInterrupt
        epochs.append(1)
        return real(self, *args)

    monkeypatch.setattr(Training, "_train", stopped)
    assert train_network([*run, "--overwrite"]) == 130
    assert (tmp_path / "run" / "training.pt").is_file()
    monkeypatch.setattr(Training, "_train", lambda self, *args: (epochs.append(2), real(self, *args))[1])
    assert train_network(run) == 0
    assert epochs == [1, 2]
    assert (tmp_path / "run" / "classifier" / "network.safetensors").read_bytes() == before
    assert train_network([*run, "--overwrite"]) == 0
    assert epochs == [1, 2, 2, 2]


def test_a_copied_data_set_is_the_same_training(folder, tmp_path, capsys):
    run = ["--run", tmp_path / "run", *QUICK, "--epochs", "1"]
    for place in ("first", "second"):
        data = shutil.copytree(folder, tmp_path / place)
        assert train_network(["--data", data, *run]) == 0
    assert "trained already" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "first")
    assert show_errors(["--run", tmp_path / "run", "--views", "crop"]) == 0


def test_a_training_from_before_places_did_not_count_is_known(trained, folder, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    record = json.loads((run / "training.json").read_text())
    keys, real = [], training_record.new_record
    with pytest.MonkeyPatch.context() as seen:
        seen.setattr(network_training, "new_record", lambda *args: keys.append(real(*args)) or keys[-1])
        assert train_network(["--data", folder, "--run", run, *QUICK]) == 0
    settings = json.loads((run / "classifier" / "classifier.json").read_text())
    settings["notes"]["training"] = record["training"] = keys[0]["training_with_places"]
    (run / "classifier" / "classifier.json").write_text(json.dumps(with_digest(settings)))
    (run / "training.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert train_network(["--data", folder, "--run", run, *QUICK]) == 0
    assert "trained already" in capsys.readouterr().err


def test_a_photo_replaced_under_its_name_makes_another_training(folder, tmp_path, capsys):
    data = shutil.copytree(folder, tmp_path / "data")
    run = network_flags(data, tmp_path, "--epochs", "1")
    assert train_network(run) == 0
    os.utime(data / "down" / "2.png", (1, 1))
    assert train_network(run) == 0
    assert "trained already" in capsys.readouterr().err
    Image.fromarray(picture(1, 50)).save(data / "down" / "2.png")
    assert train_network(run) == 1
    assert "holds a classifier of other data or settings" in capsys.readouterr().err


def test_a_damaged_record_of_a_training_is_reported(trained, folder, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "training.json").write_text("{}")
    assert show_errors(["--run", run]) == 1
    assert "training.json: damaged ('test'); train again with --overwrite" in capsys.readouterr().err
    assert train_network(network_flags(folder, tmp_path)) == 1
    assert "training.json: damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_that_torchrun_starts_end_in_one_classifier(folder, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    flags = network_flags(folder, tmp_path, "--epochs", "1", "--json", tmp_path / "t.json")
    done = subprocess.run(
        [*torchrun, "tools/train_classifier.py", *map(str, flags)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("held-out photos right") == 1
    assert json.loads((tmp_path / "t.json").read_text())["result"]["photos"] == 8  # of the process that has a result
    assert SPPClassifier.from_pretrained(tmp_path / "run" / "classifier").classes == ("across", "down")


def test_a_checkpoint_with_flipped_bits_is_told_and_does_not_change_the_network(folder, tmp_path, monkeypatch, caplog):
    run, done = network_flags(folder, tmp_path), []
    real = Training._train

    def stopped(self, *args):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return real(self, *args)

    assert train_network(run) == 0
    before = (tmp_path / "run" / "classifier" / "network.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_train", stopped)
        assert train_network([*run, "--overwrite"]) == 130
    checkpoint = tmp_path / "run" / "training.pt"
    flip_bits(checkpoint)
    assert train_network(run) == 0
    assert (
        f"{checkpoint} is damaged (the contents do not match the checksum); starting from the beginning" in caplog.text
    )
    assert (tmp_path / "run" / "classifier" / "network.safetensors").read_bytes() == before


def test_a_damaged_classifier_is_one_line_that_says_what_to_do(trained, folder, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run")
    run = ["--data", folder, "--run", tmp_path / "run", *QUICK]
    flip_bits(tmp_path / "run" / "classifier" / "network.safetensors")
    assert train_network(run) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged classifier (network.safetensors does not match its checksum" in line
    assert line.endswith("give --overwrite, or another --run")
    assert train_network([*run, "--overwrite"]) == 0
    assert train_network(run) == 0


def test_a_checkpoint_beside_a_finished_training_is_removed(trained, folder, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    left = [tmp_path / "run" / "training.pt", tmp_path / "run" / ".training.pt.4194305-0123abcd.tmp"]
    for path in left:
        path.write_bytes(b"left by a process that was killed")
    assert train_network(["--data", folder, "--run", tmp_path / "run", *QUICK]) == 0
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("where", ["new_record", "_initial_network"])
def test_a_repetition_with_other_settings_continues_wherever_it_was_interrupted(
    trained, folder, tmp_path, monkeypatch, where
):
    def interrupt(*_args):
        raise KeyboardInterrupt

    shutil.copytree(trained, tmp_path / "run")
    run = network_flags(folder, tmp_path, "--seed", "1")
    with monkeypatch.context() as patch:
        patch.setattr(network_training, where, interrupt)
        assert train_network([*run, "--overwrite"]) == 130
    assert train_network(run) == 0
    assert json.loads((tmp_path / "run" / "training.json").read_text())["seed"] == 1


def test_an_error_gives_the_old_network_back(trained, folder, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    assert train_network([*network_flags(folder, tmp_path), "--overwrite", "--rate", "1e30"]) == 1
    (tmp_path / "run" / "training.pt").unlink(missing_ok=True)
    assert train_network(network_flags(folder, tmp_path)) == 0
    network = Path("classifier", "network.safetensors")
    assert (tmp_path / "run" / network).read_bytes() == (trained / network).read_bytes()
