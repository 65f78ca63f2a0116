"""The connection of this program to a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

TOKEN = Path.home() / ".ray" / "auth_token"
ANSWER_SECONDS = 10.0  # to connect to a cluster
OBJECT_STORE = 1 << 28  # bytes of a cluster that is started here; items and results are small


def connected(address: str | None, cpus: int | None) -> Any:
    """Return the module ray, connected to a cluster.

    Args:
        address: see `RayCluster`.
        cpus: cores that a cluster which is started here has at least; it has all of this machine.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: this is no address.
        ConnectionError: no cluster answers there.
        RuntimeError: the cluster has another version of Ray or Python.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported unless the user wants it
    if address and TOKEN.is_file():  # Ray by itself sends the token to "auto" only
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Ray cannot be imported ({error}); install it with: pip install 'sppnet[cluster]'"
        ) from error
    if ray.is_initialized():
        return ray
    _check_answers(address)
    logging.getLogger("ray").setLevel(logging.ERROR)
    _keep_off_stdout()
    cores = max(cpus or 1, os.cpu_count() or 1)  # later work may want more workers
    started = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    given = {"address": address} if address else {"address": "local", **started}
    try:
        ray.init(**given, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise ConnectionError(_no_answer(address)) from error
    except RuntimeError as error:
        raise RuntimeError(f"{address}: {' '.join(str(error).split())}") from error
    return ray


def _check_answers(address: str | None) -> None:
    """Check that somebody listens at an address, which Ray itself takes minutes to give up.

    Raises:
        ValueError: the address has no port.
        ConnectionError: nobody does.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"Ray address: expected auto, HOST:PORT or ray://HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(_no_answer(address)) from error


def _no_answer(address: str | None) -> str:
    return (
        f"{address}: no Ray cluster answers; start one with `ray start --head`, name another address, or copy the "
        "cluster's ~/.ray/auth_token to this machine"
    )


def _keep_off_stdout() -> None:
    """Log what Ray says of workers that died, which it prints on stdout even with `log_to_driver=False`.

    stdout is for results. Ray has no setting for this, so the function with which it prints is replaced.
    """
    from ray._private import worker

    worker.print_to_stdstream = _logged


def _logged(data: Any, *options: Any, **more: Any) -> None:
    for line in data["lines"]:
        log.debug("Ray: %s", " ".join(str(line).split()))
