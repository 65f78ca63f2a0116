"""`SPPDetector`: a photo in, detections out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection import features, memory, network, parallel, postprocessing, spp, zoo
from detection import image as pixels
from detection import model as models
from detection.boxes import as_boxes
from detection.config import Precision
from detection.detections import Detections
from detection.features import FeaturePyramid
from detection.model import Model
from detection.network import ConvBody
from detection.networks.bfloat16 import has_bfloat16
from detection.networks.softmax import SoftmaxClassifier
from detection.postprocessing import ScoredWindows
from proposals.sources import ProposalSettings, propose

if TYPE_CHECKING:
    import torch
    from PIL import Image

Combine = Literal["union", "mean"]
Photo: TypeAlias = "str | os.PathLike[str] | NDArray[np.uint8] | Image.Image | torch.Tensor"


class SPPDetector:
    """Convolve once, pool every window, score it, tighten the boxes.

    Args:
        body: the convolutions; they must be those the model was trained on.
        model: SVMs and box regressors.

    Raises:
        ValueError: the model belongs to other convolutions.
    """

    def __init__(self, body: ConvBody, model: Model) -> None:
        if body.weights_hash != model.weights_hash:
            raise ValueError(
                f"model: trained on {model.network} with weights {model.weights_hash[:12]}, "
                f"got {body.name} with {body.weights_hash[:12]}; load the weights it was trained on"
            )
        levels = model.config.pooling.levels
        if model.pooled_length != (pooled := body.channels * sum(n * n for n in levels)):
            raise ValueError(
                f"model: takes pooled vectors of {model.pooled_length}, {body.name} with pyramid levels "
                f"{', '.join(map(str, levels))} gives {pooled}; it is of another network or pyramid"
            )
        self.body = body
        self.model = model
        self.classes = model.classes

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        device: str = "auto",
        weights: str | Path = "pretrained",
        precision: Precision | None = None,
        scales: Sequence[int] | None = None,
    ) -> SPPDetector:
        """Load a detector that comes with the program, or a model folder, and the convolutions it names.

        Args:
            name_or_dir: "alexnet-voc2007" or another of `detection.zoo.names()`, or a folder.
            device: "auto", "cpu", "cuda" or "cuda:N".
            weights: file of the convolutions, for a model trained on others than the pretrained ones.
            precision: of the convolutions, "fp32" or "bf16"; None: that of the training. Scores differ slightly
                between the two. Where the device has no fast bfloat16 both are single precision.
            scales: short sides in pixels to look at, of each window the one that suits it; None: those of the training.
                The paper's five, (480, 576, 688, 864, 1200), take seven times the convolutions of 688 alone. On
                VOC 2007 models that were trained at 688 gain 2 to 5 mAP; where an object's size in the photo tells
                what it is, they lose.

        Raises:
            FileNotFoundError: no detector of that name and no model in the folder, or the weights are not there.
            ValueError: a file is damaged or belongs to others, or the device is absent.
        """
        model = models.load(zoo.folder_of(name_or_dir))
        model = model.with_scales(scales) if scales else model
        if precision is None:
            precision = model.config.precision if has_bfloat16(network.resolve_device(device)) else "fp32"
        if model.fc:
            model.fc.precision = precision
        return cls(network.build(model.network, weights, device, precision), model)

    def save(self, folder: str | Path, half: bool = False) -> None:
        """Write the model folder that `from_pretrained` reads; the convolutions stay in the weight cache.

        Args:
            folder: made if absent.
            half: large arrays in half precision, for half the size.
        """
        self.model.save(Path(folder), half)

    def detect(self, image: Photo, boxes: ArrayLike | None = None) -> Detections:
        """All objects of one photo.

        Args:
            image: a file, uint8 RGB (H, W, 3), a Pillow image, or a torch tensor (3, H, W), uint8 or in [0, 1].
            boxes: (R, 4) windows to score, image pixels; if left out, made as those the model learned from.

        Returns:
            boxes float32 (N, 4) image pixels, scores float32 (N,), labels int64 (N,) into `classes`.

        Raises:
            ValueError, OSError: the photo cannot be read; or `boxes` are left out, and the model learned from
                windows that this program cannot make.
        """
        photo = pixels.pixels_of(image)
        windows = self.propose(photo) if boxes is None else as_boxes(boxes).astype(np.float32)
        return self._detect(image, photo, windows)

    def detect_many(
        self, images: Iterable[Photo], on_bad: Callable[[Photo, Exception], None] | None = None
    ) -> Iterator[Detections]:
        """Objects of photo after photo; the next is read and searched for windows while one is convolved.

        Args:
            images: as `detect` takes them; taken from as results are, so there may be any number.
            on_bad: called with a photo that cannot be read, and why; it is left out. None: the error is raised.
        """
        for image, prepared in memory.kept_flat(parallel.ahead(self._prepare, images)):
            try:
                photo, windows = prepared.result()
            except (OSError, ValueError) as error:
                if on_bad is None:
                    raise
                on_bad(image, error)
                continue
            yield self._detect(image, photo, windows)

    def propose(self, photo: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.float32]:
        """Windows made as those the model learned from: uint8 RGB (H, W, 3) -> (R, 4) image pixels, best first.

        Raises:
            ValueError: this program cannot make such windows.
        """
        made = self.model.proposals
        settings = ProposalSettings.from_meta(made) if made else None
        return propose(photo, settings, threads or parallel.thread_count())

    def _prepare(self, image: Photo) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        photo = pixels.pixels_of(image)
        return photo, self.propose(photo, threads=1)

    def _detect(self, image: Photo, photo: NDArray[np.uint8], windows: NDArray[np.float32]) -> Detections:
        pooling, size = self.model.config.pooling, (photo.shape[0], photo.shape[1])
        chosen = np.unique(spp.choose_scales(windows, size, pooling.scales, pooling.rule))
        scales = [pooling.scales[i] for i in chosen] or pooling.scales[:1]  # maps that no window lies on are not made
        pyramid = features.compute_pyramid(photo, self.body, scales)
        found = detect_windows(Evidence(pyramid, windows, self.model))[1]
        source = Path(image) if isinstance(image, str | os.PathLike) else photo
        return replace(found, classes=self.classes, photo=source)


@dataclass(frozen=True, eq=False)
class Evidence:
    """One model's view of an image.

    Attributes:
        pyramid: maps of its network.
        boxes: float32 (R, 4), image pixels.
        model: SVMs and box regressors.
        softmax: scores in the place of the SVMs, from the features they take.
    """

    pyramid: FeaturePyramid
    boxes: NDArray[np.float32]
    model: Model
    softmax: SoftmaxClassifier | None = None

    def scored(self) -> ScoredWindows:
        """The windows with the model's scores."""
        m = self.model
        return postprocessing.score_windows(self.pyramid, self.boxes, self.softmax or m.svms, m.config.pooling, m.fc)


def detect_windows(*evidence: Evidence, combine: Combine = "union") -> tuple[Detections, Detections]:
    """Score the windows of one image, with one model or several together.

    Args:
        evidence: of models with the same classes; thresholds and overlaps are the first one's.
        combine: "union": every model scores its windows, and suppression is over all of them, so that a model's
            confident window puts down another's less confident one; each box is regressed by the model it came from
            (paper, section 4.4). "mean": the same windows, with the mean of the models' scores and of their
            regressed boxes.

    Returns:
        the detections before and after box regression; the same twice for models without.

    Raises:
        ValueError: the mean of models that see different windows.
    """
    test = evidence[0].model.config.test
    scored = [e.scored() for e in evidence]
    if combine == "mean":
        boxes, scores = _mean_scores(scored)
        first = [0] * len(scored)
    else:
        boxes, scores = (np.concatenate([getattr(s, name) for s in scored]) for name in ("boxes", "scores"))
        first = np.cumsum([0, *(len(s.boxes) for s in scored)]).tolist()
    rows, found = postprocessing.select(boxes, scores, test)
    if not any(e.model.regression for e in evidence):
        return found, found
    moved, count = np.zeros_like(found.boxes), np.zeros((len(rows), 1), np.float32)
    for e, windows, start in zip(evidence, scored, first, strict=False):  # a cumulative sum has one more
        mine = np.flatnonzero((rows >= start) & (rows < start + len(windows.boxes)))
        if e.model.regression:
            moved[mine] += postprocessing.tighten(windows, rows[mine] - start, found.labels[mine], e.model.regression)
            count[mine] += 1
    tightened = np.where(count > 0, moved / np.maximum(count, 1), found.boxes)
    return found, postprocessing.suppress(Detections(tightened, found.scores, found.labels), test.nms_iou)


def _mean_scores(scored: Sequence[ScoredWindows]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The windows that all models scored, and their mean scores."""
    boxes = scored[0].boxes
    if any(not np.array_equal(s.boxes, boxes) for s in scored):
        raise ValueError("the mean of scores is of the same windows; give models that learned from the same proposals")
    mean: NDArray[np.float32] = np.mean([s.scores for s in scored], axis=0)
    return boxes, mean
