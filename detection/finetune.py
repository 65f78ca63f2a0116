"""Fine-tuning of fc6, fc7 and a new softmax layer on pooled windows; the convolutions are frozen.

Paper section 4.1; spp_finetune_voc.m and its solver. The authors' program keeps the snapshot that is best on test
images; this one validates on held-out training images.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.config import FinetuneConfig
from detection.networks.bfloat16 import autocast
from detection.networks.fc_head import FcHead
from detection.training import checkpoint
from detection.training.batches import Block, WindowBatches
from detection.training.distributed import ProcessGroup, SharedDropout

log = logging.getLogger(__name__)
CHECKPOINT, FORMAT = "finetune.pt", 3
NEW_LAYER_STD = 0.01  # standard deviation of the softmax layer's initial weights
BOX_LAYER_STD = 0.001  # of the box layer's; Fast R-CNN, section 4.1
TARGET_STD = (0.1, 0.1, 0.2, 0.2)  # by which targets are divided for the box loss; Fast R-CNN's program
BIAS_RATE = 2.0  # factor on the learning rate of biases; the authors' network definition


class WindowClassifier(nn.Module):
    """fc6, fc7 and a (K + 1)-way softmax layer, background first; optionally a layer that regresses boxes.

    Args:
        head: fc6 and fc7 with their initial weights.
        n_classes: K.
        boxes: add the layer that regresses boxes, with four outputs per class (Fast R-CNN, section 2.1).
    """

    def __init__(self, head: FcHead, n_classes: int, boxes: bool = False) -> None:
        super().__init__()
        self.head = head
        self.fc8 = nn.Linear(head.fc7.out_features, n_classes + 1)
        self.fc_boxes = nn.Linear(head.fc7.out_features, 4 * n_classes) if boxes else None
        for layer, std in ((self.fc8, NEW_LAYER_STD), (self.fc_boxes, BOX_LAYER_STD)):
            if layer is not None:
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)

    def forward(self, pool5: torch.Tensor) -> torch.Tensor:
        """Return logits: float32 (R, D) -> (R, K + 1)."""
        logits: torch.Tensor = self.fc8(self.head(pool5))
        return logits


@dataclass(frozen=True)
class FinetuneOptions:
    """Runtime options of fine-tuning.

    Attributes:
        folder: folder of the checkpoint.
        device: device of the layers.
        seed: random seed of dropout.
        validate_every: iterations between two validations, each followed by a checkpoint.
        bfloat16: compute products in bfloat16 on devices that have it.
        box_loss: weight of the box loss, for classifiers with a box layer.
    """

    folder: Path
    device: torch.device
    seed: int
    validate_every: int
    bfloat16: bool = True
    box_loss: float = 1.0


@dataclass(frozen=True)
class CurvePoint:
    """One validation of a training.

    Three windows of four are background, so accuracy rewards a classifier that rarely names an object. The average
    precision tells which weights detect better, and decides which are kept.

    Attributes:
        iteration: number of finished iterations.
        learning_rate: rate of the last iteration.
        loss: mean cross-entropy of the training windows since the previous point.
        accuracy: share of them that is classified correctly.
        validation_loss: mean cross-entropy of the validation windows.
        validation_accuracy: share of them that is classified correctly.
        validation_ap: `window_ap` of the validation windows.
    """

    iteration: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_ap: float


class Finetuning:
    """A training that resumes from its checkpoint after an interruption.

    Args:
        model: the layers, trained in place.
        batches: batches of windows of the training images.
        validation: blocks of windows of held-out images.
        config: learning rates, momentum, weight decay.
        options: device, seed, checkpoints.
        key: fingerprint of the training; a checkpoint of another one is ignored.
        group: processes that share every batch, those of `batches` too. The first one validates and writes.

    Attributes:
        iteration: number of finished iterations.
        curve: the validations so far.
        best: weights of the best validation so far.
    """

    def __init__(
        self,
        model: WindowClassifier,
        batches: WindowBatches,
        validation: Sequence[Block],
        config: FinetuneConfig,
        options: FinetuneOptions,
        key: str,
        group: ProcessGroup | None = None,
    ) -> None:
        self.model, self.batches, self.validation = model.to(options.device), batches, validation
        self.config, self.options, self.group = config, options, group or ProcessGroup()
        self.group.synchronize(model)
        if self.group.size > 1:
            model.head.dropout = SharedDropout(model.head.dropout.p)
        self.key = hashlib.sha256(repr((FORMAT, key, config, options.seed, batches.batches)).encode()).hexdigest()
        self.optimizer = torch.optim.SGD(
            _groups(model, config), lr=config.schedule[0][1], momentum=config.momentum, fused=True
        )
        self.iteration = 0
        self.curve: list[CurvePoint] = []
        self.best: dict[str, torch.Tensor] = {}
        self._sums = np.zeros(3)  # loss, correct answers, windows since the last point

    @property
    def iterations(self) -> int:
        """Number of iterations of the whole schedule."""
        return sum(count for count, _ in self.config.schedule)

    def run(self, on_iteration: Callable[[int, float], None] = lambda iteration, loss: None) -> None:
        """Train to the end of the schedule; the first process's model then holds the weights of the best validation.

        Args:
            on_iteration: called with the number of finished iterations and the loss of the last one.

        Raises:
            ValueError: the loss is not finite; the last checkpoint stays.
        """
        self._resume()
        size = self.batches.batches
        last = -(-self.iterations // size)
        for number, block in enumerate(self.batches.stream(self.iteration // size, last), self.iteration // size):
            for j in range(self.iteration - number * size, min(size, self.iterations - number * size)):
                loss = self._step(block, j)
                on_iteration(self.iteration, loss)
                due = self.iteration % self.options.validate_every == 0 or self.iteration == self.iterations
                if due and self.group.rank == 0:
                    self._validate()
                    self._save()
        if self.group.rank == 0:
            self.model.load_state_dict(self.best)
        self.model.eval()

    def learning_rate(self, iteration: int) -> float:
        """Return the scheduled rate of an iteration, counted from 0."""
        for count, rate in self.config.schedule:
            if iteration < count:
                return rate
            iteration -= count
        return self.config.schedule[-1][1]

    def _step(self, block: Block, j: int) -> float:
        """Run one iteration on batch j of a block; return its loss."""
        rate = self.learning_rate(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self.model.train()
        torch.manual_seed(self.options.seed * 1_000_003 + self.iteration)  # a resumed run repeats the dropout
        pool5, labels = self._tensors(block, j)
        mine, total = block.mine[j], len(block.mine[j])
        if isinstance(self.model.head.dropout, SharedDropout):
            self.model.head.dropout.rows, self.model.head.dropout.total = torch.from_numpy(np.flatnonzero(mine)), total
        with autocast(self.options.device, self.options.bfloat16):
            fc7 = self.model.head(pool5)
            logits = self.model.fc8(fc7)
        loss = _mean_loss(logits, labels, total)
        if self.model.fc_boxes is not None:
            targets = block.targets[j][mine[: len(block.targets[j])]]
            loss = loss + self.options.box_loss * self._box_loss(fc7, labels, targets, total)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._share_gradients()
        self.optimizer.step()
        right = (logits.argmax(1) == labels).sum()
        value, accurate = self.group.sum(torch.stack([loss.detach().double(), right.double()])).tolist()
        if not math.isfinite(value):
            raise ValueError(
                f"fine-tuning: loss {value} at iteration {self.iteration} with learning rate {rate:g}; "
                "start again with a lower rate"
            )
        self.iteration += 1
        self._sums += value * total, accurate, total
        return value

    def _share_gradients(self) -> None:
        """Add up the gradients of all processes, each of which has those of its part of the batch's loss."""
        if self.group.size > 1:
            for p in self.model.parameters():
                p.grad = self.group.sum(torch.zeros_like(p) if p.grad is None else p.grad)

    def _box_loss(
        self, fc7: torch.Tensor, labels: torch.Tensor, targets: NDArray[np.float32], total: int
    ) -> torch.Tensor:
        """Smooth L1 loss of the positives' boxes, summed over coordinates; mean over all `total` windows of the batch.

        Source: Fast R-CNN, section 2.3.
        """
        assert self.model.fc_boxes is not None
        wanted = torch.from_numpy(targets / np.array(TARGET_STD, np.float32)).to(fc7.device)  # (P, 4)
        with autocast(self.options.device, self.options.bfloat16):
            found = self.model.fc_boxes(fc7[: len(wanted)])
        rows = torch.arange(len(wanted), device=fc7.device)
        found = found.float().unflatten(1, (-1, 4))[rows, labels[: len(wanted)] - 1]
        return nn.functional.smooth_l1_loss(found, wanted, reduction="sum") / total

    def _validate(self) -> None:
        """Add a point to the curve; keep the weights if they are the best so far."""
        self.model.eval()
        batches = [self._tensors(block, j) for block in self.validation for j in range(len(block))]
        with torch.inference_mode(), autocast(self.options.device, self.options.bfloat16):
            logits = torch.cat([self.model(pool5).float().cpu() for pool5, _ in batches])
        labels = torch.cat([labels.cpu() for _, labels in batches])
        loss = nn.functional.cross_entropy(logits, labels).item()
        right = (logits.argmax(1) == labels).float().mean().item()
        total, accurate, seen = self._sums.tolist()
        rate = self.learning_rate(self.iteration - 1)
        ap = window_ap(logits.softmax(1).numpy(), labels.numpy())
        point = CurvePoint(self.iteration, rate, total / seen, accurate / seen, loss, right, ap)
        if not self.best or point.validation_ap > max(p.validation_ap for p in self.curve):
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        self.curve.append(point)
        self._sums[:] = 0
        log.info(
            "iteration %d: loss %.4f, accuracy %.4f; validation %.4f, %.4f, AP %.4f", point.iteration,
            point.loss, point.accuracy, point.validation_loss, point.validation_accuracy, point.validation_ap,
        )  # fmt: skip

    def _tensors(self, block: Block, j: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what this process has of batch j, on the device: float32 (n, D), int64 (n,)."""
        mine = slice(None) if block.mine[j].all() else block.mine[j]
        pool5 = torch.from_numpy(block.features[j][mine]).to(self.options.device).float()
        return pool5, torch.from_numpy(block.labels[j][mine]).to(self.options.device)

    def _save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(
            self.options.folder / CHECKPOINT,
            self.key,
            iteration=self.iteration,
            curve=[list(vars(p).values()) for p in self.curve],
            model=self.model.state_dict(),
            best=self.best,
            optimizer=self.optimizer.state_dict(),
        )

    def _resume(self) -> None:
        """Load the checkpoint of the same training, if there is one."""
        state = checkpoint.load(self.options.folder / CHECKPOINT, self.key)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.best = state["iteration"], state["best"]
        self.curve = [CurvePoint(*values) for values in state["curve"]]
        log.info("resuming at iteration %d of %d", self.iteration, self.iterations)


def _mean_loss(logits: torch.Tensor, labels: torch.Tensor, total: int) -> torch.Tensor:
    """Return the part of some windows in the mean cross-entropy of a batch of `total`."""
    if len(labels) == total:
        return nn.functional.cross_entropy(logits.float(), labels)
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum") / total


def window_ap(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the mean average precision with which the windows of each class are found among all windows.

    Args:
        scores: float32 (W, K + 1), background first.
        labels: int64 (W,), 0 for background; classes without a window are left out of the mean.
    """
    from sklearn.metrics import average_precision_score  # takes a second to import, and 80 MB

    present = np.unique(labels[labels > 0])
    return float(np.mean([average_precision_score(labels == k, scores[:, k]) for k in present]))


def _groups(model: WindowClassifier, config: FinetuneConfig) -> list[dict[str, Any]]:
    """Return the parameters with their factor on the learning rate and their weight decay, for the optimiser."""
    groups = []
    for name, parameter in model.named_parameters():
        bias = name.endswith("bias")
        decay = 0.0 if name == "fc8.bias" else config.weight_decay
        groups.append({"params": [parameter], "rate": BIAS_RATE if bias else 1.0, "weight_decay": decay})
    return groups
