"""Parquet files that are written in row groups and appear whole."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from detection.files import MARK
from detection.temporary import remove_leftovers, temporary_path
from sppnet import interrupts
from sppnet.output_files import check_name

ROWS = 1 << 16  # of a row group; fewer are held in memory until they are written


def require_pyarrow() -> None:
    """Check that Parquet files can be written.

    Raises:
        RuntimeError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise RuntimeError("Parquet needs pyarrow, which is not installed; run: pip install 'sppnet[parquet]'")


class ParquetTable:
    """A Parquet file of any number of rows, in flat memory.

    The rows go into a temporary file beside it, which gets the name of the table in `close`, in place of an earlier
    file of sppnet. Its metadata name sppnet, see `output_files.is_own`. Ctrl-C and SIGTERM take effect between calls.

    Args:
        path: the file; its folder is made if absent.
        columns: name -> type of every column, in pyarrow's words, for example "string" or "float32".
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self.path, self._columns = path, columns
        self._rows: list[Sequence[object]] = []  # not yet written
        self._temporary: Path | None = None  # None: no row has come, or the table is closed
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def append(self, rows: Iterable[Sequence[object]] = ()) -> None:
        """Append rows, each with one value per column; None is a missing value.

        Raises:
            OSError: they cannot be written; the table is given up, and nothing of it is left behind.
        """
        with interrupts.held(), self._or_nothing():
            self._begin()
            self._rows.extend(rows)
            if len(self._rows) >= ROWS:
                self._write()

    def close(self, finished: bool = True) -> None:
        """Write what is left and give the file its name; nothing happens if nothing was appended, or at a second call.

        Args:
            finished: False: note in the metadata that rows are missing, as "unfinished": "true".

        Raises:
            FileExistsError: there is a file that is not from sppnet.
            OSError: it cannot be written; nothing of it is left behind.
        """
        if self._temporary is None:
            return
        with interrupts.held(), self._or_nothing():
            if self._rows:
                self._write()
            self._writer.add_key_value_metadata({"sppnet": MARK, **({} if finished else {"unfinished": "true"})})
            self._writer.close()
            self._file.close()  # type: ignore[union-attr]
            check_name(self.path)
            os.replace(self._temporary, self.path)
            self._temporary = None

    def _begin(self) -> None:
        """Open the temporary file, unless it is open."""
        if self._temporary is not None:
            return
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path.parent)
        self._temporary = temporary_path(self.path)
        self._file = self._temporary.open("xb")
        self._schema = pyarrow.schema(list(self._columns.items()))
        self._writer = ParquetWriter(self._file, self._schema, compression="zstd")

    def _write(self) -> None:
        """Write the rows that are held as one row group."""
        import pyarrow

        columns = zip(*self._rows, strict=True)
        arrays = [pyarrow.array(c, field.type) for c, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))
        self._rows.clear()

    @contextlib.contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Give the table up at an exception, and name the file if it is the operating system's."""
        try:
            yield
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError) and not isinstance(error, FileExistsError):
                reason = f"{error.strerror or error}; the file was not written, make room or choose another folder"
                raise OSError(error.errno, reason, str(self.path)) from error
            raise

    def _discard(self) -> None:
        """Delete the temporary file."""
        temporary, self._temporary = self._temporary, None
        self._rows.clear()
        for part in (self._writer, self._file):
            if part is not None:
                with contextlib.suppress(OSError, ValueError):  # what it still holds may not fit on the disk
                    part.close()
        if temporary:
            with contextlib.suppress(OSError):
                temporary.unlink()
