"""The server process: listening socket, detectors, signals."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sppnet.errors import Abandoned
from sppnet.progress import log
from sppnet.settings.commands import ServeSettings

if TYPE_CHECKING:
    from sppnet.server.detector_queue import DetectorQueue

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def serve(settings: ServeSettings, say: Callable[[str], None]) -> int:
    """Serve the page and the API until the process receives SIGINT or SIGTERM.

    Args:
        settings: detectors, address, limits.
        say: called with one line when the server is ready, and when it has stopped.

    Returns:
        the number of photos answered.

    Raises:
        OSError, ValueError: the address or a model cannot be used.
        RequestRefused: the default detector cannot be loaded.
        Abandoned: it has stopped, but a thread still works on a photo that nobody waits for.
    """
    with listen(settings.host, settings.port) as listener:  # first, as the imports below take seconds
        from sppnet.server.detector_queue import DetectorQueue
        from sppnet.server.offered_detectors import offered_detectors
        from sppnet.server.uploads import UploadLimits

        limits = UploadLimits(settings.max_megabytes, settings.max_megapixels)
        offered = offered_detectors(settings.model or (), settings.weights)
        with DetectorQueue(offered, limits, settings.device, settings.inference, settings.nms_iou) as queue:
            _serve(queue, listener, say)
        if queue.abandoned:
            raise Abandoned("a photo was given up", {"served": queue.served})
        return queue.served


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Args:
        host: name or address of this machine.
        port: 0 picks a free one.

    Raises:
        OSError: the port is taken, or the address is not of this machine.
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


def _serve(queue: DetectorQueue, listener: socket.socket, say: Callable[[str], None]) -> None:
    from sppnet.server.http import Server, application

    host, port = listener.getsockname()[:2]
    local = ipaddress.ip_address(host).is_loopback
    if not local:
        log.warning("%s is reachable from other machines, without a password", host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    ready = f"{address} is ready; {address}docs describes the API; Ctrl-C stops the server"
    with stoppable():
        queue.load_default()
        app = application(queue, {*LOCAL_NAMES, host} if local else ())
        Server(queue, app, lambda: say(ready)).run([listener])
    say("stopped")


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block without an error; uvicorn shuts down and passes the signal on."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
