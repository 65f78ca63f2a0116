"""Access control of the local server: which sites may use it, how large a request may be and how long it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sppnet.server.errors import RequestRefused
from sppnet.server.uploads import UploadLimits

FORM_BYTES = 65_536  # of a multipart body, besides the photo
READ_THOUGH_REFUSED = 4  # a body up to so many times the limit is read to its end
BODY_SECONDS = 60.0  # for a body to arrive; the 20 MB that are allowed by default take as long at 2.7 Mbit/s
CLOSE = {"connection": "close"}
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class AccessControl:
    """ASGI middleware that refuses requests forged by other sites, and bodies that are too large or too slow.

    Args:
        app: the application to protect.
        hosts: host names by which the server may be called, against DNS rebinding; empty: any.
        limits: largest photo.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], limits: UploadLimits) -> None:
        self.app, self.hosts, self.limits = app, hosts, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        send, receive = _with_headers(send), _in_time(receive)
        try:
            self._check_names(headers, reads=scope["method"] in ("GET", "HEAD"))
            length = int(headers.get("content-length", "0"))
            await self._check_length(length, receive, rest=length)
        except RequestRefused as refused:
            return await error_response(refused.status, str(refused), CLOSE)(scope, receive, send)
        await self.app(scope, self._limited(receive), send)

    def _check_names(self, headers: Headers, reads: bool) -> None:
        """Raise if the request uses a foreign host name, or if another site's page asks for more than reading."""
        host = headers.get("host", "")
        if self.hosts and _host_name(host) not in self.hosts:
            raise RequestRefused(403, f"host {host!r}: expected {' or '.join(sorted(self.hosts))}")
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        origin = headers.get("origin")
        if not reads and (foreign or (origin is not None and origin.partition("://")[2] != host)):
            raise RequestRefused(403, "requests from pages of other sites are not allowed")

    async def _check_length(self, n: int, receive: Receive, rest: int) -> None:
        """Raise if a body is too large. Its rest is read first, within reason: clients read no answer while they send.

        Args:
            n: bytes of the body, or of what has arrived.
            receive: gives the rest.
            rest: bytes that are still to come, as far as known.
        """
        limit = self.limits.file_bytes + FORM_BYTES
        if n <= limit:
            return
        more, left = rest <= READ_THOUGH_REFUSED * limit, READ_THOUGH_REFUSED * limit
        while rest and more and left > 0:
            message = await receive()
            more = message.get("more_body", False)
            left -= len(message.get("body", b""))
        raise self.limits.too_large()

    def _limited(self, receive: Receive) -> Receive:
        """`receive`, which raises when the body grows too large or does not arrive in time."""
        so_far = 0

        async def limited() -> Message:
            nonlocal so_far
            try:
                message = await receive()
                so_far += len(message.get("body", b""))
                await self._check_length(so_far, receive, rest=int(message.get("more_body", False)))
            except RequestRefused as refused:  # FastAPI passes on no other exception raised while it reads a body
                raise HTTPException(refused.status, str(refused), CLOSE) from None
            return message

        return limited


def _host_name(host: str) -> str | None:
    """The name in a Host header: localhost:8000 is localhost, [::1]:8000 is ::1; None if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _in_time(receive: Receive) -> Receive:
    """`receive`, which raises `RequestRefused` when the body does not arrive in time."""
    deadline, more = time.monotonic() + BODY_SECONDS, True

    async def receiving() -> Message:
        nonlocal more
        if not more:  # what comes now is the client's end
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), deadline - time.monotonic())
        except asyncio.TimeoutError:
            raise RequestRefused(408, f"the request did not arrive within {BODY_SECONDS:g} s") from None
        more = message.get("more_body", False)
        return message

    return receiving


def _with_headers(send: Send) -> Send:
    """`send`, which adds the security headers to every answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending


def error_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer without a result: {"detail": one sentence}."""
    return JSONResponse({"detail": detail}, status, headers)
