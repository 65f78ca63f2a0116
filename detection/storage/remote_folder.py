"""One folder at a URL, by fsspec: S3, Google Cloud Storage, Azure, SSH, another folder of this machine.

fsspec is what pandas, Dask and Hugging Face's datasets use; torch brings it along. What it needs for one kind of
storage is an extra package, for example s3fs.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detection.temporary import temporary_path

CONNECT = {"use_listings_cache": False}  # other processes write too
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory"}  # an object appears as a whole
PACKAGES = {"s3": "sppnet[s3]", "s3a": "sppnet[s3]", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}

Version = tuple[int, str]
"""Bytes of a file, and what changes when it is written again."""


class RemoteFolder:
    """The files below a URL; names are relative to it, with slashes.

    Files appear whole or not at all. It can be pickled: every process connects for itself.

    Args:
        url: for example s3://bucket/run.

    Attributes:
        url: without a slash at the end.

    Raises:
        ModuleNotFoundError: the package for this kind of storage is not installed.
        ValueError: there is no such kind of storage.
        OSError: from every method, if the storage cannot be reached or refuses; the message has the URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = _connected(self.url)

    def __reduce__(self) -> tuple[type[RemoteFolder], tuple[str]]:
        return type(self), (self.url,)

    def versions(self, below: str = "") -> dict[str, Version]:
        """Return the name and version of every file, or of those below a folder; "" is the name of a URL of a file.

        Raises:
            ValueError: a name leads out of the folder, which those of objects may.
        """
        start = f"{self._root}/{below}".rstrip("/")
        with self._told():
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(start, detail=True)
            except FileNotFoundError:
                return {}
        named = {name.removeprefix(self._root).lstrip("/"): _version(info) for name, info in found.items()}
        if wrong := next((name for name in named if ".." in name.replace("\\", "/").split("/")), None):
            raise ValueError(f"{self.url}: holds {wrong!r}, which leads to another folder; delete it")
        return named

    def read(self, name: str) -> bytes:
        """Return the contents of a file; FileNotFoundError if there is none."""
        with self._told(name):
            return bytes(self._fs.cat_file(f"{self._root}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        """Write a file."""
        with self._told(name), self._published(name) as place:
            self._fs.pipe_file(place, data)

    def create(self, name: str, data: bytes) -> None:
        """Write a file that does not exist; of several processes that try, one succeeds.

        Raises:
            FileExistsError: there is one.
        """
        with self._told(name):
            self._make_parent(name)
            self._fs.pipe_file(f"{self._root}/{name}", data, mode="create")

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a path of this machine, whose folder is made if absent; FileNotFoundError if there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(path)
        try:
            with self._told(name):
                self._fs.get_file(f"{self._root}/{name}", str(temporary))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine here."""
        with self._told(name), self._published(name) as place:
            self._fs.put_file(str(path), place)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, those that exist."""
        for name in names:
            with self._told(name):
                try:
                    self._fs.rm_file(f"{self._root}/{name}")
                except FileNotFoundError:
                    continue

    @contextmanager
    def _published(self, name: str) -> Iterator[str]:
        """Give the place to write a file to; where files grow while they are written, that of a temporary file."""
        place = f"{self._root}/{name}"
        if OBJECT_STORES.intersection(_protocols(self._fs)):
            yield place
            return
        self._make_parent(name)
        folder, _, last = place.rpartition("/")
        temporary = f"{folder}/.{last[-40:]}.{secrets.token_hex(8)}.tmp"
        yield temporary
        self._fs.mv(temporary, place)

    def _make_parent(self, name: str) -> None:
        if not OBJECT_STORES.intersection(_protocols(self._fs)):  # there, writing makes the folders
            self._fs.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _told(self, name: str = "") -> Iterator[None]:
        """Turn what the storage's library raises, of many types, into an OSError that names the URL."""
        where = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except (FileNotFoundError, FileExistsError) as error:
            raise type(error)(f"{where}: {_reason(error)}") from error
        except Exception as error:
            advice = "check the address, the network and your permission"
            raise OSError(f"{where}: {_reason(error)}; {advice}") from error


def _connected(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path of the URL in it."""
    import fsspec  # only for who uses URLs

    scheme = url.partition(":")[0]
    try:
        fs, root = fsspec.core.url_to_fs(url, **CONNECT)
        return fs, str(root)
    except ImportError as error:
        package = PACKAGES.get(scheme)
        advice = f"pip install '{package}'" if package else str(error)
        raise ModuleNotFoundError(f"{url}: this kind of storage needs another package; {advice}") from None
    except ValueError as error:
        known = "s3://, gs:// and file:// are some that are known"
        raise ValueError(f"{url}: {str(error)[:1].lower()}{str(error)[1:]}; {known}") from None


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _version(info: dict[str, Any]) -> Version:
    keys = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")
    return int(info["size"] or 0), " ".join(str(info[key]) for key in keys if info.get(key))


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0]
