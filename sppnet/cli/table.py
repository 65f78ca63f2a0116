"""The table of commands: names, modules and one line of help for each."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from sppnet.settings.base import Settings

COMMANDS = "sppnet.cli.commands"


@dataclass(frozen=True)
class Command:
    """One command, loaded when it is used.

    Attributes:
        help: one line.
        module: name within `sppnet.cli.commands`; it has SETTINGS, `run(settings)` and perhaps `resolve(settings)`.
    """

    help: str
    module: str

    def load(self) -> ModuleType:
        """The command's module."""
        return importlib.import_module(f"{COMMANDS}.{self.module}")


@dataclass(frozen=True)
class Family:
    """Commands below a common word.

    Attributes:
        help: one line.
        commands: name -> command.
    """

    help: str
    commands: dict[str, Command]


GROUPS: dict[str, dict[str, Command | Family]] = {
    "Detectors": {
        "detect": Command("find objects in photos, folders and videos", "detect"),
        "train": Command("train a detector on labelled photos", "train"),
        "check": Command("check a labelled data set for faults", "check"),
        "data": Family(
            "convert labelled photos between formats",
            {"convert": Command("write labelled photos in another format", "data_convert")},
        ),
        "suggest": Command("choose the photos to label next", "suggest"),
        "report": Command("write an HTML report of a tested detector", "report"),
        "evaluate": Command("average precision of a detector or of result files", "evaluate"),
        "serve": Command("open a local web page and HTTP API", "serve"),
        "export": Family(
            "pack a detector, or write it as ONNX",
            {
                "model": Command("pack a trained detector for others, with a card", "export_model"),
                "onnx": Command("write a detector as ONNX files", "export_onnx"),
            },
        ),
        "visualize": Family(
            "draw proposals, feature maps and what a score is made of",
            {
                "proposals": Command("best proposal for each annotated object", "visualize_proposals"),
                "levels": Command("regions of a photo as selective search merges them", "visualize_levels"),
                "channels": Command("where filters of conv5 respond", "visualize_channels"),
                "bins": Command("cells and bins of a window", "visualize_bins"),
                "evidence": Command("what an SVM's score is made of", "visualize_evidence"),
            },
        ),
    },
    "Classifiers": {
        "classify": Command("classify photos", "classify"),
        "classifier": Family(
            "train and test image classifiers",
            {
                "train": Command("train linear SVMs on a pretrained network", "classifier_train"),
                "train-network": Command("train a network by gradient descent", "classifier_train_network"),
                "test": Command("errors of a trained classifier by view", "classifier_test"),
                "represent": Command("write vectors that describe photos", "classifier_represent"),
            },
        ),
    },
    "Single stages and setup": {
        "stage": Family(
            "run one stage of detection, for VOC 2007 or your data",
            {
                "extract-proposals": Command("search photos for proposals", "extract_proposals"),
                "evaluate-proposals": Command("measure proposals against annotations", "evaluate_proposals"),
                "extract-features": Command("convolve every photo, and search proposals", "extract_features"),
                "finetune": Command("fine-tune fully connected layers", "finetune"),
                "train-svms": Command("train SVMs, then box regressors", "train_svms"),
                "train-bbox-regressors": Command("train box regressors beside SVMs", "train_bbox_regressors"),
                "calibrate": Command("turn margins into probabilities", "calibrate"),
                "test-net": Command("detect in the test split and print mAP", "test_net"),
            },
        ),
        "demo": Command("train and score a detector on generated photos", "demo"),
        "minivoc": Command("write a small generated data set", "minivoc"),
        "weights": Command("download pretrained weights", "weights"),
        "env": Command("show versions, hardware and bundled detectors", "env"),
    },
}

ENTRIES: dict[str, Command | Family] = {name: entry for group in GROUPS.values() for name, entry in group.items()}


def walk() -> Iterator[tuple[str, Command]]:
    """Every command with its full name, as "stage train-svms"."""
    for name, entry in ENTRIES.items():
        if isinstance(entry, Family):
            yield from ((f"{name} {sub}", command) for sub, command in entry.commands.items())
        else:
            yield name, entry


@cache
def all_settings() -> tuple[type[Settings], ...]:
    """The settings classes of all commands."""
    return tuple(command.load().SETTINGS for _, command in walk())
