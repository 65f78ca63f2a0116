"""Parameters in the address and in the form: honoured, or refused by name."""

import pytest

from tests.sppnet.server.helpers import ask, encoded


def post(client, file, fields, query):
    """The answer of POST /detect to a photo with form fields and a query."""
    return client.post("/detect", files={"photo": ("p.jpg", file.read_bytes())}, data=fields, params=query)


def test_form_fields_mean_the_same_as_query_parameters(client, photo, name):
    low = ask(client, photo, score_threshold=-0.9).json()
    assert len(low["detections"]) > len(ask(client, photo).json()["detections"])
    for fields, query in (
        ({"score_threshold": "-0.9"}, {}),
        ({"score_threshold": "-0.9", "model": name}, {}),
        ({"score_threshold": "-0.90"}, {"score_threshold": "-0.9", "model": name}),
    ):
        answer = post(client, photo, fields, query).json()
        assert (answer["model"], answer["detections"]) == (name, low["detections"])
    assert post(client, photo, {"model": "nobody"}, {}).status_code == 404


@pytest.mark.parametrize(
    ("fields", "query", "message"),
    [
        ({"score_threshold": "0"}, {"score_threshold": "-1"}, "score_threshold: -1.0 in the address, but 0.0 in the"),
        ({"model": "lite0-voc2007"}, {"model": "lite2-voc2007"}, "model: 'lite2-voc2007' in the address, but 'lite0-"),
        ({"score_threshold": "nan"}, {}, "score_threshold: Input should be a finite number"),
        ({"score_threshold": "much"}, {}, "score_threshold: Input should be a valid number"),
        ({"treshold": "0"}, {}, "unknown form field 'treshold'; did you mean 'threshold'?"),
        ({"nms": "0"}, {}, "unknown form field 'nms'; expected one of photo, model, threshold, score_threshold"),
        ({}, {"score_treshold": "0"}, "unknown query parameter 'score_treshold'; did you mean 'score_threshold'?"),
        ({}, {"Model": "x"}, "unknown query parameter 'Model'; did you mean 'model'?"),
        ({}, {"photo": "x"}, "unknown query parameter 'photo'; expected one of model, threshold, score_threshold"),
        ({}, {"model": ["a", "b"]}, "model: given 2 times; send one model per request"),
        ({"score_threshold": ["0", "0"]}, {}, "score_threshold: given 2 times"),
        ({"threshold": "0.5"}, {"score_threshold": "0"}, "threshold, a probability, goes without score_threshold"),
        ({"threshold": "1.5"}, {}, "threshold: Input should be less than or equal to 1"),
        ({"threshold": "nan"}, {}, "threshold: Input should be"),
        ({}, {"threshold": "0.5"}, "threshold: this detector states no probabilities"),
    ],
)
def test_other_parameters_are_refused_by_name(client, photo, fields, query, message):
    reply = post(client, photo, fields, query)
    assert (reply.status_code, reply.json()["detail"][: len(message)]) == (422, message)


def test_two_photos_in_one_request_are_refused(client):
    files = [("photo", ("a.png", encoded(60, 60))), ("photo", ("b.png", encoded(50, 50)))]
    reply = client.post("/detect", files=files)
    assert (reply.status_code, reply.json()) == (422, {"detail": "photo: given 2 times; send one photo per request"})
    reply = client.post("/detect", files={"foto": ("a.png", encoded(60, 60))})
    assert (reply.status_code, reply.json()) == (422, {"detail": "unknown form field 'foto'; did you mean 'photo'?"})


@pytest.mark.parametrize("path", ["/models", "/health"])
def test_routes_without_parameters_refuse_any(client, path):
    reply = client.get(path, params={"model": "x"})
    assert (reply.status_code, reply.json()) == (422, {"detail": "unknown query parameter 'model'; expected none"})
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_take_any_address(client, path):
    assert client.get(path, params={"from": "a bookmark"}).status_code == 200
