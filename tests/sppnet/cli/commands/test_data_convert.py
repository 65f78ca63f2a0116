"""What `sppnet data convert` and `sppnet.convert_dataset` write and say."""

import json
import os

import pytest

import sppnet
from data import datasets, minivoc
from sppnet.cli import main
from tests.data import tools
from tests.data.test_yolo import photo, write


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("voc") / "minivoc", 3, 2, seed=0)


def convert(*argv):
    return main(["data", "convert", *map(str, argv)])


def one_labelme(root, **extra):
    return tools.labelme(root / "a.json", [("cat", "rectangle", [[1, 1], [9, 9]])], **extra)


@pytest.mark.parametrize("format", ["voc", "coco", "yolo", "csv", "cvat", "label-studio"])
def test_every_split_is_written_and_counted(devkit, tmp_path, capsys, format):
    out = tmp_path / "out"
    assert convert(devkit, out, "--format", format, "--json", tmp_path / "report.json") == 0
    original, again = datasets.load_all(devkit), datasets.load_all(out)
    counts = {s: {"photos": len(d), "objects": sum(len(r.boxes) for r in d)} for s, d in original.items()}
    assert {s: {"photos": len(d), "objects": sum(len(r.boxes) for r in d)} for s, d in again.items()} == counts
    result = json.loads((tmp_path / "report.json").read_text())["result"]
    assert result["splits"] == counts
    assert result["linked"] + result["copied"] == sum(map(len, original.values()))
    said = capsys.readouterr()
    assert f"trainval: 3 photos, {counts['trainval']['objects']} objects\n" in said.out
    flags = sum(int(r.difficult.sum()) for d in original.values() for r in d)
    assert result["flags_lost"] == (flags if format in ("yolo", "csv", "label-studio") else 0)
    assert ("cannot mark, written as ordinary ones" in said.err) == bool(result["flags_lost"])


def test_lost_flags_are_counted(tmp_path, capsys):
    one_labelme(tmp_path / "in")
    flagged = tools.labelme_shape("cat", "rectangle", [[1, 1], [9, 9]], difficult=True)
    tools.labelme(tmp_path / "in" / "b.json", [flagged, flagged | {"points": [[2, 2], [9, 9]]}])
    assert convert(tmp_path / "in", tmp_path / "out", "--format", "yolo") == 0
    assert "difficult objects that yolo cannot mark, written as ordinary ones: 2" in capsys.readouterr().err


def test_photos_are_copied_on_request(devkit, tmp_path, capsys):
    assert convert(devkit, tmp_path / "out", "--format", "coco", "--copy") == 0
    assert "0 photos linked, 5 copied" in capsys.readouterr().out


def test_data_without_splits_stays_so_or_is_divided_on_request(tmp_path):
    for i in range(8):
        tools.labelme(tmp_path / "in" / f"{i}.json", [("cat", "rectangle", [[1, 1], [9, 9]])])
    assert convert(tmp_path / "in", tmp_path / "all", "--format", "yolo") == 0
    assert list(datasets.load_all(tmp_path / "all")) == ["all"]
    assert convert(tmp_path / "in", tmp_path / "out", "--format", "yolo", "--splits", "train", "test") == 0
    for split in ("train", "test"):
        ids = {r.id for r in datasets.load(tmp_path / "in", split)}
        assert {r.id for r in datasets.load(tmp_path / "out", split)} == ids
        assert {r.id for r in datasets.load(tmp_path / "all", split)} == ids


def test_a_data_set_of_one_photo_is_converted(tmp_path):
    path = one_labelme(tmp_path / "in")
    assert convert(path, tmp_path / "out", "--format", "voc") == 0
    assert len(datasets.load(tmp_path / "out", "all")) == 1


def test_photos_may_be_in_another_folder(tmp_path):
    path = one_labelme(tmp_path / "in")
    (tmp_path / "photos").mkdir()
    path.with_suffix(".png").rename(tmp_path / "photos" / "a.png")
    assert convert(tmp_path / "in", tmp_path / "out", "--format", "voc") == 1
    assert convert(tmp_path / "in", tmp_path / "out", "--format", "voc", "--images", tmp_path / "photos") == 0
    assert len(datasets.load(tmp_path / "out", "all")) == 1


def test_a_file_is_read_as_before_with_the_result_beside_it(tmp_path):
    photo(tmp_path / "photos" / "a.png")
    path = tools.label_studio(tmp_path / "export.json", [tools.task(1, "/a.png", [tools.region("cat", 1, 1, 9, 9)])])
    for copy in ([], ["--copy"]):
        assert convert(path, tmp_path / f"out{len(copy)}", "--format", "yolo", *copy) == 0
    assert len(datasets.load(path, "all")) == 1


def refusals(root):
    """Arguments -> the message."""
    label = one_labelme(root / "in")
    write(root / "broken" / "a.json", '{"shapes": [')
    one_labelme(root / "points", shapes="a")
    one_labelme(root / "line", shapes=[tools.labelme_shape("a\nb", "rectangle", [[1, 1], [9, 9]])])
    tools.label_studio(root / "empty.json", [])
    (root / "nothing").mkdir()
    return [
        ((root / "in", root / "in" / "out"), "lies in the data set; name a folder outside of"),
        ((root / "in", label), "a.json: is not a folder"),
        ((root / "in", root / "broken"), "exists, and nothing is overwritten"),
        ((root / "absent", root / "out"), "no such data set"),
        ((root / "nothing", root / "out"), "not a data set of a known format"),
        ((root / "in", root / "out", "--splits", "val"), "no split val; this LabelMe data set has all, train, test"),
        ((root / "broken", root / "out"), "a.json: not valid JSON"),
        ((root / "points", root / "out"), "a.json: shapes is 'a', expected a list"),
        ((root / "line", root / "out"), "class 'a\\nb' has line breaks"),
        ((root / "empty.json", root / "out"), "none of its 0 tasks has an annotation"),
    ]


def test_every_refusal_is_one_line_and_writes_nothing(tmp_path, capsys):
    for arguments, message in refusals(tmp_path):
        assert convert(*arguments, "--format", "voc") == 1
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert message in told
        assert told.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_unusable_photos_are_left_out_on_request_and_named(tmp_path, capsys):
    one_labelme(tmp_path / "in")
    tools.labelme(tmp_path / "in" / "b.json", [("cat", "rectangle", [[1, 1], [9, 9]])], make_photo=False)
    assert convert(tmp_path / "in", tmp_path / "out", "--format", "csv") == 1
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
    assert convert(tmp_path / "in", tmp_path / "out", "--format", "csv", "--skip-bad") == 1
    assert "left out 1 unusable photos, the first: image is missing: b.png" in capsys.readouterr().err
    assert [r.id for r in datasets.load(tmp_path / "out", "all")] == ["a"]


def test_python_does_the_same(devkit, tmp_path):
    done = sppnet.convert_dataset(devkit, tmp_path / "out", "coco", splits=["test"], copy=True)
    assert done.splits["test"]["photos"] == done.copied == 2
    assert done.linked == done.flags_lost == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["test"]
    with pytest.raises(ValueError, match=r"format: expected one of voc, .*, label-studio, got 'pickle'"):
        sppnet.convert_dataset(devkit, tmp_path / "other", "pickle")
