"""The ML backend protocol: what Label Studio asks, what it gets, what is learned meanwhile."""

import base64
import json
import threading

import pytest

from data import datasets
from sppnet.labelling import backend, worker
from sppnet.labelling.backend import Access
from sppnet.labelling.login import Login
from tests.sppnet.labelling.helpers import PERSONAL, TOKEN, UID, backend_client, config_of, region
from tests.sppnet.server.helpers import encoded, until


@pytest.fixture
def client(base, tmp_path):
    with backend_client(base, tmp_path / "run") as client:
        yield client


@pytest.fixture
def ready(client, studio):
    """A client whose project is set up."""
    client.send_json("/setup", studio.setup())
    return client


def labelled(project):
    """Photo -> labels, as they are learned and as they are on disk."""
    learner = project._learner
    learned = {r.id: [learner.classes[k] for k in r.labels] for r in learner.detector.images.records}
    root = project.folder / "data"
    if not learned:
        assert not any((root / "Annotations").iterdir())
        return {}
    stored = datasets.load(root, "all", classes=learner.classes)
    assert {r.id: [learner.classes[k] for k in r.labels] for r in stored} == learned
    return learned


def names(studio, *numbers):
    return [f"{n}-{studio.records[n - 1].id}" for n in numbers]


def test_boxes_arrive_once_photos_are_labelled(client, studio):
    version = client.send_json("/setup", studio.setup())["model_version"]
    before = client.send_json("/predict", studio.predict(9, 10))
    assert before == {"results": [[], []], "model_version": version}
    for number in range(1, 7):
        assert client.send_json("/webhook", studio.annotated(number)) == {"status": "ok"}
    client.learned()
    learned = client.send_json("/setup", studio.setup())["model_version"]
    assert learned.startswith("6-photos-")
    after = client.send_json("/predict", studio.predict(1, 9, 10))
    assert after["model_version"] == learned
    assert len(after["results"]) == 3
    for (prediction,), number in zip(after["results"], (1, 9, 10), strict=True):
        check_prediction(prediction, learned, studio.records[number - 1].size, studio.classes)
    assert any(prediction["result"] for (prediction,) in after["results"])
    assert client.get("/versions").json() == client.post("/versions").json() == {"versions": [learned]}
    health = {"status": "UP", "model_class": "sppnet", "waiting": 0, "served": 3}
    assert client.get("/health").json() == client.get("/").json() == health


def check_prediction(prediction, version, size, classes):
    assert prediction["model_version"] == version
    assert 0 <= prediction["score"] <= 1
    assert len({found["id"] for found in prediction["result"]}) == len(prediction["result"])
    for found in prediction["result"]:
        assert (found["from_name"], found["to_name"], found["type"]) == ("label", "image", "rectanglelabels")
        assert (found["original_height"], found["original_width"]) == size
        value = found["value"]
        assert value["rectanglelabels"][0] in classes
        assert min(value["x"], value["y"], value["width"], value["height"]) >= 0
        assert max(value["x"] + value["width"], value["y"] + value["height"]) <= 100 + 1e-6
        assert 0 <= found["score"] <= 1


def test_what_was_labelled_is_learned_and_is_a_data_set(ready, studio):
    for number in (3, 1, 2):
        ready.send_json("/webhook", studio.annotated(number))
    project = ready.learned()
    found = labelled(project)
    assert list(found) == names(studio, 3, 1, 2)
    for number in (1, 2, 3):
        record, learned = studio.records[number - 1], project._learner.detector.images.records[(3, 1, 2).index(number)]
        assert found[f"{number}-{record.id}"] == [studio.classes[k] for k in record.labels]
        assert abs(learned.boxes - record.boxes).max() < 0.02
        assert learned.path.read_bytes() == record.path.read_bytes()


def test_a_new_annotation_of_a_task_replaces_the_old_one(ready, studio):
    ready.send_json("/webhook", studio.annotated(1))
    box, size = (5, 5, 60, 60), studio.records[0].size
    other = [region(box, "fish", size)]
    ready.send_json("/webhook", studio.annotated(1, other, action="ANNOTATION_UPDATED"))
    assert labelled(ready.learned()) == {names(studio, 1)[0]: ["fish"]}
    ready.send_json("/webhook", studio.annotated(1, action="ANNOTATION_CREATED"))
    assert labelled(ready.learned())[names(studio, 1)[0]] != ["fish"]


@pytest.mark.parametrize("action", ["ANNOTATIONS_DELETED", "ANNOTATION_DELETED"])
def test_a_deleted_annotation_is_forgotten_and_the_one_before_counts_again(ready, studio, action):
    size = studio.records[0].size
    for number, label in ((51, "fish"), (52, "house")):
        ready.send_json("/webhook", studio.annotated(1, [region((5, 5, 60, 60), label, size)], annotation=number))
    delete = {"action": action, "project": studio.project(), "annotations": [{"id": 52}]}
    ready.send_json("/webhook", delete)
    assert labelled(ready.learned()) == {names(studio, 1)[0]: ["fish"]}
    ready.send_json("/webhook", delete | {"annotations": [{"id": 51}]})
    assert labelled(ready.learned()) == {}


def test_deleting_what_is_unknown_changes_nothing(ready, studio):
    ready.send_json("/webhook", studio.annotated(1))
    for body in ({"annotations": [{"id": 999}]}, {"annotations": []}):
        ready.send_json("/webhook", {"action": "ANNOTATIONS_DELETED", "project": studio.project()} | body)
    ready.send_json("/webhook", {"action": "TASKS_DELETED", "project": studio.project(), "tasks": [{"id": 999}]})
    assert list(labelled(ready.learned())) == names(studio, 1)


def test_a_deleted_task_is_forgotten(ready, studio):
    for number in (1, 2):
        ready.send_json("/webhook", studio.annotated(number))
    ready.send_json("/webhook", {"action": "TASKS_DELETED", "project": studio.project(), "tasks": [{"id": 1}]})
    assert list(labelled(ready.learned())) == names(studio, 2)


def test_a_skipped_task_is_not_learned(ready, studio):
    ready.send_json("/webhook", studio.annotated(1, [], was_cancelled=True))
    assert labelled(ready.learned()) == {}
    ready.send_json("/webhook", studio.annotated(2, annotation=60))
    ready.send_json("/webhook", studio.annotated(2, annotation=60, action="ANNOTATION_UPDATED", was_cancelled=True))
    assert labelled(ready.learned()) == {}


def test_a_task_without_boxes_is_background(ready, studio):
    ready.send_json("/webhook", studio.annotated(1))
    ready.send_json("/webhook", studio.annotated(2, []))
    project = ready.learned()
    assert labelled(project)[names(studio, 2)[0]] == []
    held = project._learner.detector.svms._miner.windows
    assert (held.state.labels[held.image == 1] < 0).any()


def test_several_annotations_at_once_are_learned(ready, studio):
    bodies = [studio.annotated(n) for n in (1, 2)]
    together = {"action": "ANNOTATIONS_CREATED", "project": studio.project()}
    together |= {name: [body[name] for body in bodies] for name in ("annotation", "task")}
    ready.send_json("/webhook", together)
    assert list(labelled(ready.learned())) == names(studio, 1, 2)


def test_labels_that_the_configuration_lacks_are_left_out_with_a_warning(ready, studio, caplog):
    size = studio.records[0].size
    regions = [region((5, 5, 60, 60), "fish", size), region((70, 5, 120, 60), "unicorn", size)]
    ready.send_json("/webhook", studio.annotated(1, regions))
    assert labelled(ready.learned()) == {names(studio, 1)[0]: ["fish"]}
    assert "task 1: left out 1 regions: label 'unicorn' not in the configuration" in caplog.text


def test_labels_that_come_later_are_learned(ready, studio):
    ready.send_json("/webhook", studio.annotated(1))
    before = ready.learned()._learner.classes
    studio.config = config_of(["unicorn", *studio.classes])
    ready.send_json("/webhook", {"action": "PROJECT_UPDATED", "project": studio.project()})
    size = studio.records[1].size
    ready.send_json("/webhook", studio.annotated(2, [region((70, 5, 120, 60), "unicorn", size)]))
    project = ready.learned()
    assert project._learner.classes == (*before, "unicorn")
    assert labelled(project)[names(studio, 2)[0]] == ["unicorn"]
    assert project._learner.detector.model.svms.bias[-1] > -100


def test_five_hundred_labels_work(client, studio):
    studio.config = config_of([f"kind {i}" for i in range(500)])
    client.send_json("/setup", studio.setup())
    for number in (1, 2):
        regions = [region((5, 5, 90, 90), f"kind {i}", studio.records[number - 1].size) for i in range(40 * number)]
        client.send_json("/webhook", studio.annotated(number, regions))
    project = client.learned()
    assert len(project._learner.classes) == 500
    assert len(labelled(project)[names(studio, 2)[0]]) == 80
    (prediction,) = client.send_json("/predict", studio.predict(1))["results"][0]
    check_prediction(prediction, project.version, studio.records[0].size, project._learner.classes)


def test_a_photo_that_cannot_be_fetched_gets_no_boxes_and_the_others_do(ready, studio, caplog):
    ready.send_json("/webhook", studio.annotated(2))
    ready.learned()
    studio.answers["/data/text"] = (200, {}, b"no photo")
    studio.answers["/data/large.png"] = (200, {}, encoded(1100, 1000))
    studio.answers["/data/empty"] = (200, {}, b"")
    wrong = ["/data/gone.jpg", "http://evil.example/a.jpg", "s3://b/a.jpg", "/data/text", "/data/large.png",
             "/data/empty"]  # fmt: skip
    tasks = [studio.task(20 + i, image=url) for i, url in enumerate(wrong)]
    tasks += [studio.task(30, text="no photo", title="at all"), studio.task(2)]
    results = ready.send_json("/predict", studio.predict(tasks=tasks))["results"]
    assert results[:7] == [[]] * 7
    assert results[7][0]["result"]
    reasons = ["404", "--photo-hosts evil.example", "not s3", "not a photo in a known format", "at most 1 megapixel"]
    for reason in (*reasons, "0 bytes", "no photo under the key"):
        assert reason in caplog.text
    assert all(len(message.splitlines()) == 1 for message in caplog.messages)


def test_an_annotation_whose_photo_is_missing_is_learned_when_it_is_there(ready, studio, caplog):
    path = studio.task(1)["data"]["image"]
    studio.answers[path] = (503, {}, b"")
    ready.send_json("/webhook", studio.annotated(1))
    project = ready.learned()
    assert labelled(project) == {}
    assert "task 1: " in caplog.text
    del studio.answers[path]
    ready.send_json("/setup", studio.setup())
    assert list(labelled(ready.learned())) == names(studio, 1)


def test_requests_of_several_labellers_are_answered_one_after_the_other(ready, studio):
    for number in range(1, 5):
        ready.send_json("/webhook", studio.annotated(number, annotation=number))
        ready.send_json("/webhook", studio.annotated(number, [], annotation=10 + number))
    assert set(map(tuple, labelled(ready.learned()).values())) == {()}


def test_an_unknown_project_is_refused_or_set_up_from_what_is_said(client, studio):
    assert (
        "unknown until Label Studio sets it up"
        in client.send_json("/predict", studio.predict(1, label_config=""), status=404)["detail"]
    )
    assert client.send_json("/predict", studio.predict(1))["results"] == [[]]  # where photos are is not known
    client.send_json("/webhook", studio.annotated(1))
    assert labelled(client.learned()) == {}
    client.send_json("/setup", studio.setup())
    assert list(labelled(client.learned())) == names(studio, 1)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/setup", {"schema": "<View/>"}, "expected <RectangleLabels>"),
        ("/setup", {"schema": 5}, "schema: expected text"),
        ("/setup", {"project": "7"}, "project: expected ID.SECONDS"),
        ("/setup", {"hostname": "ftp://x"}, "expected an address such as"),
        ("/predict", {"tasks": 5}, "tasks: expected a list"),
        ("/predict", {"tasks": [{"id": "x"}]}, "task id: expected a number"),
        ("/webhook", {"project": None}, "project: expected an object"),
        ("/webhook", {"annotation": None}, "annotation: expected a list"),
        ("/webhook", {"task": []}, "is not in the body"),
        ("/webhook", {"action": 5}, "action: expected text"),
    ],
)
def test_wrong_bodies_are_refused_in_one_sentence(ready, studio, caplog, path, body, reason):
    right = {"/setup": studio.setup, "/predict": lambda: studio.predict(1), "/webhook": lambda: studio.annotated(1)}
    detail = ready.send_json(path, right[path]() | body, status=422)["detail"]
    assert reason in detail
    assert "\n" not in detail
    assert path != "/webhook" or reason in caplog.text  # Label Studio shows nobody the answer


def test_what_is_not_json_is_refused(client):
    for body in (b"", b"{", b"[1]", b"[" * 100_000):
        assert client.post("/setup", content=body).status_code == 422
    assert client.post("/predict", content=b" " * 1_100_000).status_code == 413
    assert client.get("/setup").status_code == 405


def test_other_actions_are_ignored(client):
    assert client.send_json("/webhook", {"action": "PROJECT_CREATED", "project": {"id": 9}}) == {"status": "ignored"}


def test_an_event_without_payload_is_no_loss_unnoticed(ready, caplog):
    """Label Studio sends it when an annotation is turned into a draft."""
    assert ready.send_json("/webhook", {"action": "ANNOTATIONS_DELETED"}) == {"status": "ignored"}
    assert "ANNOTATIONS_DELETED without a word on what; Start Training" in caplog.text


def test_start_training_takes_over_all_annotations(ready, studio):
    ready.send_json("/webhook", studio.annotated(1))
    ready.send_json("/webhook", studio.annotated(4))
    exported = [{**studio.task(n), "annotations": [studio.annotated(n)["annotation"]]} for n in (1, 2, 3)]
    exported[2]["annotations"][0]["was_cancelled"] = True
    path = "/api/projects/7/export?exportType=JSON&download_all_tasks=false"
    studio.answers[path] = (200, {}, json.dumps(exported).encode())
    assert ready.send_json("/webhook", {"action": "START_TRAINING", "project": studio.project()}) == {"status": "ok"}
    until(lambda: any(p == path for p, _ in studio.requests))
    until(lambda: set(ready.learned().book) == {1, 2})
    assert sorted(labelled(ready.learned())) == names(studio, 1, 2)


def test_start_training_without_access_says_so(ready, studio, caplog):
    studio.tokens.clear()
    ready.send_json("/webhook", {"action": "START_TRAINING", "project": studio.project()})
    until(lambda: "does not accept the token" in caplog.text)


def test_a_personal_token_of_the_environment_is_used(base, studio, tmp_path):
    with backend_client(base, tmp_path, Access(token=PERSONAL)) as client:
        studio.tokens.discard(f"Token {TOKEN}")
        client.send_json("/setup", studio.setup())
        client.send_json("/webhook", studio.annotated(1))
        assert list(labelled(client.learned())) == names(studio, 1)


def test_on_an_open_address_label_studio_must_be_named_or_local(base, studio, tmp_path, caplog):
    elsewhere = studio.setup(hostname="http://10.1.2.3:8080")
    with backend_client(base, tmp_path / "a", Access(open=False), hosts=()) as client:
        detail = client.send_json("/setup", elsewhere, status=403)["detail"]
        assert detail == caplog.messages[-1]
        assert "--label-studio-url http://10.1.2.3:8080 allows it" in detail
        client.send_json("/setup", studio.setup())
    with backend_client(base, tmp_path / "b", Access(studio.address, open=False), hosts=()) as client:
        client.send_json("/setup", elsewhere)  # what it says of itself does not count
        client.send_json("/webhook", studio.annotated(1))
        assert list(labelled(client.learned())) == names(studio, 1)


def test_a_user_and_a_password_are_asked_for(base, studio, tmp_path):
    with backend_client(base, tmp_path, login=Login("label", "s:cret")) as client:
        for path in ("/health", "/", "/versions"):
            assert client.get(path).status_code == 401
        for header in ("Basic", "Basic x", f"Basic {encode('label:wrong')}", f"Bearer {encode('label:s:cret')}"):
            reply = client.post("/setup", json=studio.setup(), headers={"authorization": header})
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"].startswith("Basic")
        client.auth = ("label", "s:cret")
        assert client.get("/health").status_code == 200
        client.send_json("/setup", studio.setup())


def encode(text):
    return base64.b64encode(text.encode()).decode()


def test_pages_of_other_sites_cannot_teach_anything(client, studio):
    reply = client.post("/setup", json=studio.setup(), headers={"origin": "http://evil.example"})
    assert reply.status_code == 403
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 403
    assert not client.backend.projects


def test_two_projects_do_not_mix(client, studio):
    other = {"id": 8, "created_at": "2025-02-03T04:05:06Z"}
    client.send_json("/setup", studio.setup())
    client.send_json("/setup", studio.setup(project="8.1738555506", schema=config_of(["a", "b"])))
    client.send_json("/webhook", studio.annotated(1))
    region_b = [region((5, 5, 60, 60), "b", studio.records[0].size)]
    body = studio.annotated(1, region_b)
    client.send_json("/webhook", body | {"project": {**other, "label_config": config_of(["a", "b"])}})
    until(lambda: not client.backend.worker.waiting)
    first, second = (client.backend.projects[uid] for uid in (UID, "8.1738555506"))
    assert labelled(second) == {names(studio, 1)[0]: ["b"]}
    assert labelled(first)[names(studio, 1)[0]] != ["b"]
    assert second.folder.name == "8.1738555506"


def test_tasks_that_are_not_answered_in_time_have_no_prediction(ready, studio, monkeypatch, caplog):
    monkeypatch.setattr(backend, "PREDICT_SECONDS", 0.3)
    go_on = threading.Event()
    ready.learned()
    ready.backend.worker.submit(go_on.wait)
    assert ready.send_json("/predict", studio.predict(9, 10))["results"] == [[], []]
    assert ready.backend.worker.waiting == 1  # the tasks wait no longer
    go_on.set()
    ready.learned()
    assert "ERROR" not in caplog.text


@pytest.mark.parametrize("where", ["a job", "an export"])
def test_work_under_way_at_the_end_is_given_up(where, base, studio, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "PATIENCE_SECONDS", 0.3)
    go_on = threading.Event()
    with backend_client(base, tmp_path / "run") as client:
        client.send_json("/setup", studio.setup())
        client.learned()
        if where == "a job":
            client.backend.worker.submit(go_on.wait)
        else:
            monkeypatch.setattr(client.backend.projects[UID].studio, "ask", lambda _: go_on.wait())
            client.send_json("/webhook", {"action": "START_TRAINING", "project": studio.project()})
            until(lambda: client.backend._fetching)
    assert client.backend.abandoned
    go_on.set()
