import numpy as np
import pytest
import torch

from detection.networks.softmax import SoftmaxClassifier
from detection.weights.state_dict import write_state


def test_scores_are_class_probabilities_without_the_background(tmp_path):
    layer = torch.nn.Linear(5, 4)
    write_state(tmp_path / "c.safetensors", layer.state_dict())
    classifier = SoftmaxClassifier.load(tmp_path / "c.safetensors", 3)
    features = torch.randn(7, 5)
    expected = layer(features).softmax(1)[:, 1:].detach().numpy()
    np.testing.assert_allclose(classifier.scores(features.numpy()), expected, rtol=1e-5)
    np.testing.assert_allclose(classifier.scores(features), expected, rtol=1e-5)
    assert classifier.scores(features[:0]).shape == (0, 3)


def test_log_odds_are_those_of_each_class_against_the_background(tmp_path):
    layer = torch.nn.Linear(5, 4)
    write_state(tmp_path / "c.safetensors", layer.state_dict())
    features = torch.randn(7, 5)
    prob = layer(features).softmax(1).detach().numpy()
    found = SoftmaxClassifier.load(tmp_path / "c.safetensors", 3).log_odds(0.25, 8.0)
    expected = 0.25 * np.log(prob[:, 1:] / prob[:, :1])
    np.testing.assert_allclose(found.scores(features.numpy()), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_with_another_number_of_classes_is_refused(tmp_path):
    write_state(tmp_path / "c.safetensors", torch.nn.Linear(5, 4).state_dict())
    with pytest.raises(ValueError, match="softmax layer of 7 classes, got 3"):
        SoftmaxClassifier.load(tmp_path / "c.safetensors", 7)
