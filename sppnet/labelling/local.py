"""The server process that Label Studio connects to."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path

from sppnet.errors import Abandoned
from sppnet.labelling.login import PASSWORD, TOKEN, USER, Login
from sppnet.progress import log
from sppnet.run import exclusive
from sppnet.server.local import LOCAL_NAMES, listen, stoppable
from sppnet.settings.commands import ServeSettings

FOLDER = Path("runs/label-studio")


def serve(settings: ServeSettings, say: Callable[[str], None]) -> int:
    """Be Label Studio's ML backend until the process receives SIGINT or SIGTERM.

    Args:
        settings: address, detector to begin with, folder.
        say: called with one line when the server is ready, and when it has stopped.

    Returns:
        the number of tasks that were answered with boxes.

    Raises:
        OSError, ValueError: the address, the model or the folder cannot be used.
        RuntimeError: another process uses the folder.
        Abandoned: it has stopped, but a thread still works on something that nobody waits for.
    """
    login, folder = Login.of(os.environ), settings.run or FOLDER
    with listen(settings.host, settings.port) as listener, exclusive(folder):  # first, as imports take seconds
        return _serve(settings, folder, login, listener, say)


def _serve(
    settings: ServeSettings, folder: Path, login: Login | None, listener: socket.socket, say: Callable[[str], None]
) -> int:
    from sppnet.labelling.backend import Access, Backend
    from sppnet.labelling.base import Base
    from sppnet.labelling.http import application
    from sppnet.labelling.photos import origin
    from sppnet.server.http import Server
    from sppnet.server.uploads import UploadLimits, load_decoders

    host, port = listener.getsockname()[:2]
    local = ipaddress.ip_address(host).is_loopback
    if not local and login is None:
        log.warning("%s is reachable from other machines, without a password; set %s and %s", host, USER, PASSWORD)
    if settings.label_studio_url is not None:
        origin(settings.label_studio_url)
    limits = UploadLimits(settings.max_megabytes, settings.max_megapixels)
    access = Access(settings.label_studio_url, os.environ.get(TOKEN, ""), settings.photo_hosts or (), open=local)
    load_decoders()
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with stoppable(), Backend(Base.load(settings), folder, limits, access) as backend:
        app = application(backend, {*LOCAL_NAMES, settings.host, host} if local else (), login)
        ready = f"{address} is ready; connect it in Label Studio: Settings, Model; Ctrl-C stops the server"
        Server(backend, app, lambda: say(ready)).run([listener])
    say("stopped")
    if backend.abandoned:
        raise Abandoned("work under way was given up", {"served": backend.served})
    return backend.served
