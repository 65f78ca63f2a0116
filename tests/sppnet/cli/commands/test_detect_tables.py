"""JSON lines and Parquet of `sppnet detect`: the same detections as its report, for any number of photos."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data.media import Source
from detection import SPPDetector
from detection.calibration import Calibration
from detection.detections import Detections
from detection.image import read
from sppnet import parquet_table
from sppnet.detector.detection_outputs import DetectionOutputs
from sppnet.json_report import CommandReport
from sppnet.settings.commands import DetectSettings
from tests.commands import detect
from tests.sppnet.cli.commands.test_detect_outputs import command, film, images, photos, rows  # noqa: F401


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def parquet(path):
    pandas = pytest.importorskip("pandas", reason="needs pandas; install the extra tables")
    pytest.importorskip("pyarrow", reason="needs pyarrow; install the extra parquet")
    return pandas.read_parquet(path)


@pytest.fixture
def outputs(tmp_path):
    return {name: tmp_path / f"found.{name}" for name in ("json", "jsonl", "csv", "parquet")}


@pytest.fixture
def flags(outputs):
    return [word for name, path in outputs.items() for word in (f"--{name}", path)]


def test_lines_and_parquet_have_what_the_report_has(photos, command, outputs, flags):  # noqa: F811
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    film(photos / "film.mp4", read(photos / "a.jpg"), frames=2)
    for _ in range(2):  # its own files are replaced
        assert detect([photos, *command, *flags]) == 1
    told, written = images(outputs["json"]), lines(outputs["jsonl"])
    assert [row for row in told if "detections" in row] == [r for r in written if {"frame", "error"}.isdisjoint(r)]
    assert [r["frame"] for r in written if "frame" in r] == [0, 1]
    assert [r["detections"] for r in written if "frame" in r] == told[-1]["frames"]
    assert [Path(r["file"]).name for r in written if "error" in r] == ["broken.jpg"]
    frame, table = parquet(outputs["parquet"]), rows(outputs["csv"])
    assert len(frame) == len(table) > 0
    for name in ("file", "class"):
        assert list(frame[name]) == [row[name] for row in table]
    for name in ("frame", "score", "x0", "y1"):
        assert np.allclose(frame[name], [float(row[name]) for row in table], atol=0.06)
    assert frame["probability"].isna().all()


def test_an_interruption_keeps_what_was_found(photos, command, outputs, flags, monkeypatch, capsys):  # noqa: F811
    assert detect([photos, *command, *flags]) == 0
    whole, seen, expected = SPPDetector.detect, [], lines(outputs["jsonl"])
    frame = parquet(outputs["parquet"])

    def stopping(self, photo, boxes=None):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(photo)
        return whole(self, photo, boxes)

    monkeypatch.setattr(SPPDetector, "detect", stopping)
    capsys.readouterr()
    assert detect([photos, *command, *flags]) == 130
    assert str(outputs["parquet"]) in capsys.readouterr().err.splitlines()[-1]
    assert lines(outputs["jsonl"]) == expected[:2]
    kept = frame[frame["file"].isin([row["file"] for row in expected[:2]])]
    assert 0 < len(kept) < len(frame)
    assert parquet(outputs["parquet"]).equals(kept)
    seen.clear()
    monkeypatch.setattr(SPPDetector, "detect", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert detect([photos, *command, *flags]) == 130
    assert parquet(outputs["parquet"]).equals(kept)  # nothing was found, and nothing is replaced


@pytest.mark.parametrize("flag", ["--jsonl", "--parquet"])
def test_files_of_other_origin_are_not_replaced(flag, photos, command, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "notes"
    path.write_text('{"file": "a.jpg", "detections": "mine"}\n')
    assert detect([photos, *command, flag, path]) == 1
    assert "notes: exists and is not from sppnet" in capsys.readouterr().err
    assert path.read_text() == '{"file": "a.jpg", "detections": "mine"}\n'


class Everywhere:
    """A detector that finds the same five objects in every photo."""

    classes = ("cat", "dog")

    def detect_each(self, paths, bad):
        numbers = np.arange(5, dtype=np.float32)
        boxes = numbers[:, None] + np.array([0, 0, 20, 20], np.float32)
        known = Calibration((2.0, 2.0), (0.0, 0.0), (0.5, 0.5))
        for path in paths:
            yield path, Detections(boxes, numbers, numbers.astype(int) % 2, self.classes, None, calibration=known)


def peak(count, folder):
    """Bytes that are held at most while detections of so many photos are written."""
    folder.mkdir()
    names = {name: folder / f"found.{name}" for name in ("csv", "jsonl", "parquet")}
    settings = DetectSettings(sources=(str(folder),), **names)
    sources = [Source(Path(f"{i:07}.jpg"), Path(f"{i:07}.jpg")) for i in range(count)]
    tracemalloc.start()
    try:
        DetectionOutputs(Everywhere(), settings, CommandReport(folder / "found.json"), len).detect(sources)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_found(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs pyarrow; install the extra parquet")
    monkeypatch.setattr(parquet_table, "ROWS", 1 << 10)
    few, many = (peak(count, tmp_path / str(count)) for count in (500, 2_500))
    assert (many - few) / 2_000 < 200  # bytes per photo: its name, not its detections
    assert len(parquet(tmp_path / "2500" / "found.parquet")) == 12_500
