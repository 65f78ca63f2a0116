"""What is known of photos: unchanged ones are not read, touched and copied ones recognised, replaced ones found."""

import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from data.records import ImageRecord
from detection import photo_record
from detection.photo_record import PhotoRecord


def records_in(folder, count=4):
    folder.mkdir(parents=True, exist_ok=True)
    nothing = np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, bool)
    records = [ImageRecord(f"photo{i}", folder / f"photo{i}.bmp", (6, 8), *nothing) for i in range(count)]
    for i, record in enumerate(records):
        record.path.write_bytes(bytes([i]) * 100)
    return records


@pytest.fixture
def noted(tmp_path):
    """Photos, and a record of them."""
    records = records_in(tmp_path / "photos")
    path = tmp_path / "artefacts" / "photos.json"
    record = PhotoRecord(path)
    record.note(record.look(records))
    return records, path


def changed(path, records):
    record = PhotoRecord(path)
    return record.changed(record.look(records))


def forbid_reading(monkeypatch):
    monkeypatch.setattr(photo_record, "_sha256", lambda path: pytest.fail(f"{path} was read"))


def test_unchanged_photos_are_not_read(noted, monkeypatch):
    records, path = noted
    before = path.stat().st_mtime_ns
    forbid_reading(monkeypatch)
    record = PhotoRecord(path)
    now = record.look(records)
    assert record.changed(now) == []
    record.note(now)
    assert path.stat().st_mtime_ns == before


def test_a_replaced_photo_is_found_even_with_the_same_length_and_time(noted):
    records, path = noted
    time.sleep(0.02)  # a file system's clock may be coarse
    times = os.stat(records[2].path)
    records[2].path.write_bytes(b"x" * 100)
    os.utime(records[2].path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changed(path, records) == ["photo2"]


def test_touched_photos_are_read_once_and_are_the_same(noted, monkeypatch):
    records, path = noted
    for r in records:
        os.utime(r.path)
    record = PhotoRecord(path)
    now = record.look(records)
    assert record.changed(now) == []
    record.note(now)
    forbid_reading(monkeypatch)
    assert changed(path, records) == []


def test_photos_at_another_place_are_the_same(noted, tmp_path):
    records, path = noted
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    assert changed(path, [replace(r, path=tmp_path / "copy" / r.path.name) for r in records]) == []


def test_a_photo_that_is_turned_by_its_annotation_has_changed(noted):
    records, path = noted
    assert changed(path, [replace(records[0], size=(8, 6)), *records[1:]]) == ["photo0"]


def test_photos_without_a_record_count_as_unchanged_and_absent_ones_are_left_out(noted, tmp_path):
    records, path = noted
    records[1].path.unlink()
    others = records_in(tmp_path / "more", 6)[4:]
    record = PhotoRecord(path)
    now = record.look([*records, *others])
    assert (record.changed(now), "photo1" in now, "photo5" in now) == ([], False, True)


def test_several_writers_keep_each_others_entries(noted, tmp_path):
    _, path = noted
    first, second = PhotoRecord(path), PhotoRecord(path)
    more = records_in(tmp_path / "more", 6)
    first.note(first.look(more[4:5]))
    second.note(second.look(more[5:]))
    assert set(PhotoRecord(path).known) == {f"photo{i}" for i in range(6)}


@pytest.mark.parametrize("text", ["{half", "[]", '{"format": 9, "photos": {}}', '{"format": 1, "photos": {"a": [1]}}'])
def test_a_damaged_record_is_named(noted, text):
    noted[1].write_text(text)
    with pytest.raises(ValueError, match=r"photos\.json: damaged .*delete it"):
        PhotoRecord(noted[1])


def test_the_record_is_plain_json(noted):
    photos = json.loads(noted[1].read_text())["photos"]
    stat, digest, size = photos["photo0"]
    assert (stat[0], len(digest), size) == (100, 64, [6, 8])


@pytest.mark.parametrize(
    "values",
    [[[1, 2, 3], 5, [6, 8]], [[1, "2", 3], "ab", [6, 8]], [[1], "ab", [1e400, 8]], [[1], "ab", [6]], [[1], "ab"]],
)
def test_values_of_other_types_are_damage(noted, values):
    _, path = noted
    content = json.loads(path.read_text())
    content["photos"]["photo1"] = values
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"photos\.json: damaged"):
        PhotoRecord(path)
