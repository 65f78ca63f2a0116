"""The ML backend protocol: what Label Studio asks, what it gets, what is learned meanwhile."""

import pytest

from tests.sppnet.labelling.helpers import backend_client


@pytest.fixture
def client(base, tmp_path):
    with backend_client(base, tmp_path / "run") as client:
        yield client


def test_boxes_arrive_once_photos_are_labelled(client, studio):
    version = client.send_json("/setup", studio.setup())["model_version"]
    before = client.send_json("/predict", studio.predict(9, 10))
    assert before == {"results": [[], []], "model_version": version}
    for number in range(1, 9):
        assert client.send_json("/webhook", studio.annotated(number)) == {"status": "ok"}
    learned = client.send_json("/setup", studio.setup())["model_version"]
    assert learned != version
    after = client.send_json("/predict", studio.predict(9, 10))
    assert len(after["results"]) == 2
    for (prediction,), number in zip(after["results"], (9, 10), strict=True):
        assert prediction["model_version"].startswith("8-photos-")
        assert 0 <= prediction["score"] <= 1
        height, width = studio.records[number - 1].size
        for found in prediction["result"]:
            assert (found["from_name"], found["to_name"], found["type"]) == ("label", "image", "rectanglelabels")
            assert (found["original_width"], found["original_height"]) == (width, height)
            value = found["value"]
            assert value["rectanglelabels"][0] in studio.classes
            assert min(value["x"], value["y"], value["width"], value["height"]) >= 0
            assert max(value["x"] + value["width"], value["y"] + value["height"]) <= 100 + 1e-6
            assert 0 <= found["score"] <= 1
    assert any(prediction["result"] for (prediction,) in after["results"])
    assert client.get("/health").json()["status"] == client.get("/").json()["status"] == "UP"
    project = client.learned()
    assert client.get("/versions").json() == client.post("/versions").json() == {"versions": [project.version]}
