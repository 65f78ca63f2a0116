"""The commands of classification, their usual flags, and folders of photos."""

from PIL import Image

from tests.classification.conftest import picture
from tests.commands import command

classify = command("classify")
train_svms, train_network, show_errors, represent = (
    command(f"classifier {name}") for name in ("train", "train-network", "test", "represent")
)
QUICK = ["--epochs", "2", "--width", "16", "--train-share", "0.5"]


def network_flags(data, tmp_path, *more):
    """A training of seconds in tmp_path/run."""
    return ["--data", data, "--run", tmp_path / "run", *QUICK, *more]


def alexnet_flags(data, run, weights):
    """An AlexNet of these weights."""
    return ["--data", data, "--run", run, "--backbone", "alexnet", "--weights", weights]


def put(root, name, *sizes, mode="RGB"):
    """Make a folder of photos of (height, width)."""
    (root / name).mkdir(parents=True)
    for i, size in enumerate(sizes):
        Image.fromarray(picture(0, i, size)).convert(mode).save(root / name / f"{i}.png")
