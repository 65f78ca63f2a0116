"""What killed processes leave in a run, and files of a run that are damaged."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from detection.detection_table import load_npz
from detection.model import load
from sppnet.run import exclusive, set_aside
from tests import commands
from tests.damage import flip_bits

LEFT = ".4194305-0123abcd.tmp"  # of a process whose number is above those that Linux gives


def put(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left by a process that was killed")
    return paths


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error: ")]


def test_the_next_start_of_each_stage_removes_what_killed_ones_left(work):
    run, model = work.run, work.run / "model"
    left = put(
        run / "proposals" / "ss" / f".test.npz{LEFT}",
        run / "features" / "alexnet-160" / f".trainval_00000.maps{LEFT}",
        run / "features" / "alexnet-160" / f".manifest.json{LEFT}",
        model / f".svms.safetensors{LEFT}",
        *(model / "training" / name for name in ("checkpoint.npz", "regressor-3.npz", f".checkpoint.npz{LEFT}")),
        *(model / "training" / part / "checkpoint.npz" for part in ("pool5", "fc7")),
        run / "detections" / f".test-windows.npz{LEFT}",
        run / f".choices.json{LEFT}",
    )
    (running,) = put(model / f".model.json.{os.getppid()}-0123abcd.tmp")
    before = load(model)
    for command, argv in (
        (commands.extract_features, work.extract),
        (commands.train_svms, work.data),
        (commands.test_net, work.data),
    ):
        assert command(argv) == 0
    assert not [path for path in left if path.exists()]
    assert running.exists()
    assert load(model).notes == before.notes  # nothing was trained again
    assert (model / "training" / "finished.npz").is_file()


def test_finished_trainings_on_other_layers_are_removed(work):
    (left,) = put(work.run / "model" / "training" / "fc7" / "finished.npz")
    assert commands.train_svms([*work.data, "--overwrite", "--no-bbox-regression"]) == 0
    assert not left.exists()
    assert (work.run / "model" / "training" / "finished.npz").is_file()


KILLED = """
import os, sys
from pathlib import Path
from sppnet.run import exclusive, set_aside

path = Path(sys.argv[1])
with exclusive(path.parent), set_aside(path):
    os.kill(os.getpid(), 9)
"""


def test_a_result_that_a_killed_process_set_aside_is_removed(work):
    path = work.run / "model" / "model.json"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, cwd=os.getcwd())
    assert not path.exists()
    assert len(list(path.parent.glob(".model.json.*.tmp"))) == 1
    assert commands.train_svms([*work.data, "--seed", "4"]) == 0
    assert not list(path.parent.glob(".*.tmp"))


def test_a_result_that_is_set_aside_is_replaced_comes_back_or_goes(tmp_path):
    path = tmp_path / "model.json"
    with set_aside(path, tmp_path / "absent"):
        pass
    assert not path.exists()
    path.write_text("old")
    with set_aside(path):
        assert not path.exists()
    assert path.read_text() == "old"
    with pytest.raises(ValueError, match="no room"), set_aside(path):
        raise ValueError("no room")
    assert path.read_text() == "old"
    with set_aside(path):
        path.write_text("new")
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), exclusive(path), set_aside(path):
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == []


def test_a_damaged_model_is_one_line_that_names_the_file_and_says_what_to_do(work, capsys):
    flip_bits(work.run / "model" / "svms.safetensors")
    for command, argv in ((commands.train_svms, work.data), (commands.train, work.extract)):
        assert command(argv) == 1
        (line,) = errors(capsys.readouterr().err)
        assert line.startswith(f"error: {work.run / 'model'}: damaged model (svms.safetensors ")
        assert line.endswith("; train it again, with --overwrite, or in another --run")
    assert commands.train_svms([*work.data, "--overwrite"]) == 0


@pytest.mark.parametrize("content", [b"\xff", b"[]", b'{"notes": 3}'])
def test_a_damaged_model_does_not_keep_another_one_from_its_box_regressors(work, caplog, content):
    (other,) = put(work.run / "another" / "model.json")
    other.write_bytes(content)
    assert commands.train_svms([*work.data, "--model-name", "second"]) == 0
    assert f"box regressors are not used: {other.parent}: damaged model" in caplog.text
    assert len(load(work.run / "second").regressors) == 6


@pytest.mark.parametrize("stage", ["windows", "regressed"])
def test_damaged_detections_are_told_and_made_anew(work, finished, caplog, stage):
    path = work.run / "detections" / f"test-{stage}.npz"
    path.write_bytes(path.read_bytes()[:-30])
    assert commands.test_net(work.data) == 0
    assert sum(str(path) in line and line.endswith("; detecting again") for line in caplog.messages) == 1
    expected, _ = load_npz(finished / "detections" / f"test-{stage}.npz")
    found, _ = load_npz(path)
    np.testing.assert_array_equal(found.rows.boxes, expected.rows.boxes)


def test_an_unfinished_training_of_svms_with_a_damaged_checkpoint_gives_the_same_svms(
    work, finished, monkeypatch, caplog
):
    from detection import svm

    def stop(parts, config, on_image, engine):
        faster = [replace(p, options=replace(p.options, checkpoint_seconds=0.0)) for p in parts]
        return train_together(faster, config, lambda done: on_image(done) if done < 6 else 1 / 0)

    train_together = svm.train_together
    with monkeypatch.context() as patch:
        patch.setattr(svm, "train_together", stop)
        with pytest.raises(ZeroDivisionError):
            commands.train_svms([*work.data, "--model-name", "second"])
    checkpoint = work.run / "second" / "training" / "checkpoint.npz"
    flip_bits(checkpoint)
    assert commands.train_svms([*work.data, "--model-name", "second"]) == 0
    assert (
        f"{checkpoint} is damaged (the contents do not match the checksum); starting from the beginning" in caplog.text
    )
    weights = [load(folder).svms.weights for folder in (work.run / "second", finished / "model")]
    np.testing.assert_array_equal(*weights)
