import shutil

import pytest

from tests import browser
from tests.sppnet.report.helpers import report


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    """The report of the finished run, written elsewhere, with its json beside it."""
    out = tmp_path_factory.mktemp("report") / "page.html"
    assert report(finished, "--out", out, "--json", out.with_suffix(".json")) == 0
    return out


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


@pytest.fixture
def devkit_copy(work):
    """A copy of the data set, for tests that change it."""
    shutil.copytree(work.devkit, work.run.parent / "copy")
    return work.run.parent / "copy"
