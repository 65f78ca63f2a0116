"""torch.hub loads detectors and classifiers from a clone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detection import SPPDetector

ROOT = Path(__file__).parents[2]


def test_torch_hub_gives_a_detector(finished, weights):
    found = torch.hub.load(str(ROOT), "sppnet", source="local", name=finished / "model", weights=weights)
    assert found.classes == SPPDetector.from_pretrained(finished / "model", weights=weights).classes


def test_torch_hub_gives_a_network_that_represents_photos(weights):
    found = torch.hub.load(str(ROOT), "sppnet_classifier", source="local", name="alexnet", weights=weights)
    vector = found.represent(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8), short_side=64)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
