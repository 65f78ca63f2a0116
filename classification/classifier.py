"""`SPPClassifier`: classify photos of any size, or represent them as vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification import views
from classification.config import Layer
from classification.extractor import Extractor
from classification.linear_classifier import normalized
from classification.model import MODEL, TRAIN_HINT, Model, load_model
from classification.photos import check_size
from classification.views import View
from detection import network
from detection.config import Precision
from detection.image import pixels_of
from detection.networks import library
from detection.networks.built_in import NETWORKS


@dataclass(frozen=True, eq=False)
class Classification:
    """Class scores of one photo.

    Attributes:
        classes: names of the K classes.
        scores: float32 (K,), softmax probabilities in [0, 1], or SVM margins, which are positive for "in the photo".
    """

    classes: tuple[str, ...]
    scores: NDArray[np.float32]

    @property
    def label(self) -> str:
        """Name of the class with the highest score."""
        return self.classes[int(self.scores.argmax())]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the `count` highest-scoring classes as (name, score), best first."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.classes[k], float(self.scores[k])) for k in order]

    def __str__(self) -> str:
        return ", ".join(f"{name} {score:.2f}" for name, score in self.top(3))


class SPPClassifier:
    """A network with spatial pyramid pooling and, if trained, a linear classifier on one of its layers.

    Args:
        extractor: the network.
        model: the trained classifier that `extractor` belongs to; None for a network that only represents photos.

    Attributes:
        scores: test scores by name, read-only; empty unless `sppnet.train_classifier` trained the classifier.
    """

    def __init__(self, extractor: Extractor, model: Model | None = None) -> None:
        self.extractor, self.model = extractor, model
        self.classes: tuple[str, ...] = model.classes if model else ()
        self.scores: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        device: str = "auto",
        weights: str | Path = "pretrained",
        precision: Precision = "fp32",
    ) -> SPPClassifier:
        """Load a trained classifier, or a pretrained network that represents photos.

        Args:
            name_or_dir: folder of a classifier that `sppnet classifier train` or `train-network` wrote; or a network:
                "alexnet", "vgg16", "lite0", "lite1", "lite2", "torchvision:NAME" or "timm:NAME".
            device: "auto", "cpu", "cuda" or "cuda:N".
            weights: convolutions that the folder does not hold: "pretrained" (fetched on first use), or a file.
            precision: "fp32" or "bf16", used by the convolutions.

        Raises:
            FileNotFoundError: `name_or_dir` is neither a folder with a classifier nor a known network.
            ValueError: the folder is damaged, or the weights belong to another network.
            OSError: the weights cannot be read or fetched.
        """
        text = str(name_or_dir)
        known = text in NETWORKS or (":" in text and library.split(text) is not None)
        if known and not (Path(text) / MODEL).is_file():
            return cls(Extractor(network.build(text, weights, device, precision)))
        if not Path(text).is_dir():
            names = ", ".join(NETWORKS)
            raise FileNotFoundError(
                f"{text}: no such classifier folder or network; give a folder, {names}, torchvision:NAME or timm:NAME"
            )
        model = load_model(Path(text), device=device, weights=weights)
        body = replace(model.extractor.body, precision=precision)
        extractor = replace(model.extractor, body=body)
        return cls(extractor, replace(model, extractor=extractor))

    def save(self, folder: str | Path) -> None:
        """Write the classifier as a folder that `from_pretrained` reads.

        Raises:
            ValueError: the network has not been trained to classify.
            OSError: the folder cannot be written.
        """
        self._trained().save(Path(folder))

    def classify(self, photo: Any, view: View | None = None) -> Classification:
        """Score all classes.

        Args:
            photo: a path; uint8 RGB (H, W, 3) or grey (H, W); a Pillow image; or a tensor (3, H, W).
            view: parts of the photo to show to the network; None: `Model.view`. With several views, softmax
                probabilities are averaged; SVMs score the mean vector, as in their training.

        Raises:
            ValueError: the network has not been trained to classify, the photo cannot be used, or the network does
                not support this view.
            OSError: the file cannot be read.
        """
        model = self._trained()
        found = views.vectors(self.extractor, self._pixels(photo), view or model.view, [model.layer])
        return Classification(model.classes, model.linear.score_views(found[model.layer]))

    def represent(
        self, photo: Any, layer: Layer = "spp", short_side: int = 392, view: View | None = None
    ) -> NDArray[np.float32]:
        """Represent a photo as a vector of length 1, for retrieval or for other classifiers.

        Args:
            photo: as in `classify`.
            layer: "conv4", "conv5", "6x6", "spp", "fc6" or "fc7"; see `Extractor.vectors`.
            short_side: short side in pixels that the whole photo is resized to; ignored if `view` is given.
            view: parts of the photo to show to the network, instead of the whole photo; the vectors of several views
                are averaged.

        Returns:
            float32 (D,), with L2 norm 1.

        Raises:
            ValueError: the network has no such layer, the layer has no fixed length in this view, or the photo cannot
                be used.
            OSError: the file cannot be read.
        """
        found = views.vectors(self.extractor, self._pixels(photo), view or View("full", short_side), [layer])
        return normalized(found[layer].mean(axis=0, keepdims=True))[0]

    def _pixels(self, photo: Any) -> NDArray[np.uint8]:
        pixels = pixels_of(photo)
        check_size(pixels, str(photo) if isinstance(photo, str | Path) else "image")
        return pixels

    def _trained(self) -> Model:
        if self.model is None:
            raise ValueError(
                f"{self.extractor.body.name}: this network represents photos but has no classes; {TRAIN_HINT}"
            )
        return self.model
