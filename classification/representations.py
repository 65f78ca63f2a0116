"""Vectors of many photos on disk: one array of N rows per layer; interrupted runs can be resumed."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification import views
from classification.config import Layer
from classification.extractor import Extractor
from classification.linear_classifier import normalized
from classification.photos import read
from classification.views import View
from detection import parallel
from detection.files import write_atomically
from detection.memory import kept_flat
from detection.photo_record import Stat, sha256_of, stat_of
from detection.weights.pretrained import sha256_of_state

log = logging.getLogger(__name__)
Rows = NDArray[np.float32]
MANIFEST, SUFFIX, PARTIAL = "manifest.json", ".npy", ".partial.npy"


@dataclass(frozen=True)
class _Photo:
    """A photo: its absolute path, bytes and times of change, and the SHA-256 of its contents.

    Bytes and times are empty without a file, the hash is empty where it is unknown.
    """

    path: str
    stat: Stat
    sha256: str = ""

    def untouched(self, before: _Photo) -> bool:
        """Whether bytes and times are those of `before`; manifests had fewer times at first."""
        return self.stat[: len(before.stat)] == before.stat if before.stat else not self.stat


class Representations:
    """Vectors of length 1 of N photos, one array per layer, in one folder.

    If photos were added, removed or replaced since the last use, the rows of all others are kept. A photo is known by
    its path, bytes and times of change; where these differ, by the SHA-256 of its contents, so that photos that were
    touched, renamed or copied to another folder are not run through the network again.

    Args:
        folder: folder of the arrays of one network, view and split; created if it does not exist.
        extractor: the network.
        view: parts of a photo to show to the network.
        paths: files of the N photos.

    Raises:
        ValueError: the folder holds vectors of other settings or of entirely different photos, or is damaged.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, extractor: Extractor, view: View, paths: Sequence[Path]) -> None:
        self.folder, self.extractor, self.view, self.paths = folder, extractor, view, paths
        self._check_manifest()

    def get(self, layers: Sequence[Layer], on_photo: Callable[[], object] = lambda: None) -> dict[Layer, Rows]:
        """Return the vectors of some layers, computing those that are not on disk.

        Args:
            layers: names of the layers.
            on_photo: called once per photo, for progress; also for photos whose vectors are on disk already.

        Returns:
            Read-only float32 (N, D) per layer. Rows have length 1; rows of zeros stay zero.

        Raises:
            ValueError: some photos cannot be used (the message names the first three; the vectors of all others are
                kept), the network has no such layer, or a file is damaged.
            OSError: the disk has no room for the vectors.
        """
        missing = [layer for layer in layers if not self._path(layer).is_file()]
        if missing:
            self._compute(missing, on_photo)
        found = {layer: _load(self._path(layer), len(self.paths)) for layer in layers}
        for layer, rows in found.items():
            if rows is None:
                raise ValueError(f"{self._path(layer)}: damaged file; give --overwrite, or another --run")
        return {layer: rows for layer, rows in found.items() if rows is not None}

    def has(self, layers: Sequence[Layer]) -> bool:
        """Whether the vectors of all these layers are on disk."""
        return all(self._path(layer).is_file() for layer in layers)

    def _compute(self, layers: Sequence[Layer], on_photo: Callable[[], object]) -> None:
        arrays = {layer: self._open_partial(layer) for layer in layers}
        wanted = np.zeros(len(self.paths), bool)
        for array in arrays.values():
            wanted |= True if array is None else np.isnan(array[:, 0])
        for _ in range(int((~wanted).sum())):
            on_photo()
        places, bad = np.flatnonzero(wanted).tolist(), []
        photos = kept_flat(parallel.ahead(read, [self.paths[i] for i in places]))
        for number, (path, photo) in zip(places, photos, strict=True):
            try:
                pixels = photo.result()
            except (OSError, ValueError) as error:
                bad.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            for layer, vectors in views.vectors(self.extractor, pixels, self.view, layers).items():
                row = normalized(vectors.mean(axis=0, keepdims=True))[0]
                array = arrays[layer]
                if array is None:
                    array = arrays[layer] = self._create_partial(layer, len(row))
                array[number, 1:] = row[1:]
                array[number, 0] = row[0]  # written last: a row with its first number is complete
            on_photo()
        for array in arrays.values():
            if array is not None:
                array.flush()  # type: ignore[attr-defined]
        if bad:
            raise ValueError(f"{len(bad)} of {len(self.paths)} photos cannot be used: {'; '.join(bad[:3])}")
        for layer in layers:
            os.replace(self._path(layer, PARTIAL), self._path(layer))

    def _open_partial(self, layer: Layer) -> Rows | None:
        """Open the unfinished array of a layer for writing; rows still to be computed start with NaN."""
        path = self._path(layer, PARTIAL)
        complete = path.is_file() and _load(path, len(self.paths)) is not None  # "r+" would extend a truncated file
        return np.load(path, mmap_mode="r+") if complete else None

    def _create_partial(self, layer: Layer, length: int) -> Rows:
        """Create the unfinished array of a layer. All bytes are written at once, so a full disk is noticed now."""
        path = self._path(layer, PARTIAL)
        _write(path, (len(self.paths), length), repeat(_empty_row(length), len(self.paths)))
        rows: Rows = np.load(path, mmap_mode="r+")
        return rows

    def _path(self, layer: Layer, suffix: str = SUFFIX) -> Path:
        return self.folder / f"{layer}{suffix}"

    def _settings(self) -> dict[str, Any]:
        """Return everything besides the photos that determines the vectors."""
        body, head = self.extractor.body, self.extractor.head
        return {
            "network": body.name,
            "weights": body.weights_hash,
            "precision": body.precision,
            "levels": list(self.extractor.levels),
            "head": sha256_of_state(head.state_dict()) if head else None,
            "view": str(self.view),
        }

    def _check_manifest(self) -> None:
        path, settings = self.folder / MANIFEST, self._settings()
        if not path.is_file():
            self._write_manifest(self.folder, _look(self.paths, []))
            return
        try:
            manifest = json.loads(path.read_text())
            there = _photos_of(manifest)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: damaged file ({error}); give --overwrite, or another --run") from error
        for name, value in settings.items():
            if manifest.get(name) != value:
                raise ValueError(
                    f"{self.folder}: holds vectors of other settings "
                    f"({name}: {manifest.get(name)!r} there, {value!r} now); give --overwrite, or another --run"
                )
        now = _look(self.paths, there)
        rows = _rows_of(now, there)
        if rows != list(range(len(there))):
            self._reuse_rows(rows, now, there)
        elif now != there:
            self._write_manifest(self.folder, now)

    def _write_manifest(self, folder: Path, photos: Sequence[_Photo]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        columns = {
            "photos": [photo.path for photo in photos],
            "bytes_and_time": [photo.stat for photo in photos],
            "sha256": [photo.sha256 for photo in photos],
        }
        write_atomically(folder / MANIFEST, [json.dumps(self._settings() | columns).encode()])

    def _reuse_rows(self, places: list[int | None], now: Sequence[_Photo], there: Sequence[_Photo]) -> None:
        """Replace the folder by one of the photos `now`, which keeps the rows `places` of the photos `there`."""
        if places.count(None) == len(places) and not {p.path for p in now} & {p.path for p in there}:
            raise ValueError(f"{self.folder}: holds vectors of different photos; give --overwrite, or another --run")
        log.info("%s: %d of %d photos are new or changed", self.folder, places.count(None), len(places))
        new, old = (self.folder.with_name(f".{self.folder.name}.{which}") for which in ("new", "old"))
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
        new.mkdir()
        for file in sorted(self.folder.glob(f"*{SUFFIX}")):
            array, path = _load(file, len(there)), new / f"{file.name.partition('.')[0]}{PARTIAL}"
            if array is not None and not path.exists():
                missing = _empty_row(array.shape[1])
                _write(path, (len(places), array.shape[1]), (missing if i is None else array[i] for i in places))
        self._write_manifest(new, now)
        os.replace(self.folder, old)
        os.replace(new, self.folder)
        shutil.rmtree(old, ignore_errors=True)


def _photos_of(manifest: Mapping[str, Any]) -> list[_Photo]:
    """Return the photos of a manifest, which had no hashes at first."""
    paths, stats = manifest["photos"], manifest["bytes_and_time"]
    digests = manifest.get("sha256", [""] * len(paths))
    return [_Photo(path, tuple(stat), sha) for path, stat, sha in zip(paths, stats, digests, strict=True)]


def _look(paths: Sequence[Path], there: Sequence[_Photo]) -> list[_Photo]:
    """Return what photos are now; only those that are not `there` with the same bytes and times are hashed."""
    known = {photo.path: photo for photo in there}
    found = []
    for path in paths:
        photo = _Photo(str(path.resolve()), stat_of(path))
        before = known.get(photo.path)
        found.append(replace(photo, sha256=before.sha256) if before and photo.untouched(before) else photo)
    unsure = [i for i, photo in enumerate(found) if not photo.sha256]
    for i, digest in zip(unsure, sha256_of([paths[i] for i in unsure]), strict=True):
        found[i] = replace(found[i], sha256=digest)
    return found


def _rows_of(now: Sequence[_Photo], there: Sequence[_Photo]) -> list[int | None]:
    """Return the row of each photo, None for one that is new or changed."""
    by_path = {photo.path: row for row, photo in enumerate(there)}
    by_hash = {photo.sha256: row for row, photo in enumerate(there) if photo.sha256}
    rows: list[int | None] = []
    for photo in now:
        row = by_path.get(photo.path)
        same = row is not None and (photo.untouched(there[row]) or photo.sha256 == there[row].sha256 != "")
        rows.append(row if same else by_hash.get(photo.sha256))
    return rows


def _load(path: Path, count: int) -> Rows | None:
    """Open an array on disk, read-only; None if it is incomplete or does not have `count` rows."""
    try:
        found: Rows = np.load(path, mmap_mode="r")
    except ValueError:
        return None
    return found if found.ndim == 2 and len(found) == count else None


def _empty_row(length: int) -> Rows:
    """Return a row that marks a vector still to be computed."""
    return np.full(length, np.nan, np.float32)


def _write(path: Path, shape: tuple[int, int], rows: Iterable[Rows]) -> None:
    """Write rows as a .npy file of float32 `shape`, atomically."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    write_atomically(path, chain([head.getvalue()], (row.tobytes() for row in rows)))
