"""The commands of image classification, from folders of photos to answers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classification import SPPClassifier
from classification.views import View
from data import minivoc
from detection import network
from detection.weights.state_dict import write_state
from tests.classification.conftest import folder, picture  # noqa: F401 (a fixture)
from tools import classify, common, extract_representations, predict, test_classifier, train_classifier

ROOT = Path(__file__).parents[2]
QUICK = ["--epochs", "2", "--width", "16", "--train-share", "0.5"]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):  # noqa: F811
    run = tmp_path_factory.mktemp("runs") / "stripes"
    assert train_classifier.main(["--data", str(folder), "--run", str(run), *QUICK, "--json", str(run / "t.json")]) == 0
    return run


def test_training_leaves_a_classifier_a_curve_and_its_settings(trained):
    names = {p.name for p in trained.iterdir() if not p.name.startswith(".")}
    assert names == {"classifier", "curve.csv", "curve.png", "training.json", "t.json"}
    settings = json.loads((trained / "training.json").read_text())
    assert [p["epoch"] for p in settings["curve"]] == [1, 2]
    assert (settings["photos"], settings["held_out"]) == (8, 8)
    assert json.loads((trained / "t.json").read_text())["result"]["classes"] == ["across", "down"]


def test_a_finished_training_is_not_repeated_and_another_is_not_written_over_it(trained, folder, capsys):  # noqa: F811
    data = ["--data", str(folder), "--run", str(trained), *QUICK]
    before = (trained / "classifier" / "network.safetensors").read_bytes()
    assert train_classifier.main(data) == 0
    assert "trained already" in capsys.readouterr().err
    assert train_classifier.main([*data, "--seed", "1"]) == 1
    assert "other data or settings; give --overwrite, or another --run" in capsys.readouterr().err
    assert (trained / "classifier" / "network.safetensors").read_bytes() == before


def test_errors_of_views_are_those_of_the_held_out_photos(trained, tmp_path, capsys):
    out = tmp_path / "views.json"
    views = ["crop", "ten", "full", "maps", "maps+full"]
    assert test_classifier.main(["--run", str(trained), "--views", *views, "--json", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("8 photos, 2 classes")
    result = json.loads(out.read_text())["result"]
    assert list(result) == ["crop 256", "ten 256", "full 256", "maps", "maps+full"]
    classifier = SPPClassifier.from_pretrained(trained / "classifier")
    kept = json.loads((trained / "training.json").read_text())["test"]
    wrong = [classifier.classify(path, View("full")).label != classifier.classes[k] for path, k in kept]
    assert result["full 256"]["top1_error"] == pytest.approx(100 * np.mean(wrong))
    assert all(r["top5_error"] == 0 for r in result.values())


def test_a_loaded_classifier_says_what_the_saved_one_said(trained, folder, tmp_path):  # noqa: F811
    photo = folder / "down" / "5.png"
    classifier = SPPClassifier.from_pretrained(trained / "classifier")
    classifier.save(tmp_path / "copy")
    again = SPPClassifier.from_pretrained(tmp_path / "copy")
    found = classifier.classify(photo)
    assert np.array_equal(again.classify(Image.open(photo)).scores, found.scores)
    assert found.scores.sum() == pytest.approx(1)
    assert found.label == found.top(1)[0][0]
    assert str(found).startswith(found.label)
    assert np.array_equal(again.represent(photo, "fc7"), classifier.represent(photo, "fc7"))


def test_predictions_are_printed_and_kept(trained, folder, tmp_path, capsys):  # noqa: F811
    model = ["--model", str(trained / "classifier")]
    out, table = tmp_path / "p.json", tmp_path / "p.csv"
    assert predict.main([str(folder / "down"), *model, "--top", "1", "--json", str(out), "--csv", str(table)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8
    photos = json.loads(out.read_text())["result"]["photos"]
    assert [len(p["classes"]) for p in photos] == [1] * 8
    assert len(table.read_text().splitlines()) == 9


def test_a_bad_photo_is_named_and_the_others_are_answered(trained, folder, tmp_path, capsys):  # noqa: F811
    (tmp_path / "in").mkdir()
    shutil.copy(folder / "down" / "0.png", tmp_path / "in")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    Image.new("RGB", (5, 5)).save(tmp_path / "in" / "tiny.png")
    assert predict.main([str(tmp_path / "in"), "--model", str(trained / "classifier")]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    last = err.splitlines()[-1]
    assert last.startswith("error: 2 of 3 files could not be used: ")
    assert "broken.jpg" in last
    assert "5 x 5 pixels" in last


def train_flags(data, tmp_path, *more):
    return ["--data", str(data), "--run", str(tmp_path / "run"), *QUICK, *more]


def put(root, name, *sizes, mode="RGB"):
    (root / name).mkdir(parents=True)
    for i, size in enumerate(sizes):
        Image.fromarray(picture(0, i, size)).convert(mode).save(root / name / f"{i}.png")


def test_an_empty_class_ends_with_one_line(tmp_path, capsys):
    put(tmp_path / "data", "full", (60, 60), (60, 60))
    (tmp_path / "data" / "empty").mkdir()
    for tool in (train_classifier, classify):
        assert tool.main(["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]) == 1
        assert capsys.readouterr().err.splitlines()[-1].endswith("add some or remove the folder")
    assert not (tmp_path / "run" / "classifier").exists()


def test_a_single_photo_ends_with_one_line(tmp_path, capsys):
    put(tmp_path / "data", "one", (60, 60))
    assert train_classifier.main(train_flags(tmp_path / "data", tmp_path)) == 1
    assert "holds only one class, one; expected one folder of photos per class" in capsys.readouterr().err
    put(tmp_path / "data", "two", (60, 60))
    assert train_classifier.main(train_flags(tmp_path / "data", tmp_path)) == 1
    assert "class one has one photo; one is needed to train on, one to hold out" in capsys.readouterr().err


def test_a_photo_of_five_pixels_ends_with_one_line(tmp_path, capsys):
    put(tmp_path / "data", "one", (60, 60), (5, 5))
    put(tmp_path / "data", "two", (60, 60), (60, 60))
    assert train_classifier.main(train_flags(tmp_path / "data", tmp_path)) == 1
    assert "1.png: 5 x 5 pixels is too small; use photos with sides of 16 or more" in capsys.readouterr().err
    assert classify.main(["--data", str(tmp_path / "data"), "--run", str(tmp_path / "c"), "--limit", "2"]) in (1,)
    assert "5 x 5 pixels" in capsys.readouterr().err.splitlines()[-1]


def test_a_size_below_the_networks_smallest_ends_with_one_line(folder, tmp_path, capsys):  # noqa: F811
    assert train_classifier.main(train_flags(folder, tmp_path, "--sizes", "30")) == 1
    assert "zf5-small needs sides of 31 or more" in capsys.readouterr().err


def test_grey_and_coloured_photos_are_learned_together(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / "data", name, (60, 80), (70, 60))
    put(tmp_path / "data", "c", (60, 80), (70, 60), mode="L")
    assert train_classifier.main(train_flags(tmp_path / "data", tmp_path, "--epochs", "1")) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pyramid", "none", "--sizes", "180"], "a network without SPP is trained at 224 pixels"),
        (["--sizes", "180", "200-224"], "give sizes to take in turn, or one range, not both"),
        (["--sizes", "300"], "crops have 224 pixels; give 224 or less"),
        (["--dropout", "1"], "expected 0 or more, less than 1"),
        (["--backbone", "torchvision:resnet18", "--start", "random"], "cannot be trained from scratch; use one of"),
        (["--train-share", "1"], "--train-share 1.0: expected more than 0, less than 1"),
        (["--colour", "-1"], "--colour -1.0: expected 0 or more"),
        (["--batch", "1"], "one photo has no statistics to be normalised by"),
        (["--start", "random", "--weights", "w.pt"], "--weights: --start random takes no weights; leave it out"),
        (["--limit", "1"], "stripes (--limit 1): class across has one photo; one is needed to train on"),
        (["--backbone", "resnet50"], "expected one of alexnet, vgg16,"),
    ],
)
def test_flags_that_contradict_each_other_end_with_one_line(folder, tmp_path, flags, words, capsys):  # noqa: F811
    assert train_classifier.main(train_flags(folder, tmp_path, *flags)) == 1
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (["--start", "frozen"], False),
        (["--start", "tuned"], True),
    ],
)
def test_pretrained_convolutions_are_left_or_trained_on_as_asked(folder, weights, tmp_path, flags, changes):  # noqa: F811
    run = train_flags(folder, tmp_path, "--backbone", "alexnet", "--weights", str(weights), "--epochs", "1", *flags)
    assert train_classifier.main(run) == 0
    made = tmp_path / "run" / "classifier"
    classifier = SPPClassifier.from_pretrained(made, weights="pretrained" if changes else weights)
    start = network.build("alexnet", weights)
    assert (classifier.extractor.body.weights_hash != start.weights_hash) == changes
    assert ((made / "network.safetensors").stat().st_size > 9e6) == changes  # without convolutions: 0.8 MB
    if not changes:
        other = tmp_path / "other.safetensors"
        write_state(other, network.assemble("alexnet", seed=9).state_dict())
        with pytest.raises(ValueError, match="trained on other weights of alexnet"):
            SPPClassifier.from_pretrained(made, weights=other)


@pytest.mark.parametrize(
    "flags",
    [
        ["--pyramid", "none"],
        ["--pyramid", "30", "--sizes", "224", "180"],
        ["--pyramid", "21", "--sizes", "180-224", "--no-norm", "--no-mirror", "--colour", "0", "--batch", "1"],
        ["--patience", "3", "--rate", "0.001", "--batch", "4", "--precision", "fp32", "-j", "1"],
    ],
)
def test_every_kind_of_training_ends_in_a_classifier(folder, tmp_path, flags):  # noqa: F811
    out = ["--json", str(tmp_path / "t.json")]
    assert train_classifier.main([*train_flags(folder, tmp_path, *flags), *out]) == 0
    views = ["crop", "ten"] if "none" in flags else ["full"]
    assert test_classifier.main(["--run", str(tmp_path / "run"), "--views", *views]) == 0


@pytest.mark.parametrize("flags", [["--sizes", "224-180"], ["--seed", "-1"], ["--rate", "nan"], ["--rate", "0"]])
def test_flags_out_of_range_are_refused_as_they_are_read(folder, tmp_path, flags, capsys):  # noqa: F811
    with pytest.raises(SystemExit):
        train_classifier.main(train_flags(folder, tmp_path, *flags))
    assert f"error: argument {flags[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("tool", [train_classifier, classify, extract_representations])
def test_commands_without_photos_ask_which(tool, capsys):
    assert tool.main([]) == 1
    assert capsys.readouterr().err == "error: which photos? give --data with a folder that has a folder a class\n"


def test_a_training_done_again_and_interrupted_goes_on_without_overwrite(folder, tmp_path, monkeypatch, capsys):  # noqa: F811
    from classification.training import Training

    run = train_flags(folder, tmp_path)
    assert train_classifier.main(run) == 0
    before = (tmp_path / "run" / "classifier" / "network.safetensors").read_bytes()
    real, epochs = Training._train, []

    def stopped(self, *args):
        if len(epochs) == 1:
            raise KeyboardInterrupt
        epochs.append(1)
        return real(self, *args)

    monkeypatch.setattr(Training, "_train", stopped)
    assert train_classifier.main([*run, "--overwrite"]) == 130
    assert (tmp_path / "run" / "training.pt").is_file()
    monkeypatch.setattr(Training, "_train", lambda self, *args: (epochs.append(2), real(self, *args))[1])
    assert train_classifier.main(run) == 0
    assert epochs == [1, 2]
    assert (tmp_path / "run" / "classifier" / "network.safetensors").read_bytes() == before
    assert train_classifier.main([*run, "--overwrite"]) == 0
    assert epochs == [1, 2, 2, 2]


def test_a_photo_replaced_under_its_name_is_another_training(folder, tmp_path, capsys):  # noqa: F811
    data = shutil.copytree(folder, tmp_path / "data")
    run = train_flags(data, tmp_path, "--epochs", "1")
    assert train_classifier.main(run) == 0
    os.utime(data / "down" / "2.png", (1, 1))
    assert train_classifier.main(run) == 0
    assert "trained already" in capsys.readouterr().err
    Image.fromarray(picture(1, 50)).save(data / "down" / "2.png")
    assert train_classifier.main(run) == 1
    assert "holds a classifier of other data or settings" in capsys.readouterr().err


def test_svms_do_not_take_the_place_of_a_trained_network_nor_the_other_way(folder, weights, tmp_path, capsys):  # noqa: F811
    run, svms = train_flags(folder, tmp_path), arguments(folder, tmp_path / "run", weights)
    assert train_classifier.main(run) == 0
    before = (tmp_path / "run" / "classifier" / "classifier.json").read_bytes()
    svms = [*svms, "--short-side", "64", "--divisions", "1"]
    assert classify.main(svms) == 1
    assert "a trained network; give another --run, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "run" / "classifier" / "classifier.json").read_bytes() == before
    assert classify.main([*svms, "--overwrite"]) == 0
    assert classify.main([*svms, "--cost", "1"]) == 0  # of the command's own making: a minute's work
    assert train_classifier.main(run) == 1
    assert "holds a classifier of other data or settings" in capsys.readouterr().err
    # What was held out in the training, the SVMs have learned from.
    test = ["--run", str(tmp_path / "run"), "--weights", str(weights), "--views", "full"]
    assert test_classifier.main(test) == 1
    assert "no record of held-out photos; say with --data what to test on" in capsys.readouterr().err


def test_a_classifier_at_work_is_left_alone(folder, weights, tmp_path, capsys):  # noqa: F811
    with common.exclusive(tmp_path / "classifier"):
        assert classify.main(arguments(folder, tmp_path, weights)) == 1
    assert "another process is at work on it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metric", "area"], "--metric: goes with --voc2007; leave it out"),
        (["--devkit", "VOCdevkit"], "--devkit: goes with --voc2007; leave it out"),
        (["--test-split", "val"], "--test-split: goes with --voc2007; leave it out"),
        (["--download"], "--download: fetches VOC 2007 or Caltech-101, not what --data names; leave it out"),
        (["--limit", "1"], "stripes (--limit 1): class across has one photo"),
        (["--train", "8"], "across has 8 photos, expected 8 for training and one for testing"),
    ],
)
def test_flags_that_would_change_nothing_are_refused(folder, weights, tmp_path, flags, words, capsys):  # noqa: F811
    assert classify.main([*arguments(folder, tmp_path, weights), *flags]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "representations").exists()


def test_test_photos_may_be_limited_where_the_training_photos_are_a_half(folder, weights, tmp_path, monkeypatch):  # noqa: F811
    from sppnet.classifier import svms

    tested, real = [], svms.evaluation.mean_class_accuracy

    def counted(scores, labels):
        tested.append(np.bincount(labels).tolist())
        return real(scores, labels)

    monkeypatch.setattr(svms.evaluation, "mean_class_accuracy", counted)
    data = [*arguments(folder, tmp_path, weights), "--short-side", "64", "--divisions", "1"]
    assert classify.main([*data, "--test", "3"]) == 0
    assert classify.main(data) == 0
    assert tested == [[3, 3], [4, 4]]


def test_an_unknown_network_is_told_with_those_that_are_known(folder, capsys):  # noqa: F811
    assert classify.main(["--data", str(folder), "--backbone", "resnet50"]) == 1
    assert "resnet50: no such classifier folder or network; give a folder, alexnet," in capsys.readouterr().err


def test_a_test_folder_may_lack_a_class(trained, folder, tmp_path, capsys):  # noqa: F811
    shutil.copytree(folder / "down", tmp_path / "data" / "down")
    run = ["--run", str(trained), "--views", "crop"]
    assert test_classifier.main([*run, "--data", str(tmp_path / "data"), "--limit", "3"]) == 0
    assert capsys.readouterr().out.startswith("3 photos, 2 classes")
    assert test_classifier.main([*run, "--limit", "1"]) == 0
    assert capsys.readouterr().out.startswith("2 photos, 2 classes")


def test_an_unknown_folder_of_test_photos_is_compared_with_the_classes(trained, folder, tmp_path, capsys):  # noqa: F811
    assert test_classifier.main(["--run", str(trained), "--data", str(folder), "--views", "crop"]) == 0
    put(tmp_path / "data", "x", (60, 60), (60, 60))
    put(tmp_path / "data", "y", (60, 60), (60, 60))
    assert test_classifier.main(["--run", str(trained), "--data", str(tmp_path / "data")]) == 1
    assert "folder x is not one of the 2 classes" in capsys.readouterr().err


def test_damaged_classifiers_are_told_so(trained, tmp_path):
    shutil.copytree(trained / "classifier", tmp_path / "c")
    file = tmp_path / "c" / "network.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"damaged classifier .*network.safetensors does not match its checksum"):
        SPPClassifier.from_pretrained(tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="train a classifier with `sppnet classifier train`"):
        SPPClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize("key", ["format", "classes", "layer", "fixed", "weights_hash", "notes", "view"])
def test_settings_that_lack_something_are_told_so(trained, folder, tmp_path, key, capsys):  # noqa: F811
    shutil.copytree(trained / "classifier", tmp_path / "run" / "classifier")
    file = tmp_path / "run" / "classifier" / "classifier.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in settings.items() if name != key}))
    assert predict.main([str(folder / "down"), "--model", str(file.parent)]) == 1
    assert f"damaged classifier ('{key}')" in capsys.readouterr().err
    file.write_text(json.dumps(settings | {"classes": ["down"]}))
    assert predict.main([str(folder / "down"), "--model", str(file.parent)]) == 1
    assert "damaged classifier (1 classes, but weights for 2)" in capsys.readouterr().err
    file.write_text("{}")
    assert train_classifier.main(train_flags(folder, tmp_path)) == 1
    assert "damaged classifier ('format'); give --overwrite, or another --run" in capsys.readouterr().err


def test_a_damaged_record_of_a_training_is_told_so(trained, folder, tmp_path, capsys):  # noqa: F811
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "training.json").write_text("{}")
    assert test_classifier.main(["--run", str(run)]) == 1
    assert "training.json: damaged ('test'); train again with --overwrite" in capsys.readouterr().err
    assert train_classifier.main(train_flags(folder, tmp_path)) == 1
    assert "training.json: damaged" in capsys.readouterr().err


def test_weights_for_a_classifier_that_has_its_own_are_refused(trained, folder, weights, capsys):  # noqa: F811
    model = ["--model", str(trained / "classifier"), "--weights", str(weights)]
    assert predict.main([str(folder / "down"), *model]) == 1
    assert "holds its own trained convolutions; leave --weights out" in capsys.readouterr().err


def test_a_network_without_classes_describes_photos(folder, weights):  # noqa: F811
    network_only = SPPClassifier.from_pretrained("alexnet", weights=weights)
    photo = folder / "down" / "1.png"
    vector = network_only.represent(photo)
    assert vector.shape == (12_800,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    finest = network_only.represent(photo, "6x6", view=View("warp", 224))
    assert finest.shape == (9_216,)
    with pytest.raises(ValueError, match="alexnet: this network represents photos but has no classes"):
        network_only.classify(photo)
    with pytest.raises(ValueError, match="alexnet: this network represents photos"):
        network_only.save("nowhere")


def arguments(photos, run, weights):
    """For an AlexNet of these weights."""
    return ["--data", str(photos), "--run", str(run), "--backbone", "alexnet", "--weights", str(weights)]


def test_svms_on_folders_end_in_a_classifier(folder, weights, tmp_path, capsys):  # noqa: F811
    data = [*arguments(folder, tmp_path, weights), "--short-side", "96"]
    assert extract_representations.main([*data, "--layers", "spp", "6x6"]) == 0
    assert "16 vectors of 12800" in capsys.readouterr().out
    assert classify.main([*data, "--divisions", "3", "--json", str(tmp_path / "r.json")]) == 0
    out, err = capsys.readouterr()
    assert "made already" in err
    assert "3 random divisions" in out
    result = json.loads((tmp_path / "r.json").read_text())["result"]
    assert len(result["accuracies"]) == 3
    assert result["mean"] == pytest.approx(np.mean(result["accuracies"]))
    assert result["deviation"] == pytest.approx(np.std(result["accuracies"], ddof=1))
    classifier = SPPClassifier.from_pretrained(tmp_path / "classifier", weights=weights)
    found = [(path.parent.name, classifier.classify(path)) for path in folder.rglob("*.png")]
    # Of the sixteen that it was trained on, by random features.
    assert sum(name == answer.label for name, answer in found) >= 13
    assert found[0][1].scores.max() > 0 > found[0][1].scores.min()


def test_margins_of_several_views_are_those_that_were_evaluated(folder, weights, tmp_path):  # noqa: F811
    data = arguments(folder, tmp_path, weights)
    assert classify.main([*data, "--view", "ten", "--layer", "6x6", "--limit", "3", "--divisions", "1"]) == 0
    classifier = SPPClassifier.from_pretrained(tmp_path / "classifier", weights=weights)
    made = tmp_path / "representations" / "alexnet-ten-224" / "all-limit-3"
    photos = json.loads((made / "manifest.json").read_text())["photos"]
    answers = np.array([classifier.classify(photo).scores for photo in photos])
    assert np.allclose(answers, classifier.model.linear(np.load(made / "6x6.npy")), atol=1e-4)


def test_a_trial_with_few_photos_leaves_the_vectors_of_all(folder, weights, tmp_path, capsys):  # noqa: F811
    data = [*arguments(folder, tmp_path, weights), "--short-side", "64"]
    assert extract_representations.main(data) == 0
    assert extract_representations.main([*data, "--limit", "2"]) == 0
    assert "4 vectors" in capsys.readouterr().out
    assert extract_representations.main(data) == 0
    assert "made already" in capsys.readouterr().err


def test_vectors_of_other_settings_are_made_again_only_when_asked(folder, weights, tmp_path, capsys):  # noqa: F811
    data, size = arguments(folder, tmp_path, weights), ["--short-side", "64"]
    assert extract_representations.main([*data, *size]) == 0
    other = tmp_path / "other.safetensors"
    write_state(other, network.assemble("alexnet", seed=3).state_dict())
    changed = [*arguments(folder, tmp_path, other), *size]
    assert extract_representations.main(changed) == 1
    assert "holds vectors of other settings (weights: " in capsys.readouterr().err
    assert extract_representations.main([*changed, "--overwrite"]) == 0


def test_folders_for_training_and_testing_are_used_as_they_are(folder, weights, tmp_path, capsys):  # noqa: F811
    for name, first in (("train", 0), ("test", 6)):
        for kind in ("across", "down"):
            (tmp_path / "data" / name / kind).mkdir(parents=True)
            for i in range(first, first + 6 if name == "train" else 8):
                shutil.copy(folder / kind / f"{i}.png", tmp_path / "data" / name / kind)
    data = ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    assert classify.main([*data, "--backbone", "alexnet", "--weights", str(weights), "--short-side", "96"]) == 0
    assert "of 4 test photos right" in capsys.readouterr().out
    assert classify.main([*data, "--divisions", "3"]) == 1
    assert "--divisions: the photos are divided already; leave it out" in capsys.readouterr().err
    data[-1] += "-scratch"
    assert train_classifier.main([*data, "--epochs", "1", "--width", "16"]) == 0
    assert "of 4 held-out photos right" in capsys.readouterr().out


def test_the_protocol_of_voc_gives_every_class_its_average_precision(weights, tmp_path, capsys):
    devkit = minivoc.generate(tmp_path / "VOCdevkit", train=24, test=8, seed=0)
    data = [
        "--voc2007",
        "--devkit",
        str(devkit),
        "--run",
        str(tmp_path / "run"),
        "--backbone",
        "alexnet",
        "--weights",
        str(weights),
    ]
    data += ["--short-side", "64", "--json", str(tmp_path / "r.json")]
    assert classify.main(data) == 0
    out = capsys.readouterr().out
    assert "trainval -> VOC2007 test" in out
    found = json.loads((tmp_path / "r.json").read_text())["result"]
    assert found["mean_ap"] == pytest.approx(np.nanmean(list(found["ap"].values())))
    assert classify.main([*data, "--metric", "area", "--cost", "0.1"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["result"]["ap"] != found["ap"]
    assert classify.main([*data, "--train-split", "test"]) == 1
    assert "--test-split test: these photos are trained on" in capsys.readouterr().err
    assert classify.main([*data, "--train", "3"]) == 1
    assert "--train: the photos are divided already" in capsys.readouterr().err
    assert classify.main([*data, "--limit", "1"]) == 1
    assert re.search(r"trainval: \w+ is in [01] of 1 photos; needs some with it", capsys.readouterr().err)
    assert classify.main([*data, "--data", "elsewhere"]) == 1
    assert "--voc2007 names the data set" in capsys.readouterr().err


def test_the_protocol_of_caltech_takes_thirty_photos_of_each_class(folder, weights, tmp_path, capsys, monkeypatch):  # noqa: F811
    fetched = []

    class Caltech101:
        def __init__(self, root, download):
            fetched.append(download)
            shutil.copytree(folder, Path(root) / "caltech101" / "101_ObjectCategories")

    monkeypatch.setattr("torchvision.datasets.Caltech101", Caltech101)
    data = ["--caltech101", "--data-root", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    data += ["--backbone", "alexnet", "--weights", str(weights), "--short-side", "64"]
    assert classify.main(data) == 1
    assert "no such folder" in capsys.readouterr().err
    assert classify.main([*data, "--download"]) == 1
    assert "across has 8 photos, expected 30 for training and one for testing" in capsys.readouterr().err
    assert classify.main([*data, "--download", "--train", "4", "--test", "3", "--divisions", "2"]) == 0
    assert fetched == [True]


def test_processes_that_torchrun_starts_end_in_one_classifier(folder, tmp_path):  # noqa: F811
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--",
        "tools/train_classifier.py",
    ]
    done = subprocess.run(
        [sys.executable, *command, *train_flags(folder, tmp_path, "--epochs", "1", "--json", str(tmp_path / "t.json"))],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("held-out photos right") == 1
    assert json.loads((tmp_path / "t.json").read_text())["result"]["photos"] == 8  # of the process that has a result
    assert SPPClassifier.from_pretrained(tmp_path / "run" / "classifier").classes == ("across", "down")
