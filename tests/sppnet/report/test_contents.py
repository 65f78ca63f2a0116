"""What the report says when something is missing, damaged or empty."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from detection import model
from detection.calibration import Calibration
from detection.detection_table import load_npz, save_npz
from detection.detections import Detections
from sppnet.report.page_context import class_rows, reliability
from sppnet.report.tested_run import Scores, TestedRun
from sppnet.run import DataSource, Run
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


def test_probabilities_of_a_calibrated_model_are_compared_with_what_happened(work, chromium):
    page = work.run / "report.html"
    assert report(work.run) == 0
    assert "Probabilities" not in text(page)
    assert "shown from" not in text(page)
    trained = model.load(work.run / "model")
    learned = Calibration((2.0,) * 6, (0.5,) * 6, tuple(0.2 + 0.05 * k for k in range(6)))
    replace(trained, calibration=learned).save(work.run / "model")
    tested = TestedRun.of(Run(work.run, DataSource(work.devkit, None, False, "minivoc")))
    rows = tested.final.rows
    likely = learned.probabilities(rows.scores, rows.labels) >= 0.1
    assert report(work.run) == 0
    shown = text(page)
    assert f"points over {likely.sum():,} detections of 0.1 or more" in shown
    error = re.search(r"expected calibration error: ([\d.]+) points", shown)
    right = reliability(tested, Scores.of(tested, "voc07"))
    assert float(error[1]) == pytest.approx(100 * right.error, abs=0.06)
    assert page.read_text().count("% correct</title>") == len(right.bars) > 1
    assert [row.shown for row in class_rows(tested, Scores.of(tested, "voc07"))] == list(learned.thresholds)
    assert errors_of(chromium, page) == []


def test_a_damaged_model_is_an_error_as_only_it_knows_the_classes_of_the_detections(work, capsys):
    path = work.run / "model" / "model.json"
    path.write_text(path.read_text().replace('"cost": 0.001', '"cost": "much"'))
    assert report(work.run) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {work.run / 'model'}: damaged model (model.json: config.svm.cost: expected a")


def test_detections_of_unknown_classes_are_an_error_that_names_their_file(work, capsys):
    replace_detections(work, lambda found: {i: replace(d, labels=d.labels + 100) for i, d in found.items()})
    assert report(work.run) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {work.run / 'detections' / 'test-windows.npz'}: has detections of class number 10")
    assert "the 6 known ones are car, cat" in line


@pytest.mark.parametrize("images", [5, [], {"a": 5}, {"a": [5]}, {"a": [[5]]}, {"a": "x"}])
def test_other_notes_on_detections_are_an_error_that_names_their_file(work, capsys, images):
    path = work.run / "detections" / "test-windows.npz"
    table, meta = load_npz(path)
    save_npz(path, dict(table), meta | {"images": images})
    assert report(work.run) == 1
    assert f"error: {path}: damaged (images" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["NaN", "-1", "1e400", '"x"', "[]", "null", "true"])
def test_times_that_are_none_are_left_out(work, value):
    for path in work.run.rglob("*.seconds.json"):
        path.write_text(f'{{"seconds_per_image": {value}, "images": 4}}')
    (work.run / "more.json").write_text(f'{{"versions": {{}}, "seconds": {value}, "peak_memory_bytes": 5}}')
    assert report(work.run) == 0
    shown = text(work.run / "report.html")
    assert "more.json" not in shown
    assert "nan" not in shown
