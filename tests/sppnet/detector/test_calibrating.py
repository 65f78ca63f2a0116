"""Probabilities of a run's model."""

import json

import numpy as np
import pytest

from detection import calibration, model
from detection.training import mining, svm_checkpoint
from sppnet.detector import calibrating
from tests import commands


def flags(work, weights):
    return [*work.data, "--weights", str(weights)]


def test_a_calibrated_model_states_probabilities_and_keeps_its_scores(work, weights, capsys, monkeypatch):
    seen = {}
    fit = calibration.fit
    monkeypatch.setattr(calibrating.calibration, "fit", lambda *args: seen.setdefault("fit", (args, fit(*args)))[1])
    before = model.load(work.run / "model")
    assert commands.calibrate([*flags(work, weights), "--json", work.run / "calibration.json"]) == 0
    found = model.load(work.run / "model")
    (scores, correct, n_objects), learned = seen["fit"]
    assert found.calibration == learned
    assert [len(s) for s in scores] == [len(c) for c in correct]
    assert sum(map(sum, correct)) > 0
    assert n_objects.sum() > 8  # objects of all eight photos, each held out once
    np.testing.assert_array_equal(found.svms.weights, before.svms.weights)
    report = json.loads((work.run / "calibration.json").read_text())
    assert report["result"]["calibration"] == learned.to_dict()
    assert "probabilities of 6 classes, shown from" in capsys.readouterr().out
    assert not list(work.run.glob("model/training/*/*"))


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_mined_again_if_the_windows_of_the_training_are_there(work, weights, monkeypatch, there):
    kept = work.run / "model" / "training" / svm_checkpoint.FINISHED
    if not there:
        kept.unlink()  # as in a run folder of an earlier version
    visited = []
    visit = mining.visit_together
    monkeypatch.setattr(mining, "visit_together", lambda miners, i: (visited.append(i), visit(miners, i)))
    assert commands.calibrate(flags(work, weights)) == 0
    assert model.load(work.run / "model").calibration is not None
    assert visited == ([] if there else list(range(8)))
    assert kept.is_file()


def test_a_finished_calibration_is_kept_and_detections_stay_valid(work, weights, monkeypatch, caplog):
    caplog.set_level("INFO")
    assert commands.calibrate(flags(work, weights)) == 0
    monkeypatch.setattr(calibrating.svm, "trained_without", pytest.fail)
    assert commands.calibrate(flags(work, weights)) == 0
    assert "calibrated already" in caplog.text
    monkeypatch.setattr("sppnet.detector.detecting.detect_windows", pytest.fail)  # nothing is detected again
    assert commands.test_net(work.data) == 0


def test_detections_of_another_inference_get_their_own_probabilities(work, weights):
    assert commands.calibrate(flags(work, weights)) == 0
    before = model.load(work.run / "model")
    assert commands.calibrate([*flags(work, weights), "--inference", "fast"]) == 0
    found = model.load(work.run / "model")
    assert (before.config.inference, found.config.inference) == ("paper", "fast")
    assert before.calibration != found.calibration is not None


def test_photos_of_other_views_are_convolved_where_they_have_no_features(work, weights):
    folder = work.run / "model"
    model.load(folder).with_inference("best").save(folder)
    assert commands.calibrate(flags(work, weights)) == 0
    assert model.load(folder).calibration is not None
    assert not (work.run / "mirrored-features").exists()


def test_too_few_photos_give_no_probabilities_but_a_warning(work, weights, caplog):
    few = [*flags(work, weights), "--limit", "3"]
    assert commands.train_svms([*work.data, "--limit", "3", "--overwrite"]) == 0
    assert commands.calibrate(few) == 0
    assert "too few photos to hold some out" in caplog.text
    assert model.load(work.run / "model").calibration is None


def test_photos_are_held_out_once_in_small_parts(work):
    trained = model.load(work.run / "model")
    for count, parts, held in ((5, 0, 0), (8, 8, 8), (20, 10, 20), (250, 10, 100), (600, 10, 200), (3000, 5, 500)):
        found = calibrating._held_out(None, trained, count)
        everything = [i for part in found for i in part]
        assert (len(found), len(everything), len(set(everything))) == (parts, held, held)
        assert all(0 <= i < count for i in everything)


def test_views_can_be_named_and_are_the_models_from_then_on(work, weights, monkeypatch):
    looked = []
    compute = calibrating.features.compute_pyramid

    def noted(pixels, body, scales, mirrored):
        looked.append((*scales, mirrored))
        return compute(pixels, body, scales, mirrored)

    monkeypatch.setattr(calibrating.features, "compute_pyramid", noted)
    views = ["--inference", "best", "--views", "0.75", "1.25m"]
    assert commands.calibrate([*flags(work, weights), *views]) == 0
    found = model.load(work.run / "model").config
    assert [str(view) for view in found.best_views] == [str(view) for view in found.views] == ["0.75", "1.25m"]
    assert set(looked) == {(120, False), (200, True)}


def test_with_too_few_photos_the_model_still_states_the_inference(work, weights, monkeypatch, caplog):
    monkeypatch.setattr(calibrating, "FEWEST", 9)
    assert commands.calibrate([*flags(work, weights), "--inference", "best"]) == 0
    found = model.load(work.run / "model")
    assert (found.config.inference, found.calibration) == ("best", None)
    assert "too few photos to hold some out" in caplog.text
