"""Json reports that are complete after every item."""

import json
import os

from sppnet.json_report import ITEMS, CommandReport


def read(path):
    return json.loads(path.read_text("utf-8"))


def test_items_and_items_within_items_are_readable_as_they_come(tmp_path):
    path, bad = tmp_path / "new" / "r.json", {}
    report = CommandReport(path)
    report.settings = {"sources": ["photos"]}
    report.begin({"images": [ITEMS], "unreadable": bad})
    assert not path.exists()
    report.add({"file": "a"})
    assert read(path)["result"] == {"images": [{"file": "a"}], "unreadable": {}}
    assert read(path)["unfinished"] is True
    assert {"settings", "seconds", "versions", "hardware", "peak_memory_bytes"} < read(path).keys()
    bad["b"] = "damaged"
    frames = []
    with report.within({"file": "film", "frames": [ITEMS]}):
        for frame in ([], [{"class": "cat"}]):
            frames.append(frame)
            report.add(frame)
            assert read(path)["result"]["images"] == [{"file": "a"}, {"file": "film", "frames": frames}]
    report.add({"file": "c"})
    images = [{"file": "a"}, {"file": "film", "frames": frames}, {"file": "c"}]
    assert read(path)["result"] == {"images": images, "unreadable": bad}
    report.finish(None)
    assert read(path)["result"] == {"images": images, "unreadable": bad}
    assert "unfinished" not in read(path)


def test_a_report_without_items_is_complete_too(tmp_path):
    report = CommandReport(tmp_path / "r.json")
    report.begin({"images": [ITEMS], "unreadable": {"b": "damaged"}})
    report.finish(None)
    assert read(tmp_path / "r.json")["result"] == {"images": [], "unreadable": {"b": "damaged"}}
    assert "unfinished" not in read(tmp_path / "r.json")
    CommandReport(None).finish(None)


def test_an_interruption_within_an_item_leaves_it_readable(tmp_path):
    report = CommandReport(tmp_path / "r.json")
    try:
        with report.within({"frames": [ITEMS]}):
            report.add([1])
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert read(tmp_path / "r.json")["result"]["items"] == [{"frames": [[1]]}]


def test_names_that_are_not_utf8_are_escaped_in_keys_and_values(tmp_path):
    name = os.fsdecode(b"\xff.jpg")
    report = CommandReport(tmp_path / "r.json")
    report.settings = {"sources": [name]}
    report.finish({"images": [{"file": name}], "unreadable": {name: "damaged"}})
    written = read(tmp_path / "r.json")
    assert written["result"] == {"images": [{"file": "\\xff.jpg"}], "unreadable": {"\\xff.jpg": "damaged"}}
    assert written["settings"] == {"sources": ["\\xff.jpg"]}
