"""Headless Chromium, for tests of pages that commands write or serve."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page


@dataclass
class WatchedPage:
    """A page with its console messages and requests.

    Attributes:
        page: the page.
        errors: console warnings and errors, and uncaught exceptions.
        requests: requested addresses, except "data:" addresses.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped if there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


HOSTILE = (
    "<img src=x onerror=\"document.ran = 'img'\">",
    "</script><script>document.ran = 'script'</script>",
    "\"'` onmouseover=document.ran='attribute' x=\"",
    "</title></style><svg onload=document.ran=1>",
    "javascript:document.ran=1//&lt;&#60;{{7*7}}${7*7}",
)
"""Names of classes and files that would set `document.ran` if a page took them for more than text."""

INLINE = r"""async () => {
  const blocked = [];
  const attempt = put => { try { put(); } catch { blocked.push("sink"); } };
  const made = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  addEventListener("securitypolicyviolation", event => blocked.push(event.effectiveDirective));
  attempt(() => document.body.append(made("script", "document.ran = 'script'")));
  attempt(() => document.body.setAttribute("onclick", "document.ran = 'handler'"));
  attempt(() => document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='document.ran = \"html\"'>"));
  attempt(() => setTimeout("document.ran = 'timer'", 0));
  attempt(() => document.body.append(made("style", "body { outline: 7px solid red }")));
  attempt(() => document.body.setAttribute("style", "outline: 7px solid red"));
  document.body.click();
  await new Promise(resolve => setTimeout(resolve, 200));
  return [document.ran ?? null, getComputedStyle(document.body).outlineWidth === "7px", blocked];
}"""
"""Puts scripts and styles into a page; returns what ran, whether a style was applied, and what was blocked."""


def watch(browser: Browser, width: int = 1280, height: int = 900, dark: bool = False) -> WatchedPage:
    """Open an empty page.

    Args:
        browser: from `chromium`.
        width, height: of the page, pixels.
        dark: prefer the dark color scheme.
    """
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
    watched = WatchedPage(page)
    page.on("console", watched._on_console)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith("data:") else watched.requests.append(r.url))
    return watched
