"""The queue of photos: order, clients that leave, a full queue, shutdown, failures."""

import httpx
import pytest

from sppnet.server import detector_queue
from tests.sppnet.server.helpers import ask, encoded, in_turn, site, until


def test_photos_are_processed_in_order_while_the_page_answers(slow):
    answers = []
    with site(slow.queue) as client:
        threads = in_turn(slow.queue, client, (31, 32, 33), answers)
        assert client.get("/health").json() == {"status": "ok", "waiting": 3, "served": 0}
        assert client.get("/").status_code == 200
        until(slow.detector.begun.is_set)
        assert slow.detector.seen == [31]
        slow.detector.go_on.set()
        for thread in threads:
            thread.join()
        assert client.get("/health").json() == {"status": "ok", "waiting": 0, "served": 3}
    assert slow.detector.seen == [31, 32, 33]
    waits = {a.json()["width"]: a.json()["seconds"]["wait"] for a in answers}
    assert waits[31] < min(waits[32], waits[33])


def test_a_client_that_leaves_before_its_turn_costs_no_detection(slow):
    answers = []
    with site(slow.queue) as client:
        threads = in_turn(slow.queue, client, (31,), answers)
        until(slow.detector.begun.is_set)
        with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=client.base_url, timeout=0.5) as impatient:
            ask(impatient, encoded(32, 30))
        until(lambda: slow.queue.waiting == 1)
        threads += in_turn(slow.queue, client, (33,), answers)
        slow.detector.go_on.set()
        for thread in threads:
            thread.join()
    assert slow.detector.seen == [31, 33]
    assert [a.status_code for a in answers] == [200, 200]


def test_a_full_queue_refuses_photos(slow, monkeypatch):
    monkeypatch.setattr(detector_queue, "MAX_WAITING", 2)
    with site(slow.queue) as client:
        threads = in_turn(slow.queue, client, (31, 32), [])
        reply = ask(client, encoded(33, 30))
        assert (reply.status_code, reply.json()["detail"][:28]) == (503, "2 photos are already waiting")
        slow.detector.go_on.set()
        for thread in threads:
            thread.join()


def test_a_stopping_server_finishes_one_photo_and_refuses_the_others(slow):
    answers = []
    with site(slow.queue) as client:
        threads = in_turn(slow.queue, client, (31, 32), answers)
        until(slow.detector.begun.is_set)
        slow.queue.stop()
        until(lambda: len(answers) == 1)
        assert (answers[0].status_code, answers[0].json()) == (503, {"detail": "the server is shutting down"})
        assert ask(client, encoded(33, 30)).status_code == 503
        slow.detector.go_on.set()
        for thread in threads:
            thread.join()
    assert answers[1].status_code == 200
    assert slow.detector.seen == [31]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("image of 9 x 9 pixels"), 422, "image of 9 x 9 pixels"),
        (MemoryError(), 500, "MemoryError"),
        (KeyError("secret"), 500, "internal error; see the server's terminal"),
    ],
)
def test_a_failure_is_one_sentence_and_the_server_goes_on(error, status, message, slow, monkeypatch, caplog):
    def fail(*_):
        raise error

    monkeypatch.setattr(slow.detector, "propose", fail)
    with site(slow.queue) as client:
        for _ in range(2):
            reply = ask(client, encoded(40, 30))
            assert reply.status_code == status
            assert reply.json()["detail"].endswith(message)
    assert ("secret" in caplog.text) == isinstance(error, KeyError)
