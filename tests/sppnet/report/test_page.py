"""The page of the report, in a browser."""

import json
import re

import pytest

from sppnet.report import examples
from tests import browser
from tests.browser import HOSTILE, INLINE
from tests.damage import write_model_settings
from tests.sppnet.report.helpers import replace_detections, report, text

SECTIONS = ("ap", "curves", "errors", "scores", "examples", "proposals", "time", "settings")


@pytest.fixture(scope="module")
def opened(chromium, written):
    watched = browser.watch(chromium)
    watched.page.goto(written.as_uri())
    return watched


def column(page, table, number):
    """The values by which a column is sorted, from top to bottom."""
    script = "(rows, n) => rows.map(r => r.cells[n].dataset.value ?? r.cells[n].textContent.trim())"
    return page.eval_on_selector_all(f"#{table} tbody tr", script, number)


def parted(values):
    """The numbers before the first empty value, and the rest."""
    n = values.index("") if "" in values else len(values)
    return [float(v) for v in values[:n]], values[n:]


def test_the_page_has_no_errors_loads_nothing_else_and_shows_every_picture(opened, written):
    page = opened.page
    page.click("#open-all")
    widths = page.eval_on_selector_all("img", "images => images.map(i => i.naturalWidth)")
    assert len(widths) > 12
    assert min(widths) > 0
    assert max(widths) <= examples.LONG_SIDE
    assert page.locator("details:not([open])").count() == 1  # model.json
    assert opened.errors == []
    assert opened.requests == [written.as_uri()]
    assert [page.locator(f"section#{name} h2").count() for name in SECTIONS] == [1] * len(SECTIONS)
    assert sorted(page.eval_on_selector_all("nav a", "links => links.map(a => a.hash)")) == sorted(
        f"#{name}" for name in SECTIONS
    )


def test_the_figures_are_those_of_the_test(opened, written, finished):
    tested = json.loads((finished / "test.json").read_text())["result"]
    result = json.loads(written.with_suffix(".json").read_text())["result"]
    for stage in ("windows", "regressed"):
        assert result["stages"][stage]["ap"] == tested[stage]["ap"]
    cells = opened.page.locator("#ap-table tbody tr").all_inner_texts()
    shown = {row.split("\t")[0].strip(): row.split() for row in cells}
    for name, ap in tested["regressed"]["ap"].items():
        assert ("–" if ap is None else f"{100 * ap:.1f}") == shown[name][3]
    assert f"{100 * tested['regressed']['mean_ap']:.1f}" in opened.page.locator(".facts").inner_text()
    assert f"COCO: AP {100 * tested['regressed']['coco']['ap']:.1f}" in text(written)


def test_tables_sort_by_click_and_by_keyboard_and_unknown_values_stay_last(chromium, written):
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


@pytest.mark.parametrize("table", ["ap-table", "kinds-table", "errors-table", "proposals-table"])
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


def test_the_page_fits_the_width_of_a_phone(chromium, written):
    page = browser.watch(chromium, width=375, height=700).page
    page.goto(written.as_uri())
    page.click("#open-all")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_background_follows_the_color_scheme(chromium, written):
    shades = []
    for dark in (False, True):
        page = browser.watch(chromium, dark=dark).page
        page.goto(written.as_uri())
        shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(255, 255, 255)", "rgb(21, 23, 26)"]


@pytest.mark.parametrize("bad", HOSTILE)
def test_names_of_classes_photos_and_folders_are_shown_as_text_and_run_nothing(bad, work, devkit_copy, chromium):
    escaped = bad.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for path in devkit_copy.rglob("*.xml"):
        path.write_text(path.read_text().replace("<name>car</name>", f"<name>{escaped}</name>"))
    values = json.loads((work.run / "model" / "model.json").read_text())
    values["classes"][values["classes"].index("car")] = bad
    values["notes"]["data"] = bad
    write_model_settings(work.run / "model", values)
    run = work.run.rename(work.run.with_name(bad.replace("/", "|")))
    assert report(run, "--devkit", devkit_copy) == 0
    watched = browser.watch(chromium)
    page = watched.page
    page.goto((run / "report.html").as_uri())
    page.click("#open-all")
    assert page.locator("h1").inner_text() == run.name
    assert page.title() == f"{run.name}: {page.locator('header .quiet').inner_text()[19:].partition('. Report')[0]}"
    assert bad in [name.strip() for name in page.locator("#ap-table th[scope=row]").all_text_contents()]
    assert bad in page.locator("#settings td").all_text_contents()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("[document.ran ?? null, document.scripts.length]") == [None, 1]
    assert watched.errors == []


def test_names_of_photos_are_shown_as_text_and_run_nothing(work, devkit_copy, chromium):
    bad = '"onmouseover="document.ran=1"\'><b>&lt;'
    old = next(devkit_copy.rglob("Main/test.txt")).read_text().split()[0]
    for path in [*devkit_copy.rglob(f"{old}.*")]:
        path.rename(path.with_name(bad + path.suffix))
    for path in devkit_copy.rglob("Main/*.txt"):
        path.write_text(path.read_text().replace(old, bad))
    replace_detections(work, lambda found: {bad if i == old else i: d for i, d in found.items()})
    assert report(work.run, "--devkit", devkit_copy) == 0
    watched = browser.watch(chromium)
    page = watched.page
    page.goto((work.run / "report.html").as_uri())
    page.click("#open-all")
    assert bad in page.locator("figcaption .id").all_text_contents()
    for picture in page.locator("figure").all()[:40]:
        picture.hover()
    assert page.evaluate("document.ran ?? null") is None
    assert watched.errors == []


def test_what_gets_into_the_report_does_not_run(chromium, written):
    watched = browser.watch(chromium)
    watched.page.goto(written.as_uri())
    ran, styled, blocked = watched.page.evaluate(INLINE)
    assert (ran, styled) == (None, False)
    assert {"require-trusted-types-for", "style-src-elem", "style-src-attr", "sink"} <= set(blocked)


def test_the_policy_allows_the_one_script_and_style_and_data_only(written):
    page = written.read_text("utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', page)
    assert policy.startswith("default-src &#39;none&#39;; img-src data:;")
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert not re.search(r"\s(style|on\w+)=", page)
