"""How long a training takes, and settings that fit a budget."""

import logging
from pathlib import Path

import numpy as np
import pytest

from data.records import Dataset, ImageRecord
from sppnet.detector import choice_rules
from sppnet.detector.budget import within_budget
from sppnet.detector.choices import Choice, Choices
from sppnet.detector.time_estimate import Machine
from sppnet.settings import TrainSettings

MACHINE = Machine(search=0.1, windows=5000, convolve=0.3, slowness=1.0)


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
    found = MACHINE.estimate(s, 300, 100, 3)
    assert list(found) == [
        "windows", "features", "fully connected layers", "SVMs", "box regressors", "probabilities", "test",
    ]  # fmt: skip
    assert found["windows"] == pytest.approx(40)
    assert found["features"] == pytest.approx(0.3 * 0.864**2 * (2 * 300 + 100))  # mirrored photos too
    more = MACHINE.estimate(s, 600, 100, 3)
    assert more["SVMs"] == pytest.approx(2 * found["SVMs"])
    assert more["fully connected layers"] == found["fully connected layers"]  # the schedule is given by then
    on_pool5 = MACHINE.estimate(chosen(TrainSettings(proposals="ss", features="pool5")).settings, 300, 100, 3)
    assert "fully connected layers" not in on_pool5
    assert on_pool5["features"] == pytest.approx(0.3 * 0.864**2 * 400)
    assert on_pool5["SVMs"] < found["SVMs"]
    slower = Machine(0.1, 5000, 0.3, 2.0).estimate(s, 300, 100, 3)
    assert slower["SVMs"] == pytest.approx(2 * found["SVMs"])
    assert slower["features"] == found["features"]


def seconds(made):
    return sum(MACHINE.estimate(made.settings, 300, 100, 3).values())


def test_settings_that_save_time_are_taken_one_by_one_until_the_training_fits(caplog):
    caplog.set_level(logging.INFO, "sppnet")
    made = chosen()
    assert within_budget(made, MACHINE, 100) is made  # 10 minutes
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
    found = MACHINE.estimate(made.settings, 3000, 0, 3)["fully connected layers"]
    assert found > MACHINE.estimate(chosen().settings, 3000, 0, 3)["fully connected layers"]
