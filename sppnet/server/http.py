"""HTTP of the local server: routes, pages, and an application that stops cleanly."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any, Protocol

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

import sppnet
from sppnet.progress import log
from sppnet.server.access import CLOSE, AccessControl, error_response
from sppnet.server.connection import Connection
from sppnet.server.detector_queue import PATIENCE_SECONDS, STOPPING, DetectorQueue, Lowest
from sppnet.server.errors import RequestRefused
from sppnet.server.parameters import agreed, known_names
from sppnet.server.schemas import PROBLEMS, WRONG_NAME, DetectionResult, Health, ModelList

PAGES = {"/": "page.html", "/docs": "api.html"}
PARTS = ("page.css", "page.js", "api.css", "api.js")
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = "; ".join(
    [
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob: data:",
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ]
)
"""What pages may do: run the scripts and styles that are files of this server, contact it, show photos of their own."""
MODEL = "a name from GET /models; the default detector if omitted"
PROBABILITY = "lowest probability to report, from 0 to 1; that of each class, which the model states, if omitted"
LOWEST_SCORE = "lowest score to report, instead of a probability; -0.5 if omitted and the model states no probabilities"
POLL_SECONDS = 0.1  # between checks whether a waiting client is still connected
ANSWER_SECONDS = 120.0  # from the arrival of a photo; a detector that is used first is loaded within this time too

routes = APIRouter(dependencies=[Depends(known_names)])


async def _queue(request: Request) -> DetectorQueue:
    queue: DetectorQueue = request.app.state.queue
    return queue


Queue = Annotated[DetectorQueue, Depends(_queue)]


@routes.post(
    "/detect",
    response_model=DetectionResult,
    response_model_exclude_none=True,
    responses=PROBLEMS,
    response_description="objects found",
)
async def detect(
    request: Request,
    queue: Queue,
    photo: Annotated[UploadFile, File(description="an image file, for example JPEG or PNG")],
    model: Annotated[str | None, Query(description=MODEL)] = None,
    threshold: Annotated[float | None, Query(ge=0, le=1, description=PROBABILITY)] = None,
    score_threshold: Annotated[float | None, Query(allow_inf_nan=False, description=LOWEST_SCORE)] = None,
    form_model: Annotated[str | None, Form(alias="model", description=MODEL)] = None,
    form_threshold: Annotated[float | None, Form(alias="threshold", ge=0, le=1, description=PROBABILITY)] = None,
    form_score_threshold: Annotated[
        float | None, Form(alias="score_threshold", allow_inf_nan=False, description=LOWEST_SCORE)
    ] = None,
) -> dict[str, Any]:
    """Find objects in a photo. Photos are processed one at a time, in the order of arrival.

    The model and one of the thresholds may be given in the address or in the form.
    """
    if (photo.size or 0) > queue.limits.file_bytes:
        raise queue.limits.too_large()
    name = agreed("model", model or None, form_model)
    lowest = Lowest(
        agreed("threshold", threshold, form_threshold),
        agreed("score_threshold", score_threshold, form_score_threshold),
    )
    result = await _result(queue.submit(await photo.read(), name, lowest), request)
    log.info("%s: %d objects in %.2f s", result["model"], len(result["detections"]), result["seconds"]["total"])
    return result


@routes.get(
    "/models", response_model=ModelList, responses=WRONG_NAME, response_description="names, classes, accuracy, speed"
)
async def models(queue: Queue) -> dict[str, Any]:
    """List the detectors that requests can name."""
    offered = [{"name": n, "loaded": n in queue.loaded, **o.description} for n, o in queue.offered.items()]
    limits = {"max_megabytes": queue.limits.megabytes, "max_megapixels": queue.limits.megapixels}
    return {"default": queue.default, "models": offered, **limits}


@routes.get("/health", response_model=Health, responses=WRONG_NAME, response_description="the server is running")
async def health(queue: Queue) -> dict[str, Any]:
    """Report the state of the server; this works during detections too."""
    return {"status": "ok", "waiting": queue.waiting, "served": queue.served}


async def _result(job: Future[dict[str, Any]], request: Request) -> dict[str, Any]:
    """Wait for a job; it is cancelled if the client disconnects before its turn.

    Raises:
        RequestRefused: the photo is refused, takes too long, or the server stops. A detection under way ends unheard.
    """
    future, deadline = asyncio.wrap_future(job), time.monotonic() + ANSWER_SECONDS
    try:
        while not (await asyncio.wait({future}, timeout=POLL_SECONDS))[0]:
            if await request.is_disconnected():
                job.cancel()
            elif time.monotonic() > deadline:
                raise RequestRefused(503, _late(waits=job.cancel()))
        if future.cancelled():
            raise RequestRefused(503, STOPPING)
        return future.result()
    except asyncio.CancelledError:
        raise RequestRefused(503, STOPPING) from None
    finally:
        future.cancel()  # or asyncio would log what becomes of a detection under way


def _late(waits: bool) -> str:
    """What is said of a photo that is not answered in time."""
    if waits:
        return f"the photo was not its turn within {ANSWER_SECONDS:g} s; try again later"
    return f"the detection takes more than {ANSWER_SECONDS:g} s; send a smaller photo, or try again later"


def file(name: str) -> Callable[[], Awaitable[Response]]:
    """Return a handler that sends a page, or a script or style of one."""
    path = Path(__file__).parent / name
    content, media_type = path.read_bytes(), MEDIA_TYPES[path.suffix]

    async def send_file() -> Response:
        return Response(content, headers={"content-security-policy": POLICY}, media_type=media_type)

    return send_file


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestRefused)
    return error_response(error.status, str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(422, "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors()))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    return error_response(500, "internal error; see the server's terminal", CLOSE)  # uvicorn closes the connection too


ERRORS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RequestRefused: _refused,
    RequestValidationError: _invalid,
    Exception: _unexpected,
}
"""Kind of error -> how it is answered."""


def application(queue: DetectorQueue, hosts: Collection[str] = ()) -> FastAPI:
    """Return the application: the page and the API.

    Args:
        queue: answers the requests.
        hosts: host names by which the server may be called; empty: any.
    """
    app = FastAPI(
        title="sppnet",
        version=sppnet.__version__,
        description="Find objects in photos with SPP-net detectors.",
        docs_url=None,  # FastAPI's own pages load scripts from other hosts; /docs is served here instead
        redoc_url=None,
        exception_handlers=ERRORS,
    )
    app.state.queue = queue
    app.include_router(routes)
    for path, name in (PAGES | {f"/{name}": name for name in PARTS}).items():
        app.add_api_route(path, file(name), include_in_schema=False, response_model=None)
    app.add_middleware(AccessControl, hosts=frozenset(hosts), limits=queue.limits)
    return app


class Stoppable(Protocol):
    """What does the work of an application."""

    def stop(self) -> None:
        """Accept no more work, and cancel what waits."""


class Server(uvicorn.Server):
    """A uvicorn server that reports when it is ready, and refuses waiting work at once when it stops.

    Args:
        queue: does the application's work.
        app: from `application`.
        on_ready: called when connections are accepted.
    """

    def __init__(self, queue: Stoppable, app: FastAPI, on_ready: Callable[[], None]) -> None:
        log_level = "critical"  # `_unexpected` logs what goes wrong; a client that disconnects is no error
        config = uvicorn.Config(
            app, http=Connection, ws="none", lifespan="off", log_config=None, log_level=log_level, access_log=False
        )
        config.timeout_graceful_shutdown = PATIENCE_SECONDS
        super().__init__(config)
        self.queue, self.on_ready = queue, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse waiting work, then close."""
        self.queue.stop()
        await super().shutdown(sockets)
