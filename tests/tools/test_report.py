"""The page that a tested run is summed up in, read by a browser."""

import json
import re
import shutil
from argparse import Namespace

import numpy as np
import pytest

from detection.detection_table import load_npz, save_npz
from detection.detections import Detections
from detection.pictures.drawing import PALETTE
from sppnet.report import charts, examples, tested_run
from tests import browser
from tools import common, report

SECTIONS = ("ap", "curves", "errors", "scores", "examples", "windows", "time", "settings")


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    """The report of the finished run, which lies elsewhere."""
    out = tmp_path_factory.mktemp("report") / "page.html"
    assert report.main([str(finished), "--out", str(out), "--json", str(out.with_suffix(".json"))]) == 0
    return out


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def opened(chromium, written):
    watched = browser.watch(chromium)
    watched.page.goto(written.as_uri())
    return watched


def text(path):
    """What a page says, without tags and pictures."""
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<(style|script)>.*?</\1>", " ", path.read_text())).split())


def test_the_page_has_no_errors_asks_for_nothing_else_and_shows_every_picture(opened, written):
    page = opened.page
    page.click("#open-all")
    widths = page.eval_on_selector_all("img", "images => images.map(i => i.naturalWidth)")
    assert len(widths) > 12
    assert min(widths) > 0
    assert max(widths) <= examples.LONG_SIDE
    assert page.locator("details:not([open])").count() == 1  # of all settings
    assert opened.errors == []
    assert opened.requests == [written.as_uri()]
    assert [page.locator(f"section#{name} h2").count() for name in SECTIONS] == [1] * len(SECTIONS)


def test_the_figures_are_those_of_the_test(opened, written, finished):
    told = json.loads((finished / "test.json").read_text())["result"]
    result = json.loads(written.with_suffix(".json").read_text())["result"]
    for stage in ("windows", "regressed"):
        assert result["stages"][stage]["ap"] == told[stage]["ap"]
    cells = opened.page.locator("#ap-table tbody tr").all_inner_texts()
    shown = {row.split("\t")[0].strip(): row.split() for row in cells}
    for name, ap in told["regressed"]["ap"].items():
        assert ("–" if ap is None else f"{100 * ap:.1f}") == shown[name][3]
    assert f"{100 * told['regressed']['mean_ap']:.1f}" in opened.page.locator(".facts").inner_text()
    assert f"COCO: AP {100 * told['regressed']['coco']['ap']:.1f}" in text(written)


def column(page, table, number):
    """What a column holds as sorting sees it, from the top."""
    script = "(rows, n) => rows.map(r => r.cells[n].dataset.value ?? r.cells[n].textContent.trim())"
    return page.eval_on_selector_all(f"#{table} tbody tr", script, number)


def parted(values):
    """The numbers that come before the first empty value, and what follows."""
    n = values.index("") if "" in values else len(values)
    return [float(v) for v in values[:n]], values[n:]


def test_tables_sort_by_a_click_and_by_the_keyboard_and_unknown_values_stay_last(chromium, written):
    page = browser.watch(chromium).page
    page.goto(written.as_uri())
    top = page.locator("#ap-table tbody tr").first.locator("td").nth(2)
    top.evaluate("cell => { cell.dataset.value = ''; }")
    head = page.locator("#ap-table thead th").nth(3)
    names = column(page, "ap-table", 0)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    known, unknown = parted(column(page, "ap-table", 3))
    assert known == sorted(known, reverse=True)
    assert len(known) > 1
    assert len(unknown) > 0
    assert column(page, "ap-table", 0) != names
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert parted(column(page, "ap-table", 3)) == (sorted(known), unknown)
    page.locator("#ap-table thead button").first.click()
    assert column(page, "ap-table", 0) == sorted(names)
    assert head.get_attribute("aria-sort") is None


@pytest.mark.parametrize("table", ["ap-table", "kinds-table", "errors-table", "windows-table"])
def test_every_column_of_every_table_sorts(opened, table):
    page = opened.page
    heads = page.locator(f"#{table} thead th")
    assert heads.count() >= 4
    for n in range(heads.count()):
        for _ in range(2):
            heads.nth(n).locator("button").click()
        values = column(page, table, n)
        if "num" in (heads.nth(n).get_attribute("class") or ""):
            known, unknown = parted(values)
            assert known == sorted(known)
            assert set(unknown) <= {""}
        else:
            assert values == sorted(values, reverse=True)


def test_a_phone_scrolls_in_one_direction_only(chromium, written):
    page = browser.watch(chromium, width=375, height=700).page
    page.goto(written.as_uri())
    page.click("#open-all")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_dark_rooms_get_dark_paper(chromium, written):
    shades = []
    for dark in (False, True):
        page = browser.watch(chromium, dark=dark).page
        page.goto(written.as_uri())
        shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(255, 255, 255)", "rgb(21, 23, 26)"]


def test_the_report_lies_in_the_run_and_needs_no_flags(work, capsys):
    assert report.main([str(work.run)]) == 0
    assert capsys.readouterr().out.strip() == f"report: {work.run / 'report.html'}"
    assert "tested on VOC2007 test" in text(work.run / "report.html")


def test_without_a_json_file_it_asks_for_the_data(work, capsys):
    (work.run / "test.json").unlink()
    assert report.main([str(work.run)]) == 1
    assert "no json file in it tells its data set; give --data, --devkit" in capsys.readouterr().err
    assert report.main([str(work.run), "--devkit", str(work.devkit)]) == 0
    said = text(work.run / "report.html")
    assert "Memory was not recorded" in said
    assert "Versions and hardware were not recorded" in said


def test_training_can_call_it_with_its_run(work):
    options = Namespace(
        data=None, devkit=work.devkit, voc2007=False, limit=None, skip_bad=False, test_split="test", train_split="train"
    )
    run = common.Run(work.devkit, None, work.run, options)
    path, figures = report.write_report(run)
    assert path == work.run / "report.html"
    assert figures["photos"] == 4
    assert options.skip_bad is False


def test_a_run_that_was_never_tested_says_what_to_do(work, tmp_path, capsys):
    shutil.rmtree(work.run / "detections")
    assert report.main([str(work.run)]) == 1
    assert "no detections of test; run test_net first" in capsys.readouterr().err
    assert report.main([str(tmp_path / "absent")]) == 1
    assert "absent: no such run" in capsys.readouterr().err
    assert not list(tmp_path.rglob("report.html"))


def test_another_split_is_named(work, capsys):
    assert report.main([*work.data, "--split", "trainval"]) == 1
    said = capsys.readouterr().err
    assert "no detections of trainval; run test_net first, or name the split with --split (test-windows.npz" in said


def test_the_run_is_named_once(work, capsys):
    assert report.main([str(work.run), *work.data]) == 1
    assert "name the run once" in capsys.readouterr().err


def test_of_several_models_one_is_named(work, capsys):
    folder = work.run / "detections"
    for stage in ("windows", "regressed"):
        (folder / f"test-{stage}.npz").rename(folder / f"test-one-{stage}.npz")
    assert report.main([str(work.run)]) == 0  # the only one
    assert "run (one)" in text(work.run / "report.html")
    for stage in ("windows", "regressed"):  # as without box regression
        shutil.copy(folder / "test-one-windows.npz", folder / f"test-two-{stage}.npz")
    assert report.main([str(work.run)]) == 1
    assert "has detections of one, two; say which with --detections" in capsys.readouterr().err
    assert report.main([str(work.run), "--detections", "two"]) == 0
    said = text(work.run / "report.html")
    assert "No box regression" in said
    assert "holds no model of these detections" in said
    assert report.main([str(work.run), "--detections", "three"]) == 1
    assert "no detections of test by three; it has those of one, two" in capsys.readouterr().err


def replace_detections(work, change):
    for stage in ("windows", "regressed"):
        path = work.run / "detections" / f"test-{stage}.npz"
        save_npz(path, change(dict(load_npz(path)[0])))


def test_a_detector_that_finds_nothing_is_reported(work, chromium):
    replace_detections(work, lambda found: dict.fromkeys(found, Detections.empty()))
    assert report.main([str(work.run)]) == 0
    said = text(work.run / "report.html")
    assert "The detector found nothing at all" in said
    assert "nothing right" in said
    assert "no detections to rank" in said
    assert "no detection of its class touches it" in said
    watched = browser.watch(chromium)
    watched.page.goto((work.run / "report.html").as_uri())
    assert watched.errors == []


def test_a_test_of_other_photos_is_reported_as_that(work, chromium):
    replace_detections(work, lambda found: {f"other{i}": d for i, d in found.items()})
    assert report.main([str(work.run)]) == 0
    said = text(work.run / "report.html")
    assert "No photo of the split has detections" in said
    assert "Tested, but no longer in the split: 4 photos (other" in said
    assert "nan" not in said
    watched = browser.watch(chromium)
    watched.page.goto((work.run / "report.html").as_uri())
    assert watched.errors == []


def test_a_limit_leaves_the_other_photos_out(work):
    assert report.main([*work.data, "--limit", "2", "--json", str(work.run / "r.json")]) == 0
    assert json.loads((work.run / "r.json").read_text())["result"]["photos"] == 2
    assert "no longer in the split" not in text(work.run / "report.html")


def test_the_metric_is_the_one_asked_for(work):
    found = {}
    for metric, words in (("voc07", "the mean of eleven precisions"), ("area", "the area under the curve")):
        assert report.main([str(work.run), "--metric", metric, "--json", str(work.run / "r.json")]) == 0
        assert words in text(work.run / "report.html")
        found[metric] = json.loads((work.run / "r.json").read_text())["result"]["stages"]["regressed"]
    assert [found[m]["metric"] for m in found] == ["voc07", "area"]
    assert found["voc07"]["ap"] != found["area"]["ap"]


def test_a_class_without_objects_reads_a_dash(work):
    options = ["--devkit", str(only_cars(work)), str(work.run)]
    assert report.main(options) == 0
    said = text(work.run / "report.html")
    assert "No tested photo has an object to find of" in said
    assert "The class has no object to find in these photos." in said
    assert "nan" not in said


def only_cars(work):
    """A copy of the data set in which all objects of the test photos are difficult, but for cars."""
    devkit = work.run.parent / "cars"
    shutil.copytree(work.devkit, devkit)
    for path in devkit.rglob("*.xml"):
        parts = re.split(r"(?=<object>)", path.read_text())
        parts = [p if "<name>car</name>" in p else re.sub("<difficult>0", "<difficult>1", p) for p in parts]
        path.write_text("".join(parts))
    return devkit


@pytest.fixture
def devkit_copy(work):
    shutil.copytree(work.devkit, work.run.parent / "copy")
    return work.run.parent / "copy"


def first_test_photo(devkit):
    image_id = next(devkit.rglob("Main/test.txt")).read_text().split()[0]
    return image_id, next(devkit.rglob(f"JPEGImages/{image_id}.*"))


def test_photos_that_cannot_be_read_are_told_in_words(work, devkit_copy):
    for photo in devkit_copy.rglob("*.jpg"):
        photo.write_bytes(b"no image")
    assert report.main([str(work.run), "--devkit", str(devkit_copy)]) == 0
    page = (work.run / "report.html").read_text()
    assert "The photo cannot be read:" in page
    assert "<img" not in page


def test_photos_that_are_gone_or_untested_are_told_and_not_counted(work, devkit_copy):
    image_id, photo = first_test_photo(devkit_copy)
    photo.unlink()
    replace_detections(work, lambda found: {i: d for i, d in found.items() if i != max(found)})
    assert report.main([str(work.run), "--devkit", str(devkit_copy), "--json", str(work.run / "r.json")]) == 0
    said = text(work.run / "report.html")
    assert f"Unusable, and counted nowhere: 1 photo ({image_id}:" in said
    assert "Not tested, and counted nowhere: 1 photo of the split" in said
    assert json.loads((work.run / "r.json").read_text())["result"]["photos"] == 2


def test_names_of_strangers_are_text(work, devkit_copy, chromium):
    bad = "<img src=x onerror=document.title='owned'>&\"'"
    escaped = bad.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for path in devkit_copy.rglob("*.xml"):
        path.write_text(path.read_text().replace("<name>car</name>", f"<name>{escaped}</name>"))
    model = json.loads((work.run / "model" / "model.json").read_text())
    model["classes"][model["classes"].index("car")] = bad
    (work.run / "model" / "model.json").write_text(json.dumps(model))
    run = work.run.rename(work.run.with_name("<u>run & co"))
    assert report.main([str(run), "--devkit", str(devkit_copy)]) == 0
    watched = browser.watch(chromium)
    watched.page.goto((run / "report.html").as_uri())
    assert watched.page.locator("h1").inner_text() == "<u>run & co"
    assert bad in [name.strip() for name in watched.page.locator("#ap-table th[scope=row]").all_inner_texts()]
    assert "owned" not in watched.page.title()
    assert watched.page.locator("img[src=x]").count() == 0
    assert watched.errors == []


def test_windows_that_are_not_there_or_damaged_are_told(work):
    path = work.run / "proposals" / "ss" / "test.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert report.main([str(work.run)]) == 0
    assert "ss cannot be measured:" in text(work.run / "report.html")
    shutil.rmtree(work.run / "proposals")
    assert report.main([str(work.run)]) == 0
    assert "The run holds no windows of test" in text(work.run / "report.html")


def test_time_of_every_stage_and_memory_come_from_train_json(work):
    told = json.loads((work.run / "test.json").read_text())
    told["result"]["stage_seconds"] = {"windows": 75.2, "SVMs": 3.4}
    told["peak_memory_bytes"] = 2_500_000_000
    (work.run / "train.json").write_text(json.dumps(told))
    (work.run / "notes.json").write_text("{damaged")
    assert report.main([str(work.run)]) == 0
    said = text(work.run / "report.html")
    assert "windows 1 min 15 s train.json" in said
    assert "SVMs 3.4 s train.json" in said
    assert "features not recorded" in said
    assert re.search(r"train\.json [\d.]+ \S+( [\d.]+ s)? 2\.5 GB", said)
    assert "Versions and hardware, by train.json" in said


def test_curves_keep_their_ends_and_few_points():
    right = np.random.default_rng(0).random(5000) < 0.5
    recall = np.cumsum(right) / right.sum()
    precision = np.cumsum(right) / np.arange(1, 5001)
    points = [tuple(map(float, p.split(","))) for p in charts.curve(precision, recall).split()]
    assert len(points) <= 160
    assert points[-1][0] == 100
    assert [p[0] for p in points] == sorted(p[0] for p in points)
    assert charts.curve([0.0, 0.0], [0.0, 0.0]) == charts.curve([], []) == ""
    assert charts.curve([1.0, 0.5], [np.nan, np.nan]) == ""


def test_histograms_reach_from_the_middle_to_the_edges():
    drawn = charts.histogram([1.0, 1.0, 0.0], [0.0], (0.0, 1.0))
    heights = [float(p.split(",")[1]) for p in drawn.right.split()]
    assert (min(heights), max(heights)) == (0, 50)
    assert heights[1] == 25  # half as many in the first bin
    assert max(float(p.split(",")[1]) for p in drawn.wrong.split()) == 100
    assert (drawn.n_right, drawn.n_wrong) == (3, 1)
    assert charts.histogram([], [], (0.0, 1.0)).right == ""
    assert charts.limits_of([[], [2.0, np.inf]]) == (1.5, 2.5)
    assert charts.limits_of([]) == (-1, 1)


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (390, 290, 399, 299), (-50, -50, 900, 900), (100, 100, 180, 120)])
def test_crops_are_small_whatever_the_box(box):
    photo = np.zeros((300, 400, 3), np.uint8)
    thing = np.array([150.0, 100, 200, 150])
    for boxes in ((np.array(box, float), None), (np.array(box, float), thing), (None, thing)):
        picture = examples.cut(photo, *boxes, PALETTE[5])
        assert max(picture.shape) <= examples.LONG_SIDE
        assert picture.dtype == np.uint8
        assert (picture == PALETTE[5]).all(axis=2).any() == (boxes[0] is not None)


def test_with_many_classes_those_of_most_objects_are_shown(work, monkeypatch):
    monkeypatch.setattr(examples, "MOST", 7)
    options = Namespace(
        data=None, devkit=work.devkit, voc2007=False, limit=None, skip_bad=False, test_split="test", train_split="train"
    )
    tested = tested_run.Tested.of(common.Run(work.devkit, None, work.run, options))
    scores = tested_run.Scores.of(tested, "voc07")
    shown = examples.galleries(scores.errors, tested.dataset)
    assert len(shown) == 2
    assert sum(len(g.examples) for g in shown) <= 6
    most = sorted(scores.errors.n_objects.tolist())[-2:]
    counts = [scores.errors.n_objects[tested.classes.index(g.name)] for g in shown]
    assert sorted(counts) == most
