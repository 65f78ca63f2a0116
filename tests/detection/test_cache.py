"""The feature cache: exact, keyed by its settings, atomic, safe with many processes."""

import errno
import json
import multiprocessing
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard

from detection import cache as module
from detection import map_file
from detection.cache import FeatureCache, check_space, clear, estimate
from detection.files import write_atomically

SETTINGS = {"network": "alexnet", "weights": "ab12", "scales": (480, 688), "preprocessing": {"mean": [0.5]}}


def random_maps(seed: int = 0) -> list[np.ndarray]:
    """Sparse maps of two scales, exact in half precision; the second in channels-last memory."""
    rng = np.random.default_rng(seed)
    first = np.maximum(rng.normal(-1, 1, (16, 5, 7)), 0).astype(np.float16).astype(np.float32)
    second = np.maximum(rng.normal(-1, 1, (9, 6, 16)), 0).astype(np.float16).astype(np.float32)
    return [first, second.transpose(2, 0, 1)]


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features", SETTINGS)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_maps_are_read_as_written_bit_for_bit(cache):
    cache.write("000001", random_maps(), {"image_size": [375, 500]})
    maps, meta = cache.read("000001")
    assert meta == {"image_size": [375, 500]}
    assert len(maps) == 2
    for got, expected in zip(maps, random_maps(), strict=True):
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, expected)


def test_maps_are_read_channels_last(cache):
    cache.write("a", random_maps())
    assert all(m.transpose(1, 2, 0).flags.c_contiguous for m in cache.read("a")[0])


def test_negative_values_minus_zero_and_dense_maps_are_kept(cache):
    dense = np.random.default_rng(1).normal(0, 1, (4, 3, 3)).astype(np.float16)
    dense[0, 0, 0] = -0.0
    cache.write("a", [dense])
    assert cache.read("a")[0][0].tobytes("C") == dense.tobytes("C")


@pytest.mark.parametrize("shapes", [[], [(4, 0, 3)], [(4, 1, 1), (4, 0, 0), (4, 2, 3)], [(3, 1, 5)]])
def test_empty_and_tiny_maps_are_kept(cache, shapes):
    cache.write("a", [np.ones(shape, np.float32) for shape in shapes])
    maps, _ = cache.read("a")
    assert [m.shape for m in maps] == shapes
    assert all((m == 1).all() for m in maps)


def test_sparse_maps_take_a_sixteenth_of_single_precision(cache):
    rng = np.random.default_rng(0)
    values = np.maximum(rng.normal(-1.34, 1, (60, 80, 256)), 0).astype(np.float32)  # 9 % non-zero
    cache.write("a", [values.transpose(2, 0, 1)])
    assert cache.path("a").stat().st_size < values.nbytes / 16


@pytest.mark.parametrize("bad", [65520.0, -1e6, np.inf, np.nan])
def test_values_beyond_half_precision_are_refused_and_write_nothing(cache, bad):
    maps = random_maps()
    maps[0][3, 2, 1] = bad
    with pytest.raises(ValueError, match=f"b.maps: expected .* 65504 .*, got {re.escape(f'{abs(bad):g}')}"):
        cache.write("b", maps)
    assert names(cache.root) == {"manifest.json"}


def test_the_largest_half_is_kept(cache):
    cache.write("a", [np.full((1, 1, 1), 65504.0, np.float32)])
    assert cache.read("a")[0][0] == 65504


def test_ids_and_membership_follow_the_files(cache):
    assert cache.ids() == []
    for image_id in ("000002", "a/b c", "..", "ünï", "x%2Fy"):
        assert image_id not in cache
        cache.write(image_id, random_maps())
        assert image_id in cache
    assert cache.ids() == sorted(["000002", "a/b c", "..", "ünï", "x%2Fy"])
    assert all(path.parent == cache.root for path in cache.root.rglob("*.maps"))


def test_an_empty_id_is_refused(cache):
    with pytest.raises(ValueError, match="expected an image id, got an empty one"):
        cache.write("", random_maps())


def test_maps_of_another_rank_are_refused(cache):
    with pytest.raises(ValueError, match=r"expected maps of shape \(C, h, w\), got \[\(3, 3\)\]"):
        cache.write("a", [np.zeros((3, 3), np.float32)])


def test_a_missing_image_is_an_error_that_names_the_command(cache):
    with pytest.raises(FileNotFoundError, match=r"7\.maps: no maps of image '7'.*run `sppnet stage extract-features`"):
        cache.read("7")


def test_every_flipped_bit_is_detected(cache):
    cache.write("a", [m[:2, :2, :2] for m in random_maps()])
    path = cache.path("a")
    good = path.read_bytes()
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :])
        with pytest.raises(ValueError, match=r"a\.maps: .*delete it and run `sppnet stage extract-features`"):
            cache.read("a")


@pytest.mark.parametrize("part", [0, 3, 22, 0.5, 0.999, 1.5])
def test_every_file_of_a_wrong_length_is_detected(cache, part):
    cache.write("a", random_maps())
    good = cache.path("a").read_bytes()
    size = part if isinstance(part, int) else int(part * len(good))
    cache.path("a").write_bytes((good + good)[:size])
    with pytest.raises(ValueError, match=r"a\.maps: .*delete it"):
        cache.read("a")


def forge(path: Path, change) -> None:
    """Change the header and frames of a file, with a right checksum."""
    data = path.read_bytes()
    _, _, length, _, _ = map_file._PREFIX.unpack_from(data)
    start = map_file._PREFIX.size
    header, body = change(json.loads(data[start : start + length]), data[start + length :])
    text = json.dumps(header).encode()
    crc = zlib.crc32(body, zlib.crc32(text))
    path.write_bytes(map_file._PREFIX.pack(b"SPPM", map_file.FORMAT, len(text), len(body), crc) + text + body)


def with_field(name, value):
    return lambda header, body: ({**header, name: value}, body)


def with_note(name, value):
    return lambda header, body: ({**header, "notes": {**header["notes"], name: value}}, body)


def bomb(header, body):
    frames = [zstandard.compress(bytes(10**6)) for _ in range(3)]
    return {**header, "frames": [len(f) for f in frames]}, b"".join(frames)


FORGED = {
    "no object": lambda header, body: ([], body),
    "no notes": lambda header, body: ({k: v for k, v in header.items() if k != "notes"}, body),
    "text for shapes": with_field("shapes", "big"),
    "two sides": with_field("shapes", [[16, 5], [16, 9]]),
    "other shapes": with_field("shapes", [[16, 5, 8], [16, 9, 6]]),
    "fewer shapes": with_field("shapes", [[16, 5, 7]]),
    "negative sides": with_field("shapes", [[16, -5, -7], [16, 9, 6]]),
    "huge sides": with_field("shapes", [[2**31, 2**31, 2**31]]),
    "two frames": with_field("frames", [10, 10]),
    "cut frames": with_field("frames", [10, 10, 10]),
    "long frames": with_field("frames", [10**6, 10**6, 10**6]),
    "no frames": lambda header, body: (header, bytes(len(body))),
    "frames that grow": bomb,
    "no key": with_note("key", None),
    "another id": with_note("id", ["a"]),
    "no meta": with_note("meta", None),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_file_with_a_right_checksum_but_other_contents_is_refused_by_name(cache, change):
    cache.write("a", random_maps())
    forge(cache.path("a"), lambda header, body: (header, body))
    assert len(cache.read("a")[0]) == 2
    forge(cache.path("a"), change)
    with pytest.raises(ValueError, match=r"a\.maps: .*delete it and run `sppnet stage extract-features`") as caught:
        cache.read("a")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_image_or_another_cache_is_refused(cache, tmp_path):
    cache.write("a", random_maps())
    cache.path("b").write_bytes(cache.path("a").read_bytes())
    with pytest.raises(ValueError, match=r"b\.maps: holds image 'a'"):
        cache.read("b")
    other = FeatureCache(tmp_path / "other", {**SETTINGS, "weights": "cd34"})
    other.path("a").write_bytes(cache.path("a").read_bytes())
    with pytest.raises(ValueError, match="of a cache with other settings"):
        other.read("a")


def test_a_folder_opens_again_with_the_same_settings_or_without(cache):
    cache.write("a", random_maps())
    for again in (FeatureCache(cache.root, dict(reversed(SETTINGS.items()))), FeatureCache(cache.root)):
        assert again.manifest == json.loads(json.dumps(SETTINGS))
        assert repr(again.manifest) == repr(cache.manifest)
        assert len(again.read("a")[0]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": (688,)}, r"scales = \[480, 688\], asked for \[688\]"),
        ({"weights": "cd34"}, "weights = ab12, asked for cd34"),
        ({"resize": "area"}, "resize = nothing, asked for area"),
        ({"preprocessing": {"mean": [0.4]}}, "preprocessing = .*0.5.*, asked for .*0.4"),
    ],
)
def test_other_settings_are_an_error_with_field_values_and_remedies(cache, change, message):
    with pytest.raises(ValueError, match=f"features: made with {message}.*another --run folder, or pass --overwrite"):
        FeatureCache(cache.root, {**SETTINGS, **change})


def test_a_missing_setting_is_an_error(cache):
    with pytest.raises(ValueError, match="network = alexnet, asked for nothing"):
        FeatureCache(cache.root, {k: v for k, v in SETTINGS.items() if k != "network"})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1, "settings": 3}'])
def test_a_damaged_manifest_is_an_error(cache, text):
    (cache.root / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json: damaged; delete the folder"):
        FeatureCache(cache.root, SETTINGS)


def test_a_cache_of_another_format_is_an_error(cache):
    (cache.root / "manifest.json").write_text('{"format": 99, "settings": {}}')
    with pytest.raises(ValueError, match="expected cache format 1, got 99"):
        FeatureCache(cache.root)


def test_opening_an_absent_folder_without_settings_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no feature cache; run `sppnet stage extract-features`"):
        FeatureCache(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("links", [True, False])
def test_the_first_of_two_processes_determines_the_settings(tmp_path, monkeypatch, links):
    if links:  # another process makes the manifest between the check and the link
        original = os.link

        def late(source, target):
            Path(target).write_text('{"format": 1, "settings": {"scales": 1}}')
            original(source, target)

        monkeypatch.setattr(os, "link", late)
        with pytest.raises(ValueError, match="scales = 1, asked for 2"):
            FeatureCache(tmp_path, {"scales": 2})
    else:

        def no_links(source, target):
            raise PermissionError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", no_links)
        FeatureCache(tmp_path, {"scales": 2})
    assert names(tmp_path) == {"manifest.json"}


def test_a_full_disk_keeps_the_old_file_and_leaves_no_temporary_one(cache, monkeypatch):
    cache.write("a", random_maps(0))
    before = cache.path("a").read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        OSError, match=r"No space left on device; the file was not written, make room.*a\.maps"
    ) as caught:
        cache.write("a", random_maps(1))
    assert caught.value.errno == errno.ENOSPC
    assert cache.path("a").read_bytes() == before
    assert names(cache.root) == {"manifest.json", "a.maps"}


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def chunks():
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", chunks())
    assert names(tmp_path) == set()


def test_writing_into_an_absent_folder_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the file was not written.*x\.bin"):
        write_atomically(tmp_path / "gone" / "x.bin", [b""])


def _write_and_read(root: Path, worker: int) -> None:
    cache = FeatureCache(root, SETTINGS)
    for round_ in range(10):
        cache.write("same", random_maps(worker * 100 + round_), {"by": [worker, round_]})
        maps, meta = cache.read("same")
        other, turn = meta["by"]
        for got, expected in zip(maps, random_maps(other * 100 + turn), strict=True):
            np.testing.assert_array_equal(got, expected)
        cache.write(f"{worker}-{round_}", random_maps(worker))


def test_many_processes_write_at_once_and_read_whole_files(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_and_read, args=(tmp_path, i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    cache = FeatureCache(tmp_path, SETTINGS)
    assert len(cache.ids()) == 31
    assert names(tmp_path) == {"manifest.json"} | {cache.path(i).name for i in cache.ids()}


def test_clear_deletes_the_cache_and_nothing_else(cache):
    cache.photos.write_text("{}")
    cache.write("a", random_maps())
    (cache.root / ".b.maps.12-ab.tmp").write_bytes(b"left by a killed process")
    (cache.root / "notes.txt").write_text("mine")
    clear(cache.root)
    assert names(cache.root) == {"notes.txt"}
    FeatureCache(cache.root, {"scales": 1})
    clear(cache.root / "never was")


def test_disk_space_is_measured_and_reported(cache):
    assert cache.bytes_per_image() == 0
    for image_id in "abc":
        cache.write(image_id, random_maps(ord(image_id)))
    sizes = [cache.path(i).stat().st_size for i in "abc"]
    assert cache.bytes_per_image() == pytest.approx(np.mean(sizes))
    assert estimate(0.8e6, 5011) == "5,011 images x 0.80 MB = 4.0 GB"


def test_too_little_disk_space_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda root: type("usage", (), {"free": 3_900_000_000}))
    check_space(tmp_path, 0.8e6, 4000)
    with pytest.raises(OSError, match=r"5,011 images x 0\.80 MB = 4\.0 GB needed, 3\.9 GB free") as caught:
        check_space(tmp_path, 0.8e6, 5011)
    assert caught.value.errno == errno.ENOSPC
