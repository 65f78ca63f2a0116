"""Compare pyramid pooling with torchvision's roi_pool, a loop of adaptive_max_pool2d, and writing the result to memory.

    python benchmarks/pooling.py --devkit datasets/VOCdevkit

The maps are AlexNet's conv5 maps of photos at a short side of 688. Every row pools the same 2,000 windows of selective
search. The results of the rows are compared before timing starts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import roi_pool

from detection import network, spp
from detection.config import PAPER
from detection.features import compute_pyramid, locate
from detection.image import read
from proposals.sources import ProposalSettings, propose

LEVELS = PAPER.pooling.levels
WINDOWS = 2000
MEMORY: dict[tuple[int, int], NDArray[np.float32]] = {}


@dataclass(frozen=True, eq=False)
class Item:
    """One photo.

    Attributes:
        map_chw: float32 (C, h, w), conv5 map.
        cells: int64 (R, 4), cells of 2,000 windows, inclusive.
    """

    map_chw: NDArray[np.float32]
    cells: NDArray[np.int64]


def item(path: Path, body: network.ConvBody) -> Item:
    """Compute the map and the windows of a photo; boxes are repeated if there are fewer than 2,000."""
    image = read(path)
    pyramid = compute_pyramid(image, body, (688,))
    boxes = np.resize(propose(image, ProposalSettings("ss")), (WINDOWS, 4))
    return Item(pyramid.maps[0], locate(pyramid, boxes, PAPER.with_scales((688,)).pooling).windows)


def ours(work: Item, channels_last: bool = False) -> Any:
    """Pool with sppnet into memory that is reused between calls, as the detector does."""
    length = len(work.map_chw) * sum(n * n for n in LEVELS)
    out = MEMORY.setdefault((len(work.cells), length), np.empty((len(work.cells), length), np.float32))
    index = np.zeros(len(work.cells), np.int64)
    return spp.pyramid_pool([work.map_chw], work.cells, index, LEVELS, out, channels_last=channels_last)


def fresh(work: Item) -> Any:
    """Pool with sppnet into newly allocated memory."""
    index = np.zeros(len(work.cells), np.int64)
    return spp.pyramid_pool([work.map_chw], work.cells, index, LEVELS, channels_last=True)


def four_roi_pools(work: Item) -> Any:
    """Pool with torchvision's roi_pool, one call per level, on the same cells."""
    rois = torch.cat([torch.zeros(len(work.cells), 1), torch.from_numpy(work.cells).float()], dim=1)
    batch = torch.from_numpy(work.map_chw)[None]
    return torch.cat([roi_pool(batch, rois, output_size=n).flatten(1) for n in LEVELS], dim=1)


def adaptive_loop(work: Item) -> Any:
    """Pool with torch's adaptive_max_pool2d, window by window."""
    map_chw, out = torch.from_numpy(work.map_chw), []
    for x0, y0, x1, y1 in work.cells.tolist():
        window = map_chw[:, y0 : y1 + 1, x0 : x1 + 1]
        out.append(torch.cat([torch.nn.functional.adaptive_max_pool2d(window, n).flatten() for n in LEVELS]))
    return torch.stack(out)


def only_writing(work: Item) -> Any:
    """Write as many bytes as the result has to newly allocated memory, with as many threads."""
    return torch.full((len(work.cells), len(work.map_chw) * sum(n * n for n in LEVELS)), 1.0)


def check(work: Item) -> dict[str, float]:
    """Return the largest absolute differences from `adaptive_loop`, the reference."""
    expected = adaptive_loop(work).numpy()
    found = {"ours": ours(work), "roi_pool": four_roi_pools(work).numpy()}
    return {name: float(np.abs(values - expected).max()) for name, values in found.items()}


def main() -> None:
    """Run the benchmark and write its report."""
    options = harness.parser(__doc__, "pooling", "devkit", "threads").parse_args()
    harness.use_threads(options.threads)
    started = time.monotonic()
    body = network.build("alexnet")
    items = [item(path, body) for path in harness.photos(options)]
    differences = check(items[0])
    rows = {
        "sppnet": lambda work: ours(work, channels_last=True),
        "sppnet, in the order of the peers": ours,
        "sppnet, fresh memory": fresh,
        "roi_pool, four times": four_roi_pools,
        "adaptive_max_pool2d, a loop": adaptive_loop,
        "only writing the result": only_writing,
    }
    times = harness.seconds(harness.interleaved({n: harness.timed(r) for n, r in rows.items()}, items))
    result: dict[str, Any] = {"differences": differences, "table": harness.table(times), "ratios": {}}
    for mine in list(rows)[:3]:
        for other in list(rows)[3:]:
            slow, fast = (mine, other) if other.startswith("only") else (other, mine)
            result["ratios"][f"{slow} / {fast}"] = r = harness.ratio(times, slow, fast)
            harness.show_ratio(f"{slow} / {fast}", r)
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
