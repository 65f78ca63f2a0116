"""Photos of two easily separable classes, and a network that learns them in seconds."""

import numpy as np
import pytest
from PIL import Image

from classification import network
from classification.network import SPPNet


def picture(kind, number, size=(96, 128)):
    """Draw coloured stripes: vertical for kind 1, horizontal for kind 0."""
    rng = np.random.default_rng([kind, number])
    rows, columns = np.indices(size)
    wave = np.sin((columns if kind else rows) / rng.uniform(3, 5)) > 0
    colours = rng.integers(0, 256, (2, 3))
    return np.where(wave[..., None], colours[0], colours[1]).astype(np.uint8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """One folder per class with eight photos each, of several sizes; photo 3 of each class is grey."""
    root = tmp_path_factory.mktemp("labelled") / "stripes"
    for kind, name in enumerate(("across", "down")):
        (root / name).mkdir(parents=True)
        for number in range(8):
            photo = Image.fromarray(picture(kind, number, (90 + 6 * number, 128)))
            photo = photo.convert("L") if number == 3 else photo
            photo.save(root / name / f"{number}.png")
    return root


def make_net(levels=(1, 2, 3, 6), classes=2, seed=0, norm=True, backbone="zf5-small", width=16) -> SPPNet:
    return network.build(network.random_body(backbone, seed), classes, levels, width, seed, norm)


@pytest.fixture
def net():
    return make_net().eval()
