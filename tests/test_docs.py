"""What the documents tell people to type works: every `sh` and `python` block, in order, on a generated data set."""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

from data import minivoc
from detection.weights import pretrained

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "docs/quickstart.md",
    "docs/own-data.md",
    "docs/reproduce.md",
    "docs/pipeline.md",
    "docs/models.md",
    "docs/classification.md",
)
NEEDED = ("alexnet", "lite0", "lite2")
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("data") / "VOCdevkit", train=8, test=4, seed=0)


@pytest.fixture
def desk(devkit, tmp_path, monkeypatch):
    """A folder with what the documents speak of: a devkit, photos, labelled photos."""
    for name in NEEDED:
        if not pretrained.path_of(name).is_file():
            pytest.skip(f"weights {name} have not been fetched")
    shutil.copytree(devkit, tmp_path / "datasets" / "VOCdevkit")
    year = devkit / "VOC2007"
    for name in ("my_photos", "my_data"):
        shutil.copytree(year, tmp_path / name)
    photos = sorted((year / "JPEGImages").iterdir())
    shutil.copy(photos[0], tmp_path / "photo.jpg")
    (tmp_path / "holiday").mkdir()
    for photo in photos[1:3]:
        shutil.copy(photo, tmp_path / "holiday")
    for number, photo in enumerate(photos[:8]):
        (tmp_path / "labelled_photos" / f"kind{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / "labelled_photos" / f"kind{number % 2}")
    monkeypatch.setattr("data.download.download_voc", lambda root, year: root / "VOCdevkit")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(document):
    return [(m[1], m[2]) for m in BLOCK.finditer((ROOT / document).read_text("utf-8"))]


def commands(block):
    """Lines of a block without comments, as lists of words; trainings are cut short."""
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if "finetune" in line:
            words += ["--schedule", "6:1e-3"]  # the last one counts
        if "train_classifier" in line:
            words += ["--epochs", "1"]
        if words:
            yield words


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_works(desk, document):
    found = blocks(document)
    assert found
    for kind, text in found:
        if kind == "python":
            exec(compile(text, document, "exec"), {})  # as a reader would paste it
            continue
        for words in commands(text):
            assert words[0] == "python", words
            tool = importlib.import_module(f"tools.{Path(words[1]).stem}")
            assert tool.main(words[2:]) == 0, words


def test_files_that_the_documents_link_to_are_there():
    for document in [str(p.relative_to(ROOT)) for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text("utf-8")):
            assert (ROOT / document).parent.joinpath(target).exists(), f"{document} -> {target}"
