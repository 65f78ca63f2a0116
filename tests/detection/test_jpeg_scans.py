"""Scans of JPEG files are counted as libjpeg finds them."""

import io

import numpy as np
import pytest
from PIL import Image

from detection.jpeg_scans import count_scans
from tests.jpegs import of_many_scans

SCAN = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
END = b"\xff\xd9"


def encoded(kind="jpeg", **options):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_baseline_photo_has_one_scan_and_a_progressive_one_ten():
    assert count_scans(encoded(quality=95)) == 1
    assert count_scans(encoded(quality=95, restart_marker_blocks=1)) == 1
    assert count_scans(encoded(quality=95, progressive=True)) == 10


def test_scans_that_cost_nearly_no_bytes_are_counted():
    data = of_many_scans(2000, 2000, more=5000)
    assert len(data) < 700_000
    assert count_scans(data) == 5010


def test_markers_in_metadata_and_after_the_end_do_not_count():
    assert count_scans(encoded(comment=SCAN * 9, exif=b"Exif\0\0" + SCAN * 9)) == 1
    assert count_scans(encoded("mpo", save_all=True, append_images=[Image.new("RGB", (30, 20))] * 3)) == 1
    assert count_scans(encoded() + SCAN * 9) == 1


@pytest.mark.parametrize(
    "between",
    [
        b"",
        b"\xff\0",
        b"\xff\xff\xff",
        b"\xff\xd0",
        b"\xff\x01",
        b"\xff\x02",
        b"\xff\xd8",
        b"\xff\xff\0",
        b"\xff\xfe\0\0",
    ],
)
def test_bytes_between_scans_hide_none_of_them(between):
    assert count_scans(b"\xff\xd8" + (SCAN + b"data" + between) * 3 + END + SCAN) == 3


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xe1\xff"])
def test_a_torn_file_has_no_scan(data):
    assert count_scans(data) == 0
