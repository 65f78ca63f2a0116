"""The feature store: conv5 maps of many images, computed once under one set of settings.

<root>/manifest.json    the settings; opening the folder with others is an error
<root>/<id>.maps        one image, written under a temporary name and renamed
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from numpy.typing import NDArray

from detection.files import write_atomically
from detection.map_file import FORMAT, Maps, pack, unpack

MANIFEST = "manifest.json"
SUFFIX = ".maps"


class FeatureCache:
    """The maps of many images under one set of settings.

    Any number of processes may read and write one folder at a time.

    Args:
        root: the folder; made if absent.
        manifest: everything that decides what a map holds, as JSON values. None: whatever the folder was
            made with.

    Attributes:
        root: the folder.
        manifest: the settings, as they come back from JSON (tuples are lists), keys sorted.

    Raises:
        ValueError: the folder was made with other settings, or its manifest is damaged.
        OSError: it cannot be read or made; without `manifest`, there is no cache there.
    """

    def __init__(self, root: str | os.PathLike[str], manifest: Mapping[str, Any] | None = None) -> None:
        self.root = Path(root)
        if manifest is None:
            self.manifest = _read_manifest(self.root)
        else:
            self.manifest = json.loads(json.dumps(dict(manifest), sort_keys=True))
            _create_manifest(self.root, self.manifest)
            _compare(self.root, self.manifest, _read_manifest(self.root))
        text = json.dumps([FORMAT, self.manifest], sort_keys=True)
        self._key = hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, image_id: str) -> Path:
        """Where an image's maps are kept.

        Raises:
            ValueError: the id is empty.
        """
        if not image_id:
            raise ValueError(f"{self.root}: the id of an image is empty; give every image a name")
        return self.root / (quote(image_id, safe=" ") + SUFFIX)  # ids with slashes stay inside the folder

    def __contains__(self, image_id: str) -> bool:
        """Whether there is a file; `read` finds out whether it is whole."""
        return self.path(image_id).is_file()

    def ids(self) -> list[str]:
        """Ids of the images in the folder, sorted."""
        return sorted(unquote(path.name.removesuffix(SUFFIX)) for path in self._files())

    def write(self, image_id: str, arrays: Sequence[NDArray[Any]], meta: Mapping[str, Any] | None = None) -> None:
        """Keep the maps of one image, replacing those it had.

        Args:
            image_id: any name.
            arrays: (C, h, w) maps of any float type, kept in half precision; channels-last memory is fastest.
            meta: JSON values to go with them.

        Raises:
            ValueError: a value is not finite in half precision, or the maps are not (C, h, w).
            OSError: the file cannot be written; nothing is left of it then.
        """
        path = self.path(image_id)
        notes = {"key": self._key, "id": image_id, "meta": dict(meta or {})}
        write_atomically(path, pack(arrays, notes, str(path)))

    def read(self, image_id: str) -> tuple[Maps, dict[str, Any]]:
        """The maps of one image, float16 (C, h, w) views of channels-last memory, and what came with them.

        Raises:
            FileNotFoundError: the image is not in the cache.
            ValueError: the file is damaged, or of a cache with other settings.
        """
        path = self.path(image_id)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{path}: no maps of image {image_id!r} in this cache; run sppnet-extract-features"
            ) from None
        maps, notes = unpack(data, str(path))
        if (notes["key"], notes["id"]) != (self._key, image_id):
            raise ValueError(
                f"{path}: holds image {notes['id']!r} of a cache with other settings; delete it and run "
                "sppnet-extract-features"
            )
        return maps, notes["meta"]

    def bytes_per_image(self, sample: int = 100) -> float:
        """Mean size of up to `sample` of the files that are there; 0 for none."""
        sizes = [path.stat().st_size for path in itertools.islice(self._files(), sample)]
        return sum(sizes) / max(len(sizes), 1)

    def _files(self) -> Iterator[Path]:
        with os.scandir(self.root) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    yield Path(entry.path)


def clear(root: str | os.PathLike[str]) -> None:
    """Delete a cache, with what interrupted writers left, and nothing else that lies in the folder.

    Raises:
        OSError: a file cannot be deleted.
    """
    folder = Path(root)
    ours = (folder / MANIFEST, *folder.glob("*" + SUFFIX), *folder.glob(f".*{SUFFIX}.*.tmp"))
    for path in ours[1:] + ours[:1]:  # the manifest last: files without one would have no owner
        path.unlink(missing_ok=True)


def estimate(bytes_per_image: float, n: int) -> str:
    """What n images will take, for people: "5,011 images x 0.80 MB = 4.0 GB"."""
    return f"{n:,} images x {bytes_per_image / 1e6:.2f} MB = {bytes_per_image * n / 1e9:.1f} GB"


def check_space(root: str | os.PathLike[str], bytes_per_image: float, n: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        root: an existing folder on the disk.
        bytes_per_image: measured on the first images (`FeatureCache.bytes_per_image`).
        n: images still to come.

    Raises:
        OSError: less is free than they will take.
    """
    free = shutil.disk_usage(root).free
    if bytes_per_image * n > free:
        reason = (
            f"{estimate(bytes_per_image, n)} needed, {free / 1e9:.1f} GB free; make room, choose another --run "
            "folder, or use fewer --scales"
        )
        raise OSError(ENOSPC, reason, str(root))


def _create_manifest(root: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest unless there is one; of several processes the first one's stays."""
    path = root / MANIFEST
    if path.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    mine = root / f".{MANIFEST}.{os.getpid()}-{secrets.token_hex(4)}"
    text = json.dumps({"format": FORMAT, "settings": manifest}, indent=1, sort_keys=True) + "\n"
    try:
        write_atomically(mine, [text.encode()])
        try:
            os.link(mine, path)  # unlike a rename, this never replaces another's
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(mine, path)
    finally:
        mine.unlink(missing_ok=True)


def _read_manifest(root: Path) -> dict[str, Any]:
    """The settings in a folder, keys sorted."""
    path = root / MANIFEST
    try:
        stored = json.loads(path.read_text("utf-8"))
        number, settings = stored["format"], dict(stored["settings"])
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no feature cache there; run sppnet-extract-features") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged; delete the folder and run sppnet-extract-features") from error
    if number != FORMAT:
        raise ValueError(f"{path}: cache format {number}, this version reads {FORMAT}; {_ways_out(root)}")
    return settings


def _compare(root: Path, asked: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Raise unless the settings are the same."""
    for field in sorted(asked.keys() | stored.keys()):
        there, here = (m.get(field, "nothing") for m in (stored, asked))
        if there != here:
            raise ValueError(f"{root}: made with {field} = {there}, asked for {here}; {_ways_out(root)}")


def _ways_out(root: Path) -> str:
    return f"choose another --run folder, or pass --overwrite to delete and recompute {root}"
