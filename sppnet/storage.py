"""Settings that name URLs, as settings that name folders of this machine."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO, TypeVar

from sppnet.settings.base import Settings
from sppnet.settings.shared import RunSettings

S = TypeVar("S", bound=Settings)

GB = 10**9


@dataclass(frozen=True)
class Copies:
    """What stands for URLs on this machine.

    Attributes:
        urls: folder -> URL.
    """

    urls: dict[str, str] = field(default_factory=dict)

    def named(self, text: str) -> str:
        """A text with URLs in place of the folders."""
        for folder, url in self.urls.items():
            text = text.replace(folder, url)
        return text

    def restored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Plain values of settings with URLs in place of the folders."""
        return {name: self.named(value) if isinstance(value, str) else value for name, value in values.items()}


@contextmanager
def on_this_machine(settings: S) -> Iterator[tuple[S, Copies]]:
    """Give settings whose URLs are folders of this machine, which stand for them within the block.

    A URL that is read becomes the same here; a run folder's large files come when they are read, and what is written
    into it goes to the URL (`detection.storage.working_copy`). Messages of the block name URLs.

    Raises:
        FileNotFoundError: there is nothing at a URL that is read.
        ModuleNotFoundError, ValueError: there is no package for such URLs.
        RuntimeError: another process works on the run folder.
        OSError: the storage cannot be reached.
    """
    copies, folders = Copies(), {}
    with ExitStack() as stack:
        for name, (_, option) in settings.kinds().items():
            value = getattr(settings, name)
            if option.url and value is not None and not isinstance(value, tuple):
                from detection.storage.urls import url_of  # commands without URLs need none of this

                if url := url_of(value):
                    disk = settings.disk_cache if isinstance(settings, RunSettings) else None
                    folders[name] = _place(url)
                    copies.urls[str(folders[name])] = url
                    stack.enter_context(_copied(url, folders[name], option.url == "write", disk))
        if folders:
            stack.enter_context(_told(copies))
        kinds = {name: str if isinstance(getattr(settings, name), str) else Path for name in folders}
        yield replace(settings, **{name: kinds[name](folder) for name, folder in folders.items()}), copies


def _place(url: str) -> Path:
    from detection.storage.working_copy import place_of
    from detection.weights.pretrained import home

    return place_of(url, home() / "storage")


@contextmanager
def _copied(url: str, folder: Path, written: bool, disk: float | None) -> Iterator[None]:
    """Mount a URL within the block."""
    from detection.cache import SUFFIX
    from detection.storage.follower import Follower
    from detection.storage.lease import Lease
    from detection.storage.mounts import Mount, mounted
    from detection.storage.remote_folder import RemoteFolder
    from detection.storage.working_copy import WorkingCopy, refresh

    remote = RemoteFolder(url)
    if not written:
        mount = Mount(folder, remote)
        refresh(mount)
        with mounted(mount):
            yield
        return
    mount = Mount(folder, remote, SUFFIX, None if disk is None else disk * GB)
    follows = int(os.environ.get("RANK", 0)) > 0  # under torchrun the first process holds the folder
    copy = Follower(mount) if follows else WorkingCopy(mount, Lease(remote))
    with copy.held(), mounted(mount):
        yield


class _Naming(io.TextIOBase):
    """A text stream that names URLs in what is printed."""

    def __init__(self, stream: TextIO, copies: Copies) -> None:
        self._stream, self._copies = stream, copies

    def write(self, text: str) -> int:
        """Print a text."""
        self._stream.write(self._copies.named(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


@contextmanager
def _told(copies: Copies) -> Iterator[None]:
    """Name URLs in what is printed, logged and raised within the block."""

    def rename(record: logging.LogRecord) -> bool:
        record.msg, record.args = copies.named(record.getMessage()), ()
        return True

    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(rename)
    try:
        with redirect_stdout(_Naming(sys.stdout, copies)):
            yield
    except (OSError, ValueError, RuntimeError) as error:
        error.args = tuple(copies.named(a) if isinstance(a, str) else a for a in error.args)
        if isinstance(error, OSError) and isinstance(error.filename, str):
            error.filename = copies.named(error.filename)
        raise
    finally:
        for handler in handlers:
            handler.removeFilter(rename)
