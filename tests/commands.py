"""The commands as functions of their arguments: `train_svms(["--run", run])` returns the exit code."""

from collections.abc import Callable, Iterable

from sppnet.cli import main


def command(name: str) -> Callable[[Iterable[object]], int]:
    """One command by its full name, as "stage train-svms"."""
    return lambda argv: main([*name.split(), *map(str, argv)])


detect, train, demo, evaluate = map(command, ("detect", "train", "demo", "evaluate"))
make_minivoc, fetch_weights = map(command, ("minivoc", "weights"))
extract_proposals, extract_features, finetune, train_svms, train_bbox_regressors, calibrate, test_net = (
    command(f"stage {name}")
    for name in (
        "extract-proposals",
        "extract-features",
        "finetune",
        "train-svms",
        "train-bbox-regressors",
        "calibrate",
        "test-net",
    )
)
