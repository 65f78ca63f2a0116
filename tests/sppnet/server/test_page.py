"""The page and the API's documentation, in a browser."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection import zoo
from detection.calibration import Calibration
from detection.image import read
from detection.model import load
from sppnet.server.detector_queue import DetectorQueue
from sppnet.server.offered_detectors import offered_detectors
from tests import browser
from tests.browser import HOSTILE, INLINE
from tests.sppnet.server.helpers import LIMITS, OneOfEach, WaitingDetector, ask, encoded, site

DROP = """(zone, [bytes, name]) => {
  const data = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([data], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: dropped }));
  }
}"""


def expect(locator):
    """Playwright's assertions, which wait until they hold."""
    from playwright.sync_api import expect

    return expect(locator)


def opened(chromium, client, **size):
    """The page of a server, with its list of models."""
    watched = browser.watch(chromium, **size)
    watched.page.goto(str(client.base_url))
    watched.page.wait_for_selector("#model option", state="attached")
    return watched


def drop(page, data, name="photo.jpg"):
    page.locator("#drop").evaluate(DROP, [base64.b64encode(data).decode(), name])


def slide(page, value):
    page.locator("#threshold").evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", value)


def painted(page):
    """The canvas as text, to compare it with others."""
    return page.evaluate("document.querySelector('#canvas').toDataURL()")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, True)])
def test_a_dropped_photo_is_boxed_listed_and_filtered(width, dark, chromium, client, photo, queue):
    watched = opened(chromium, client, width=width, dark=dark)
    page, served = watched.page, queue.served
    drop(page, photo.read_bytes())
    page.wait_for_selector("#found:not([hidden])")
    expected = ask(client, photo, score_threshold=-1).json()["detections"]
    scores = sorted(d["score"] for d in expected)
    pictures = []
    for threshold in (-1, -0.8, -0.5, scores[-1] + 0.1):
        slide(page, threshold)
        lowest = page.eval_on_selector("#threshold", "s => Number(s.value)")
        kept = [d for d in expected if d["score"] >= lowest]
        assert page.locator("#detections tr").count() == len(kept)
        assert [t.strip() for t in page.locator("#detections th").all_inner_texts()] == [d["class"] for d in kept]
        assert json.loads(page.locator("#json").text_content())["detections"] == kept
        assert page.locator("#status").inner_text().startswith(f"{len(kept)} object")
        pictures.append((len(kept), painted(page)))
    assert len({n for n, _ in pictures}) == len({p for _, p in pictures}) > 1
    assert pictures[-1][0] == 0
    assert queue.served == served + 2  # the page's one request, and this test's
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#times dt").all_text_contents()[-1] == "total"
    assert re.fullmatch(r"\d+\.\d\d s", page.locator("#total").inner_text())
    assert watched.errors == []
    asked = [r for r in watched.requests if not r.startswith("blob:")]
    own = ("/", "/page.css", "/page.js", "/models", "/detect")
    assert {r.partition("?")[0] for r in asked} == {f"{client.base_url}{p}" for p in own}


def test_a_calibrated_model_shows_the_likely_objects_of_each_class_until_the_slider_moves(
    chromium, name, weights, photo, tmp_path
):
    folder = tmp_path / "calibrated"
    model = load(Path(name))
    limits = tuple(0.2 + 0.1 * k for k in range(len(model.classes)))
    replace(model, calibration=Calibration((3.0,) * len(limits), (2.5,) * len(limits), limits)).save(folder)
    with DetectorQueue(offered_detectors([str(folder)], weights), LIMITS, "cpu") as queue, site(queue) as client:
        watched = opened(chromium, client)
        page = watched.page
        drop(page, photo.read_bytes())
        page.wait_for_selector("#found:not([hidden])")
        everything = ask(client, photo, threshold=0.01).json()["detections"]
        likely = ask(client, photo).json()["detections"]
        assert 0 < len(likely) < len(everything)
        assert json.loads(page.locator("#json").text_content())["detections"] == likely
        assert page.locator("#threshold-value").inner_text() == "the best of each class"
        assert page.locator("#confidence").inner_text() == "probability"
        assert page.locator("#detections td.num").first.inner_text() == f"{likely[0]['probability']:.2f}"
        slide(page, 0.5)
        kept = [d for d in everything if d["probability"] >= 0.5]
        assert json.loads(page.locator("#json").text_content())["detections"] == kept
        assert page.locator("#threshold-value").inner_text() == "0.50"
        page.locator("#automatic").click()
        assert json.loads(page.locator("#json").text_content())["detections"] == likely
        assert watched.errors == []
        page.goto("about:blank")


def test_the_keyboard_alone_chooses_a_photo_and_a_row(chromium, client, photo):
    page = opened(chromium, client).page
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.set_input_files("#file", photo)
    page.wait_for_selector("#found:not([hidden])")
    slide(page, -1)
    plain = painted(page)
    page.locator("#detections tr").first.focus()
    first = painted(page)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.rowIndex") == 2
    assert len({plain, first, painted(page)}) == 3  # the row's box is highlighted


def test_several_photos_are_searched_in_turn_and_chosen_from_small_pictures(chromium, client, photo, queue):
    page, served = opened(chromium, client, width=375).page, queue.served
    other = io.BytesIO()
    Image.fromarray(read(photo)[:, ::-1]).save(other, "png")
    files = [("first.jpg", photo.read_bytes()), ("broken.jpg", b"no photo"), ("second.png", other.getvalue())]
    page.set_input_files("#file", [{"name": n, "mimeType": "image/jpeg", "buffer": data} for n, data in files])
    page.wait_for_selector("#found:not([hidden])")
    small = page.locator("#strip button")
    expect(small).to_have_count(3)
    expect(small.nth(2)).to_have_attribute("aria-label", re.compile(r"second.png: \d+ objects"))
    assert small.nth(1).get_attribute("aria-label") == "broken.jpg: no result"
    assert [b.get_attribute("aria-current") for b in small.all()] == ["true", "false", "false"]
    assert page.locator("#error").is_hidden()
    assert queue.served == served + 2
    slide(page, -1)
    first = json.loads(page.locator("#json").text_content())["detections"]
    assert small.nth(0).inner_text() == str(len(first))
    small.nth(1).click()
    assert page.locator("#error").inner_text().startswith("broken.jpg: the file is not a photo")
    assert page.locator("#found").is_hidden()
    small.nth(2).click()
    assert page.locator("#error").is_hidden()
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile("^second.png: "))
    assert json.loads(page.locator("#json").text_content())["detections"] != first
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_on_a_phone_the_slider_is_right_below_the_photo(chromium, client, photo):
    page = opened(chromium, client, width=375).page
    drop(page, photo.read_bytes())
    page.wait_for_selector("#found:not([hidden])")
    below = page.locator("#drop").bounding_box()
    slider, model = (page.locator(name).bounding_box()["y"] for name in ("#threshold", "#model"))
    assert below["y"] + below["height"] < slider < below["y"] + below["height"] + 80
    assert model > page.locator("#found").bounding_box()["y"]


def test_the_picture_is_downloaded_in_the_size_of_the_photo(chromium, client, photo, tmp_path):
    page = opened(chromium, client, width=375).page
    drop(page, photo.read_bytes(), "my holiday.jpg")
    page.wait_for_selector("#found:not([hidden])")
    slide(page, -1)
    with page.expect_download() as waiting:
        page.click("#save")
    assert waiting.value.suggested_filename == "my holiday-detections.png"
    waiting.value.save_as(tmp_path / "picture.png")
    drawn, plain = read(tmp_path / "picture.png"), read(photo)
    assert drawn.shape == plain.shape
    different = (np.abs(drawn.astype(int) - plain) > 60).any(axis=2)
    assert 0.002 < different.mean() < 0.9  # boxes and labels, and the photo between them


def test_errors_are_shown_on_the_page_until_the_next_photo(chromium, client, photo):
    page = opened(chromium, client).page
    drop(page, b"no photo", "<img src=x onerror=document.title='owned'>.jpg")
    page.wait_for_selector("#error:not([hidden])")
    shown = page.locator("#error").inner_text()
    assert shown.startswith("<img src=x onerror=document.title='owned'>.jpg: the file is not a photo in a known format")
    drop(page, bytes(1_200_000), "large.jpg")
    expect(page.locator("#error")).to_contain_text("large.jpg has 1.2 MB; at most 1 MB are accepted. Resize the photo.")
    page.locator("#drop").evaluate(DROP.replace("dropped.items.add", "void"), ["", ""])
    assert page.locator("#error").inner_text() == "That is not a file; drop a photo from a folder."
    drop(page, photo.read_bytes())
    page.wait_for_selector("#found:not([hidden])")
    assert page.locator("#error").is_hidden()
    assert "owned" not in page.title()


def test_class_names_are_escaped_and_photos_that_no_browser_displays_get_their_boxes(chromium, slow):
    slow.detector.go_on.set()
    with site(slow.queue) as client:
        watched = opened(chromium, client)
        drop(watched.page, encoded(60, 40, "tiff"), "scan.tif")
        watched.page.wait_for_selector("#found:not([hidden])")
        assert watched.page.locator("#detections th").inner_text() == "<b>thing</b>"
        assert watched.page.locator("#canvas").get_attribute("aria-label") == "scan.tif: 1 <b>thing</b>"
        assert watched.page.locator("#status").inner_text() == "1 object; 1 more below the threshold"
        edge = "document.querySelector('#canvas').getContext('2d').getImageData(42, 30, 1, 1).data.slice(0, 3).join()"
        assert watched.page.evaluate(edge) == "230,159,0"  # of a box up to x = 20, shown at twice its size
        assert watched.errors == []
        watched.page.goto("about:blank")


def test_another_model_is_asked_at_once_and_a_lost_server_is_reported(chromium, slow):
    slow.detector.go_on.set()
    other = slow.queue.loaded["lite2-voc2007"] = WaitingDetector(Calibration((1.0,), (0.0,), (0.5,)))
    other.go_on.set()
    with site(slow.queue) as client:
        page = opened(chromium, client).page
        drop(page, encoded(60, 40))
        page.wait_for_selector("#found:not([hidden])")
        page.select_option("#model", "lite2-voc2007")
        expect(page.locator("#json")).to_contain_text("lite2-voc2007")
        assert (slow.detector.seen, other.seen) == ([60], [60])
        card = json.loads((zoo.folder_of("lite2-voc2007") / "card.json").read_text())
        accuracy, speed = 100 * card["scores"]["regressed"]["voc07_map"], card["seconds_per_image"]
        described = f"lite2, {accuracy:.1f} mAP on VOC 2007, {speed:.2f} s per photo"
        assert page.locator("#card").inner_text() == described
    page.select_option("#model", "lite0-voc2007")
    page.wait_for_selector("#error:not([hidden])")
    assert page.locator("#error").inner_text() == "The server does not answer. Is it still running?"


def test_json_is_copied_and_downloaded(chromium, client, photo, tmp_path):
    page = opened(chromium, client).page
    drop(page, photo.read_bytes(), "beach.photo.jpg")
    page.wait_for_selector("#found:not([hidden])")
    page.click("details:has(#json) summary")
    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "beach.photo.json"
    waiting.value.save_as(tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text())["width"] == read(photo).shape[1]
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text(re.compile("Copied|Selected"))


def test_the_page_of_the_api_lists_it_without_other_requests(chromium, client):
    watched = browser.watch(chromium, width=375)
    watched.page.goto(f"{client.base_url}/docs")
    watched.page.wait_for_selector("h2")
    titles = watched.page.locator("h2").all_inner_texts()
    assert titles[:4] == ["POST /detect", "GET /models", "GET /health", "Detection"]
    assert "score_threshold" in watched.page.locator("main").inner_text()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 375
    assert watched.errors == []
    own = ("/docs", "/api.css", "/api.js", "/openapi.json")
    assert watched.requests == [f"{client.base_url}{path}" for path in own]


def test_hostile_names_are_shown_as_text_and_run_nothing(chromium, name, weights, tmp_path):
    folder = tmp_path / HOSTILE[0].replace("/", "") / "m"
    model = load(Path(name))
    classes = (*HOSTILE, *model.classes[len(HOSTILE) :])
    replace(model, classes=classes).save(folder)
    with DetectorQueue(offered_detectors([str(folder)], weights), LIMITS, "cpu") as queue, site(queue) as client:
        queue.loaded[str(folder)] = OneOfEach(classes)
        watched = opened(chromium, client)
        page = watched.page
        for hostile in HOSTILE:
            drop(page, encoded(90, 60), f"{hostile}.png")
        page.wait_for_selector("#found:not([hidden])")
        expect(page.locator("#strip button").last).not_to_have_attribute("aria-label", re.compile("waiting"))
        assert page.locator("#classes").text_content() == ", ".join(classes)
        assert page.locator("#model option").first.text_content() == str(folder)
        assert page.locator("#detections th").all_text_contents() == list(classes)
        labels = [b.get_attribute("aria-label") for b in page.locator("#strip button").all()]
        assert all(f"{hostile}.png: " in label for hostile, label in zip(HOSTILE, labels, strict=True))
        page.locator("#detections tr").first.hover()
        assert page.evaluate("[document.ran ?? null, document.scripts.length, document.images.length]") == [None, 1, 0]
        assert watched.errors == []
        page.goto("about:blank")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_what_gets_into_a_page_does_not_run(path, chromium, client):
    watched = browser.watch(chromium)
    watched.page.goto(f"{client.base_url}{path}")
    ran, styled, blocked = watched.page.evaluate(INLINE)
    assert (ran, styled) == (None, False)
    assert {"require-trusted-types-for", "style-src-elem", "style-src-attr", "sink"} <= set(blocked)
