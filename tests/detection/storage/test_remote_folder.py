import os
import pickle
import secrets
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from detection.storage import remote_folder
from detection.storage.remote_folder import RemoteFolder


@pytest.fixture(params=["s3", "file", "memory"])
def folder(request, tmp_path):
    """A folder at a URL of each kind, which does not exist yet."""
    if request.param == "s3":
        return RemoteFolder(f"{request.getfixturevalue('s3')}/a/run")
    return RemoteFolder(
        f"file://{tmp_path}/a/run" if request.param == "file" else f"memory://{secrets.token_hex(4)}/run"
    )


def test_files_are_written_listed_read_and_deleted(folder, tmp_path):
    assert folder.versions() == {}
    (tmp_path / "local").write_bytes(b"maps")
    folder.write("model/model.json", b"{}")
    folder.upload(tmp_path / "local", "features/a b.maps")
    versions = folder.versions()
    assert {name: size for name, (size, _) in versions.items()} == {"model/model.json": 2, "features/a b.maps": 4}
    assert list(folder.versions("model")) == ["model/model.json"]
    assert folder.read("features/a b.maps") == b"maps"
    folder.download("features/a b.maps", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == b"maps"
    folder.delete(["features/a b.maps", "never written"])
    assert list(folder.versions()) == ["model/model.json"]


def test_a_file_that_is_written_again_has_another_version(folder):
    folder.write("a", b"first")
    before = folder.versions()["a"]
    folder.write("a", b"again")
    assert folder.read("a") == b"again"
    assert folder.versions()["a"] != before


def test_of_many_who_create_a_file_one_succeeds(folder):
    def create(number):
        try:
            folder.create("lease", str(number).encode())
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as threads:
        made = [number for number in threads.map(create, range(16)) if number is not None]
    assert len(made) == 1
    assert folder.read("lease") == str(made[0]).encode()


def test_other_processes_connect_for_themselves(folder):
    folder.write("a", b"1")
    assert pickle.loads(pickle.dumps(folder)).read("a") == b"1"


def test_a_missing_file_is_told_by_its_url(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{folder.url}/none: "):
        folder.read("none")
    with pytest.raises(FileNotFoundError, match=rf"{folder.url}/none: "):
        folder.download("none", tmp_path / "copy")
    assert list(tmp_path.glob("**/*copy*")) == []


def test_an_interrupted_upload_leaves_the_old_file(tmp_path, monkeypatch):
    folder = RemoteFolder(f"file://{tmp_path}/run")
    folder.write("a", b"old")

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder._fs, "mv", stop)
    with pytest.raises(KeyboardInterrupt):
        folder.write("a", b"new")
    assert folder.read("a") == b"old"


def test_a_name_that_leads_elsewhere_is_refused(s3):
    import fsspec

    fsspec.filesystem("s3").pipe_file(f"{s3}/run/x/../../../evil", b"1")
    with pytest.raises(ValueError, match=r"leads to another folder; delete it"):
        RemoteFolder(f"{s3}/run").versions()


def test_what_cannot_be_reached_is_one_line(s3, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"s3://no-such-bucket/run/a: .*bucket"):
        RemoteFolder("s3://no-such-bucket/run").write("a", b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(remote_folder, "CONNECT", {"skip_instance_cache": True})
    with pytest.raises(OSError, match=r"s3://bucket/run: Could not connect .*; check the address"):
        RemoteFolder("s3://bucket/run").versions()


def test_a_bucket_without_permission_is_one_line(s3):
    folder = RemoteFolder(f"{s3}/run")
    folder.write("a", b"1")

    def unchecked_requests(number):
        url = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        urllib.request.urlopen(urllib.request.Request(url, number, {"Content-Type": "text/plain"})).close()

    unchecked_requests(b"0")
    try:
        expected = rf"^{s3}/run[^ ]*: .+; check the address, the network and your permission$"
        for refused in (folder.versions, lambda: folder.read("a"), lambda: folder.write("b", b"")):
            with pytest.raises(OSError, match=expected):
                refused()
    finally:
        unchecked_requests(b"inf")


def test_kinds_of_storage_that_are_not_there_are_told():
    with pytest.raises(ValueError, match=r"nope://b/run: protocol not known: nope; s3://, gs://"):
        RemoteFolder("nope://b/run")
    with pytest.raises(ModuleNotFoundError, match=r"oss://b/run: .*another package; "):
        RemoteFolder("oss://b/run")
