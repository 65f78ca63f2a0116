"""Estimate time, disk, network and money for any number of photos, classes and machines, and name what limits each.

    python benchmarks/scale.py --nodes 1 10 100 --cores 16

Seconds and bytes per photo are rounded from docs/results.md (5,008 photos of VOC 2007, two cores); what storage and
networks give, the price, and how training grows with the classes are assumptions. Give others by flags. The sheet is
arithmetic, not a measurement: work on photos is divided evenly, nothing else runs on the machines.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields

import harness

GB = 1e9


@dataclass(frozen=True)
class Costs:
    """What was measured or is assumed, on one core unless it says otherwise.

    Attributes:
        windows: seconds per photo of selective search.
        features: seconds per photo of Lite0 at a short side of 688.
        detection: seconds per photo from stored features to detections of `best` inference.
        training: seconds per photo of fine-tuning, SVMs, box regressors and probabilities of 20 classes, one machine.
            What torchrun and mining in rounds share with other machines is not counted, so this is an upper bound.
        training_classes: share of it that grows with the classes, assumed.
        map_bytes: bytes per photo of stored maps.
        photo_bytes: bytes per photo file.
        hand_out: seconds per photo of the program that hands out the work.
        storage: bytes per second that the shared storage gives to all machines together, assumed.
        link: bytes per second of a machine's network, assumed.
        price: money per core and hour, assumed.
    """

    windows: float = 0.17
    features: float = 0.17
    detection: float = 0.55
    training: float = 0.56
    training_classes: float = 0.6
    map_bytes: float = 1.1e6
    photo_bytes: float = 0.1e6
    hand_out: float = 0.5e-3
    storage: float = 1 * GB
    link: float = 1.25 * GB
    price: float = 0.05


@dataclass(frozen=True)
class Size:
    """A data set and a cluster."""

    photos: float
    classes: int
    nodes: int
    cores: int


def stages(c: Costs, size: Size) -> dict[str, dict[str, float]]:
    """Return the seconds that each limit alone would allow for each stage: stage -> limit -> seconds."""
    cores = size.nodes * size.cores
    bandwidth = min(c.storage, c.link * size.nodes)

    def shared(seconds: float, moved: float) -> dict[str, float]:
        return {
            "cores": size.photos * seconds / cores,
            "storage": size.photos * moved / bandwidth,
            "handing out": size.photos * c.hand_out,
        }

    per_photo = c.training * (1 - c.training_classes + c.training_classes * size.classes / 20)
    return {
        "windows": shared(c.windows, c.photo_bytes),
        "features": shared(c.features, c.photo_bytes + c.map_bytes),
        "training": {"one machine": size.photos * per_photo},
        "detection": shared(c.detection, c.map_bytes),
    }


def estimate(c: Costs, size: Size) -> dict[str, float | str]:
    """Return hours, bytes, network rate and money of a whole training and test, and the stage and limit behind most."""
    limits = {stage: max(found.items(), key=lambda item: item[1]) for stage, found in stages(c, size).items()}
    seconds = {stage: time for stage, (_, time) in limits.items()}
    total, slowest = sum(seconds.values()), max(seconds, key=lambda stage: seconds[stage])
    alone = seconds["training"]  # on one machine; the others are not paid for meanwhile
    moved = size.photos * (2 * c.photo_bytes + 2 * c.map_bytes)
    return {
        "hours": total / 3600,
        "disk_gb": size.photos * c.map_bytes / GB,
        "network_mb_a_second": moved / max(total - alone, 1e-9) / 1e6,
        "money": ((total - alone) * size.nodes + alone) / 3600 * size.cores * c.price,
        "limit": f"{slowest}: {limits[slowest][0]}",
        "stored_maps_pay": "yes" if c.map_bytes / (c.storage / size.nodes) < c.features / size.cores else "no",
    }


def main() -> None:
    """Print the sheet, and write it as JSON."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flags.add_argument("--photos", type=float, nargs="+", default=[1e4, 1e5, 1e6, 1e7], help="numbers of photos")
    flags.add_argument("--classes", type=int, nargs="+", default=[20, 1200], help="numbers of classes")
    flags.add_argument("--nodes", type=int, nargs="+", default=[1, 10, 100, 1000], help="numbers of machines")
    flags.add_argument("--cores", type=int, default=16, help="cores of each (%(default)s)")
    flags.add_argument("--json", default=harness.RESULTS / "scale.json", help="file of the sheet (%(default)s)")
    for field in fields(Costs):
        flags.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    options = vars(flags.parse_args())
    costs = Costs(**{field.name: options[field.name] for field in fields(Costs)})
    rows = []
    print("| photos | classes | machines | hours | maps, GB | network, MB/s | money | limit | reading maps pays |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in (
        Size(p, k, n, options["cores"]) for p in options["photos"] for k in options["classes"] for n in options["nodes"]
    ):
        found = estimate(costs, size)
        rows.append({**asdict(size), **found})
        print(
            f"| {size.photos:,.0f} | {size.classes} | {size.nodes} | {found['hours']:,.1f} | {found['disk_gb']:,.0f} "
            f"| {found['network_mb_a_second']:,.0f} | {found['money']:,.0f} | {found['limit']} "
            f"| {found['stored_maps_pay']} |"
        )
    with open(options["json"], "w") as file:
        json.dump({"costs": asdict(costs), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
