"""The model folder: saving, loading, half precision, damage."""

import numpy as np
import pytest

from detection import model
from detection.detector import SPPDetector
from detection.weights import half_precision
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
