"""`SPPClassifier`: says what is on a photo of any size, and describes it by a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification import views
from classification.extractor import Extractor, Layer
from classification.linear import normalized
from classification.model import MODEL, Model, load_model
from classification.photos import check_size
from classification.views import View
from detection import network
from detection.config import Precision
from detection.image import pixels_of
from detection.networks import library
from detection.networks.built_in import NETWORKS


@dataclass(frozen=True, eq=False)
class Classification:
    """What a classifier says about one photo.

    Attributes:
        classes: names of the K classes.
        scores: float32 (K,): probabilities of a softmax layer, or margins of SVMs, above 0 for yes.
    """

    classes: tuple[str, ...]
    scores: NDArray[np.float32]

    @property
    def label(self) -> str:
        """The class with the highest score."""
        return self.classes[int(self.scores.argmax())]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The classes with the highest scores and these, best first."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.classes[k], float(self.scores[k])) for k in order]

    def __str__(self) -> str:
        return ", ".join(f"{name} {score:.2f}" for name, score in self.top(3))


class SPPClassifier:
    """A network, and a linear classifier of one of its layers if it has been trained.

    Args:
        extractor: the network.
        model: the whole of which it is a part; None for a network that can only describe.

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
        name: str | Path,
        weights: str | Path = "pretrained",
        device: str = "auto",
        precision: Precision = "fp32",
    ) -> SPPClassifier:
        """A classifier from a folder, or a pretrained network, which can describe photos.

        Args:
            name: a folder that train_classifier or classify wrote; or "alexnet", "vgg16", "lite0", "lite2",
                "torchvision:NAME" or "timm:NAME".
            weights: of convolutions that are not in the folder: "pretrained" (fetched on first use), or a file.
            device: "auto", "cpu", "cuda" or "cuda:N".
            precision: of the convolutions, "fp32" or "bf16".

        Raises:
            FileNotFoundError: neither a folder with a classifier nor a known network.
            ValueError: the folder is damaged, or the weights are of another network.
            OSError: the weights cannot be read or fetched.
        """
        text = str(name)
        known = text in NETWORKS or (":" in text and library.split(text) is not None)
        if known and not (Path(text) / MODEL).is_file():
            return cls(Extractor(network.build(text, weights, device, precision)))
        if not Path(text).is_dir():
            names = ", ".join(NETWORKS)
            raise FileNotFoundError(
                f"{text}: neither a folder nor a network; the networks are {names}, torchvision:NAME and timm:NAME"
            )
        model = load_model(Path(name), weights, device)
        body = replace(model.extractor.body, precision=precision)
        extractor = replace(model.extractor, body=body)
        return cls(extractor, replace(model, extractor=extractor))

    def save(self, folder: str | Path) -> None:
        """Write a classifier as a folder that `from_pretrained` reads.

        Raises:
            ValueError: there is nothing trained.
            OSError: it cannot be written.
        """
        self._trained().save(Path(folder))

    def classify(self, photo: Any, view: View | None = None) -> Classification:
        """Scores of all classes.

        Args:
            photo: a path; uint8 RGB (H, W, 3) or grey (H, W); a Pillow image; or a tensor (3, H, W).
            view: how it is looked at; None: `Model.view`. Of several views, probabilities are averaged; SVMs are asked
                about the mean vector, which they have learned from.

        Raises:
            ValueError: the network has not been trained to classify, the photo cannot be used, or the network does
                not take this view.
            OSError: the file cannot be read.
        """
        model = self._trained()
        found = views.vectors(self.extractor, self._pixels(photo), view or model.view, [model.layer])
        return Classification(model.classes, model.linear.of_views(found[model.layer]))

    def represent(
        self, photo: Any, layer: Layer = "spp", short_side: int = 392, view: View | None = None
    ) -> NDArray[np.float32]:
        """A vector of length 1 that describes a photo, for retrieval or for classifiers of other kinds.

        Args:
            photo: as `classify` takes it.
            layer: "conv4", "conv5", "6x6", "spp", "fc6" or "fc7"; see `Extractor.vectors`.
            short_side: pixels that the photo's short side is resized to; all of it is seen.
            view: how it is looked at, instead; of several views the mean is taken.

        Returns:
            float32 (D,), its L2 norm 1.

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
                f"{self.extractor.body.name}: describes photos, but knows no classes; "
                "train a classifier with train_classifier or classify"
            )
        return self.model
