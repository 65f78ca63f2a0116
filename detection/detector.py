"""`SPPDetector`: a photo in, detections out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection import features, memory, network, parallel, postprocessing, voting, zoo
from detection import image as pixels
from detection import model as models
from detection.boxes import checked
from detection.config import Inference, Precision, View
from detection.detections import Detections
from detection.ensemble import Evidence
from detection.features import FeaturePyramid
from detection.model import Model
from detection.network import ConvBody
from detection.networks.bfloat16 import has_bfloat16
from proposals.sources import VERSION, ProposalSettings, propose

if TYPE_CHECKING:
    import torch
    from PIL import Image

Photo: TypeAlias = "str | os.PathLike[str] | NDArray[np.uint8] | Image.Image | torch.Tensor"


class SPPDetector:
    """A trained SPP-net detector: it convolves a photo once, pools and scores every window, and tightens the boxes.

    Args:
        body: the convolutions; they must be those the model was trained on.
        model: SVMs and box regressors.
        scores: test scores of the training that made the model, for `scores`.

    Attributes:
        body: the convolutions.
        model: SVMs and box regressors.
        classes: K names in label order.
        scores: read-only mapping of test scores; empty unless a training has just made the detector.

    Raises:
        ValueError: the model was trained on other convolutions or another pyramid.
    """

    def __init__(self, body: ConvBody, model: Model, *, scores: Mapping[str, Any] | None = None) -> None:
        if body.weights_hash != model.weights_hash:
            raise ValueError(
                f"model: trained on {model.network} with weights {model.weights_hash[:12]}, "
                f"got {body.name} with {body.weights_hash[:12]}; load the weights it was trained on"
            )
        pooling = model.config.pooling
        if model.pooled_length != (pooled := body.channels * pooling.bins):
            raise ValueError(
                f"model: expects pooled vectors of length {model.pooled_length}, but {body.name} with pyramid levels "
                f"{', '.join(map(str, pooling.levels))} gives {pooled}; use the network and the levels of its training"
            )
        self.body = body
        self.model = model
        self.classes = model.classes
        self.scores: Mapping[str, Any] = MappingProxyType(dict(scores or {}))

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        device: str = "auto",
        weights: str | Path = "pretrained",
        precision: Precision | None = None,
        scales: Sequence[int] | None = None,
        inference: Inference | None = None,
        nms_iou: float | None = None,
    ) -> SPPDetector:
        """Load a bundled detector or a model folder, and the convolutions that it names.

        Args:
            name_or_dir: "lite0-voc2007" or another name of `detection.zoo.names()`, or a model folder.
            device: "auto", "cpu", "cuda" or "cuda:N".
            weights: "pretrained", or a file, for a model that was trained on other weights of the convolutions.
            precision: "fp32" or "bf16", arithmetic of the convolutions; None: as in training. Scores differ slightly
                between the two. On a device without fast bfloat16 both are single precision.
            scales: short sides in pixels of the resized images; every window uses the one that suits its size. None:
                those of the training. The paper's five, (480, 576, 688, 864, 1200), cost seven times the
                convolutions of 688 alone. On VOC 2007, models trained at 688 gain 2 to 5 mAP; on data where the
                size of an object in the photo tells its class, they lose.
            inference: "paper" suppresses windows and then regresses them; "fast" regresses first and lets all windows
                of an object vote for its box; "best" also takes the means over several views, those
                that the model states or the photo and its mirror image, at two or more times the convolutions. None:
                what the model states.
            nms_iou: largest overlap of two detections of a class, in (0, 1]; of two that overlap by more, the worse
                one is dropped. None: what the model states, 0.3 unless it was trained otherwise.

        Raises:
            FileNotFoundError: no bundled detector has this name and no model is in the folder, or the weights are
                missing.
            ValueError: a file is damaged or does not belong to the model, the device is absent, there is no such
                inference, or the overlap is out of range.
        """
        folder = zoo.folder_of(name_or_dir)
        model = models.load(folder)
        model = model.with_scales(scales) if scales else model
        model = model.with_inference(inference) if inference else model
        model = model if nms_iou is None else model.with_nms_iou(nms_iou)
        if precision is None:
            precision = model.config.precision if has_bfloat16(network.resolve_device(device)) else "fp32"
        if model.fc:
            model.fc.precision = precision
        try:
            if model.proposals.get("version") == VERSION:  # by this program, which makes such windows later
                ProposalSettings.from_meta(model.proposals)
            return cls(network.build(model.network, weights, device, precision), model)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error

    def __repr__(self) -> str:
        model = self.model
        layer = model.fc.layer if model.fc else "pool5"
        scales = ", ".join(map(str, model.config.pooling.scales))
        names = ", ".join(self.classes[:5]) + ", …" * (len(self.classes) > 5)
        return f"SPPDetector({self.body.name} {layer} at {scales}, {len(self.classes)} classes: {names})"

    def save(self, folder: str | Path, half: bool = False) -> None:
        """Write the model folder that `from_pretrained` reads; the convolutions stay in the weight cache.

        Args:
            folder: created if absent.
            half: store large arrays in half precision, at half the size.
        """
        self.model.save(Path(folder), half)

    @overload
    def detect(self, image: Photo, boxes: ArrayLike | None = None) -> Detections: ...
    @overload
    def detect(self, image: list[Photo] | tuple[Photo, ...]) -> list[Detections]: ...
    def detect(
        self, image: Photo | list[Photo] | tuple[Photo, ...], boxes: ArrayLike | None = None
    ) -> Detections | list[Detections]:
        """Detect the objects of one photo, or of each photo of a list.

        Args:
            image: a file, uint8 RGB (H, W, 3) or grey (H, W), a Pillow image, or a torch tensor (3, H, W) or grey
                (1, H, W), uint8 or in [0, 1]; or a list of these, see `detect_many`.
            boxes: (R, 4) windows to score, image pixels; None: windows made like those of the training.

        Returns:
            boxes float32 (N, 4) image pixels, scores float32 (N,), labels int64 (N,) into `classes`: all that could be
            an object, however unlikely; `shown()` selects those worth showing. Their `photo` holds the decoded pixels;
            `detect_many` keeps the paths of files instead.

        Raises:
            ValueError, OSError: the photo cannot be read; a box is not finite, has swapped corners or lies
                outside the photo; or `boxes` is None and this program cannot make the
                windows that the model was trained on.
        """
        if isinstance(image, list | tuple):
            if boxes is not None:
                raise ValueError("detect: boxes are those of one photo; pass the photos one by one")
            return list(self.detect_many(image))
        model, pooling, test = self.model, self.model.config.pooling, self.model.config.test
        photo = pixels.pixels_of(image)
        windows = self.propose(photo) if boxes is None else checked(boxes, (photo.shape[0], photo.shape[1]))
        if test.voting:
            first, *others = (self._look(photo, windows, view) for view in test.voting.views)
            found = voting.vote(Evidence(first, windows, model, others=others).judgement(), test, test.voting)
        else:
            scales, scale_index = features.needed_scales(windows, (photo.shape[0], photo.shape[1]), pooling)
            pyramid = features.compute_pyramid(photo, self.body, scales)
            placed = features.place(pyramid, windows, pooling, scale_index, model.fc)
            scores = placed.scores(model.svms.scores)  # pools and scores in blocks; pool5 of all windows is never held
            rows, found = postprocessing.select(windows, scores, test)
            found = postprocessing.tighten(found, rows, placed, model.regression, test.nms_iou)
        return replace(
            found,
            classes=self.classes,
            photo=photo,
            category_ids=model.category_ids,
            calibration=model.calibration,
        )

    def detect_many(
        self, images: Iterable[Photo], on_bad: Callable[[Photo, Exception], None] | None = None
    ) -> Iterator[Detections]:
        """Detect the objects of many photos; the next ones are read and searched for windows in the background.

        Args:
            images: photos as `detect` accepts them, consumed as results are taken; there may be any number.
            on_bad: called with a photo that cannot be read and the reason; the photo is skipped. None: raise the
                error.

        Returns:
            an iterator of detections, in the order of the photos. `photo` of a file is its path, so that results
            that are kept do not hold pixels; see `detect_each`.
        """
        for image, found in self.detect_each(images, on_bad):
            yield replace(found, photo=Path(image)) if isinstance(image, str | os.PathLike) else found

    def detect_each(
        self, images: Iterable[Photo], on_bad: Callable[[Photo, Exception], None] | None = None
    ) -> Iterator[tuple[Photo, Detections]]:
        """Like `detect_many`, for work on the pixels: yield each photo as given, and its detections.

        `photo` of the detections holds the decoded pixels, so that `draw` does not read the file again. They take the
        memory of the photo for as long as they are kept.
        """
        for image, prepared in memory.kept_flat(parallel.ahead(self._prepare, images)):
            try:
                photo, windows = prepared.result()
            except (OSError, ValueError) as error:
                if on_bad is None:
                    raise
                on_bad(image, error)
                continue
            yield image, self.detect(photo, windows)

    def propose(self, photo: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.float32]:
        """Make windows like those the model was trained on.

        Args:
            photo: uint8 RGB (H, W, 3).
            threads: number of threads; None: as many as torch uses.

        Returns:
            float32 (R, 4), image pixels, best first.

        Raises:
            ValueError: this program cannot make such windows.
        """
        made = self.model.proposals
        settings = ProposalSettings.from_meta(made) if made else None
        return propose(photo, settings, threads or parallel.thread_count())

    def _look(self, photo: NDArray[np.uint8], windows: NDArray[np.float32], view: View) -> FeaturePyramid:
        """Feature maps of one view, at the scales that windows use."""
        pooling = self.model.config.pooling
        pooling = replace(pooling, scales=view.scales(pooling.scales))
        scales, _ = features.needed_scales(windows, (photo.shape[0], photo.shape[1]), pooling)
        return features.compute_pyramid(photo, self.body, scales, view.mirror)

    def _prepare(self, image: Photo) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        photo = pixels.pixels_of(image)
        return photo, self.propose(photo, threads=1)
