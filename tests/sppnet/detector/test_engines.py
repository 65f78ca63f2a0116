"""The stages on engines: the same files, whatever does the work."""

import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detection import network
from detection.cache import FeatureCache
from detection.detection_table import load_npz
from detection.engines.ray_cluster import RayCluster
from detection.storage.mounts import Mounting
from sppnet.detector.convolving import Convolver
from sppnet.engines import engine_of
from sppnet.settings.detector import ExtractProposalsSettings
from tests import commands

ROOT = Path(__file__).parents[3]
ENGINES = [pytest.param("processes", id="processes"), pytest.param("ray", id="ray")]


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "ray":
        request.getfixturevalue("ray")
    return ["--engine", request.param, "-j", "2"]


def files(run, pattern):
    made = {path.relative_to(run): path.read_bytes() for path in run.rglob(pattern)}
    return {name: data for name, data in made.items() if name.name not in ("photos.json", ".photos.json.lock")}


@pytest.mark.slow
def test_proposals_and_features_are_the_same_bytes(work, finished, engine):
    shutil.rmtree(work.run / "proposals")
    shutil.rmtree(work.run / "features")
    given = [flag for flag in work.extract if flag not in ("-j", "1")]
    assert commands.extract_features([*given, *engine]) == 0
    for pattern in ("proposals/*/*.npz", "features/*/*"):
        made = files(work.run, pattern)
        assert made
        assert made == {name: data for name, data in files(finished, pattern).items() if name in made}


@pytest.mark.slow
def test_detections_are_the_same(work, finished, engine):
    shutil.rmtree(work.run / "results", ignore_errors=True)
    for path in work.run.rglob("detections/*"):
        path.unlink()
    assert commands.test_net([*work.data, *engine]) == 0
    found = sorted(work.run.rglob("detections/*.npz"))
    assert len(found) == 2
    for path in found:
        ours, theirs = load_npz(path)[0], load_npz(finished / path.relative_to(work.run))[0]
        assert list(ours) == list(theirs)
        for image_id in ours:
            assert (ours[image_id].boxes == theirs[image_id].boxes).all()
            assert (ours[image_id].scores == theirs[image_id].scores).all()


@pytest.mark.slow
def test_a_photo_that_cannot_be_read_is_named_or_left_out(work, capsys):
    engine = ["--engine", "processes", "-j", "2"]
    shutil.rmtree(work.run / "proposals")
    shutil.rmtree(work.run / "features")
    photo = sorted(work.devkit.rglob("*.jpg"))[0]
    whole = photo.read_bytes()
    given = [flag for flag in work.extract if flag not in ("-j", "1")]
    try:
        photo.write_bytes(whole[:300])
        assert commands.extract_features([*given, *engine]) == 1
        assert photo.stem in capsys.readouterr().err.splitlines()[-1]
        assert commands.extract_features([*given, *engine, "--skip-bad"]) == 0
    finally:
        photo.write_bytes(whole)
    assert not list(work.run.rglob(f"features/*/{photo.stem}.maps"))
    assert list(work.run.rglob("features/*/*.maps"))


@pytest.mark.slow
def test_after_a_kill_the_same_command_does_the_rest_only(work, finished, ray_turn):
    shutil.rmtree(work.run / "features")
    given = [flag for flag in work.extract if flag not in ("-j", "1")]
    command = [sys.executable, "-m", "sppnet", "stage", "extract-features", *given, "--engine", "ray", "-j", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(work.run.rglob("features/*/*.maps")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    time.sleep(2)  # workers end within a second
    times = {path: path.stat().st_mtime_ns for path in work.run.rglob("features/*/*.maps")}
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert times.items() <= {path: path.stat().st_mtime_ns for path in work.run.rglob("features/*/*.maps")}.items()
    made = files(work.run, "features/*/*.maps")
    assert len(made) == 12
    assert made == files(finished, "features/*/*.maps")


@pytest.fixture
def small_disk(work):
    """The folder of features, on a disk that holds those of two photos."""
    shutil.rmtree(work.run / "features")
    (work.run / "features").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=68k", "tmpfs", str(work.run / "features")]
    try:
        done = subprocess.run(mount, capture_output=True).returncode
    except OSError:
        done = 1
    if done:
        pytest.skip("only root can mount a small disk")
    yield work.run / "features"
    subprocess.run(["umount", str(work.run / "features")], check=True)


@pytest.mark.slow
def test_a_worker_whose_disk_is_full_names_its_node_and_file(small_disk, work, ray, capsys):
    given = [flag for flag in work.extract if flag not in ("-j", "1")]
    assert commands.extract_features([*given, "--engine", "ray", "-j", "2"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(rf"error: {small_disk}/\S+\.maps: Ray node \S+: No space left on device; ", last)
    there = [path for path in small_disk.rglob("*") if path.is_file()]
    assert not [path for path in there if ".tmp" in path.name]
    cache = FeatureCache(next(small_disk.glob("*/manifest.json")).parent)
    assert 0 < len(cache.ids()) < 12
    for image_id in cache.ids():
        cache.read(image_id)  # whole


@pytest.mark.slow
def test_detect_writes_the_same(work, weights, engine, tmp_path):
    photos = sorted(work.devkit.rglob("*.jpg"))[:5]
    (tmp_path / "broken.jpg").write_bytes(photos[0].read_bytes()[:300])
    given = [*photos[:3], tmp_path / "broken.jpg", *photos[3:], "--model", work.run / "model", "--weights", weights]
    results = []
    for name, flags in (("here", []), ("there", engine)):
        folder = tmp_path / name
        outputs = ["--json", folder / "found.json", "--csv", folder / "found.csv", "--crop", folder / "objects"]
        every = ["--score-threshold", "-2", *outputs, "--save", folder / "drawn", *flags]
        folder.mkdir()
        assert commands.detect([str(a) for a in (*given, *every)]) == 1  # one photo is broken
        result = json.loads((folder / "found.json").read_text())["result"]
        pictures = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.jpg")}
        results.append((result, pictures, (folder / "found.csv").read_bytes()))
    assert results[0] == results[1]
    assert len(results[0][0]["images"]) == 5
    assert list(results[0][0]["unreadable"]) == [str(tmp_path / "broken.jpg")]


def test_workers_with_other_weights_are_refused(work, monkeypatch):
    cache = FeatureCache(next(work.run.glob("features/*/manifest.json")).parent)
    body = network.assemble("alexnet", seed=1)
    sent = pickle.dumps(Convolver(body, "pretrained", "cpu", cache, skip_bad=False))
    assert len(sent) < 10_000  # without the weights
    monkeypatch.setattr(network, "build", lambda *given: network.assemble("alexnet", seed=2))
    with pytest.raises(RuntimeError, match=r"worker .*: alexnet has weights \w{12} there and \w{12} here"):
        pickle.loads(sent)()


def test_settings_name_the_engine():
    assert engine_of(ExtractProposalsSettings()) is None
    assert engine_of(ExtractProposalsSettings(engine="local")) is None
    on_ray = engine_of(ExtractProposalsSettings(engine="ray", ray_address="10.0.0.1:6379", workers=3), "cuda")
    assert on_ray == Mounting(RayCluster("10.0.0.1:6379", 3, gpus=1))
    with pytest.raises(ValueError, match="ray_address: goes with engine ray"):
        ExtractProposalsSettings(ray_address="auto")


def test_without_ray_a_command_says_in_one_line_how_to_install_it(work, weights, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    photo = next(work.devkit.rglob("*.jpg"))
    assert commands.detect([photo, "--model", work.run / "model", "--weights", weights, "--engine", "ray"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("install it with: pip install 'sppnet[cluster]'")


@pytest.mark.slow
def test_an_address_where_no_cluster_listens_is_one_line(work):
    pytest.importorskip("ray", reason="needs Ray; install the extra cluster")
    shutil.rmtree(work.run / "proposals")
    command = [sys.executable, "-m", "sppnet", "stage", "extract-proposals", *work.data, "--engine", "ray"]
    done = subprocess.run([*command, "--ray-address", "127.0.0.1:1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: 127.0.0.1:1: no Ray cluster answers; start one with `ray start --head`, name another address, or copy "
        "the cluster's ~/.ray/auth_token to this machine"
    )
    assert not list(work.run.rglob("proposals/*/*.npz"))
