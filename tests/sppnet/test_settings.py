"""Settings are checked whichever way they come in, and every one of them is used."""

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from classification.config import TrainConfig
from proposals import sources
from sppnet.cli.table import all_settings, walk
from sppnet.settings import ClassifySettings, NetworkTrainingSettings, TestSettings, TrainSettings
from sppnet.settings.base import MissingSetting

ROOT = Path(__file__).parents[2]
READ_AS = {"sizes": "size_ranges"}  # through a property


def test_values_are_converted_to_what_the_field_declares():
    settings = TrainSettings(data="photos", scales=[480, 688], memory=2, levels=6)
    assert settings.data == Path("photos")
    assert settings.scales == (480, 688)
    assert (settings.memory, type(settings.memory)) == (2.0, float)
    assert settings.levels == (6,)
    assert TestSettings(model="runs/x/model").model == (Path("runs/x/model"),)
    assert NetworkTrainingSettings(pyramid=50).pyramid == "50"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scales": "688"}, "each an integer, at least 1 and at most 8192, got '688'"),
        ({"scales": (0,)}, "each an integer, at least 1 and at most 8192, got (0,)"),
        ({"scales": ()}, "scales: expected one or more values"),
        ({"seed": -1}, "seed: expected an integer, at least 0 and at most 4294967295, got -1"),
        ({"seed": True}, "seed: expected an integer"),
        ({"seed": 1.5}, "seed: expected an integer"),
        ({"memory": float("nan")}, "memory: expected a number, above 0, got nan"),
        ({"skip_bad": "yes"}, "skip_bad: expected true or false, got 'yes'"),
        ({"features": "fc8"}, "features: expected one of pool5, fc6, fc7, pool5+fc7, got 'fc8'"),
        ({"data": 3}, "data: expected a path or URL, got 3"),
        ({"backbone": 5}, "backbone: expected text, got 5"),
        ({"workers": 0}, "workers: expected an integer, at least 1, got 0"),
        ({"model_name": "../x"}, "model_name: expected the name of a folder in the run, got '../x'"),
    ],
)
def test_a_setting_of_the_wrong_type_says_what_was_expected(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainSettings(**wrong)


@pytest.mark.parametrize(
    ("sizes", "message"), [(["224", "x"], "got 'x'"), (["224-180"], "got '224-180'"), ([0], "got '0'")]
)
def test_sizes_are_numbers_or_ranges(sizes, message):
    assert NetworkTrainingSettings(sizes=[224, "180-224"]).size_ranges == ((224,), (180, 224))
    assert NetworkTrainingSettings(sizes=180).size_ranges == ((180,),)
    with pytest.raises(ValueError, match=message):
        NetworkTrainingSettings(sizes=sizes)


def test_settings_are_frozen_and_come_back_from_plain_values():
    settings = TrainSettings(data="photos", scales=(480,), levels=(1, 2), skip_bad=True)
    assert TrainSettings.from_values(settings.to_dict()) == settings
    with pytest.raises(FrozenInstanceError):
        settings.seed = 3


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(ValueError, match="unknown setting 'backbon'; did you mean 'backbone'"):
        TrainSettings.from_values({"backbon": "lite0"})
    assert TrainSettings.from_values({"max-boxes": 5}).max_boxes == 5


def test_a_setting_without_default_is_asked_for():
    with pytest.raises(MissingSetting, match="sources: is required; expected one or more values, each text"):
        ClassifySettings(model="x")


def test_every_setting_is_read_somewhere():
    code = "\n".join(
        path.read_text() for path in (ROOT / "sppnet").rglob("*.py") if "settings" not in path.relative_to(ROOT).parts
    )
    unread = {
        f"{cls.__name__}.{f.name}"
        for cls in all_settings()
        for f in fields(cls)
        if not re.search(rf"\.{READ_AS.get(f.name, f.name)}\b", code)
    }
    assert not unread


def test_every_command_shows_at_most_five_settings_first():
    for name, command in walk():
        cls = command.load().SETTINGS
        assert len(cls.MAIN) <= 5, name
        assert set(cls.MAIN) <= cls.kinds().keys(), name
        for setting, (_, option) in cls.kinds().items():
            assert option.help, f"{name}: {setting}"
            assert option.help[0].islower() or option.help.split()[0][1:2].isupper() or "0" <= option.help[0] <= "9"


def test_defaults_agree_with_the_packages_below():
    assert (TrainSettings().min_side, TrainSettings().max_side) == (
        sources.ProposalSettings().min_side,
        sources.ProposalSettings().max_side,
    )
    training = {f.name: f.default for f in fields(TrainConfig)}
    for name in ("epochs", "batch", "rate", "patience", "mirror", "colour"):
        assert getattr(NetworkTrainingSettings(), name) == training[name], name
