"""The HTTP API: detections, models, and requests that are refused."""

import contextlib
import socket

import pytest
from PIL import Image

from detection import SPPDetector, zoo
from sppnet.server.detector_queue import DetectorQueue
from sppnet.server.offered_detectors import OfferedDetector, offered_detectors
from sppnet.settings.commands import BUNDLED
from tests.jpegs import of_many_scans
from tests.sppnet.server.helpers import LIMITS, ask, claiming, encoded, site


def test_the_answer_is_what_the_detector_finds(client, photo, name, weights):
    expected = SPPDetector.from_pretrained(name, device="cpu", weights=weights).detect(photo)
    for threshold in (-1.5, -0.9):
        answer = ask(client, photo, score_threshold=threshold).json()
        assert answer["model"] == name
        assert answer["detections"] == expected.filter(threshold).records()
    assert (answer["height"], answer["width"]) == expected.draw().shape[:2]
    assert 0 < len(answer["detections"]) < len(expected)
    stages = [answer["seconds"][s] for s in ("wait", "decode", "load", "windows", "detect")]
    assert min(stages[3:]) > 0
    assert answer["seconds"]["total"] == pytest.approx(sum(stages), abs=1e-3)
    assert ask(client, photo).json()["detections"] == expected.filter(-0.5).records()


def test_a_photo_is_rotated_as_its_exif_tag_says(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    answer = ask(client, encoded(200, 100, "jpeg", exif=exif)).json()
    assert (answer["width"], answer["height"]) == (100, 200)


def test_models_and_limits_are_listed(client, name):
    answer = client.get("/models").json()
    assert answer["default"] == name
    assert (answer["max_megabytes"], answer["max_megapixels"]) == (1, 1)
    assert [m["name"] for m in answer["models"]] == [name, "lite0-voc2007", "lite0-pool5-voc2007", "lite2-voc2007"]
    own, lite0 = answer["models"][:2]
    assert (own["network"], own["map"], own["seconds"], own["loaded"]) == ("alexnet", None, None, True)
    assert (len(lite0["classes"]), round(lite0["map"], 3), lite0["loaded"]) == (20, 0.649, False)


def test_without_a_named_model_all_bundled_detectors_are_offered_the_default_first():
    names = list(offered_detectors([]))
    assert names[0] == BUNDLED
    assert sorted(names) == zoo.names()


@pytest.mark.parametrize(
    ("photo", "status", "message"),
    [
        (b"", 422, "the photo is empty (0 bytes); send an image file"),
        (b"not a photo", 415, "the file is not a photo in a known format (JPEG, "),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "the file is not a photo in a known format"),
        (encoded(60, 60)[:-30], 422, "damaged or unsupported image (image file is truncated"),
        (encoded(60, 60, "jpeg")[:300], 422, "damaged"),
        (encoded(1001, 1000), 413, "the photo has 1001 x 1000 pixels, at most 1 megapixels are accepted; resize it"),
        (claiming(10_000, 10_000), 413, "the photo has 10000 x 10000 pixels, at most 1 megapixels are accepted; resi"),
        (of_many_scans(1000, 1000, 4000), 422, "JPEG of 1000 x 1000 pixels in 4,010 scans, of this size at most 4000"),
        (claiming(20_000, 20_000), 413, "Image size (400000000 pixels) exceeds limit"),
    ],
)
def test_an_unusable_photo_is_refused_in_one_sentence(photo, status, message, client):
    reply = ask(client, photo)
    assert reply.status_code == status
    assert reply.json()["detail"].startswith(message)
    assert "/" not in reply.json()["detail"]  # no path of the server


def test_a_photo_for_which_the_memory_does_not_suffice_is_refused(client, monkeypatch):
    def fail(_):
        raise MemoryError

    monkeypatch.setattr("sppnet.server.uploads.read", fail)
    reply = ask(client, encoded(30, 30))
    assert (reply.status_code, reply.json()["detail"]) == (413, "the photo needs more memory than there is; resize it")


def test_one_pixel_is_a_photo(client):
    answer = ask(client, encoded(1, 1)).json()
    assert (answer["width"], answer["height"], answer["detections"]) == (1, 1, [])


def test_an_elongated_photo_is_answered(client):
    answer = ask(client, encoded(3000, 100)).json()
    assert (answer["width"], answer["height"]) == (3000, 100)
    reply = ask(client, encoded(9000, 1))
    assert (reply.status_code, reply.json()["detail"][:26]) == (422, "image of 9000 x 1 pixels: ")


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"model": "nobody"}, 404, "model 'nobody': expected one of "),
        ({"score_threshold": "nan"}, 422, "score_threshold: Input should be a finite number"),
        ({"score_threshold": "much"}, 422, "score_threshold: Input should be a valid number"),
    ],
)
def test_wrong_parameters_are_named(query, status, message, client, photo):
    reply = ask(client, photo, **query)
    assert (reply.status_code, reply.json()["detail"][: len(message)]) == (status, message)


def test_a_request_without_a_photo_is_refused(client):
    reply = client.post("/detect")
    assert (reply.status_code, reply.json()) == (422, {"detail": "photo: Field required"})
    reply = client.post("/detect", data={"photo": "name.jpg"})
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("photo: ")
    assert client.get("/nowhere").json() == {"detail": "Not Found"}


@pytest.mark.parametrize("n", [1_000_001, 3_000_000])
def test_too_many_bytes_are_refused(n, client):
    expected = {"detail": "the photo has more than 1 MB; resize it"}
    reply = ask(client, bytes(n))
    assert (reply.status_code, reply.json()) == (413, expected)
    start = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
    parts = [start, *[bytes(100_000)] * (n // 100_000 + 1), b"\r\n--x--\r\n"]
    reply = client.post("/detect", content=iter(parts), headers={"content-type": "multipart/form-data; boundary=x"})
    assert (reply.status_code, reply.json()) == (413, expected)


def test_a_client_that_still_sends_is_read_to_the_end_before_the_answer(client):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=0.3) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n" + bytes(9))
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        connection.sendall(bytes(1_999_991))
        assert connection.recv(20).startswith(b"HTTP/1.1 413")


def test_a_body_without_end_is_cut_off(client, queue):
    start = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(start + b"Content-Length: 9000000\r\n\r\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 413")  # before any of it is sent
    part = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
    chunk = b"%x\r\n%b\r\n" % (100_000, bytes(100_000))
    sent = 0
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(start + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(part), part))
        with contextlib.suppress(OSError):
            for _ in range(2000):
                connection.sendall(chunk)
                sent += 1
    assert sent < 2000
    assert queue.waiting == 0


def test_a_detector_that_cannot_be_loaded_is_named_and_the_others_work(client, name, photo, tmp_path, weights):
    assert client.get("/health").json()["status"] == "ok"
    offered = offered_detectors([name], weights)
    offered["broken"] = OfferedDetector("broken", tmp_path, "pretrained", offered[name].description)
    with DetectorQueue(offered, LIMITS, "cpu") as queue, site(queue) as client:
        for _ in range(2):
            reply = ask(client, photo, model="broken")
            assert reply.status_code == 503
            assert reply.json()["detail"].startswith("broken cannot be used: ")
        assert "no such model" in reply.json()["detail"]
        assert ask(client, photo).status_code == 200


def test_the_api_describes_itself(client):
    spec = client.get("/openapi.json").json()
    assert list(spec["paths"]) == ["/detect", "/models", "/health"]
    post = spec["paths"]["/detect"]["post"]
    assert set(post["responses"]) == {"200", "400", "403", "404", "408", "413", "415", "422", "500", "503"}
    assert [p["name"] for p in post["parameters"]] == ["model", "threshold", "score_threshold"]
    assert set(spec["components"]["schemas"]["Detection"]["properties"]) == {
        "class", "label", "score", "probability", "box"
    }  # fmt: skip
