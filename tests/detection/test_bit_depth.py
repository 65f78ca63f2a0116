"""Photos of 10, 12 and 14 bits in files of 16 have the pixels of their 8-bit versions."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from detection import bit_depth, image


@pytest.fixture
def photo():
    """A smooth picture without symmetry that reaches white, uint8 RGB (40, 60, 3)."""
    y, x = np.mgrid[:40, :60]
    return np.stack([x * 4, y * 6, 255 - x * 2 - y], axis=2).astype(np.uint8)


def write(path, values):
    """Write uint16 (H, W) or RGB (H, W, 3)."""
    if path.suffix in (".pgm", ".ppm"):
        return write_pnm(path, values, 65535)
    assert cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values)
    return path


def write_pnm(path, values, white):
    kind = b"P6" if values.ndim == 3 else b"P5"
    header = b"%s\n%d %d\n%d\n" % (kind, values.shape[1], values.shape[0], white)
    path.write_bytes(header + values.astype(">u2").tobytes())
    return path


def write_tiff(path, values, bits=16, orientation=1):
    """Write uint16 (H, W) or RGB (H, W, 3) without compression; with 12 bits, two values share three bytes."""
    data = values.astype("<u2").tobytes()
    if bits == 12:
        a, b = values.reshape(-1, 2).T.astype(int)
        data = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], axis=1).astype(np.uint8).tobytes()
    height, width, channels = (*values.shape, 1)[:3]
    short, where = 3, 8 + len(data)
    depth = (short, 3, where) if channels == 3 else (short, 1, bits)
    tags = {256: (short, 1, width), 257: (short, 1, height), 258: depth, 259: (short, 1, 1)}
    tags |= {262: (short, 1, 2 if channels == 3 else 1), 273: (4, 1, 8), 274: (short, 1, orientation)}
    tags |= {277: (short, 1, channels), 278: (short, 1, height), 279: (4, 1, len(data))}
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    header = b"II*\0" + struct.pack("<I", where + 6)
    path.write_bytes(header + data + struct.pack("<3H", bits, bits, bits) + directory)
    return path


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "ppm"])
def test_colours_of_fewer_bits_have_the_pixels_of_8_bits(tmp_path, photo, suffix, bits):
    path = write(tmp_path / f"a.{suffix}", photo.astype(np.uint16) << bits - 8)
    np.testing.assert_array_equal(image.read(path), photo)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "pgm"])
def test_grey_of_fewer_bits_has_the_pixels_of_8_bits(tmp_path, photo, suffix, bits):
    grey = photo[..., 2]
    path = write(tmp_path / f"a.{suffix}", grey.astype(np.uint16) << bits - 8)
    np.testing.assert_array_equal(image.read(path), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colours_of_16_bits_keep_the_upper_8(tmp_path, suffix):
    wide = np.random.default_rng(0).integers(0, 65536, (40, 60, 3), np.uint16)
    np.testing.assert_array_equal(image.read(write(tmp_path / f"a.{suffix}", wide)), wide >> 8)


def test_transparency_is_scaled_by_its_own_range(tmp_path, photo):
    wide = np.dstack([photo[..., ::-1].astype(np.uint16) << 4, np.full((40, 60), 65535, np.uint16)])
    cv2.imwrite(str(tmp_path / "a.png"), wide)
    np.testing.assert_array_equal(image.read(tmp_path / "a.png"), photo)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_of_12_bits_are_turned_as_those_of_8_bits(tmp_path, photo, orientation):
    wide = write_tiff(tmp_path / "wide.tif", photo.astype(np.uint16) << 4, orientation=orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(tmp_path / "narrow.png", exif=exif)
    for size in (None, (40, 60), (60, 40)[:: 1 if orientation > 4 else -1]):
        np.testing.assert_array_equal(image.read(wide, size), image.read(tmp_path / "narrow.png", size))


class TestDeclaredBits:
    """A file that declares its bits is scaled by these, however dark it is."""

    def test_of_a_tiff_file(self, tmp_path, photo):
        grey = photo[..., 0] // 8
        pixels = image.read(write_tiff(tmp_path / "a.tif", grey.astype(np.uint16) << 4, bits=12))
        np.testing.assert_array_equal(pixels[..., 0], grey)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_of_a_ppm_file(self, tmp_path, photo, channels):
        dark = (photo // 8)[..., :channels].squeeze()
        pixels = image.read(write_pnm(tmp_path / "a.pnm", dark.astype(np.uint16) << 4, white=4095))
        assert np.abs(pixels[..., :channels].squeeze().astype(int) - dark).max() <= 1

    def test_of_a_jpeg_2000_file(self, tmp_path):
        path = tmp_path / "a.j2k"
        Image.fromarray(np.zeros((8, 8), np.uint16)).save(path)
        data = bytearray(path.read_bytes())
        assert data[42] == 15  # bits of the values, less one
        for stated, expected in ((15, None), (11, 16)):
            data[42] = stated
            path.write_bytes(data)
            with path.open("rb") as file, Image.open(path) as picture:
                assert bit_depth.declared_bits(picture, file) == expected


class TestOtherNumbers:
    def test_floating_point_values_up_to_1_are_scaled(self, tmp_path, photo):
        Image.fromarray(photo[..., 0].astype(np.float32) / 255).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.read(tmp_path / "a.tif")[..., 0], photo[..., 0])

    @pytest.mark.parametrize("kind", [np.float32, np.int32])
    def test_whole_numbers_are_scaled_as_16_bits_are(self, tmp_path, photo, kind):
        Image.fromarray(photo[..., 2].astype(kind) * 16).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.read(tmp_path / "a.tif")[..., 0], photo[..., 2])

    @pytest.mark.parametrize("value", [-1, 300.5, 70000, np.nan, np.inf])
    def test_values_without_a_known_white_are_refused(self, tmp_path, value):
        Image.fromarray(np.full((3, 3), value, np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(ValueError, match=r"a\.tif: .*unknown range; save it with 8 or 16 bits"):
            image.read(tmp_path / "a.tif")

    def test_black_stays_black(self, tmp_path):
        assert image.read(write(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint16))).max() == 0


def test_one_line_tells_of_the_range(tmp_path, photo, caplog, monkeypatch):
    caplog.set_level("WARNING", "detection")  # earlier commands may have changed it
    monkeypatch.setattr(bit_depth, "_told", set())
    for name in ("a.png", "b.png"):
        image.read(write(tmp_path / name, photo.astype(np.uint16) << 4))
    assert len(caplog.messages) == 1
    assert "a.png: 16-bit file whose values use 12 bits" in caplog.text
    image.read(write(tmp_path / "c.png", photo.astype(np.uint16) << 8))
    assert len(caplog.messages) == 1
