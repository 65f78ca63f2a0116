"""Vectors of many photos, on disk: one array of N rows a layer, which an interrupted run continues."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification import views
from classification.extractor import Extractor, Layer
from classification.linear import normalized
from classification.photos import read
from classification.views import View
from detection import parallel
from detection.files import write_atomically
from detection.memory import kept_flat
from detection.weights import sha256_of_state

Rows = NDArray[np.float32]
MANIFEST, SUFFIX, PARTIAL = "manifest.json", ".npy", ".partial.npy"


class Representations:
    """Vectors of length 1 of the photos of a split, by layer.

    Args:
        folder: for the arrays of one network, view and split; made if absent.
        extractor: the network.
        view: how the photos are looked at.
        paths: of the N photos.

    Raises:
        ValueError: the folder holds vectors of other photos, or made otherwise.
    """

    def __init__(self, folder: Path, extractor: Extractor, view: View, paths: Sequence[Path]) -> None:
        self.folder, self.extractor, self.view, self.paths = folder, extractor, view, paths
        self._check_manifest(self._settings())

    def get(self, layers: Sequence[Layer], on_photo: Callable[[], object] = lambda: None) -> dict[Layer, Rows]:
        """The vectors of some layers; what is not on disk is computed.

        Args:
            layers: whose.
            on_photo: called after each photo that is looked at.

        Returns:
            layer -> float32 (N, D), read-only, each row of length 1, or 0 where all of it is.

        Raises:
            ValueError: photos cannot be used, of which each is named; the vectors of the others are kept. Or the
                network has no such layer.
        """
        missing = [layer for layer in layers if not self._path(layer).is_file()]
        if missing:
            self._compute(missing, on_photo)
        return {layer: np.load(self._path(layer), mmap_mode="r") for layer in layers}

    def has(self, layers: Sequence[Layer]) -> bool:
        """Whether nothing need be computed for these."""
        return all(self._path(layer).is_file() for layer in layers)

    def _compute(self, layers: Sequence[Layer], on_photo: Callable[[], object]) -> None:
        arrays: dict[Layer, Rows] = {}
        bad: list[str] = []
        for number, (path, photo) in enumerate(kept_flat(parallel.ahead(read, self.paths))):
            if arrays and all(not np.isnan(array[number, 0]) for array in arrays.values()):
                on_photo()
                continue
            try:
                pixels = photo.result()
            except (OSError, ValueError) as error:
                bad.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            found = views.vectors(self.extractor, pixels, self.view, layers)
            for layer, vectors in found.items():
                row = normalized(vectors.mean(axis=0, keepdims=True))[0]
                array = arrays.setdefault(layer, self._open(layer, len(row)))
                array[number, 1:] = row[1:]
                array[number, 0] = row[0]  # last: a row whose first number is there is whole
            on_photo()
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]
        if bad:
            raise ValueError(f"{len(bad)} of {len(self.paths)} photos cannot be used: {'; '.join(bad[:3])}")
        for layer in layers:
            os.replace(self._path(layer, PARTIAL), self._path(layer))

    def _open(self, layer: Layer, length: int) -> Rows:
        """The array of a layer that is being made: rows that are not there yet begin with NaN."""
        path, shape = self._path(layer, PARTIAL), (len(self.paths), length)
        if path.is_file():
            there = np.load(path, mmap_mode="r+")
            if there.shape == shape:
                return there
        array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        array[:, 0] = np.nan
        return array

    def _path(self, layer: Layer, suffix: str = SUFFIX) -> Path:
        return self.folder / f"{layer}{suffix}"

    def _settings(self) -> dict[str, Any]:
        """All that decides what the vectors are."""
        body, head = self.extractor.body, self.extractor.head
        return {
            "network": body.name,
            "weights": body.weights_hash,
            "precision": body.precision,
            "levels": list(self.extractor.levels),
            "head": sha256_of_state(head.state_dict()) if head else None,
            "view": str(self.view),
            "photos": [str(path) for path in self.paths],
        }

    def _check_manifest(self, settings: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / MANIFEST
        if not path.is_file():
            write_atomically(path, [json.dumps(settings).encode()])
            return
        there = json.loads(path.read_text())
        for name, value in settings.items():
            if there.get(name) != value:
                told = "" if name == "photos" else f": {there.get(name)!r} there, {value!r} now"
                raise ValueError(
                    f"{self.folder}: holds vectors made with other {name}{told}; give --overwrite, or another --run"
                )
