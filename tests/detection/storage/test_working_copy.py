import copy
import os
import threading
import time

import numpy as np
import pytest

from detection.cache import FeatureCache
from detection.storage import lease as leases
from detection.storage import mounts
from detection.storage.follower import Follower
from detection.storage.lease import Lease
from detection.storage.mounts import Mount, mounted
from detection.storage.remote_folder import RemoteFolder
from detection.storage.working_copy import WorkingCopy, place_of, refresh


@pytest.fixture
def remote(tmp_path):
    return RemoteFolder(f"file://{tmp_path}/there/run")


@pytest.fixture
def open_copy(remote, tmp_path):
    """Make a working copy on one of several machines."""

    def make(machine="a", **options):
        mount = Mount(tmp_path / machine / "run", RemoteFolder(remote.url), ".maps", **options)
        return WorkingCopy(mount, Lease(mount.remote, beat=0.1, patience=0.5))

    return make


def put(copy, name, text):
    path = copy.mount.local / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def there(remote):
    return {name: remote.read(name).decode() for name in remote.versions() if not name.startswith(".")}


def test_what_is_written_goes_and_what_is_deleted_too(remote, open_copy):
    copy = open_copy()
    with copy.held():
        put(copy, "head/finetune.json", "1")
        path = put(copy, "old", "2")
        put(copy, ".head.lock", "")
        put(copy, "head/.x.1-2.tmp", "half")
        copy.push()
        assert there(remote) == {"head/finetune.json": "1", "old": "2"}
        path.unlink()
        put(copy, "head/finetune.json", "11")
    assert there(remote) == {"head/finetune.json": "11"}


def test_files_go_while_the_work_is_under_way(remote, open_copy, monkeypatch):
    monkeypatch.setattr("detection.storage.working_copy.PUSH", 0.05)
    copy = open_copy()
    with copy.held():
        put(copy, "checkpoint", "1")
        deadline = time.monotonic() + 20
        while not there(remote) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert there(remote) == {"checkpoint": "1"}


def test_files_go_in_the_order_in_which_they_were_written(remote, open_copy, monkeypatch):
    copy, order = open_copy(), []
    with copy.held():
        for age, name in enumerate(["b", "c", "a"]):
            os.utime(put(copy, name, name), ns=(0, 10**9 * age))
        upload = copy.mount.remote.upload
        monkeypatch.setattr(copy.mount.remote, "upload", lambda path, name: (order.append(name), upload(path, name)))
        copy.push()
    assert order == ["b", "c", "a"]


def test_another_machine_goes_on(remote, open_copy):
    first, second = open_copy("a"), open_copy("b")
    with first.held():
        put(first, "model/model.json", "1")
    with second.held():
        assert (second.mount.local / "model/model.json").read_text() == "1"
        put(second, "model/model.json", "2")
    with open_copy("a").held():
        assert (first.mount.local / "model/model.json").read_text() == "2"


def test_a_copy_is_thrown_away_if_another_machine_worked_since(remote, open_copy):
    first, second = open_copy("a"), open_copy("b")
    with first.held():
        put(first, "a.maps", "old")
        put(first, "x", "1")
    with second.held():
        (second.mount.local / "x").unlink()
    with open_copy("a").held():
        assert not (first.mount.local / "a.maps").exists()
        assert not (first.mount.local / "x").exists()
    assert there(remote) == {}


def test_what_a_killed_command_could_not_store_any_more_is_stored_by_the_next(remote, open_copy):
    killed = open_copy()
    killed.lease.acquire()
    killed._pull()
    put(killed, "checkpoint", "1")
    killed.lease._ended.set()  # dead: no more counts, no release
    following = open_copy()
    with following.held():
        assert (following.mount.local / "checkpoint").read_text() == "1"
    assert there(remote) == {"checkpoint": "1"}


def test_a_copy_that_was_not_finished_deletes_nothing_there(remote, open_copy, monkeypatch):
    first, second = open_copy("a"), open_copy("b")
    with first.held():
        put(first, "x", "1")
        put(first, "y", "2")
    download = second.mount.remote.download

    def stop(name, path):
        if name == "y":
            raise OSError("network")
        download(name, path)

    monkeypatch.setattr(second.mount.remote, "download", stop)
    with pytest.raises(OSError, match="network"), second.held():
        pass
    assert there(remote) == {"x": "1", "y": "2"}
    again = open_copy("b")
    with again.held():
        assert (again.mount.local / "y").read_text() == "2"
    assert there(remote) == {"x": "1", "y": "2"}


def test_a_storage_that_fails_at_the_end_is_told_and_nothing_is_lost(remote, open_copy, monkeypatch):
    copy = open_copy()

    def fail(path, name):
        raise OSError(f"{remote.url}/{name}: no space")

    def work():
        with copy.held():
            put(copy, "model", "1")
            monkeypatch.setattr(copy.mount.remote, "upload", fail)

    with pytest.raises(OSError, match="no space"):
        work()
    following = open_copy()
    with following.held():
        pass
    assert there(remote) == {"model": "1"}


def test_a_folder_that_was_taken_over_is_not_written_any_more(remote, open_copy):
    copy = open_copy()

    def work():
        with copy.held():
            remote.write(f"{leases.FOLDER}/{copy.lease.number + 1:012d}.json", b"{}")
            put(copy, "x", "1")

    with pytest.raises(RuntimeError, match="another process took it over"):
        work()
    assert there(remote) == {}


def test_large_files_come_when_they_are_read(remote, open_copy):
    first, second = open_copy("a"), open_copy("b")
    with first.held(), mounted(first.mount):
        mounts.write(first.mount.local / "features" / "1.maps", [b"maps"])
        put(first, "features/manifest.json", "{}")
    with second.held(), mounted(second.mount):
        path = second.mount.local / "features" / "1.maps"
        assert not path.exists()
        assert mounts.is_file(path)
        assert mounts.names(path.parent) == {"1.maps", "manifest.json"}
        mounts.bring(path)
        assert path.read_text() == "maps"
        with pytest.raises(FileNotFoundError):
            mounts.bring(path.with_name("2.maps"))
        mounts.remove(path)
        assert not mounts.is_file(path)
    assert list(there(remote)) == ["features/manifest.json"]


def test_a_worker_on_another_machine_writes_maps_into_a_cache_that_it_has_not_seen(remote, open_copy, tmp_path):
    first = open_copy("a")
    maps = [np.ones((2, 3, 4), np.float32)]
    with first.held(), mounted(first.mount):
        cache = FeatureCache(first.mount.local / "features", {"network": "tiny"})
        there = Mount(tmp_path / "b" / "run", RemoteFolder(remote.url), ".maps", number=first.mount.number)
        there.join()
        elsewhere = copy.copy(cache)
        elsewhere.root = there.local / "features"
        with mounted(there):
            elsewhere.write("1", maps)
        assert not cache.path("1").exists()
        assert "1" in cache
        assert cache.ids() == ["1"]
        assert (cache.read("1")[0][0] == 1).all()


def test_a_worker_throws_maps_from_before_the_lease_away(remote, tmp_path):
    mount = Mount(tmp_path / "b" / "run", remote, ".maps", number=3)
    mount.local.mkdir(parents=True)
    (mount.local / "old.maps").write_text("old")
    mount.join()
    assert not (mount.local / "old.maps").exists()
    (mount.local / "new.maps").write_text("new")
    mount.join()  # the second worker of the machine
    assert (mount.local / "new.maps").exists()


def test_a_map_that_is_here_is_at_the_url(open_copy, monkeypatch):
    first = open_copy()

    def fail(name, data):
        raise OSError("no space")

    with first.held(), mounted(first.mount):
        path = first.mount.local / "1.maps"
        monkeypatch.setattr(first.mount.remote, "write", fail)
        with pytest.raises(OSError, match="no space"):
            mounts.write(path, [b"maps"])
        assert not mounts.is_file(path)


def test_copies_of_large_files_take_no_more_disk_than_allowed(open_copy, monkeypatch):
    monkeypatch.setattr(mounts, "SWEEP", 1)
    copy = open_copy(disk=1000)
    with copy.held(), mounted(copy.mount):
        for number in range(20):
            mounts.write(copy.mount.local / f"{number:02d}.maps", [b"x" * 100])
        here = sorted(path.name for path in copy.mount.local.glob("*.maps"))
        assert 700 <= 100 * len(here) <= 1000
        assert here[-1] == "19.maps"
        assert all(mounts.is_file(copy.mount.local / f"{number:02d}.maps") for number in range(20))


def test_a_file_that_was_just_read_stays_longest(open_copy, monkeypatch):
    copy = open_copy(disk=1000)
    with copy.held(), mounted(copy.mount):
        for number in range(10):
            path = copy.mount.local / f"{number}.maps"
            mounts.write(path, [b"x" * 100])
            os.utime(path, (number, number))
        mounts.bring(copy.mount.local / "0.maps")
        monkeypatch.setattr(mounts, "SWEEP", 1)
        mounts.write(copy.mount.local / "new.maps", [b"x" * 100])
        here = {path.name for path in copy.mount.local.glob("*.maps")}
    assert {"0.maps", "new.maps"} <= here
    assert "1.maps" not in here


def test_processes_of_torchrun_use_the_copy_of_the_first(remote, open_copy, monkeypatch):
    monkeypatch.setattr("detection.storage.follower.BEAT", 0.1)
    first, ended = open_copy(), threading.Event()
    seen = []

    def follow():
        follower = Follower(Mount(first.mount.local, RemoteFolder(remote.url), ".maps"), patience=10)
        with follower.held():
            seen.append((follower.mount.number, (first.mount.local / "x").read_text()))
        ended.set()

    with first.held():
        put(first, "x", "1")
    thread = threading.Thread(target=follow)
    thread.start()
    time.sleep(0.5)
    assert not seen  # a lease that was released before does not count
    second = open_copy()
    with second.held():
        assert ended.wait(20)
    thread.join()
    assert seen == [(2, "1")]


def test_a_process_of_torchrun_on_another_machine_makes_a_copy(remote, open_copy, tmp_path, monkeypatch):
    monkeypatch.setattr("detection.storage.follower.BEAT", 0.1)
    first = open_copy()
    with first.held():
        put(first, "x", "1")
        copy = Follower(Mount(tmp_path / "b" / "run", RemoteFolder(remote.url), ".maps"), patience=10)
        monkeypatch.setattr("detection.storage.follower.platform.node", lambda: "elsewhere")
        first.push()
        with copy.held():
            assert (copy.mount.local / "x").read_text() == "1"
    with open_copy("b").held():  # that was no copy of a holder, so it is made anew
        pass


def test_a_first_process_that_does_not_come_is_told(remote, tmp_path):
    follower = Follower(Mount(tmp_path / "run", remote, ".maps"), patience=0.2)
    with pytest.raises(RuntimeError, match="first process of torchrun does not take it within"), follower.held():
        pass


def test_a_folder_that_is_read_is_the_same_here(remote, tmp_path):
    remote.write("a/1.jpg", b"1")
    remote.write("a/2.jpg", b"2")
    mount = Mount(place_of(remote.url, tmp_path / "copies"), remote)
    refresh(mount)
    assert {path.name for path in mount.local.rglob("*.jpg")} == {"1.jpg", "2.jpg"}
    remote.delete(["a/1.jpg"])
    remote.write("a/2.jpg", b"22")
    refresh(mount)
    assert {path.name: path.read_bytes() for path in mount.local.rglob("*.jpg")} == {"2.jpg": b"22"}


def test_a_worker_does_not_use_a_photo_that_was_replaced_since(remote, tmp_path):
    def seen():
        driver = Mount(tmp_path / "a" / "data", remote)
        refresh(driver)
        worker = Mount(tmp_path / "b" / "data", remote, number=driver.number)
        worker.join()
        worker.bring(worker.local / "photos" / "1.jpg")
        worker.join()
        return (worker.local / "photos" / "1.jpg").read_bytes()

    remote.write("photos/1.jpg", b"old")
    assert seen() == b"old"
    remote.write("photos/1.jpg", b"new")
    assert seen() == b"new"


def test_a_folder_that_is_not_there_is_told(remote, tmp_path):
    mount = Mount(tmp_path / "copy", remote)
    with pytest.raises(FileNotFoundError, match=rf"{remote.url}: there is nothing here"):
        refresh(mount)
    remote.write("labels.json", b"{}")
    with pytest.raises(FileNotFoundError, match=r"is a file; give the folder"):
        refresh(Mount(tmp_path / "copy", RemoteFolder(f"{remote.url}/labels.json")))
