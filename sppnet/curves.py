"""Training curves as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detection.files import write_atomically

CURVE = "curve"


def write_curve(folder: Path, curve: Sequence[Any], step: str = "iteration") -> None:
    """Write the losses and accuracies of a training as curve.csv and curve.png.

    Args:
        folder: must exist.
        curve: dataclass instances with a field named `step`; fields `loss`, `accuracy`, `ap` and the same with
            `validation_` before them are drawn.
        step: name of the horizontal axis.

    Raises:
        OSError: a file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a quarter of a second to import

    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(curve[0])))
    writer.writeheader()
    writer.writerows(asdict(p) for p in curve)
    write_atomically(folder / f"{CURVE}.csv", [text.getvalue().encode()])
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    shown = [name for name in ("loss", "accuracy", "ap") if hasattr(curve[0], f"validation_{name}")]
    for axes, name in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for field, label, style in ((name, "training", "--"), (f"validation_{name}", "validation", "-")):
            if hasattr(curve[0], field):
                axes.plot([getattr(p, step) for p in curve], [getattr(p, field) for p in curve], style, label=label)
        axes.set(xlabel=step, ylabel={"ap": "average precision of windows"}.get(name, name))
        axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(folder / f"{CURVE}.png", [picture.getvalue()])
