"""Who may ask the local page's server, and how much may be sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sppnet.server.detector_queue import Refused

AROUND_THE_FILE = 65_536  # bytes of a multipart body that are not the photo
TAKEN_THOUGH_REFUSED = 4  # times the limit
CLOSE = {"connection": "close"}
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Refuses what a browser was tricked into, and bodies that are too long, before anything is kept of them.

    Args:
        app: what is guarded.
        hosts: names by which the server may be called, so that no name of somebody else's is pointed at it (DNS
            rebinding); empty: any.
        megabytes: of a photo.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], megabytes: int) -> None:
        self.app, self.hosts, self.megabytes = app, hosts, megabytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        send = _with_headers(send)
        try:
            self._check_names(headers, reads=scope["method"] in ("GET", "HEAD"))
            length = int(headers.get("content-length", "0"))
            await self._check_length(length, receive, rest=length)
        except Refused as refused:
            return await problem(refused.status, str(refused), CLOSE)(scope, receive, send)
        await self.app(scope, self._counted(receive), send)

    def _check_names(self, headers: Headers, reads: bool) -> None:
        """Raise if the server is called by a foreign name, or told to do something by a foreign page."""
        host = headers.get("host", "")
        if self.hosts and _host_name(host) not in self.hosts:
            raise Refused(403, f"host {host!r}: expected {' or '.join(sorted(self.hosts))}")
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        origin = headers.get("origin")
        if not reads and (foreign or (origin is not None and origin.partition("://")[2] != host)):
            raise Refused(403, "asked by a page of another site")

    async def _check_length(self, n: int, receive: Receive, rest: int) -> None:
        """Raise if a body is too long; its rest is taken first, where bearable, since who sends hears no answer.

        Args:
            n: bytes of the body, or of what came up to now.
            receive: gives the rest.
            rest: bytes, as far as they are known.
        """
        limit = self.megabytes * 1_000_000 + AROUND_THE_FILE
        if n <= limit:
            return
        more, left = rest <= TAKEN_THOUGH_REFUSED * limit, TAKEN_THOUGH_REFUSED * limit
        while rest and more and left > 0:
            message = await receive()
            more = message.get("more_body", False)
            left -= len(message.get("body", b""))
        raise Refused(413, too_many_bytes(self.megabytes))

    def _counted(self, receive: Receive) -> Receive:
        """The body, as far as it may go."""
        so_far = 0

        async def counted() -> Message:
            nonlocal so_far
            message = await receive()
            so_far += len(message.get("body", b""))
            try:
                await self._check_length(so_far, receive, rest=int(message.get("more_body", False)))
            except Refused as refused:  # FastAPI hands on no other exception of a body
                raise HTTPException(refused.status, str(refused), CLOSE) from None
            return message

        return counted


def too_many_bytes(megabytes: int) -> str:
    """What is said of a file over the limit."""
    return f"the photo has more than {megabytes} MB; resize it"


def _host_name(host: str) -> str | None:
    """localhost:8000 -> localhost, [::1]:8000 -> ::1; None for what is no host."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _with_headers(send: Send) -> Send:
    """Adds what every answer says to browsers."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that is no result: one sentence."""
    return JSONResponse({"detail": detail}, status, headers)
