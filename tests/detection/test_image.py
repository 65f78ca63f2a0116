import io
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from detection import image
from detection.image import Preprocessing
from tests.jpegs import of_many_scans

ORIENTATION = 0x0112
RED, WHITE = (255, 0, 0), (255, 255, 255)


@pytest.fixture
def photo():
    """A smooth picture without symmetry, uint8 RGB (20, 30, 3)."""
    y, x = np.mgrid[:20, :30]
    return np.stack([x * 8, y * 12, 255 - x * 4 - y * 2], axis=2).astype(np.uint8)


def save(path, pixels, orientation=None, **options):
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    picture.save(path, **options)
    return path


class TestModes:
    def test_rgb_pixels_are_read_exactly(self, tmp_path, photo):
        pixels = image.read(save(tmp_path / "a.png", photo))
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable
        np.testing.assert_array_equal(pixels, photo)

    def test_grey_is_replicated(self, tmp_path, photo):
        pixels = image.read(save(tmp_path / "a.png", photo[..., 0]))
        np.testing.assert_array_equal(pixels, np.repeat(photo[..., :1], 3, axis=2))

    def test_black_and_white_reaches_0_and_255(self, tmp_path):
        picture = Image.fromarray(np.eye(8, dtype=np.uint8) * 255).convert("1")
        np.testing.assert_array_equal(image.read(save(tmp_path / "a.png", picture))[..., 1], np.eye(8) * 255)

    def test_palette_images_become_rgb(self, tmp_path):
        picture = Image.new("P", (4, 3), 7)
        picture.putpalette([0] * 21 + list(RED))
        assert (image.read(save(tmp_path / "a.png", picture)) == RED).all()

    def test_cmyk_jpeg_becomes_rgb(self, tmp_path):
        picture = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan is red
        pixels = image.read(save(tmp_path / "a.jpg", picture, quality=100))
        assert np.abs(pixels.astype(int) - RED).max() <= 3

    @pytest.mark.parametrize(("mode", "ink"), [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))])
    def test_transparent_pixels_become_white(self, tmp_path, mode, ink):
        assert (image.read(save(tmp_path / "a.png", Image.new(mode, (4, 3), ink))) == WHITE).all()

    def test_half_transparent_red_becomes_pink(self, tmp_path):
        pixels = image.read(save(tmp_path / "a.png", Image.new("RGBA", (4, 3), (*RED, 128))))
        assert np.abs(pixels.astype(int) - (255, 127, 127)).max() <= 1

    def test_a_transparent_palette_entry_becomes_white(self, tmp_path):
        picture = Image.new("P", (4, 3), 0)
        picture.putpalette(list(RED))
        assert (image.read(save(tmp_path / "a.gif", picture, transparency=0)) == WHITE).all()

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_16_bit_grey_keeps_the_upper_8(self, tmp_path, suffix):
        wide = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)
        pixels = image.read(save(tmp_path / f"a.{suffix}", wide))
        np.testing.assert_array_equal(pixels[..., 0], [[0, 0, 1], [128, 254, 255]])

    def test_16_bit_colour_keeps_the_upper_8(self, tmp_path):
        wide = np.zeros((2, 2, 3), np.uint16)
        wide[..., 2] = 0x80FF  # red, OpenCV writes BGR
        cv2.imwrite(str(tmp_path / "a.png"), wide)
        assert (image.read(tmp_path / "a.png") == (0x80, 0, 0)).all()

    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    def test_pixels_of_unknown_range_are_refused(self, tmp_path, dtype):
        path = save(tmp_path / "a.tif", np.full((3, 3), 70000, dtype))
        with pytest.raises(ValueError, match=r"a\.tif.*unknown range; save it with 8 or 16 bits"):
            image.read(path)

    def test_the_first_frame_of_an_animation_is_read(self, tmp_path):
        frames = [Image.new("RGB", (4, 4), c) for c in (RED, (0, 0, 255))]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        assert (image.read(tmp_path / "a.gif") == RED).all()

    def test_pillow_images_of_unknown_range_are_refused(self):
        with pytest.raises(ValueError, match="unknown range"):
            image.pixels_of(Image.new("F", (3, 3), 300.5))

    def test_one_pixel_works(self, tmp_path):
        assert image.read(save(tmp_path / "a.png", np.full((1, 1, 3), 9, np.uint8)), (1, 1)).tolist() == [[[9, 9, 9]]]


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_without_an_annotation_the_orientation_is_applied(self, tmp_path, photo, orientation):
        upright = {
            1: photo,
            2: photo[:, ::-1],
            3: photo[::-1, ::-1],
            4: photo[::-1],
            5: photo.transpose(1, 0, 2),
            6: photo[::-1].transpose(1, 0, 2),
            7: photo[::-1, ::-1].transpose(1, 0, 2),
            8: photo[:, ::-1].transpose(1, 0, 2),
        }[orientation]
        np.testing.assert_array_equal(image.read(save(tmp_path / "a.png", photo, orientation)), upright)

    def test_an_annotation_with_the_stored_size_keeps_the_picture_as_stored(self, tmp_path, photo):
        path = save(tmp_path / "a.png", photo, 6)
        np.testing.assert_array_equal(image.read(path, (20, 30)), photo)

    def test_an_annotation_with_the_turned_size_turns_the_picture(self, tmp_path, photo):
        path = save(tmp_path / "a.png", photo, 6)
        np.testing.assert_array_equal(image.read(path, (30, 20)), photo[::-1].transpose(1, 0, 2))

    def test_a_picture_whose_size_fits_both_ways_is_turned_as_viewers_do(self, tmp_path, photo):
        path = save(tmp_path / "a.png", photo, 3)
        np.testing.assert_array_equal(image.read(path, (20, 30)), photo[::-1, ::-1])

    def test_jpeg_orientation_is_read(self, tmp_path, photo):
        assert image.read(save(tmp_path / "a.jpg", photo, 8)).shape == (30, 20, 3)

    @pytest.mark.parametrize("orientation", [0, 9, 1000])
    def test_unknown_orientations_are_ignored(self, tmp_path, photo, orientation):
        np.testing.assert_array_equal(image.read(save(tmp_path / "a.png", photo, orientation)), photo)

    def test_damaged_metadata_is_ignored(self, tmp_path, photo):
        path = save(tmp_path / "a.jpg", photo, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
        assert image.read(path).shape == photo.shape

    @pytest.mark.parametrize("orientation", [None, 6])
    def test_an_annotation_with_another_size_is_refused_with_file_and_sizes(self, tmp_path, photo, orientation):
        path = save(tmp_path / "a.png", photo, orientation)
        with pytest.raises(ValueError, match=r"a\.png: the image is 30 x 20 pixels, its annotation says 40 x 20"):
            image.read(path, (20, 40))

    def test_a_swapped_size_without_an_orientation_is_refused(self, tmp_path, photo):
        with pytest.raises(ValueError, match="annotation says 20 x 30"):
            image.read(save(tmp_path / "a.png", photo), (30, 20))


class TestBadFiles:
    def check(self, path, match):
        with pytest.raises(ValueError, match=match) as caught:
            image.read(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
    def test_a_truncated_file_is_refused_instead_of_filled_with_grey(self, tmp_path, suffix, share):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        path = save(tmp_path / f"a.{suffix}", noise)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        self.check(path, "damaged|not an image")

    @pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
    def test_a_png_file_with_damage_in_the_middle_is_refused(self, tmp_path, place):
        path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
        data = bytearray(path.read_bytes())
        start = int(place * len(data))
        data[start : start + 500] = bytes(500)
        path.write_bytes(data)
        self.check(path, "damaged")

    def test_an_empty_file_is_refused(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_bytes(b"")
        self.check(path, "empty")

    def test_text_is_refused(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_text("<html>404</html>")
        self.check(path, "not an image")

    def test_a_missing_file_is_a_file_not_found(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
            image.read(tmp_path / "nowhere.jpg")

    def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(self, tmp_path):
        buffer = io.BytesIO()
        Image.new("1", (1, 1)).save(buffer, "bmp")
        data = bytearray(buffer.getvalue())
        for at, side in ((18, 17_000), (22, 10_500)):  # width, height: 178.5 million pixels, which Pillow accepts
            data[at : at + 4] = side.to_bytes(4, "little")
        path = tmp_path / "a.bmp"
        path.write_bytes(bytes(data))
        self.check(path, "17000 x 10500 pixels, at most 178,000,000")

    def test_more_pixels_than_pillow_accepts_are_refused(self, tmp_path):
        buffer = io.BytesIO()
        Image.new("1", (1, 1)).save(buffer, "bmp")
        data = bytearray(buffer.getvalue())
        for at in (18, 22):
            data[at : at + 4] = (60_000).to_bytes(4, "little")
        path = tmp_path / "a.bmp"
        path.write_bytes(bytes(data))
        self.check(path, "limit")

    def test_a_jpeg_of_very_many_scans_is_refused_before_decoding(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_bytes(of_many_scans(2000, 2000, more=991))
        self.check(path, r"JPEG of 2000 x 2000 pixels in 1,001 scans, of this size at most 1000 are supported")

    @pytest.mark.parametrize("kind", ["jpeg", "mpo"])
    def test_the_largest_number_of_scans_is_decoded_and_one_more_is_not(self, tmp_path, photo, kind, monkeypatch):
        path = tmp_path / "a.jpg"
        frames = {"save_all": True, "append_images": [Image.fromarray(photo)]} if kind == "mpo" else {}
        Image.fromarray(photo).save(path, kind, progressive=True, **frames)
        monkeypatch.setattr(image, "MAX_SCANNED_PIXELS", 20 * 30 * 10)
        assert image.read(path).shape == (20, 30, 3)
        monkeypatch.setattr(image, "MAX_SCANNED_PIXELS", 20 * 30 * 10 - 1)
        self.check(path, "in 10 scans, of this size at most 9 are supported")

    def test_photos_of_every_size_may_have_as_many_scans_as_optimising_encoders_write(self):
        assert image.MAX_SCANNED_PIXELS >= 18 * image.MAX_PIXELS

    @pytest.mark.slow
    def test_a_108_megapixel_photo_is_read_without_a_warning(self, tmp_path):
        path = save(tmp_path / "a.png", Image.new("1", (12_000, 9_000), 1))
        pixels = image.read(path, (9_000, 12_000))  # warnings are errors here
        assert pixels.shape == (9_000, 12_000, 3)
        assert pixels[-1, -1].tolist() == [255, 255, 255]


class TestAsRGB:
    def test_rgb_passes_through(self, photo):
        assert image.as_rgb(photo) is photo

    @pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1)])
    def test_grey_is_replicated(self, photo, shape):
        grey = photo[..., 0].reshape(shape)
        np.testing.assert_array_equal(image.as_rgb(grey), np.repeat(photo[..., :1], 3, axis=2))

    def test_views_become_contiguous(self, photo):
        flipped = image.as_rgb(photo[:, ::-1])
        assert flipped.flags.c_contiguous
        np.testing.assert_array_equal(flipped, photo[:, ::-1])

    @pytest.mark.parametrize(
        ("array", "advice"),
        [
            (np.zeros((4, 4, 3), np.float32), r"float32; scale it to 0\.\.255"),
            (np.zeros((4, 4, 3), np.uint16), "image >> 8"),
            (np.zeros((4, 4, 3), np.int64), "int64; scale"),
            (np.zeros((4, 4), np.bool_), r"\* 255"),
            (np.zeros((4, 4, 4), np.uint8), r"image\[\.\.\., :3\]"),
            (np.zeros((3, 8, 9), np.uint8), r"transpose\(1, 2, 0\)"),
            (np.zeros((1, 8, 9, 3), np.uint8), "one image at a time"),
            (np.zeros(4, np.uint8), r"got \(4,\)"),
            (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
            (None, "got None; cv2.imread"),
            (np.zeros((1, 8, 9), np.uint8), r"transpose\(1, 2, 0\)"),
            (["a.jpg", "b.jpg"], "one file at a time"),
            (b"\xff\xd8", "decode it first"),
        ],
    )
    def test_other_arrays_are_refused_with_advice(self, array, advice):
        with pytest.raises(ValueError, match=advice):
            image.as_rgb(array)


class TestResize:
    @pytest.mark.parametrize(
        ("size", "short_side", "expected"),
        [  # sizes from the released program's examples, and ceilings that floats get wrong
            ((500, 353), 480, (680, 480)),
            ((375, 500), 480, (480, 640)),
            ((375, 500), 1200, (1200, 1600)),
            ((375, 500), 688, (688, 918)),
            ((1, 1), 7, (7, 7)),
            ((49, 49), 688, (688, 688)),
            ((1, 3), 5, (5, 15)),
        ],
    )
    def test_the_long_side_is_rounded_up(self, size, short_side, expected):
        assert image.resized_size(size, short_side) == expected
        assert image.resize_short_side(np.zeros((*size, 3), np.uint8), short_side).shape == (*expected, 3)

    def test_sizes_are_exact_for_every_multiple(self):
        for short in range(1, 400):
            assert image.resized_size((short, 3 * short), 688) == (688, 3 * 688)

    def test_the_same_size_keeps_the_pixels(self, photo):
        np.testing.assert_array_equal(image.resize_short_side(photo, 20), photo)

    def test_values_are_bilinear_between_pixel_centres_and_rounded(self, photo):
        resized = image.resize_short_side(photo, 35)
        height, width = resized.shape[:2]
        y = np.clip((np.arange(height) + 0.5) * 20 / height - 0.5, 0, 19)
        x = np.clip((np.arange(width) + 0.5) * 30 / width - 0.5, 0, 29)
        y0, x0 = np.minimum(y.astype(int), 18), np.minimum(x.astype(int), 28)
        fy, fx = (y - y0)[:, None, None], (x - x0)[None, :, None]
        p = photo.astype(float)
        rows = p[y0] * (1 - fy) + p[y0 + 1] * fy
        expected = rows[:, x0] * (1 - fx) + rows[:, x0 + 1] * fx
        assert resized.dtype == np.uint8
        assert np.abs(resized - expected).max() <= 1

    def test_shrinking_does_not_antialias(self):
        stripes = np.zeros((4, 64, 3), np.uint8)
        stripes[:, ::8] = 255  # between the sampled pixels, so that they disappear
        assert image.resize_short_side(stripes, 1).max() == 0

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((800, 100), 688), ((100, 800), 688), ((100, 801), 687), ((200, 6000), 355), ((1, 9000), 20)],
    )
    def test_elongated_images_have_the_area_of_one_eight_times_as_long_as_wide(self, size, expected):
        assert image.short_side_for(size, 688) == expected
        height, width = image.resized_size(size, expected)
        assert height * width <= 8 * 688 * 688 + max(height, width)

    @pytest.mark.parametrize(
        ("size", "short_side", "expected"), [((2, 500), 64, 64), ((1, 800), 688, 68), ((1, 900), 688, 64)]
    )
    def test_elongated_images_keep_the_pixels_that_networks_need(self, size, short_side, expected):
        assert image.short_side_for(size, short_side) == expected

    def test_a_result_with_too_many_pixels_is_refused(self):
        with pytest.raises(ValueError, match="10000 x 1 pixels at a short side of 480"):
            image.resize_short_side(np.zeros((1, 10_000, 3), np.uint8), 480)

    def test_a_short_side_of_zero_is_refused(self, photo):
        with pytest.raises(ValueError, match="short_side"):
            image.resize_short_side(photo, 0)


class TestPreprocessing:
    def test_imagenet_statistics_are_applied_to_rgb(self, photo):
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        result = Preprocessing(mean, std, 1 / 255)(photo)
        expected = (photo.astype(np.float64) / 255 - mean) / std
        assert tuple(result.shape) == (3, 20, 30)
        assert result.numpy().dtype == np.float32
        np.testing.assert_allclose(result.numpy(), expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-7)

    def test_bgr_swaps_the_channels_before_the_mean_is_subtracted(self, photo):
        result = Preprocessing((1.0, 2.0, 128.0), bgr=True)(photo).numpy()
        wide = photo.astype(np.float32)
        np.testing.assert_array_equal(result, np.stack([wide[..., 2] - 1, wide[..., 1] - 2, wide[..., 0] - 128]))

    def test_the_image_is_not_changed(self, photo):
        before = photo.copy()
        Preprocessing((128.0,) * 3, bgr=True)(photo)
        np.testing.assert_array_equal(photo, before)

    def test_memory_is_channels_last(self, photo):
        assert Preprocessing((0.0,) * 3)(photo).stride() == (1, 90, 3)

    @pytest.mark.parametrize("bad", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)])
    def test_other_arrays_are_refused(self, bad):
        with pytest.raises(ValueError, match="expected uint8"):
            Preprocessing((0.0,) * 3)(bad)


def test_importing_does_not_import_torch():
    code = "import sys, detection.image; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_voc_photos_have_their_annotated_size(shared):
    from data import voc

    for record in list(voc.load(shared / "voc2007" / "VOCdevkit2007", "2007", "mini_test"))[:5]:
        assert image.read(record.path, record.size).shape == (*record.size, 3)
