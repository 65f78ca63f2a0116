"""`sppnet suggest` and `sppnet.suggest`: which photos come first, what is left out, what is written."""

import csv
import json
import shutil

import numpy as np
import pytest

import sppnet
from data import datasets
from detection import network
from detection.detections import SHOWN_MARGIN, Detections
from detection.image import read
from sppnet.files import write_picture
from sppnet.suggestion.suggest import Encoder, suggest_among
from tests.commands import command
from tests.data.test_yolo import write

suggest = command("suggest")
SURE, UNSURE = SHOWN_MARGIN + 3, SHOWN_MARGIN + 0.05


@pytest.fixture
def photos(devkit, tmp_path):
    """A folder with five different photos, "a.jpg" to "e.jpg"."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for file, name in zip(sorted(devkit.rglob("*.jpg")), "abcde", strict=False):
        shutil.copy(file, folder / f"{name}.jpg")
    return folder


@pytest.fixture(scope="module")
def body():
    return network.build("alexnet", weights=None)


@pytest.fixture
def compare(weights):
    return ["--backbone", "alexnet", "--weights", str(weights)]


class Scripted:
    """A detector that finds one object of a given margin in each photo."""

    def __init__(self, margins):
        self.margins = margins

    def detect_each(self, paths, on_bad):
        for path in paths:
            try:
                pixels = read(path)
            except (OSError, ValueError) as error:
                on_bad(path, error)
                continue
            yield path, Detections([[0, 0, 9, 9]], [self.margins[path.stem]], np.array([0]), ("cat",), pixels)


def best(photos, body, margins=None, labelled=(), count=9):
    encoder = Encoder(body, None if margins is None else Scripted(margins))
    return suggest_among(sorted(photos.iterdir()), count, encoder, labelled).best


def stems(suggestions):
    return [one.path.stem for one in suggestions]


# ---- which photos


def test_photos_with_uncertain_detections_come_before_sure_ones(photos, body):
    margins = dict.fromkeys("abcde", SURE) | dict.fromkeys("bd", UNSURE)
    found = best(photos, body, margins)
    assert set(stems(found)[:2]) == {"b", "d"}
    assert found[0].uncertainty == pytest.approx(0.767, abs=0.001)
    assert found[-1].uncertainty < 1e-3


@pytest.mark.parametrize("margins", [None, dict.fromkeys(["a", "b", "c", "d", "e", "copy"], UNSURE)])
def test_two_copies_of_a_photo_are_not_both_chosen_first(photos, body, margins):
    shutil.copy(photos / "c.jpg", photos / "copy.jpg")
    found = best(photos, body, margins)
    assert found[-1].path.stem in ("c", "copy")
    assert found[-1].distance == pytest.approx(0, abs=1e-3)
    assert {"c", "copy"} - set(stems(found)[:-1])


def test_without_a_detector_no_uncertainty_is_stated_and_the_first_photo_has_no_distance(photos, body):
    first, *others = best(photos, body, count=3)
    assert (first.uncertainty, first.distance) == (None, None)
    assert all(0 < one.distance <= 2 for one in others)
    assert others[0].distance >= others[1].distance


def test_labelled_photos_are_left_out_and_what_looks_like_them_comes_last(photos, body, tmp_path):
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    shutil.copy(photos / "a.jpg", labelled / "1.jpg")
    (labelled / "2.jpg").hardlink_to(photos / "b.jpg")
    found = best(photos, body, labelled=sorted(labelled.iterdir()))
    assert sorted(stems(found)) == ["a", "c", "d", "e"]
    assert stems(found)[-1] == "a"


# ---- Python


def test_python_takes_data_sets_and_patterns(photos, weights, tmp_path, caplog):
    write(tmp_path / "set" / "boxes.csv", f"file,xmin,ymin,xmax,ymax,class\n{photos / 'a.jpg'},1,1,9,9,cat\n")
    options = {"backbone": "alexnet", "weights": weights}
    found = sppnet.suggest(photos, 9, labelled=tmp_path / "set", **options)
    assert sorted(stems(found)) == ["b", "c", "d", "e"]
    write(photos / "broken.jpg", "no photo")
    found = sppnet.suggest([photos / "a.jpg", f"{photos}/b*.jpg"], **options)
    assert sorted(stems(found)) == ["a", "b"]
    assert "broken.jpg" in caplog.text
    with pytest.raises(ValueError, match="all 1 photos are labelled already"):
        sppnet.suggest(photos / "a.jpg", labelled=tmp_path / "set", **options)


# ---- the command


def test_the_command_prints_names_and_writes_json_csv_and_copies(photos, work, weights, tmp_path, capsys):
    (photos / "below").mkdir()
    (photos / "e.jpg").rename(photos / "below" / "a.jpg")
    report, table, out = tmp_path / "r.json", tmp_path / "t.csv", tmp_path / "to_label"
    argv = [photos, "--model", work.run / "model", "--weights", weights, "-n", 3, "--json", report, "--csv", table]
    assert suggest([*argv, "--copy-to", out]) == 0
    names = capsys.readouterr().out.splitlines()
    result = json.loads(report.read_text())["result"]
    assert [row["file"] for row in result["photos"]] == names
    assert len(names) == 3
    assert all(row["uncertainty"] >= 0 for row in result["photos"])
    assert [row["distance"] is None for row in result["photos"]] == [True, False, False]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["file"] for row in rows] == names
    assert [float(row["uncertainty"]) for row in rows] == pytest.approx(
        [row["uncertainty"] for row in result["photos"]], abs=1e-4
    )
    assert {out / name.removeprefix(f"{photos}/") for name in names} == {p for p in out.rglob("*") if p.is_file()}
    assert suggest(argv) == 0  # its own table and report are replaced


def test_fewer_photos_than_asked_for_are_all_listed_with_one_line(photos, compare, capsys):
    assert suggest([photos, *compare]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 5
    assert "only 5 photos to choose from: all are listed, best first" in said.err


def test_one_photo_is_suggested(photos, compare, capsys):
    assert suggest([photos / "a.jpg", *compare, "-n", "1"]) == 0
    assert capsys.readouterr().out == f"{photos / 'a.jpg'}\n"


def test_photos_that_cannot_be_read_are_named_and_the_others_suggested(photos, compare, tmp_path, capsys):
    write(photos / "broken.jpg", "no photo")
    report = tmp_path / "r.json"
    assert suggest([photos, *compare, "-n", "2", "--json", report]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "1 of 6 files could not be used" in said.err
    assert list(json.loads(report.read_text())["result"]["unreadable"]) == [str(photos / "broken.jpg")]


def test_a_folder_of_damaged_photos_suggests_nothing(tmp_path, compare, capsys):
    write(tmp_path / "photos" / "broken.jpg", "no photo")
    assert suggest([tmp_path / "photos", *compare, "--copy-to", tmp_path / "out"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "1 of 1 files could not be used" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--copy-to", "photos/out"], "lies among the photos"),
        (["--copy-to", "full"], "exists, and nothing is overwritten"),
        (["--copy-to", "out", "--csv", "out/t.csv"], "which has to be empty"),
        (["--csv", "photos/a.jpg"], "exists and is not from sppnet"),
        (["--csv", "drawn/a.jpg"], "is an input of this command"),
        (["--labelled", "photos"], "not a data set of a known format"),
        (["--model", "lite0-voc2007"], "give one of model and backbone"),
    ],
)
def test_what_cannot_be_done_is_refused_with_one_line(flags, message, photos, compare, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sppnet.suggestion.suggest.Encoder.load", lambda *a: pytest.fail("the work has begun"))
    write(tmp_path / "full" / "notes.txt", "mine")
    write_picture(tmp_path / "drawn" / "a.jpg", read(photos / "a.jpg"))
    assert suggest(["drawn" if "drawn/a.jpg" in flags else "photos", *compare, *flags]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not (tmp_path / "out").exists()


def test_copies_can_be_labelled_and_named_as_labelled(photos, compare, tmp_path, capsys):
    assert suggest([photos, *compare, "-n", "2", "--copy-to", tmp_path / "first"]) == 0
    rows = [f"{path.name},1,1,9,9,cat\n" for path in (tmp_path / "first").iterdir()]
    write(tmp_path / "first" / "boxes.csv", "file,xmin,ymin,xmax,ymax,class\n" + "".join(rows))
    assert len(datasets.load(tmp_path / "first", "all")) == 2
    capsys.readouterr()
    assert suggest([photos, *compare, "--labelled", tmp_path / "first", "-n", "3"]) == 0
    again = {line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()}
    assert not again & {path.name for path in (tmp_path / "first").glob("*.jpg")}
