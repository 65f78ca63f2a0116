"""What `sppnet detect --export` and `sppnet.export_detections` write, and when they refuse."""

import json
import os
import shutil

import numpy as np
import pytest

import sppnet
from data import datasets, writers
from detection import SPPDetector
from detection.calibration import Calibration
from detection.detections import Detections
from detection.image import read
from tests.commands import detect
from tests.data.test_yolo import photo
from tests.sppnet.cli.commands.test_detect_outputs import contents, film, refused


@pytest.fixture
def photos(work, tmp_path):
    """A folder with three photos, two of them of one name."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for file, place in zip(sorted(work.devkit.rglob("*.jpg")), ("a.jpg", "b c.jpg", "below/a.jpg"), strict=False):
        shutil.copy(file, folder / place)
    return folder


@pytest.fixture
def command(work, weights):
    return ["--model", str(work.run / "model"), "--weights", str(weights), "--score-threshold", "-1"]


def exported(folder, format, tmp_path):
    """Photo's content -> class and box of each object, as our own reader gives it back."""
    if format == "label-studio":  # predictions become annotations when somebody has accepted them
        path = folder / "all" / "tasks.json"
        written = json.loads(path.read_text())
        assert {p["model_version"] for task in written for p in task["predictions"]} == {"run/model"}
        accepted = [{**task, "annotations": task.pop("predictions")} for task in written]
        shutil.copytree(folder, tmp_path / "accepted")
        (tmp_path / "accepted" / "all" / "tasks.json").write_text(json.dumps(accepted))
        folder = tmp_path / "accepted"
    found = datasets.load(folder, "all")
    assert (found.dropped, found.clipped) == ((), ())
    return {r.path.read_bytes(): objects(r.boxes, [found.classes[k] for k in r.labels]) for r in found}


def objects(boxes, names):
    order = np.lexsort(np.asarray(boxes).reshape(-1, 4).T)
    return [names[i] for i in order], np.asarray(boxes).reshape(-1, 4)[order]


@pytest.mark.parametrize("format", writers.FORMATS)
def test_exported_detections_read_back_as_labels_of_the_same_photos(photos, command, work, weights, tmp_path, format):
    out = tmp_path / "out"
    assert detect([photos, *command, "--export", format, "--export-to", out]) == 0
    detector = SPPDetector.from_pretrained(work.run / "model", weights=weights)
    again = exported(out, format, tmp_path)
    expected = {path.read_bytes(): detector.detect(path).filter(-1) for path in photos.rglob("*.jpg")}
    assert again.keys() == expected.keys()
    assert sum(map(len, expected.values())) > 0
    for content, found in expected.items():
        names, boxes = objects(found.boxes, found.names)
        assert again[content][0] == names
        np.testing.assert_allclose(again[content][1], boxes, atol=1e-2)


def test_only_the_classes_and_scores_that_are_asked_for_are_written(photos, command, tmp_path):
    report = tmp_path / "r.json"
    argv = [photos, *command, "--json", report, "--export", "coco", "--export-to", tmp_path / "out"]
    assert detect([*argv, "--classes", "car", "--score-threshold", "-0.9"]) == 0
    told = [d for image in json.loads(report.read_text())["result"]["images"] for d in image["detections"]]
    content = json.loads((tmp_path / "out" / "all" / "_annotations.coco.json").read_text())
    assert len(content["annotations"]) == len(told)
    assert {d["class"] for d in told} <= {"car"}
    assert len(content["categories"]) > 1  # all classes of the model, so that numbers stay the same


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_written(photos, command, tmp_path, capsys):
    (photos / "broken.jpg").write_text("no photo")
    assert detect([photos, *command, "--export", "cvat", "--export-to", tmp_path / "out"]) == 1
    said = capsys.readouterr()
    assert "1 of 4 files could not be used" in said.err
    assert "broken.jpg" in said.err
    assert f"{tmp_path / 'out'}: 3 photos linked, 0 copied" in said.out
    assert len(datasets.load(tmp_path / "out", "all")) == 3


def test_nothing_is_written_if_no_photo_can_be_read(photos, command, tmp_path, capsys):
    (photos / "broken.jpg").write_text("no photo")
    assert "could not be used" in refused(
        capsys, [photos / "broken.jpg", *command, "--export", "voc", "--export-to", tmp_path / "out"]
    )
    assert not (tmp_path / "out").exists()


def test_an_interruption_leaves_nothing_behind(photos, command, tmp_path, monkeypatch):
    whole, seen = SPPDetector.detect, []

    def stopping(self, image, boxes=None):
        if seen:
            raise KeyboardInterrupt
        seen.append(image)
        return whole(self, image, boxes)

    before = contents(tmp_path)
    monkeypatch.setattr(SPPDetector, "detect", stopping)
    assert detect([photos, *command, "--export", "yolo", "--export-to", tmp_path / "out"]) == 130
    assert contents(tmp_path) == before


def into_a_folder_with_files(photos):
    (photos.parent / "out").mkdir()
    (photos.parent / "out" / "notes.txt").write_text("mine")
    return [], "exists, and nothing is overwritten"


def among_the_photos(photos):
    return ["--export-to", photos / "out"], "lies among the photos"


def with_a_video(photos):
    film(photos / "film.mp4", read(photos / "a.jpg"))
    return [], r"film.mp4 is a video, and labels are for photos; leave it out"


def with_pictures_in_the_same_folder(photos):
    return ["--save", photos.parent / "out" / "drawn"], "which has to be empty"


def with_the_table_in_the_same_folder(photos):
    return ["--csv", photos.parent / "out" / "t.csv"], "which has to be empty"


def with_a_name_that_labels_cannot_hold(photos):
    (photos / "a.jpg").rename(photos / "a\nb.jpg")
    return [], "has line breaks"


@pytest.mark.parametrize(
    "prepare",
    [
        into_a_folder_with_files,
        among_the_photos,
        with_a_video,
        with_pictures_in_the_same_folder,
        with_the_table_in_the_same_folder,
        with_a_name_that_labels_cannot_hold,
    ],
)
def test_what_cannot_be_exported_is_refused_before_the_work(prepare, photos, command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(SPPDetector, "from_pretrained", lambda *a, **k: pytest.fail("the work has begun"))
    argv = [photos, *command, "--export", "voc", "--export-to", tmp_path / "out"]
    more, message = prepare(photos)
    before = contents(tmp_path)
    assert message in refused(capsys, [*argv, *more])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("flags", [["--export", "voc"], ["--export-to", "out"]])
def test_a_format_needs_a_folder_and_a_folder_a_format(flags, photos, command, capsys):
    assert "export: names a format, and export_to the folder" in refused(capsys, [photos, *command, *flags])


# ---- Python


CALIBRATION = Calibration((2.0, 2.0), (0.0, 0.0), (0.5, 0.5))


def found(path, calibration=None):
    scores = [1.0, -0.2, -2.0]
    boxes = [[1, 2, 30, 40], [5, 5, 20, 20], [0, 0, 9, 9]]
    return Detections(boxes, scores, np.array([0, 1, 1]), ("cat", "dog"), path, calibration=calibration)


def test_detections_that_would_be_shown_are_exported(tmp_path):
    path = photo(tmp_path / "a.png")
    done = sppnet.export_detections(iter([found(path)]), tmp_path / "out", "voc")
    assert (done.linked, done.copied) == (1, 0)
    assert os.path.samefile(path, tmp_path / "out" / "JPEGImages" / "a.png")
    assert datasets.load(tmp_path / "out", "all")[0].boxes.tolist() == [[1, 2, 30, 40], [5, 5, 20, 20]]
    sppnet.export_detections([found(path, CALIBRATION)], tmp_path / "sure", "voc", threshold=0.6, copy=True)
    assert datasets.load(tmp_path / "sure", "all")[0].boxes.tolist() == [[1, 2, 30, 40]]
    assert not os.path.samefile(path, tmp_path / "sure" / "JPEGImages" / "a.png")


def test_label_studio_gets_probabilities_of_a_calibrated_detector(tmp_path):
    one = found(photo(tmp_path / "a.png"), CALIBRATION)
    sppnet.export_detections([one], tmp_path / "out", "label-studio", threshold=0.1, model="m2")
    (task,) = json.loads((tmp_path / "out" / "all" / "tasks.json").read_text())
    (prediction,) = task["predictions"]
    expected = one.sorted().probabilities[:2].round(4).tolist()
    assert [region["score"] for region in prediction["result"]] == pytest.approx(expected)
    assert prediction["model_version"] == "m2"


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        ([], "expected detections of one detector"),
        ([Detections.empty()], "with the names of its classes"),
        ([np.zeros((9, 9, 3), np.uint8)], "expected detections of different files"),
        (["a.png", "a.png"], "expected detections of different files"),
    ],
)
def test_detections_without_a_file_of_their_own_are_refused(tmp_path, detections, message):
    photo(tmp_path / "a.png")
    made = [tmp_path / one if isinstance(one, str) else one for one in detections]
    with pytest.raises(ValueError, match=message):
        sppnet.export_detections(
            [one if isinstance(one, Detections) else found(one) for one in made], tmp_path / "out", "coco"
        )
    assert not (tmp_path / "out").exists()
