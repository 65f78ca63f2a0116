"""Photos and annotations that change under their names: what was made of them is made anew, and nothing else."""

import json
import os
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from detection.detection_table import load_npz, save_npz
from detection.model import load
from sppnet.detector import convolving, detecting, testing
from tests import commands
from tests.data.test_formats import write_yolo
from tests.sppnet.detector.test_runs import failure

TRAIN = ["--backbone", "alexnet", "--features", "pool5", "--precision", "fp32"]


@pytest.fixture
def mine(work, tmp_path):
    """The finished run with a copy of its data set that a test may change."""
    work.devkit = tmp_path / "copy" / "VOCdevkit"
    shutil.copytree(work.data[1], work.devkit)
    for flags in (work.data, work.extract):
        flags[1] = str(work.devkit)
    return work


def photo_of(work, name):
    return work.devkit / "VOC2007" / "JPEGImages" / f"{name}.jpg"


def replace_photo(work, name, seed=0):
    path = photo_of(work, name)
    with Image.open(path) as old:
        size = old.size
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), np.uint8)
    Image.fromarray(noise.repeat(8, 0).repeat(8, 1)[: size[1], : size[0]]).save(path)


def move_boxes(work, name):
    path = work.devkit / "VOC2007" / "Annotations" / f"{name}.xml"
    tree = ET.parse(path)
    for side in tree.iter("xmax"):
        side.text = str(float(side.text) - 9)
    tree.write(path)


def maps(work):
    return {p.stem: p.stat().st_mtime_ns for p in work.run.glob("features/alexnet-160/*.maps")}


@pytest.fixture
def detected(monkeypatch):
    """Collects the images that are detected in."""
    seen, real = [], detecting.ModelWithFeatures.evidence
    monkeypatch.setattr(
        detecting.ModelWithFeatures, "evidence", lambda self, i, boxes: (seen.append(i), real(self, i, boxes))[1]
    )
    return seen


def run_all(work):
    assert commands.extract_features(work.extract) == 0
    assert commands.train_svms(work.data) == 0
    assert commands.test_net(work.data) == 0


def test_a_copied_and_touched_data_set_repeats_nothing(mine, finished, detected, monkeypatch):
    for path in mine.devkit.rglob("*.jpg"):
        os.utime(path)
    before = maps(mine)
    monkeypatch.setattr("sppnet.detector.svms.svm.train", lambda *_, **__: pytest.fail("trained again"))
    run_all(mine)
    assert (maps(mine), detected) == (before, [])
    monkeypatch.setattr("detection.photo_record._sha256", lambda path: pytest.fail(f"{path} was read"))
    run_all(mine)


def test_a_replaced_test_photo_changes_its_own_windows_maps_and_detections(mine, detected, capsys, weights, tmp_path):
    before, svms = maps(mine), (mine.run / "model" / "svms.safetensors").stat().st_mtime_ns
    replace_photo(mine, "test_00001")
    assert commands.train([*mine.extract, *TRAIN]) == 0
    said = capsys.readouterr().err
    for what in ("1 of 4 photos changed since they were searched", "1 of 12 photos changed since they were convolved"):
        assert what in said
    assert "1 of 4 photos or their proposals changed since they were tested" in said
    assert [name for name, time in maps(mine).items() if time != before[name]] == ["test_00001"]
    assert detected == ["test_00001"]
    assert (mine.run / "model" / "svms.safetensors").stat().st_mtime_ns == svms

    fresh = [*mine.data[:2], "--run", str(tmp_path / "fresh"), "--scales", "160", "--weights", str(weights), "-j", "1"]
    as_before = ["--proposals", "ss", "--cost", "0.001", "--max-negatives-per-image", "9999", "--inference", "paper"]
    assert commands.train([*fresh, *TRAIN, *as_before]) == 0
    for name in ("proposals/ss/test.npz", "features/alexnet-160/test_00001.maps"):
        assert (mine.run / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    ours, theirs = (load_npz(run / "detections/test-regressed.npz")[0] for run in (mine.run, tmp_path / "fresh"))
    assert ours.ids == theirs.ids
    np.testing.assert_array_equal(ours.rows.boxes, theirs.rows.boxes)
    np.testing.assert_array_equal(ours.rows.scores, theirs.rows.scores)


def test_replaced_training_photos_train_the_model_again(mine, finished, capsys):
    before = maps(mine)
    replace_photo(mine, "trainval_00002")
    assert commands.train([*mine.extract, *TRAIN]) == 0
    said = capsys.readouterr().err
    assert "photos changed since this model was trained; training it again" in said
    assert [name for name, time in maps(mine).items() if time != before[name]] == ["trainval_00002"]
    models = [load(run / "model") for run in (mine.run, finished)]
    assert not np.array_equal(models[0].svms.weights, models[1].svms.weights)
    assert len(models[0].regressors) == 6
    assert commands.train([*mine.extract, *TRAIN]) == 0
    assert "training it again" not in capsys.readouterr().err


def test_moved_boxes_train_the_model_again_and_convolve_nothing(mine, finished, capsys):
    before = maps(mine)
    move_boxes(mine, "trainval_00002")
    run_all(mine)
    assert "annotations changed since this model was trained; training it again" in capsys.readouterr().err
    assert maps(mine) == before
    assert not np.array_equal(load(mine.run / "model").svms.weights, load(finished / "model").svms.weights)


def test_renamed_classes_train_the_model_again(mine):
    for path in mine.devkit.rglob("*.xml"):
        path.write_text(path.read_text().replace("<name>teapot<", "<name>teakettle<"))
    run_all(mine)
    assert "teakettle" in load(mine.run / "model").classes


def test_other_settings_are_still_refused_when_photos_changed(mine, capsys):
    replace_photo(mine, "trainval_00002")
    assert commands.extract_features(mine.extract) == 0
    line = failure(capsys, commands.train_svms, [*mine.data, "--seed", "4"])
    assert "a model of seed 0, now 4; give --overwrite" in line


def test_single_stages_refuse_windows_and_maps_of_other_photos(mine, capsys):
    replace_photo(mine, "trainval_00002")
    replace_photo(mine, "test_00001")
    for tool in (commands.train_svms, commands.test_net, commands.finetune):
        line = failure(capsys, tool, mine.data)
        assert "1 photo changed since their proposals were made" in line
        assert "run `sppnet stage extract-features`" in line
    assert commands.extract_proposals([*mine.data, "-j", "1"]) == 0
    capsys.readouterr()
    assert "changed since their features were made" in failure(capsys, commands.train_svms, mine.data)


def test_regressors_are_not_added_to_svms_of_other_annotations(mine, capsys):
    move_boxes(mine, "trainval_00002")
    line = failure(capsys, commands.train_bbox_regressors, mine.data)
    assert "annotations changed since the SVMs were trained; run `sppnet stage train-svms`" in line


def test_given_boxes_do_not_hide_a_replaced_photo(mine, detected, tmp_path, capsys):
    for split in ("trainval", "test"):
        shutil.copy(mine.run / "proposals" / "ss" / f"{split}.npz", tmp_path / f"{split}.npz")
    boxes = ["--proposals", str(tmp_path / "{split}.npz")]
    assert commands.test_net([*mine.data, *boxes]) == 0
    detected.clear()
    replace_photo(mine, "trainval_00002")
    replace_photo(mine, "test_00001")
    assert commands.extract_features([*mine.extract, *boxes]) == 0
    assert commands.test_net([*mine.data, *boxes]) == 0
    assert detected == ["test_00001"]
    before = load(mine.run / "model").notes["training"]
    assert commands.train_svms([*mine.data, "--model-name", "model", *boxes, "--overwrite"]) == 0
    assert load(mine.run / "model").notes["training"] != before


def test_a_photo_that_is_replaced_during_an_interruption_is_convolved_again(mine, monkeypatch):
    shutil.rmtree(mine.run / "features")
    seen, real = [], convolving._convolve

    def stopping(record, **rest):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(record.id)
        return real(record, **rest)

    monkeypatch.setattr(convolving, "_convolve", stopping)
    assert commands.extract_features(mine.extract) == 130
    monkeypatch.setattr(convolving, "_convolve", lambda r, **rest: (seen.append(r.id), real(r, **rest))[1])
    replace_photo(mine, seen[0])
    assert commands.extract_features(mine.extract) == 0
    assert (len(seen), seen.count(seen[0])) == (13, 2)


def test_a_limited_run_leaves_the_records_of_the_others(mine, capsys):
    replace_photo(mine, "trainval_00007")
    assert commands.extract_features([*mine.extract, "--limit", "2"]) == 0
    assert "changed" not in capsys.readouterr().err
    assert commands.extract_features(mine.extract) == 0
    assert "1 of 8 photos changed since they were searched" in capsys.readouterr().err


@pytest.mark.slow
def test_fine_tuned_layers_follow_annotations_and_photos(mine, capsys):
    tune = [*mine.data, "--schedule", "2:1e-3", "--width", "8", "--block", "2"]
    assert commands.finetune(tune) == 0
    learn = [*mine.data, "--model-name", "tuned", "--features", "fc7", "--no-bbox-regression"]
    assert commands.train_svms(learn) == 0
    move_boxes(mine, "trainval_00002")
    capsys.readouterr()
    assert commands.finetune(tune) == 0
    assert "annotations changed since these layers were trained; training them again" in capsys.readouterr().err
    assert commands.train_svms(learn) == 0
    assert "annotations changed since this model was trained" in capsys.readouterr().err
    assert commands.finetune([*tune, "--seed", "1"]) == 1


@pytest.fixture
def old(mine, monkeypatch):
    """The finished run as it would be from before photos were recorded."""
    for path in mine.run.rglob("*photos.json"):
        path.unlink()
    shutil.rmtree(mine.run / "model")
    with monkeypatch.context() as before:
        before.setattr("detection.training.fingerprint._photos", lambda images: None)
        assert commands.train_svms(mine.data) == 0
    settings = json.loads((mine.run / "model" / "model.json").read_text())
    for name in ("photos", "annotations", "category_ids"):
        del settings["notes"][name]
    del settings["digest"]
    (mine.run / "model" / "model.json").write_text(json.dumps(settings))
    keys, real = [], testing._SavedDetections.load
    with monkeypatch.context() as before:
        before.setattr(testing._SavedDetections, "load", lambda self: (keys.append(self._key_of(True)), real(self))[1])
        assert commands.test_net(mine.data) == 0
    for path in mine.run.glob("detections/*.npz"):
        save_npz(path, load_npz(path)[0], keys[0])
    return mine


def test_an_old_run_is_used_as_it_is_and_notices_photos_from_then_on(old, detected, capsys, monkeypatch):
    detected.clear()
    before = maps(old)
    with monkeypatch.context() as once:
        once.setattr("sppnet.detector.svms.svm.train", lambda *_, **__: pytest.fail("trained again"))
        once.setattr("sppnet.detector.bbox_regressors.fit_all", lambda *_, **__: pytest.fail("trained again"))
        run_all(old)
        assert commands.train_svms([*old.data, "--model-name", "model"]) == 0
    assert (maps(old), detected) == (before, [])
    assert "changed" not in capsys.readouterr().err
    replace_photo(old, "test_00001")
    assert commands.extract_features(old.extract) == 0
    assert commands.test_net(old.data) == 0
    assert detected == ["test_00001"]


def test_the_report_names_photos_that_were_replaced_since_the_test(mine):
    from tests.sppnet.report.helpers import report, text

    replace_photo(mine, "test_00001")
    assert report(mine.run, "--devkit", mine.devkit) == 0
    page = text(mine.run / "report.html")
    assert "Replaced since they were tested: 1 photo (test_00001)" in page
    assert "1 photo changed since their proposals were made" in page


def test_splits_with_other_photos_of_the_same_names_do_not_mix(work, weights, tmp_path):
    write_yolo(work.devkit, tmp_path / "things", "folders")
    for kind in ("images", "labels"):
        for split in ("trainval", "test"):
            for i, path in enumerate(sorted((tmp_path / "things" / kind / split).iterdir())):
                path.rename(path.with_name(f"frame{i}{path.suffix}"))
    flags = ["--run", str(tmp_path / "named"), "--scales", "160", "--weights", str(weights), "-j", "1"]
    flags += ["--proposals", "ss", "--cost", "0.001", "--max-negatives-per-image", "9999"]  # as the finished run
    assert commands.train(["--data", str(tmp_path / "things"), *flags, *TRAIN]) == 0
    ours = (tmp_path / "named" / "features" / "alexnet-160").rglob("*.maps")
    theirs = (work.run / "features" / "alexnet-160").glob("*.maps")
    assert len(sorted(p.stat().st_size for p in ours)) == len(sorted(p.stat().st_size for p in theirs)) == 12
    model = load(tmp_path / "named" / "model")
    np.testing.assert_array_equal(model.svms.weights, load(work.run / "model").svms.weights)
    assert commands.train(["--data", str(tmp_path / "things"), *flags, *TRAIN]) == 0
