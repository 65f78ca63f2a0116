"""Locks of artefacts: named where they fail, left out where nothing can be written."""

import errno
import os
import shutil
from dataclasses import replace

import pytest
from filelock import FileLock

from detection.model import load
from sppnet.detector.bbox_regressors import train_bbox_regressors
from sppnet.detector.proposals import extract_proposals
from sppnet.detector.svms import train_svms
from sppnet.errors import one_line
from sppnet.run import Run, exclusive
from sppnet.settings.detector import SearchSettings, SVMSettings
from tests import commands
from tests.filesystems import make_read_only, small_disk


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO, errno.EACCES, errno.ENOSPC])
def test_a_file_that_cannot_be_locked_is_named(tmp_path, monkeypatch, number):
    def fails(self):
        raise OSError(number, os.strerror(number))  # as flock raises it

    monkeypatch.setattr(FileLock, "acquire", fails)
    with pytest.raises(OSError, match="cannot be locked") as caught, exclusive(tmp_path / "model"):
        pytest.fail("the work has begun")
    assert one_line(caught.value) == (
        f"{tmp_path / 'model'}: cannot be locked ({os.strerror(number)}); "
        "choose a --run folder on a disk that can be written and locked"
    )
    assert caught.value.errno == number


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(FileLock, "acquire", lambda self: (_ for _ in ()).throw(NotImplementedError("no flock")))
    with pytest.raises(OSError, match=r"cannot be locked \(no flock\)") as caught, exclusive(tmp_path / "model"):
        pytest.fail("the work has begun")
    assert caught.value.filename == str(tmp_path / "model")


def test_where_nothing_can_be_written_no_lock_is_needed(tmp_path):
    with small_disk(tmp_path / "disk", 1) as disk:
        make_read_only(disk)
        with exclusive(disk / "model"):
            assert list(disk.iterdir()) == []
        with pytest.raises(OSError, match="Read-only file system") as caught, exclusive(disk / "run" / "model"):
            pytest.fail("the work has begun")
        assert str(disk / "run") in one_line(caught.value)


def test_a_lock_file_of_somebody_else_in_a_folder_that_can_be_written_is_an_error(tmp_path, monkeypatch):
    def fails(self):
        raise PermissionError(errno.EACCES, "Permission denied", self.lock_file)

    monkeypatch.setattr(FileLock, "acquire", fails)
    with pytest.raises(PermissionError, match="cannot be locked"), exclusive(tmp_path / "model"):
        pytest.fail("the work has begun")


@pytest.mark.slow
def test_a_finished_run_on_a_read_only_disk_is_read(work, devkit, tmp_path, capsys):
    with small_disk(tmp_path / "disk", 64) as disk:
        folder = shutil.copytree(work.run, disk / "run")
        make_read_only(disk)
        settings = SVMSettings(devkit=devkit, run=folder)
        run = Run.open(settings)
        assert extract_proposals(run, "test", SearchSettings(workers=1))[1] == {}
        trained = train_svms(run, settings)
        assert trained.model.regressors
        assert train_bbox_regressors(run, settings).summary() == load(folder / "model").summary()
        with pytest.raises(OSError, match="Read-only file system") as caught:
            train_svms(run, replace(settings, overwrite=True))
        assert str(folder) in one_line(caught.value)
        assert commands.train_svms(["--devkit", devkit, "--run", folder]) == 1  # commands may have work to do
        assert f"error: {folder}: cannot be written (Read-only file system)" in capsys.readouterr().err
