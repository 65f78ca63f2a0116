"""The views of a photo; every option has an effect."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from data.voc_xml import read_annotation
from proposals import io, selective_search
from proposals.recall import best_boxes
from sppnet.cli import main


def visualize(*argv):
    return main(["visualize", *map(str, argv)])


@pytest.fixture(scope="module")
def photo(devkit):
    """A photo with at least two objects, and its annotation."""
    for path in sorted((devkit / "VOC2007" / "JPEGImages").iterdir()):
        annotation = read_annotation(devkit / "VOC2007" / "Annotations" / f"{path.stem}.xml", path)
        if len(annotation.names) > 1:
            return path, annotation
    raise AssertionError("no photo with two objects")


@pytest.fixture
def call(tmp_path, photo):
    """Draw a view of the photo: the picture and the json report's result."""

    def run(view, *flags, name="out.png"):
        assert visualize(view, photo[0], "-o", tmp_path / name, "--json", tmp_path / "r.json", *flags) == 0
        picture = Image.open(tmp_path / name)
        return np.array(picture), json.loads((tmp_path / "r.json").read_text())["result"]

    return run


def fails(capsys, argv):
    assert visualize(*argv) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_the_best_proposals_are_chosen_from_a_search(call, photo, devkit, capsys):
    path, annotation = photo
    picture, result = call("proposals", "--devkit", devkit)
    boxes = selective_search(np.array(Image.open(path)))
    rank, overlaps = best_boxes(boxes, annotation.boxes.astype(np.float32))
    assert result["boxes"] == len(boxes)
    assert [o["class"] for o in result["objects"]] == list(annotation.names)
    assert [o["iou"] for o in result["objects"]] == overlaps.tolist()
    assert [o["rank"] for o in result["objects"]] == (rank + 1).tolist()
    assert picture.shape == (*annotation.size, 3)
    assert f"IoU {overlaps[0]:.3f}, box {rank[0] + 1} of {len(boxes)}" in capsys.readouterr().out


def test_an_annotation_is_named_or_has_the_photos_name(call, photo, devkit, tmp_path):
    pictures = [call("proposals", "--devkit", devkit, "--proposals", "ss-single")[0]]
    shutil.copytree(devkit, tmp_path / "VOCdevkit")
    shutil.copytree(devkit / "VOC2007" / "Annotations", tmp_path / "VOCdevkit" / "VOC2012" / "Annotations")
    xml = devkit / "VOC2007" / "Annotations" / f"{photo[0].stem}.xml"
    for flags in (
        ["--annotation", xml],
        ["--voc2007", "--devkit", tmp_path / "VOCdevkit"],
        ["--voc2007", "--data-root", tmp_path],
        ["--devkit", devkit / "VOC2007"],
    ):
        pictures.append(call("proposals", "--proposals", "ss-single", *flags)[0])
    assert all((p == pictures[0]).all() for p in pictures)


@pytest.mark.parametrize("suffix", ["npz", "mat", "json"])
def test_boxes_are_read_from_a_file(call, photo, devkit, tmp_path, suffix):
    path, annotation = photo
    objects = annotation.boxes.astype(np.float32)
    boxes, file = {path.stem: [[0, 0, 9, 9], *objects.tolist()]}, tmp_path / f"b.{suffix}"
    if suffix == "json":
        file.write_text(json.dumps(boxes))
    else:
        io.save(file, boxes, {})
    flags = ["--devkit", devkit, "--proposals", file]
    _, result = call("proposals", *flags)
    assert [(o["iou"], o["rank"]) for o in result["objects"]] == [(1, 2 + i) for i in range(len(objects))]
    _, result = call("proposals", *flags, "--max-boxes", "1")
    assert [o["rank"] for o in result["objects"]] == [1] * len(objects)
    if suffix == "mat":
        _, result = call("proposals", *flags, "--order", "xyxy")
        assert min(o["iou"] for o in result["objects"]) < 1


def test_labels_show_the_overlap_and_each_object_has_its_colour(call, photo, devkit, tmp_path, monkeypatch):
    path, annotation = photo
    io.save(tmp_path / "b.npz", {path.stem: annotation.boxes}, {})
    from detection.pictures import drawing

    marks = []
    monkeypatch.setattr(drawing, "_render", lambda image, m: marks.extend(m) or image)
    call("proposals", "--devkit", devkit, "--proposals", tmp_path / "b.npz")
    dashed, solid = ([m for m in marks if m.dashed is kind] for kind in (True, False))
    assert sorted(m.text.rstrip("*") for m in dashed) == sorted(annotation.names)
    assert sorted(m.text for m in solid) == sorted(f"{name} IoU 1.00" for name in annotation.names)
    assert len({m.color for m in solid}) == min(len(solid), len(drawing.PALETTE))


def test_without_an_annotation_the_best_ranked_boxes_are_drawn(call, photo, tmp_path):
    io.save(tmp_path / "b.npz", {photo[0].stem: [[i, i, i + 30, i + 30] for i in range(50)]}, {})
    few, result = call("proposals", "--proposals", tmp_path / "b.npz", "--top", "2")
    assert result == {"boxes": 50, "drawn": 2}
    many, result = call("proposals", "--proposals", tmp_path / "b.npz")
    assert result == {"boxes": 50, "drawn": 20}
    assert (few != many).any()


def test_each_option_of_levels_changes_the_sheet(call):
    sheets = {flags: call("levels", "--regions", "9", *flags)[0] for flags in [
        (), ("--fill", "random"), ("--fill", "random", "--seed", "1"), ("--space", "lab"), ("--columns", "1"),
    ]}  # fmt: skip
    sheets["regions"] = call("levels", "--regions", "9", "3")[0]
    seen = [(sheet.shape, sheet.tobytes()) for sheet in sheets.values()]
    assert len(set(seen)) == len(sheets)


def test_the_name_of_the_picture_decides_its_format(photo, call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert visualize("levels", photo[0], "--regions", 5) == 0
    name = f"{photo[0].stem}-levels.png"
    assert capsys.readouterr().out.strip() == name
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    call("levels", name="new/a.jpg")
    assert (tmp_path / "new" / "a.jpg").read_bytes().startswith(b"\xff\xd8")


def test_errors_are_one_line_that_names_the_cause(photo, devkit, tmp_path, capsys):
    path, _ = photo
    io.save(tmp_path / "b.npz", {"other": [[1, 2, 3, 4]]}, {})
    io.save(tmp_path / "none.npz", {path.stem: []}, {})
    xml = ["--annotation", devkit / "VOC2007" / "Annotations" / f"{path.stem}.xml", "--proposals"]
    for name in ("VOC2007", "VOC2012"):
        shutil.copytree(devkit / "VOC2007" / "Annotations", tmp_path / "years" / name / "Annotations")
    for argv, words in (
        ([path, "--proposals", tmp_path / "b.npz"], f"b.npz: no boxes of image '{path.stem}'"),
        ([path, *xml, tmp_path / "none.npz"], "boxes: expected at least one"),
        ([path, "--devkit", tmp_path], f"no annotation {path.stem}.xml"),
        ([path, "--devkit", tmp_path / "years"], "name one with --annotation"),
        ([path, "--proposals", "magic"], "source: expected one of"),
        ([tmp_path / "none.jpg"], "none.jpg"),
        (
            [path, *xml, "ss-single", "-o", tmp_path / "a.txt"],
            "a.txt: expected a name that ends in .png, .jpg or .webp",
        ),
    ):
        assert words in fails(capsys, ["proposals", *argv])


@pytest.mark.parametrize(("view", "flag"), [("levels", "--regions"), ("levels", "--columns"), ("proposals", "--top")])
def test_numbers_below_one_are_usage_errors(capsys, photo, view, flag):
    with pytest.raises(SystemExit) as caught:
        visualize(view, photo[0], flag, 0)
    assert caught.value.code == 2
    assert f"{flag}: expected an integer, at least 1, got '0'" in capsys.readouterr().err


def test_a_wrong_picture_name_fails_before_the_work(capsys, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.image.read", lambda *args: pytest.fail("the photo was read"))
    assert "a.gif: expected a name" in fails(capsys, ["levels", photo[0], "-o", tmp_path / "a.gif"])


@pytest.fixture
def trained(finished, weights):
    return ["--model", finished / "model", "--weights", weights]


def test_channels_are_named_or_counted(call, trained):
    assert call("channels", *trained, "--channels", 7, 200)[1]["channels"] == [7, 200]
    picture, result = call("channels", *trained, "--count", 5, "--columns", 3)
    assert len(result["channels"]) == 5
    assert picture.shape[1] < call("channels", *trained, "--count", 5, "--columns", 6)[0].shape[1]


def test_bins_are_those_of_a_box_or_of_a_ranked_proposal(call, trained):
    first, third = call("bins", *trained)[1], call("bins", *trained, "--rank", 3)[1]
    assert first["box"] != third["box"]
    again = call("bins", *trained, "--box", *third["box"])[1]
    assert again["cells"] == third["cells"]


def test_evidence_is_of_the_best_detection_or_of_a_named_class_and_box(call, trained, finished):
    from detection.model import load

    classes = load(finished / "model").classes
    best = call("evidence", *trained)[1]
    assert best["class"] in classes
    assert len(best["strongest"]) == 3
    told = call("evidence", *trained, "--box", *best["box"], "--class", classes[0], "--strongest", 1)[1]
    assert (told["class"], told["box"], len(told["strongest"])) == (classes[0], best["box"], 1)


def test_errors_of_network_views_name_the_option(capsys, photo, trained):
    path = photo[0]
    assert "the map has 0 to 255, got 999" in fails(capsys, ["channels", path, *trained, "--channels", 999])
    assert "--rank 99999: the photo has" in fails(capsys, ["bins", path, *trained, "--rank", 99999])
    assert "--class dragon: the model knows" in fails(capsys, ["evidence", path, *trained, "--class", "dragon"])
    assert "name it with --class" in fails(capsys, ["evidence", path, *trained, "--box", 1, 1, 50, 50])
    assert "(50, 1, 1, 50) has swapped corners" in fails(capsys, ["bins", path, *trained, "--box", 50, 1, 1, 50])
