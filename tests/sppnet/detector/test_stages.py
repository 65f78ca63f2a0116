"""Every flag does something, and the commands around the pipeline work."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from data import minivoc, voc
from detection import SPPDetector, network
from detection.calibration import Calibration
from detection.config import View
from detection.detection_table import load_npz
from detection.detections import Detections
from detection.model import load
from detection.networks.fc_head import BOTH, FcFeatures, FcHead
from detection.networks.low_rank import LowRankLinear
from detection.networks.softmax import SoftmaxClassifier
from detection.training import mining
from detection.training.batches import WindowBatches
from detection.value_digest import with_digest
from detection.weights.state_dict import write_state
from proposals.io import load as load_boxes
from sppnet.detector import calibrating, finetuning
from tests import commands
from tests.damage import write_model_settings

CALIBRATION = Calibration((1.0,) * 6, (0.0,) * 6, (0.5,) * 6)


def boxes_of(run):
    with np.load(run / "proposals" / "ss" / "trainval.npz") as file:
        return file["boxes"]


@pytest.mark.parametrize("flags", [["--max-boxes", "9"], ["--min-side", "60"], ["--max-side", "150"], ["--seed", "5"]])
def test_proposal_flags_change_the_proposals(work, finished, flags):
    shutil.rmtree(work.run / "proposals")
    assert commands.extract_proposals([*work.data, "-j", "1", "--limit", "2", *flags]) == 0
    ours = boxes_of(work.run)
    assert not np.array_equal(ours, boxes_of(finished)[: len(ours)])


@pytest.mark.slow
def test_workers_do_not_change_the_proposals(work, finished):
    shutil.rmtree(work.run / "proposals")
    assert commands.extract_proposals([*work.data, "-j", "2"]) == 0
    for split in ("trainval", "test"):
        name = f"proposals/ss/{split}.npz"
        assert (work.run / name).read_bytes() == (finished / name).read_bytes()


def test_threads_do_not_change_the_features(work, finished):
    shutil.rmtree(work.run / "features")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert commands.extract_features(work.extract) == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    made = {path: path.read_bytes() for path in work.run.rglob("features/*/*") if path.name != "photos.json"}
    assert len(made) > 10
    for path, data in made.items():
        assert data == (finished / path.relative_to(work.run)).read_bytes()


@pytest.mark.parametrize("flags", [["--max-negatives-per-image", "1"], ["--solver", "liblinear"], ["--cost", "0.1"]])
@pytest.mark.slow
def test_svm_flags_change_the_svms(work, finished, flags):
    assert commands.train_svms([*work.data, "--overwrite", "--no-bbox-regression", *flags]) == 0
    assert not np.array_equal(load(work.run / "model").svms.weights, load(finished / "model").svms.weights)


def test_features_and_head_reach_training_and_test(work, tmp_path):
    head = FcHead.random(12800, 16)
    head.save(tmp_path / "head.safetensors")
    argv = [*work.data, "--features", "fc6", "--head", str(tmp_path / "head.safetensors")]
    assert commands.train_svms([*argv, "--overwrite"]) == 0
    model = load(work.run / "model")
    assert (model.svms.weights.shape[1], model.fc.layer, model.regressors[0].weights.shape) == (16, "fc6", (12801, 4))
    assert commands.train_svms(argv) == 0  # finished, and known as the same
    assert commands.test_net(work.data) == 0


def test_a_head_of_another_network_or_pyramid_is_refused_before_any_work(work, tmp_path, capsys):
    FcHead.random(5376, 16).save(tmp_path / "head.safetensors")
    assert commands.train_svms([*work.data, "--features", "fc6", "--head", str(tmp_path / "head.safetensors")]) == 1
    assert "expected an fc6.weight of (width, 12800), got (16, 5376)" in capsys.readouterr().err


def test_levels_reach_training_and_test(work, capsys):
    argv = [*work.data, "--levels", "1", "2"]
    assert commands.train_svms(argv) == 1
    assert "holds a model of levels [1, 2, 3, 6], now [1, 2]; give --overwrite" in capsys.readouterr().err
    assert commands.train_svms([*argv, "--overwrite"]) == 0
    model = load(work.run / "model")
    assert (model.config.pooling.levels, model.svms.weights.shape[1]) == ((1, 2), 5 * 256)
    assert commands.test_net(work.data) == 0


def test_a_run_holds_several_models(work, finished, tmp_path, capsys):
    second = work.run / "few"
    assert commands.train_svms([*work.data, "--model-name", "few", "--max-negatives-per-image", "1"]) == 0
    assert load(second).notes["max_negatives_per_image"] == 1
    assert load(work.run / "model").notes == load(finished / "model").notes
    assert commands.test_net([*work.data, "--model", str(second)]) == 0
    names = {p.name for p in (work.run / "results").iterdir()}
    assert names == {f"test-{kind}{stage}" for kind in ("", "few-") for stage in ("windows", "regressed")}
    assert commands.train_svms([*work.data, "--model-name", "../elsewhere"]) == 1
    assert "expected the name of a folder in the run" in capsys.readouterr().err


def test_a_random_head_is_full_size_and_seeded(work, monkeypatch):
    made = []
    monkeypatch.setattr(FcHead, "random", lambda inputs, seed: made.append((inputs, seed)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        commands.train_svms([*work.data, "--features", "fc7", "--head", "random", "--seed", "3"])
    assert made == [(12800, 3)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--features", "fc7"], "--head"),
        (["--head", "random"], "--features"),
        (["--features", "fc7", "--head", "absent.safetensors"], "absent.safetensors"),
    ],
)
def test_a_head_without_its_layer_and_the_reverse_are_errors(work, capsys, flags, words):
    assert commands.train_svms([*work.data, *flags]) == 1
    assert words in capsys.readouterr().err


def test_no_difficult_reaches_the_configuration(work, finished):
    assert commands.train_svms([*work.data, "--overwrite", "--no-bbox-regression", "--no-difficult"]) == 0
    assert [load(run / "model").config.svm.difficult for run in (work.run, finished)] == [False, True]


def test_memory_reaches_the_row_store_in_bytes(work, monkeypatch):
    seen = []
    monkeypatch.setattr(
        mining.HardWindows, "__init__", lambda self, dim, n, memory, folder: seen.append(memory) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        commands.train_svms([*work.data, "--overwrite", "--memory", "0.5"])
    assert seen == [2**29]


@pytest.mark.slow
def test_preset_reaches_scales_and_constants(work):
    assert commands.extract_features([*work.extract, "--preset", "released", "--overwrite"]) == 0
    assert commands.train_svms([*work.data, "--overwrite", "--no-bbox-regression"]) == 0  # takes the features' preset
    config = load(work.run / "model").config
    assert (config.preset, config.pooling.offset, config.svm.thinning_iou) == ("released", 6.5, None)
    assert config.pooling.scales == (160,)


def test_backbone_picks_the_network(work, capsys):
    assert commands.extract_features([*work.extract, "--backbone", "vgg16"]) == 1
    assert "weights of vgg16" in capsys.readouterr().err


def test_metric_is_the_one_reported(work, tmp_path):
    for metric in ("voc07", "area"):
        assert commands.test_net([*work.data, "--metric", metric, "--json", str(tmp_path / "r.json")]) == 0
        assert json.loads((tmp_path / "r.json").read_text())["result"]["windows"]["metric"] == metric


def test_debug_shows_the_traceback(tmp_path, capsys):
    missing = ["--devkit", str(tmp_path / "none"), "--run", str(tmp_path)]
    assert commands.extract_proposals(missing) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert commands.extract_proposals([*missing, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_download_fetches_a_devkit_that_is_not_there(devkit, tmp_path, monkeypatch):
    asked = []

    def stand_in(root, year):
        asked.append((root, year))
        return devkit

    monkeypatch.setattr("data.download.download_voc", stand_in)
    argv = ["--voc2007", "--data-root", str(tmp_path), "--download", "--run", str(tmp_path / "run"), "--limit", "1"]
    assert commands.extract_proposals([*argv, "-j", "1"]) == 0
    assert asked == [(tmp_path, "2007")]


def test_voc2007_names_the_run_folder(devkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commands.extract_proposals(["--voc2007", "--devkit", str(devkit), "--limit", "1", "-j", "1"]) == 0
    assert (tmp_path / "runs" / "voc2007" / "proposals" / "ss" / "test.npz").is_file()


def test_make_minivoc_writes_what_was_asked(tmp_path, capsys):
    assert commands.make_minivoc([str(tmp_path / "set"), "--train", "2", "--test", "1", "--seed", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "set")
    again = minivoc.generate(tmp_path / "again", 2, 1, 3)
    for path in again.rglob("*.jpg"):
        assert path.read_bytes() == (tmp_path / "set" / path.relative_to(again)).read_bytes()


@pytest.mark.slow
def test_demo_ends_in_a_table_both_figures_and_pictures(weights, tmp_path, capsys):
    folders = ["--devkit", str(tmp_path / "set"), "--run", str(tmp_path / "run")]
    argv = [*folders, "--train", "6", "--test", "13", "--scales", "160", "--weights", str(weights), "-j", "1"]
    assert commands.demo(argv) == 0
    out = capsys.readouterr().out
    assert "mean" in out
    assert "before box regression" in out
    assert len(list((tmp_path / "run" / "pictures").glob("*.png"))) >= 12


def test_a_model_of_given_weights_detects_with_them_as_the_test_did(work, weights, tmp_path):
    detector = SPPDetector.from_pretrained(work.run / "model", weights=weights)
    assert network.build("alexnet", weights).weights_hash == detector.body.weights_hash
    stored, _ = load_npz(work.run / "detections" / "test-regressed.npz")
    for record in voc.load(work.devkit, None, "test"):
        found, expected = detector.detect(record.path).sorted(), stored[record.id].sorted()
        assert len(found) == len(expected) > 0
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    others = network.build("alexnet", weights).state_dict()
    others["features.0.bias"] = others["features.0.bias"] + 1
    write_state(tmp_path / "others.safetensors", others)
    with pytest.raises(ValueError, match="trained on alexnet with weights"):
        SPPDetector.from_pretrained(work.run / "model", weights=tmp_path / "others.safetensors")


@pytest.mark.slow
def test_a_source_of_proposals_goes_through_every_stage(work):
    shutil.rmtree(work.run / "proposals")
    flags = ["--proposals", "edgeboxes", "--max-boxes", "300"]
    assert commands.extract_features([*work.extract, *flags]) == 0
    assert commands.train_svms([*work.data, "--overwrite"]) == 0  # the only ones there are
    model = load(work.run / "model")
    assert (model.proposals["source"], model.proposals["max_boxes"]) == ("edgeboxes", 300)
    assert commands.extract_proposals([*work.data, "-j", "1"]) == 0
    assert commands.test_net(work.data) == 0  # takes those that the model learned from
    detections, meta = load_npz(work.run / "detections" / "test-windows.npz")
    assert meta["models"][0]["proposals"] == model.proposals
    assert commands.test_net([*work.data, "--proposals", "ss"]) == 0
    others, _ = load_npz(work.run / "detections" / "test-windows.npz")
    assert any(len(others[i]) != len(detections[i]) for i in detections)


def test_several_sources_ask_which(work, capsys):
    assert commands.extract_proposals([*work.data, "-j", "1", "--proposals", "edgeboxes"]) == 0
    assert commands.train_svms([*work.data, "--overwrite"]) == 1
    assert "has proposals of edgeboxes, ss; say which with --proposals" in capsys.readouterr().err


def test_somebodys_boxes_are_taken_from_files(work, tmp_path):
    for split in ("trainval", "test"):
        shutil.copy(work.run / "proposals" / "ss" / f"{split}.npz", tmp_path / f"boxes_{split}.npz")
    shutil.rmtree(work.run / "proposals")
    flags = ["--proposals", str(tmp_path / "boxes_{split}.npz")]
    assert commands.extract_features([*work.extract, *flags]) == 0
    assert not (work.run / "proposals").exists()
    assert commands.train_svms([*work.data, *flags, "--overwrite", "--max-boxes", "50"]) == 0
    assert load(work.run / "model").proposals["max_boxes"] == 50
    assert commands.test_net([*work.data, *flags]) == 0


@pytest.fixture
def tuned(work):
    """A run with mirrored features and layers fine-tuned for a moment."""
    assert commands.extract_features([*work.extract, "--mirror"]) == 0
    schedule = ["--schedule", "6:1e-3,2:1e-4", "--width", "24", "--block", "4", "--validate-every", "4"]
    work.tune = [*work.data, "--mirror", *schedule]
    assert commands.finetune(work.tune) == 0
    return work


def test_fine_tuned_layers_go_into_svms_and_softmax_scores(tuned, tmp_path):
    head = tuned.run / "head"
    names = {"fc_head.safetensors", "classifier.safetensors", "finetune.json", "curve.csv", "curve.png"}
    assert names == {p.name for p in head.iterdir()}
    assert [p["iteration"] for p in json.loads((head / "finetune.json").read_text())["curve"]] == [4, 8]
    assert commands.train_svms([*tuned.data, "--features", "fc7", "--overwrite"]) == 0
    assert load(tuned.run / "model").fc.layer == "fc7"
    assert load(tuned.run / "model").svms.weights.shape == (6, 24)
    out = tmp_path / "softmax.json"
    assert commands.test_net([*tuned.data, "--scores", "softmax", "--json", str(out)]) == 0
    found, _ = load_npz(tuned.run / "detections" / "test-softmax-windows.npz")
    scores = np.concatenate([d.scores for d in found.values()])
    assert 0.001 < scores.min() <= scores.max() < 1
    assert set(json.loads(out.read_text())["result"]) == {"windows", "regressed", "configuration"}


def test_margins_of_svms_on_pool5_and_on_fc7_are_averaged(tuned, weights, monkeypatch, caplog):
    for name in ("pool5", "fc7", "pool5+fc7"):
        assert commands.train_svms([*tuned.data, "--features", name, "--model-name", name]) == 0
    pool5, fc7, both = (load(tuned.run / name) for name in ("pool5", "fc7", "pool5+fc7"))
    assert (both.fc.layer, both.svms.weights.shape, both.notes["layer"]) == ("pool5+fc7", (6, 24 + 6), "pool5+fc7")
    windows = np.random.default_rng(0).random((4, both.pooled_length), np.float32)
    expected = (pool5.svms.scores(windows) + fc7.svms.scores(fc7.fc(windows))) / 2
    np.testing.assert_allclose(both.svms.scores(both.fc(windows)), expected, atol=1e-4)
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(both.regressors, pool5.regressors, strict=True))
    monkeypatch.setattr(mining, "visit_together", pytest.fail)  # nothing is mined again
    calibrate = [*tuned.data, "--model-name", "pool5+fc7", "--weights", str(weights)]
    assert commands.calibrate(calibrate) == 0
    assert "too few photos to hold some out" in caplog.text  # the layers have not seen one of the eight
    monkeypatch.setattr(calibrating, "FEWEST_UNSEEN", 1)
    held_out = []
    monkeypatch.setattr(
        calibrating, "_detect", lambda evidence, overlaps: (held_out.append(evidence), [Detections.empty()])[1]
    )
    assert commands.calibrate(calibrate) == 0
    (evidence,) = held_out
    margins = evidence.model.svms.scores(evidence.model.fc(windows))
    assert evidence.model.fc.layer == "pool5+fc7"
    assert not np.allclose(margins, expected, atol=1e-4)  # without that photo
    np.testing.assert_allclose(margins, expected, atol=1)
    test = [*tuned.data, "--model", str(tuned.run / "pool5+fc7")]
    assert commands.test_net(test) == 0
    tested, _ = load_npz(tuned.run / "detections" / "test-pool5+fc7-regressed.npz")
    photos = {p.stem: p for p in (tuned.devkit / "VOC2007" / "JPEGImages").iterdir()}
    name, expected = next((name, found) for name, found in tested.items() if len(found))
    boxes = load_boxes(tuned.run / "proposals" / "ss" / "test.npz")[0][name]
    detector = SPPDetector.from_pretrained(tuned.run / "pool5+fc7", weights=weights)
    np.testing.assert_allclose(detector.detect(photos[name], boxes).scores, expected.scores, atol=1e-4)
    bare = FcFeatures(both.fc.head.with_detectors(None), BOTH)
    replace(both, fc=bare).save(tuned.run / "bare")
    with pytest.raises(ValueError, match=r"lacks detectors\.weight"):
        load(tuned.run / "bare")


def test_layers_learn_from_views_of_other_sizes(work, capsys):
    views = ["--train-views", "0.7m", "1.25"]
    schedule = ["--schedule", "2:1e-3", "--width", "24", "--block", "2"]
    assert commands.finetune([*work.data, *views, *schedule]) == 1
    assert "and --train-views 0.7m 1.25" in capsys.readouterr().err
    assert commands.extract_features([*work.extract, *views]) == 0
    assert len(list(work.run.glob("resized-*features/*/manifest.json"))) == 2
    assert commands.finetune([*work.data, *views, *schedule]) == 0
    head = work.run / "head"
    assert json.loads((head / "finetune.json").read_text())["train_views"] == ["0.7m", "1.25"]
    learned = (head / "fc_head.safetensors").read_bytes()
    assert commands.finetune([*work.data, "--train-views", "0.7m", *schedule]) == 1
    assert "holds layers of other data or settings" in capsys.readouterr().err
    assert commands.train_svms([*work.data, *views, "--features", "fc7", "--bbox-features", "fc", "--overwrite"]) == 0
    trained = load(work.run / "model")
    assert trained.config.best_views == View.parse_all(views[1:])  # what the SVMs learned from
    assert trained.notes["train_views"] == views[1:]
    assert commands.train_bbox_regressors([*work.data, "--bbox-features", "fc", "--overwrite"]) == 0
    again = load(work.run / "model")
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(again.regressors, trained.regressors, strict=True))
    assert commands.test_net([*work.data, "--inference", "best"]) == 0
    capsys.readouterr()
    assert commands.train_svms([*work.data, "--features", "fc7", "--train-views", "1"]) == 1
    assert "holds a model of train_views ['0.7m', '1.25'], now ['1']" in capsys.readouterr().err
    assert commands.finetune([*work.data, *schedule, "--overwrite"]) == 0
    assert (head / "fc_head.safetensors").read_bytes() != learned
    assert commands.finetune([*work.data, "--mirror", *views]) == 1
    assert "mirror: goes without train_views" in capsys.readouterr().err


def test_larger_windows_reach_layers_svms_regressors_and_detection(work, weights, capsys):
    context = ["--context", "1.5"]
    schedule = ["--schedule", "2:1e-3", "--width", "24", "--block", "2"]
    assert commands.finetune([*work.data, *context, *schedule]) == 0
    assert commands.train_svms([*work.data, "--features", "fc7", "--overwrite"]) == 1
    assert "give layers of this network" in capsys.readouterr().err
    assert commands.train_svms([*work.data, *context, "--features", "fc7", "--overwrite"]) == 0
    trained = load(work.run / "model")
    assert (trained.config.pooling.context, trained.fc.head.fc6.in_features) == ((1.5,), (50 + 14) * 256)
    assert {r.weights.shape for r in trained.regressors if r} == {((50 + 14) * 256 + 1, 4)}
    assert commands.test_net(work.data) == 0
    tested, _ = load_npz(work.run / "detections" / "test-regressed.npz")
    photos = {p.stem: p for p in (work.devkit / "VOC2007" / "JPEGImages").iterdir()}
    name, expected = next((name, found) for name, found in tested.items() if len(found))
    boxes = load_boxes(work.run / "proposals" / "ss" / "test.npz")[0][name]
    detector = SPPDetector.from_pretrained(work.run / "model", weights=weights)
    found = detector.detect(photos[name], boxes)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert commands.train_svms([*work.data, "--context", "2", "--features", "fc7"]) == 1
    assert "holds a model of context [1.5], now [2.0]" in capsys.readouterr().err


def test_svms_and_regressors_learn_from_smaller_layers(tuned, capsys):
    flags = [*tuned.data, "--features", "fc7", "--energy", "0.9", "--bbox-features", "fc", "--overwrite"]
    assert commands.train_svms(flags) == 0
    model = load(tuned.run / "model")
    assert isinstance(model.fc.head.fc6, LowRankLinear)
    assert (model.bbox_on_fc, model.config.bbox.min_iou) == (True, 0.6)
    assert {r.weights.shape for r in model.regressors if r} == {(25, 4)}
    assert model.notes["energy"] == 0.9
    assert commands.test_net([*tuned.data, "--inference", "fast"]) == 0
    capsys.readouterr()
    assert commands.train_svms([*tuned.data, "--features", "fc7", "--energy", "0.9"]) == 1
    assert "holds box regressors with --bbox-features fc and --bbox-min-iou 0.6; give these" in capsys.readouterr().err
    assert commands.train_svms([*tuned.data, "--features", "fc7", "--energy", "0.5"]) == 1
    assert "holds a model of energy 0.9, now 0.5" in capsys.readouterr().err
    assert commands.train_svms([*tuned.data, "--features", "fc7"]) == 1
    assert "holds a model of energy 0.9, now None" in capsys.readouterr().err


def test_the_softmax_layer_has_a_say_in_the_margins(tuned, weights, capsys, monkeypatch):
    flags = [*tuned.data, "--features", "fc7", "--no-bbox-regression"]
    assert commands.train_svms([*flags, "--overwrite"]) == 0
    alone = load(tuned.run / "model").svms
    softmax = SoftmaxClassifier.load(tuned.run / "head" / "classifier.safetensors", alone.n_classes)
    added = softmax.log_odds(0.5, alone.feature_scale)
    assert commands.train_svms([*flags, "--softmax-weight", "0.5", "--overwrite"]) == 0
    both = load(tuned.run / "model").svms
    np.testing.assert_allclose(both.weights, alone.weights + added.weights, rtol=1e-6)
    np.testing.assert_allclose(both.bias, alone.bias + added.bias, rtol=1e-6)
    monkeypatch.setattr(mining, "visit_together", pytest.fail)  # from the windows that are there
    assert commands.calibrate([*tuned.data, "--weights", str(weights)]) == 0
    replace(load(tuned.run / "model"), calibration=CALIBRATION).save(tuned.run / "model")
    for weight, expected in (("0.5", both), ("0", alone), ("0.5", both)):
        assert commands.train_svms([*flags, "--softmax-weight", weight]) == 0
        found = load(tuned.run / "model")
        np.testing.assert_allclose(found.svms.weights, expected.weights, rtol=1e-4, atol=1e-6)
        assert found.notes["softmax_weight"] == float(weight)
    assert found.calibration is None  # of the margins before
    assert "weight of 0.5 instead of 0 in the margins" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--energy", "0.9"], "--energy goes with --features fc6, fc7 or pool5+fc7"),
        (["--bbox-features", "fc"], "bbox_features: fc goes with features fc6, fc7 or pool5+fc7"),
        (["--softmax-weight", "0.1"], "softmax_weight: goes with features fc7"),
        (["--softmax-weight", "1", "--features", "fc7", "--head", "random"], "softmax_weight: goes with features fc7"),
    ],
)
def test_what_needs_layers_says_so(work, capsys, flags, words):
    assert commands.train_svms([*work.data, *flags]) == 1
    assert words in capsys.readouterr().err


def test_regressors_on_layers_need_layers(work, capsys):
    assert commands.train_bbox_regressors([*work.data, "--bbox-features", "fc", "--overwrite"]) == 1
    assert "--bbox-features fc: the SVMs learned from pool5" in capsys.readouterr().err


def test_finished_layers_are_kept_and_others_refused(tuned, capsys):
    before = (tuned.run / "head" / "fc_head.safetensors").stat().st_mtime_ns
    assert commands.finetune(tuned.tune) == 0
    assert (tuned.run / "head" / "fc_head.safetensors").stat().st_mtime_ns == before
    capsys.readouterr()
    assert commands.finetune([*tuned.tune, "--seed", "1"]) == 1
    assert "holds layers of other data or settings; give --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--schedule", "fast"], "expected short, preset or ITERATIONS:RATE"),
        (["--schedule", "10:0"], "expected short, preset or ITERATIONS:RATE"),
        (["--validation", "1"], "leaves none of 8 images to train on"),
        (["--mirror"], "--mirror"),
        (["--start", "absent.safetensors"], "absent.safetensors"),
        (["--start", "imagenet", "--subspace", "16"], "--subspace goes with --start random"),
    ],
)
def test_fine_tuning_that_cannot_start_says_why_and_leaves_nothing(work, capsys, flags, words):
    assert commands.finetune([*work.data, *flags]) == 1
    assert words in capsys.readouterr().err
    assert not list(work.run.glob("head/*.*afetensors"))


def test_layers_learned_in_a_subspace_are_layers_of_pool5(work, monkeypatch):
    tune = [*work.data, "--schedule", "6:1e-3,2:1e-4", "--width", "24", "--block", "3", "--validate-every", "2"]
    tune += ["--subspace", "40"]
    keep, checkpoints = finetuning._keep, []

    def look(folder, *args):
        checkpoints.extend(sorted(p.name for p in folder.iterdir()))
        return keep(folder, *args)

    monkeypatch.setattr(finetuning, "_keep", look)
    assert commands.finetune(tune) == 0
    assert checkpoints[0] == "finetune.pt"
    assert checkpoints[1].startswith("subspace-")
    head = work.run / "head"
    assert {p.suffix for p in head.iterdir()} == {".safetensors", ".json", ".csv", ".png"}
    assert not list(head.glob("subspace-*"))
    assert FcHead.load(head / "fc_head.safetensors").fc6.weight.shape == (24, 256 * 50)
    first = (head / "fc_head.safetensors").read_bytes()
    assert commands.finetune([*tune[:-1], "41"]) == 1  # another training
    assert commands.finetune([*tune, "--overwrite"]) == 0
    assert (head / "fc_head.safetensors").read_bytes() == first


@pytest.mark.parametrize("damaged", [False, True])
def test_fine_tuning_in_a_subspace_resumes(work, monkeypatch, caplog, damaged):
    caplog.set_level("INFO")
    tune = [*work.data, "--schedule", "6:1e-3,2:1e-4", "--width", "24", "--block", "3", "--validate-every", "2"]
    tune += ["--subspace", "40"]
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "_show", lambda bar, done, loss: pytest.fail("stopped") if done == 5 else None)
        with pytest.raises(pytest.fail.Exception):
            commands.finetune(tune)
    if damaged:
        (basis,) = (work.run / "head").glob("subspace-*")
        basis.write_bytes(basis.read_bytes()[:100])
    assert commands.finetune(tune) == 0
    assert "resuming at iteration 4 of 8" in caplog.text


def test_a_class_without_windows_is_named(work, capsys, caplog, monkeypatch):
    monkeypatch.setattr(WindowBatches, "classes", lambda self: {0, 2, 3, 4})
    assert commands.finetune([*work.data, "--schedule", "2:1e-3", "--width", "8", "--block", "2"]) == 0
    assert "no training image has a window of cat, umbrella, which will not be found" in caplog.text


def test_softmax_of_other_classes_is_refused(work, capsys):
    assert commands.finetune([*work.data, "--schedule", "2:1e-3", "--width", "8", "--block", "2"]) == 0
    settings = work.run / "head" / "finetune.json"
    notes = json.loads(settings.read_text().replace('"cat"', '"dog"'))
    settings.write_text(json.dumps(with_digest(notes)))
    assert commands.test_net([*work.data, "--scores", "softmax"]) == 1
    assert "fine-tuned for other classes than the model" in capsys.readouterr().err


def test_softmax_scores_need_fine_tuned_layers(work, capsys):
    assert commands.test_net([*work.data, "--scores", "softmax"]) == 1
    assert "no fine-tuned layers; run `sppnet stage finetune`" in capsys.readouterr().err


def test_models_of_two_runs_score_together(work, weights, tmp_path):
    second = tmp_path / "second"
    data = [*work.data[:2], "--run", str(second)]
    assert commands.extract_features([*data, "--scales", "128", "--weights", str(weights), "-j", "1"]) == 0
    assert commands.train_svms([*data, "--max-negatives-per-image", "5"]) == 0
    models = [flag for run in (work.run, second) for flag in ("--model", str(run / "model"))]
    out = tmp_path / "together.json"
    assert commands.test_net([*work.data, *models, "--json", str(out)]) == 0
    together, meta = load_npz(work.run / "detections" / "test-union-windows.npz")
    alone, _ = load_npz(work.run / "detections" / "test-windows.npz")
    assert len(meta["models"]) == 2
    assert any(not np.isin(together[i].scores, alone[i].scores).all() for i in alone)
    first = [flag for _ in range(2) for flag in ("--model", str(work.run / "model"))]
    assert commands.test_net([*work.data, *first, "--combine", "mean"]) == 0
    mean, _ = load_npz(work.run / "detections" / "test-mean-windows.npz")
    assert all(np.array_equal(mean[i].boxes, alone[i].boxes) for i in alone)
    configuration = json.loads(out.read_text())["result"]["configuration"]
    assert [c["config"]["pooling"]["scales"] for c in configuration] == [[160], [128]]


def test_models_of_other_classes_do_not_score_together(work, tmp_path, capsys):
    other = tmp_path / "other" / "model"
    shutil.copytree(work.run, other.parent)
    settings = json.loads((other / "model.json").read_text())
    settings["classes"][0] = "unicorn"
    write_model_settings(other, settings)
    assert commands.test_net([*work.data, "--model", str(work.run / "model"), "--model", str(other)]) == 1
    assert "expected models of the same classes" in capsys.readouterr().err
