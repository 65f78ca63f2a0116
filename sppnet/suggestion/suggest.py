"""Suggest photos to label: what `sppnet.suggest` and `sppnet suggest` do."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data import datasets, media
from data.names import readable
from detection import network
from detection.detector import SPPDetector
from detection.network import ConvBody
from sppnet.errors import one_line
from sppnet.output_files import identities, is_own
from sppnet.progress import log, progress
from sppnet.suggestion.looks import look_at
from sppnet.suggestion.selection import k_centre, weights_of

BACKBONE = "lite0"  # that of `sppnet train`
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Suggestion:
    """A photo to label.

    Attributes:
        path: the photo.
        uncertainty: of the detector, 0 or more, see `uncertainty_of`; None without a detector.
        distance: to the nearest photo that is labelled or suggested before it, 0 (a copy) to 2; None for the first one
            if nothing is labelled.
    """

    path: Path
    uncertainty: float | None
    distance: float | None


@dataclass(frozen=True)
class Suggestions:
    """Photos to label.

    Attributes:
        best: the suggested photos, best first.
        unreadable: photo -> why it could not be used.
    """

    best: list[Suggestion]
    unreadable: dict[str, str]


@dataclass(frozen=True, eq=False)
class Encoder:
    """What describes photos.

    Attributes:
        body: the convolutions.
        detector: a detector on these convolutions, or None.
    """

    body: ConvBody
    detector: SPPDetector | None = None

    @classmethod
    def load(cls, model: PathLike | None, backbone: str | None, weights: PathLike | None, device: str) -> Encoder:
        """Load a detector, or convolutions alone. Arguments and errors are those of `suggest`."""
        source = Path(weights) if weights is not None else "pretrained"
        if model is None:
            return cls(network.build(backbone or BACKBONE, source, device))
        detector = SPPDetector.from_pretrained(os.fspath(model), device=device, weights=source)
        return cls(detector.body, detector)


def suggest(
    photos: PathLike | Iterable[PathLike],
    count: int = 20,
    *,
    model: PathLike | SPPDetector | None = None,
    labelled: PathLike | None = None,
    images: PathLike | None = None,
    backbone: str | None = None,
    weights: PathLike | None = None,
    device: str = "auto",
) -> list[Suggestion]:
    """Suggest which photos to label next: those that a detector is unsure of and that look new.

    Each photo in turn has the largest product of uncertainty and distance to all photos that are labelled or suggested
    before it; see `uncertainty_of` and `k_centre`. Photos are compared by the mean of their feature maps. Photos that
    cannot be read are left out with a warning.

    Args:
        photos: files, folders or patterns.
        count: how many to suggest.
        model: a detector, its folder or the name of a bundled one; None: photos are compared only, for a first choice
            before any is labelled.
        labelled: labelled photos in any format. They are not suggested, and neither is what looks like them.
        images: folder of the labelled photos, if they are not in the data set.
        backbone: network whose convolutions compare photos without a model; None: lite0.
        weights: file with weights of the convolutions; None: the pretrained ones.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        FileNotFoundError: there are no such photos, labelled photos or model.
        OSError, ValueError: every photo is labelled already, or the labelled photos or the model cannot be read.

    Examples:
        >>> best = sppnet.suggest("new_photos", model="runs/mine/model", labelled="mine")  # doctest: +SKIP
        >>> best[0].path  # doctest: +SKIP
    """
    names = [photos] if isinstance(photos, str | os.PathLike) else photos
    paths = [source.path for source in media.find([os.fspath(name) for name in names], is_own=is_own)]
    known = photos_of(labelled, images)
    if isinstance(model, SPPDetector):
        return suggest_among(paths, count, Encoder(model.body, model), known).best
    return suggest_among(paths, count, Encoder.load(model, backbone, weights, device), known).best


def photos_of(labelled: PathLike | None, images: PathLike | None) -> list[Path]:
    """Return the photos of a labelled data set with all its splits; none if there is no data set.

    Raises:
        OSError, ValueError: the data set cannot be read.
    """
    if labelled is None:
        return []
    found = datasets.load_all(labelled, skip_bad=True, images=images)
    return list(dict.fromkeys(record.path for dataset in found.values() for record in dataset))


def suggest_among(paths: Sequence[Path], count: int, encoder: Encoder, labelled: Sequence[Path]) -> Suggestions:
    """Suggest some of the photos, but none of the labelled ones.

    Raises:
        ValueError: there are only labelled ones.
    """
    known = identities(labelled)
    new = [path for path in paths if not identities([path]) & known]
    if not new:
        raise ValueError(f"all {len(paths)} photos are labelled already")
    bad: dict[str, str] = {}
    with progress(len(labelled) + len(new), 0, "img", "photos") as bar:

        def on_bad(path: Path, error: Exception) -> None:
            text = one_line(error)
            bad[os.fspath(path)] = text if str(path) in text else f"{readable(str(path))}: {text}"
            log.warning("left out: %s", bad[os.fspath(path)])
            bar.update()

        old = look_at(labelled, encoder.body, None, on_bad, bar.update)
        looks = look_at(new, encoder.body, encoder.detector, on_bad, bar.update)
    weights = weights_of(looks.uncertainties)  # all the same without a detector
    rows, distances = k_centre(looks.vectors, count, weights, old.vectors)
    unsure = looks.uncertainties.tolist() if encoder.detector else [None] * len(looks.paths)
    best = [
        Suggestion(looks.paths[row], unsure[row], None if math.isinf(distance) else distance)
        for row, distance in zip(rows.tolist(), distances.tolist(), strict=True)
    ]
    return Suggestions(best, bad)
