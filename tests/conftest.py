import os
import secrets
import signal
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from tests import storage_server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data and golden numbers that do not travel with the project."""
    root = Path(os.environ.get("SPPNET_SHARED", Path(__file__).parents[2] / "shared"))
    if not root.is_dir():
        pytest.skip(f"needs the shared data folder, absent at {root} (set SPPNET_SHARED)")
    return root


@pytest.fixture
def bfloat16(monkeypatch):
    """Products in bfloat16 on any processor, however slowly."""
    monkeypatch.setattr("detection.networks.bfloat16.has_bfloat16", lambda device: True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Let one process do all tests that start Ray, so that no other waits for its turn."""
    for item in items:
        if "ray_turn" in item.fixturenames or any(part in item.nodeid for part in RAY):
            item.add_marker(pytest.mark.xdist_group("ray"))


RAY = ("[ray", "docs/scale.md]", "test_workers_store_maps_in_the_bucket")  # where a test asks for it while it runs
_one_at_a_time = FileLock(Path(tempfile.gettempdir()) / "sppnet-tests-ray.lock")


@pytest.fixture(scope="module")
def ray_turn():
    """Tests that start Ray take turns, whichever process runs them: clusters that start at once choose equal ports."""
    pytest.importorskip("ray", reason="needs Ray; install the extra cluster")
    with _one_at_a_time:
        yield


@pytest.fixture(scope="module")
def ray(ray_turn):
    """The module ray, connected to a cluster on this machine."""
    from detection.engines import ray_cluster

    module = ray_cluster.connected(None, 2)
    yield module
    module.shutdown()


@pytest.fixture(scope="session")
def _s3_port():
    for name in ("s3fs", "moto", "flask"):
        pytest.importorskip(name, reason="needs an S3 server; install the extra dev")
    with storage_server.running() as port:
        yield port


@pytest.fixture
def s3(_s3_port, monkeypatch):
    """URL of a new bucket on a server of S3's protocol, which the environment names."""
    import fsspec

    for name, value in storage_server.environment(_s3_port).items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{secrets.token_hex(4)}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(bucket)
    return f"s3://{bucket}"
