"""MiniVOC is reproducible, has exact ground truth, and reads back as a VOC devkit."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from data import minivoc, voc
from data.minivoc.scenes import LEAST_VISIBLE, _Canvas, _fits, _paint, _place, compose
from data.minivoc.shapes import KINDS, junk


def digest(root):
    """Return path -> hash of every file below a folder."""
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return minivoc.generate(tmp_path_factory.mktemp("minivoc") / "devkit", train=12, test=5)


@pytest.fixture(scope="module")
def scenes():
    return [compose(np.random.default_rng([0, 0, i])) for i in range(40)]


def test_it_reads_back_as_a_voc_devkit(devkit, caplog):
    train = voc.load(devkit, "2007", "trainval")
    test = voc.load(devkit, None, "test", classes=train.classes)
    assert (len(train), len(test)) == (12, 5)
    assert train.classes == tuple(sorted(KINDS))
    assert not caplog.messages


def test_annotated_sizes_are_those_of_the_images(devkit):
    for record in voc.load(devkit, "2007"):
        with Image.open(record.path) as image:
            assert image.size == record.size[::-1]
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert 320 <= max(image.size) <= 420


def test_every_image_has_one_to_five_objects_inside_it(devkit):
    for record in voc.load(devkit, "2007"):
        height, width = record.size
        assert 1 <= len(record.labels) <= 5
        assert (record.boxes[:, :2] >= 0).all()
        assert (record.boxes[:, 2:] <= [width - 1, height - 1]).all()


def test_the_same_seed_gives_the_same_bytes(devkit, tmp_path):
    assert digest(minivoc.generate(tmp_path / "again", train=12, test=5)) == digest(devkit)


def test_another_seed_gives_other_images(devkit, tmp_path):
    other = digest(minivoc.generate(tmp_path / "other", train=1, test=1, seed=1))
    same = {name for name, value in digest(devkit).items() if other.get(name) == value}
    assert not any(name.endswith(".jpg") for name in same)


def test_a_larger_set_begins_with_the_images_of_a_smaller_one(devkit, tmp_path):
    small = digest(minivoc.generate(tmp_path / "small", train=2, test=1))
    large = digest(devkit)
    pictures = [name for name in small if name.endswith((".jpg", ".xml"))]
    assert len(pictures) == 6
    assert all(small[name] == large[name] for name in pictures)


def test_splits_share_no_image(devkit):
    files = {name: value for name, value in digest(devkit).items() if name.endswith(".jpg")}
    assert len(set(files.values())) == len(files) == 17


def test_a_complete_set_is_not_rewritten(devkit):
    before = {p: p.stat().st_mtime_ns for p in devkit.rglob("*")}
    assert minivoc.generate(devkit, train=12, test=5) == devkit
    assert {p: p.stat().st_mtime_ns for p in devkit.rglob("*")} == before


@pytest.mark.parametrize("other", [{"train": 11}, {"test": 6}, {"seed": 3}])
def test_other_settings_do_not_overwrite(devkit, other):
    with pytest.raises(FileExistsError, match="MiniVOC with other settings"):
        minivoc.generate(devkit, **{"train": 12, "test": 5, **other})


@pytest.mark.parametrize("name", ["JPEGImages/test_00000.jpg", "Annotations/trainval_00000.xml"])
def test_an_incomplete_set_is_an_error(tmp_path, name):
    root = minivoc.generate(tmp_path / "set", train=1, test=1)
    (root / "VOC2007" / name).unlink()
    with pytest.raises(FileExistsError, match=r"holds 1 .*, expected 2; delete the folder"):
        minivoc.generate(root, train=1, test=1)


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="other files than MiniVOC"):
        minivoc.generate(tmp_path, train=1, test=1)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(voc.load(minivoc.generate(tmp_path / "empty", train=1, test=1))) == 1


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(rng):
        raise KeyboardInterrupt

    monkeypatch.setattr(minivoc, "compose", interrupted)
    with pytest.raises(KeyboardInterrupt):
        minivoc.generate(tmp_path / "set", train=1, test=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("counts", [{"train": 0}, {"test": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(tmp_path, counts):
    with pytest.raises(ValueError, match="expected"):
        minivoc.generate(tmp_path / "set", **counts)
    assert not list(tmp_path.iterdir())


def test_boxes_are_tight_around_the_visible_pixels(scenes):
    for scene in scenes:
        for index, thing in enumerate(scene.objects):
            seen = scene.owner == index
            x1, y1, x2, y2 = thing.box
            inside = seen[y1 : y2 + 1, x1 : x2 + 1]
            assert inside.sum() == seen.sum() > 0
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()


def test_objects_vary_in_kind_size_and_aspect(scenes):
    things = [t for s in scenes for t in s.objects]
    sides = np.array([(t.box[2] - t.box[0] + 1, t.box[3] - t.box[1] + 1) for t in things])
    aspect = sides[:, 0] / sides[:, 1]
    assert {t.name for t in things} == set(KINDS)
    assert sides.max() > 200
    assert np.median(sides.max(1)) < 150
    assert sides.max(1).min() < 50
    assert aspect.max() > 2
    assert aspect.min() < 0.8
    assert len({len(s.objects) for s in scenes}) >= 4


def test_some_objects_are_truncated_or_hidden_and_most_are_not(scenes):
    things = [t for s in scenes for t in s.objects]
    for flag in ("truncated", "difficult"):
        share = np.mean([getattr(t, flag) for t in things])
        assert 0 < share < 0.3, flag


def test_boxes_exclude_what_a_later_layer_hides(scenes):
    """Some boxes end where another object begins: boxes enclose the visible pixels, as in VOC."""
    ends = 0
    for scene in scenes:
        for index, thing in enumerate(scene.objects):
            x2, column = thing.box[2], scene.owner[:, min(thing.box[2] + 1, scene.owner.shape[1] - 1)]
            rows = scene.owner[:, x2] == index
            ends += bool((column[rows] > index).any())
    assert ends > 0


@pytest.mark.parametrize("kind", [*KINDS.values(), junk])
def test_every_outline_is_finite_and_depends_on_the_seed(kind):
    first, second = (kind(np.random.default_rng(seed)) for seed in (1, 2))
    for part in [*first, *second]:
        assert np.isfinite(part.outline).all()
        assert part.outline.shape[1] == 2
        assert len(part.outline) >= 3
    a, b = (np.concatenate([p.outline for p in parts]) for parts in (first, second))
    assert a.shape != b.shape or not np.allclose(a, b)


def test_a_layer_that_would_hide_an_object_is_not_painted():
    for i in range(12):
        rng = np.random.default_rng([3, i])
        canvas = _Canvas(np.zeros((200, 300, 3), np.float32), np.full((200, 300), -1, np.int16), (1.0, 0.0), [], [])
        for _ in range(30):  # far more than a scene has
            layer = _place(rng, KINDS["house"](rng), (200, 300), (60, 200))
            if _fits(canvas, layer, len(canvas.covers)):
                _paint(rng, canvas, layer, len(canvas.covers))
        seen = np.bincount(canvas.owner.ravel() + 1, minlength=len(canvas.covers) + 1)[1:]
        assert len(seen) >= 2
        assert (seen >= LEAST_VISIBLE * np.array(canvas.covers)).all()
