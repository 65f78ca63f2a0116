"""Vectors of many photos on disk: one array of N rows per layer; interrupted runs can be resumed."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
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
from classification.vector_files import (
    PARTIAL,
    SUFFIX,
    SUMS,
    Rows,
    Sums,
    Unfinished,
    empty_row,
    load,
    load_sums,
    path_of_sums,
    sums_of,
)
from classification.views import View
from detection import parallel
from detection.engines.engine import Engine, WorkerLost, failed, settled
from detection.files import parse_json, write_atomically
from detection.memory import kept_flat
from detection.photo_record import Stat, sha256_of, stat_of
from detection.weights.pretrained import sha256_of_state

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


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


@dataclass(frozen=True)
class _Vectors:
    """The work on one photo, as an engine does it: a row per layer, the mean over the parts of a view."""

    extractor: Extractor
    view: View
    layers: Sequence[Layer]

    def __call__(self) -> Callable[[tuple[int, Path]], dict[Layer, NDArray[np.float32]]]:
        return lambda numbered: self.rows(read(numbered[1]))

    def rows(self, pixels: NDArray[np.uint8]) -> dict[Layer, NDArray[np.float32]]:
        found = views.vectors(self.extractor, pixels, self.view, self.layers)
        return {layer: normalized(vectors.mean(axis=0, keepdims=True))[0] for layer, vectors in found.items()}


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
        engine: what runs photos through the network; None: this process, which reads the next one meanwhile.

    Raises:
        ValueError: the folder holds vectors of other settings or of entirely different photos, or is damaged.
        OSError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, extractor: Extractor, view: View, paths: Sequence[Path], engine: Engine | None = None
    ) -> None:
        self.folder, self.extractor, self.view, self.paths = folder, extractor, view, paths
        self.engine = engine
        _finish_exchange(folder)
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
        missing = [layer for layer in layers if not self._is_sound(layer)]
        if missing:
            self._compute(missing, on_photo)
        found = {layer: load(self._path(layer), len(self.paths)) for layer in layers}
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
            wanted |= True if array is None else array.missing
        for _ in range(int((~wanted).sum())):
            on_photo()
        bad = []
        for number, outcome in kept_flat(self._found(np.flatnonzero(wanted).tolist(), layers)):
            path = self.paths[number]
            try:
                found = outcome.result()
            except (OSError, ValueError, WorkerLost) as error:
                bad.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            for layer, row in found.items():
                array = arrays[layer]
                if array is None:
                    array = arrays[layer] = self._create_partial(layer, len(row))
                array.put(number, row)
            on_photo()
        for array in arrays.values():
            if array is not None:
                array.flush()
        if bad:
            raise ValueError(f"{len(bad)} of {len(self.paths)} photos cannot be used: {'; '.join(bad[:3])}")
        for layer in layers:
            os.replace(self._path(layer, PARTIAL), self._path(layer))

    def _found(
        self, places: Sequence[int], layers: Sequence[Layer]
    ) -> Iterator[tuple[int, Future[dict[Layer, NDArray[np.float32]]]]]:
        """Yield the number of each photo and its finished future of a row per layer."""
        work = _Vectors(self.extractor, self.view, layers)
        if self.engine is None:
            photos = parallel.ahead(read, [self.paths[i] for i in places])
            for number, (_, photo) in zip(places, photos, strict=True):
                error = photo.exception()
                yield number, failed(error) if error else settled(partial(work.rows, photo.result()))
            return
        with closing(self.engine.map(work, ((i, self.paths[i]) for i in places))) as results:
            for (number, _), outcome in results:
                yield number, outcome

    def _is_sound(self, layer: Layer) -> bool:
        """Whether the array of a layer is on disk as it was computed; if not, its other rows become unfinished again.

        An array that is truncated, or without checksums as earlier versions wrote it, is not looked at here.
        """
        path = self._path(layer)
        if not path.is_file():
            return False
        rows, sums = load(path, len(self.paths)), load_sums(self._path(layer, SUMS), len(self.paths))
        if rows is None or sums is None or np.array_equal(sums_of(rows), sums):
            return True
        os.replace(path, self._path(layer, PARTIAL))
        return False

    def _open_partial(self, layer: Layer) -> Unfinished | None:
        """Open the unfinished array of a layer for writing, without rows that are damaged."""
        path, count = self._path(layer, PARTIAL), len(self.paths)
        if not path.is_file() or load(path, count) is None:  # "r+" would extend a truncated file
            return None
        sums = load_sums(self._path(layer, SUMS), count, "r+")
        if sums is None:
            log.warning("%s: no checksums: torn, or from an earlier version; starting from the beginning", path)
            return None
        found = Unfinished(np.load(path, mmap_mode="r+"), sums)
        damaged = np.flatnonzero(found.damaged)
        if len(damaged):
            log.warning("%s: %d of %d vectors are damaged; computing them again", path, len(damaged), count)
            found.rows[damaged] = np.nan
        return found

    def _create_partial(self, layer: Layer, length: int) -> Unfinished:
        """Create the unfinished array of a layer. All bytes are written at once, so a full disk is noticed now."""
        path, count = self._path(layer, PARTIAL), len(self.paths)
        _write(path, (count, length), repeat(empty_row(length), count), np.zeros(count, np.uint32))
        sums = load_sums(self._path(layer, SUMS), count, "r+")
        assert sums is not None
        return Unfinished(np.load(path, mmap_mode="r+"), sums)

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
            for file in self.folder.glob(f"*{SUFFIX}"):  # of unknown settings
                file.unlink()
            self._write_manifest(self.folder, _look(self.paths, []))
            return
        try:
            manifest = parse_json(path.read_text())
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
        new, old = _exchanged(self.folder)
        new.mkdir()
        for file in sorted(self.folder.glob(f"*{SUFFIX}")):
            array, path = load(file, len(there)), new / f"{file.name.partition('.')[0]}{PARTIAL}"
            if array is not None and not path.exists():
                missing = empty_row(array.shape[1])
                known = load_sums(path_of_sums(file), len(there))
                known = sums_of(array) if known is None else known
                sums = np.array([0 if i is None else known[i] for i in places], np.uint32)
                rows = (missing if i is None else array[i] for i in places)
                _write(path, (len(places), array.shape[1]), rows, sums)
        self._write_manifest(new, now)
        os.replace(self.folder, old)
        os.replace(new, self.folder)
        shutil.rmtree(old, ignore_errors=True)


def remove(folder: Path) -> None:
    """Delete the vectors in a folder, and what an interrupted exchange left beside it.

    Raises:
        OSError: the manifest cannot be deleted.
    """
    for beside in _exchanged(folder):
        shutil.rmtree(beside, ignore_errors=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # first, so that an interruption leaves no vectors that count
    shutil.rmtree(folder, ignore_errors=True)


def _exchanged(folder: Path) -> tuple[Path, Path]:
    """Return the folders that `Representations` exchanges with its own: one to come and one to go."""
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def _finish_exchange(folder: Path) -> None:
    """Complete the exchange of a process that was killed, or undo it, so that nothing is computed again."""
    new, old = _exchanged(folder)
    for found in (new, old):
        if not folder.exists() and (found / MANIFEST).is_file():  # written last
            os.replace(found, folder)
        shutil.rmtree(found, ignore_errors=True)


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


def _write(path: Path, shape: tuple[int, int], rows: Iterable[Rows], sums: Sums) -> None:
    """Write rows as a .npy file of float32 `shape`, and beside it their checksums, uint32 (N,), each atomically."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    write_atomically(path, chain([head.getvalue()], (row.tobytes() for row in rows)))
    write_atomically(path_of_sums(path), [sums.astype("<u4").tobytes()])
