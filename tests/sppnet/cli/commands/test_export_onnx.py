"""`sppnet export onnx`: ONNX runtimes compute what the detector computes."""

from dataclasses import replace

import numpy as np
import pytest

from detection import SPPDetector, onnx_export
from detection.linear_detectors import LinearDetectors, mean_of
from detection.networks.fc_head import FcFeatures, FcHead
from sppnet.cli import main


@pytest.fixture(scope="module")
def exported(finished, weights, tmp_path_factory):
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("onnx")
    argv = ["--model", str(finished / "model"), "--weights", str(weights), "--to", str(folder)]
    assert main(["export", "onnx", *argv]) == 0
    return folder


@pytest.fixture(scope="module")
def detector(finished, weights):
    return SPPDetector.from_pretrained(finished / "model", weights=weights, precision="fp32")


def session(path):
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", [(160, 213), (301, 187)])
@pytest.mark.slow
def test_onnxruntime_gives_the_same_maps(exported, detector, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels = image.transpose(2, 0, 1)[None].astype(np.float32)  # (1, 3, H, W)
    maps = session(exported / onnx_export.BODY).run(None, {"pixels": pixels})[0]
    np.testing.assert_allclose(maps[0], detector.body.conv5(image).numpy(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("windows", [1, 33])
def test_onnxruntime_gives_the_same_scores(exported, detector, windows):
    pooled = np.random.default_rng(0).random((windows, detector.model.pooled_length), dtype=np.float32)
    margins = session(exported / onnx_export.HEAD).run(None, {"pool5": pooled})[0]
    np.testing.assert_allclose(margins, detector.model.svms.scores(pooled), atol=1e-4, rtol=1e-4)


def test_onnx_scores_go_through_fc_layers(detector, tmp_path):
    pytest.importorskip("onnxscript")

    fc = FcFeatures(FcHead.random(detector.model.pooled_length, 8), "fc7")
    rng = np.random.default_rng(1)
    svms = LinearDetectors(rng.normal(size=(2, 8)).astype(np.float32), np.float32([0.5, -np.inf]), 3.0)
    model = replace(detector.model, fc=fc, svms=svms, classes=("a", "b"), regressors=())
    (tmp_path / "head.onnx").write_bytes(onnx_export.head_onnx(model))
    pooled = rng.random((5, model.pooled_length), dtype=np.float32)
    margins = session(tmp_path / "head.onnx").run(None, {"pool5": pooled})[0]
    np.testing.assert_allclose(margins, svms.scores(fc(pooled)), atol=1e-5)


def test_onnx_scores_on_pool5_and_fc7_heed_the_gate(detector, tmp_path):
    pytest.importorskip("onnxscript")

    rng, length = np.random.default_rng(1), detector.model.pooled_length
    of_pool5, of_fc7 = (
        LinearDetectors(rng.normal(size=(2, n)).astype(np.float32), np.float32([-1, -2]), 3 / n) for n in (length, 8)
    )
    svms, fc = mean_of(of_pool5, of_fc7, FcFeatures(FcHead.random(length, 8), "fc7"))
    model = replace(detector.model, fc=fc, svms=svms, classes=("a", "b"), regressors=())
    (tmp_path / "head.onnx").write_bytes(onnx_export.head_onnx(model))
    pooled = rng.normal(size=(60, length)).astype(np.float32) * np.linspace(0, 60, 60, dtype=np.float32)[:, None]
    passed = (of_pool5.scores(pooled) > -1.5).any(axis=1)
    assert 10 < passed.sum() < 50
    margins = session(tmp_path / "head.onnx").run(None, {"pool5": pooled})[0]
    np.testing.assert_allclose(margins, svms.scores(fc(pooled)), atol=1e-2)
    exact = (of_pool5.scores(pooled) + of_fc7.scores(FcFeatures(fc.head, "fc7")(pooled))) / 2
    assert np.abs(margins - exact)[passed].max() < 0.01 < np.abs(margins - exact)[~passed].min()
