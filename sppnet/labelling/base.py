"""What a project's detector begins with: convolutions, constants, windows, and perhaps a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detection import features, model, network, zoo
from detection.config import PAPER, Config, SVMConfig
from detection.model import Model
from detection.network import ConvBody
from detection.networks.bfloat16 import has_bfloat16
from detection.training import live
from proposals.sources import ProposalSettings
from sppnet.detector.choice_rules import COST_PHOTOS, COSTS, SIDES
from sppnet.settings.commands import ServeSettings

BACKBONE = "lite0"
INFERENCE = "fast"  # one view, so that a photo is convolved once; without box regressors windows vote as they are


@dataclass(frozen=True, eq=False)
class Base:
    """What all projects share.

    Attributes:
        body: the convolutions.
        config: constants, scales and pyramid levels.
        windows: how windows are made.
        model: the detector to begin with; None: nothing was learned.
        seed: of the trainings.
    """

    body: ConvBody
    config: Config
    windows: ProposalSettings
    model: Model | None
    seed: int

    @classmethod
    def load(cls, settings: ServeSettings) -> Base:
        """Load what settings ask for; weights that are missing are fetched.

        Raises:
            FileNotFoundError, ValueError: the model or the convolutions cannot be used.
        """
        device, weights = settings.device, settings.weights or "pretrained"
        if settings.model:
            folder = zoo.folder_of(settings.model[0])
            found = model.load(folder).with_inference(INFERENCE)
            found = found if settings.nms_iou is None else found.with_nms_iou(settings.nms_iou)
            try:
                windows = ProposalSettings.from_meta(found.proposals) if found.proposals else ProposalSettings()
            except ValueError as error:
                raise ValueError(f"{folder}: {error}") from error
            precision = found.config.precision if has_bfloat16(network.resolve_device(device)) else "fp32"
            if found.fc:
                found.fc.precision = precision
            body = network.build(found.network, weights, device, precision)
            return cls(body, found.config, windows, found, settings.seed)
        precision = "bf16" if has_bfloat16(network.resolve_device(device)) else "fp32"
        config = replace(PAPER, precision=precision).with_scales(settings.scales or SIDES[:1]).with_inference(INFERENCE)
        config = config if settings.nms_iou is None else config.with_nms_iou(settings.nms_iou)
        body = network.build(settings.backbone or BACKBONE, weights, device, config.precision)
        return cls(body, config, ProposalSettings(seed=settings.seed), None, settings.seed)

    def start(self, classes: Sequence[str]) -> Model:
        """Return the model that the detector of these classes begins with."""
        if self.model is not None:
            return self.model.with_classes(classes)
        length = self.body.channels * self.config.pooling.bins
        names = (self.body.name, self.body.weights_hash)
        return live.blank(classes, self.config, names, length, self.windows.meta)

    def svm_config(self, count: int) -> SVMConfig:
        """Return the constants of the SVMs for a number of photos.

        C falls as in `sppnet train`, but in steps, so that a training can continue after a restart.
        """
        step = 2 ** int(np.log2(max(1, count)))
        return replace(self.config.svm, cost=float(np.clip(COST_PHOTOS / step, *COSTS)))

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the cache of maps."""
        return features.cache_manifest(self.body, self.config.pooling.scales, self.config.preset)
