"""Detection with several models together: the union of their windows, or the mean of their scores and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detection import features, postprocessing, spp, voting
from detection.boxes import clip, mirror
from detection.detections import Detections
from detection.features import FeaturePyramid, PlacedWindows
from detection.model import Model
from detection.networks.softmax import SoftmaxClassifier
from detection.voting import Judgement

Combine = Literal["union", "mean"]


@dataclass(frozen=True, eq=False)
class ScoredWindows:
    """The windows of one image with the scores of one model.

    Attributes:
        boxes: float32 (R, 4), image pixels.
        scores: float32 (R, K).
        windows: their positions on the feature pyramid.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    windows: PlacedWindows


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one model sees of an image.

    Attributes:
        pyramid: feature maps of the model's network, of the first view of the image.
        boxes: float32 (R, 4), image pixels.
        model: SVMs and box regressors.
        softmax: classifier that scores the features instead of the SVMs; None: the SVMs score.
        others: feature maps of further views of the image, for models whose voting has several.
    """

    pyramid: FeaturePyramid
    boxes: NDArray[np.float32]
    model: Model
    softmax: SoftmaxClassifier | None = None
    others: Sequence[FeaturePyramid] = ()

    def scored(self) -> ScoredWindows:
        """Pool and score the windows."""
        windows = features.place(self.pyramid, self.boxes, self.model.config.pooling, fc=self.model.fc)
        return ScoredWindows(self.boxes, windows.scores((self.softmax or self.model.svms).scores), windows)

    def judgement(self) -> Judgement:
        """Score and regress the windows; scores and targets are means over the views.

        Windows that no class ranks high on the first view are not pooled on the others; they score minus infinity.
        """
        scores, targets = self._scores_and_targets(self.pyramid, self.boxes)
        if self.others:
            kept = self._ranked_high(scores)
            for pyramid in self.others:
                more_scores, more_targets = self._scores_and_targets(pyramid, self.boxes[kept])
                scores[kept] += more_scores
                targets[kept] += more_targets
            views = np.float32(1 + len(self.others))
            scores, targets = scores / views, targets / views
            scores[np.setdiff1d(np.arange(len(scores)), kept)] = -np.inf
        regression, size = self.model.regression, self.pyramid.image_size

        def regressed(rows: NDArray[np.int64], k: int) -> NDArray[np.floating]:
            if regression is None:
                return self.boxes[rows]
            return clip(regression.apply(self.boxes[rows], np.full(len(rows), k), targets[rows]), size)

        return Judgement(self.boxes, scores, regressed)

    def _ranked_high(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the windows, ascending, that are among the best-scored of some class."""
        voting = self.model.config.test.voting
        count = voting.looked_at_again if voting else len(scores)
        return np.unique(np.argsort(-scores, axis=0, kind="stable")[:count])

    def _scores_and_targets(
        self, pyramid: FeaturePyramid, boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the scores (R, K) and the targets (R, P, 4) of windows on one view, where they are pooled once."""
        model, scorer, k = self.model, self.softmax or self.model.svms, len(self.model.classes)

        def work(pooled: spp.Array) -> NDArray[np.float32]:
            seen = model.fc(pooled) if model.fc else pooled
            parts = [scorer.scores(seen)]
            if model.regression:
                regressed = model.regression.targets_of(seen if model.regression.fc else pooled)
                parts.append(regressed.reshape(len(pooled), -1))
            return np.concatenate(parts, axis=1)

        boxes = mirror(boxes, pyramid.image_size[1]) if pyramid.mirrored else boxes
        found = features.place(pyramid, boxes, model.config.pooling, fc=model.fc).of_pooled(work)
        scores, targets = found[:, :k], found[:, k:].reshape(len(boxes), -1, 4)
        if pyramid.mirrored:
            targets[:, :, 0] *= -1  # dx
        return scores, targets


def detect_windows(*evidence: Evidence, combine: Combine = "union") -> tuple[Detections, Detections]:
    """Detect objects among the windows of one image, with one model or several together.

    Args:
        evidence: models of the same classes with their windows; the first one's thresholds and overlaps apply.
        combine: "union": every model scores its own windows, and suppression runs over all of them, so that a
            confident window of one model suppresses a less confident one of another; each box is regressed by the
            model it comes from (paper, section 4.4). "mean": all models score the same windows; scores and
            regressed boxes are averaged.

    Returns:
        the detections before and after box regression; the same twice if no model has regressors.

    Raises:
        ValueError: "mean" of models with different windows.
    """
    test = evidence[0].model.config.test
    if test.voting:
        judgement = judge(*evidence, combine=combine)
        before = postprocessing.select(judgement.boxes, judgement.scores, test)[1]
        return before, voting.vote(judgement, test, test.voting)
    scored = [e.scored() for e in evidence]
    if combine == "mean":
        boxes, scores = _mean_scores(scored)
        starts = [0] * len(scored)
    else:
        boxes, scores = (np.concatenate([getattr(s, name) for s in scored]) for name in ("boxes", "scores"))
        starts = np.cumsum([0, *(len(s.boxes) for s in scored[:-1])]).tolist()
    rows, found = postprocessing.select(boxes, scores, test)
    if not any(e.model.regression for e in evidence):
        return found, found
    tightened = _mean_boxes(evidence, scored, starts, rows, found)
    return found, postprocessing.suppress(Detections(tightened, found.scores, found.labels), test.nms_iou)


def judge(*evidence: Evidence, combine: Combine = "union") -> Judgement:
    """Return the joint judgement of models about the windows of one image; arguments as of `detect_windows`.

    Raises:
        ValueError: "mean" of models with different windows.
    """
    parts = [e.judgement() for e in evidence]
    if len(parts) == 1:
        return parts[0]
    if combine == "mean":
        boxes, scores = _mean_scores(parts)
        return Judgement(boxes, scores, lambda rows, k: np.mean([p.regressed(rows, k) for p in parts], axis=0))
    starts = np.cumsum([0, *(len(p.boxes) for p in parts)])

    def regressed(rows: NDArray[np.int64], k: int) -> NDArray[np.floating]:
        found = np.empty((len(rows), 4))
        for part, start, stop in zip(parts, starts, starts[1:], strict=False):
            mine = (rows >= start) & (rows < stop)
            found[mine] = part.regressed(rows[mine] - start, k)
        return found

    boxes, scores = (np.concatenate([getattr(p, name) for p in parts]) for name in ("boxes", "scores"))
    return Judgement(boxes, scores, regressed)


def _mean_scores(
    scored: Sequence[ScoredWindows] | Sequence[Judgement],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the windows that all models scored, (R, 4), and their mean scores, (R, K)."""
    boxes = scored[0].boxes
    if any(not np.array_equal(s.boxes, boxes) for s in scored):
        raise ValueError("combine: 'mean' expects the same windows for all models; train them on the same proposals")
    mean: NDArray[np.float32] = np.mean([s.scores for s in scored], axis=0)
    return boxes, mean


def _mean_boxes(
    evidence: Sequence[Evidence],
    scored: Sequence[ScoredWindows],
    starts: Sequence[int],
    rows: NDArray[np.int64],
    found: Detections,
) -> NDArray[np.float32]:
    """Return the mean of the regressed boxes over the models that have scored a window and regress: float32 (N, 4).

    Args:
        evidence: the models.
        scored: their windows.
        starts: row of each model's first window.
        rows: int64 (N,), the window of each detection.
        found: N detections; a box that no model regresses stays as it is.
    """
    total, count = np.zeros_like(found.boxes), np.zeros((len(rows), 1), np.float32)
    for e, s, start in zip(evidence, scored, starts, strict=True):
        if e.model.regression:
            mine = np.flatnonzero((rows >= start) & (rows < start + len(s.boxes)))
            total[mine] += postprocessing.regress(found[mine], rows[mine] - start, s.windows, e.model.regression)
            count[mine] += 1
    mean: NDArray[np.float32] = np.where(count > 0, total / np.maximum(count, 1), found.boxes)
    return mean
