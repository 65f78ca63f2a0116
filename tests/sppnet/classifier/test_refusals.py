"""Photos and flags that cannot be used end with one line, before any work."""

import pytest

from tests.sppnet.classifier.helpers import alexnet_flags, network_flags, put, represent, train_network, train_svms


def test_an_empty_class_ends_with_one_line(tmp_path, capsys):
    put(tmp_path / "data", "full", (60, 60), (60, 60))
    (tmp_path / "data" / "empty").mkdir()
    for train in (train_network, train_svms):
        assert train(["--data", tmp_path / "data", "--run", tmp_path / "run"]) == 1
        assert capsys.readouterr().err.splitlines()[-1].endswith("add some or remove the folder")
    assert not (tmp_path / "run" / "classifier").exists()


def test_a_single_photo_ends_with_one_line(tmp_path, capsys):
    put(tmp_path / "data", "one", (60, 60))
    assert train_network(network_flags(tmp_path / "data", tmp_path)) == 1
    assert "holds only one class, one; expected one folder of photos per class" in capsys.readouterr().err
    put(tmp_path / "data", "two", (60, 60))
    assert train_network(network_flags(tmp_path / "data", tmp_path)) == 1
    assert "class one has one photo, expected at least one for training and one for" in capsys.readouterr().err


def test_a_photo_of_five_pixels_ends_with_one_line(weights, tmp_path, capsys):
    told = "1.png: 5 x 5 pixels is too small; use photos with sides of 16 or more"
    put(tmp_path / "data", "one", (60, 60), (5, 5))
    put(tmp_path / "data", "two", (60, 60), (60, 60))
    assert train_network(network_flags(tmp_path / "data", tmp_path)) == 1
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert train_svms([*alexnet_flags(tmp_path / "data", tmp_path / "c", weights), "--short-side", "64"]) == 1
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pyramid", "none", "--sizes", "180"], "a network without SPP is trained at 224 pixels"),
        (["--sizes", "180", "200-224"], "give sizes to take in turn, or one range, not both"),
        (["--sizes", "300"], "crops have 224 pixels; give 224 or less"),
        (["--sizes", "30"], "zf5-small needs sides of 31 or more"),
        (["--sizes", "224-180"], "sizes: expected a number as 224, or a range as 180-224, got '224-180'"),
        (["--backbone", "torchvision:resnet18", "--start", "random"], "cannot be trained from scratch; use one of"),
        (["--batch", "1"], "--batch 1: batch normalisation needs two or more photos"),
        (["--start", "random", "--weights", "w.pt"], "--weights: --start random uses no weights; leave it out"),
        (["--limit", "1"], "stripes (--limit 1): class across has one photo, expected at least one for training"),
        (["--backbone", "resnet50"], "expected one of alexnet, vgg16,"),
    ],
)
def test_flags_that_contradict_each_other_end_with_one_line(folder, tmp_path, flags, words, capsys):
    assert train_network(network_flags(folder, tmp_path, *flags)) == 1
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "flags",
    [
        ["--seed", "-1"],
        ["--rate", "nan"],
        ["--rate", "0"],
        ["--dropout", "1"],
        ["--train-share", "1"],
        ["--colour", "-1"],
        ["--colour", "inf"],
    ],
)
def test_flags_out_of_range_are_usage_errors(folder, tmp_path, flags, capsys):
    with pytest.raises(SystemExit) as left:
        train_network(network_flags(folder, tmp_path, *flags))
    assert left.value.code == 2
    assert f"error: argument {flags[0]}: expected a" in capsys.readouterr().err


@pytest.mark.parametrize("command", [train_network, train_svms, represent])
def test_commands_without_photos_ask_which(command, capsys):
    assert command([]) == 1
    asked = "which photos? give --data with a folder that holds one folder of photos per class"
    assert capsys.readouterr().err == f"error: {asked}\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metric", "area"], "--metric: only for --voc2007; leave it out"),
        (["--devkit", "VOCdevkit"], "--devkit: only for --voc2007; leave it out"),
        (["--test-split", "val"], "--test-split: only for --voc2007; leave it out"),
        (["--download"], "--download: fetches VOC 2007 or Caltech-101, not the photos of --data; leave it out"),
        (["--limit", "1"], "stripes (--limit 1): class across has one photo"),
        (["--train", "8"], "across has 8 photos, expected 8 for training and one for testing"),
    ],
)
def test_flags_that_would_change_nothing_are_refused(folder, weights, tmp_path, flags, words, capsys):
    assert train_svms([*alexnet_flags(folder, tmp_path, weights), *flags]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "representations").exists()


def test_a_data_set_in_voc_layout_is_refused_with_what_to_give(weights, tmp_path, devkit, capsys):
    assert train_svms(alexnet_flags(devkit, tmp_path, weights)) == 1
    assert "a data set in VOC layout; give one folder of photos per class" in capsys.readouterr().err


def test_an_unknown_network_is_named_with_the_known_ones(folder, tmp_path, capsys):
    assert train_svms(["--data", folder, "--run", tmp_path, "--backbone", "resnet50"]) == 1
    assert "resnet50: no such classifier folder or network; give a folder, alexnet," in capsys.readouterr().err
