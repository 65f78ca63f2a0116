"""Vectors on disk."""

from pathlib import Path

import numpy as np
import pytest

from classification.extractor import Extractor
from classification.representations import Representations
from classification.views import View
from data import labelled
from tests.classification.conftest import make_net

VIEW = View("full", 64)


@pytest.fixture(scope="module")
def extractor():
    return Extractor.of(make_net())


@pytest.fixture(scope="module")
def paths(folder):
    return labelled.from_folder(folder).paths


def test_vectors_have_length_1_and_are_kept(extractor, paths, tmp_path, monkeypatch):
    made = Representations(tmp_path, extractor, VIEW, paths)
    assert not made.has(["spp"])
    first = made.get(["spp", "fc7"])
    assert first["spp"].shape == (16, 3200)
    assert np.allclose(np.linalg.norm(first["spp"], axis=1), 1, atol=1e-5)
    again = Representations(tmp_path, extractor, VIEW, paths)
    assert again.has(["spp", "fc7"])
    monkeypatch.setattr("classification.views.vectors", None)  # nothing is computed
    assert all(np.array_equal(rows, first[layer]) for layer, rows in again.get(["spp", "fc7"]).items())


def test_an_interrupted_run_goes_on_where_it_was(extractor, paths, tmp_path, monkeypatch):
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
    assert len(seen) == 7 + 1 + 10  # the first photo, which tells how long vectors are, and those that were missing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"view": View("full", 96)}, r"other view: 'full 64' there, 'full 96' now"),
        ({"paths": slice(3)}, "other photos; give --overwrite"),
        ({"extractor": 1}, "other weights"),
    ],
)
def test_vectors_made_otherwise_are_not_taken_for_these(extractor, paths, tmp_path, change, words):
    Representations(tmp_path, extractor, VIEW, paths).get(["fc7"])
    view, kept = change.get("view", VIEW), paths[change.get("paths", slice(None))]
    other = Extractor.of(make_net(seed=5)) if "extractor" in change else extractor
    with pytest.raises(ValueError, match=words):
        Representations(tmp_path, other, view, kept)


def test_bad_photos_are_named_and_the_others_are_not_lost(extractor, paths, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    made = Representations(tmp_path / "r", extractor, VIEW, [*paths[:3], bad, Path("gone.png")])
    with pytest.raises(ValueError, match=r"2 of 5 photos cannot be used: .*bad\.jpg.*gone\.png"):
        made.get(["fc7"])
    there = np.load(tmp_path / "r" / "fc7.partial.npy")
    assert np.isnan(there[:, 0]).tolist() == [False, False, False, True, True]
