"""HTTP of the ML backend protocol, as Label Studio 1.23 speaks it."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

import sppnet
from sppnet.labelling import payloads
from sppnet.labelling.backend import Backend
from sppnet.labelling.login import Login
from sppnet.server.access import AccessControl, error_response
from sppnet.server.errors import RequestRefused
from sppnet.server.http import ERRORS

routes = APIRouter()


class BasicAuthentication:
    """ASGI middleware that refuses requests without the right user and password.

    Args:
        app: the application to protect.
        login: what requests must state.
    """

    def __init__(self, app: ASGIApp, login: Login) -> None:
        self.app = app
        self._expected = f"{login.user}:{login.password}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._allowed(Headers(scope=scope).get("authorization", "")):
            headers = {"www-authenticate": 'Basic realm="sppnet"'}
            refusal = error_response(401, "user and password are missing or wrong", headers)
            return await refusal(scope, receive, send)
        await self.app(scope, receive, send)

    def _allowed(self, header: str) -> bool:
        kind, _, encoded = header.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return kind.lower() == "basic" and secrets.compare_digest(given, self._expected)


async def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        value = await request.json()
    except (ValueError, RecursionError):
        raise RequestRefused(422, "the body is not JSON") from None
    return payloads.mapping(value, "body")


BackendOf = Annotated[Backend, Depends(_backend)]
Body = Annotated[Mapping[str, Any], Depends(_body)]


@routes.get("/")
@routes.get("/health")
async def health(backend: BackendOf) -> dict[str, Any]:
    """Report the state of the server; this works while it learns."""
    return {"status": "UP", "model_class": "sppnet", "waiting": backend.worker.waiting, "served": backend.served}


@routes.post("/setup")
async def set_up(backend: BackendOf, body: Body) -> dict[str, Any]:
    """Take the labelling configuration of a project."""
    return await backend.set_up(body)


@routes.post("/predict")
async def predict(backend: BackendOf, body: Body) -> dict[str, Any]:
    """Detect in the photos of tasks."""
    return await backend.predict(body)


@routes.post("/webhook")
async def webhook(backend: BackendOf, body: Body) -> dict[str, Any]:
    """Take note of an annotation or another change."""
    return await backend.webhook(body)


@routes.get("/versions")
@routes.post("/versions")
async def versions(backend: BackendOf) -> dict[str, Any]:
    """List the newest model of every project; older ones are not kept."""
    return {"versions": [project.version for project in backend.projects.values()]}


def application(backend: Backend, hosts: Collection[str] = (), login: Login | None = None) -> FastAPI:
    """Return the application.

    Args:
        backend: answers the requests.
        hosts: host names by which the server may be called; empty: any.
        login: of basic authentication; None: none is asked for.
    """
    app = FastAPI(
        title="sppnet",
        version=sppnet.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers=ERRORS,
    )
    app.state.backend = backend
    app.include_router(routes)
    if login is not None:
        app.add_middleware(BasicAuthentication, login=login)
    app.add_middleware(AccessControl, hosts=frozenset(hosts), limits=backend.limits)
    return app
