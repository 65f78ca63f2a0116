"""The documentation is true: its commands and code run, its links lead somewhere, its site builds and is complete."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from data import minivoc
from detection.weights import pretrained
from sppnet.detector import choice_rules
from tests import browser

ROOT = Path(__file__).parents[1]
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
NEEDED = ("alexnet", "lite0", "lite2")
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEFORE = {  # what a page takes for granted
    "docs/export.md": ["extract-features --voc2007 --scales 688", "train-svms --voc2007", "test-net --voc2007"],
}
SHORTENED = {  # trainings that would take minutes; the last value of a flag counts
    "stage finetune": ["--schedule", "6:1e-3"],
    "classifier train-network": ["--epochs", "1"],
}


def blocks(page):
    return [(m[1], m[2]) for m in BLOCK.finditer(page.read_text("utf-8"))]


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("data") / "VOCdevkit", train=6, test=3, seed=0)


@pytest.fixture
def desk(devkit, tmp_path, monkeypatch):
    """A folder with what the documents speak of: a devkit, photos, labelled photos, a clone."""
    for name in NEEDED:
        if not pretrained.path_of(name).is_file():
            pytest.skip(f"weights {name} have not been fetched")
    shutil.copytree(devkit, tmp_path / "datasets" / "VOCdevkit")
    for name in ("my_photos", "my_data"):
        shutil.copytree(devkit / "VOC2007", tmp_path / name)
    photos = sorted((devkit / "VOC2007" / "JPEGImages").iterdir())
    shutil.copy(photos[0], tmp_path / "photo.jpg")
    (tmp_path / "holiday").mkdir()
    for photo in photos[1:3]:
        shutil.copy(photo, tmp_path / "holiday")
    for number, photo in enumerate(photos[:8]):
        (tmp_path / "labelled_photos" / f"kind{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / "labelled_photos" / f"kind{number % 2}")
    (tmp_path / "clone").symlink_to(ROOT)
    monkeypatch.setattr("data.download.download_voc", lambda root, year: root / "VOCdevkit")
    monkeypatch.setattr(choice_rules, "features", lambda train: ("pool5", "the fastest"))
    monkeypatch.setattr(choice_rules, "windows", lambda train, settings: ("ss", "the fastest"))
    monkeypatch.setattr(choice_rules, "cost", lambda train: (0.001, "the fastest"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words):
    """Exit code of one line of a `sh` block."""
    if words[0] == "sppnet":
        from sppnet.cli.app import main

        short = next((flags for name, flags in SHORTENED.items() if " ".join(words[1:]).startswith(name)), [])
        return main([*words[1:], *short])
    assert words[0] == "python", words
    assert words[1].startswith("tools/"), words
    return subprocess.run([sys.executable, str(ROOT / words[1]), *words[2:]]).returncode


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_and_example_of_a_page_works(desk, page, request):
    if "--engine ray" in page.read_text("utf-8"):
        request.getfixturevalue("ray")
    for line in BEFORE.get(str(page.relative_to(ROOT)), ()):
        assert run(["sppnet", "stage", *line.split()]) == 0
    for kind, text in blocks(page):
        if kind == "python":
            exec(compile(text, str(page), "exec"), {})  # as a reader would paste it
            continue
        for line in text.splitlines():
            if words := shlex.split(line, comments=True):
                assert run(words) == 0, line


@pytest.mark.slow
def test_the_example_from_photo_to_detector_works(desk):
    text = (ROOT / "docs" / "photo_to_detector.py").read_text("utf-8")
    assert "train=40, test=20" in text
    text = text.replace("train=40, test=20", "train=12, test=6")
    exec(compile(text, "photo_to_detector.py", "exec"), {})
    assert Path("found/trained.png").is_file()


def test_files_that_the_pages_link_to_are_there():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} -> {target}"


def test_the_readme_fits_on_two_screens():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


# ---- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The documentation, built so that every warning is an error."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Assets(HTMLParser):
    """Collects what a page makes a browser load."""

    def __init__(self, html):
        super().__init__()
        self.found, self.ids = [], set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        if tag == "link" and given.get("rel") in ("canonical", "next", "prev"):
            return
        names = {"link": ["href"], "object": ["data"]}.get(tag, ["src", "srcset", "poster"])
        self.found += [given[name] for name in names if given.get(name)]
        self.found += re.findall(r"url\(([^)]*)\)", given.get("style") or "")

    handle_startendtag = handle_starttag


def is_foreign(address):
    return re.match(r"[\"']?(https?:)?//", address) is not None


@pytest.mark.slow
def test_no_page_of_the_site_loads_anything_from_another_host(site):
    pages, styles = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 20
    foreign = {(page.name, a) for page in pages for a in Assets(page.read_text("utf-8")).found if is_foreign(a)}
    for sheet in (*styles, *pages):
        loaded = re.findall(r"(?:url\(|@import\s+)([^)\s;]+)", sheet.read_text("utf-8"))
        foreign |= {(sheet.name, address) for address in loaded if is_foreign(address)}
    assert not foreign


@pytest.mark.slow
def test_every_public_name_is_in_the_api_reference(site):
    documented = set()
    for page in (site / "api").rglob("*.html"):
        documented |= Assets(page.read_text("utf-8")).ids
    assert not [name for name in public_names() if name not in documented]


def public_names():
    """Documented functions and classes of every module that users may import; commands are on a page of their own."""
    import sppnet
    import sppnet.settings

    yield from (f"sppnet.{name}" for name in sppnet.__all__ if not name.startswith("_"))
    yield from (f"sppnet.settings.{name}" for name in sppnet.settings.__all__)
    for package in ("classification", "data", "detection", "proposals", "sppnet"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if module.startswith(("sppnet.settings", "sppnet.cli.commands", "sppnet.api")) or "._" in module:
                continue
            for node in ast.parse(path.read_text("utf-8")).body:
                named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
                if named and ast.get_docstring(node):
                    yield f"{module}.{node.name}"


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_site_works_without_a_server(site, width):
    with browser.chromium() as chromium:
        for name in ("index", "pipeline", "results", "api/index", "api/commands", "api/settings"):
            watched = browser.watch(chromium, width)
            watched.page.goto((site / f"{name}.html").as_uri())
            assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            assert not watched.errors, name
            assert all(request.startswith("file:") for request in watched.requests), name
        watched.page.goto((site / "index.html").as_uri() + "?q=pyramid_pool")
        watched.page.wait_for_selector(".md-search-result__link")
        assert "pyramid_pool" in watched.page.inner_text(".md-search-result__list")
