"""The fully connected layers, alone and between pooled windows and SVM scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from detection import features, postprocessing
from detection.config import PAPER
from detection.detections import Detections
from detection.features import FeaturePyramid
from detection.linear_detectors import LinearDetectors
from detection.model import Model, load
from detection.networks.fc_head import BOTH, FcFeatures, FcHead, NormalizedHead
from detection.training.images import TrainingImages
from detection.weights.state_dict import write_state


def test_the_head_is_two_rectified_layers():
    head = FcHead(12, width=5).eval()
    pool5 = torch.randn(3, 12)
    fc6 = (pool5 @ head.fc6.weight.T + head.fc6.bias).clamp(min=0)
    fc7 = (fc6 @ head.fc7.weight.T + head.fc7.bias).clamp(min=0)
    torch.testing.assert_close(head(pool5), fc7)
    assert head(torch.zeros(0, 12)).shape == (0, 5)


def test_the_head_uses_dropout_in_training_only():
    head = FcHead(8, width=2000)
    nn.init.ones_(head.fc7.bias)
    nn.init.zeros_(head.fc7.weight)
    with torch.no_grad():
        kept = head.train()(torch.randn(1, 8))
        assert kept.unique().tolist() == [0.0, 2.0]  # kept values are doubled
        assert 0.4 < (kept > 0).float().mean() < 0.6
        assert head.eval()(torch.randn(1, 8)).unique().tolist() == [1.0]


def test_batch_normalisation_is_folded_into_plain_layers():
    head = NormalizedHead(12, width=5).train()
    for _ in range(5):  # so that the running statistics are not the initial ones
        head(3 + 2 * torch.randn(40, 12))
    nn.init.normal_(head.norm7.weight)
    nn.init.normal_(head.norm7.bias)
    head.eval()
    plain, pool5 = head.plain(), torch.randn(7, 12)
    assert {name for name, _ in plain.named_parameters()} == {f"fc{i}.{p}" for i in (6, 7) for p in ("weight", "bias")}
    for layer in ("fc6", "fc7"):
        torch.testing.assert_close(plain(pool5, layer), head(pool5, layer))
        assert head(pool5, layer).any()


def test_a_loaded_head_is_ready_for_inference(tmp_path):
    head, pool5 = FcHead(12, width=5).eval(), torch.randn(3, 12)
    head.save(tmp_path / "model" / "fc.safetensors")
    again = FcHead.load(tmp_path / "model" / "fc.safetensors")
    assert not again.training
    assert torch.equal(again(pool5), head(pool5))


def test_a_file_without_a_head_is_refused(tmp_path):
    path = tmp_path / "fc.safetensors"
    write_state(path, {"features.0.weight": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match=r"fc\.safetensors: expected fc6\.weight"):
        FcHead.load(path)


def test_bfloat16_features_differ_by_less_than_two_percent(bfloat16):
    head, pool5 = FcHead.random(200, 50), torch.rand(9, 200)
    exact, rounded = (FcFeatures(head, "fc7", precision) for precision in ("fp32", "bf16"))
    error = (rounded(pool5) - exact(pool5)).norm() / exact(pool5).norm()
    assert 1e-5 < error < 0.02
    assert rounded(pool5.numpy()).dtype == np.float32
    assert rounded.digest != exact.digest


def test_features_are_in_single_precision_on_devices_without_bfloat16(monkeypatch):
    monkeypatch.setattr("detection.networks.bfloat16.has_bfloat16", lambda device: False)
    head, pool5 = FcHead.random(200, 50), torch.rand(9, 200)
    assert torch.equal(FcFeatures(head, "fc7", "bf16")(pool5), FcFeatures(head, "fc7")(pool5))


def test_a_random_head_depends_on_its_seed_only_and_does_not_change_torchs_generator():
    state = torch.get_rng_state()
    one, again, other = (FcHead.random(6, 4, seed).fc6.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_features_of_arrays_and_tensors_are_the_outputs_of_the_layer():
    head, pool5 = FcHead.random(12, 5), torch.randn(3, 12)
    for layer in ("fc6", "fc7"):
        fc = FcFeatures(head, layer)
        expected = head(pool5, layer).detach()
        assert torch.equal(fc(pool5), expected)
        np.testing.assert_array_equal(fc(pool5.numpy()), expected.numpy())
    assert not torch.equal(head(pool5, "fc6"), head(pool5, "fc7"))
    assert fc(np.zeros((0, 12), np.float32)).shape == (0, 5)


def test_pooled_vectors_of_another_length_are_refused():
    with pytest.raises(ValueError, match="head: expected pooled vectors of length 12, got 13"):
        FcFeatures(FcHead.random(12, 5), "fc6")(np.zeros((2, 13), np.float32))


def test_the_digest_depends_on_layer_and_weights():
    a, b = FcHead.random(12, 5, 0), FcHead.random(12, 5, 1)
    assert len({FcFeatures(a, "fc6").digest, FcFeatures(a, "fc7").digest, FcFeatures(b, "fc7").digest}) == 3
    assert FcFeatures(a, "fc7").digest == FcFeatures(FcHead.random(12, 5, 0), "fc7").digest


@pytest.fixture
def pyramid():
    map_chw = np.random.default_rng(0).random((2, 12, 16), np.float32)
    return FeaturePyramid([map_chw], (192,), (192, 256), 16, 7.5)


@pytest.fixture
def boxes():
    corner = np.random.default_rng(1).uniform(0, 120, (40, 2))
    return np.hstack([corner, corner + 60]).astype(np.float32)


def test_svms_score_the_heads_features_and_box_regression_uses_pool5(pyramid, boxes):
    fc = FcFeatures(FcHead.random(100, 7), "fc7")
    svms = LinearDetectors(np.eye(3, 7, dtype=np.float32), np.zeros(3, np.float32), 2.0)
    placed = features.place(pyramid, boxes, PAPER.with_scales((192,)).pooling, fc=fc)
    pooled = features.pool(pyramid, placed.cells[placed.group], PAPER.pooling)
    np.testing.assert_allclose(placed.scores(svms.scores), 2 * fc(pooled)[:, :3], rtol=1e-5, atol=1e-6)
    seen = []

    class Regression:
        fc = None

        def targets(self, vectors):
            seen.append(vectors.copy())
            return np.zeros((len(vectors), 3, 4), np.float32)

        def apply(self, boxes, labels, targets):
            return boxes

    found = Detections(boxes, np.zeros(len(boxes)), np.zeros(len(boxes), np.int64))
    tight = postprocessing.regress(found, np.arange(len(boxes)), placed, Regression())
    np.testing.assert_array_equal(np.unique(np.concatenate(seen), axis=0), np.unique(pooled, axis=0))
    np.testing.assert_allclose(tight, boxes, atol=200)


def test_training_and_testing_use_the_same_features(pyramid, boxes, monkeypatch):
    monkeypatch.setattr("detection.features.load_pyramid", lambda cache, name: pyramid)

    class Record:
        id = "0"

    fc, pooling = FcFeatures(FcHead.random(100, 7), "fc6"), PAPER.with_scales((192,)).pooling
    images = TrainingImages([Record()], {}, None, pooling, 3, fc)
    svms = LinearDetectors(np.eye(7, dtype=np.float32), np.zeros(7, np.float32), 1.0)
    scores = features.place(pyramid, boxes, pooling, fc=fc).scores(svms.scores)
    np.testing.assert_array_equal(images.pool(0, boxes), scores)


def test_a_model_is_saved_and_loaded_with_its_head(tmp_path):
    svms = LinearDetectors(np.ones((2, 5), np.float32), np.zeros(2, np.float32), 1.0)
    model = Model(("a", "b"), PAPER, "alexnet", "0" * 64, svms, fc=FcFeatures(FcHead.random(12, 5), "fc6"))
    model.save(tmp_path)
    again = load(tmp_path)
    assert (again.fc.layer, again.fc.digest) == ("fc6", model.fc.digest)
    replace(model, fc=None).save(tmp_path)
    assert load(tmp_path).fc is None
    assert {p.name for p in tmp_path.iterdir()} == {"model.json", "svms.safetensors"}


def gated_head(gate):
    weights = np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)
    return FcHead.random(12, 5).with_detectors(weights, gate)


def test_fc7_of_windows_below_the_gate_is_zero_and_is_not_computed(monkeypatch):
    pool5 = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 12)).astype(np.float32))
    whole, gated = gated_head(None), gated_head(np.float32([1.0, np.inf]))
    seen, layer = [], FcHead._layer
    monkeypatch.setattr(FcHead, "_layer", lambda self, rows, name: (seen.append(len(rows)), layer(self, rows, name))[1])
    with torch.inference_mode():
        expected, found = whole(pool5, BOTH), gated(pool5, BOTH)
        assert torch.equal(gated(pool5, "fc7"), whole(pool5, "fc7"))
    passed = expected[:, 5] > 1  # the second class never opens the gate
    assert 5 < passed.sum() < 45
    torch.testing.assert_close(found[passed], expected[passed])
    assert (found[~passed, :5] == 0).all()
    torch.testing.assert_close(found[:, 5:], expected[:, 5:])
    assert seen[:2] == [50, passed.sum()]


def test_a_gate_is_saved_with_the_layers_and_goes_with_the_detectors(tmp_path):
    gate = np.float32([0.5, -2])
    head = gated_head(gate)
    head.save(tmp_path / "head.safetensors")
    again = FcHead.load(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(again.gate.detach().numpy(), gate)
    assert again.with_detectors(None).gate is None
    small = head.compressed([np.random.default_rng(0).random((40, 12), np.float32)], 0.9)
    np.testing.assert_array_equal(small.gate.detach().numpy(), gate)
    assert FcFeatures(head, BOTH).digest != FcFeatures(gated_head(None), BOTH).digest
