"""SVMs and box regressors on engines: one model, whatever does the work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from detection import model
from detection.training import mining_rounds, svm_checkpoint
from tests import commands

ROOT = Path(__file__).parents[3]
LAYERS = ["--features", "pool5+fc7", "--head", "random", "--bbox-features", "fc"]


def learned(run, name):
    """Arrays and notes of a model."""
    found = model.load(run / name)
    arrays = [found.svms.weights, found.svms.bias]
    for regressor in found.regressors:
        arrays += [] if regressor is None else [regressor.weights, regressor.mean]
    return arrays, {k: v for k, v in found.notes.items() if k != "svm_seconds"}


def assert_same(one, other):
    assert one[1] == other[1]
    assert len(one[0]) == len(other[0]) >= 2
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)


def train(work, name, *flags):
    """Train a model that takes no box regressors from another one of the run."""
    assert commands.train_svms([*work.data, "--model-name", name, "--overwrite", *map(str, flags)]) == 0
    return learned(work.run, name)


@pytest.fixture
def several_shards(monkeypatch):
    monkeypatch.setattr(mining_rounds, "FIRST_IMAGES", 4)
    monkeypatch.setattr(mining_rounds, "SHARD_IMAGES", 1)


@pytest.mark.slow
def test_models_are_the_same_on_a_cluster(work, several_shards, ray):
    here = train(work, "here", "--engine", "local")
    assert here[1]["mining"] == "rounds"
    assert_same(train(work, "there", "--engine", "ray", "-j", 2), here)


@pytest.mark.slow
def test_layers_travel_to_the_workers(work, several_shards):
    here = train(work, "here", "--engine", "local", *LAYERS)
    assert_same(train(work, "there", "--engine", "processes", "-j", 2, *LAYERS), here)


def test_regressors_are_those_without_an_engine(work, finished):
    train(work, "model", "--engine", "local")
    for mine, usual in zip(
        model.load(work.run / "model").regressors, model.load(finished / "model").regressors, strict=True
    ):
        np.testing.assert_array_equal(mine.weights, usual.weights)
    command = [*work.data, "--engine", "local", "--overwrite"]
    assert commands.train_bbox_regressors(command) == 0


def test_a_model_of_one_kind_of_mining_is_not_taken_for_the_other(work, capsys):
    assert commands.train_svms([*work.data, "--engine", "local"]) == 1
    assert "holds a model of mining None, now 'rounds'; give --overwrite" in capsys.readouterr().err
    train(work, "model", "--engine", "local")
    assert commands.train_svms([*work.data, "--engine", "processes"]) == 0  # finished, whatever the engine
    assert commands.train_svms(work.data) == 1
    assert "holds a model of mining 'rounds', now None; give --overwrite" in capsys.readouterr().err


def test_probabilities_are_learned_from_the_windows_of_the_rounds(work, weights, monkeypatch):
    train(work, "model", "--engine", "local")
    monkeypatch.setattr(mining_rounds, "mine", pytest.fail)  # nothing is mined again
    assert commands.calibrate([*work.data, "--weights", str(weights)]) == 0
    assert model.load(work.run / "model").calibration is not None


CONSTANTS = {"FIRST_IMAGES": 4, "SHARD_IMAGES": 1, "NEW_LOSS": -1.0, "MOST_ROUNDS": 2}
KILLABLE = f"""
import sys
from detection.training import mining_rounds
vars(mining_rounds).update({CONSTANTS})
from tests import commands
sys.exit(commands.train_svms(sys.argv[1:]))
"""


def started(work, name):
    """The command with two workers and constants that make three rounds."""
    flags = ["--model-name", name, "--no-bbox-regression", "--engine", "processes", "-j", "2"]
    command = [sys.executable, "-c", KILLABLE, *work.data, *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def whole(work, monkeypatch):
    """What it learns."""
    for name, value in CONSTANTS.items():
        monkeypatch.setattr(mining_rounds, name, value)
    return train(work, "whole", "--engine", "local", "--no-bbox-regression")


def wait_for(there, process):
    until = time.monotonic() + 100
    while not there() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)


def assert_finishes(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_after_the_command_ended_it_continues_at_its_round(work, whole, how):
    checkpoint = work.run / "broken" / "training" / svm_checkpoint.FILE
    process = started(work, "broken")
    wait_for(checkpoint.is_file, process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[how], errors
    assert ("interrupted" in errors) == (how == signal.SIGINT)
    assert checkpoint.is_file()
    assert_finishes(started(work, "broken"))
    assert_same(learned(work.run, "broken"), whole)
    assert not checkpoint.is_file()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_worker_that_is_killed_is_replaced(work, whole):
    killed = []

    def kill_one():
        for pid in children(process.pid):
            if b"libtorch" in (Path(f"/proc/{pid}/maps").read_bytes()):  # it has got its work
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return True
        return False

    process = started(work, "there")
    wait_for(kill_one, process)
    assert_finishes(process)
    assert killed
    assert_same(learned(work.run, "there"), whole)


def children(pid):
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_damaged_features_are_named(work, capsys):
    victim = work.run / "features" / "alexnet-160" / "trainval_00000.maps"
    victim.write_bytes(victim.read_bytes()[:-20])
    argv = [*work.data, "--engine", "local", "--overwrite"]
    assert commands.train_svms(argv) == 1
    assert victim.name in capsys.readouterr().err


def test_the_engine_is_told_in_the_settings_of_the_command(work, tmp_path):
    report = tmp_path / "r.json"
    train(work, "model", "--engine", "local", "--json", report)
    assert json.loads(report.read_text())["result"]["configuration"]["notes"]["mining"] == "rounds"
