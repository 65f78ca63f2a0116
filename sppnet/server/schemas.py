"""Schemas of the API's answers, as FastAPI checks and documents them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Detection(BaseModel):
    """One object."""

    name: str = Field(alias="class", description="class name")
    label: int = Field(description="class number, from 0")
    score: float = Field(description="SVM margin, unbounded, comparable within a class")
    probability: float | None = Field(
        default=None, description="how likely the detection is correct, 0 to 1; missing if the model was not calibrated"
    )
    box: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in pixels, 0-based, inclusive corners")


class Seconds(BaseModel):
    """Duration of each stage in seconds."""

    wait: float = Field(description="waiting for earlier photos")
    decode: float = Field(description="decoding the file")
    load: float = Field(description="loading the detector, on its first use")
    windows: float = Field(description="searching proposals")
    detect: float = Field(description="convolutions, pooling, scores, suppression, box regression")
    total: float = Field(description="all stages")


class DetectionResult(BaseModel):
    """Objects found in a photo, the most probable first."""

    model: str = Field(description="name of the detector")
    width: int = Field(description="of the photo in pixels, after the rotation in its EXIF tag")
    height: int = Field(description="of the photo in pixels")
    detections: list[Detection] = Field(description="the objects")
    seconds: Seconds = Field(description="durations")


class ModelInfo(BaseModel):
    """A detector that the server offers."""

    name: str = Field(description="as POST /detect takes it")
    network: str = Field(description="convolutions")
    classes: list[str] = Field(description="in label order")
    thresholds: list[float] | None = Field(
        description="lowest probability of each class that is reported by default; null: its detections have none"
    )
    map: float | None = Field(description="mean average precision on VOC 2007 test, if known")
    seconds: float | None = Field(description="per photo, if its author measured it")
    loaded: bool = Field(description="whether it is in memory")


class ModelList(BaseModel):
    """Detectors that the server offers, and limits on photos."""

    default: str = Field(description="detector for requests that name none")
    models: list[ModelInfo] = Field(description="all detectors, the default first")
    max_megabytes: int = Field(description="largest photo file, millions of bytes")
    max_megapixels: int = Field(description="largest photo, millions of pixels")


class Health(BaseModel):
    """State of the server."""

    status: str = Field(description="ok")
    waiting: int = Field(description="photos in the queue")
    served: int = Field(description="photos answered")


class Problem(BaseModel):
    """Why there is no result."""

    detail: str = Field(description="one sentence")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "the body is not a multipart form"},
    403: {"model": Problem, "description": "sent by a page of another site, or under a foreign host name"},
    404: {"model": Problem, "description": "no such model"},
    408: {"model": Problem, "description": "the request did not arrive in time"},
    413: {"model": Problem, "description": "too many bytes or pixels"},
    415: {"model": Problem, "description": "not a photo"},
    422: {"model": Problem, "description": "empty or damaged photo, or wrong parameter"},
    500: {"model": Problem, "description": "internal error"},
    503: {"model": Problem, "description": "the model cannot be loaded, too many photos wait, or it takes too long"},
}
WRONG_NAME: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "unknown query parameter"}}
