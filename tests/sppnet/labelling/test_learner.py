"""The learner of a project: restarts, trainings from the beginning, other detectors, `sppnet train` afterwards."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data import datasets
from detection import features, model, svm
from detection.bbox_regression import fit_all
from detection.cache import FeatureCache
from detection.training import live
from detection.training.images import TrainingImages
from proposals import io as proposal_files
from sppnet.labelling.base import Base
from sppnet.labelling.learner import Learner
from sppnet.labelling.regions import LabelledBoxes
from sppnet.settings.commands import ServeSettings
from tests import commands
from tests.damage import flip_bits, without_checksum, write_model_settings
from tests.sppnet.labelling.helpers import LIMITS


def learner_in(folder, base, classes):
    return Learner(folder, base, tuple(classes), LIMITS)


def learn(learner, records, classes):
    for record in records:
        boxes = tuple(tuple(round(v, 2) for v in box) for box in record.boxes.tolist())
        found = LabelledBoxes(boxes, tuple(classes[k] for k in record.labels), {})
        learner.learn(record.id, record.path.read_bytes, lambda size, found=found: found)


def catch_up(learner):
    training = learner.detector.catchup()
    training.run()
    learner.adopt(training)


def assert_same(a, b):
    assert live.digest(a) == live.digest(b)
    np.testing.assert_array_equal(a.svms.weights, b.svms.weights)
    for x, y in zip(a.regressors, b.regressors, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            np.testing.assert_array_equal(x.weights, y.weights)


def test_a_training_from_the_beginning_is_that_of_the_stages_on_the_same_folder(base, records, classes, tmp_path):
    learner = learner_in(tmp_path / "p", base, classes)
    learn(learner, records[:5], classes)
    catch_up(learner)
    learner.hand_over()
    dataset = datasets.load(tmp_path / "p" / "data", "all", classes=classes)
    proposals, meta = proposal_files.load(tmp_path / "p" / "proposals" / "ss" / "train.npz")
    (kept,) = (tmp_path / "p" / "features").iterdir()
    cache = FeatureCache(kept)
    images = TrainingImages(list(dataset), proposals, cache, base.config.pooling, len(classes))
    assert meta == base.windows.meta
    constants, options = base.svm_config(5), replace(learner.detector.options, folder=tmp_path / "stages")
    svms, found = svm.train(images, constants, options), learner.detector.model
    np.testing.assert_array_equal(found.svms.weights, svms.weights)
    np.testing.assert_array_equal(found.svms.bias, svms.bias)
    regressors = fit_all(images, replace(base.config.bbox, max_windows=1000), svms.feature_scale)
    assert found.bbox_feature_scale == svms.feature_scale
    for ours, theirs in zip(found.regressors, regressors, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_array_equal(ours.weights, theirs.weights)
    assert found.regression is not None


def test_a_restart_continues_where_learning_was(base, records, classes, tmp_path):
    whole, broken = (learner_in(tmp_path / name, base, classes) for name in "ab")
    for learner in (whole, broken):
        learn(learner, records[:3], classes)
        catch_up(learner)
        learn(learner, records[3:5], classes)
    broken.keep()
    again = learner_in(tmp_path / "b", base, classes)
    assert again.version == broken.version
    assert_same(again.detector.model, broken.detector.model)
    assert list(again.detector.held_out) == [r.id for r in records[:5]]
    for learner in (whole, again):
        learn(learner, records[5:7], classes)
    assert_same(again.detector.model, whole.detector.model)
    assert again.detector.behind


def test_after_a_crash_only_unwritten_changes_are_learned_again(base, records, classes, tmp_path):
    learner = learner_in(tmp_path, base, classes)
    learn(learner, records[:3], classes)
    learner.keep()
    learn(learner, records[3:5], classes)  # not kept; but the photos and their objects are on disk
    again = learner_in(tmp_path, base, classes)
    assert [r.id for r in again.detector.images.records] == [r.id for r in records[:5]]
    assert again.detector.behind
    catch_up(again)
    catch_up(learner)
    assert_same(again.detector.model, learner.detector.model)


@pytest.mark.parametrize("damage", ["model.json", "svms.safetensors", "held-out.npz", "training/checkpoint.npz"])
def test_damaged_files_of_an_earlier_time_cost_only_time(base, records, classes, tmp_path, damage):
    learner = learner_in(tmp_path, base, classes)
    learn(learner, records[:3], classes)
    learner.keep()
    (tmp_path / "live" / damage).write_bytes(b"damaged")
    again = learner_in(tmp_path, base, classes)
    catch_up(again)
    catch_up(learner)
    np.testing.assert_array_equal(again.detector.model.svms.weights, learner.detector.model.svms.weights)


@pytest.mark.parametrize("damage", [flip_bits, without_checksum, lambda path: path.write_bytes(b"torn")])
def test_windows_that_were_damaged_are_searched_again(base, records, classes, tmp_path, caplog, damage):
    learner = learner_in(tmp_path, base, classes)
    learn(learner, records[:2], classes)
    path = tmp_path / "live" / "windows" / f"{records[0].id}.npy"
    sound = path.read_bytes()
    damage(path)
    again = learner_in(tmp_path, base, classes)
    assert f"{path}: " in caplog.text
    assert "searching the photo again" in caplog.text
    assert path.read_bytes() == sound
    for record in records[:2]:
        windows = (one.detector.images.proposals[record.id] for one in (again, learner))
        np.testing.assert_array_equal(*windows)


def test_a_damaged_list_of_labelled_photos_loses_only_those_that_it_does_not_name(
    base, records, classes, tmp_path, caplog
):
    learn(learner_in(tmp_path, base, classes), records[:3], classes)
    path = tmp_path / "data" / "ImageSets" / "Main" / "labelled.txt"
    first, second, third = (record.id for record in records[:3])
    path.write_bytes(f"{first}\n".encode() + b"\xff\xfe" + f"{second}\n../../{third}\n{third}\n{third}\n".encode())
    again = learner_in(tmp_path, base, classes)
    assert again.labelled.ids == [first, third]
    assert [record.id for record in again.detector.images.records] == [first, third]
    assert f"{path}: left out 2 photos without annotation: " in caplog.text


def test_a_model_of_other_levels_is_not_taken_up(base, records, classes, tmp_path):
    learner = learner_in(tmp_path, base, classes)
    learn(learner, records[:2], classes)
    learner.keep()
    values = json.loads((tmp_path / "live" / "model.json").read_text())
    values["config"]["pooling"]["levels"] = [1, 2]
    write_model_settings(tmp_path / "live", values)
    again = learner_in(tmp_path, base, classes)
    assert again.detector.model.config.pooling.levels == base.config.pooling.levels
    again.detect(records[0].id, None)


def test_a_photo_is_convolved_once(base, records, classes, tmp_path, monkeypatch):
    learner = learner_in(tmp_path, base, classes)
    learner.detect(records[0].id, records[0].path.read_bytes)
    monkeypatch.setattr("sppnet.detector.convolving._convolve", pytest.fail)
    learn(learner, records[:1], classes)
    learner.detect(records[0].id, None)
    again = learner_in(tmp_path, base, classes)
    assert again.detect(records[0].id, None)[1] == records[0].size


def test_probabilities_come_from_photos_that_were_not_learned(base, records, classes, tmp_path):
    learner = learner_in(tmp_path, base, classes)
    learn(learner, records[:1], classes)
    first = learner.detector.model
    learn(learner, records[1:2], classes)
    held_out = learner.detector.held_out[records[1].id]
    windows = learner.detector.images.proposals[records[1].id]
    pyramid = features.load_pyramid(learner.cache, records[1].id)
    expected = live.detect(first, pyramid, windows)
    np.testing.assert_array_equal(held_out.scores, expected.scores)
    learn(learner, [replace(records[1], boxes=records[1].boxes + 3)], classes)
    assert learner.detector.held_out[records[1].id] is held_out  # it has been learned by now
    learner.forget(records[1].id)
    assert list(learner.detector.held_out) == [records[0].id]


def test_few_photos_give_margins_and_enough_give_probabilities(base, records, classes, tmp_path, monkeypatch):
    learner = learner_in(tmp_path, base, classes)
    seen = []

    def fit(scores, correct, n_objects):
        seen.append(int(sum(n_objects)))
        return fit_before(scores, correct, n_objects)

    fit_before = live.calibration.fit
    monkeypatch.setattr(live.calibration, "fit", fit)
    monkeypatch.setattr(live, "FEWEST_PHOTOS", 3)
    learn(learner, records[:4], classes)
    assert not seen
    assert learner.detector.model.calibration is None
    learn(learner, records[4:8], classes)
    objects = [sum(len(r.labels) for r in records[n // 2 : n]) for n in range(5, 9)]
    assert seen == objects  # of the newer half of the photos


def test_a_detector_to_begin_with_finds_its_classes_at_once(base, finished, weights, records, classes, tmp_path):
    trained = model.load(finished / "model")
    settings = ServeSettings(label_studio=True, model=(str(finished / "model"),), weights=weights, device="cpu")
    begun = Base.load(settings)
    names = ("unicorn", *trained.classes[::-1])
    learner = learner_in(tmp_path, begun, names)
    assert learner.knows
    photo = records[8]
    windows = learner.prepare(photo.id, photo.path.read_bytes)
    pyramid = features.load_pyramid(learner.cache, photo.id)
    before, own = live.detect(learner.detector.model, pyramid, windows), live.detect(begun.model, pyramid, windows)
    assert "unicorn" not in before.names
    assert sorted(zip(before.names, before.scores.tolist(), strict=True)) == sorted(
        zip(own.names, own.scores.tolist(), strict=True)
    )
    learn(learner, [photo], classes)
    weights_now = learner.detector.model.svms
    assert weights_now.feature_scale == trained.svms.feature_scale
    assert not np.array_equal(weights_now.weights[1:], trained.svms.weights[::-1])
    catch_up(learner)
    assert learner.detector.model.regression is not None
    learner.keep()
    again = learner_in(tmp_path, begun, names)
    assert again.version == learner.version


@pytest.mark.slow
def test_train_goes_on_with_the_folder(base, weights, records, classes, tmp_path, monkeypatch, capsys):
    """The photos are neither searched for windows nor convolved again."""
    learner = learner_in(tmp_path / "p", base, classes)
    learn(learner, records, classes)
    learner.keep()
    learner.hand_over()
    shutil.rmtree(tmp_path / "p" / "live")
    monkeypatch.setattr("sppnet.detector.convolving._convolve", pytest.fail)
    monkeypatch.setattr("proposals.batch.search_file", None)
    flags = ["--data", str(tmp_path / "p" / "data"), "--run", str(tmp_path / "p"), "--backbone", "alexnet"]
    flags += ["--features", "pool5"]
    flags += ["--scales", "160", "--weights", str(weights), "-j", "1", "--proposals", "ss", "--device", "cpu"]
    assert commands.train(flags) == 0, capsys.readouterr().err
    trained = model.load(tmp_path / "p" / "model")
    assert set(trained.classes) <= set(classes)
    assert trained.notes["images"] < len(records)
