"""A stage that repeats finished work with --overwrite, and is interrupted, continues without it as it says."""

import shutil

import numpy as np
import pytest

from data import minivoc
from detection import network
from detection.detection_table import load_npz
from detection.model import load
from detection.weights.state_dict import write_state
from proposals.io import load as load_boxes
from sppnet.detector import calibrating, finetuning
from tests import commands
from tests.sppnet.conftest import SCALES

SCHEDULE = ["--schedule", "4:1e-3", "--width", "24", "--block", "2", "--validate-every", "2"]
QUICK = ["--backbone", "alexnet", "--features", "pool5", "--precision", "fp32", "-j", "1"]


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


def after(calls, function):
    """The function, interrupted after so many calls."""
    done = []

    def stopped(*args, **kwargs):
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(1)
        return function(*args, **kwargs)

    return stopped


@pytest.fixture
def stopped(monkeypatch, capsys):
    """Run a command with --overwrite that is interrupted in a function; check that it says how to continue."""

    def run(command, argv, where, what=interrupt):
        with monkeypatch.context() as patch:
            patch.setattr(where, what)
            assert command([*argv, "--overwrite"]) == 130
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == "interrupted; the same command, without --overwrite, continues"

    return run


@pytest.fixture
def others(tmp_path):
    """Convolutions with other weights."""
    path = tmp_path / "others.safetensors"
    write_state(path, network.assemble("alexnet", seed=9).state_dict())
    return path


@pytest.mark.parametrize("images", [0, 3, 9])  # 8 are of the training split
def test_proposals_of_other_settings(work, stopped, images):
    from proposals import batch

    argv = [*work.data, "-j", "1", "--max-boxes", "9"]
    stopped(commands.extract_proposals, argv, "proposals.batch.search_file", after(images, batch.search_file))
    assert commands.extract_proposals(argv) == 0
    for split in ("trainval", "test"):
        boxes, meta = load_boxes(work.run / "proposals" / "ss" / f"{split}.npz")
        assert meta["max_boxes"] == 9
        assert max(map(len, boxes.values())) == 9


@pytest.mark.parametrize(
    ("where", "calls"),
    [
        ("proposals.batch.search_file", 2),
        ("sppnet.detector.features.features.store_pyramid", 0),
        ("sppnet.detector.features.features.store_pyramid", 15),  # 12 are of the photos as they are
    ],
)
def test_features_of_other_weights(work, stopped, others, where, calls):
    from detection import features
    from proposals import batch

    assert commands.extract_features([*work.extract, "--mirror"]) == 0
    weights = work.extract.index("--weights") + 1
    argv = [*work.extract[:weights], str(others), *work.extract[weights + 1 :], "--mirror"]
    what = batch.search_file if "search" in where else features.store_pyramid
    stopped(commands.extract_features, argv, where, after(calls, what))
    assert commands.extract_features(argv) == 0
    for kind in ("features", "mirrored-features"):
        manifest = (work.run / kind / "alexnet-160" / "manifest.json").read_text()
        assert network.build("alexnet", others).weights_hash in manifest


@pytest.mark.parametrize("others", [[], ["--seed", "1"]])
def test_layers_of_other_settings(work, stopped, others, caplog):
    tune = [*work.data, *SCHEDULE]
    assert commands.finetune(tune) == 0
    caplog.set_level("INFO")
    show = after(3, lambda *args: None)
    stopped(commands.finetune, [*tune, *others], "sppnet.detector.finetuning._show", show)
    assert commands.train_svms([*work.data, "--features", "fc7"]) == 1  # the old layers are not the new ones
    assert commands.finetune([*tune, *others]) == 0
    assert "resuming at iteration 2 of 4" in caplog.text
    assert finetuning.read_notes(work.run / "head")["seed"] == (1 if others else 0)
    assert not list((work.run / "head").glob("*.pt"))


@pytest.mark.parametrize("others", [[], ["--cost", "0.1"]])
def test_svms_of_other_settings(work, stopped, others, finished):
    argv = [*work.data, *others]
    stopped(commands.train_svms, argv, "detection.training.mining.solve")
    assert commands.test_net(work.data) == 1  # the old model is not the new one
    assert commands.train_svms(argv) == 0
    same = np.array_equal(load(work.run / "model").svms.weights, load(finished / "model").svms.weights)
    assert same == (not others)
    assert len(load(work.run / "model").regressors) == 6


@pytest.mark.parametrize("others", [[], ["--bbox-min-iou", "0.7"]])
@pytest.mark.parametrize("command", [commands.train_bbox_regressors, commands.train_svms])
def test_box_regressors_of_other_settings(work, stopped, command, others):
    argv = [*work.data, *others]
    stopped(command, argv, "sppnet.detector.bbox_regressors.fit_all")
    assert not load(work.run / "model").regressors
    assert command(argv) == 0
    found = load(work.run / "model")
    assert len(found.regressors) == 6
    assert found.config.bbox.min_iou == (0.7 if others else 0.5)


def test_probabilities(work, stopped, weights, monkeypatch):
    monkeypatch.setattr(calibrating, "FEWEST", 1)
    argv = [*work.data, "--weights", str(weights)]
    assert commands.calibrate(argv) == 0
    assert load(work.run / "model").calibration
    stopped(commands.calibrate, argv, "sppnet.detector.calibrating.detect_windows")
    assert load(work.run / "model").calibration is None
    assert commands.calibrate(argv) == 0
    assert load(work.run / "model").calibration


def test_detections(work, stopped):
    stopped(commands.test_net, work.data, "sppnet.detector.detecting.detect_windows")
    assert not list((work.run / "detections").glob("test-*.npz"))
    assert commands.test_net(work.data) == 0
    assert len(load_npz(work.run / "detections" / "test-regressed.npz")[0]) == 4


@pytest.mark.parametrize(
    "where",
    [
        "sppnet.detector.training.measure",
        "proposals.batch.search_file",
        "sppnet.detector.features.features.store_pyramid",
        "detection.training.mining.solve",
        "sppnet.detector.detecting.detect_windows",
    ],
)
def test_a_whole_training_with_other_settings_and_weights(work, stopped, others, where):
    base = [*work.data, *QUICK]
    argv = [*base, *SCALES, "--weights", str(others), "--max-boxes", "50", "--cost", "0.1", "--inference", "paper"]
    stopped(commands.train, argv, where)
    assert commands.train(argv) == 0
    found = load(work.run / "model")
    assert found.weights_hash == network.build("alexnet", others).weights_hash
    assert (found.config.svm.cost, found.proposals["max_boxes"]) == (0.1, 50)


def test_choices_are_made_anew_after_an_interruption(work, stopped, weights, tmp_path):
    devkit = minivoc.generate(tmp_path / "minivoc", train=4, test=4, seed=0)
    argv = ["--devkit", devkit, *work.data[2:], *QUICK, *SCALES, "--weights", weights]
    stopped(commands.train, argv, "sppnet.detector.training.extract_proposals")
    assert commands.train(argv) == 0
    assert load(work.run / "model").config.svm.cost == 0.02  # the rule's for four photos; the old model has 0.001


def test_an_error_gives_the_old_result_back(work, capsys):
    assert commands.finetune([*work.data, *SCHEDULE]) == 0
    before = {p: p.read_bytes() for p in work.run.rglob("*") if p.suffix in (".safetensors", ".json")}
    shutil.rmtree(work.run / "features")
    (work.run / "features").write_bytes(b"in the way")
    assert commands.train([*work.extract, *QUICK, "--overwrite"]) == 1
    after = {p: p.read_bytes() for p in before if p.exists()}
    kept = [p for p in before if p.parent.name in ("model", "head")]
    assert len(kept) == 6
    assert all(after[p] == before[p] for p in kept)
    capsys.readouterr()


def test_box_regressors_come_back_after_an_error(work, monkeypatch):
    def fail(*_args, **_kwargs):
        raise ValueError("no room")

    before = load(work.run / "model").regressors[0].weights
    monkeypatch.setattr("sppnet.detector.bbox_regressors.fit_all", fail)
    assert commands.train_bbox_regressors([*work.data, "--overwrite"]) == 1
    np.testing.assert_array_equal(load(work.run / "model").regressors[0].weights, before)
