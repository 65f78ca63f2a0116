"""Vectors of photos on disk."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classification.extractor import Extractor
from classification.representations import Representations, remove
from classification.views import View
from data import class_folders
from detection import files
from detection.engines.processes import Processes
from tests.classification.conftest import make_net, picture

VIEW = View("full", 64)


@pytest.fixture(scope="module")
def extractor():
    return Extractor.of(make_net())


@pytest.fixture(scope="module")
def paths(folder):
    return class_folders.from_folder(folder).paths


def test_vectors_have_length_1_and_are_computed_once(extractor, paths, tmp_path, monkeypatch):
    made = Representations(tmp_path, extractor, VIEW, paths)
    assert not made.has(["spp"])
    first = made.get(["spp", "fc7"])
    assert first["spp"].shape == (16, 3200)
    assert np.allclose(np.linalg.norm(first["spp"], axis=1), 1, atol=1e-5)
    again = Representations(tmp_path, extractor, VIEW, paths)
    assert again.has(["spp", "fc7"])
    monkeypatch.setattr("classification.views.vectors", None)  # nothing is computed
    assert all(np.array_equal(rows, first[layer]) for layer, rows in again.get(["spp", "fc7"]).items())


@pytest.mark.slow
def test_workers_do_not_change_the_vectors(extractor, paths, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no photo")
    here = Representations(tmp_path / "here", extractor, VIEW, paths).get(["spp", "fc7"])
    there = Representations(tmp_path / "there", extractor, VIEW, paths, Processes(2)).get(["spp", "fc7"])
    assert all(np.array_equal(here[layer], there[layer]) for layer in ("spp", "fc7"))
    made = Representations(tmp_path / "bad", extractor, VIEW, [*paths[:3], bad], Processes(2))
    with pytest.raises(ValueError, match=r"1 of 4 photos cannot be used: .*bad\.png"):
        made.get(["spp"])


def test_an_interrupted_run_resumes(extractor, paths, tmp_path, monkeypatch):
    from classification import views

    expected = np.array(Representations(tmp_path / "whole", extractor, VIEW, paths).get(["spp"])["spp"])
    seen, vectors = [], views.vectors

    def interrupted(extractor, photo, view, layers):
        seen.append(1)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return vectors(extractor, photo, view, layers)

    monkeypatch.setattr(views, "vectors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Representations(tmp_path / "part", extractor, VIEW, paths).get(["spp"])
    rows = Representations(tmp_path / "part", extractor, VIEW, paths).get(["spp"])["spp"]
    assert np.array_equal(rows, expected)
    assert len(seen) == 7 + 10  # the missing ones


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"view": View("full", 96)}, r"other settings \(view: 'full 64' there, 'full 96' now\)"),
        ({"extractor": 1}, r"other settings \(weights: "),
    ],
)
def test_vectors_of_other_settings_are_refused(extractor, paths, tmp_path, change, words):
    Representations(tmp_path, extractor, VIEW, paths).get(["fc7"])
    other = Extractor.of(make_net(seed=5)) if "extractor" in change else extractor
    with pytest.raises(ValueError, match=words):
        Representations(tmp_path, other, change.get("view", VIEW), paths)


def test_bad_photos_are_named_and_vectors_of_the_others_are_kept(extractor, paths, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    made = Representations(tmp_path / "r", extractor, VIEW, [*paths[:3], bad, Path("gone.png")])
    with pytest.raises(ValueError, match=r"2 of 5 photos cannot be used: .*bad\.jpg.*gone\.png"):
        made.get(["fc7"])
    there = np.load(tmp_path / "r" / "fc7.partial.npy")
    assert np.isnan(there[:, 0]).tolist() == [False, False, False, True, True]


def photo_heights(monkeypatch):
    """Return a list that collects the height of each photo run through the network."""
    from classification import views

    seen, vectors = [], views.vectors
    monkeypatch.setattr(views, "vectors", lambda *args: (seen.append(args[1].shape[0]), vectors(*args))[1])
    return seen


def test_only_added_or_replaced_photos_are_run_through_the_network(extractor, paths, tmp_path, monkeypatch):
    copies = [Path(shutil.copy(path, tmp_path / f"{i}.png")) for i, path in enumerate(paths[:5])]
    kept = tmp_path / "r" / "all"
    before = np.array(Representations(kept, extractor, VIEW, copies[:4]).get(["spp"])["spp"])
    seen = photo_heights(monkeypatch)
    Image.fromarray(picture(1, 99, (80, 80))).save(copies[1])
    after = Representations(kept, extractor, VIEW, [copies[4], *copies[1:4]]).get(["spp"])["spp"]
    assert len(seen) == 2
    assert np.array_equal(after[2:], before[2:])
    assert not np.allclose(after[1], before[1])
    expected = Representations(tmp_path / "new", extractor, VIEW, [copies[4], *copies[1:4]]).get(["spp"])["spp"]
    assert np.array_equal(after, expected)
    assert [p.name for p in kept.parent.iterdir()] == ["all"]


def copied(paths, folder, start=0):
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(path, folder / f"{i}.png")) for i, path in enumerate(paths, start)]


def test_touched_renamed_and_copied_photos_are_not_run_again(extractor, paths, tmp_path, monkeypatch):
    photos = copied(paths[:4], tmp_path / "photos")
    before = np.array(Representations(tmp_path / "r", extractor, VIEW, photos).get(["spp"])["spp"])
    for photo in photos:
        os.utime(photo)
    assert np.array_equal(Representations(tmp_path / "r", extractor, VIEW, photos).get(["spp"])["spp"], before)
    monkeypatch.setattr("detection.photo_record._sha256", lambda path: pytest.fail(f"{path} was read"))
    assert Representations(tmp_path / "r", extractor, VIEW, photos).has(["spp"])
    monkeypatch.undo()
    seen = photo_heights(monkeypatch)
    for moved in (copied(photos, tmp_path / "copy"), copied(photos[::-1], tmp_path / "renamed", 7)):
        rows = Representations(tmp_path / "r", extractor, VIEW, moved).get(["spp"])["spp"]
    assert np.array_equal(rows, before[::-1])
    assert seen == []


def test_photos_that_are_all_replaced_under_their_names_are_run_again(extractor, paths, tmp_path, monkeypatch):
    photos = copied(paths[:3], tmp_path / "photos")
    Representations(tmp_path / "r", extractor, VIEW, photos).get(["spp"])
    copied(paths[8:11], tmp_path / "photos")
    seen = photo_heights(monkeypatch)
    rows = Representations(tmp_path / "r", extractor, VIEW, photos).get(["spp"])["spp"]
    assert len(seen) == 3
    assert np.array_equal(rows, Representations(tmp_path / "n", extractor, VIEW, paths[8:11]).get(["spp"])["spp"])


def test_vectors_from_before_contents_were_recorded_are_kept(extractor, paths, tmp_path, monkeypatch):
    Representations(tmp_path, extractor, VIEW, paths[:4]).get(["spp"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["bytes_and_time"] = [stat[:2] for stat in manifest["bytes_and_time"]]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    seen = photo_heights(monkeypatch)
    Representations(tmp_path, extractor, VIEW, paths[:4]).get(["spp"])
    assert seen == []
    assert all(json.loads((tmp_path / "manifest.json").read_text())["sha256"])


def test_vectors_of_different_photos_are_not_overwritten(extractor, paths, tmp_path):
    before = np.array(Representations(tmp_path / "all", extractor, VIEW, paths[:2]).get(["spp"])["spp"])
    with pytest.raises(ValueError, match="holds vectors of different photos; give --overwrite, or another --run"):
        Representations(tmp_path / "all", extractor, VIEW, paths[2:])
    assert np.array_equal(Representations(tmp_path / "all", extractor, VIEW, paths[:2]).get(["spp"])["spp"], before)


def test_removing_photos_computes_nothing(extractor, paths, tmp_path, monkeypatch):
    before = np.array(Representations(tmp_path / "all", extractor, VIEW, paths).get(["spp"])["spp"])
    seen = photo_heights(monkeypatch)
    ticks = []
    rows = Representations(tmp_path / "all", extractor, VIEW, paths[3:9]).get(["spp"], lambda: ticks.append(1))["spp"]
    assert np.array_equal(rows, before[3:9])
    assert (len(seen), len(ticks)) == (0, 6)


def test_relative_paths_name_the_same_photos(extractor, paths, tmp_path, monkeypatch):
    Representations(tmp_path / "all", extractor, VIEW, paths).get(["spp"])
    monkeypatch.chdir(paths[0].parent)
    relative = [Path(os.path.relpath(path)) for path in paths]
    assert Representations(tmp_path / "all", extractor, VIEW, relative).has(["spp"])


def test_a_full_disk_is_reported_and_leaves_no_rows_of_zeros(extractor, paths, tmp_path, monkeypatch):
    real = files.write_atomically

    def full(path, chunks):
        def some():
            for number, chunk in enumerate(chunks):
                if number == 3 and path.name.endswith("npy"):
                    raise OSError(errno.ENOSPC, "No space left on device")
                yield chunk

        real(path, some())

    monkeypatch.setattr("classification.representations.write_atomically", full)
    with pytest.raises(OSError, match="make room or choose another folder"):
        Representations(tmp_path, extractor, VIEW, paths).get(["spp"])
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("name", ["spp.npy", "spp.partial.npy"])
def test_truncated_arrays_are_not_used(extractor, paths, tmp_path, name):
    made = Representations(tmp_path, extractor, VIEW, paths[:4])
    before = np.array(made.get(["spp"])["spp"])
    file = (tmp_path / "spp.npy").rename(tmp_path / name)
    os.truncate(file, file.stat().st_size - 13_000)
    if name == "spp.npy":
        with pytest.raises(ValueError, match=r"spp\.npy: damaged file; give --overwrite"):
            made.get(["spp"])
    else:
        assert np.array_equal(made.get(["spp"])["spp"], before)


@pytest.mark.parametrize(
    "header", [b"", b"\x93NUMPY\x01\x00\x06\x00'''(((", b"\x93NUMPY\x01\x00\x05\x00{'a'}", b"\x93NUMPY\x01\x00\xff\xff"]
)
def test_arrays_with_a_damaged_header_are_named_or_computed_again(extractor, paths, tmp_path, header):
    made = Representations(tmp_path, extractor, VIEW, paths[:4])
    before, whole = np.array(made.get(["spp"])["spp"]), (tmp_path / "spp.npy").read_bytes()
    (tmp_path / "spp.npy").write_bytes(header)
    with pytest.raises(ValueError, match=r"spp\.npy: damaged file; give --overwrite"):
        made.get(["spp"])
    (tmp_path / "spp.npy").unlink()
    (tmp_path / "spp.partial.npy").write_bytes(header + whole[len(header) :])
    assert np.array_equal(made.get(["spp"])["spp"], before)


def test_a_damaged_manifest_is_named_in_the_error(extractor, paths, tmp_path):
    Representations(tmp_path, extractor, VIEW, paths)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"manifest\.json: damaged file .*give --overwrite"):
        Representations(tmp_path, extractor, VIEW, paths)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("calls", [1, 2])
def test_a_kill_between_two_renames_loses_no_vector(extractor, paths, tmp_path, monkeypatch, calls):
    copies = [Path(shutil.copy(path, tmp_path / f"{i}.png")) for i, path in enumerate(paths[:5])]
    kept, replace = tmp_path / "r" / "all", os.replace
    before = np.array(Representations(kept, extractor, VIEW, copies[:4]).get(["spp"])["spp"])

    with monkeypatch.context() as patch:
        done = []

        def killed(source, target):
            if kept in (Path(source), Path(target)):
                if len(done) == calls - 1:
                    raise Killed
                done.append(1)
            replace(source, target)

        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            Representations(kept, extractor, VIEW, copies)
    assert any(path.name in (".all.new", ".all.old") for path in kept.parent.iterdir())
    seen = photo_heights(monkeypatch)
    after = Representations(kept, extractor, VIEW, copies).get(["spp"])["spp"]
    assert len(seen) == 1
    assert np.array_equal(after[:4], before)
    assert [path.name for path in kept.parent.iterdir()] == ["all"]


def test_what_a_killed_exchange_left_is_removed(extractor, paths, tmp_path, monkeypatch):
    folder = tmp_path / "all"
    Representations(folder, extractor, VIEW, paths[:4]).get(["fc7"])
    for name in (".all.new", ".all.old"):
        shutil.copytree(folder, tmp_path / name)
    monkeypatch.setattr("classification.views.vectors", None)  # nothing is computed
    Representations(folder, extractor, VIEW, paths[:4]).get(["fc7"])
    assert [path.name for path in tmp_path.iterdir()] == ["all"]


def test_arrays_without_a_manifest_are_of_unknown_settings(extractor, paths, tmp_path):
    """As a process leaves them that was killed while it deleted the folder."""
    Representations(tmp_path, extractor, VIEW, paths[:4]).get(["fc7"])
    (tmp_path / "manifest.json").unlink()
    other = Extractor.of(make_net(seed=5))
    found = Representations(tmp_path, other, VIEW, paths[:4]).get(["fc7"])["fc7"]
    assert np.array_equal(found, Representations(tmp_path / "new", other, VIEW, paths[:4]).get(["fc7"])["fc7"])


def test_removed_vectors_are_not_taken_from_a_killed_exchange(extractor, paths, tmp_path):
    folder = tmp_path / "all"
    Representations(folder, extractor, VIEW, paths[:4])
    shutil.copytree(folder, tmp_path / ".all.old")
    remove(folder)
    assert not list(tmp_path.iterdir())
    remove(folder)


@pytest.mark.parametrize("name", ["spp.npy", "spp.partial.npy"])
def test_damaged_vectors_are_told_and_computed_again(extractor, paths, tmp_path, monkeypatch, caplog, name):
    before = np.array(Representations(tmp_path, extractor, VIEW, paths[:4]).get(["spp"])["spp"])
    file = (tmp_path / "spp.npy").rename(tmp_path / name)
    data = bytearray(file.read_bytes())
    data[-5000] ^= 64  # in the last of four vectors
    file.write_bytes(data)
    seen = photo_heights(monkeypatch)
    made = Representations(tmp_path, extractor, VIEW, paths[:4])
    assert np.array_equal(made.get(["spp"])["spp"], before)
    assert caplog.messages == [
        f"{tmp_path / 'spp.partial.npy'}: 1 of 4 vectors are damaged; computing them again",
    ]
    assert len(seen) == 1
    assert np.array_equal(made.get(["spp"])["spp"], before)
    assert len(seen) == 1


def test_damaged_vectors_are_noticed_after_photos_were_added(extractor, paths, tmp_path, caplog):
    folder = tmp_path / "all"
    before = np.array(Representations(folder, extractor, VIEW, paths[:4]).get(["spp"])["spp"])
    data = bytearray((folder / "spp.npy").read_bytes())
    data[-5000] ^= 64
    (folder / "spp.npy").write_bytes(data)
    after = Representations(folder, extractor, VIEW, paths[:5]).get(["spp"])["spp"]
    assert np.array_equal(after[:4], before)
    assert "1 of 5 vectors are damaged" in caplog.text


@pytest.mark.parametrize(("name", "computed"), [("spp.npy", 0), ("spp.partial.npy", 4)])
def test_vectors_of_earlier_versions_have_no_checksums(extractor, paths, tmp_path, monkeypatch, caplog, name, computed):
    Representations(tmp_path, extractor, VIEW, paths[:4]).get(["spp"])
    (tmp_path / "spp.npy").rename(tmp_path / name)
    (tmp_path / "spp.crc32").unlink()
    seen = photo_heights(monkeypatch)
    Representations(tmp_path, extractor, VIEW, paths[:4]).get(["spp"])
    assert len(seen) == computed
    assert ("no checksums" in caplog.text) == (computed > 0)
