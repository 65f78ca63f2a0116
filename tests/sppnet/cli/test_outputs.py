"""Named outputs of all commands: nothing of other origin is replaced, and what cannot be written is noticed first."""

import os
import shutil

import pytest
import yaml

from sppnet.cli import main
from sppnet.cli.table import walk
from tests.data.test_formats import write_yolo
from tests.sppnet.report.helpers import report

FOREIGN = b"not from this program\n"


@pytest.fixture
def photo(work):
    return next(work.devkit.rglob("*.jpg"))


@pytest.fixture
def commands(work, weights, photo, tmp_path):
    """Flag that names an output file -> a command that writes it there, without the file."""
    model = ["--model", work.run / "model", "--weights", weights]
    (tmp_path / "set").mkdir()
    return {
        "check --sheet": ["check", work.devkit, "--sheet"],
        "report --out": ["report", work.run, "--out"],
        "evaluate-proposals --plot": ["stage", "evaluate-proposals", *work.data, "--plot"],
        "visualize levels -o": ["visualize", "levels", photo, "-o"],
        "visualize bins -o": ["visualize", "bins", photo, *model, "-o"],
        "evaluate --json": ["evaluate", *model, "--devkit", work.devkit, "--json"],
        "minivoc --json": ["minivoc", tmp_path / "minivoc", "--train", "1", "--test", "1", "--json"],
    }


NAMES = (
    "check --sheet",
    "report --out",
    "evaluate-proposals --plot",
    "visualize levels -o",
    "visualize bins -o",
    "evaluate --json",
    "minivoc --json",
)


def run(argv):
    return main([str(a) for a in argv])


@pytest.mark.parametrize("name", NAMES)
def test_only_own_files_are_replaced_by_the_same_command(name, commands, tmp_path, capsys):
    path = tmp_path / f"out{'.json' if 'json' in name else '.html' if 'report' in name else '.png'}"
    path.write_bytes(FOREIGN)
    assert run([*commands[name], path]) == 1
    assert f"{path}: exists and is not from sppnet" in capsys.readouterr().err
    assert path.read_bytes() == FOREIGN
    path.unlink()
    for _ in range(2):
        assert run([*commands[name], path]) == 0
    assert path.read_bytes() != FOREIGN


def test_every_option_that_names_an_output_says_so():
    outputs = {
        (name, setting): option.writes
        for name, command in walk()
        for setting, (_, option) in command.load().SETTINGS.kinds().items()
        if option.writes
    }
    files = {key for key, kind in outputs.items() if kind == "file"}
    assert {s for _, s in files} == {"csv", "jsonl", "parquet", "sheet", "out", "plot", "output"}
    assert {s for (_, s), kind in outputs.items() if kind == "folder"} == {
        *("run", "save", "crop", "to", "folder", "devkit", "export_to", "copy_to"),
    }


def test_a_photo_is_not_replaced_by_its_own_view(photo, tmp_path, capsys, monkeypatch):
    for name in ("a.png", "a-levels.png"):
        shutil.copy(photo, tmp_path / name)
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert run(["visualize", "levels", "a.png", "-o", "a.png"]) == 1
    assert run(["visualize", "levels", "a.png"]) == 1  # writes a-levels.png
    told = capsys.readouterr().err
    assert "a.png: is an input of this command" in told
    assert "a-levels.png: exists and is not from sppnet" in told
    assert {p.read_bytes() for p in tmp_path.glob("*.png")} == {before}


def test_a_report_that_is_an_input_is_not_replaced(work, capsys, tmp_path):
    argv = ["export", "model", *work.data, "--to", tmp_path / "packed", "--report", work.run / "test.json"]
    before = (work.run / "test.json").read_bytes()
    assert run([*argv, "--json", work.run / "test.json"]) == 1
    assert "test.json: is an input of this command" in capsys.readouterr().err
    assert (work.run / "test.json").read_bytes() == before


def test_settings_of_other_origin_in_a_run_folder_are_kept(work, capsys):
    record = work.run / "stage-test-net.yaml"
    assert yaml.safe_load(record.read_text())["metric"] == "voc07"
    record.write_text("metric: area  # my choice\n")
    assert run(["stage", "test-net", *work.data, "--config", record]) == 1
    assert f"{record}: exists and is not from sppnet" in capsys.readouterr().err
    assert record.read_text() == "metric: area  # my choice\n"


def test_settings_that_an_earlier_version_wrote_are_replaced(work):
    record = work.run / "stage-test-net.yaml"
    first, rest = record.read_text().split("\n", 1)
    assert first.startswith("# ")
    record.write_text(rest)
    assert run(["stage", "test-net", *work.data, "--metric", "area"]) == 0
    assert record.read_text().startswith(first)
    assert yaml.safe_load(record.read_text())["metric"] == "area"


@pytest.mark.parametrize("name", ["pictures/test_00000.png", "train.json", "report.html", "train.yaml"])
def test_training_into_a_folder_of_other_files_keeps_them(name, work, weights, capsys, monkeypatch):
    path = work.run / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(FOREIGN)
    monkeypatch.setattr("sppnet.detector.training.extract_proposals", lambda *a: pytest.fail("the work has begun"))
    assert run(["train", *work.extract, "--backbone", "alexnet"]) == 1
    assert "exists and is not from sppnet" in capsys.readouterr().err
    assert path.read_bytes() == FOREIGN


def test_a_model_is_packed_over_an_earlier_package_only(work, weights, tmp_path, capsys):
    argv = ["export", "model", *work.data, "--weights", weights, "--to"]
    for _ in range(2):
        assert run([*argv, tmp_path / "packed"]) == 0
    (tmp_path / "packed" / "README").write_text("mine")
    assert run([*argv, tmp_path / "packed"]) == 0
    assert {p.name for p in (tmp_path / "packed").iterdir()} >= {"model.json", "card.json", "README"}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".packed")] == []
    shutil.copytree(work.run / "model", tmp_path / "other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.json").write_text("[]")
    for folder in ("other", "mine"):
        before = {p: p.read_bytes() for p in (tmp_path / folder).rglob("*.*")}
        assert run([*argv, tmp_path / folder]) == 1
        assert "which `sppnet export model` did not write" in capsys.readouterr().err
        assert {p: p.read_bytes() for p in (tmp_path / folder).rglob("*.*")} == before


@pytest.mark.slow
def test_onnx_files_replace_only_earlier_ones(work, weights, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    argv = ["export", "onnx", "--model", work.run / "model", "--weights", weights, "--to", tmp_path / "onnx"]
    for _ in range(2):
        assert run(argv) == 0
    (tmp_path / "onnx" / "body.onnx").write_bytes(FOREIGN)
    assert run(argv) == 1
    assert "body.onnx: exists and is not from sppnet" in capsys.readouterr().err


def test_places_that_cannot_be_written_are_noticed_first(work, commands, weights, capsys, monkeypatch):
    monkeypatch.setattr("data.voc.load", lambda *a, **k: pytest.fail("the work has begun"))
    model = ["--model", work.run / "model", "--weights", weights]
    argvs = [[*argv, "/proc/new/out.png"] for argv in commands.values()]
    argvs += [["export", "onnx", *model, "--to", "/proc/new"], ["minivoc", "/proc/new"]]
    argvs += [["export", "model", *work.data, "--to", "/proc/new"]]
    argvs += [["stage", "extract-features", "--devkit", work.devkit, "--run", "/proc/new"]]
    argvs += [["evaluate", *model, "--devkit", work.devkit, "--json", work.run]]
    for argv in argvs:
        assert run(argv) == 1, argv
        told = capsys.readouterr().err
        assert "/proc/new: cannot be written" in told or f"{work.run}: is a folder; name a file" in told


def test_photos_whose_names_are_not_utf8_are_trained_on_and_reported(devkit, weights, tmp_path, capsys):
    root = write_yolo(devkit, tmp_path / "set", "folders")
    for split, odd in (("trainval", os.fsdecode(b"\xff")), ("test", os.fsdecode(b"caf\xe9"))):
        for path in list(root.rglob(f"{split}_00000.*")):
            try:
                path.rename(path.with_name(odd + path.suffix))
            except OSError:
                pytest.skip("this file system takes UTF-8 names only")
    data = ["--data", root, "--run", tmp_path / "run"]
    extract = ["--scales", "160", "--weights", weights, "-j", "1"]
    assert run(["check", root, "--json", tmp_path / "check.json"]) == 0
    for argv in (["extract-features", *data, *extract], ["train-svms", *data], ["test-net", *data]):
        assert run(["stage", *argv]) == 0
    assert run(["report", tmp_path / "run", "--out", tmp_path / "page.html"]) == 0
    assert "caf\\xe9" in (tmp_path / "page.html").read_text("utf-8")


def test_interruptions_say_how_to_continue_only_where_that_is_possible(work, weights, photo, monkeypatch, capsys):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("detection.detector.SPPDetector.from_pretrained", interrupt)
    model = ["--model", work.run / "model", "--weights", weights]
    assert run(["detect", photo, *model]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    monkeypatch.setattr("sppnet.detector.testing.TestedModel.load", interrupt)
    assert run(["stage", "test-net", *work.data]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == ("interrupted; the same command, without --overwrite, continues")


def test_a_report_page_is_known_again(work):
    for _ in range(2):
        assert report(work.run) == 0
