"""Label Studio's exports: regions, annotations, photos under addresses, and faults."""

import pytest

from data import datasets
from data.annotation import UNLABELLED
from data.shapes import NO_BOXES
from tests.data.test_yolo import photo
from tests.data.tools import label_studio as write_export
from tests.data.tools import region, task, task_min

CAT = region("cat", 10, 5, 20, 20)


def load(tmp_path, *tasks, **options):
    return datasets.load(write_export(tmp_path / "export.json", list(tasks)), "all", **options)


def of_value(value, kind="rectanglelabels"):
    return {**CAT, "type": kind, "value": value}


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ({"x": 10, "y": 10, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]}, [10, 5, 29, 24]),
        ({"x": 10, "y": 10, "width": 20, "height": 40, "rectanglelabels": ["cat"]}, [10, 5, 29, 24]),
        ({"x": 30, "y": 20, "width": 20, "height": 20, "rotation": 90, "labels": ["cat"]}, [20, 10, 29, 29]),
        ({"x": 30, "y": 20, "width": 20, "height": 40, "rotation": 180, "labels": ["cat"]}, None),
        ({"x": 30, "y": 50, "radiusX": 10, "radiusY": 30, "ellipselabels": ["cat"]}, [20, 10, 39, 39]),
        ({"x": 30, "y": 50, "radiusX": 10, "radiusY": 30, "rotation": 90, "ellipselabels": ["cat"]}, [15, 15, 44, 34]),
        ({"points": [[10, 10], [30, 20], [20, 50]], "closed": True, "polygonlabels": ["cat"]}, [10, 5, 29, 24]),
    ],
)
def test_rectangles_ellipses_and_polygons_are_the_boxes_around_them(tmp_path, value, box):
    photo(tmp_path / "a.png")
    found = load(tmp_path, task(1, "a.png", [of_value(value)]))
    assert found.classes == ("cat",)
    assert found[0].size == (50, 100)
    assert found[0].boxes.tolist() == [box or [10, 0, 29, 9]]
    assert bool(found.clipped) == (box is None)  # turned about its corner, the rectangle leaves the photo


def test_a_turned_rectangle_is_turned_in_pixels_about_its_corner(tmp_path):
    photo(tmp_path / "a.png")
    (record,) = load(tmp_path, task(1, "a.png", [region("cat", 50, 10, 20, 10, rotation=45)]))
    half = 2**-0.5
    assert record.boxes[0].tolist() == pytest.approx([50 - 10 * half, 10, 49 + 20 * half, 9 + 30 * half], abs=1e-3)


def test_brush_strokes_and_keypoints_are_left_out_and_named(tmp_path):
    photo(tmp_path / "a.png")
    brush = of_value({"format": "rle", "rle": [1, 2], "brushlabels": ["sky"]}, "brushlabels")
    point = of_value({"x": 1, "y": 2, "width": 1, "keypointlabels": ["eye"]}, "keypointlabels")
    found = load(tmp_path, task(1, "a.png", [brush, point, CAT]))
    assert len(found[0].boxes) == 1
    assert found.notes == {NO_BOXES: ("a: region 1 (sky): brushlabels", "a: region 2 (eye): keypointlabels")}


def test_each_label_of_a_region_is_an_object(tmp_path):
    photo(tmp_path / "a.png")
    (record,) = load(tmp_path, task(1, "a.png", [region("cat", 10, 5, 20, 20, rectanglelabels=["cat", "pet"])]))
    assert record.labels.tolist() == [0, 1]
    assert (record.boxes[0] == record.boxes[1]).all()


def test_a_rectangle_and_its_label_in_two_results_are_one_object(tmp_path):
    photo(tmp_path / "a.png")
    labelled = region("cat", 10, 5, 20, 20, kind="labels")
    bare = {**labelled, "type": "rectangle", "value": {k: v for k, v in labelled["value"].items() if k != "labels"}}
    text = {**bare, "type": "textarea", "value": {**bare["value"], "text": ["a word"]}}
    choice = {"type": "choices", "value": {"choices": ["good"]}, "to_name": "image"}
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    assert len(load(tmp_path, task(1, "a.png", [bare, labelled, text, choice, relation]))[0].boxes) == 1
    with pytest.raises(ValueError, match=r"export\.json: task 1: region 1 has no class"):
        load(tmp_path, task(1, "a.png", [bare, text]))
    entry = task_min(1, "a.png", [bare])
    with pytest.raises(ValueError, match=r"export\.json: task 1: region 1 has no class"):
        load(tmp_path, entry)
    assert len(load(tmp_path, {**entry, "type": task_min(1, "a.png", [labelled])["label"]})[0].boxes) == 1


def annotation(number, label, updated=None, cancelled=False):
    dates = {"created_at": "2024-01-01T00:00:00Z", **({"updated_at": updated} if updated else {})}
    return {"id": number, "result": [region(label, 10, 5, 20, 20)], "was_cancelled": cancelled, **dates}


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ([annotation(1, "old", "2024-02-01T00:00:00Z"), annotation(2, "new", "2024-03-01T00:00:00Z")], "new"),
        ([annotation(2, "new", "2024-03-01T00:00:00Z"), annotation(1, "old", "2024-02-01T00:00:00Z")], "new"),
        ([annotation(1, "new"), annotation(2, "old", "2024-03-01T00:00:00Z", cancelled=True)], "new"),
        ([annotation(1, "old"), annotation(2, "new")], "new"),
    ],
)
def test_the_newest_annotation_that_is_not_cancelled_counts(tmp_path, annotations, label):
    photo(tmp_path / "a.png")
    assert load(tmp_path, task(1, "a.png", *annotations)).classes == (label,)


def test_tasks_without_annotation_are_left_out_and_those_without_regions_are_background(tmp_path, caplog):
    for name in "abc":
        photo(tmp_path / f"{name}.png")
    cancelled = annotation(9, "cat", cancelled=True)
    tasks = [task(1, "a.png"), task(2, "b.png", []), task(3, "c.png", cancelled), task(4, "b.png")]
    found = load(tmp_path, *tasks)
    assert [(r.id, r.boxes.shape) for r in found] == [("b", (0, 4))]
    left_out = tuple(f"{tmp_path / 'export.json'}: task {number}" for number in (1, 3, 4))
    assert found.notes == {UNLABELLED: left_out}
    assert "photos without an annotation, left out: 3" in caplog.text
    with pytest.raises(ValueError, match=r"export\.json: none of its 2 tasks has an annotation"):
        load(tmp_path, task(1, "a.png"), task(2, "b.png"))


def test_old_exports_call_annotations_completions(tmp_path):
    photo(tmp_path / "a.png")
    old = {"id": 1, "completions": [{"id": 1, "result": [CAT]}], "data": {"image_url": "a.png"}}
    assert len(load(tmp_path, old)[0].boxes) == 1


def test_the_minimal_export_gives_the_same_and_its_newest_entry_of_a_task_counts(tmp_path):
    for name in "ab":
        photo(tmp_path / f"{name}.png")
    newer = task_min(1, "a.png", [CAT], "2024-03-01T00:00:00Z")
    older = task_min(1, "a.png", [region("dog", 1, 1, 5, 5)], "2024-02-01T00:00:00Z")
    found = load(tmp_path, newer, older, task_min(2, "b.png", []))
    assert found.classes == ("cat",)
    assert [r.boxes.tolist() for r in found] == [[[10, 5, 29, 24]], []]


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("/data/upload/1/0123abcd-a.png", "a.png"),
        ("/data/upload/1/0123abcd-a.png", "images/0123abcd-a.png"),
        ("/data/upload/0123abcd-my_photo_1.png", "my photo (1).png"),
        ("/data/upload/1/0123abcd-na%C3%AFve.png", "naïve.png"),
        ("/data/local-files/?d=cats/white%20ones/a.png", "white ones/a.png"),
        ("https://host.org/x/photos/a%20b.png?width=3", "photos/a b.png"),
        ("s3://bucket/photos/a.png", "photos/a.png"),
        (r"C:\photos\a.png", "photos/a.png"),
    ],
)
def test_photos_are_found_by_their_addresses(tmp_path, url, at):
    photo(tmp_path / at)
    photo(tmp_path / "else" / "b.png")
    assert load(tmp_path, task(1, url, [CAT]))[0].path == tmp_path / at


def test_an_uploaded_name_is_not_mistaken_for_one_with_a_similar_name(tmp_path):
    photo(tmp_path / "my photo.png")
    photo(tmp_path / "my_photo.png", (100, 51))
    assert load(tmp_path, task(1, "/data/upload/1/0123abcd-my_photo.png", [CAT]))[0].path.name == "my_photo.png"


def test_the_photo_may_stand_under_any_name_and_the_size_is_its_own_if_none_is_stated(tmp_path):
    photo(tmp_path / "a.png")
    bare = {key: CAT[key] for key in ("value", "type")}
    found = load(tmp_path, {**task(1, "", [bare]), "data": {"text": "a cat", "scan": "a.png"}})
    assert found[0].boxes.tolist() == [[10, 5, 29, 24]]


FAULTS = [
    ([5], "task 2 is 5, expected an object"),
    ([{"id": 7, "annotations": 5, "data": {}}], "task 7: annotations is 5, expected a list"),
    ([{"id": 7, "annotations": [5], "data": {}}], "task 7: an annotation is 5"),
    ([{"id": 7, "annotations": [{"result": "a"}], "data": {}}], "task 7: result is 'a'"),
    ([{"id": 7, "annotations": [], "data": "a.png"}], "task 7: data is 'a.png'"),
    ([{"id": 7, "annotations": [{"result": []}], "data": {"text": "words"}}], "task 7 names no photo"),
    ([task(7, "a.png", [5])], "task 7: a region is 5"),
    (
        [task(7, "a.png", [region("cat", 1, 1, 5, 5, rectanglelabels="cat")])],
        "rectanglelabels is 'cat', expected a list",
    ),
    ([task(7, "a.png", [region("cat", 1, 1, 5, 5, rectanglelabels=[])])], "task 7: region 1 has no class"),
    ([task(7, "a.png", [of_value(CAT["value"] | {"x": "far"})])], "task 7: region 1: x is 'far', expected a finite"),
    ([task(7, "a.png", [of_value({"x": 1, "rectanglelabels": ["cat"]})])], "expected x, y, width, height, got x"),
    ([task(7, "a.png", [{**CAT, "image_rotation": 90}])], "the photo was turned by 90 degrees; turn it back"),
    ([task(7, "a.png", [CAT, {**CAT, "to_name": "other"}])], "regions on several photos"),
    ([task(7, "a.png", [{**CAT, "original_width": "x"}])], "task 7: the width is 'x'"),
    ([task(7, "gone.png", [CAT])], r"image is missing: gone\.png of"),
    ([], "none of its 0 tasks has an annotation"),
]


@pytest.mark.parametrize(("tasks", "message"), FAULTS, ids=[m for _, m in FAULTS])
def test_a_damaged_value_is_named_with_its_file(tmp_path, tasks, message):
    photo(tmp_path / "a.png")
    path = write_export(tmp_path / "export.json", [task(1, "a.png", [CAT]), *tasks] if tasks else [])
    with pytest.raises((ValueError, OSError), match=message) as error:
        datasets.load(path, "all")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_two_uploads_of_one_name_are_not_taken_for_one_photo(tmp_path):
    photo(tmp_path / "a.png")
    urls = ["/data/upload/1/0123abcd-a.png", "/data/upload/1/ffffffff-a.png"]
    tasks = [task(i, url, [CAT]) for i, url in enumerate(urls)]
    with pytest.raises(ValueError, match=r"0123abcd-a\.png and .*ffffffff-a\.png both lead to .*a\.png; correct one"):
        load(tmp_path, *tasks)
    photo(tmp_path / "0123abcd-a.png")
    assert sorted(r.path.name for r in load(tmp_path, *tasks)) == ["0123abcd-a.png", "a.png"]


def test_a_photo_with_the_name_of_the_export_is_not_taken_for_a_missing_one(tmp_path):
    photo(tmp_path / "export.png")
    with pytest.raises(FileNotFoundError, match=r"image is missing: a\.png"):
        load(tmp_path, task(1, "a.png", [CAT]))


def test_predictions_that_nobody_has_accepted_are_no_annotations(tmp_path):
    photo(tmp_path / "a.png")
    proposed = {"data": {"image": "a.png"}, "predictions": [{"model_version": "m", "result": [CAT]}]}
    with pytest.raises(ValueError, match=r"export\.json: none of its 1 tasks has an annotation"):
        load(tmp_path, proposed)
    found = load(tmp_path, proposed, task(2, "a.png", [CAT]))
    assert len(found[0].boxes) == 1
    assert len(found.notes[UNLABELLED]) == 1
