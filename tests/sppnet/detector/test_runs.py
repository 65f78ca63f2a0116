"""The commands, whole: what they leave, what they skip, how they go on and how they fail."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import voc
from detection import svm
from detection.calibration import Calibration
from detection.detection_table import load_npz
from detection.evaluation.voc import evaluate
from detection.image import read
from detection.model import load
from detection.networks.fc_head import FcHead
from detection.pictures.drawing import draw_comparison
from detection.weights.state_dict import write_state
from sppnet.detector.testing import SHOWN_SCORES
from tests import commands
from tests.data.test_formats import write_coco

ROOT = Path(__file__).parents[3]
TOOLS = sorted(p.stem for p in (ROOT / "tools").glob("*.py"))


def failure(capsys, tool, argv):
    """The one line a failing tool prints."""
    assert tool(argv) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def stamps(folder):
    return {p.name: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock")}


def outcome_of(run, devkit):
    """Image id -> detections after regression, and the tested images with the classes of the model."""
    dataset = voc.load(devkit, None, "test", classes=load(run / "model").classes)
    return dict(load_npz(run / "detections" / "test-regressed.npz")[0]), dataset


def test_three_commands_leave_every_artefact(finished):
    for name in (
        "proposals/ss/trainval.npz", "proposals/ss/test.npz", "features/alexnet-160/manifest.json", "model/model.json",
        "model/svms.safetensors", "model/bbox_regressors.safetensors", "detections/test-windows.npz",
        "detections/test-regressed.npz", "results/test-regressed/coco_results.json",
    ):  # fmt: skip
        assert (finished / name).is_file(), name
    assert not list(finished.rglob("*.tmp"))
    assert [path.name for path in (finished / "model" / "training").iterdir()] == ["finished.npz"]


def test_pictures_show_the_detections_with_a_margin_worth_showing(finished, devkit):
    found, dataset = outcome_of(finished, devkit)
    pictures = {path.stem: path for path in (finished / "pictures" / "model").glob("*.png")}
    assert sorted(pictures) == [dataset[i].id for i in (0, 2, 3)]  # evenly spaced
    for record in dataset:
        if record.id in pictures:
            shown = found[record.id].filter(SHOWN_SCORES["svm"])
            expected = draw_comparison(read(record.path), shown, record, dataset.classes)
            np.testing.assert_array_equal(np.asarray(Image.open(pictures[record.id]).convert("RGB")), expected)


def test_report_holds_metric_settings_versions_and_time(finished, devkit):
    report = json.loads((finished / "test.json").read_text())
    scores = evaluate(*outcome_of(finished, devkit), metric="voc07")
    assert report["result"]["regressed"]["mean_ap"] == pytest.approx(scores.mean_ap)
    assert scores.mean_ap > 0
    assert report["settings"]["test_split"] == "test"
    assert "curves" not in report["result"]["regressed"]
    with np.load(finished / "results" / "test-regressed" / "curves.npz") as curves:
        assert {"car/precision", "car/recall", "car/score"} < set(curves)
        assert len(curves["car/recall"]) == len(curves["car/score"]) > 0
    assert report["versions"]["torch"]
    assert report["seconds"] > 0
    assert report["hardware"]["cores"] == os.cpu_count()


def test_finished_work_is_not_done_again(work):
    before = stamps(work.run)
    assert commands.extract_features(work.extract) == 0
    assert commands.train_svms(work.data) == 0
    assert commands.test_net(work.data) == 0
    after = stamps(work.run)
    work_files = (".npz", ".maps", ".safetensors", "model.json")
    kept = [n for n in before if n.endswith(work_files) and n != "curves.npz"]  # scoring is done again
    assert kept
    assert {n: after[n] for n in kept} == {n: before[n] for n in kept}


def test_overwrite_does_it_again(work):
    before = stamps(work.run)
    assert commands.train_svms([*work.data, "--overwrite"]) == 0
    assert stamps(work.run)["model.json"] != before["model.json"]


@pytest.mark.slow
def test_the_same_commands_give_the_same_model_and_detections(work, finished):
    shutil.rmtree(work.run)
    assert commands.extract_features(work.extract) == 0
    assert commands.train_svms(work.data) == 0
    assert commands.test_net(work.data) == 0
    mine, other = (load(run / "model").svms for run in (work.run, finished))
    assert np.abs(other.weights).sum(axis=1).min() > 0
    np.testing.assert_array_equal(mine.weights, other.weights)
    np.testing.assert_array_equal(mine.bias, other.bias)
    for stage in ("windows", "regressed"):
        a, b = (dict(load_npz(r / "detections" / f"test-{stage}.npz")[0]) for r in (work.run, finished))
        assert a.keys() == b.keys() == {record.id for record in voc.load(work.devkit, None, "test")}
        for name in a:
            assert len(b[name]) > 0
            for part in ("boxes", "scores", "labels"):
                np.testing.assert_array_equal(getattr(a[name], part), getattr(b[name], part))


def test_single_stage_tools_do_the_same(work, finished):
    for part in ("proposals", "model"):
        shutil.rmtree(work.run / part)
    assert commands.extract_proposals([*work.data, "-j", "1"]) == 0
    assert commands.train_svms([*work.data, "--no-bbox-regression"]) == 0
    assert load(work.run / "model").regressors == ()
    assert commands.train_bbox_regressors(work.data) == 0
    for k, regressor in enumerate(load(work.run / "model").regressors):
        other = load(finished / "model").regressors[k]
        assert (regressor is None) == (other is None)
        if regressor is not None:
            np.testing.assert_array_equal(regressor.weights, other.weights)


def test_evaluate_scores_the_comp4_files_as_test_net_did(work, devkit, tmp_path):
    out = tmp_path / "score.json"
    folder = work.run / "results" / "test-regressed"
    classes = load(work.run / "model").classes
    argv = ["--comp4", str(folder), "--devkit", str(devkit), "--classes", *classes, "--json", str(out)]
    assert commands.evaluate(argv) == 0
    reported = json.loads((work.run / "test.json").read_text())["result"]["regressed"]["ap"]
    assert json.loads(out.read_text())["result"]["ap"] == pytest.approx(reported)


def test_evaluate_takes_the_classes_of_a_model_from_the_model(work, capsys):
    argv = ["--model", work.run / "model", "--devkit", work.devkit, "--classes", "car"]
    assert "--classes: only for --comp4" in failure(capsys, commands.evaluate, argv)


def test_limit_uses_the_first_images(work):
    shutil.rmtree(work.run / "proposals")
    assert commands.extract_proposals([*work.data, "-j", "1", "--limit", "2"]) == 0
    with np.load(work.run / "proposals" / "ss" / "trainval.npz") as file:
        assert len(file["ids"]) == 2


def test_further_features_are_of_the_network_and_scales_that_the_run_has(work, weights):
    assert commands.extract_features([*work.data, "--weights", weights, "-j", "1", "--inference", "best"]) == 0
    assert [p.name for p in (work.run / "features").iterdir()] == ["alexnet-160"]
    assert [p.name for p in (work.run / "mirrored-features").iterdir()] == ["alexnet-160"]


def test_pictures_show_what_a_calibrated_model_shows(work):
    trained = load(work.run / "model")
    of_photo, dataset = outcome_of(work.run, work.devkit)
    record, found = dataset[0], of_photo[dataset[0].id]
    path = work.run / "pictures" / "model" / f"{record.id}.png"
    fifth = float(np.sort(found.scores)[-6:-4].mean())  # between the fifth and the sixth
    for threshold, count in ((1 / (1 + np.exp(-fifth)), 5), (2.0, 0)):
        learned = Calibration((1.0,) * 6, (0.0,) * 6, (threshold,) * 6)
        replace(trained, calibration=learned).save(work.run / "model")
        assert commands.test_net([*work.data, "--pictures", "1"]) == 0
        shown = replace(found, calibration=learned).shown()
        assert len(shown) == count
        expected = draw_comparison(read(record.path), shown, record, dataset.classes)
        np.testing.assert_array_equal(np.asarray(Image.open(path).convert("RGB")), expected)


def test_classes_without_an_object_are_named(work, capsys):
    assert commands.train_svms([*work.data, "--overwrite", "--limit", "1"]) == 0
    found = load(work.run / "model")
    absent = [name for name, bias in zip(found.classes, found.svms.bias, strict=True) if np.isneginf(bias)]
    assert absent
    assert f"no training object of {', '.join(absent)}: never detected" in capsys.readouterr().err


def test_a_model_is_tested_at_other_scales_than_those_of_its_training(work, capsys):
    line = failure(capsys, commands.test_net, [*work.data, "--scales", "160", "240"])
    assert "alexnet-160-240: no such features" in line
    two = ["--scales", "160", "240", *work.extract[work.extract.index("--weights") :]]
    assert commands.extract_features([*work.data, *two, "--train-split", "test"]) == 0
    assert commands.test_net([*work.data, "--scales", "160", "240"]) == 0
    at_two, at_one = (load_npz(work.run / f"detections/test-{n}windows.npz")[0] for n in ("scales-160-240-", ""))
    assert any(not np.array_equal(at_two[i].boxes, at_one[i].boxes) for i in at_one)


def test_scores_of_a_part_leave_those_of_the_whole_alone(work):
    folder = work.run / "results" / "test-windows"
    before = stamps(folder)
    assert commands.test_net([*work.data, "--limit", "2"]) == 0
    assert stamps(folder) == before
    assert (work.run / "results" / "test-first-2-windows" / "coco_results.json").is_file()


def test_test_net_without_regressors_reports_windows_alone(work, tmp_path):
    assert commands.train_svms([*work.data, "--overwrite", "--no-bbox-regression"]) == 0
    assert commands.test_net([*work.data, "--json", str(tmp_path / "r.json")]) == 0
    assert list(json.loads((tmp_path / "r.json").read_text())["result"]) == ["windows", "configuration"]


def test_a_stage_without_the_one_before_says_which(work, capsys):
    shutil.rmtree(work.run / "features")
    assert "run `sppnet stage extract-features`" in failure(
        capsys, commands.train_svms, [*work.data, "--scales", "160"]
    )
    shutil.rmtree(work.run / "proposals")
    assert "extract-proposals" in failure(capsys, commands.train_svms, [*work.data, "--scales", "160"])
    shutil.rmtree(work.run / "model")
    assert "train" in failure(capsys, commands.test_net, work.data)


def test_features_of_other_settings_are_refused_by_field(work, capsys, tmp_path):
    from detection import network

    other = tmp_path / "other.safetensors"
    body = network.build("alexnet", weights=None)
    body.layers[0].bias += 1
    write_state(other, body.state_dict())
    line = failure(capsys, commands.extract_features, [*work.extract, "--weights", str(other)])
    assert "weights" in line
    assert "--overwrite" in line or "delete" in line


def test_a_model_is_not_applied_to_features_of_other_weights(work, capsys, tmp_path):
    from detection import network

    other = tmp_path / "other.safetensors"
    body = network.build("alexnet", weights=None)
    body.layers[0].bias += 1
    write_state(other, body.state_dict())
    assert commands.extract_features([*work.extract, "--weights", str(other), "--overwrite"]) == 0
    for tool in (commands.test_net, commands.train_bbox_regressors):
        assert "but the model was trained on" in failure(capsys, tool, [*work.data, "--overwrite"])


def test_features_of_another_preset_are_refused_by_name(work, capsys):
    assert "preset" in failure(capsys, commands.extract_features, [*work.extract, "--preset", "released"])


def test_models_of_one_run_share_their_regressors(work, monkeypatch):
    FcHead.random(12800, 16).save(work.run / "narrow.safetensors")
    other = ["--model-name", "other", "--features", "fc6", "--head", str(work.run / "narrow.safetensors")]
    monkeypatch.setattr("sppnet.detector.bbox_regressors.fit_all", lambda *_, **__: pytest.fail("trained again"))
    assert commands.train_svms([*work.data, *other]) == 0
    a, b = (load(work.run / name).regressors for name in ("model", "other"))
    assert len(a) == len(b) > 0
    for one, same in zip(a, b, strict=True):
        assert (one is None) == (same is None)
        assert one is None or (one.weights == same.weights).all()


def test_regressors_learn_from_the_images_of_the_svms(work, capsys):
    assert "trainval" in failure(capsys, commands.train_bbox_regressors, [*work.data, "--overwrite", "--limit", "3"])


def test_a_model_of_other_settings_is_refused(work, capsys):
    line = failure(capsys, commands.train_svms, [*work.data, "--preset", "released", "--scales", "160"])
    assert "--overwrite" in line
    line = failure(capsys, commands.train_svms, [*work.data, "--seed", "4"])
    assert "a model of seed 0, now 4; give --overwrite" in line
    line = failure(capsys, commands.train_svms, [*work.data, "--no-difficult"])
    assert "svm.difficult True, now False" in line


def test_a_truncated_cache_file_is_named_and_nothing_is_lost(work, capsys):
    victim = work.run / "features" / "alexnet-160" / "trainval_00000.maps"
    victim.write_bytes(victim.read_bytes()[:-7])
    model = (work.run / "model" / "svms.safetensors").read_bytes()
    assert victim.name in failure(capsys, commands.train_svms, [*work.data, "--overwrite"])
    assert (work.run / "model" / "svms.safetensors").read_bytes() == model


def test_a_missing_devkit_says_how_to_get_one(tmp_path, capsys):
    line = failure(capsys, commands.extract_features, ["--voc2007", "--data-root", str(tmp_path)])
    assert "--download" in line
    assert "which data" in failure(capsys, commands.extract_features, [])


def test_an_absent_gpu_is_an_error(work, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert "cuda:0" in failure(capsys, commands.extract_features, [*work.extract, "--device", "cuda:0"])


def test_objects_of_classes_that_the_model_does_not_know_are_counted(work, devkit, capsys, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(devkit, mine)
    for path in mine.rglob("Annotations/*.xml"):
        path.write_text(path.read_text().replace("<name>", "<name>un", 1))
    assert commands.test_net(["--devkit", str(mine), *work.data[2:]]) == 0
    assert "left out: 4 objects of classes unknown from training: un" in capsys.readouterr().out


def corrupt(devkit, tmp_path, split):
    """A copy of the devkit with one photo of the split torn; (devkit, its id)."""
    mine = tmp_path / "mine"
    shutil.copytree(devkit, mine)
    record = voc.load(mine, None, split)[1]
    record.path.write_bytes(record.path.read_bytes()[:300])
    return mine, record.id


@pytest.mark.parametrize("split", ["trainval", "test"])
@pytest.mark.slow
def test_a_torn_photo_is_named_or_skipped_and_listed(devkit, weights, tmp_path, capsys, split):
    mine, victim = corrupt(devkit, tmp_path, split)
    data = ["--devkit", str(mine), "--run", str(tmp_path / "run")]
    extract = [*data, "--scales", "160", "--weights", str(weights), "-j", "1"]
    assert victim in failure(capsys, commands.extract_features, extract)
    assert commands.extract_features([*extract, "--skip-bad"]) == 0
    assert f"left out {victim}" in capsys.readouterr().err
    blocked = commands.train_svms if split == "trainval" else commands.test_net
    if split == "test":
        assert commands.train_svms(data) == 0
    assert victim in failure(capsys, blocked, data)
    assert commands.train_svms([*data, "--skip-bad"]) == 0
    assert commands.test_net([*data, "--skip-bad"]) == 0


@pytest.mark.parametrize("stage", ["proposals", "features", "svms", "regression", "detection"])
def test_ctrl_c_in_a_stage_exits_130_and_the_same_command_finishes(work, stage, monkeypatch, capsys):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    where, part, tool, argv = {
        "proposals": ("proposals.batch.search_file", "proposals", commands.extract_proposals, [*work.data, "-j", "1"]),
        "features": (
            "sppnet.detector.features.features.store_pyramid",
            "features",
            commands.extract_features,
            work.extract,
        ),
        "svms": ("detection.training.mining.solve", "model", commands.train_svms, work.data),
        "regression": ("sppnet.detector.bbox_regressors.fit_all", "model", commands.train_svms, work.data),
        "detection": ("sppnet.detector.detecting.detect_windows", "detections", commands.test_net, work.data),
    }[stage]
    shutil.rmtree(work.run / part)
    with monkeypatch.context() as patch:
        patch.setattr(where, interrupt)
        assert tool(argv) == 130
    assert "interrupted" in capsys.readouterr().err
    assert tool(argv) == 0


def test_a_second_process_on_the_same_training_is_told(work, capsys):
    from sppnet.run import exclusive

    with exclusive(work.run / "model"):
        assert "another process" in failure(capsys, commands.train_svms, [*work.data, "--overwrite"])


def test_a_full_disk_leaves_no_half_file(work, capsys, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device", "somewhere")

    shutil.rmtree(work.run / "features")
    with monkeypatch.context() as patch:
        patch.setattr("detection.cache.os.replace", full)
        assert "No space left" in failure(capsys, commands.extract_features, work.extract)
    assert not list((work.run / "features").rglob("*.maps"))
    assert not list((work.run / "features").rglob("*.tmp"))
    assert commands.extract_features(work.extract) == 0


def test_unexpected_failures_show_their_traceback(work, monkeypatch):
    monkeypatch.setattr(svm, "train_together", lambda *a, **k: 1 / 0)
    shutil.rmtree(work.run / "model")
    with pytest.raises(ZeroDivisionError):
        commands.train_svms(work.data)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_runs_as_a_file_from_any_folder(tool, tmp_path):
    path = str(ROOT / "tools" / f"{tool}.py")
    done = subprocess.run([sys.executable, path, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert subprocess.run([sys.executable, path, "--no-such-flag"], cwd=tmp_path, capture_output=True).returncode == 2


def test_the_console_script_runs_from_any_folder(tmp_path):
    if not list(metadata.entry_points(group="console_scripts").select(name="sppnet")):
        pytest.skip("needs the package installed")
    command = Path(sys.executable).with_name("sppnet")
    done = subprocess.run([command, "evaluate", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: sppnet evaluate" in done.stdout


def add_photo(devkit, name, size, box=None):
    """Put a photo of (H, W) pixels, with an object or without, at the head of the training list."""
    year = devkit / "VOC2007"
    ramp = np.linspace(0, 255, size[1], dtype=np.uint8)
    Image.fromarray(np.broadcast_to(ramp, size).copy()).save(year / "JPEGImages" / f"{name}.jpg")
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box or (), strict=bool(box))
    thing = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    thing = f"<object><name>car</name><bndbox>{thing}</bndbox></object>" if box else ""
    (year / "Annotations" / f"{name}.xml").write_text(
        f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>{thing}</annotation>"
    )
    path = year / "ImageSets" / "Main" / "trainval.txt"
    path.write_text(f"{name}\n{path.read_text()}")


@pytest.mark.slow
def test_tiny_huge_thin_and_empty_photos_go_through(devkit, weights, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(devkit, mine)
    add_photo(mine, "one_pixel", (1, 1), (1, 1, 1, 1))
    add_photo(mine, "thin", (2, 500))
    add_photo(mine, "huge", (9000, 12000), (3000, 2000, 9000, 7000))
    # the single pixel is a point, which marks nothing; a second one-pixel photo has a legal box, two pixels wide
    add_photo(mine, "two_pixels", (1, 2), (1, 1, 2, 1))
    data = ["--devkit", str(mine), "--run", str(tmp_path / "run")]
    assert commands.extract_features([*data, "--scales", "64", "--weights", str(weights), "-j", "1"]) == 0
    assert commands.train_svms(data) == 0
    assert commands.test_net([*data, "--test-split", "trainval"]) == 0
    detections = load_npz(tmp_path / "run" / "detections" / "trainval-regressed.npz")[0]
    assert len(detections["one_pixel"]) == 0  # no proposal
    assert len(detections["huge"]) > 0


@pytest.mark.slow
def test_a_coco_data_set_gives_the_detector_that_vocs_layout_gives(work, weights, tmp_path, monkeypatch):
    write_coco(work.devkit, tmp_path / "things", "flat")
    monkeypatch.chdir(tmp_path)
    data = ["--data", "things"]
    assert (
        commands.extract_features([*data, *work.extract[len(work.data) : -4], "--weights", str(weights), "-j", "1"])
        == 0
    )
    assert commands.train_svms(data) == 0
    assert commands.test_net([*data, "--json", "test.json"]) == 0
    mine, expected = (json.loads(p.read_text())["result"] for p in (tmp_path / "test.json", work.run / "test.json"))
    assert mine["regressed"]["mean_ap"] == expected["regressed"]["mean_ap"]
    assert (tmp_path / "runs" / "things" / "model" / "model.json").is_file()


def test_data_of_two_kinds_is_refused(work, capsys):
    assert commands.train_svms([*work.data, "--data", str(work.devkit)]) == 1
    assert "leave --devkit and --voc2007 out" in capsys.readouterr().err
    assert commands.train_svms(["--data", str(work.run / "results")]) == 1
    assert "not a data set of a known format" in capsys.readouterr().err
