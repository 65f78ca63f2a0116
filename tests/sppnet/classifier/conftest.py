"""A network that was trained for two epochs on striped photos."""

import pytest

from tests.classification.conftest import folder as folder  # a fixture
from tests.sppnet.classifier.helpers import QUICK, train_network


@pytest.fixture(scope="session")
def trained(folder, tmp_path_factory):
    """The run folder of `sppnet classifier train-network`, not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "stripes"
    assert train_network(["--data", folder, "--run", run, *QUICK, "--json", run / "t.json"]) == 0
    return run
