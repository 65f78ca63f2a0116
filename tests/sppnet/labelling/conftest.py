"""A small random network, photos of MiniVOC on a stand-in of Label Studio, and the backend that learns from them."""

import pytest

from data import voc
from sppnet.labelling.base import Base
from sppnet.settings.commands import ServeSettings
from tests.sppnet.labelling.helpers import StandIn


@pytest.fixture(scope="session")
def base(weights):
    return Base.load(ServeSettings(label_studio=True, backbone="alexnet", scales=(160,), weights=weights, device="cpu"))


@pytest.fixture(scope="session")
def records(devkit):
    """Labelled photos, those for training first."""
    train = voc.load(devkit, split="trainval")
    return [*train, *voc.load(devkit, split="test", classes=train.classes)]


@pytest.fixture(scope="session")
def classes(devkit):
    return voc.load(devkit, split="trainval").classes


@pytest.fixture
def studio(records, classes):
    with StandIn(records, classes) as running:
        yield running
