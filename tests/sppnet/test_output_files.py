"""Files that commands write are known again; nothing else is ever replaced."""

import os

import numpy as np
import pytest

import sppnet.files
from detection.pictures.video import VideoReader, VideoWriter
from proposals.pictures import recall_plot
from sppnet.files import GrowingFile, GrowingTable, write_picture, write_text
from sppnet.json_report import ITEMS, CommandReport, to_json, write_report
from sppnet.output_files import CLASS_COLUMNS, DETECTION_COLUMNS, check_file, check_folder, identities, is_own

PIXELS = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)  # files of more than 8 kB

ROWS = [("a.jpg", 0, "cat", "-0.2500", "", "1.0", "2.0", "30.0", "40.0")] * 500


def film(path):
    with VideoWriter(path, 5) as writer:
        for _ in range(3):
            writer.write(PIXELS)


def unfinished(path):
    report = CommandReport(path)
    report.begin({"images": [ITEMS], "unreadable": {}})
    report.add({"file": "a.jpg" * 2000})


def lines(path, row):
    file = GrowingFile(path)
    for _ in range(500):
        file.append(to_json({"file": 'größe "3".jpg', **row}) + "\n")


LINES = {
    "nothing": {"detections": []},
    "one": {"detections": [{"class": "cat", "label": 0, "score": -1e-05, "box": [1.5, 2e-05, 30, 4e16]}]},
    "frame": {"frame": 3, "detections": [{"class": "cat", "box": [0.0, 1.0, 2.0, 3.0]}] * 200},
    "unreadable": {"error": 'not a "photo"'},
}
WRITERS = {
    "a.png": lambda path: write_picture(path, PIXELS),
    "a.jpg": lambda path: write_picture(path, PIXELS, quality=92),
    "a.webp": lambda path: write_picture(path, PIXELS),
    "a.mp4": film,
    "a.json": lambda path: write_report(path, {"images": ["a.jpg"] * 2000}, {}, 1),
    "part.json": unfinished,
    "detections.csv": lambda path: GrowingTable(path, DETECTION_COLUMNS).append(),
    "classes.csv": lambda path: GrowingTable(path, CLASS_COLUMNS).append([("a.jpg", "cat", "0.5000")]),
    **{f"{name}.jsonl": lambda path, row=row: lines(path, row) for name, row in LINES.items()},
    "rows.csv": lambda path: GrowingTable(path, DETECTION_COLUMNS).append(ROWS),
    "probable.csv": lambda path: GrowingTable(path, DETECTION_COLUMNS).append([(*ROWS[0][:4], "0.7500", *ROWS[0][5:])]),
    **{
        f"plot.{kind}": lambda path, kind=kind: path.write_bytes(recall_plot({}, kind))
        for kind in ("png", "svg", "pdf")
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_known_again_and_may_be_replaced(name, tmp_path):
    WRITERS[name](tmp_path / name)
    assert is_own(tmp_path / name)
    check_file(tmp_path / name)
    WRITERS[name](tmp_path / name)


def test_a_marked_film_is_still_read(tmp_path):
    film(tmp_path / "a.mp4")
    assert len(list(VideoReader(tmp_path / "a.mp4"))) == 3


FOREIGN = {
    "text": b"my notes\n",
    "json": b'{"result": 1}',
    "csv": b"file,class\na,b\n",
    "lines": b'{"file": "a.jpg", "boxes": []}\n',
    "foreign lines": b'{"file": "a.jpg", "detections": [{"category": "1", "conf": 0.9}]}\n',
    "parquet": b"PAR1 somebody's PAR1",
    "scores": b"file,class,score\na.jpg,cat,0.5\n",
    "picture": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("link", ["none", "symbolic", "hard"])
def test_files_of_other_origin_are_not_replaced(content, link, tmp_path):
    original, path = tmp_path / "original", tmp_path / "out.png"
    original.write_bytes(content)
    {"none": original.rename, "symbolic": path.symlink_to, "hard": path.hardlink_to}[link](
        path if link == "none" else original
    )
    for write in (write_text, GrowingFile.append):
        with pytest.raises(FileExistsError, match="exists and is not from sppnet"):
            write(path if write is write_text else GrowingFile(path), "text")
    with pytest.raises(FileExistsError, match="exists and is not from sppnet"):
        write_picture(path, PIXELS)
    assert path.read_bytes() == content
    assert path.is_symlink() == (link == "symbolic")


def test_an_input_is_not_replaced_even_if_it_is_own(tmp_path):
    write_picture(tmp_path / "a.png", PIXELS)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    inputs = identities([tmp_path / "link.png", "no such file", "\0"])
    with pytest.raises(FileExistsError, match="is an input of this command"):
        check_file(tmp_path / "a.png", inputs)


def test_an_empty_file_may_be_replaced_and_other_things_may_not(tmp_path):
    (tmp_path / "empty").touch()
    check_file(tmp_path / "empty")
    with pytest.raises(IsADirectoryError, match="is a folder; name a file"):
        check_file(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for path in (tmp_path / "dangling", type(tmp_path)("/dev/null")):
        with pytest.raises(FileExistsError, match="is not an ordinary file"):
            check_file(path)


def test_a_place_that_cannot_be_written_is_noticed_without_a_trace(tmp_path):
    check_folder(tmp_path / "new" / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file: is not a folder"):
        check_file(tmp_path / "file" / "below" / "a.json")
    with pytest.raises(OSError, match="name too long"):
        check_file(tmp_path / ("x" * 300))
    with pytest.raises(OSError, match="cannot be written"):
        check_folder(type(tmp_path)("/proc/new"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_longest_name_can_be_written(tmp_path):
    write_text(tmp_path / ("é" * 125 + ".csv"), "text")


def test_a_growing_file_is_whole_after_every_step_and_after_a_failed_one(tmp_path, monkeypatch):
    file = GrowingFile(tmp_path / "a" / "list.txt")
    file.append("[1", "]")
    file.append(", 2", "]")
    assert file.path.read_text() == "[1, 2]"
    write = sppnet.files._end_with

    def full(opened, start, data):
        monkeypatch.undo()
        write(opened, start, data[:3])  # as much as the disk holds
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sppnet.files._end_with", full)
    with pytest.raises(OSError, match="No space left on device; later results are missing"):
        file.append(", 3, 4, 5", "]")
    assert file.path.read_text() == "[1, 2]"
    file.path.write_text("somebody's")
    with pytest.raises(OSError, match="another program has changed it"):
        file.append(", 3", "]")
    assert file.path.read_text() == "somebody's"


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xff.jpg")
    write_text(tmp_path / "a.txt", f"{name} café \ud800")
    assert (tmp_path / "a.txt").read_text("utf-8") == "caf\\xe9 \\xff.jpg café \\ud800"
