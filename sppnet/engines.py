"""The engine that settings name."""

from __future__ import annotations

import os

from detection.engines.engine import Engine
from detection.storage.mounts import Mounting
from sppnet.settings.shared import EngineSettings


def engine_of(settings: EngineSettings, device: str = "cpu") -> Engine | None:
    """The engine with workers that settings name; None: this process, or what the stage does by itself.

    Args:
        settings: engine and number of workers.
        device: of the networks in the workers; of a Ray cluster, each gets a GPU if it is cuda.
    """
    cores, s = os.cpu_count() or 1, settings
    if s.engine == "ray":
        from detection.engines.ray_cluster import RayCluster

        return Mounting(RayCluster(s.ray_address, s.workers, gpus=1 if device.startswith("cuda") else 0))
    if s.engine == "processes":
        from detection.engines.processes import Processes

        workers = s.workers or cores
        return Mounting(Processes(workers, max(1, cores // workers)))
    return None
