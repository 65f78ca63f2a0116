"""All engines keep one contract."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from detection.engines.engine import WorkerLost
from detection.engines.processes import Processes
from detection.engines.ray_cluster import RayCluster
from detection.engines.this_process import ThisProcess

WITH_WORKERS = [
    pytest.param(lambda request: Processes(2), marks=pytest.mark.slow, id="processes"),
    pytest.param(lambda request: request.getfixturevalue("on_ray"), marks=pytest.mark.slow, id="ray"),
]
WITHOUT = [pytest.param(lambda request, n=n: ThisProcess(n), id=f"{n} threads") for n in (1, 2)]


@pytest.fixture
def on_ray(ray):
    return RayCluster(workers=2)


@pytest.fixture(params=WITHOUT + WITH_WORKERS)
def engine(request):
    return request.param(request)


@pytest.fixture(params=WITH_WORKERS)
def with_workers(request):
    return request.param(request)


def square():
    def work(item):
        if item == 3:
            raise ValueError("three")
        return item * item

    return work


def test_every_item_has_its_result_or_its_error(engine):
    found = dict(engine.map(square, range(20)))
    assert sorted(found) == list(range(20))
    assert [found[i].result() for i in range(20) if i != 3] == [i * i for i in range(20) if i != 3]
    with pytest.raises(ValueError, match=r"^three$"):
        found[3].result()


def test_no_items_have_no_results(engine):
    assert list(engine.map(square, [])) == []


def test_items_are_taken_when_they_are_needed(engine):
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = engine.map(square, items())
    for _ in range(5):
        next(results)
    results.close()
    assert len(taken) < 20


def deadly(folder, always):
    """Work that ends its process at item 5: each time, or only once."""

    def make():
        def work(item):
            if item == 5 and (always or not (folder / "died").exists()):
                (folder / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return item

        return work

    return make


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_items_of_a_killed_worker_are_done_by_another(with_workers, tmp_path):
    found = {item: done.result() for item, done in with_workers.map(deadly(tmp_path, always=False), range(20))}
    assert found == {i: i for i in range(20)}
    assert (tmp_path / "died").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_an_item_that_kills_its_workers_is_named_and_the_others_are_unharmed(with_workers, tmp_path):
    found = dict(with_workers.map(deadly(tmp_path, always=True), range(20)))
    assert {i: done.result() for i, done in found.items() if i != 5} == {i: i for i in range(20) if i != 5}
    with pytest.raises(WorkerLost, match=r"perhaps memory ran out|2 workers died of it"):
        found[5].result()


def test_workers_have_the_working_folder_of_the_caller(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("found")
    found = dict(engine.map(lambda: lambda name: Path(name).read_text(), ["here"]))
    assert found["here"].result() == "found"


def broken():
    raise OSError("no weights")


def test_workers_that_cannot_start_say_why(engine):
    with pytest.raises(OSError, match="no weights"):
        next(engine.map(broken, range(3)))[1].result()


@pytest.mark.slow
def test_a_worker_with_other_code_is_refused(ray, monkeypatch):
    monkeypatch.setattr("detection.engines.workers.code_digest", lambda: "of another version")
    with pytest.raises(RuntimeError, match=r"node .*: has another version of sppnet; install the same version"):
        list(RayCluster(workers=1).map(square, range(3)))


def test_without_ray_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sppnet\[cluster\]'"):
        list(RayCluster().map(square, range(3)))


def test_engines_import_neither_torch_nor_ray_until_they_need_it():
    code = (
        "import sys\n"
        "from detection.engines import engine, processes, ray_cluster, this_process\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
