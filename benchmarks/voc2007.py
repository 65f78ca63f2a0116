"""Build the accuracy table on VOC 2007 over networks, scales and layers, with the commands that users run.

    python benchmarks/voc2007.py --devkit datasets/VOCdevkit alexnet-688:pool5 lite0-688:pool5 ...

A cell is NETWORK-SCALES:LAYER, or several of them joined by "+", whose models detect together. The expected time of a
cell is printed before it runs. Commands whose report exists are not run again, so the table can be built in parts.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import harness

FIVE = ["480", "576", "688", "864", "1200"]
FEATURES = {
    "alexnet-688": ["--backbone", "alexnet", "--scales", "688"],
    "alexnet-5": ["--backbone", "alexnet", "--scales", *FIVE],
    "vgg16-688": ["--backbone", "vgg16", "--scales", "688", "--precision", "bf16"],
    "vgg16-5": ["--backbone", "vgg16", "--scales", *FIVE, "--precision", "bf16"],
    "lite0-688": ["--backbone", "lite0", "--scales", "688", "--precision", "bf16"],
    "lite0-5": ["--backbone", "lite0", "--scales", *FIVE, "--precision", "bf16"],
    "lite1-688": ["--backbone", "lite1", "--scales", "688", "--precision", "bf16"],
    "lite2-688": ["--backbone", "lite2", "--scales", "688", "--precision", "bf16"],
}
LAYERS = {
    "pool5": ["--features", "pool5"],
    "fc6": ["--features", "fc6", "--head", "imagenet"],
    "fc7": ["--features", "fc7", "--head", "imagenet"],
    "ftfc6": ["--features", "fc6"],
    "ftfc7": ["--features", "fc7"],
}
SPLITS = {  # that each command reads
    "extract_features": ("train", "test"),
    "finetune": ("train",),
    "train_svms": ("train",),
    "test_net": ("test",),
}
# At 688 on two cores; five scales take 6 times as long.
SECONDS_PER_PHOTO = {"alexnet": 0.1, "vgg16": 1.05, "lite0": 0.12, "lite1": 0.16, "lite2": 0.2}
CHANNELS = {"alexnet": 256, "vgg16": 512, "lite0": 320, "lite1": 320, "lite2": 352}
SVM_SECONDS = 0.17 / 256  # per photo and channel of pool5, with mining and box regressors


class Table:
    """Runs the missing commands of a cell and collects their reports.

    Args:
        data: command-line flags that name the data.
        splits: names of the "train" and "test" splits.
        runs: folder of the run folders, one per network and scales.
        photos: number of training photos, for the forecast of the time.
    """

    def __init__(self, data: list[str], splits: dict[str, str], runs: Path, photos: int) -> None:
        self.data, self.splits, self.runs, self.photos = data, splits, runs, photos

    def cell(self, name: str) -> dict[str, Any]:
        """Return the scores, times and commands of one cell."""
        parts = [tuple(part.split(":")) for part in name.split("+")]
        print(f"\n{name}: about {sum(self._minutes(*part) for part in parts):.0f} minutes on two cores", flush=True)
        stages = [stage for part in parts for stage in self._train(*part)]
        models = [flag for network, layer in parts for flag in ("--model", str(self.runs / network / layer))]
        run = self.runs / parts[0][0]
        stages.append(self._stage(f"{name} test", "test_net", ["--run", str(run), *models], self._report(name)))
        result = stages[-1]["report"]["result"]
        scores = {
            stage: {"map": result[stage]["mean_ap"], "coco_ap": result[stage]["coco"]["ap"]}
            for stage in ("windows", "regressed")
            if stage in result
        }
        keys = ("command", "seconds", "peak_memory_bytes")
        return {"scores": scores, "stages": [{k: s[k] for k in keys} for s in stages]}

    def _train(self, network: str, layer: str) -> list[dict[str, Any]]:
        """Extract features, fine-tune layers if needed, and train the model of one network."""
        run = self.runs / network
        flags = ["--run", str(run)]
        done = [
            self._stage(f"{network} features", "extract_features", [*flags, *FEATURES[network]], run / "features.json")
        ]
        if layer.startswith("ft"):
            done.append(self._stage(f"{network} layers", "finetune", flags, run / "finetune.json"))
        flags += ["--model-name", layer, *LAYERS[layer]]
        return [*done, self._stage(f"{network} {layer}", "train_svms", flags, run / f"{layer}-svms.json")]

    def _stage(self, what: str, tool: str, flags: list[str], report: Path) -> dict[str, Any]:
        """Run a command unless its report exists; return the report."""
        splits = [flag for kind in SPLITS[tool] for flag in (f"--{kind}-split", self.splits[kind])]
        command = [f"tools/{tool}.py", *self.data, *splits, *flags]
        print(f"{what}: {'done' if report.is_file() else 'python ' + ' '.join(command)}", flush=True)
        if not report.is_file():
            harness.run_python(*command, "--json", str(report.resolve()))
        found = json.loads(report.read_text())
        kept = {key: found[key] for key in ("seconds", "peak_memory_bytes")}
        return {"command": " ".join(command), "report": found, **kept}

    def _report(self, name: str) -> Path:
        return self.runs / f"{name.replace(':', '-')}-test.json"

    def _minutes(self, network: str, layer: str) -> float:
        """Estimate the minutes still needed, from rates measured on two cores."""
        body, _, scales = network.partition("-")
        run, seconds = self.runs / network, 0.0
        if not (run / "features.json").is_file():
            seconds += self.photos * 1.2 * SECONDS_PER_PHOTO[body] * (6 if scales == "5" else 1)
        if layer.startswith("ft") and not (run / "finetune.json").is_file():
            seconds += 6000 * 0.15
        if not (run / f"{layer}-svms.json").is_file():
            seconds += self.photos * SVM_SECONDS * CHANNELS[body]
        return seconds / 60 + 2


def main() -> int:
    """Compute the cells and add them to the report."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument(
        "cells",
        nargs="+",
        metavar="CELL",
        help=f"NETWORK-SCALES:LAYER of {', '.join(FEATURES)} and {', '.join(LAYERS)}",
    )
    flags.add_argument("--devkit", type=Path, required=True, help="a VOCdevkit with VOC2007")
    flags.add_argument("--runs", type=Path, default=Path("runs/table"), help="folder of the run folders (%(default)s)")
    flags.add_argument("--train-split", default="trainval", help="split of the training photos (%(default)s)")
    flags.add_argument("--test-split", default="test", help="split of the test photos (%(default)s)")
    flags.add_argument(
        "--json", type=Path, default=harness.RESULTS / "voc2007.json", help="file of the report (%(default)s)"
    )
    options = flags.parse_args()
    for part in (part for cell in options.cells for part in cell.split("+")):
        network, _, layer = part.partition(":")
        if network not in FEATURES or layer not in LAYERS:
            flags.error(f"{part}: expected NETWORK-SCALES:LAYER of {', '.join(FEATURES)} and {', '.join(LAYERS)}")
    lists = options.devkit / "VOC2007/ImageSets/Main"
    photos = len((lists / f"{options.train_split}.txt").read_text().split())
    data = ["--voc2007", "--devkit", str(options.devkit.resolve())]
    splits = {"train": options.train_split, "test": options.test_split}
    table = Table(data, splits, options.runs.resolve(), photos)
    results = json.loads(options.json.read_text()) if options.json.is_file() else {}
    for name in options.cells:
        results[f"{options.train_split} {options.test_split} {name}"] = cell = table.cell(name)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{name}: " + ", ".join(f"{stage} {100 * s['map']:.1f}" for stage, s in cell["scores"].items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
