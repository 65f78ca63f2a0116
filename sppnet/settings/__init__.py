"""Settings of every stage and command, as frozen dataclasses: the only place with defaults.

Flags of the command line, keys of `--config` files, help texts and the settings in json reports are generated from
these classes. `sppnet.settings.TrainSettings(scales=(480, 688))` is `sppnet train --scales 480 688`.
"""

from __future__ import annotations

from sppnet.settings.base import Settings
from sppnet.settings.classifier import (
    ClassifierSettings,
    ClassifierTestSettings,
    ClassifySettings,
    NetworkTrainingSettings,
    RepresentationSettings,
)
from sppnet.settings.commands import (
    CheckSettings,
    ConvertSettings,
    DetectSettings,
    EvaluateProposalsSettings,
    EvaluateSettings,
    ExportModelSettings,
    ExportOnnxSettings,
    ReportSettings,
    ServeSettings,
)
from sppnet.settings.detector import (
    BboxRegressorSettings,
    CalibrateSettings,
    ExtractProposalsSettings,
    FeatureSettings,
    FinetuneSettings,
    SVMSettings,
    TestSettings,
)
from sppnet.settings.setup import MiniVOCSettings, WeightsCommandSettings
from sppnet.settings.train import DemoSettings, TrainSettings
from sppnet.settings.views import (
    BinViewSettings,
    ChannelViewSettings,
    EvidenceViewSettings,
    LevelViewSettings,
    ProposalViewSettings,
)

__all__ = [
    "BboxRegressorSettings",
    "BinViewSettings",
    "CalibrateSettings",
    "ChannelViewSettings",
    "CheckSettings",
    "ClassifierSettings",
    "ClassifierTestSettings",
    "ClassifySettings",
    "ConvertSettings",
    "DemoSettings",
    "DetectSettings",
    "EvaluateProposalsSettings",
    "EvaluateSettings",
    "EvidenceViewSettings",
    "ExportModelSettings",
    "ExportOnnxSettings",
    "ExtractProposalsSettings",
    "FeatureSettings",
    "FinetuneSettings",
    "LevelViewSettings",
    "MiniVOCSettings",
    "NetworkTrainingSettings",
    "ProposalViewSettings",
    "ReportSettings",
    "RepresentationSettings",
    "SVMSettings",
    "ServeSettings",
    "Settings",
    "TestSettings",
    "TrainSettings",
    "WeightsCommandSettings",
]
