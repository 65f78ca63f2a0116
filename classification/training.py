"""Gradient-descent training of a network, at one size or at several in turn (paper, section 2.3)."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from classification.config import TrainConfig
from classification.network import SPPNet
from classification.photos import CentreViews, Key, TrainingViews, batches
from detection.networks.bfloat16 import autocast
from detection.training import checkpoint
from detection.training.distributed import ProcessGroup

log = logging.getLogger(__name__)
CHECKPOINT, FORMAT = "training.pt", 1
BIAS_RATE = 2.0  # learning rate of biases over that of weights; the authors' network definition
DROPS = 2  # reductions of the learning rate with `patience`; the next one ends the training


@dataclass(frozen=True)
class TrainOptions:
    """Runtime options of a training.

    Attributes:
        folder: folder of the checkpoint.
        device: device of the layers.
        seed: random seed of the order of photos, of dropout and of randomly drawn sizes.
        bfloat16: whether products are computed in bfloat16, where the device supports it.
        workers: processes that read photos and draw views; 0, the main process alone, is best on a CPU.
    """

    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    bfloat16: bool = True
    workers: int = 0


@dataclass(frozen=True)
class EpochPoint:
    """Losses and accuracies of one epoch, means over the photos; validation uses centre crops."""

    epoch: int
    size: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


class Training:
    """Training of a network that can be interrupted after any epoch and resumed.

    Args:
        net: the network, trained in place.
        views: views of the training photos.
        validation: centre crops of held-out photos, or None.
        config: learning rates, sizes, epochs.
        options: device, seed, folder of the checkpoint.
        key: identifies data and settings; a checkpoint with another key is not resumed.
        group: processes that share each batch.
    """

    def __init__(
        self,
        net: SPPNet,
        views: TrainingViews,
        validation: CentreViews | None,
        config: TrainConfig,
        options: TrainOptions,
        key: str,
        group: ProcessGroup = ProcessGroup(),  # noqa: B008 (frozen)
    ) -> None:
        self.net, self.views, self.validation = net.to(options.device), views, validation
        self.config, self.options, self.group = config, options, group
        self.key = hashlib.sha256(repr((FORMAT, key, config, options.seed)).encode()).hexdigest()
        self.optimizer = torch.optim.SGD(_parameter_groups(net, config), lr=config.rate, momentum=config.momentum)
        self.scheduler = _scheduler(self.optimizer, config)
        self.epoch = 0
        self.curve: list[EpochPoint] = []

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or `patience` has reduced the learning rate more than `DROPS` times."""
        lowest = self.config.rate * 10 ** -(DROPS + 0.5)
        return self.epoch >= self.config.epochs or self.optimizer.param_groups[0]["lr"] < lowest

    def size(self, epoch: int) -> int:
        """Return the side in pixels of the views of an epoch.

        Sizes take turns so that the last epoch uses the first size; the final batch statistics belong to it.
        """
        sizes = self.config.sizes
        if self.config.random_size:
            rng = np.random.default_rng([self.options.seed, epoch])
            return int(rng.integers(min(sizes), max(sizes), endpoint=True))
        return sizes[(self.config.epochs - 1 - epoch) % len(sizes)]

    def run(self, on_epoch: Callable[[EpochPoint], None] = lambda point: None) -> None:
        """Train until finished, from the checkpoint if there is one.

        Args:
            on_epoch: called after each epoch, in the process of rank 0 only.

        Raises:
            ValueError: the loss is infinite or NaN; the last checkpoint is kept.
        """
        self._resume()
        shared = self.group.wrap(self.net, self.options.device)
        while not self.finished:
            started, size, rate = time.monotonic(), self.size(self.epoch), self.optimizer.param_groups[0]["lr"]
            loss, accuracy = self._train(shared, size)
            validation_loss, validation_accuracy = self._validate()
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(loss if validation_loss is None else validation_loss)
            else:
                self.scheduler.step()
            self.epoch += 1
            seconds = time.monotonic() - started
            point = EpochPoint(
                self.epoch, size, rate, loss, accuracy, validation_loss, validation_accuracy, round(seconds, 2)
            )
            self.curve.append(point)
            if self.group.rank == 0:
                self._save()
                on_epoch(point)
            self.group.barrier()
        self.net.eval()

    def _train(self, shared: nn.Module, size: int) -> tuple[float, float]:
        """Train one epoch and return mean loss and accuracy."""
        self.net.train()
        seed, n = self.options.seed, len(self.views.photos)
        order = np.random.default_rng([seed, self.epoch]).permutation(n)
        sums = torch.zeros(3, dtype=torch.float64)
        for number, (images, labels, whole) in enumerate(self._batches(self.views, order, size, self.config.batch)):
            # A resumed training draws the same dropout.
            torch.manual_seed(_derived_seed(seed, self.epoch, number, self.group.rank))
            with autocast(self.options.device, self.options.bfloat16):
                logits = shared(images)
            losses = nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
            self.optimizer.zero_grad(set_to_none=True)
            (losses * (self.group.size / whole)).backward()  # gradients are then averaged over the processes
            self.optimizer.step()
            sums += _batch_sums(losses, logits, labels)
            if not math.isfinite(losses.item()):
                raise ValueError(f"training: loss {losses.item()} in epoch {self.epoch + 1}; give a lower --rate")
        loss, right, seen = self.group.sum(sums.to(self.options.device)).tolist()
        return loss / seen, right / seen

    @torch.inference_mode()
    def _validate(self) -> tuple[float | None, float | None]:
        """Return mean loss and accuracy on the held-out photos; None without held-out photos."""
        if self.validation is None:
            return None, None
        self.net.eval()
        sums = torch.zeros(3, dtype=torch.float64)
        order = np.arange(len(self.validation.photos))
        for images, labels, _ in self._batches(self.validation, order, 0, self.config.batch):
            with autocast(self.options.device, self.options.bfloat16):
                logits = self.net(images).float()
            losses = nn.functional.cross_entropy(logits, labels, reduction="sum")
            sums += _batch_sums(losses, logits, labels)
        loss, right, seen = self.group.sum(sums.to(self.options.device)).tolist()
        return loss / seen, right / seen

    def _batches(
        self, views: TrainingViews | CentreViews, order: np.ndarray, size: int, batch: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """Yield this process's images and labels of each batch, on the device, and the size of the whole batch."""
        parts = list(batches(len(order), batch, self.group.rank, self.group.size))
        keys: list[list[Key]] = [[(self.epoch, size, int(order[i])) for i in places] for places, _ in parts]
        loader = DataLoader(
            views, batch_sampler=keys, num_workers=self.options.workers, pin_memory=self.options.device.type == "cuda"
        )
        for (images, labels), (_, whole) in zip(loader, parts, strict=True):
            moved = images.to(self.options.device, memory_format=torch.channels_last, non_blocking=True)
            yield moved, labels.to(self.options.device, non_blocking=True), whole

    def _save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(
            self.options.folder / CHECKPOINT,
            self.key,
            epoch=self.epoch,
            curve=[list(vars(p).values()) for p in self.curve],
            net=self.net.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scheduler=self.scheduler.state_dict(),
        )

    def _resume(self) -> None:
        """Load the checkpoint of the same training, if there is one."""
        state = checkpoint.load(self.options.folder / CHECKPOINT, self.key)
        if state is None:
            return
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]
        self.curve = [EpochPoint(*values) for values in state["curve"]]
        log.info("resuming after epoch %d of %d", self.epoch, self.config.epochs)


def _scheduler(optimizer: torch.optim.Optimizer, config: TrainConfig) -> MultiStepLR | ReduceLROnPlateau:
    """Build the scheduler that divides the learning rate by 10: at fixed epochs, or when the loss stops falling."""
    if config.patience is not None:
        return ReduceLROnPlateau(optimizer, factor=0.1, patience=config.patience - 1)
    return MultiStepLR(optimizer, [max(1, round(part * config.epochs)) for part in config.drops])


def _batch_sums(losses: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of losses, the number of correct predictions and the number of photos: float64 (3,)."""
    right = (logits.argmax(1) == labels).sum().item()
    return torch.tensor([losses.item(), right, len(labels)], dtype=torch.float64)


def _derived_seed(*numbers: int) -> int:
    """Derive a random seed from several numbers."""
    return int(np.random.default_rng(numbers).integers(2**63))


def _parameter_groups(net: SPPNet, config: TrainConfig) -> list[dict[str, Any]]:
    """Split the trainable parameters: weights with weight decay; biases and normalisation without, at a higher rate."""
    trained = [p for p in net.parameters() if p.requires_grad]
    weights, others = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() == 1]
    return [
        {"params": weights, "lr": config.rate, "weight_decay": config.weight_decay},
        {"params": others, "lr": config.rate * BIAS_RATE, "weight_decay": 0.0},
    ]
