"""`sppnet report`: which run, which data, which detections."""

import json
import os
import shutil

import pytest
import yaml

from detection.detection_table import load_npz
from sppnet.report.render import write_html
from sppnet.report.run_files import recorded
from sppnet.report.tested_run import TestedRun
from sppnet.run import DataSource, Run
from tests.damage import write_model_settings
from tests.sppnet.report.helpers import STAGES, report, text


def forget_settings(run):
    """Remove the files that say which data a run was tested on."""
    for path in [*run.glob("*.json"), *run.glob("*.yaml")]:
        path.unlink()


def test_the_report_is_written_into_the_run_and_needs_no_flags(work, capsys):
    assert report(work.run) == 0
    assert capsys.readouterr().out.strip() == f"report: {work.run / 'report.html'}"
    assert "tested on VOC2007 test" in text(work.run / "report.html")


def test_the_resolved_settings_of_the_test_name_the_data(work):
    (work.run / "test.json").unlink()
    assert report(work.run) == 0
    assert yaml.safe_load((work.run / "report.yaml").read_text())["devkit"] == str(work.devkit)


def test_without_a_file_that_names_the_data_it_asks_for_them(work, capsys):
    forget_settings(work.run)
    assert report(work.run) == 1
    assert "no json or YAML file in it names its data set; give --data, --devkit" in capsys.readouterr().err
    assert report(work.run, "--devkit", work.devkit) == 0
    shown = text(work.run / "report.html")
    assert "Memory was not recorded" in shown
    assert "Versions and hardware were not recorded" in shown


def test_settings_come_from_the_newest_file_that_names_data_and_test_split(tmp_path):
    def write(name, settings, age):
        path = tmp_path / name
        path.write_text(json.dumps({"settings": settings}) if path.suffix == ".json" else yaml.safe_dump(settings))
        os.utime(path, (10_000 - age, 10_000 - age))

    assert recorded(tmp_path) == ({}, None)
    write("train.json", {"data": "photos", "test_split": "test", "metric": "area", "voc2007": False}, age=9)
    taken = {"data": "photos", "metric": "area", "split": "test"}
    assert recorded(tmp_path) == (taken, tmp_path / "train.json")
    write("stage-test-net.yaml", {"devkit": "kit", "test_split": "val", "metric": "voc07", "data": None}, age=5)
    taken = {"devkit": "kit", "metric": "voc07", "split": "val"}
    assert recorded(tmp_path) == (taken, tmp_path / "stage-test-net.yaml")
    write("stage-train-svms.yaml", {"data": "elsewhere", "train_split": "train"}, age=3)
    write("report.yaml", {"data": "elsewhere", "split": "train"}, age=2)
    (tmp_path / "notes.json").write_text("{damaged")
    (tmp_path / "notes.yaml").write_text("a: [")
    assert recorded(tmp_path)[0] == taken


@pytest.mark.parametrize(
    "wrong",
    [
        *({"devkit": 5}, {"devkit": ["kit"]}, {"test_split": 1}, {"test_split": ["val"]}, {"metric": "voc12"}),
        *({"data": {}}, {"images": 1}, {"data_root": False}, {"voc2007": "yes"}),
    ],
)
def test_settings_of_another_kind_are_told_and_an_older_file_is_used(tmp_path, caplog, wrong):
    right = {"devkit": "kit", "test_split": "val", "metric": "voc07"}
    for name, settings, age in (("new.yaml", right | wrong, 1), ("old.yaml", right, 5)):
        (tmp_path / name).write_text(yaml.safe_dump(settings))
        os.utime(tmp_path / name, (10_000 - age, 10_000 - age))
    taken = {"devkit": "kit", "metric": "voc07", "split": "val"}
    assert recorded(tmp_path) == (taken, tmp_path / "old.yaml")
    assert f"{tmp_path / 'new.yaml'}: ignored, damaged (settings." in caplog.text


def test_data_that_moved_are_an_error_that_names_the_file_which_names_them(work, capsys):
    forget_settings(work.run)
    settings = {"devkit": str(work.run / "absent"), "test_split": "test"}
    (work.run / "train.json").write_text(json.dumps({"settings": settings}))
    assert report(work.run) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {work.run / 'train.json'}: {work.run / 'absent'}")
    assert line.endswith("; name the data set with --data, --devkit or --voc2007")


def test_flags_win_over_the_files_of_the_run(work):
    settings = {"data": str(work.run / "absent"), "test_split": "val", "metric": "area"}
    (work.run / "train.json").write_text(json.dumps({"settings": settings}))
    flags = ["--devkit", work.devkit, "--split", "test", "--metric", "voc07"]
    assert report(work.run, *flags, "--json", work.run / "r.json") == 0
    written = json.loads((work.run / "r.json").read_text())
    assert written["result"]["stages"]["regressed"]["metric"] == "voc07"
    assert (written["settings"]["data"], written["settings"]["split"]) == (None, "test")


def test_training_can_call_it_with_its_run(work):
    run = Run(work.run, DataSource(work.devkit, None, False, "minivoc"))
    path, figures = write_html(run)
    assert path == work.run / "report.html"
    assert figures["photos"] == 4
    assert set(figures["thresholds"]) <= set(run.train.classes)


def test_a_run_that_was_not_tested_is_an_error_that_says_what_to_do(work, tmp_path, capsys):
    shutil.rmtree(work.run / "detections")
    assert report(work.run) == 1
    assert "no detections of test; run `sppnet stage test-net` first" in capsys.readouterr().err
    assert report(tmp_path / "absent") == 1
    assert "absent: no such run" in capsys.readouterr().err
    assert report() == 1
    assert "which run? give RUN" in capsys.readouterr().err
    assert not list(tmp_path.rglob("report.html"))


def test_the_detections_of_another_split_are_pointed_out(work, capsys):
    assert report(*work.data, "--split", "trainval") == 1
    assert (
        "no detections of trainval; run `sppnet stage test-net` first, or name the split with --split "
        "(there is test-windows.npz" in capsys.readouterr().err
    )


def test_the_run_is_named_once(work, capsys):
    assert report(work.run, *work.data) == 1
    assert "name the run once" in capsys.readouterr().err


def test_one_of_several_models_must_be_named(work, capsys):
    folder = work.run / "detections"
    for stage in STAGES:
        (folder / f"test-{stage}.npz").rename(folder / f"test-one-{stage}.npz")
    assert report(work.run) == 0  # the only one
    assert "run (one)" in text(work.run / "report.html")
    for stage in STAGES:  # the same boxes in both, as without box regression
        shutil.copy(folder / "test-one-windows.npz", folder / f"test-two-{stage}.npz")
    assert report(work.run) == 1
    assert "has detections of one, two; choose one with --detections" in capsys.readouterr().err
    assert report(work.run, "--detections", "two") == 0
    shown = text(work.run / "report.html")
    assert "No box regression" in shown
    assert "has no model for these detections" in shown
    assert report(work.run, "--detections", "three") == 1
    assert "no detections of test by three; it has those of one, two" in capsys.readouterr().err


def test_a_limit_leaves_the_other_photos_out(work):
    assert report(*work.data, "--limit", "2", "--json", work.run / "r.json") == 0
    assert json.loads((work.run / "r.json").read_text())["result"]["photos"] == 2
    assert "no longer in the split" not in text(work.run / "report.html")


@pytest.mark.parametrize(
    ("metric", "words"),
    [("voc07", "the mean precision at eleven recalls"), ("area", "the area under the precision-recall curve")],
)
def test_the_metric_is_the_one_asked_for(metric, words, work):
    assert report(work.run, "--metric", metric, "--json", work.run / "r.json") == 0
    assert words in text(work.run / "report.html")
    scores = json.loads((work.run / "r.json").read_text())["result"]["stages"]["regressed"]
    tested = json.loads((work.run / "test.json").read_text())["result"]["regressed"]
    assert scores["metric"] == metric
    assert (scores["ap"] == tested["ap"]) == (metric == "voc07")


def test_detections_are_not_changed(work):
    before = load_npz(work.run / "detections" / "test-regressed.npz")[0].rows
    assert report(work.run) == 0
    after = load_npz(work.run / "detections" / "test-regressed.npz")[0].rows
    assert (before.scores == after.scores).all()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        *(("best", "model"), ("fast-nms-0.4", "model"), ("softmax", "model"), ("scales-480-688-best", "model")),
        *(("packed", "packed"), ("packed-best", "packed"), ("packed-softmax-fast", "packed")),
        *(("mean", None), ("mean-best", None), ("elsewhere-best", None), ("packed2", None)),
    ],
)
def test_detections_of_any_way_of_inference_have_their_model(work, name, model):
    shutil.copytree(work.run / "model", work.run / "packed")
    settings = json.loads((work.run / "packed" / "model.json").read_text())
    write_model_settings(work.run / "packed", settings | {"notes": {"data": "packed"}})
    for stage in STAGES:
        (work.run / "detections" / f"test-{stage}.npz").rename(work.run / "detections" / f"test-{name}-{stage}.npz")
    found = TestedRun.of(Run(work.run, DataSource(work.devkit, None, False, "minivoc")), name)
    expected = json.loads((work.run / model / "model.json").read_text()) if model else {}
    assert found.model == expected
