"""Photos of two kinds that are easy to tell apart, and a network that learns it in seconds."""

import numpy as np
import pytest
from PIL import Image

from classification import network
from classification.network import SPPNet


def picture(kind, number, size=(96, 128)):
    """Stripes that run down, or across, on a coloured ground."""
    rng = np.random.default_rng([kind, number])
    rows, columns = np.indices(size)
    wave = np.sin((columns if kind else rows) / rng.uniform(3, 5)) > 0
    colours = rng.integers(0, 256, (2, 3))
    return np.where(wave[..., None], colours[0], colours[1]).astype(np.uint8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Two folders of eight photos, of several sizes; one photo is grey."""
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
