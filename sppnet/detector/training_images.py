"""The training images of a run: records, proposals and features together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.records import Dataset
from detection.config import Config, View
from detection.model import Model
from detection.training.fingerprint import changed_data, data_digests
from detection.training.images import TrainingImages, ViewedImages
from sppnet.detector.features import open_features, usable_records
from sppnet.detector.proposals import load_proposals
from sppnet.run import Run, configuration
from sppnet.settings.detector import LearningSettings, ProposalSettings


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a stage trains on.

    Attributes:
        dataset: the training split.
        images: its usable images, with proposals and features.
        proposals: how the proposals were made.
        config: constants, scales and pyramid levels.
    """

    dataset: Dataset
    images: TrainingImages
    proposals: dict[str, Any]
    config: Config


def open_training_set(run: Run, settings: LearningSettings) -> TrainingSet:
    """The training split with the features and proposals that settings name, or that the run has.

    Raises:
        FileNotFoundError: features or proposals are missing.
        ValueError: images lack them, or several kinds fit and none is named.
    """
    name, config = configuration(settings, run)
    dataset = run.train
    proposals, made = load_proposals(run, dataset, run.train_split, settings)
    cache = open_features(run, run.train_split, name, config)
    records = usable_records(run, dataset, proposals, cache)
    images = TrainingImages(records, proposals, cache, config.pooling, len(dataset.classes))
    return TrainingSet(dataset, images, made, config)


def in_view(run: Run, images: TrainingImages, view: View, config: Config, further: str) -> TrainingImages:
    """The training images, or some of them, as one view shows them.

    Args:
        run: holds the features of the view.
        images: the images as they are.
        view: size and mirroring.
        config: scales of the training.
        further: as of `open_features`.

    Raises:
        FileNotFoundError: there are no features of this view.
        ValueError: a photo was replaced since, or an image has none.
    """
    if view == View():
        return images
    cache = open_features(run, run.train_split, images.cache.manifest["network"], config, view=view, further=further)
    name = f"{run.train_split} in view {view}"
    usable = usable_records(run, Dataset(name, (), tuple(images.records)), images.proposals, cache)
    if len(usable) < len(images):
        raise ValueError(f"{name}: {len(images) - len(usable)} images have no features; they have some in another view")
    pooling = config.with_scales(view.scales(config.pooling.scales)).pooling
    return TrainingImages(usable, images.proposals, cache, pooling, images.n_classes, images.fc, view.mirror)


def in_views(run: Run, images: TrainingImages, views: Sequence[View], config: Config) -> TrainingImages:
    """The training images with features that are means over views; arguments as of `in_view`."""
    if not views:
        return images
    return ViewedImages([in_view(run, images, view, config, train_views_flag(views)) for view in views])


def train_views_flag(views: Sequence[View]) -> str:
    """The setting that makes and uses features of views."""
    return f"--train-views {' '.join(map(str, views))}"


def training_images_of(run: Run, trained: Model, settings: ProposalSettings) -> TrainingImages:
    """The images that a model of the run was trained on, with their pool5 features.

    Raises:
        FileNotFoundError: features or proposals are missing.
        ValueError: the run's training split is not what the model was trained on.
    """
    config = trained.config
    dataset = run.dataset(run.train_split, trained.classes)
    proposals, _ = load_proposals(run, dataset, run.train_split, settings, trained.proposals)
    cache = open_features(run, run.train_split, trained.network, config, trained.weights_hash)
    records = usable_records(run, dataset, proposals, cache)
    data, count = trained.notes.get("data"), trained.notes.get("images")
    images = TrainingImages(records, proposals, cache, config.pooling, len(trained.classes))
    images = in_views(run, images, View.parse_all(trained.notes.get("train_views", ())), config)
    digests = data_digests(images, trained.classes)
    if trained.notes.get("annotations") != digests["annotations"] and (data, count) != (dataset.name, len(records)):
        raise ValueError(
            f"{run.folder}: SVMs of {data}, {count} images; what is added to them must learn from the same images, "
            f"got {dataset.name}, {len(records)}; give that --train-split and --limit"
        )
    if changed := changed_data(trained.notes, digests):
        raise ValueError(
            f"{run.folder}: {' and '.join(changed)} changed since the SVMs were trained; run `sppnet stage train-svms`"
        )
    return images
