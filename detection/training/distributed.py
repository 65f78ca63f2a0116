"""Training by several processes that torchrun starts (torch.distributed)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

PORT = "sppnet-port"  # key in torchrun's store
CONNECT = timedelta(seconds=2)  # to the first process
PATIENCE = timedelta(minutes=30)  # with each other, as torch has it


@dataclass(frozen=True)
class ProcessGroup:
    """Rank of this process and number of processes that train together.

    Attributes:
        rank: rank of this process; the process of rank 0 writes files and reports progress.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> ProcessGroup:
        """Join the processes that torchrun started, by NCCL on GPUs or gloo on CPUs; one process without torchrun."""
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls()
        if not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
                dist.init_process_group(backend, store=_new_store(rank), rank=rank, world_size=size)
            else:
                dist.init_process_group(backend)
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Shut down communication with the other processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def barrier(self) -> None:
        """Wait until all processes reach this call."""
        if self.size > 1:
            dist.barrier()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def synchronize(self, module: nn.Module) -> None:
        """Let the batch normalisation of a module use the batches of all processes."""
        if self.size > 1:
            _synchronize(module)

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return a module that averages gradients, and batch statistics, over all processes."""
        if self.size == 1:
            return module
        self.synchronize(module)
        return nn.parallel.DistributedDataParallel(module, [device] if device.type == "cuda" else None)


def _new_store(rank: int) -> dist.Store:
    """Return a store through which processes find each other that torchrun has started, or started again.

    torchrun's own store still holds the addresses of processes that were killed (torch 2.14), and those that are
    started in their place wait for them. The first process makes another store, and leaves its port in torchrun's.

    Args:
        rank: rank of this process.
    """
    host = os.environ["MASTER_ADDR"]
    shared = dist.TCPStore(host, int(os.environ["MASTER_PORT"]), is_master=False)
    if rank == 0:
        own = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)
        shared.set(PORT, str(own.port))
        return own
    while True:
        try:
            found = dist.TCPStore(host, int(shared.get(PORT)), is_master=False, timeout=CONNECT, wait_for_workers=False)
        except dist.DistNetworkError:  # the port of a first process that was killed
            continue
        found.set_timeout(PATIENCE)
        return found


def is_restarted() -> bool:
    """Tell whether torchrun started this process in place of one that failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def local_device(device: torch.device) -> torch.device:
    """Replace "cuda" without an index by this process's GPU, where torchrun started one process per GPU."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


class SharedDropout(nn.Dropout):
    """Dropout of a batch of which this process has some rows: the one that a single process draws for all rows.

    Attributes:
        rows: int64 (n,), the rows that this process has.
        total: number of rows of the whole batch.
    """

    rows: torch.Tensor
    total: int

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Drop numbers of (n, C)."""
        if not self.training:
            return input
        kept = input.new_empty(self.total, *input.shape[1:]).bernoulli_(1 - self.p).div_(1 - self.p)
        return input * kept[self.rows]


class _SynchronizedBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all processes, on any device; torch's SyncBatchNorm needs GPUs."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, ...) to the same shape."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        values, axes = x.to(torch.promote_types(x.dtype, torch.float32)), [0, *range(2, x.dim())]
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = all_reduce(torch.cat([values.sum(axes), values.square().sum(axes), count]))
        channels, n = values.shape[1], sums[-1]
        mean = sums[:channels] / n
        variance = (sums[channels:-1] / n - mean.square()).clamp_min(0)  # rounding can make it negative
        with torch.no_grad():
            rate = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, rate)
            self.running_var.lerp_(variance * n / (n - 1), rate)
        shape = (1, -1, *(1 for _ in axes[1:]))
        factor = self.weight * (variance + self.eps).rsqrt()
        return ((values - mean.view(shape)) * factor.view(shape) + self.bias.view(shape)).to(x.dtype)


def _synchronize(module: nn.Module) -> None:
    """Make every batch normalisation layer of a module use the batches of all processes."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.__class__ = _SynchronizedBatchNorm
