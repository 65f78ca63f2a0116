"""A small generated devkit and random convolutions, so that the tools run whole and offline in seconds."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from data import minivoc
from detection import network
from detection.weights.state_dict import write_state
from tests import commands

SCALES = ["--scales", "160"]


@dataclass
class Work:
    """A run folder that a test may change: the folder, its devkit, and the flags that name them."""

    run: Path
    devkit: Path
    data: list[str]
    extract: list[str]


@pytest.fixture(scope="session")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("data") / "minivoc", train=8, test=4, seed=0)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.safetensors"
    write_state(path, network.build("alexnet", weights=None).state_dict())
    return path


@pytest.fixture(scope="session")
def finished(devkit, weights, tmp_path_factory):
    """A run after the three commands, not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    data = ["--devkit", str(devkit), "--run", str(run)]
    assert commands.extract_features([*data, *SCALES, "--weights", str(weights), "-j", "1"]) == 0
    assert commands.train_svms(data) == 0
    assert commands.test_net([*data, "--json", str(run / "test.json"), "--pictures", "3"]) == 0
    return run


@pytest.fixture
def work(devkit, weights, finished, tmp_path):
    """A copy of the finished run, and the flags that name it."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    data = ["--devkit", str(devkit), "--run", str(run)]
    network_flags = [*SCALES, "--weights", str(weights), "-j", "1"]
    return Work(run, devkit, data, [*data, *network_flags])
