"""Train and test a classifier: what `sppnet.train_classifier` does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from classification.classifier import SPPClassifier
from sppnet.classifier.network_training import start_of, train_network
from sppnet.classifier.photos import CLASSIFIER, run_folder
from sppnet.classifier.svms import train_svms
from sppnet.classifier.training_record import held_out_scores
from sppnet.settings.classifier import ClassifierSettings, NetworkTrainingSettings


def train_and_test(settings: ClassifierSettings | NetworkTrainingSettings) -> SPPClassifier:
    """Train linear SVMs on a pretrained network, or a network by gradient descent, as the type of the settings says.

    A network that the run folder holds already is not trained again.

    Returns:
        the classifier; `scores` holds its test scores as in `sppnet.train_classifier`, and for VOC 2007 "ap" per class
        and "mean_ap".

    Raises:
        FileNotFoundError: there are no such photos, or no such network.
        ValueError: the photos or settings cannot be used, or the run holds another classifier.
        RuntimeError: another process is working on the classifier.
        OSError: a file cannot be read or written.
    """
    if isinstance(settings, NetworkTrainingSettings):
        scores: Mapping[str, Any] = held_out_scores(train_network(settings))
        classifier = _load(settings)
    else:
        trained = train_svms(settings)
        scores, classifier = trained.scores.summary(), SPPClassifier(trained.model.extractor, trained.model)
    classifier.scores = MappingProxyType(dict(scores))
    return classifier


def _load(s: NetworkTrainingSettings) -> SPPClassifier:
    """Load the network of the run folder; its convolutions are in there unless they are the pretrained ones."""
    weights = s.weights if start_of(s) == "frozen" else None
    return SPPClassifier.from_pretrained(
        run_folder(s) / CLASSIFIER, device=s.device, weights=weights or "pretrained", precision=s.precision or "fp32"
    )
