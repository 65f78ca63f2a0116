"""Fine-tuned layers on a disk that fails, and what killed trainings of them leave."""

import json
import shutil

import pytest

from detection.files import write_atomically
from sppnet.detector import finetuning
from sppnet.detector.head_files import read_notes
from tests import commands
from tests.damage import flip_bits, without_checksum

SCHEDULE = ["--schedule", "6:1e-3,2:1e-4", "--width", "24", "--block", "3", "--validate-every", "2"]


@pytest.fixture(scope="module")
def tuned_run(finished, devkit, tmp_path_factory):
    """A copy of the finished run with layers, not to be changed."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    shutil.copytree(finished, run)
    assert commands.finetune(["--devkit", devkit, "--run", run, *SCHEDULE]) == 0
    return run


@pytest.fixture
def tuned(work, tuned_run):
    """The same, to be changed."""
    shutil.copytree(tuned_run / "head", work.run / "head")
    work.tune = [*work.data, *SCHEDULE]
    return work


def stop_at(monkeypatch, iteration):
    def show(bar, done, loss):
        if done == iteration:
            raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "_show", show)


@pytest.mark.parametrize("more", [[], ["--subspace", "40"]])
@pytest.mark.parametrize("damaged", [flip_bits, without_checksum])
def test_a_damaged_checkpoint_is_told_in_one_line_and_does_not_change_the_layers(
    work, monkeypatch, caplog, more, damaged
):
    tune = [*work.data, *SCHEDULE, *more]
    assert commands.finetune(tune) == 0
    head = work.run / "head"
    expected = (head / "fc_head.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert commands.finetune([*tune, "--overwrite"]) == 130
    files = [head / "finetune.pt", *head.glob("subspace-*")]
    for file in files:
        damaged(file)
    caplog.clear()
    assert commands.finetune(tune) == 0
    told = [line for line in caplog.messages if " is damaged (" in line]
    assert len(told) == len(files)
    assert all(any(line.startswith(f"{file} is damaged (") for line in told) for file in files)
    assert (head / "fc_head.safetensors").read_bytes() == expected


@pytest.mark.parametrize("name", ["fc_head.safetensors", "classifier.safetensors"])
@pytest.mark.parametrize("damaged", [flip_bits, lambda path: path.unlink(), lambda path: path.write_bytes(b"torn")])
def test_damaged_layers_are_named_and_trained_again(tuned, tuned_run, capsys, caplog, name, damaged):
    path = tuned.run / "head" / name
    damaged(path)
    assert commands.test_net([*tuned.data, "--scores", "softmax"]) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {path}: ")
    assert line.endswith("; run `sppnet stage finetune`, which trains them again")
    assert commands.train_svms([*tuned.data, "--features", "fc7", "--model-name", "fc7"]) == 1
    assert f"error: {path}: " in capsys.readouterr().err
    caplog.clear()
    assert commands.finetune(tuned.tune) == 0
    assert f"{path}: " in caplog.text
    assert "training the layers again" in caplog.text
    assert path.read_bytes() == (tuned_run / "head" / name).read_bytes()
    assert commands.test_net([*tuned.data, "--scores", "softmax"]) == 0


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"training": 1', b"\xff\xfe{}"])
def test_damaged_settings_of_layers_are_one_line_that_says_what_to_do(tuned, capsys, text):
    path = tuned.run / "head" / "finetune.json"
    path.write_bytes(text)
    for command, argv in (
        (commands.finetune, tuned.tune),
        (commands.train_svms, [*tuned.data, "--features", "fc7", "--model-name", "fc7"]),
        (commands.test_net, [*tuned.data, "--scores", "softmax"]),
    ):
        capsys.readouterr()
        assert command(argv) == 1
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert line.startswith(f"error: {path}: damaged (")
        assert line.endswith("); delete it and run `sppnet stage finetune`")
    path.unlink()
    assert commands.finetune(tuned.tune) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"validation": 0.3}, "its values do not match its digest"),
        ({"validation": 7}, "validation: expected a number above 0, at most 1, got 7"),
        ({"seed": "0"}, "seed: expected an integer from 0 to .*, got '0'"),
        ({"block": None}, "block: expected an integer"),
        ({"mirror": 1}, "mirror: expected true or false or null, got 1"),
        ({"classes": [1]}, r"classes\[0\]: expected text, got 1"),
        ({"finetune": {"schedule": 5}}, "finetune.positives: expected an integer .* missing"),
        ({"curve": None}, "curve: expected a list"),
        ({"subspace": 1.5}, "subspace: expected an integer"),
        ({"sha256": []}, "sha256: expected names with values"),
    ],
)
def test_values_of_another_kind_are_refused_by_name(tuned_run, tmp_path, wrong, message):
    notes = json.loads((tuned_run / "head" / "finetune.json").read_text())
    (tmp_path / "finetune.json").write_text(json.dumps(notes | wrong))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/finetune\.json: damaged \({message}"):
        read_notes(tmp_path)
    del notes["digest"]
    (tmp_path / "finetune.json").write_text(json.dumps(notes))
    assert read_notes(tmp_path)["validation"] == notes["validation"]


def test_layers_of_earlier_versions_have_no_checksums_and_are_used(tuned, capsys):
    path = tuned.run / "head" / "finetune.json"
    notes = json.loads(path.read_text())
    del notes["sha256"], notes["digest"]
    write_atomically(path, [json.dumps(notes).encode()])
    assert commands.finetune(tuned.tune) == 0
    assert "fine-tuned already" in capsys.readouterr().err
    assert commands.test_net([*tuned.data, "--scores", "softmax"]) == 0


def test_checkpoints_beside_finished_layers_are_removed(tuned):
    head = tuned.run / "head"
    for name in ("finetune.pt", "subspace-0123.pt", "subspace-0123.safetensors", ".finetune.pt.4194305-0123abcd.tmp"):
        (head / name).write_bytes(b"left by a process that was killed")
    assert commands.finetune(tuned.tune) == 0
    assert {p.name for p in head.iterdir()} == {
        *("fc_head.safetensors", "classifier.safetensors", "finetune.json", "curve.csv", "curve.png"),
    }
