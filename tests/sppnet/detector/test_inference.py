"""Ways of inference, over the commands."""

import numpy as np

from detection import SPPDetector
from detection.config import View
from detection.detection_table import load_npz
from detection.model import load
from tests import commands


def regressed(work, name=""):
    return load_npz(work.run / "detections" / f"test-{name}regressed.npz")[0]


def test_views_need_their_features(work, capsys):
    assert commands.test_net([*work.data, "--inference", "best"]) == 1
    error = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "no such features; run `sppnet stage extract-features`" in error
    assert error.endswith("--precision, and --inference best")


def test_each_way_has_its_own_detections(work):
    before = regressed(work)
    assert commands.extract_features([*work.extract, "--inference", "best"]) == 0
    for name in ("fast", "best", "paper"):
        assert commands.test_net([*work.data, "--inference", name]) == 0
    paper, fast, best = (regressed(work, f"{name}-") for name in ("paper", "fast", "best"))
    np.testing.assert_array_equal(paper.rows.boxes, before.rows.boxes)
    assert not np.array_equal(fast.rows.boxes, before.rows.boxes)
    assert not np.array_equal(best.rows.scores, fast.rows.scores)


def test_a_training_states_how_its_detector_is_used(work, weights, capsys):
    argv = [*work.extract, "--backbone", "alexnet", "--precision", "fp32", "--inference", "best"]
    assert commands.train([*argv, "--views", "0.7", "1.25m"]) == 0
    config = load(work.run / "model").config
    assert config.views == config.best_views == (View(0.7), View(1.25, mirror=True))
    assert "mirrored features at 1.25 times the size" in capsys.readouterr().err
    photo = next((work.devkit / "VOC2007" / "JPEGImages").iterdir())
    stated = SPPDetector.from_pretrained(work.run / "model", weights=weights)
    as_in_the_paper = SPPDetector.from_pretrained(work.run / "model", weights=weights, inference="paper")
    assert not np.array_equal(stated.detect(photo).scores, as_in_the_paper.detect(photo).scores)


def test_a_training_states_the_views_of_best_whatever_its_own_way(work):
    argv = [*work.extract, "--backbone", "alexnet", "--precision", "fp32", "--views", "0.7", "1.25m"]
    assert commands.train(argv) == 0
    config = load(work.run / "model").config
    assert (config.inference, config.best_views) == ("paper", (View(0.7), View(1.25, mirror=True)))


def test_a_packed_model_states_its_views(work, weights, capsys):
    views, packed = ["--views", "0.8", "1.2m"], work.run / "packed"
    argv = [*work.data, "--to", str(packed), "--weights", str(weights), "--inference", "fast"]
    assert commands.command("export model")([*argv, *views]) == 0
    assert load(packed).config.views == (View(),)
    test = [*work.data, "--model", str(packed), "--inference", "best"]
    assert commands.test_net(test) == 1
    assert "--inference best --views 0.8 1.2m" in capsys.readouterr().err
    assert commands.extract_features([*work.extract, "--inference", "best", *views]) == 0
    assert commands.test_net(test) == 0
    photo = next((work.devkit / "VOC2007" / "JPEGImages").iterdir())
    fast, best = (SPPDetector.from_pretrained(packed, weights=weights, inference=i) for i in (None, "best"))
    assert best.model.config.views == (View(0.8), View(1.2, mirror=True))
    assert not np.array_equal(fast.detect(photo).scores, best.detect(photo).scores)


def test_views_that_nothing_looks_at_are_refused(work, capsys):
    assert commands.extract_features([*work.extract, "--views", "0.7"]) == 1
    assert "--views: only with --inference best" in capsys.readouterr().err


def test_views_that_are_none_are_refused(work, capsys):
    assert commands.extract_features([*work.extract, "--inference", "best", "--views", "0.7", "half"]) == 1
    assert "view: expected a factor from 0.1 to 10, with m if mirrored, as 0.7 or 1m; got 'half'" in (
        capsys.readouterr().err
    )


def test_detections_in_files_have_no_inference(work, capsys):
    argv = ["--comp4", work.run / "results" / "test-regressed", "--devkit", work.devkit, "--inference", "fast"]
    assert commands.evaluate(argv) == 1
    assert "--inference: only for --model" in capsys.readouterr().err


def test_detections_may_overlap_as_much_as_asked_for(work, weights, capsys):
    photo = next(work.devkit.rglob("test_*.jpg"))
    counts = {}
    for overlap in (0.3, 0.6):
        detector = SPPDetector.from_pretrained(work.run / "model", weights=weights, inference="fast", nms_iou=overlap)
        counts[overlap] = len(detector.detect(photo))
    assert counts[0.3] < counts[0.6]
    single = SPPDetector.from_pretrained(work.run, weights=weights, nms_iou=0.2)  # the run's folder names its model
    assert single.model.config.test.nms_iou == 0.2
    assert commands.test_net([*work.data, "--nms-iou", "0.6"]) == 0
    assert (work.run / "results" / "test-nms-0.6-regressed").is_dir()
    argv = ["--comp4", work.run / "results" / "test-regressed", "--devkit", work.devkit, "--nms-iou", "0.5"]
    assert commands.evaluate(argv) == 1
    assert "--nms-iou: only for --model" in capsys.readouterr().err
