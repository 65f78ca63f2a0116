"""Results as json files with everything needed to repeat them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sppnet import environment
from sppnet.files import write_text


def write_report(path: Path, result: Mapping[str, Any], settings: Mapping[str, Any], seconds: float) -> None:
    """Write a result with settings, versions, hardware, time and peak memory, in one step.

    Args:
        path: the file; its folder is made if absent.
        result: plain values.
        settings: name -> value of every setting that decided the result.
        seconds: wall time.

    Raises:
        OSError: it cannot be written.
    """
    report = {
        "result": result,
        "settings": settings,
        "seconds": round(seconds, 2),
        "peak_memory_bytes": environment.peak_memory(),
        "versions": environment.versions(),
        "hardware": environment.hardware(),
    }
    write_text(path, json.dumps(report, indent=1, default=os.fspath) + "\n")
