import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.records import ImageRecord
from proposals import batch, selective_search
from proposals.batch import compute, search_file
from proposals.io import load
from proposals.sources import ProposalSettings

ROOT = Path(__file__).parents[2]
SETTINGS = ProposalSettings(source="ss-single", min_side=10, seed=3, max_side=60)


@pytest.fixture
def records(tmp_path) -> list[ImageRecord]:
    """Five small images, written as PNG."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(5):
        pixels = np.kron(rng.integers(0, 256, (4, 5 + i, 3)), np.ones((12, 12, 1), int)).astype(np.uint8)
        made.append(_record(tmp_path / "images" / f"im{i}.png", pixels))
    return made


def _record(path: Path, pixels: np.ndarray) -> ImageRecord:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    nothing = np.empty((0, 4), np.float32)
    return ImageRecord(path.stem, path, pixels.shape[:2], nothing, np.empty(0, np.int64), np.empty(0, bool))


@pytest.fixture
def searched(monkeypatch) -> list[str]:
    """Collects the names of the images searched in this process."""
    names = []

    def spy(path, settings, size=None):
        names.append(Path(path).stem)
        return search_file(path, settings, size)

    monkeypatch.setattr(batch, "search_file", spy)
    return names


def test_the_file_holds_the_boxes_of_every_image_and_the_settings(records, tmp_path):
    output = tmp_path / "run" / "boxes.npz"
    assert compute(records, output, SETTINGS, progress=False) == {}
    proposals, meta = load(output)
    assert list(proposals) == [r.id for r in records]
    for record in records:
        pixels = np.asarray(Image.open(record.path))
        expected = selective_search(pixels, mode="single", min_side=10, seed=3, max_side=60)
        assert len(expected)
        np.testing.assert_array_equal(proposals[record.id], expected)
    assert ProposalSettings.from_meta(meta) == SETTINGS
    assert {p.name for p in output.parent.iterdir()} == {
        *("boxes.npz", "boxes.seconds.json", "boxes.photos.json", ".boxes.photos.json.lock"),
    }
    spent = json.loads(batch.time_file(output).read_text())
    assert spent["images"] == len(records)
    assert 0 < spent["seconds_per_image"] < 60


def test_a_pool_writes_the_same_bytes_as_a_loop(records, tmp_path):
    compute(records, tmp_path / "loop.npz", SETTINGS, progress=False)
    compute(records, tmp_path / "pool.npz", SETTINGS, workers=2, progress=False)
    assert (tmp_path / "loop.npz").read_bytes() == (tmp_path / "pool.npz").read_bytes()


SCRIPT = f"""
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in children of background jobs

own = sys.path[0]
sys.path.insert(0, {str(ROOT)!r})
from data.records import ImageRecord
from proposals.batch import compute
from proposals.sources import ProposalSettings

sys.path.remove({str(ROOT)!r})
assert sys.path[0] == own
print("started", flush=True)
records = [ImageRecord(p.stem, p, None, None, None, None) for p in sorted(Path("images").glob("*.png"))]
settings = ProposalSettings(source="ss-single", min_side=10, seed=3, max_side=int(sys.argv[1]))
compute(records, "boxes.npz", settings, workers=2, progress=False)
"""


@pytest.fixture
def script(records, tmp_path) -> Path:
    """A script without a main guard, in a folder with other packages and modules of this project's names."""
    for name in ("detection/__init__.py", "proposals/__init__.py", "data.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('this is another package')")
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


@pytest.mark.slow
def test_a_script_needs_no_main_guard_and_may_have_packages_of_the_same_names(script, records):
    done = subprocess.run([sys.executable, script, "60"], capture_output=True, text=True, cwd=script.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")
    compute(records, script.with_name("loop.npz"), SETTINGS, progress=False)
    assert script.with_name("boxes.npz").read_bytes() == script.with_name("loop.npz").read_bytes()


@pytest.mark.slow
def test_workers_finish_the_images_under_way_when_interrupted(script):
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)  # takes long enough to be interrupted
    names = [_record(script.parent / "images" / f"large{i:02d}.png", pixels).id for i in range(40)]
    parts = script.with_name("boxes.npz.parts")
    command = [sys.executable, script, "400"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=script.parent, start_new_session=True)
    while not (parts / f"{names[0]}.npy").exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does: the workers get it too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert errors.decode().count("Traceback") == 1
    kept = sorted(p.stem for p in parts.glob("large*"))
    assert 1 < len(kept) < len(names)
    assert kept == names[: len(kept)]  # in the order of submission, none lost
    assert all(batch._load_part(parts / f"{name}.npy") is not None for name in kept)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_end_with_a_killed_caller(script):
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    names = [_record(script.parent / "images" / f"large{i:02d}.png", pixels).id for i in range(40)]
    process = subprocess.Popen([sys.executable, script, "400"], cwd=script.parent, start_new_session=True)
    while not (script.with_name("boxes.npz.parts") / f"{names[0]}.npy").exists() and process.poll() is None:
        time.sleep(0.02)
    workers = [pid for pid in _session(process.pid) if pid != process.pid]
    process.kill()
    process.wait()
    assert len(workers) >= 2
    deadline = time.monotonic() + 30
    while _session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _session(process.pid)


def _session(leader: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            found += [int(path.parent.name)] * (int(session) == leader and state != "Z")
    return found


def test_an_interrupted_run_continues(records, tmp_path, searched, monkeypatch):
    output = tmp_path / "boxes.npz"
    spy = batch.search_file

    def interrupt(path, settings, size=None):
        if Path(path).stem == "im2":
            raise KeyboardInterrupt
        return spy(path, settings, size)

    monkeypatch.setattr(batch, "search_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compute(records, output, SETTINGS, progress=False)
    monkeypatch.setattr(batch, "search_file", spy)
    assert not output.exists()
    assert searched == ["im0", "im1"]
    compute(records, output, SETTINGS, progress=False)
    assert searched == ["im0", "im1", "im2", "im3", "im4"]
    compute(records, tmp_path / "straight.npz", SETTINGS, progress=False)
    assert output.read_bytes() == (tmp_path / "straight.npz").read_bytes()


def test_a_damaged_part_is_computed_again(records, tmp_path, searched):
    output = tmp_path / "boxes.npz"
    parts = tmp_path / "boxes.npz.parts"
    parts.mkdir()
    (parts / "settings.json").write_text(json.dumps(SETTINGS.meta))
    (parts / "im1.npy").write_bytes(b"\x93NUMPY half")
    (parts / "im2.npy").write_bytes(b"")
    np.save(parts / "im3.npy", np.zeros((2, 3)))
    compute(records, output, SETTINGS, progress=False)
    assert len(searched) == 5
    assert not parts.exists()


def test_parts_with_flipped_bits_are_told_in_one_line_and_searched_again(records, tmp_path, monkeypatch, caplog):
    compute(records, tmp_path / "whole.npz", SETTINGS, progress=False)
    output = tmp_path / "boxes.npz"
    monkeypatch.setattr(batch, "_merge", lambda *args: None)  # as if killed before
    compute(records, output, SETTINGS, progress=False)
    monkeypatch.undo()
    parts = tmp_path / "boxes.npz.parts"
    for part in ("im1", "im3"):
        data = bytearray((parts / f"{part}.npy").read_bytes())
        data[130] ^= 64  # in a coordinate
        (parts / f"{part}.npy").write_bytes(data)
    compute(records, output, SETTINGS, progress=False)
    told = f"{parts / 'im1.npy'} and 1 others: damaged, or without checksum; searching these images again"
    assert caplog.messages == [told]
    assert output.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_parts_that_a_killed_process_left_are_removed_once_they_are_in_the_output(records, tmp_path, monkeypatch):
    output, parts = tmp_path / "boxes.npz", tmp_path / "boxes.npz.parts"
    with monkeypatch.context() as patch:
        patch.setattr(batch.shutil, "rmtree", lambda path: None)
        compute(records[:4], output, SETTINGS, progress=False)
    assert len(list(parts.glob("*.npy"))) == 4
    shutil.copy(parts / "im0.npy", parts / "im4.npy")
    compute(records[:4], output, SETTINGS, progress=False)
    assert parts.exists()  # im4 is not in the output
    (parts / "im4.npy").unlink()
    compute(records[:4], output, SETTINGS, progress=False)
    assert not parts.exists()


def test_finished_images_are_skipped_and_new_ones_are_added(records, tmp_path, searched):
    output = tmp_path / "boxes.npz"
    compute(records[:3], output, SETTINGS, progress=False)
    compute(records[:3], output, SETTINGS, progress=False)
    assert len(searched) == 3
    compute(records, output, SETTINGS, progress=False)
    assert searched == ["im0", "im1", "im2", "im3", "im4"]
    assert list(load(output)[0]) == searched
    compute(records[1:3], output, SETTINGS, progress=False)
    assert list(load(output)[0]) == searched


def replace_photo(record):
    height, width = record.size
    _record(
        record.path, np.full((height, width, 3), 90, np.uint8) + np.eye(height, width, dtype=np.uint8)[..., None] * 99
    )


def test_only_replaced_photos_are_searched_again(records, tmp_path, searched, caplog):
    output = tmp_path / "boxes.npz"
    compute(records, output, SETTINGS, progress=False)
    replace_photo(records[1])
    searched.clear()
    with caplog.at_level("INFO"):
        compute(records, output, SETTINGS, progress=False)
    assert searched == ["im1"]
    assert "1 of 5 photos changed since they were searched; searching them again" in caplog.text
    compute(records, tmp_path / "straight.npz", SETTINGS, progress=False)
    assert output.read_bytes() == (tmp_path / "straight.npz").read_bytes()


def test_touched_and_copied_photos_are_not_searched_again(records, tmp_path, searched):
    output = tmp_path / "boxes.npz"
    compute(records, output, SETTINGS, progress=False)
    os.utime(records[0].path)
    copied = [replace(r, path=Path(shutil.copy(r.path, tmp_path))) for r in records]
    searched.clear()
    for same in (records, copied):
        compute(same, output, SETTINGS, progress=False)
    assert searched == []


def test_a_photo_that_is_replaced_during_an_interruption_is_searched_again(records, tmp_path, searched, monkeypatch):
    output = tmp_path / "boxes.npz"
    spy = batch.search_file
    monkeypatch.setattr(batch, "search_file", lambda p, *rest: 1 / 0 if Path(p).stem == "im2" else spy(p, *rest))
    with pytest.raises(ZeroDivisionError):
        compute(records, output, SETTINGS, progress=False)
    monkeypatch.setattr(batch, "search_file", spy)
    replace_photo(records[1])
    searched.clear()
    compute(records, output, SETTINGS, progress=False)
    assert searched == ["im1", "im2", "im3", "im4"]


def test_replacing_every_photo_searches_every_photo(records, tmp_path, searched):
    output = tmp_path / "boxes.npz"
    compute(records[:2], output, SETTINGS, progress=False)
    for record in records[:2]:
        replace_photo(record)
    searched.clear()
    compute(records[:2], output, SETTINGS, progress=False)
    assert searched == ["im0", "im1"]


def test_files_from_before_photos_were_recorded_are_kept(records, tmp_path, searched):
    output = tmp_path / "boxes.npz"
    compute(records, output, SETTINGS, progress=False)
    batch.photos_file(output).unlink()
    searched.clear()
    compute(records, output, SETTINGS, progress=False)
    assert searched == []
    replace_photo(records[3])
    compute(records, output, SETTINGS, progress=False)
    assert searched == ["im3"]


def test_other_settings_are_refused_for_an_output_and_for_parts(records, tmp_path):
    output = tmp_path / "boxes.npz"
    compute(records[:1], output, SETTINGS, progress=False)
    other = ProposalSettings(source="ss-single", min_side=10, seed=4, max_side=60)
    with pytest.raises(ValueError, match=r"boxes\.npz: made with seed 3, expected 4; delete it"):
        compute(records, output, other, progress=False)
    parts = tmp_path / "new.npz.parts"
    parts.mkdir()
    (parts / "settings.json").write_text(json.dumps(SETTINGS.meta))
    with pytest.raises(ValueError, match=r"new\.npz\.parts: made with seed 3, expected 4"):
        compute(records, tmp_path / "new.npz", other, progress=False)
    (parts / "settings.json").write_text("{half")
    with pytest.raises(ValueError, match=r"settings\.json: damaged; delete the folder"):
        compute(records, tmp_path / "new.npz", other, progress=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_image_is_named(records, tmp_path, workers):
    records[1].path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"image im1: .*im1\.png"):
        compute(records, tmp_path / "boxes.npz", SETTINGS, workers=workers, progress=False)


def test_bad_images_are_skipped_on_request_and_reported(records, tmp_path):
    records[1].path.write_bytes(b"no image")
    records[3].path.unlink()
    bad = compute(records, tmp_path / "boxes.npz", SETTINGS, skip_bad=True, progress=False)
    assert list(bad) == ["im1", "im3"]
    assert "im3.png" in bad["im3"]
    assert list(load(tmp_path / "boxes.npz")[0]) == ["im0", "im2", "im4"]


def test_the_progress_bar_is_on_stderr_and_can_be_switched_off(records, tmp_path, capsys):
    compute(records[:2], tmp_path / "a.npz", SETTINGS)
    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert "img" in shown.err
    assert shown.out == ""
    compute(records[:2], tmp_path / "b.npz", SETTINGS, progress=False)
    assert capsys.readouterr().err == ""


def test_wrong_settings_and_workers_are_named(records, tmp_path):
    with pytest.raises(ValueError, match="source: expected one of"):
        ProposalSettings(source="slow")
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
        compute(records, tmp_path / "boxes.npz", workers=0)
