"""The command that detects objects in photos and videos."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from detection import SPPDetector
from detection.calibration import Calibration
from detection.image import read
from detection.model import load
from detection.pictures.video import VideoReader, VideoWriter
from tests.commands import detect
from tests.jpegs import of_many_scans


@pytest.fixture
def photos(work, tmp_path):
    """A folder with three photos, one of them in a subfolder, and a file that is no photo."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    files = sorted(work.devkit.rglob("*.jpg"))[:3]
    for file, place in zip(files, ("a.jpg", "b.jpg", "below/a.jpg"), strict=True):
        shutil.copy(file, folder / place)
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture
def command(work, weights):
    return ["--model", str(work.run / "model"), "--weights", str(weights), "--score-threshold", "-1"]


def read_table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_pictures_json_csv_and_cut_outs_agree(photos, command, work, weights, tmp_path, capsys):
    out, table, report, crops = tmp_path / "out", tmp_path / "a" / "t.csv", tmp_path / "r.json", tmp_path / "crops"
    argv = [str(photos), *command, "--save", str(out), "--csv", str(table), "--json", str(report), "--crop", str(crops)]
    assert detect(argv) == 0
    detector = SPPDetector.from_pretrained(work.run / "model", weights=weights)
    expected = {str(f): detector.detect(f).filter(-1).records() for f in sorted(photos.rglob("*.jpg"))}
    assert sum(map(len, expected.values())) > 0
    images = json.loads(report.read_text())["result"]["images"]
    assert {row["file"]: row["detections"] for row in images} == expected
    rows = read_table(table)
    assert [(r["file"], r["class"]) for r in rows] == [(f, d["class"]) for f, found in expected.items() for d in found]
    drawn = {p.relative_to(out).as_posix() for p in out.rglob("*.jpg")}
    assert drawn == {"a.jpg", "b.jpg", "below/a.jpg"}
    for place in drawn:
        wanted = detector.detect(photos / place).filter(-1).draw(-9).astype(int)
        assert np.abs(read(out / place) - wanted).mean() < 4  # JPEG is lossy
    assert len(list(crops.rglob("*.jpg"))) == len(rows)
    assert {p.relative_to(crops).parts[0] for p in crops.rglob("*.jpg")} == {r["class"] for r in rows}
    assert f"{photos / 'a.jpg'}: " in capsys.readouterr().out


def test_a_bad_photo_is_reported_and_the_others_are_processed(photos, command, tmp_path, capsys):
    (photos / "aa.jpg").write_bytes((photos / "a.jpg").read_bytes()[:500])
    report, table = tmp_path / "r.json", tmp_path / "t.csv"
    assert detect([str(photos), *command, "--json", str(report), "--csv", str(table)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 1 of 4 files could not be used: ")
    assert "aa.jpg" in error
    result = json.loads(report.read_text())["result"]
    assert [row["file"] for row in result["images"]] == [str(photos / p) for p in ("a.jpg", "b.jpg", "below/a.jpg")]
    assert list(result["unreadable"]) == [str(photos / "aa.jpg")]
    assert table.is_file()


def test_a_jpeg_of_very_many_scans_is_left_out_and_named(photos, command, tmp_path, capsys):
    (photos / "aa.jpg").write_bytes(of_many_scans(2000, 2000, more=3000))
    assert detect([str(photos), *command]) == 1
    told = capsys.readouterr()
    why = "JPEG of 2000 x 2000 pixels in 3,010 scans, of this size at most 1000 are supported; save it again"
    assert told.err.splitlines()[-1] == f"error: 1 of 4 files could not be used: {photos / 'aa.jpg'}: {why}"
    assert f"{photos / 'b.jpg'}: " in told.out


def test_threshold_and_classes_select_detections(photos, command, work, weights, tmp_path):
    detector = SPPDetector.from_pretrained(work.run / "model", weights=weights)
    found = [d for f in photos.rglob("*.jpg") for d in detector.detect(f).records()]
    name = found[0]["class"]
    threshold = sorted(d["score"] for d in found)[len(found) // 2]
    report = tmp_path / "r.json"
    argv = [str(photos), *command[:-1], str(threshold), "--classes", name, "--json", str(report)]
    assert detect(argv) == 0
    kept = [d for row in json.loads(report.read_text())["result"]["images"] for d in row["detections"]]
    assert len(kept) == sum(d["class"] == name and d["score"] >= np.float32(threshold) for d in found)


def test_probabilities_select_what_is_written(photos, work, weights, tmp_path, capsys):
    folder = work.run / "model"
    argv = [str(photos), "--model", str(folder), "--weights", str(weights), "--json", str(tmp_path / "r.json")]
    assert detect([*argv, "--threshold", "0.5"]) == 1
    assert "states no probabilities; train it again, or give --score-threshold" in capsys.readouterr().err
    assert detect([*argv, "--threshold", "0.5", "--score-threshold", "0"]) == 1
    assert "goes without score_threshold" in capsys.readouterr().err
    made = load(folder)
    flat = Calibration((3.0,) * 6, (2.0,) * 6, (0.3,) * 6)
    replace(made, calibration=flat).save(folder)
    detector = SPPDetector.from_pretrained(folder, weights=weights)
    found = {str(f): detector.detect(f) for f in sorted(photos.rglob("*.jpg"))}
    table, counts = tmp_path / "t.csv", []
    middle = round(float(np.median(np.concatenate([d.probabilities for d in found.values()]))), 4)
    for more, expected in (
        ([], {f: d.shown().records() for f, d in found.items()}),
        (["--threshold", str(middle)], {f: d.shown(middle).records() for f, d in found.items()}),
        (["--score-threshold", "-9"], {f: d.records() for f, d in found.items()}),
    ):
        assert detect([*argv, *more, "--csv", str(table)]) == 0
        images = json.loads((tmp_path / "r.json").read_text())["result"]["images"]
        assert {row["file"]: row["detections"] for row in images} == expected
        counts.append(sum(map(len, expected.values())))
    assert counts == sorted(set(counts))
    assert all(f"{float(r['probability']):.4f}" == r["probability"] for r in read_table(table))


def test_files_named_several_times_are_processed_once(photos, command, tmp_path):
    report, out = tmp_path / "r.json", tmp_path / "out"
    argv = [str(photos / "b.jpg"), str(photos / "**" / "*.jpg"), *command, "--json", str(report), "--save", str(out)]
    assert detect(argv) == 0
    files = [row["file"] for row in json.loads(report.read_text())["result"]["images"]]
    assert files == [str(photos / p) for p in ("b.jpg", "a.jpg", "below/a.jpg")]
    assert {p.name for p in out.iterdir()} == {
        "a.jpg",
        "a-2.jpg",
        "b.jpg",
    }  # files of the same name do not overwrite each other


def test_detections_are_drawn_on_every_frame_of_a_video(photos, command, tmp_path, capsys):
    photo, video, out = read(photos / "a.jpg"), tmp_path / "video.mp4", tmp_path / "out"
    with VideoWriter(video, 5) as writer:
        for _ in range(3):
            writer.write(photo)
    report, table = tmp_path / "r.json", tmp_path / "t.csv"
    argv = [str(video), *command, "--save", str(out), "--json", str(report), "--csv", str(table)]
    assert detect(argv) == 0
    drawn = VideoReader(out / "video.mp4")
    assert (drawn.count, drawn.rate) == (3, 5)
    row = json.loads(report.read_text())["result"]["images"][0]
    assert len(row["frames"]) == 3
    assert [int(r["frame"]) for r in read_table(table)] == [i for i, found in enumerate(row["frames"]) for _ in found]
    assert "video.mp4: 3 frames, " in capsys.readouterr().out
    (tmp_path / "broken.mp4").write_bytes(video.read_bytes()[:200])
    assert detect([str(tmp_path / "broken.mp4"), *command, "--save", str(out)]) == 1
    assert "not a video" in capsys.readouterr().err
    assert not (out / "broken.mp4").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such file or folder"),
        (["--model", "nobody"], "nobody: neither a folder nor a bundled detector"),
        (["--classes", "unicorn"], "--classes unicorn: the model knows"),
    ],
)
def test_wrong_arguments_are_errors_that_name_them(argv, message, photos, command, capsys):
    sources = [] if argv[0] == "nowhere.jpg" else [str(photos)]
    assert detect([*sources, *command, *argv] if sources else [*argv, *command]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_without_photos_is_refused(command, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert detect([str(tmp_path / "empty"), *command]) == 1
    assert "no photo in this folder" in capsys.readouterr().err


def test_a_photo_may_be_a_path_an_array_a_pillow_image_or_a_tensor(photos, work, weights):
    import torch

    detector, path = SPPDetector.from_pretrained(work.run / "model", weights=weights), photos / "a.jpg"
    array = read(path)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    kinds = [path, str(path), array, Image.open(path), tensor, tensor.double() / 255]
    found = [detector.detect(kind) for kind in kinds]
    for other in [*found[1:], *detector.detect_many(kinds)]:
        np.testing.assert_array_equal(other.boxes, found[0].boxes)
        np.testing.assert_array_equal(other.scores, found[0].scores)
    for wrong, message in (
        (tensor.float(), r"in \[0, 1\], got"),
        (tensor[0], "expected a tensor"),
        (3.5, "uint8"),
    ):
        with pytest.raises(ValueError, match=message):
            detector.detect(wrong)


def test_detect_many_stops_at_a_bad_photo_unless_on_bad_is_given(photos, work, weights, tmp_path):
    detector = SPPDetector.from_pretrained(work.run / "model", weights=weights)
    paths = [photos / "a.jpg", tmp_path / "missing.jpg", photos / "b.jpg"]
    found = detector.detect_many(paths)
    assert next(found).photo == paths[0]
    with pytest.raises(FileNotFoundError):
        next(found)
    bad = []
    kept = list(detector.detect_many(paths, lambda path, error: bad.append((path, type(error)))))
    assert [d.photo for d in kept] == [paths[0], paths[2]]
    assert bad == [(paths[1], FileNotFoundError)]
