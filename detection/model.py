"""A trained model as one folder: SVMs, box regressors and their settings.

    model.json                  classes, network, configuration, feature scales, notes on the training
    svms.safetensors            weights (K, D), bias (K,)
    fc_head.safetensors         fc6 and fc7, if the SVMs were trained on one of them, and SVMs on pool5 beside them
    bbox_regressors.safetensors weights.<k> (D + 1, 4), mean.<k> (4,) per class, once box regression is trained

Large arrays may be in half precision. Loading reads numbers and text, checks them against the hashes in model.json,
and executes no code.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save

from detection.bbox_regression import BoxRegressor, BoxRegressors
from detection.calibration import Calibration
from detection.config import Config, Precision, View
from detection.files import write_atomically
from detection.linear_detectors import LinearDetectors
from detection.model_settings import FORMATS, HEAD, REGRESSORS, SVMS, damaged, read_settings, write_settings
from detection.networks.fc_head import BOTH, FcFeatures, FcHead, Layer
from detection.weights.half_precision import Arrays, from_half, to_half

if TYPE_CHECKING:
    from data.records import FileId

log = logging.getLogger(__name__)

FORMAT = FORMATS[-1]
INFINITE = {(SVMS, "bias"), (HEAD, "gate")}  # what may be infinite, of a class without SVM
CARD = "card.json"  # origin and scores, beside the other files of a packed model


@dataclass(frozen=True, eq=False)
class Model:
    """A trained detector without its convolutions.

    Attributes:
        classes: K names in label order.
        config: constants of the training; `with_scales` replaces the scales.
        network: name of the convolutions.
        weights_hash: sha256 of the weights of the convolutions.
        svms: the classifiers of all classes.
        regressors: one per class, None for a class without training windows; empty before box regression is trained.
        bbox_feature_scale: factor on the features before regression.
        bbox_on_fc: the features of the regressors are those of the SVMs; False: pool5.
        notes: how the model was trained, for reports.
        fc: fully connected layers that turn pool5 into the features of the SVMs; None: the features are pool5.
        proposals: how the training windows were made, as stated in their file.
        calibration: turns the margins of detections into probabilities; None: they were not calibrated.
    """

    classes: tuple[str, ...]
    config: Config
    network: str
    weights_hash: str
    svms: LinearDetectors
    regressors: Sequence[BoxRegressor | None] = ()
    bbox_feature_scale: float = 1.0
    notes: dict[str, Any] = field(default_factory=dict)
    fc: FcFeatures | None = None
    proposals: dict[str, Any] = field(default_factory=dict)
    bbox_on_fc: bool = False
    calibration: Calibration | None = None

    @property
    def pooled_length(self) -> int:
        """Length of the pooled vectors that the model expects."""
        return self.fc.head.fc6.in_features if self.fc else self.svms.weights.shape[1]

    @property
    def category_ids(self) -> tuple[FileId | None, ...]:
        """Ids of the classes in the COCO file that the model was trained on; empty if there was none."""
        return tuple(self.notes.get("category_ids") or ())

    @cached_property
    def regression(self) -> BoxRegressors | None:
        """The regressors of all classes; None if there is none."""
        if all(r is None for r in self.regressors):
            return None
        return BoxRegressors(self.regressors, self.bbox_feature_scale, self.fc if self.bbox_on_fc else None)

    @property
    def _format(self) -> int:
        """The lowest format that can hold the model."""
        both = self.fc is not None and self.fc.layer == BOTH
        return FORMAT if both else FORMAT - 1 if self.bbox_on_fc else FORMAT - 2

    def with_scales(self, scales: Sequence[int]) -> Model:
        """Return the same model for photos resized to other short sides, in pixels, than in training."""
        return replace(self, config=self.config.with_scales(tuple(scales)))

    def with_classes(self, classes: Sequence[str]) -> Model:
        """Return the same model for these classes, in this order; classes that it does not know are never detected.

        It states probabilities only if it knows all of them.
        """
        place = {name: k for k, name in enumerate(self.classes)}
        there = np.array([place.get(name, -1) for name in classes], np.int64)
        known = there >= 0
        weights = np.where(known[:, None], self.svms.weights[there], np.float32(0))
        bias = np.where(known, self.svms.bias[there], np.float32(-np.inf))
        svms = LinearDetectors(weights, bias, self.svms.feature_scale)
        regressors = tuple(self.regressors[k] if k >= 0 else None for k in there.tolist()) if self.regressors else ()
        calibration = self.calibration.subset(there) if self.calibration and known.all() else None
        notes = {name: value for name, value in self.notes.items() if name != "category_ids"}
        found = replace(self, classes=tuple(classes), svms=svms, regressors=regressors, notes=notes)
        return replace(found, calibration=calibration)

    def with_views(self, views: tuple[View, ...]) -> Model:
        """Return the same model with other views that inference "best" looks at."""
        return replace(self, config=replace(self.config, best_views=views))

    def with_inference(self, name: str) -> Model:
        """Return the same model with another way from scores to detections, see `Config.with_inference`."""
        config = self.config.with_inference(name)
        if config.test.voting and self.regression is None:
            log.warning("inference %s: the model has no box regressors, so windows vote as they are", name)
        return replace(self, config=config)

    def with_nms_iou(self, iou: float) -> Model:
        """Return the same model with another largest overlap of two detections, see `Config.with_nms_iou`."""
        return replace(self, config=self.config.with_nms_iou(iou))

    def summary(self) -> dict[str, Any]:
        """Return all settings as plain values, for reports and model.json."""
        return {
            "network": self.network,
            "weights_hash": self.weights_hash,
            "classes": list(self.classes),
            "proposals": self.proposals,
            "config": self.config.to_dict(),
            "features": self.fc.layer if self.fc else "pool5",
            "svm_feature_scale": self.svms.feature_scale,
            "bbox_feature_scale": self.bbox_feature_scale,
            "box_regression": bool(self.regressors),
            **({"bbox_features": self.fc.layer} if self.fc and self.bbox_on_fc else {}),
            **({"calibration": self.calibration.to_dict()} if self.calibration else {}),
            "notes": self.notes,
        }

    def save(self, folder: Path, half: bool = False) -> None:
        """Write all files, each atomically, `model.json` last; files that hold the same already stay as they are.

        Args:
            folder: created if absent.
            half: store large arrays in half precision, at half the size.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        parts = {SVMS: {"weights": self.svms.weights, "bias": self.svms.bias}}
        if self.regressors:
            parts[REGRESSORS] = _pack(self.regressors)
        if self.fc:
            parts[HEAD] = {name: tensor.cpu().numpy() for name, tensor in self.fc.head.state_dict().items()}
        hashes = {}
        for name in (SVMS, REGRESSORS, HEAD):
            if name in parts:
                data = save(to_half(parts[name]) if half else parts[name])
                hashes[name] = hashlib.sha256(data).hexdigest()
                if not _holds(folder / name, data):
                    write_atomically(folder / name, [data])
            else:
                (folder / name).unlink(missing_ok=True)
        write_settings(folder, {"format": self._format, **self.summary(), "sha256": hashes})


def load(folder: Path) -> Model:
    """Read a model folder.

    Raises:
        FileNotFoundError: there is no model in the folder.
        ValueError: a file is damaged or was changed, or has another format.
    """
    s = read_settings(folder)
    try:
        parts = {name: _read(folder / name, sha256) for name, sha256 in s.sha256.items()}
        svms, n_classes = parts[SVMS], len(s.classes)
        _check_svms(svms, n_classes)
        found = Model(
            s.classes,
            s.config,
            s.network,
            s.weights_hash,
            LinearDetectors(svms["weights"], svms["bias"], s.svm_feature_scale),
            _unpack(parts[REGRESSORS], n_classes) if s.box_regression else (),
            s.bbox_feature_scale,
            dict(s.notes),
            _features(parts, folder, s.features, s.config.precision),
            dict(s.proposals),
            s.bbox_features is not None,
            s.calibration,
        )
        _check_lengths(found)
        return found
    except (KeyError, TypeError, ValueError, SafetensorError, FileNotFoundError) as error:
        raise damaged(folder, error) from error


def _check_svms(svms: Arrays, n_classes: int) -> None:
    """Check that there is one SVM per class, of numbers; the bias of a class without SVM is minus infinity."""
    weights, bias = svms["weights"], svms["bias"]
    if weights.ndim != 2 or bias.shape != (n_classes,) or len(weights) != n_classes:
        raise ValueError(f"{SVMS}: weights {weights.shape} and bias {bias.shape} are not those of {n_classes} classes")
    if np.isnan(bias).any() or np.isposinf(bias).any():
        raise ValueError(f"{SVMS}: a bias is not a number")


def _check_lengths(model: Model) -> None:
    """Raise ValueError unless SVMs and box regressors take vectors as long as their features."""
    features = model.fc.length if model.fc else model.pooled_length
    regressed = features if model.bbox_on_fc else model.pooled_length
    lengths = [(SVMS, model.svms.weights.shape[1], features)]
    lengths += [(REGRESSORS, len(r.weights) - 1, regressed) for r in model.regressors if r is not None]
    for name, length, expected in lengths:
        if length != expected:
            raise ValueError(f"{name}: weights for vectors of length {length}, expected {expected}")


def _features(
    parts: Mapping[str, Arrays], folder: Path, layer: Layer | Literal["pool5"], precision: Precision
) -> FcFeatures | None:
    """Return the fully connected layers of a model; None if its SVMs use pool5."""
    if layer == "pool5":
        return None
    head = FcHead.of(parts[HEAD], str(folder / HEAD))
    if layer == BOTH and head.detectors is None:
        raise ValueError(f"{HEAD}: lacks detectors.weight, the SVMs on pool5")
    return FcFeatures(head, layer, precision)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _read(path: Path, sha256: str) -> Arrays:
    """Check the hash of a file and read its arrays."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path.name} does not have the hash that model.json states")
    arrays = from_half(load_arrays(data))
    for name, array in arrays.items():
        if (path.name, name) not in INFINITE and not np.isfinite(array).all():
            raise ValueError(f"{path.name}: {name} holds values that are not finite numbers")
    return arrays


def _pack(regressors: Sequence[BoxRegressor | None]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for k, regressor in enumerate(regressors):
        if regressor is not None:
            arrays[f"weights.{k}"], arrays[f"mean.{k}"] = regressor.weights, regressor.mean
    return arrays


def _unpack(arrays: dict[str, NDArray[Any]], n_classes: int) -> tuple[BoxRegressor | None, ...]:
    shapes = {array.shape for name, array in arrays.items() if name.startswith("weights.")}
    means = {array.shape for name, array in arrays.items() if name.startswith("mean.")}
    if len(shapes) > 1 or any(len(shape) != 2 or shape[1] != 4 for shape in shapes) or means - {(4,)}:
        raise ValueError(f"{REGRESSORS}: expected weights (D + 1, 4) and means (4,), got {sorted(shapes | means)}")
    return tuple(
        BoxRegressor(arrays[f"weights.{k}"], arrays[f"mean.{k}"]) if f"weights.{k}" in arrays else None
        for k in range(n_classes)
    )
