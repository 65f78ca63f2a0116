"""A small local page to drop a photo on and see what is found, and the same as an API, POST /detect.

sppnet-serve --model runs/my_photos/model

FastAPI with uvicorn rather than Gradio: few packages, an API whose types are checked and described for nothing, a
page that is this project's own, and nothing told to anybody's server. The OpenAPI page /docs is our own as well,
since FastAPI's fetches its scripts from elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from sppnet import progress
from tools import common

LOCAL = ("localhost", "127.0.0.1", "::1")


def run(options: common.Options) -> dict[str, Any]:
    """Serve until interrupted; how many photos it were."""
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise RuntimeError(f"{package} is not installed; pip install 'sppnet[serve]' brings it")
    with listen(options.host, options.port) as listener:
        from sppnet.server import detector_queue

        limits = detector_queue.Limits(options.max_megabytes, options.max_megapixels)
        offers = detector_queue.offers(options.model, options.weights)
        with detector_queue.Desk(offers, limits, options.device) as desk:
            serve(desk, listener)
        return {"served": desk.served}


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address, before anything is loaded.

    Args:
        host: name or address of this machine.
        port: 0 for any that is free.

    Raises:
        OSError: the address is taken, or not this machine's.
        ValueError: there is no such port.
    """
    if not 0 <= port <= 65535:  # the socket module would leave a socket open
        raise ValueError(f"{host}, port {port}: expected 0 to 65535; choose another with --port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(errno.EADDRINUSE) if error.errno == errno.EADDRINUSE else error
        raise OSError(f"{host}, port {port}: {why}; choose others with --host and --port") from None


def serve(desk: Any, listener: socket.socket) -> None:
    """Answer until the process is told to stop.

    Args:
        desk: a `detector_queue.Desk`; its default detector is loaded first.
        listener: bound.

    Raises:
        detector_queue.Refused: the default detector cannot be loaded.
    """
    from sppnet.server.http import Server, application

    host, port = listener.getsockname()[:2]
    local = ipaddress.ip_address(host).is_loopback
    if not local:
        progress.log.warning("%s can be reached from other machines, and asks nobody for a password", host)
    where = f"[{host}]" if ":" in host else host
    ready = f"http://{where}:{port}/ is ready, http://{where}:{port}/docs describes its API; Ctrl-C stops it"
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, all that is open closed
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn, which has shut down, hands the signal on
            desk.detector(desk.default)
            Server(desk, application(desk, {*LOCAL, host} if local else ()), ready).run([listener])
    finally:
        signal.signal(signal.SIGTERM, before)
    print("stopped")


def flags() -> argparse.ArgumentParser:
    """What the command takes."""
    p = common.parser((__doc__ or "").split("\n", 1)[0], common.compute_flags)
    p.add_argument(
        "--model", nargs="+", default=[], metavar="NAME|DIR", help="beside the detectors that come along; the first"
    )
    p.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s: this machine only)")
    p.add_argument("--port", type=int, default=8000, help="0 for any that is free (%(default)s)")
    p.add_argument("--max-megabytes", type=common.positive, default=20, metavar="N", help="of a photo (%(default)s)")
    p.add_argument("--max-megapixels", type=common.positive, default=50, metavar="N", help="of a photo (%(default)s)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes. Stopped by a signal, it is done."""
    return common.main(run, flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
