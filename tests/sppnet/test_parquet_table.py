"""Parquet files are whole, flat in memory, and keep what an interruption found finished."""

import os
import resource
import signal
import sys

import numpy as np
import pytest

from sppnet import parquet_table
from sppnet.output_files import is_own
from sppnet.parquet_table import ParquetTable
from tests.commands import detect

pytest.importorskip("pyarrow", reason="needs pyarrow; install the extra parquet")
COLUMNS = {"file": "string", "frame": "int32", "score": "float32"}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(parquet_table, "ROWS", 10)


def rows(count):
    return [(f"{i}.jpg", i, None if i % 3 else i / 7) for i in range(count)]


def read(path):
    import pandas

    return pandas.read_parquet(path)


def test_rows_come_back_in_groups_with_their_types_and_missing_values(tmp_path):
    from pyarrow.parquet import ParquetFile

    table = ParquetTable(tmp_path / "new" / "t.parquet", COLUMNS)
    for row in rows(25):
        table.append([row])
    assert not table.path.exists()
    table.close()
    frame = read(table.path)
    assert list(frame["file"]) == [f"{i}.jpg" for i in range(25)]
    assert (frame["frame"].dtype, frame["score"].dtype) == (np.int32, np.float32)
    assert frame["score"].isna().tolist() == [bool(i % 3) for i in range(25)]
    assert frame["score"][21] == np.float32(3)
    assert [ParquetFile(table.path).metadata.row_group(i).num_rows for i in range(3)] == [10, 10, 5]
    assert is_own(table.path)
    assert list(table.path.parent.iterdir()) == [table.path]


def test_a_table_without_rows_has_its_columns(tmp_path):
    table = ParquetTable(tmp_path / "t.parquet", COLUMNS)
    table.close()
    assert not table.path.exists()  # nothing was appended, not even no rows
    table.append()
    table.close()
    assert list(read(table.path).columns) == list(COLUMNS)
    assert len(read(table.path)) == 0


def test_a_file_of_other_origin_is_not_replaced(tmp_path):
    table = ParquetTable(tmp_path / "t.parquet", COLUMNS)
    table.append(rows(3))
    table.path.write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match="exists and is not from sppnet"):
        table.close()
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == {table.path: b"somebody's"}


def test_a_full_disk_is_one_line_and_leaves_the_earlier_table(tmp_path):
    earlier = ParquetTable(tmp_path / "t.parquet", COLUMNS)
    earlier.append(rows(3))
    earlier.close()
    table, before = ParquetTable(tmp_path / "t.parquet", COLUMNS), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large; the file was not written, make room") as caught:
            table.append((os.urandom(300).hex(), 0, 0.0) for _ in range(10))
        table.close(finished=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(table.path)
    assert len(read(table.path)) == 3
    assert list(tmp_path.iterdir()) == [table.path]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_takes_effect_between_calls(sign, tmp_path):
    def stop(number, frame):
        raise KeyboardInterrupt

    def given():
        yield from rows(12)
        os.kill(os.getpid(), sign)
        yield from rows(25)[12:]

    before, table = signal.signal(sign, stop), ParquetTable(tmp_path / "t.parquet", COLUMNS)
    try:
        with pytest.raises(KeyboardInterrupt):
            table.append(given())
        assert signal.getsignal(sign) is stop
    finally:
        signal.signal(sign, before)
    table.close(finished=False)
    assert list(read(table.path)["file"]) == [f"{i}.jpg" for i in range(25)]
    from pyarrow.parquet import ParquetFile

    assert ParquetFile(table.path).metadata.metadata[b"unfinished"] == b"true"


def test_without_pyarrow_one_line_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert detect([tmp_path, "--parquet", tmp_path / "t.parquet"]) == 1
    assert capsys.readouterr().err == (
        "error: Parquet needs pyarrow, which is not installed; run: pip install 'sppnet[parquet]'\n"
    )
