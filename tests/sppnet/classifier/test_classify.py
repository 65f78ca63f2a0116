"""`sppnet classify` and `sppnet classifier test`: a trained classifier at work, and damaged ones."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from classification import SPPClassifier
from classification.views import View
from detection.value_digest import with_digest
from tests.sppnet.classifier.helpers import classify, network_flags, put, show_errors, train_network


def test_a_loaded_classifier_gives_the_scores_of_the_saved_one(trained, folder, tmp_path):
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


def test_predictions_are_printed_and_written(trained, folder, tmp_path, capsys):
    model = ["--model", trained / "classifier"]
    out, table = tmp_path / "p.json", tmp_path / "p.csv"
    assert classify([folder / "down", *model, "--top", "1", "--json", out, "--csv", table]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8
    photos = json.loads(out.read_text())["result"]["photos"]
    assert [len(p["classes"]) for p in photos] == [1] * 8
    assert len(table.read_text().splitlines()) == 9


def test_a_bad_photo_is_named_and_the_others_are_classified(trained, folder, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    shutil.copy(folder / "down" / "0.png", tmp_path / "in")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no photo")
    Image.new("RGB", (5, 5)).save(tmp_path / "in" / "tiny.png")
    assert classify([tmp_path / "in", "--model", trained / "classifier"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    last = err.splitlines()[-1]
    assert last.startswith("error: 2 of 3 files could not be used: ")
    assert "broken.jpg" in last
    assert "5 x 5 pixels" in last


def test_predictions_are_written_as_they_come(trained, folder, tmp_path, monkeypatch, capsys):
    argv = [
        folder / "down",
        "--model",
        trained / "classifier",
        "--json",
        tmp_path / "p.json",
        "--csv",
        tmp_path / "p.csv",
    ]
    assert classify(argv) == 0
    photos = json.loads((tmp_path / "p.json").read_text())["result"]["photos"]
    table = (tmp_path / "p.csv").read_text().splitlines()
    whole, seen = SPPClassifier.classify, []

    def stopping(self, photo, *more):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(photo)
        return whole(self, photo, *more)

    with monkeypatch.context() as patch:
        patch.setattr(SPPClassifier, "classify", stopping)
        assert classify(argv) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted; finished before: ")
    assert json.loads((tmp_path / "p.json").read_text())["result"]["photos"] == photos[:3]
    rows = sum(len(p["classes"]) for p in photos[:3])
    assert (tmp_path / "p.csv").read_text().splitlines() == table[: 1 + rows]
    assert classify(argv) == 0
    assert (tmp_path / "p.csv").read_text().splitlines() == table


def test_a_table_of_other_origin_and_a_photo_are_not_replaced(trained, folder, tmp_path, capsys):
    shutil.copytree(folder / "down", tmp_path / "in")
    (tmp_path / "mine.csv").write_text("file,label\n0.png,up\n")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    for flag, name in (("--csv", "mine.csv"), ("--csv", "in/0.png"), ("--json", "in/0.png")):
        assert classify([tmp_path / "in", "--model", trained / "classifier", flag, tmp_path / name]) == 1
        assert f"{name}: exists and is not from sppnet" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.*")} == before


@pytest.mark.slow
def test_errors_of_views_are_those_of_the_held_out_photos(trained, tmp_path, capsys):
    out = tmp_path / "views.json"
    views = ["crop", "ten", "full", "maps", "maps+full"]
    assert show_errors(["--run", trained, "--views", *views, "--json", out]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("8 photos, 2 classes")
    result = json.loads(out.read_text())["result"]
    assert list(result) == ["crop 256", "ten 256", "full 256", "maps", "maps+full"]
    classifier = SPPClassifier.from_pretrained(trained / "classifier")
    held_out = json.loads((trained / "training.json").read_text())["test"]
    wrong = [classifier.classify(path, View("full")).label != classifier.classes[k] for path, k in held_out]
    assert result["full 256"]["top1_error"] == pytest.approx(100 * np.mean(wrong))
    assert all(r["top5_error"] == 0 for r in result.values())


def test_a_test_folder_may_lack_a_class(trained, folder, tmp_path, capsys):
    shutil.copytree(folder / "down", tmp_path / "data" / "down")
    run = ["--run", trained, "--views", "crop"]
    assert show_errors([*run, "--data", tmp_path / "data", "--limit", "3"]) == 0
    assert capsys.readouterr().out.startswith("3 photos, 2 classes")
    assert show_errors([*run, "--limit", "1"]) == 0
    assert capsys.readouterr().out.startswith("2 photos, 2 classes")


def test_photos_of_unknown_classes_are_left_out_of_the_test(trained, folder, tmp_path, capsys):
    assert show_errors(["--run", trained, "--data", folder, "--views", "crop"]) == 0
    put(tmp_path / "data", "x", (60, 60), (60, 60))
    assert show_errors(["--run", trained, "--data", tmp_path / "data"]) == 1
    assert "none of its folders is one of the 2 classes" in capsys.readouterr().err
    shutil.copytree(folder / "down", tmp_path / "data" / "down")
    assert show_errors(["--run", trained, "--data", tmp_path / "data", "--views", "crop", "--limit", "3"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("3 photos, 2 classes")
    assert "left out 2 photos, of classes unknown from training: x (2)" in said.err


def test_a_damaged_file_of_a_classifier_is_named(trained, tmp_path):
    shutil.copytree(trained / "classifier", tmp_path / "c")
    file = tmp_path / "c" / "network.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"damaged classifier .*network.safetensors does not match its checksum"):
        SPPClassifier.from_pretrained(tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="train a classifier with `sppnet classifier train`"):
        SPPClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize("key", ["format", "classes", "layer", "fixed", "weights_hash", "notes", "view"])
def test_a_classifier_that_lacks_a_setting_is_reported(trained, folder, tmp_path, key, capsys):
    shutil.copytree(trained / "classifier", tmp_path / "run" / "classifier")
    file = tmp_path / "run" / "classifier" / "classifier.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in settings.items() if name != key}))
    assert classify([folder / "down", "--model", file.parent]) == 1
    assert f"damaged classifier ({key}" in capsys.readouterr().err
    file.write_text(json.dumps(with_digest(settings | {"classes": ["down"]})))
    assert classify([folder / "down", "--model", file.parent]) == 1
    assert "(linear.safetensors: weights (2, 16) and bias (2,) for 1 classes)" in capsys.readouterr().err
    file.write_text("{}")
    assert train_network(network_flags(folder, tmp_path)) == 1
    expected = "damaged classifier (format: expected 1, but it is missing); give --overwrite, or another --run"
    assert expected in capsys.readouterr().err


def test_weights_for_a_classifier_with_its_own_convolutions_are_refused(trained, folder, weights, capsys):
    assert classify([folder / "down", "--model", trained / "classifier", "--weights", weights]) == 1
    assert "holds its own trained convolutions; leave --weights out" in capsys.readouterr().err
