"""Tables, json report and plot of measured proposals; every option has an effect."""

import json
import shutil

import numpy as np
import pytest

from data import voc
from proposals import io, recall
from proposals.batch import time_file
from tests import commands

evaluate_proposals = commands.command("stage evaluate-proposals")


@pytest.fixture(scope="module")
def records(devkit):
    return voc.load(devkit, None, "test")


@pytest.fixture(scope="module")
def boxes(records):
    """40 random boxes of each image and then its objects, so that only all boxes cover the objects."""
    rng = np.random.default_rng(0)
    found = {}
    for r in records:
        corners = rng.integers(0, min(r.size), (40, 2, 2))
        found[r.id] = np.concatenate([np.hstack([corners.min(1), corners.max(1)]), r.boxes])
    return found


@pytest.fixture
def folder(tmp_path, boxes):
    """The same boxes in three formats, and a part of them."""
    io.save(tmp_path / "ours.npz", boxes, {"source": "ss"})
    time_file(tmp_path / "ours.npz").write_text(json.dumps({"seconds_per_image": 0.25}))
    io.save(tmp_path / "test.mat", boxes, {})
    (tmp_path / "coco.json").write_text(json.dumps({k: v.tolist() for k, v in boxes.items()}))
    io.save(tmp_path / "part.npz", {k: v[:10] for k, v in boxes.items()}, {})
    return tmp_path


def evaluate(devkit, folder, *files, flags=()):
    argv = ["--devkit", str(devkit), "--json", str(folder / "r.json")]
    told = ["--proposals", *(str(folder / f) for f in files)] if files else []
    assert evaluate_proposals([*argv, *told, *flags]) == 0
    return json.loads((folder / "r.json").read_text())["result"]


def fails(capsys, argv):
    assert evaluate_proposals(argv) == 1
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_files_of_all_formats_get_one_row_each(devkit, folder, records, boxes, capsys):
    result = evaluate(devkit, folder, "ours.npz", "{split}.mat", "coco.json", "part.npz")
    assert list(result) == ["ours", "test", "coco", "part"]
    expected = recall.evaluate(boxes, records)
    for name in ("ours", "test", "coco"):
        assert result[name]["average_recall"] == pytest.approx(expected.average_recall)
        assert result[name]["recall"]["0.7"] == expected.recall[0.7]
    assert result["part"]["average_recall"] < expected.average_recall
    assert [r["seconds_per_image"] for r in result.values()] == [0.25, None, None, None]
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line.split() for line in lines if line.startswith("ours"))
    figures = (*expected.recall.values(), expected.average_recall, expected.mean_best_overlap)
    shown = [f"{v:.3f}" for v in (*figures, expected.class_mean_best_overlap)]
    assert row == ["ours", *shown, f"{expected.boxes_per_image:.0f}", "0.25"]
    names = {records.classes[label] for r in records for label in r.labels[~r.difficult]}
    title = next(i for i, line in enumerate(lines) if line.startswith("best overlap  objects"))
    assert {line.split()[0] for line in lines[title + 1 :]} == names


def test_the_json_report_has_the_curves(devkit, folder, records, boxes):
    result = evaluate(devkit, folder, "ours.npz")["ours"]
    most = max(map(len, boxes.values()))
    assert [p["max_boxes"] for p in result["over_boxes"]] == [1, 3, 10, 30, most]
    at_ten = recall.evaluate(boxes, records, 10)
    assert result["over_boxes"][2]["average_recall"] == at_ten.average_recall
    assert result["over_boxes"][-1]["recall"] == result["recall"]
    assert len(result["curve"]["recall"]) == len(result["curve"]["iou"])
    assert result["meta"] == {"source": "ss"}


def test_max_boxes_uses_the_first_boxes(devkit, folder, records, boxes):
    result = evaluate(devkit, folder, "ours.npz", flags=["--max-boxes", "10"])["ours"]
    assert result["average_recall"] == recall.evaluate(boxes, records, 10).average_recall
    assert [p["max_boxes"] for p in result["over_boxes"]] == [1, 3, 10]


def test_order_is_the_column_order_of_mat_files(devkit, folder, records, boxes):
    turned = recall.evaluate({k: v[:, [1, 0, 3, 2]] for k, v in boxes.items()}, records)
    result = evaluate(devkit, folder, "test.mat", flags=["--order", "xyxy"])["test"]
    assert result["mean_best_overlap"] == pytest.approx(turned.mean_best_overlap)


def test_split_and_limit_choose_the_images(devkit, folder, boxes):
    assert evaluate(devkit, folder, "ours.npz", flags=["--limit", "2"])["ours"]["images"] == 2
    train = voc.load(devkit, None, "trainval")
    io.save(folder / "trainval.npz", {r.id: r.boxes for r in train}, {})
    result = evaluate(devkit, folder, "{split}.npz", flags=["--split", "trainval"])["trainval"]
    assert (result["images"], result["average_recall"]) == (len(train), 1)


def test_without_proposals_all_sources_of_the_run_are_measured(devkit, folder, boxes):
    for source in ("ss", "edgeboxes"):
        io.save(folder / "run" / "proposals" / source / "test.npz", boxes, {"source": source})
    io.save(folder / "run" / "proposals" / "other" / "trainval.npz", boxes, {})
    flags = ["--run", str(folder / "run")]
    assert list(evaluate(devkit, folder, flags=flags)) == ["edgeboxes", "ss"]
    assert list(evaluate(devkit, folder, flags=[*flags, "--proposals", "ss"])) == ["ss"]


def test_files_of_the_same_name_are_shown_with_their_folder(devkit, folder, boxes):
    for source in ("a", "b"):
        io.save(folder / source / "test.npz", boxes, {})
    assert list(evaluate(devkit, folder, "a/test.npz", "b/test.npz", "ours.npz")) == ["a/test", "b/test", "ours"]


def test_voc2007_and_data_root_name_the_data(devkit, folder, tmp_path, monkeypatch):
    shutil.copytree(devkit, tmp_path / "sets" / "VOCdevkit")
    argv = ["--voc2007", "--data-root", str(tmp_path / "sets"), "--proposals", str(folder / "ours.npz")]
    assert evaluate_proposals(argv) == 0
    io.save(tmp_path / "runs" / "voc2007" / "proposals" / "ss" / "test.npz", io.load(folder / "ours.npz")[0], {})
    monkeypatch.chdir(tmp_path)
    assert evaluate_proposals(argv[:3]) == 0


def test_skip_bad_leaves_out_images_with_bad_annotations(devkit, folder, tmp_path, records, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(devkit, copy)
    (copy / "VOC2007" / "Annotations" / f"{records[1].id}.xml").write_text("<annotation>")
    assert "not a readable annotation" in fails(capsys, ["--devkit", copy, "--proposals", folder / "ours.npz"])
    assert evaluate(copy, folder, "ours.npz", flags=["--skip-bad"])["ours"]["images"] == len(records) - 1


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")])
def test_the_name_of_the_plot_decides_its_format(devkit, folder, suffix, start):
    path = folder / "new" / f"plot.{suffix}"
    evaluate(devkit, folder, "ours.npz", "part.npz", flags=["--plot", str(path)])
    assert path.read_bytes().startswith(start)


def test_errors_are_one_line_that_names_the_cause(devkit, folder, boxes, records, capsys):
    data = ["--devkit", devkit]
    assert "which data?" in fails(capsys, [])
    assert "no proposals of test" in fails(capsys, [*data, "--run", folder / "empty"])
    assert "absent.npz: no such file" in fails(capsys, [*data, "--proposals", folder / "absent.npz"])
    assert "edgeboxes/test.npz: no such file" in fails(capsys, [*data, "--run", folder, "--proposals", "edgeboxes"])
    io.save(folder / "few.npz", dict(list(boxes.items())[1:]), {})
    line = fails(capsys, [*data, "--proposals", folder / "few.npz"])
    assert f"few.npz: proposals: no boxes for 1 of {len(records)} images, the first is {records[0].id}" in line
    assert "got -1" in fails(capsys, [*data, "--proposals", folder / "ours.npz", "--max-boxes", "-1"])
    assert "plot.gif: --plot: expected" in fails(capsys, [*data, "--plot", "plot.gif"])
