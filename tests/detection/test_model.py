"""The model folder: saving, loading, half precision, damage."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from detection import model
from detection.bbox_regression import BoxRegressor
from detection.boxes import clip
from detection.calibration import Calibration
from detection.detector import SPPDetector
from detection.ensemble import Evidence, detect_windows
from detection.features import compute_pyramid, place
from detection.linear_detectors import LinearDetectors
from detection.model_settings import MODEL
from detection.networks.fc_head import FcFeatures, FcHead
from detection.weights import half_precision
from tests.damage import write_model_settings
from tests.detection.conftest import trained, windows


def test_half_precision_halves_the_files_and_hardly_changes_detections(body, photo, tmp_path):
    whole = trained(body)
    whole.save(tmp_path / "whole")
    SPPDetector(body, whole).save(tmp_path / "half", half=True)
    size = {kind: sum(f.stat().st_size for f in (tmp_path / kind).glob("*.safetensors")) for kind in ("whole", "half")}
    assert size["half"] < 0.51 * size["whole"]
    again = model.load(tmp_path / "half")
    np.testing.assert_allclose(again.svms.weights, whole.svms.weights, rtol=2**-11, atol=1e-9)
    first, second = (SPPDetector(body, m).detect(photo, windows(200)) for m in (whole, again))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=0.1)
    np.testing.assert_allclose(first.scores, second.scores, atol=2e-3)


def test_values_that_are_not_finite_are_refused_in_half_precision():
    with pytest.raises(ValueError, match="weights: holds values that are not finite"):
        half_precision.to_half({"weights": np.full(2000, np.nan, np.float32)})


def test_a_class_without_positives_keeps_its_bias_of_minus_infinity(body, tmp_path):
    whole = trained(body, regressors=False)
    whole.svms.bias[1] = -np.inf
    whole.save(tmp_path, half=True)
    assert model.load(tmp_path).svms.bias.tolist() == [0, -np.inf, 0]


def on_fc(body):
    """A model whose SVMs and regressors see fc7 of random layers."""
    rng, whole = np.random.default_rng(2), trained(body)
    fc = FcFeatures(FcHead.random(body.channels * 50, 32), "fc7")
    svms = LinearDetectors(rng.standard_normal((3, 32)).astype(np.float32), np.zeros(3, np.float32), 1.0)
    weights = (rng.standard_normal((33, 4)) / 5).astype(np.float32)
    regressors = (BoxRegressor(weights, np.zeros(4)), None, BoxRegressor(weights[::-1].copy(), np.ones(4) / 9))
    return replace(whole, svms=svms, regressors=regressors, fc=fc, bbox_on_fc=True)


def test_regressors_may_see_the_layer_of_the_svms(body, photo, tmp_path):
    whole, boxes = on_fc(body), windows(60)
    whole.save(tmp_path)
    again = model.load(tmp_path)
    assert again.bbox_on_fc
    assert again.summary()["bbox_features"] == "fc7"
    pyramid = compute_pyramid(photo, body, whole.config.pooling.scales)
    placed = place(pyramid, boxes, whole.config.pooling)
    fc7 = whole.fc(placed.rows(slice(None)))[placed.group]
    targets = whole.regressors[2].apply(fc7 * np.float32(whole.bbox_feature_scale), boxes)
    expected = clip(targets, pyramid.image_size)
    evidence = Evidence(pyramid, boxes, again)
    np.testing.assert_allclose(evidence.judgement().regressed(np.arange(60), 2), expected, atol=1e-2)
    found = SPPDetector(body, again).detect(photo, boxes)  # suppresses first
    after = detect_windows(evidence)[1]
    np.testing.assert_allclose(found.boxes, after.boxes, atol=1e-2)
    third = found[found.labels == 2].boxes
    assert len(third) > 0
    assert min(np.abs(expected - box).max(axis=1).min() for box in third) < 1e-2


@pytest.mark.parametrize("name", ["svms.safetensors", "bbox_regressors.safetensors"])
def test_a_file_with_a_changed_number_is_refused(body, tmp_path, name):
    trained(body).save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[-1000] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"damaged model \({name} does not have the hash that model.json states\)"):
        model.load(tmp_path)


def test_saving_without_regressors_deletes_existing_ones(body, tmp_path):
    trained(body).save(tmp_path)
    trained(body, regressors=False).save(tmp_path)
    assert model.load(tmp_path).regressors == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "svms.safetensors"]


@pytest.mark.parametrize("name", ["model.json", "svms.safetensors", "bbox_regressors.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_model_is_an_error_that_names_it(body, tmp_path, name, damage):
    trained(body).save(tmp_path)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path)):
        model.load(tmp_path)


@pytest.mark.parametrize("value", [None, 5, "text", [], [1], {"a": 1}], ids=repr)
@pytest.mark.parametrize("part", [None, "sha256", "classes", "config", *("pooling", "finetune", "svm", "bbox", "test")])
def test_a_value_of_another_kind_is_an_error_that_names_the_model(body, tmp_path, part, value):
    trained(body).save(tmp_path)
    settings = json.loads((tmp_path / MODEL).read_text())
    if part in settings:
        settings[part] = value
    elif part:
        settings["config"][part] = value
    (tmp_path / MODEL).write_text(json.dumps(settings if part else value))
    with pytest.raises(ValueError, match=rf"{tmp_path}: damaged model"):
        model.load(tmp_path)


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c", "d"], ["a", "b", "b"]])
def test_other_names_than_there_are_svms_are_an_error(body, tmp_path, classes):
    trained(body).save(tmp_path)
    settings = json.loads((tmp_path / MODEL).read_text())
    write_model_settings(tmp_path, settings | {"classes": classes})
    with pytest.raises(ValueError, match=r"damaged model \((svms.*not those of \d classes|model.*different)"):
        model.load(tmp_path)


@pytest.mark.parametrize("name", ["", "..", "../other.safetensors", "model.json"])
def test_other_files_are_not_read(body, tmp_path, name):
    trained(body).save(tmp_path)
    settings = json.loads((tmp_path / MODEL).read_text())
    settings["sha256"][name] = "0"
    (tmp_path / MODEL).write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"damaged model \(model\.json: sha256: expected svms\.safetensors, .* only"):
        model.load(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (lambda m: m.svms.weights, r"svms\.safetensors: weights holds"),
        (lambda m: m.svms.bias, r"svms\.safetensors: a bias"),
        (lambda m: m.regressors[1].weights, r"bbox_regressors\.safetensors: weights\.1 holds"),
        (lambda m: m.regressors[0].mean, r"bbox_regressors\.safetensors: mean\.0 holds"),
    ],
)
def test_weights_that_are_no_numbers_are_an_error(body, tmp_path, array, message, value):
    broken = trained(body)
    array(broken).flat[0] = value
    broken.save(tmp_path)
    with pytest.raises(ValueError, match=message):
        model.load(tmp_path)


def test_regressors_of_another_shape_are_an_error(body, tmp_path):
    whole = trained(body)
    short = BoxRegressor(whole.regressors[1].weights[:-1], whole.regressors[1].mean)
    replace(whole, regressors=(whole.regressors[0], short, None)).save(tmp_path)
    with pytest.raises(ValueError, match=r"bbox_regressors\.safetensors: expected weights \(D \+ 1, 4\)"):
        model.load(tmp_path)


def test_regressors_that_all_take_vectors_of_another_length_are_an_error(body, tmp_path):
    whole = trained(body)
    short = [BoxRegressor(r.weights[:-1], r.mean) for r in whole.regressors[:2]]
    replace(whole, regressors=(*short, None)).save(tmp_path / "pool5")
    replace(on_fc(body), regressors=whole.regressors).save(tmp_path / "fc7")
    for name, got, expected in (("pool5", body.channels * 50 - 1, body.channels * 50), ("fc7", body.channels * 50, 32)):
        message = rf"{name}: damaged model \(bbox_regressors.* for vectors of length {got}, expected {expected}\)"
        with pytest.raises(ValueError, match=message):
            model.load(tmp_path / name)


def test_svms_and_layers_that_do_not_fit_each_other_are_an_error(body, tmp_path):
    whole = on_fc(body)
    weights = np.zeros((3, 31), np.float32)
    replace(whole, svms=LinearDetectors(weights, np.zeros(3, np.float32), 1.0)).save(tmp_path / "svms")
    with pytest.raises(ValueError, match=r"svms\.safetensors: weights for vectors of length 31, expected 32"):
        model.load(tmp_path / "svms")
    whole.fc.head.fc7 = torch.nn.Linear(33, 32)
    whole.save(tmp_path / "head")
    with pytest.raises(ValueError, match=r"fc_head\.safetensors: fc7 takes 33 values and fc6 gives 32"):
        model.load(tmp_path / "head")


def test_a_model_for_other_classes_has_what_it_knows_of_them(body):
    calibration = Calibration((1.0, 2.0, 3.0), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    known = replace(trained(body), calibration=calibration)
    turned = known.with_classes(("c", "a"))
    np.testing.assert_array_equal(turned.svms.weights, known.svms.weights[[2, 0]])
    assert turned.regressors == (None, known.regressors[0])
    assert turned.calibration == Calibration((3.0, 1.0), (0.3, 0.1), (0.6, 0.4))
    wider = known.with_classes(("a", "x", "b"))
    assert wider.svms.bias.tolist() == [0, -np.inf, 0]
    assert not wider.svms.weights[1].any()
    assert wider.regressors == (known.regressors[0], None, known.regressors[1])
    assert wider.calibration is None
    assert known.with_classes(known.classes).svms.weights.tobytes() == known.svms.weights.tobytes()
