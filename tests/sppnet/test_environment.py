"""Versions and hardware, as bug reports state them."""

import platform

import torch

from sppnet import environment
from sppnet.cli import main


def test_env_prints_versions_and_hardware(capsys):
    assert main(["env"]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["torch"] == torch.__version__.split("+")[0] or told["torch"] == torch.__version__
    assert told["python"].startswith(platform.python_version())
    assert {"system", "processor", "GPU", "bfloat16", "weights", "detectors"} <= set(told)


def test_several_builds_of_opencv_are_reported(monkeypatch):
    monkeypatch.setattr(environment.metadata, "version", lambda name: "1.0")
    assert "opencv-python-headless" in environment.report()["warning"]
