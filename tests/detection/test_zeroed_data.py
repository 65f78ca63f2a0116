"""Zeros in place of compressed pixels are noticed, and nothing else is taken for them."""

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageFile

from detection import image
from detection.zeroed_data import LEAST, zeroed_jpeg

BASELINE = {
    "quality 75": {"quality": 75},
    "quality 100": {"quality": 100, "subsampling": 0},
    "restarts": {"quality": 80, "restart_marker_rows": 1},
    "own tables": {"quality": 95, "optimize": True},
}


def textured(side=600):
    """A picture of smooth noise, like a photo."""
    noise = np.random.default_rng(0).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def zeroed(data, start, count=2 * LEAST):
    return data[:start] + bytes(count) + data[start + count :]


@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("options", BASELINE.values(), ids=BASELINE)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_zeroed_block_of_a_jpeg_file_is_named_with_its_place(tmp_path, options, place, mode):
    data = encoded(textured().convert(mode), "jpeg", **options)
    start = int(place * len(data))
    (tmp_path / "a.jpg").write_bytes(data)
    assert image.read(tmp_path / "a.jpg").shape == (600, 600, 3)
    (tmp_path / "a.jpg").write_bytes(zeroed(data, start))
    with pytest.raises(
        ValueError, match=r"a\.jpg: damaged image \(zeros in place of pixels from byte \d+ on\)"
    ) as caught:
        image.read(tmp_path / "a.jpg")
    assert start - 4 <= int(re.search(r"from byte (\d+)", str(caught.value))[1]) <= start


def test_the_rest_of_a_file_that_was_not_downloaded_is_noticed_whatever_its_tables(tmp_path):
    for options in ({}, {"optimize": True, "quality": 10}, {"progressive": True}):
        data = encoded(textured(900), "jpeg", **options)
        assert zeroed_jpeg(data[: len(data) // 2] + bytes(len(data) - len(data) // 2)) is not None


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("colour", ["white", "black", "grey", "red"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("jpeg", {}),
        ("jpeg", {"optimize": True}),
        ("jpeg", {"progressive": True}),
        ("jpeg", {"quality": 5, "optimize": True}),
        ("jpeg", {"quality": 5, "progressive": True}),
        ("webp", {}),
        ("webp", {"quality": 0}),
    ],
)
def test_plain_pages_are_sound(tmp_path, monkeypatch, kind, options, colour, mode):
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**24)  # of Pillow's encoder
    page = Image.new("RGB", (3000, 2000), colour)
    page.paste(textured(200), (100, 100))
    (tmp_path / "page").write_bytes(encoded(page.convert(mode), kind, **options))
    assert image.read(tmp_path / "page").shape == (2000, 3000, 3)


def test_zeros_in_metadata_and_after_the_end_are_sound():
    block = bytes(3 * LEAST)
    data = encoded(textured(), "jpeg", exif=b"Exif\0\0" + block, icc_profile=block)
    assert block in data
    assert zeroed_jpeg(data) is None
    assert zeroed_jpeg(encoded(textured(), "jpeg") + block) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xda", b"\xff\xda\0\x03\x09", b"\xff\xc4\0"])
def test_torn_files_are_no_error_here(data):
    zeroed_jpeg(data)
    zeroed_jpeg(data + bytes(2 * LEAST))


def test_photos_are_sound(shared):
    photos = sorted((shared / "voc2007").rglob("*.jpg"))[:300]
    assert photos
    assert not [path for path in photos if zeroed_jpeg(path.read_bytes()) is not None]
