"""What the report says when something is missing, damaged or empty."""

import json
import re
import shutil

from detection.detections import Detections
from tests import browser
from tests.sppnet.report.helpers import replace_detections, report, text


def first_test_photo(devkit):
    image_id = next(devkit.rglob("Main/test.txt")).read_text().split()[0]
    return image_id, next(devkit.rglob(f"JPEGImages/{image_id}.*"))


def only_cars(work):
    """A copy of the data set in which all objects but cars are difficult."""
    devkit = work.run.parent / "cars"
    shutil.copytree(work.devkit, devkit)
    for path in devkit.rglob("*.xml"):
        parts = re.split(r"(?=<object>)", path.read_text())
        parts = [p if "<name>car</name>" in p else re.sub("<difficult>0", "<difficult>1", p) for p in parts]
        path.write_text("".join(parts))
    return devkit


def errors_of(chromium, page):
    """Errors and warnings of a page in the browser."""
    watched = browser.watch(chromium)
    watched.page.goto(page.as_uri())
    return watched.errors


def test_a_detector_that_finds_nothing_is_reported(work, chromium):
    replace_detections(work, lambda found: dict.fromkeys(found, Detections.empty()))
    assert report(work.run) == 0
    shown = text(work.run / "report.html")
    assert "The detector found nothing: every object is missed" in shown
    assert "no correct detection" in shown
    assert "no detections" in shown
    assert "no detection of its class overlaps it" in shown
    assert errors_of(chromium, work.run / "report.html") == []


def test_detections_of_other_photos_only_are_reported(work, chromium):
    replace_detections(work, lambda found: {f"other{i}": d for i, d in found.items()})
    assert report(work.run) == 0
    shown = text(work.run / "report.html")
    assert "No photo of the split has detections" in shown
    assert "Tested, but no longer in the split: 4 photos (other" in shown
    assert "nan" not in shown
    assert errors_of(chromium, work.run / "report.html") == []


def test_a_class_without_objects_gets_a_dash(work):
    assert report("--devkit", only_cars(work), work.run) == 0
    shown = text(work.run / "report.html")
    assert "The tested photos have no objects of" in shown
    assert "These photos have no objects of this class." in shown
    assert "nan" not in shown


def test_photos_that_cannot_be_read_are_replaced_by_the_reason(work, devkit_copy):
    for photo in devkit_copy.rglob("*.jpg"):
        photo.write_bytes(b"no image")
    assert report(work.run, "--devkit", devkit_copy) == 0
    page = (work.run / "report.html").read_text()
    assert "This photo cannot be read:" in page
    assert "<img" not in page


def test_missing_and_untested_photos_are_named_and_not_counted(work, devkit_copy):
    image_id, photo = first_test_photo(devkit_copy)
    photo.unlink()
    replace_detections(work, lambda found: {i: d for i, d in found.items() if i != max(found)})
    assert report(work.run, "--devkit", devkit_copy, "--json", work.run / "r.json") == 0
    shown = text(work.run / "report.html")
    assert f"Unusable and not counted: 1 photo ({image_id}:" in shown
    assert "Not tested and not counted: 1 photo of the split" in shown
    assert json.loads((work.run / "r.json").read_text())["result"]["photos"] == 2


def test_missing_and_damaged_proposals_are_reported(work):
    path = work.run / "proposals" / "ss" / "test.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert report(work.run) == 0
    assert "ss cannot be measured:" in text(work.run / "report.html")
    shutil.rmtree(work.run / "proposals")
    assert report(work.run) == 0
    assert "The run has no proposals of test" in text(work.run / "report.html")


def test_time_of_every_stage_and_memory_come_from_train_json(work):
    record = json.loads((work.run / "test.json").read_text())
    record["result"]["stage_seconds"] = {"windows": 75.2, "SVMs": 3.4}
    record["peak_memory_bytes"] = 2_500_000_000
    (work.run / "train.json").write_text(json.dumps(record))
    (work.run / "notes.json").write_text("{damaged")
    assert report(work.run) == 0
    shown = text(work.run / "report.html")
    assert "proposals 1 min 15 s train.json" in shown
    assert "SVMs 3.4 s train.json" in shown
    assert "features not recorded" in shown
    assert re.search(r"train\.json [\d.]+ \S+( [\d.]+ s)? 2\.5 GB", shown)
    assert "Versions and hardware, from train.json" in shown
