"""Commands on runs, data sets and models at URLs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
import yaml

import sppnet
from detection.detection_table import load_npz
from detection.storage import lease
from detection.storage.remote_folder import RemoteFolder
from tests import commands
from tests.sppnet.conftest import SCALES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Be one of several machines: each has a cache folder of its own."""

    def be(name):
        monkeypatch.setenv("SPPNET_HOME", str(tmp_path / name))

    be("first")
    return be


@pytest.fixture
def network_flags(weights):
    return [*SCALES, "--weights", str(weights), "-j", "1"]


def files(url, pattern):
    """Name -> contents of files at a URL or in a folder."""
    fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {name.removeprefix(root): fs.cat_file(name) for name in fs.glob(f"{root}/{pattern}")}


def same_detections(url, finished, tmp_path):
    for stage in ("windows", "regressed"):
        path = tmp_path / f"{stage}.npz"
        path.write_bytes(files(url, f"detections/test-{stage}.npz")[f"/detections/test-{stage}.npz"])
        ours, theirs = (load_npz(p)[0] for p in (path, finished / "detections" / f"test-{path.name}"))
        assert list(ours) == list(theirs)
        assert all((ours[i].scores == theirs[i].scores).all() for i in ours)
        assert any(len(found) for found in ours.values())


@pytest.mark.slow
def test_a_run_in_a_bucket_holds_what_a_folder_would(s3, machine, devkit, network_flags, finished, tmp_path, capsys):
    fsspec.filesystem("s3").put(str(devkit), f"{s3}/photos", recursive=True)
    data = ["--devkit", f"{s3}/photos", "--run", f"{s3}/run"]
    assert commands.extract_features([*data, *network_flags]) == 0
    assert f"in {s3}/run/features" in capsys.readouterr().out
    for pattern in ("features/*/*.maps", "proposals/*/*.npz"):
        ours = files(f"{s3}/run", pattern)
        assert ours
        assert ours == files(f"file://{finished}", pattern)
    machine("second")  # which gets what it needs
    assert commands.train_svms(data) == 0
    machine("third")
    assert commands.test_net(data) == 0
    same_detections(f"{s3}/run", finished, tmp_path)
    record = yaml.safe_load(files(f"{s3}/run", "stage-test-net.yaml")["/stage-test-net.yaml"])
    assert (record["run"], record["devkit"]) == (f"{s3}/run", f"{s3}/photos")
    photo = next(devkit.rglob("*.jpg"))
    assert commands.detect([photo, "--model", f"{s3}/run/model", "--weights", network_flags[3]]) == 0


@pytest.mark.slow
def test_workers_store_maps_in_the_bucket(s3, machine, devkit, weights, finished, request):
    request.getfixturevalue("ray")  # after the address of the bucket, which its workers inherit
    data = ["--devkit", devkit, "--run", f"{s3}/run"]
    with_engine = ["--engine", "ray", "-j", "2"]
    assert commands.extract_features([*data, *SCALES, "--weights", weights, *with_engine]) == 0
    for pattern in ("features/*/*.maps", "proposals/*/*.npz"):
        assert files(f"{s3}/run", pattern) == files(f"file://{finished}", pattern)


@pytest.mark.slow
def test_a_killed_command_is_continued_and_nothing_is_done_twice(s3, machine, devkit, weights, finished, tmp_path):
    argv = ["--devkit", devkit, "--run", f"{s3}/run", *SCALES, "--weights", weights, "--engine", "processes", "-j", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sppnet", "stage", "extract-features", *map(str, argv)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    remote, deadline = RemoteFolder(f"{s3}/run"), time.monotonic() + 120
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if sum(name.endswith(".maps") for name in remote.versions("features")) >= 3:
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {name: version for name, version in remote.versions("features").items() if name.endswith(".maps")}
    assert 3 <= len(before) < 12
    assert commands.extract_features(argv) == 0
    after = remote.versions("features")
    assert {name: after[name] for name in before} == before
    for pattern in ("features/*/*.maps", "proposals/*/*.npz"):
        assert files(f"{s3}/run", pattern) == files(f"file://{finished}", pattern)


@pytest.mark.slow
def test_a_run_that_another_process_holds_is_refused(s3, machine, devkit, network_flags, monkeypatch, capsys):
    monkeypatch.setattr(lease, "BEAT", 0.1)
    holder = lease.Lease(RemoteFolder(f"{s3}/run"), beat=0.1)
    holder.acquire()
    try:
        assert commands.extract_features(["--devkit", devkit, "--run", f"{s3}/run", *network_flags]) == 1
    finally:
        holder.release()
    assert f"error: {s3}/run: process {os.getpid()} of " in capsys.readouterr().err
    assert [name for name in RemoteFolder(f"{s3}/run").versions() if not name.startswith(".")] == []


def test_urls_that_cannot_be_used_are_told_in_one_line(s3, machine, devkit, tmp_path, capsys):
    def told(*argv):
        assert commands.extract_features(argv) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    data = ["--devkit", devkit]
    assert told(*data, "--run", "s3://no-such-bucket/run").startswith("error: s3://no-such-bucket/run/")
    assert told(*data, "--run", "nope://bucket/run").startswith("error: nope://bucket/run: protocol not known: nope")
    assert "another package" in told(*data, "--run", "oss://bucket/run")
    assert told("--data", f"{s3}/none", "--run", tmp_path / "run") == f"error: {s3}/none: there is nothing here"
    for flag in ("--weights", "--json", "--config"):
        with pytest.raises(SystemExit, match="2"):
            commands.extract_features([*data, "--run", tmp_path / "run", flag, f"{s3}/x"])
        expected = f"{flag}: expected a path of this machine, got '{s3}/x'"
        assert capsys.readouterr().err.splitlines()[-1].endswith(expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_python_takes_urls_too(s3, machine, finished, devkit, weights):
    fs = fsspec.filesystem("s3")
    fs.put(str(devkit), f"{s3}/photos", recursive=True)
    detector = sppnet.SPPDetector.from_pretrained(finished / "model", weights=weights)
    here = sppnet.evaluate(detector, devkit, split="test")
    there = sppnet.evaluate(detector, f"{s3}/photos", split="test")
    assert there.mean_ap == here.mean_ap > 0
