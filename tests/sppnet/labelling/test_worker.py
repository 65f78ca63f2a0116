"""The order of work: jobs in turn, trainings in the pauses, a clean end."""

import threading
import time

import pytest

from sppnet.labelling.worker import Worker
from sppnet.server.errors import RequestRefused
from tests.sppnet.server.helpers import until


class Project:
    """Something to train, in steps that a test releases."""

    def __init__(self, behind=1, error=None):
        self.left, self.error = behind, error
        self.events, self.steps = [], threading.Semaphore(0)

    @property
    def behind(self):
        return self.left > 0

    def catchup(self):
        self.left -= 1
        self.events.append(("catchup", threading.current_thread().name))
        return self

    def run(self, on_step):
        if self.error:
            raise self.error
        for step in range(3):
            assert self.steps.acquire(timeout=20)
            on_step()
            self.events.append(("step", step))

    def adopt(self, trained):
        assert trained is self
        self.events.append(("adopt", threading.current_thread().name))


@pytest.fixture
def make():
    workers = []

    def made(*projects, quiet=0.0):
        workers.append(Worker(lambda: list(projects), quiet))
        return workers[-1]

    yield made
    for worker in workers:
        worker.close()


def test_jobs_are_done_one_at_a_time_in_the_order_of_their_arrival(make):
    worker, done = make(), []
    for number in range(20):
        worker.submit(lambda n=number: (time.sleep(0.002 * (n % 3)), done.append(n)))
    until(lambda: not worker.waiting)
    assert done == list(range(20))


def test_a_training_begins_and_ends_between_jobs_and_runs_beside_them(make):
    project = Project()
    worker = make(project)
    project.steps.release(3)
    until(lambda: len(project.events) == 5)
    (_, began), *steps, (_, ended) = project.events
    assert (began, ended) == ("learner_0", "learner_0")
    assert steps == [("step", 0), ("step", 1), ("step", 2)]
    assert worker.submit(lambda: 5).result() == 5


def test_a_training_waits_while_there_are_jobs(make):
    project, go_on = Project(), threading.Event()
    worker = make(project)
    until(lambda: project.events)
    busy = worker.submit(go_on.wait)
    project.steps.release(3)
    time.sleep(0.3)
    assert len(project.events) == 1
    go_on.set()
    until(lambda: len(project.events) == 5)
    assert busy.done()


def test_a_training_that_fails_is_reported_and_the_next_one_runs(make, caplog):
    project = Project(behind=2, error=OSError(28, "No space left on device", "rows"))
    make(project)
    until(lambda: project.left == 0)
    until(lambda: caplog.text.count("rows: No space left on device; it is tried again") == 2)


def test_the_end_comes_in_the_middle_of_a_training(make):
    project = Project()
    worker = make(project)
    until(lambda: project.events)
    project.steps.release(1)
    until(lambda: len(project.events) == 2)
    closing = threading.Thread(target=worker.close)
    closing.start()
    project.steps.release(2)
    closing.join(20)
    assert not closing.is_alive()
    assert ("adopt", "learner_0") not in project.events


def test_at_the_end_jobs_that_wait_are_cancelled_and_new_ones_refused(make):
    worker, go_on, begun = make(quiet=9.0), threading.Event(), threading.Event()
    first = worker.submit(lambda: (begun.set(), go_on.wait()))
    second = worker.submit(lambda: None)
    begun.wait()
    worker.stop()
    go_on.set()
    with pytest.raises(RequestRefused, match="shutting down"):
        worker.submit(lambda: None)
    worker.close()
    assert first.done()
    assert not first.cancelled()
    assert second.cancelled()


def test_work_that_does_not_end_is_given_up(make, monkeypatch):
    monkeypatch.setattr("sppnet.labelling.worker.PATIENCE_SECONDS", 0.3)
    project, go_on = Project(), threading.Event()
    busy, training, idle = make(quiet=9.0), make(project), make(quiet=9.0)
    busy.submit(go_on.wait)
    until(lambda: project.events)
    started = time.monotonic()
    assert [worker.close() for worker in (busy, training, idle)] == [False, False, True]
    assert time.monotonic() - started < 5
    go_on.set()
    project.steps.release(3)


def test_a_full_queue_refuses(make, monkeypatch):
    monkeypatch.setattr("sppnet.labelling.worker.MAX_WAITING", 2)
    worker, go_on = make(quiet=9.0), threading.Event()
    for _ in range(2):
        worker.submit(go_on.wait)
    with pytest.raises(RequestRefused, match="2 requests are already waiting"):
        worker.submit(lambda: None)
    go_on.set()
