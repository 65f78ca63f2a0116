"""What a training chooses for its data."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.records import Dataset, ImageRecord
from sppnet.detector import choice_rules
from sppnet.detector.choices import FILE, _earlier, choose, keep
from sppnet.run import Run
from sppnet.settings import TrainSettings


def dataset(sides, photos=10, size=(480, 640), path=Path("none.jpg"), seed=0):
    """Photos with two objects of each class, whose square boxes have these sides in pixels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sides)), 2)
    records = []
    for i in range(photos):
        corners = rng.uniform(0, 200, (len(labels), 2))
        boxes = np.hstack([corners, corners + np.repeat(sides, 2)[:, None] - 1]).astype(np.float32)
        records.append(ImageRecord(str(i), path, size, boxes, labels, np.zeros(len(labels), bool)))
    return Dataset("made", tuple("abc"[: len(sides)]), tuple(records))


def test_smaller_objects_get_larger_scales():
    assert choice_rules.scales(dataset([200]))[0] == (688,)
    assert choice_rules.scales(dataset([200, 60]))[0] == (864,)  # 5.4 cells at 688, 6.75 at 864
    scales, reason = choice_rules.scales(dataset([200, 44, 300]))
    assert scales == (1200,)
    assert reason == "b, the smallest class, is 3.9 cells wide at 688 and 6.9 at 1200"
    assert choice_rules.scales(dataset([10]))[0] == (1200,)


def test_a_class_of_few_objects_has_no_say_in_the_scale():
    rare = dataset([200, 20], photos=2)
    assert choice_rules.scales(rare)[0] == (688,)
    assert choice_rules.scales(dataset([]))[1] == "fewer than 5 objects per class, so the default"


def test_the_cost_falls_with_the_number_of_photos():
    costs = [choice_rules.cost(dataset([50], photos=n))[0] for n in (10, 200, 400, 800, 4000, 9000)]
    assert costs == [0.02, 0.02, 0.01, 0.005, 0.001, 0.001]


def test_layers_are_fine_tuned_longer_for_more_objects_and_not_for_a_handful():
    assert choice_rules.features(dataset([50], photos=9)) == ("pool5", "18 objects")
    assert choice_rules.features(dataset([50], photos=10)) == ("pool5+fc7", "20 objects")
    listed = replace(dataset([50], photos=31), classes=tuple(map(str, range(31))))
    assert choice_rules.features(listed) == ("pool5+fc7", "62 objects")  # 30 of the classes have none
    many = replace(listed, records=tuple(replace(r, labels=r.labels + k) for k, r in enumerate(listed)))
    assert choice_rules.features(many) == ("fc7", "62 objects; SVMs of 31 classes on pool5 take long")
    schedules = [choice_rules.schedule(dataset([50] * k, photos=n))[0] for k, n in ((1, 50), (3, 500), (3, 9000))]
    assert schedules == ["200:1e-2,100:1e-3", "667:1e-2,333:1e-3", "5334:1e-2,2666:1e-3"]
    shares = [choice_rules.validation(dataset([50], photos=n)) for n in (10, 24, 300, 480, 5000)]
    assert [share for share, _ in shares] == [0.3, 0.25, 0.15, 0.125, 0.1]
    assert [told for _, told in shares][:3] == ["3 of 10 photos", "6 of 24 photos", "45 of 300 photos"]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((480, 640, 3), 90, np.uint8)).save(path)
    return path


def test_objects_of_one_shape_that_no_search_finds_get_a_grid(photo):
    found, reason = choice_rules.windows(dataset([60], path=photo), TrainSettings())
    assert found == "grid"
    assert reason.startswith("mean overlap with the objects ss 0.0")


def test_objects_that_the_search_finds_get_windows_of_the_search(tmp_path):
    rng = np.random.default_rng(1)
    records = []
    for i in range(6):
        picture = np.full((480, 640, 3), 90, np.uint8)
        boxes = []
        for k in range(3):
            w, h = rng.integers(30, 190, 2)
            x, y = 10 + 205 * k, int(rng.integers(0, 280))
            picture[y : y + h, x : x + w] = rng.integers(120, 255, 3)
            boxes.append([x, y, x + w - 1, y + h - 1])
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        path, labels = tmp_path / f"{i}.png", np.zeros(3, int)
        records.append(ImageRecord(str(i), path, (480, 640), np.float32(boxes), labels, labels > 0))
    found, reason = choice_rules.windows(Dataset("made", ("thing",), tuple(records)), TrainSettings())
    assert found == "ss", reason


def run_of(data, folder, monkeypatch):
    monkeypatch.setattr(Run, "train", data)
    return Run(folder, None)


def test_settings_that_are_given_stay_and_choices_of_a_run_are_kept(photo, tmp_path, monkeypatch):
    few = run_of(dataset([60], path=photo), tmp_path / "run", monkeypatch)
    given = TrainSettings(scales=(480,), cost=0.5, proposals="edgeboxes", max_negatives_per_image=5, bbox_windows=9)
    given = replace(given, inference="paper", bbox_features="pool5", features="pool5")
    assert choose(few, given).choices == []
    assert choose(few, given).settings == given
    s, made = (found := choose(few, TrainSettings(scales=(480,)))).settings, found.choices
    assert (s.scales, s.proposals, s.cost, s.inference) == ((480,), "grid", 0.02, "fast")
    assert (s.features, s.energy, s.mirror, s.schedule) == ("pool5+fc7", 0.95, True, "200:1e-2,100:1e-3")
    told = {c.setting: str(c) for c in made}
    assert list(told) == [
        "features", "proposals", "cost", "max_negatives_per_image", "bbox_features", "bbox_windows", "inference",
        "energy", "mirror", "schedule", "validation", "subspace", "block",
    ]  # fmt: skip
    assert told["cost"] == "--cost 0.02: 10 photos"
    assert told["mirror"] == "--mirror: twice the photos"
    views = TrainSettings(scales=(480,), train_views=("1", "0.7m"), energy=1)
    assert str(choose(few, views).choices[-5]) == "--no-mirror: --train-views are given"
    assert choose(few, replace(views, features="pool5")).settings.schedule is None
    keep(few, made)
    many = run_of(dataset([60], photos=800, path=photo), tmp_path / "run", monkeypatch)
    assert choose(many, TrainSettings(scales=(480,))).settings.cost == 0.02
    assert choose(many, TrainSettings(scales=(480,), overwrite=True)).settings.cost == 0.005
    assert choose(many, TrainSettings()).settings.scales == (864,)
    keep(few, choose(few, TrainSettings()).choices)
    assert choose(few, TrainSettings()).settings.scales == (864,)


@pytest.mark.parametrize(
    ("photos", "given", "expected"),
    [
        (10, {}, (2048, 250)),
        (5001, {}, (0, 50)),  # there is much to learn
        (10, {"subspace": 0}, (0, 50)),
        (10, {"subspace": 9, "block": 7}, (9, 7)),
        (10, {"start": "imagenet"}, (None, 50)),  # these layers need all of pool5
    ],
)
def test_fc6_learns_in_a_subspace_if_it_starts_from_random_numbers(
    photo, tmp_path, monkeypatch, photos, given, expected
):
    run = run_of(dataset([60], photos=photos, path=photo), tmp_path, monkeypatch)
    s = choose(run, TrainSettings(proposals="ss", features="fc7", **given)).settings
    assert (s.subspace, s.block) == expected


def test_a_damaged_file_of_choices_is_not_used(photo, tmp_path, monkeypatch, caplog):
    run = run_of(dataset([60], path=photo), tmp_path, monkeypatch)
    for text in ("{", "[5]", json.dumps([{"setting": "cost"}])):
        (tmp_path / FILE).write_text(text)
        assert choose(run, replace(TrainSettings(), proposals="ss")).settings.cost == 0.02
        assert "damaged" in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"value": "688"}, {"value": [0]}, {"value": [688.5]}, {"value": {}}, {"value": [10**9]}, {"reason": 5}),
        *({"setting": None}, {"setting": ["scales"]}, {"more": 1}),
    ],
)
def test_choices_of_another_kind_are_told_and_made_anew(tmp_path, caplog, wrong):
    right = {"setting": "scales", "value": [864], "reason": "x"}
    (tmp_path / FILE).write_text(json.dumps([right | wrong]))
    assert _earlier(tmp_path / FILE) == {}
    assert f"{tmp_path / FILE}: damaged (" in caplog.text
    (tmp_path / FILE).write_text(json.dumps([right, {**right, "setting": "of another version"}]))
    assert {name: choice.value for name, choice in _earlier(tmp_path / FILE).items()} == {"scales": (864,)}


@pytest.mark.parametrize("text", ["{}", "5", "[[]]", "[null]", "[", '["x"]'])
def test_another_file_of_choices_is_told(tmp_path, caplog, text):
    (tmp_path / FILE).write_text(text)
    assert _earlier(tmp_path / FILE) == {}
    assert f"{tmp_path / FILE}: damaged (" in caplog.text
