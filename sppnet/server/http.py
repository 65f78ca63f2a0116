"""The local page's HTTP: routes, what they take and answer, and the server that stops cleanly."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

import detection
from sppnet.progress import log
from sppnet.server.access import CLOSE, Guard, problem, too_many_bytes
from sppnet.server.detector_queue import Desk, Refused

TEMPLATES = Path(__file__).parent / "templates"
POLL = 0.1  # seconds between looks whether a waiting client is still there
PATIENCE = 5  # seconds that clients have to finish once the server stops


class Detection(BaseModel):
    """One object."""

    name: str = Field(alias="class", description="what it is")
    label: int = Field(description="number of the class, from 0")
    score: float = Field(description="margin of the class's SVM, unbounded; above 0 it is rather right than wrong")
    box: tuple[float, float, float, float] = Field(
        description="x1, y1, x2, y2 in image pixels, from 0, corners included"
    )


class Seconds(BaseModel):
    """What was spent, stage by stage."""

    wait: float = Field(description="for photos that came earlier")
    decode: float = Field(description="from the file to pixels")
    load: float = Field(description="of the model, at its first use")
    windows: float = Field(description="finding candidate windows")
    detect: float = Field(description="convolutions, pooling, scores, suppression, box regression")
    total: float = Field(description="all of them")


class Answer(BaseModel):
    """What was found in a photo, the best first."""

    model: str
    width: int = Field(description="of the photo in pixels, turned as its EXIF tag says")
    height: int
    detections: list[Detection]
    seconds: Seconds


class Card(BaseModel):
    """A detector on offer."""

    name: str
    network: str
    classes: list[str] = Field(description="in label order")
    map: float | None = Field(description="mean average precision on VOC 2007 test, where it is known")
    seconds: float | None = Field(description="a photo, where its maker measured it")
    loaded: bool


class Models(BaseModel):
    """Detectors on offer, and limits of what they are shown."""

    default: str
    models: list[Card]
    max_megabytes: int
    max_megapixels: int


class Health(BaseModel):
    """Whether the server is well."""

    status: str
    waiting: int = Field(description="photos in the queue")
    served: int = Field(description="photos answered")


class Problem(BaseModel):
    """Why there is no result."""

    detail: str = Field(description="one sentence")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "a body that is no multipart form"},
    403: {"model": Problem, "description": "asked by a page of another site, or under a foreign host name"},
    404: {"model": Problem, "description": "no such model"},
    413: {"model": Problem, "description": "too many bytes or pixels"},
    415: {"model": Problem, "description": "not a photo"},
    422: {"model": Problem, "description": "an empty or damaged photo, or a wrong parameter"},
    500: {"model": Problem, "description": "a failure of the server"},
    503: {"model": Problem, "description": "the model cannot be loaded, the queue is full, or the server is stopping"},
}
routes = APIRouter()


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]


@routes.post("/detect", response_model=Answer, responses=PROBLEMS, response_description="what was found")
async def detect(
    request: Request,
    desk: AtDesk,
    photo: Annotated[UploadFile, File(description="an image file, as JPEG or PNG")],
    model: Annotated[str | None, Query(description="one of GET /models; the default if left out")] = None,
    score_threshold: Annotated[float, Query(allow_inf_nan=False, description="least score")] = -0.5,
) -> dict[str, Any]:
    """Find the objects in a photo. Photos are served one at a time, in the order in which they came."""
    limit = desk.limits.megabytes * 1_000_000
    if (photo.size or 0) > limit:
        raise Refused(413, too_many_bytes(desk.limits.megabytes))
    answer = await _outcome(desk.submit(await photo.read(), model, score_threshold), request)
    log.info("%s: %d objects in %.2f s", answer["model"], len(answer["detections"]), answer["seconds"]["total"])
    return answer


@routes.get("/models", response_model=Models, response_description="their names and cards")
async def models(desk: AtDesk) -> dict[str, Any]:
    """The detectors that may be asked for."""
    cards = [{"name": name, "loaded": name in desk.loaded, **offer.card} for name, offer in desk.offers.items()]
    limits = {"max_megabytes": desk.limits.megabytes, "max_megapixels": desk.limits.megapixels}
    return {"default": desk.default, "models": cards, **limits}


@routes.get("/health", response_model=Health, response_description="all is well")
async def health(desk: AtDesk) -> dict[str, Any]:
    """Answers at any time, while photos are worked on too."""
    return {"status": "ok", "waiting": desk.waiting, "served": desk.served}


async def _outcome(job: Future[dict[str, Any]], request: Request) -> dict[str, Any]:
    """Wait for a job; it is given up when the client leaves before its turn."""
    future = asyncio.wrap_future(job)
    while not (await asyncio.wait({future}, timeout=POLL))[0]:
        if await request.is_disconnected():
            job.cancel()
    if future.cancelled():
        raise Refused(503, "the server is shutting down")
    return future.result()


def page(name: str) -> Callable[[], Awaitable[HTMLResponse]]:
    """A route to one of the templates, which may run its own script and style, ask this server, and nothing else."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    policy = [
        "default-src 'none'; connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'",
        "frame-ancestors 'none'",
        *(f"{tag}-src {' '.join(_hashes(text, tag))}" for tag in ("script", "style")),
    ]

    async def show() -> HTMLResponse:
        return HTMLResponse(text, headers={"content-security-policy": "; ".join(policy)})

    return show


def _hashes(text: str, tag: str) -> list[str]:
    """What a content security policy calls each script or style of a page."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'" for code in found]


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return problem(error.status, str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem(422, "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors()))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    return problem(500, "something went wrong in the server; its terminal tells more", CLOSE)  # as uvicorn does


def application(desk: Desk, hosts: Collection[str] = ()) -> FastAPI:
    """The page and the API before a desk.

    Args:
        desk: answers.
        hosts: names by which the server may be called; empty: any.
    """
    app = FastAPI(
        title="sppnet",
        version=detection.__version__,
        description="Objects in photos, by SPP-net detectors.",
        docs_url=None,  # FastAPI's pages take their scripts from other hosts; /docs is our own
        redoc_url=None,
        exception_handlers={Refused: _refused, RequestValidationError: _invalid, Exception: _unexpected},
    )
    app.state.desk = desk
    app.include_router(routes)
    for path, name in (("/", "serve.html"), ("/docs", "serve_api.html")):
        app.add_api_route(path, page(name), include_in_schema=False, response_model=None)
    app.add_middleware(Guard, hosts=frozenset(hosts), megabytes=desk.limits.megabytes)
    return app


class Server(uvicorn.Server):
    """Says when it is ready; when it stops, answers those who wait at once.

    Args:
        desk: that the application stands before.
        app: as `application` makes it.
        ready: printed when connections are taken.
    """

    def __init__(self, desk: Desk, app: FastAPI, ready: str) -> None:
        log_level = "critical"  # what goes wrong is told by `_unexpected`; a cut connection is no error
        config = uvicorn.Config(app, lifespan="off", log_config=None, log_level=log_level, access_log=False)
        config.timeout_graceful_shutdown = PATIENCE
        super().__init__(config)
        self.desk, self.ready = desk, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.ready, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.desk.dismiss()
        await super().shutdown(sockets)
