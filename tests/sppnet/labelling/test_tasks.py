"""Tasks and payloads: the last annotation counts, nothing is lost, nothing wrong gets in."""

import json

import pytest

from sppnet.labelling import payloads
from sppnet.labelling.tasks import TaskBook
from sppnet.server.errors import RequestRefused
from tests.sppnet.labelling.helpers import CREATED, UID


def test_the_last_annotation_of_a_task_counts(tmp_path):
    book = TaskBook(tmp_path)
    book.annotate(5, "/a.jpg", 11, ["first"])
    book.annotate(5, "/a.jpg", 12, ["second"])
    assert book[5].current == ["second"]
    book.annotate(5, "/a.jpg", 11, ["first, changed"])
    assert book[5].current == ["first, changed"]
    book.remove_annotation(book[5], 11)
    assert book[5].current == ["second"]
    assert book.with_annotation(11) is None
    assert book.with_annotation(12).id == 5
    book.remove_annotation(book[5], 12)
    assert len(book) == 0
    assert not list(tmp_path.iterdir())


def test_tasks_survive_a_restart_in_the_order_of_their_annotations(tmp_path):
    book = TaskBook(tmp_path)
    for number, regions in ((21, [1]), (3, []), (12, [2])):
        book.annotate(5, "/a.jpg", number, regions)
    book.annotate(40, "/b.jpg", 9, [])
    again = TaskBook(tmp_path)
    assert dict(again) == dict(book)
    assert list(again[5].annotations) == [21, 3, 12]


def test_a_damaged_file_is_left_out_with_a_warning(tmp_path, caplog):
    TaskBook(tmp_path).annotate(5, "/a.jpg", 11, [])
    (tmp_path / "6.json").write_text('{"id": 6')
    (tmp_path / "7.json").write_text(json.dumps({"id": 7, "url": "/a", "annotations": []}))
    assert list(TaskBook(tmp_path)) == [5]
    assert caplog.text.count("left out until the task is annotated again") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        *({"id": "5"}, {"id": 5.0}, {"id": 6}, {"id": None}, {"url": 5}, {"url": None}, {"annotations": None}),
        *({"annotations": {"x": []}}, {"annotations": {"11": "text"}}, {"annotations": {"11": None}}, {"more": 1}),
    ],
)
def test_values_of_another_kind_are_left_out_by_name(tmp_path, caplog, wrong):
    book = TaskBook(tmp_path)
    book.annotate(5, "/a.jpg", 11, [{"type": "x"}])
    book.annotate(6, "/b.jpg", 12, [])
    right = json.loads((tmp_path / "5.json").read_text())
    (tmp_path / "5.json").write_text(json.dumps(right | wrong))
    assert list(TaskBook(tmp_path)) == [6]
    assert f"{tmp_path / '5.json'}: damaged (" in caplog.text
    (tmp_path / "5.json").write_text(json.dumps(right))
    assert TaskBook(tmp_path)[5].annotations == {11: [{"type": "x"}]}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/upload/7/3fa2b1c0-photo_1.jpg", "12-3fa2b1c0-photo_1"),
        ("/data/local-files/?d=folder/DSC%2001.JPG", "12-DSC-01"),
        ("https://labels.example/a/b.c.png?size=9", "12-b-c"),
        ("/data/upload/7/%E7%8C%AB.jpg", "12"),
        ("/data/../../etc/passwd", "12-passwd"),
        ("/data/local-files/?d=..%2F..%2F..", "12"),
        ("", "12"),
        ("/" + "x" * 300 + ".jpg", "12-" + "x" * 60),
    ],
)
def test_photos_have_names_that_every_program_can_read(url, name):
    assert payloads.image_id(12, url) == name


def test_a_project_has_the_same_name_in_requests_and_webhooks():
    project = {"id": 7, "created_at": CREATED}
    assert payloads.project_uid(project) == payloads.project_uid(UID) == UID
    assert payloads.project_uid(project | {"created_at": "2025-01-02T05:04:05.5+02:00"}) == UID


@pytest.mark.parametrize(
    "value", [None, 7, "7", "../7.1", "7.1/../..", "1" * 20 + ".1", {"id": 7}, {"id": "7", "created_at": CREATED},
              {"id": 7, "created_at": "yesterday"}, []]
)  # fmt: skip
def test_other_names_of_projects_are_refused(value):
    with pytest.raises(RequestRefused, match="project") as caught:
        payloads.project_uid(value)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"id": 1},
        {"id": -1, "data": {}},
        {"id": True, "data": {}},
        {"id": 2**63, "data": {}},
        {"id": "1", "data": {}},
    ],
)
def test_other_tasks_are_refused(value):
    with pytest.raises(RequestRefused, match="task"):
        payloads.task(value)


def test_the_photo_of_a_task_is_under_the_key_of_the_configuration():
    task = payloads.TaskData(1, {"image": "/a.jpg", "other": "/b.jpg"})
    assert (task.url("image"), task.url("photo")) == ("/a.jpg", "")
    assert payloads.TaskData(1, {"$undefined$": "/a.jpg"}).url("image") == "/a.jpg"
    assert payloads.TaskData(1, {"image": ["/a.jpg"]}).url("image") == ""
