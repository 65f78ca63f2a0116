"""What `sppnet detect` writes, keeps and never replaces."""

import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from detection import SPPDetector
from detection.image import read
from detection.pictures.video import VideoReader, VideoWriter
from tests.commands import detect


@pytest.fixture
def photos(work, tmp_path):
    """A folder with three photos, the last as a BMP file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    files = sorted(work.devkit.rglob("*.jpg"))[:3]
    shutil.copy(files[0], folder / "a.jpg")
    Image.open(files[1]).save(folder / "b.png")
    Image.open(files[2]).save(folder / "scan.bmp")
    return folder


@pytest.fixture
def command(work, weights):
    return ["--model", str(work.run / "model"), "--weights", str(weights), "--score-threshold", "-1"]


def contents(folder):
    """Every file below a folder with its bytes, and every link."""
    return {p: os.readlink(p) if p.is_symlink() else p.read_bytes() for p in folder.rglob("*") if not p.is_dir()}


def refused(capsys, argv):
    """The one error line of a command that changes nothing."""
    assert detect(argv) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def images(path):
    return json.loads(path.read_text("utf-8"))["result"]["images"]


def rows(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def film(path, photo, rate=5.0, kind="mp4v", frames=3):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*kind), rate, photo.shape[1::-1])
    for _ in range(frames):
        writer.write(photo[:, :, ::-1])
    writer.release()


def save_into_the_photos_folder(folder):
    return ["--save", folder]


def save_through_a_link(folder):
    (folder.parent / "link").symlink_to(folder)
    return ["--save", folder.parent / "link"]


def save_over_a_link_to_a_photo(folder):
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "a.jpg").symlink_to(folder / "a.jpg")
    return ["--save", folder.parent / "out"]


def save_over_a_hard_link(folder):
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "a.jpg").hardlink_to(folder / "a.jpg")
    return ["--save", folder.parent / "out"]


def save_over_a_file_that_is_no_input(folder):
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "scan.jpg").write_bytes(b"another scan")
    return ["--save", folder.parent / "out"]


def cut_over_a_file(folder):
    (folder.parent / "out" / "car").mkdir(parents=True)
    (folder.parent / "out" / "car" / "A-12.jpg").write_bytes(b"my car")
    return ["--crop", folder.parent / "out"]


def json_onto_a_photo(folder):
    return ["--json", folder / "a.jpg"]


def csv_onto_notes(folder):
    (folder / "notes.csv").write_text("photo,remark\na.jpg,blurred\n")
    return ["--csv", folder / "notes.csv"]


@pytest.mark.parametrize(
    "prepare",
    [
        save_into_the_photos_folder,
        save_through_a_link,
        save_over_a_link_to_a_photo,
        save_over_a_hard_link,
        save_over_a_file_that_is_no_input,
        cut_over_a_file,
        json_onto_a_photo,
        csv_onto_notes,
    ],
)
def test_nothing_of_other_origin_is_replaced(prepare, photos, command, tmp_path, capsys):
    argv = [photos, *command, *prepare(photos)]
    before = contents(tmp_path)
    line = refused(capsys, argv)
    assert "is an input of this command" in line or "exists and is not from sppnet" in line
    assert contents(tmp_path) == before


def test_a_film_does_not_replace_itself(photos, command, tmp_path, capsys):
    film(tmp_path / "film.mp4", read(photos / "a.jpg"))
    before = contents(tmp_path)
    assert "film.mp4: is an input" in refused(capsys, [tmp_path / "film.mp4", *command, "--save", tmp_path])
    assert contents(tmp_path) == before


def test_own_pictures_that_are_inputs_are_not_replaced_either(photos, command, tmp_path, capsys):
    out = tmp_path / "found"
    assert detect([photos, *command, "--save", out]) == 0
    before = contents(out)
    assert "a.jpg: is an input" in refused(capsys, [out, *command, "--save", out])
    assert contents(out) == before


def test_outputs_of_the_same_name_are_refused(photos, command, tmp_path, capsys):
    same = tmp_path / "r"
    assert "both --csv and --json" in refused(capsys, [photos, *command, "--csv", same, "--json", same])
    out = ["--save", tmp_path / "out", "--csv", tmp_path / "out" / "a.jpg"]
    assert "the name of a picture in --save" in refused(capsys, [photos, *command, *out])


def test_the_same_command_again_replaces_its_own_files_and_leaves_its_pictures_out(photos, command, capsys):
    film(photos / "film.avi", read(photos / "a.jpg"), kind="MJPG")
    argv = [photos, *command, "--json", photos / "r.json", "--csv", photos / "t.csv"]
    argv += ["--save", photos / "found", "--crop", photos / "objects"]
    assert detect(argv) == 0
    first, pictures = images(photos / "r.json"), {p: p.stat().st_ino for p in (photos / "found").iterdir()}
    assert [p.name for p in sorted(pictures)] == ["a.jpg", "b.png", "film.mp4", "scan.jpg"]
    written = len(pictures) + len([p for p in (photos / "objects").rglob("*") if p.is_file()])
    capsys.readouterr()
    assert detect(argv) == 0
    assert images(photos / "r.json") == first
    assert {p: p.stat().st_ino for p in (photos / "found").iterdir()}.keys() == pictures.keys()
    told = [line for line in capsys.readouterr().err.splitlines() if "sppnet wrote itself" in line]
    assert len(told) == 1
    assert f"left out {written} of {written + 4} files" in told[0]


def test_pictures_may_lie_beside_photos_of_other_formats(photos, command):
    (photos / "a.jpg").unlink()
    (photos / "b.png").unlink()
    for _ in range(2):
        assert detect([photos, *command, "--save", photos, "--json", photos / "r.json"]) == 0
        assert [row["file"] for row in images(photos / "r.json")] == [str(photos / "scan.bmp")]


def test_results_are_whole_after_every_photo_and_after_an_interruption(photos, command, tmp_path, monkeypatch, capsys):
    report, table = tmp_path / "r.json", tmp_path / "t.csv"
    argv = [photos, *command, "--json", report, "--csv", table]
    assert detect(argv) == 0
    expected, all_rows = images(report), rows(table)
    whole, seen = SPPDetector.detect, []

    def stopping(self, photo, boxes=None):
        if seen:
            assert images(report) == expected[: len(seen)]
            assert {r["file"] for r in rows(table)} <= {row["file"] for row in expected[: len(seen)]}
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(photo)
        return whole(self, photo, boxes)

    monkeypatch.setattr(SPPDetector, "detect", stopping)
    capsys.readouterr()
    assert detect(argv) == 130
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"interrupted; finished before: {table}, {report}"
    assert images(report) == expected[:2]
    assert rows(table) == [r for r in all_rows if r["file"] in {row["file"] for row in expected[:2]}]
    monkeypatch.undo()
    assert detect(argv) == 0  # over what the interrupted one left
    assert images(report) == expected


def test_frames_of_an_interrupted_film_are_kept(photos, command, tmp_path, monkeypatch):
    film(tmp_path / "film.mp4", read(photos / "a.jpg"))
    report, table, out = tmp_path / "r.json", tmp_path / "t.csv", tmp_path / "out"
    whole, seen = SPPDetector.detect, []

    def stopping(self, photo, boxes=None):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(whole(self, photo, boxes))
        return seen[-1]

    monkeypatch.setattr(SPPDetector, "detect", stopping)
    argv = [tmp_path / "film.mp4", *command, "--json", report, "--csv", table, "--save", out]
    assert detect(argv) == 130
    (row,) = images(report)
    assert row["frames"] == [found.filter(-1).records() for found in seen]
    assert [int(r["frame"]) for r in rows(table)] == [i for i, found in enumerate(row["frames"]) for _ in found]
    assert list(out.iterdir()) == []


def test_a_name_that_is_not_utf8_is_escaped(photos, command, tmp_path, capsys):
    odd = os.fsencode(photos) + b"/caf\xe9.jpg"
    try:
        shutil.copy(os.fsencode(photos / "a.jpg"), odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    odd_film = os.fsencode(photos) + b"/\xff.mp4"
    film(photos / "film.mp4", read(photos / "a.jpg"))
    os.rename(photos / "film.mp4", odd_film)
    report, table, out = tmp_path / "r.json", tmp_path / "t.csv", tmp_path / "out"
    assert detect([os.fsdecode(photos), *command, "--json", report, "--csv", table, "--save", out]) == 0
    escaped = [str(photos / name) for name in ("a.jpg", "b.png", "caf\\xe9.jpg", "scan.bmp", "\\xff.mp4")]
    assert [row["file"] for row in images(report)] == escaped
    assert {str(photos / "caf\\xe9.jpg"), str(photos / "\\xff.mp4")} <= {r["file"] for r in rows(table)} <= set(escaped)
    assert f"{photos}/caf\\xe9.jpg: " in capsys.readouterr().out
    assert {os.fsencode(p.name) for p in out.iterdir()} >= {b"caf\xe9.jpg", b"\xff.mp4"}


@pytest.mark.parametrize("rate", [211.222, 0.25, 70_000.0])
def test_films_of_any_rate_are_written_at_the_nearest_possible_one(rate, photos, command, tmp_path):
    film(tmp_path / "film.avi", read(photos / "a.jpg"), rate, "MJPG")
    given = VideoReader(tmp_path / "film.avi").rate
    report, out = tmp_path / "r.json", tmp_path / "out"
    assert detect([tmp_path / "film.avi", *command, "--save", out, "--json", report]) == 0
    drawn = VideoReader(out / "film.mp4")
    assert drawn.count == 3
    assert drawn.rate == pytest.approx(min(given, 65_535), rel=1e-4)
    assert len(images(report)[0]["frames"]) == 3


def test_a_film_that_cannot_be_drawn_keeps_its_rows(photos, command, tmp_path, monkeypatch, capsys):
    def fail(self, frame):
        raise OSError(f"{self.path}: cannot be written as MPEG-4")

    film(tmp_path / "film.mp4", read(photos / "a.jpg"))
    report, out = tmp_path / "r.json", tmp_path / "out"
    monkeypatch.setattr(VideoWriter, "write", fail)
    assert detect([tmp_path / "film.mp4", *command, "--save", out, "--json", report]) == 1
    assert "cannot be written as MPEG-4" in capsys.readouterr().err
    assert len(images(report)[0]["frames"]) == 3
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("flag", ["--save", "--crop", "--csv", "--jsonl", "--parquet", "--json"])
def test_a_place_that_cannot_be_written_is_noticed_before_the_work(
    flag, photos, command, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(SPPDetector, "from_pretrained", lambda *a, **k: pytest.fail("the work has begun"))
    (tmp_path / "file").touch()
    assert "file: is not a folder" in refused(capsys, [photos, *command, flag, tmp_path / "file" / "below" / "x"])
    assert "cannot be written" in refused(capsys, [photos, *command, flag, "/proc/below/x"])


def test_drawn_pictures_show_that_they_are_from_sppnet(photos, command, tmp_path):
    assert detect([photos, *command, "--save", tmp_path / "out"]) == 0
    for name in ("a.jpg", "b.png", "scan.jpg"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.getexif()[0x0131] == "Written by sppnet"
        assert np.ptp(read(tmp_path / "out" / name)) > 0
