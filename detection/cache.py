"""The feature cache: conv5 maps of many images, computed once with one set of settings.

<root>/manifest.json    the settings; opening the folder with other settings is an error
<root>/<id>.maps        one file per image, written under a temporary name and renamed
<root>/photos.json      what the photos were, see `detection.photo_record`; written by whoever fills the cache
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from numpy.typing import NDArray

from detection.files import parse_json, write_atomically
from detection.map_file import FORMAT, Maps, pack, unpack
from detection.plain_values import shown
from detection.storage import mounts
from detection.temporary import temporary_path

MANIFEST, PHOTOS = "manifest.json", "photos.json"
SUFFIX = ".maps"


class FeatureCache:
    """Feature maps of many images, computed with one set of settings.

    Any number of processes may read and write a folder at the same time.

    Args:
        root: folder of the cache; created if absent.
        manifest: settings that decide what a map holds, as JSON values; None: those of the existing folder.

    Attributes:
        root: folder of the cache.
        manifest: the settings as JSON returns them (tuples are lists), sorted by key.

    Raises:
        ValueError: the folder was made with other settings, or its manifest is damaged.
        OSError: the folder cannot be read or created; or `manifest` is None and the folder holds no cache.
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
        """Return the file of an image.

        Raises:
            ValueError: the id is empty.
        """
        if not image_id:
            raise ValueError(f"{self.root}: expected an image id, got an empty one; give every image a name")
        return self.root / (quote(image_id, safe=" ") + SUFFIX)  # ids with slashes stay inside the folder

    @property
    def photos(self) -> Path:
        """The file that holds which photos the maps were made from."""
        return self.root / PHOTOS

    def __contains__(self, image_id: str) -> bool:
        """Tell whether the image has a file; only `read` checks that it is complete."""
        return mounts.is_file(self.path(image_id))

    def ids(self) -> list[str]:
        """Return the ids of the images in the folder, sorted."""
        return sorted(unquote(name.removesuffix(SUFFIX)) for name in mounts.names(self.root) if name.endswith(SUFFIX))

    def write(self, image_id: str, arrays: Sequence[NDArray[Any]], meta: Mapping[str, Any] | None = None) -> None:
        """Write the maps of one image, replacing existing ones.

        Args:
            image_id: name of the image, not empty.
            arrays: maps (C, h, w) of any float type, stored in half precision; channels-last memory is fastest.
            meta: JSON values stored with the maps.

        Raises:
            ValueError: a value is not finite in half precision, or the maps are not (C, h, w).
            OSError: the file cannot be written; nothing of it is left behind.
        """
        path = self.path(image_id)
        notes = {"key": self._key, "id": image_id, "meta": dict(meta or {})}
        mounts.write(path, pack(arrays, notes, str(path)))

    def read(self, image_id: str) -> tuple[Maps, dict[str, Any]]:
        """Read the maps of one image.

        Returns:
            maps float16 (C, h, w), views of channels-last memory, and the `meta` stored with them.

        Raises:
            FileNotFoundError: the image is not in the cache.
            ValueError: the file is damaged, or belongs to a cache with other settings.
        """
        path = self.path(image_id)
        try:
            mounts.bring(path)
            data = path.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{path}: no maps of image {image_id!r} in this cache; run `sppnet stage extract-features`"
            ) from None
        maps, notes = unpack(data, str(path))
        meta = notes.get("meta")
        if (notes.get("key"), notes.get("id")) != (self._key, image_id) or not isinstance(meta, dict):
            raise ValueError(
                f"{path}: holds image {shown(notes.get('id'))} of a cache with other settings; delete it and run "
                "`sppnet stage extract-features`"
            )
        return maps, meta

    def remove(self, image_id: str) -> None:
        """Delete the maps of one image, if there are any.

        Raises:
            OSError: the file cannot be deleted.
        """
        mounts.remove(self.path(image_id))

    def bytes_per_image(self, sample: int = 100) -> float:
        """Return the mean size in bytes of up to `sample` of the files; 0 if there is none."""
        files = self.root.glob("*" + SUFFIX)
        sizes = [path.stat().st_size for path in itertools.islice(files, sample)]
        return sum(sizes) / max(len(sizes), 1)


def clear(root: str | os.PathLike[str]) -> None:
    """Delete a cache, including temporary files of interrupted writers, but no other file in the folder.

    Raises:
        OSError: a file cannot be deleted.
    """
    folder = Path(root)
    maps = [folder / name for name in mounts.names(folder) if name.endswith(SUFFIX)] if folder.is_dir() else []
    for path in (*maps, *folder.glob(f".*{SUFFIX}.*.tmp"), folder / PHOTOS, folder / MANIFEST):
        mounts.remove(path)  # the manifest last, so that no files are left without one


def estimate(bytes_per_image: float, n: int) -> str:
    """Return the disk space of n images as text: "5,011 images x 0.80 MB = 4.0 GB"."""
    return f"{n:,} images x {bytes_per_image / 1e6:.2f} MB = {bytes_per_image * n / 1e9:.1f} GB"


def check_space(root: str | os.PathLike[str], bytes_per_image: float, n: int) -> None:
    """Check that the disk has room for the features of more images.

    Args:
        root: an existing folder on the disk.
        bytes_per_image: mean file size, measured on the first images (`FeatureCache.bytes_per_image`).
        n: number of images to come.

    Raises:
        OSError: the free space is too small.
    """
    free = shutil.disk_usage(root).free
    if bytes_per_image * n > free and mounts.mount_of(Path(root)) is None:  # there, the disk only keeps copies
        reason = (
            f"{estimate(bytes_per_image, n)} needed, {free / 1e9:.1f} GB free; make room, choose another --run "
            "folder, or use fewer --scales"
        )
        raise OSError(ENOSPC, reason, str(root))


def _create_manifest(root: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest unless there is one; if several processes write at once, the first one wins."""
    path = root / MANIFEST
    if path.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    mine = temporary_path(path)
    text = json.dumps({"format": FORMAT, "settings": manifest}, indent=1, sort_keys=True) + "\n"
    try:
        write_atomically(mine, [text.encode()])
        try:
            os.link(mine, path)  # unlike a rename, this never replaces the manifest of another process
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(mine, path)
    finally:
        mine.unlink(missing_ok=True)


def _read_manifest(root: Path) -> dict[str, Any]:
    """Read the settings of a folder."""
    path = root / MANIFEST
    try:
        stored = parse_json(path.read_text("utf-8"))
        number, settings = stored["format"], dict(stored["settings"])
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no feature cache; run `sppnet stage extract-features`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged; delete the folder and run `sppnet stage extract-features`") from error
    if number != FORMAT:
        raise ValueError(f"{path}: expected cache format {FORMAT}, got {number}; {_ways_out(root)}")
    return settings


def _compare(root: Path, asked: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Raise ValueError unless the settings are the same."""
    for field in sorted(asked.keys() | stored.keys()):
        there, here = (m.get(field, "nothing") for m in (stored, asked))
        if there != here:
            raise ValueError(f"{root}: made with {field} = {there}, asked for {here}; {_ways_out(root)}")


def _ways_out(root: Path) -> str:
    return f"choose another --run folder, or pass --overwrite to delete and recompute {root}"
