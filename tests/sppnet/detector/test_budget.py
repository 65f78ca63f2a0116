"""How long a training takes, and settings that fit a budget."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.records import Dataset, ImageRecord
from detection.image import read
from proposals import sources
from sppnet.detector import choice_rules
from sppnet.detector.budget import within_budget
from sppnet.detector.choices import Choice, Choices
from sppnet.detector.time_estimate import BEGUN, CONVOLVED, SHARE, STORED, Machine, Work, measure
from sppnet.run import Run
from sppnet.settings import TrainSettings
from tests import commands

MACHINE = Machine(
    cores=1, search=0.1, windows=5000, convolve=0.3, pool=2e-5, pool_for_layers=1e-5, product=1e-4, length=16000
)
WORK = Work(photos=300, test_photos=100, objects=900, classes=3)


def photos(count=300, classes=3, each=3, side=60):
    """Photos that each show an object of `each` classes, in turn."""
    boxes = np.float32([[10, 10, 9 + side, 9 + side]] * each)
    records = []
    for i in range(count):
        labels = (np.arange(each) + i * each) % classes
        records.append(ImageRecord(str(i), Path("none.jpg"), (480, 640), boxes, labels, np.zeros(each, bool)))
    return Dataset("made", tuple(map(str, range(classes))), tuple(records))


def chosen(given=None, known=None, data=None):
    return Choices(data or photos(), given or TrainSettings(proposals="ss"), known or {}).filled()


def test_every_stage_is_estimated_from_what_it_works_on():
    s = chosen().settings
    assert s.scales == (864,)
    found = MACHINE.estimate(s, WORK)
    assert list(found) == [
        "windows", "features", "fully connected layers", "SVMs", "box regressors", "probabilities", "test",
    ]  # fmt: skip
    assert found["windows"] == pytest.approx(40 / SHARE)
    per_photo = (0.3 * CONVOLVED + STORED) * 0.864**2 / SHARE
    assert found["features"] == pytest.approx(per_photo * (2 * 300 + 100))  # mirrored photos too
    more_work = replace(WORK, photos=600, objects=1800)
    more = MACHINE.estimate(s, more_work)
    assert more["SVMs"] == pytest.approx(2 * found["SVMs"] - BEGUN / SHARE)
    layers = found["fully connected layers"]  # the schedule is given by then, so only more maps are read
    assert layers < more["fully connected layers"] < 1.5 * layers
    whole = [MACHINE.estimate(replace(s, subspace=0, block=50), w)["fully connected layers"] for w in (WORK, more_work)]
    assert whole[1] == whole[0] > 2 * layers
    on_pool5 = MACHINE.estimate(chosen(TrainSettings(proposals="ss", features="pool5")).settings, WORK)
    assert "fully connected layers" not in on_pool5
    assert on_pool5["features"] == pytest.approx(per_photo * 400)
    assert on_pool5["SVMs"] < found["SVMs"]
    both = replace(MACHINE, cores=2).estimate(s, WORK)
    assert all(both[stage] == pytest.approx(seconds / 2) for stage, seconds in found.items())


def seconds(made):
    return sum(MACHINE.estimate(made.settings, replace(WORK, test_photos=0)).values())


def test_settings_that_save_time_are_taken_one_by_one_until_the_training_fits(caplog):
    caplog.set_level(logging.INFO, "sppnet")
    made = chosen(TrainSettings(proposals="ss", budget="1h"))
    assert within_budget(made, MACHINE, 100) is made
    assert "on this machine" in caplog.text
    one_less = chosen(TrainSettings(proposals="ss", budget=f"{seconds(made) - 1:.2f}s"))
    found = within_budget(one_less, MACHINE, 100)
    assert (found.settings.features, found.settings.schedule, found.settings.energy) == ("pool5", None, None)
    assert found.settings.scales == (864,)
    (features,) = (c for c in found.choices if c.setting == "features")
    assert "otherwise, and --budget" in features.reason
    found = within_budget(chosen(TrainSettings(proposals="ss", budget="1s")), MACHINE, 100)
    assert (found.settings.features, found.settings.scales) == ("pool5", (688,))
    assert "more than --budget 1s; nothing faster is left" in caplog.text


def test_settings_that_are_given_or_were_decided_before_stay():
    given = TrainSettings(proposals="ss", budget="1s", features="pool5+fc7", scales=(864,))
    found = within_budget(chosen(given), MACHINE, 100).settings
    assert (found.features, found.scales) == ("pool5+fc7", (864,))
    before = {"features": Choice("features", "pool5+fc7", "before"), "scales": Choice("scales", (1200,), "before")}
    found = within_budget(chosen(TrainSettings(proposals="ss", budget="1s"), before), MACHINE, 100).settings
    assert (found.features, found.scales) == ("pool5+fc7", (1200,))


def test_what_would_take_longer_is_not_chosen():
    many = photos(count=128, classes=80, each=8)
    made = chosen(TrainSettings(proposals="ss", budget="1s"), data=many)
    assert made.settings.features == "fc7"
    assert within_budget(made, MACHINE, 30).settings.features == "fc7"


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("1.5h", 5400), (".5 m", 30)])
def test_budgets_are_times(text, expected):
    assert TrainSettings(budget=text).budget_seconds == expected


@pytest.mark.parametrize("text", ["10", "ten minutes", "0m", "-5m", "5d", ""])
def test_other_budgets_are_refused(text):
    with pytest.raises(ValueError, match="budget: expected a time such as 90s, 10m or 2h"):
        TrainSettings(budget=text)


def test_the_schedule_of_the_estimate_is_that_of_the_training():
    data = photos(count=3000)
    made = chosen(data=data)
    assert made.settings.schedule == choice_rules.schedule(data)[0]
    found = MACHINE.estimate(made.settings, WORK)["fully connected layers"]
    assert found > MACHINE.estimate(chosen().settings, WORK)["fully connected layers"]


def test_a_machine_is_measured_with_photos_of_the_training_split(work, weights, tmp_path):
    given = TrainSettings(devkit=work.devkit, run=tmp_path / "new", weights=weights, backbone="alexnet", scales=(160,))
    s = replace(given, proposals="ss", features="pool5")
    run = Run.open(s)
    found = measure(run, s)
    assert min(found.search, found.convolve, found.pool, found.product) > 0
    searched = len(sources.propose(read(run.train.records[0].path)))
    assert searched / 4 < found.windows < searched * 4
    assert measure(run, replace(s, proposals="boxes_{split}.npz")).search == 0
    assert measure(run, replace(s, weights=tmp_path / "none.safetensors")) is None
    assert not (tmp_path / "new").exists()


def test_the_command_says_how_long_it_takes_and_keeps_what_fits(work, weights, tmp_path, capsys):
    quick = ["--backbone", "alexnet", "--precision", "fp32", "-j", "1", "--weights", str(weights)]
    argv = ["--devkit", str(work.devkit), "--run", str(tmp_path / "new"), *quick, "--proposals", "ss", "--limit", "8"]
    assert commands.train([*argv, "--budget", "0.1s"]) == 0
    said = capsys.readouterr().err
    assert "more than --budget 0.1s; nothing faster is left" in said
    assert "chosen: --features pool5: about" in said
    assert commands.train(argv) == 0  # what was chosen stays
    said = capsys.readouterr().err
    assert "more than" not in said
    assert "chosen: --features pool5: as the model of this run" in said
    assert commands.train([*argv, "--budget", "soon"]) == 1
    assert "budget: expected a time such as 90s, 10m or 2h, got 'soon'" in capsys.readouterr().err
