"""`sppnet classifier represent`: vectors on disk, and the network that makes them."""

import numpy as np
import pytest

from classification import SPPClassifier
from classification.views import View
from detection import network
from detection.weights.state_dict import write_state
from tests.sppnet.classifier.helpers import alexnet_flags, represent


def test_a_trial_with_few_photos_leaves_the_vectors_of_all(folder, weights, tmp_path, capsys):
    data = [*alexnet_flags(folder, tmp_path, weights), "--short-side", "64"]
    assert represent(data) == 0
    assert represent([*data, "--limit", "2"]) == 0
    assert "4 vectors" in capsys.readouterr().out
    assert represent(data) == 0
    assert "computed already" in capsys.readouterr().err


def test_vectors_of_other_settings_are_replaced_only_when_asked(folder, weights, tmp_path, capsys):
    size = ["--short-side", "64"]
    assert represent([*alexnet_flags(folder, tmp_path, weights), *size]) == 0
    other = tmp_path / "other.safetensors"
    write_state(other, network.assemble("alexnet", seed=3).state_dict())
    changed = [*alexnet_flags(folder, tmp_path, other), *size]
    assert represent(changed) == 1
    assert "holds vectors of other settings (weights: " in capsys.readouterr().err
    assert represent([*changed, "--overwrite"]) == 0


def test_a_network_without_classes_represents_photos(folder, weights):
    network_only = SPPClassifier.from_pretrained("alexnet", weights=weights)
    photo = folder / "down" / "1.png"
    vector = network_only.represent(photo)
    assert vector.shape == (12_800,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    finest = network_only.represent(photo, "6x6", view=View("warp", 224))
    assert finest.shape == (9_216,)
    with pytest.raises(ValueError, match="alexnet: this network represents photos but has no classes"):
        network_only.classify(photo)
    with pytest.raises(ValueError, match="alexnet: this network represents photos but has no classes"):
        network_only.save("nowhere")
