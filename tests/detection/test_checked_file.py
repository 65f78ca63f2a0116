"""Files that end in a checksum."""

import pytest

from detection.checked_file import read_checked, write_checked


@pytest.mark.parametrize("data", [b"", b"x", b"\nsha256 " * 99, bytes(range(256)) * 9])
def test_what_was_written_is_read(tmp_path, data):
    write_checked(tmp_path / "a", data)
    assert read_checked(tmp_path / "a") == data


def test_every_damaged_byte_is_noticed(tmp_path):
    write_checked(tmp_path / "a", b"some numbers")
    whole = (tmp_path / "a").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises(ValueError, match="checksum"):
            read_checked(tmp_path / "a")


@pytest.mark.parametrize("kept", [0, 1, 30, 80, -1])
def test_torn_files_and_files_of_earlier_versions_have_no_checksum(tmp_path, kept):
    write_checked(tmp_path / "a", b"some numbers" * 9)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:kept])
    with pytest.raises(ValueError, match="no checksum: torn, or from an earlier version"):
        read_checked(tmp_path / "a")
