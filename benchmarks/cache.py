"""Compare the feature cache with raw maps: bytes on disk, and time to read maps back instead of computing them.

    python benchmarks/cache.py --devkit datasets/VOCdevkit

The maps are AlexNet's at the paper's five scales. Raw maps are uncompressed float32. Files are read from the operating
system's page cache.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import harness

from detection import features, network
from detection.cache import FeatureCache
from detection.config import PAPER
from detection.image import read

VOC07_IMAGES = 9963


def main() -> None:
    """Run the benchmark and write its report."""
    options = harness.parser(__doc__, "cache", "devkit", "threads").parse_args()
    harness.use_threads(options.threads)
    started, photos = time.monotonic(), harness.photos(options)
    body, scales = network.build("alexnet"), PAPER.pooling.scales
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(folder, features.cache_manifest(body, scales))
        raw = stored = 0
        for path in photos:
            pyramid = features.compute_pyramid(read(path), body, scales)
            features.store_pyramid(cache, path.stem, pyramid)
            raw += sum(m.nbytes for m in pyramid.maps)
            stored += cache.path(path.stem).stat().st_size
        rows = {
            "compute": harness.timed(lambda path: features.compute_pyramid(read(path), body, scales)),
            "read back": harness.timed(lambda path: features.load_pyramid(cache, Path(path).stem)),
        }
        times = harness.seconds(harness.interleaved(rows, photos))
    result: dict[str, Any] = {
        "table": harness.table(times),
        "ratio": harness.ratio(times, "compute", "read back"),
        "bytes_a_photo": {"raw": raw / len(photos), "cache": stored / len(photos)},
        "raw_over_cache": raw / stored,
        "voc07_bytes": stored / len(photos) * VOC07_IMAGES,
    }
    harness.show_ratio("compute / read back", result["ratio"])
    print(f"raw / cache: {raw / stored:.1f} times; {VOC07_IMAGES} photos: {result['voc07_bytes'] / 1e9:.1f} GB")
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
