"""The formats that are read, and the headers of their files."""

import ast
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from data import photo_files
from data.files import image_size
from detection import image

ROOT = Path(__file__).parents[2]
OPENERS = {"Image.open", "PIL.Image.open", "cv2.imread", "cv2.imdecode"}
ENCODED_BY_PILLOW = {
    "JPEG": "JPEG", "PNG": "PNG", "BMP": "BMP", "TIFF": "TIFF", "WEBP": "WEBP", "AVIF": "AVIF", "GIF": "GIF",
    "JPEG2000": "JPEG2000", "PPM": "PPM", "QOI": "QOI", "SGI": "SGI", "PCX": "PCX", "TGA": "TGA", "MPO": "MPO",
}  # fmt: skip


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "suffix"), [(kind, s) for kind in ENCODED_BY_PILLOW for s in photo_files.FORMATS[kind]]
)
def test_every_suffix_is_read(tmp_path, kind, suffix):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"a{suffix.upper()}"
    path.write_bytes(encoded(kind))
    assert np.abs(image.read(path).astype(int) - (255, 0, 0)).max() <= 8


def test_formats_that_start_other_programs_are_not_read(tmp_path):
    for kind, suffix in (("EPS", "eps"), ("PDF", "pdf")):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(encoded(kind))
        with pytest.raises(photo_files.UnknownFormat, match="not an image that Pillow can decode"):
            image.read(path)
    assert not {".eps", ".pdf", ".ps"} & set(photo_files.SUFFIXES)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ""])
def test_a_program_for_a_printer_under_the_name_of_a_photo_starts_nothing(tmp_path, monkeypatch, suffix):
    started = []
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: started.append(a) or pytest.fail("a program is started"))
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *a, **k: started.append(a))
    path = tmp_path / f"a{suffix}"
    for content in (POSTSCRIPT, b"\xc5\xd0\xd3\xc6" + bytes(28) + POSTSCRIPT, b"%PDF-1.4\n"):
        path.write_bytes(content)
        with pytest.raises(photo_files.UnknownFormat, match="not an image that Pillow can decode"):
            image.read(path)
        with pytest.raises(photo_files.UnknownFormat):
            image_size(path)
    assert not started


def test_pictures_are_opened_in_one_place_with_the_formats_that_are_read():
    calls = [
        (str(path.relative_to(ROOT)), ast.unparse(node))
        for package in ("data", "proposals", "detection", "classification", "sppnet", "tools")
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in OPENERS
    ]
    assert calls == [
        ("data/photo_files.py", "Image.open(file, formats=formats())"),
        ("detection/bit_depth.py", "cv2.imdecode(np.frombuffer(content(file), np.uint8), cv2.IMREAD_UNCHANGED)"),
    ]  # the second one decodes what the first one has found to be a photo
    imported = [
        str(path.relative_to(ROOT))
        for package in ("data", "proposals", "detection", "classification", "sppnet", "tools")
        for path in sorted((ROOT / package).rglob("*.py"))
        if re.search(r"^\s*from PIL\.\w+ import .*\bopen\b|^\s*import PIL\.Image\b", path.read_text("utf-8"), re.M)
    ]
    assert not imported  # under another name it would not be found above


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def without_heif(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    photo_files.formats.cache_clear()
    yield
    photo_files.formats.cache_clear()


def test_heic_without_its_decoder_is_one_line_of_advice(tmp_path, without_heif):
    (tmp_path / "a.heic").write_bytes(HEIC + bytes(100))
    with pytest.raises(photo_files.MissingDecoder, match=r"a\.heic: .*pip install 'sppnet\[heif\]', or convert"):
        image.read(tmp_path / "a.heic")


def test_heic_is_read_upright_with_its_decoder(tmp_path):
    pytest.importorskip("pillow_heif")
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32] = 200
    exif = Image.Exif()
    exif[photo_files.ORIENTATION] = 6
    photo_files.formats()
    Image.fromarray(pixels).save(tmp_path / "a.heic", quality=-1, exif=exif.tobytes())
    upright = image.read(tmp_path / "a.heic")
    assert upright.shape == (96, 64, 3)
    assert upright[:, -8:].mean() > 150 > 50 > upright[:, :8].mean()
    with (tmp_path / "a.heic").open("rb") as file:
        assert photo_files.open_photo(file, "a").upright == (96, 64)


PICTURE = np.stack(np.broadcast_arrays(np.arange(30) * 8, np.arange(20)[:, None] * 12, 9), axis=2).astype(np.uint8)
UPRIGHT = {
    1: PICTURE,
    2: PICTURE[:, ::-1],
    3: PICTURE[::-1, ::-1],
    4: PICTURE[::-1],
    5: PICTURE.transpose(1, 0, 2),
    6: PICTURE[::-1].transpose(1, 0, 2),
    7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
    8: PICTURE[:, ::-1].transpose(1, 0, 2),
}
TURNED_FORMATS = {
    "tif": {}, "tiff": {"compression": "tiff_lzw"}, "png": {}, "webp": {"lossless": True},
    "jpg": {"quality": 100, "subsampling": 0},
}  # fmt: skip


@pytest.mark.parametrize("suffix", TURNED_FORMATS)
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_header_and_pixels_agree_on_the_orientation(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[photo_files.ORIENTATION] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PICTURE).save(path, exif=exif, **TURNED_FORMATS[suffix])
    with path.open("rb") as file:
        photo = photo_files.open_photo(file, "a")
        assert (photo.stored, photo.upright) == ((20, 30), UPRIGHT[orientation].shape[:2])
    for size in (None, photo.upright):
        assert np.abs(image.read(path, size).astype(int) - UPRIGHT[orientation]).max() <= 4
    if orientation > 4:
        assert np.abs(image.read(path, photo.stored).astype(int) - PICTURE).max() <= 4
