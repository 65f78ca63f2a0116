"""classifier.json: every value is of the kind and size that its annotation says, or the classifier is refused."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from classification.classifier import SPPClassifier
from classification.extractor import Extractor
from classification.model import LINEAR, MODEL, NETWORK, check_files, softmax_model
from classification.views import View
from detection.value_digest import DIGEST, with_digest
from tests.classification.conftest import make_net, picture

NAN = float("nan")
CLASSES = ("across", "down")
WRONG = [
    *(("format", v) for v in (2, "1", None)),
    *(("classes", v) for v in ([], "ab", [1, 2], ["a", "a"], ["a", None], [["a"], "b"])),
    *(("network", v) for v in (None, 5, ["alexnet"])),
    ("weights_hash", 5),
    *(("preprocessing", v) for v in ([], "x", {})),
    *(("preprocessing.mean", v) for v in (0, [0, 0], ["0", 0, 0], [NAN, 0, 0], [[0], 0, 0])),
    *(("preprocessing.std", v) for v in ([0, 1, 1], [-1, 1, 1], ["1", 1, 1], None)),
    *(("preprocessing.scale", v) for v in ("1", 0, NAN)),
    *(("preprocessing.bgr", v) for v in (0, "no")),
    *(("levels", v) for v in (6, [], [0], ["1"], [1.0], [[1]], [10**6])),
    *(("fixed", v) for v in (0, "224", 1.5, 10**9)),
    *(("kind", v) for v in ("svms", None, 1, {})),
    *(("layer", v) for v in ("fc8", None, False)),
    *(("view", v) for v in (None, "full", {}, {"kind": "full"})),
    *(("view.kind", v) for v in ("half", None)),
    *(("view.short_side", v) for v in (0, "96", 10**9, 96.0)),
    *(("sha256", v) for v in ([], {"linear.safetensors": 5})),
    *(("notes", v) for v in (None, [], "x")),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder, fc8 = tmp_path_factory.mktemp("saved"), torch.nn.Linear(16, 2)
    rest = {"view": View("full", 96), "own_convolutions": True, "notes": {"training": "x"}}
    softmax_model(Extractor.of(make_net().eval()), fc8, classes=CLASSES, **rest).save(folder)
    return folder


def change(saved, folder, place, value):
    """Write classifier.json with another value at a dotted place beside links to the other files."""
    values = json.loads((saved / MODEL).read_text())
    *path, last = place.split(".")
    node = values
    for part in path:
        node = node[part]
    node[last] = value
    for file in saved.glob("*.safetensors"):
        (folder / file.name).symlink_to(file)
    (folder / MODEL).write_text(json.dumps(values))


def test_a_classifier_is_read_as_it_was_saved(saved):
    found = SPPClassifier.from_pretrained(saved, device="cpu")
    assert (found.classes, found.model.view, found.model.layer) == (CLASSES, View("full", 96), "fc7")
    assert (found.extractor.levels, found.extractor.fixed_size) == ((1, 2, 3, 6), None)
    assert np.isclose(found.classify(picture(0, 0)).scores.sum(), 1)


@pytest.mark.parametrize(("place", "value"), WRONG, ids=lambda v: repr(v)[:40])
def test_wrong_values_are_refused_by_name_in_one_line(saved, tmp_path, place, value):
    change(saved, tmp_path, place, value)
    with pytest.raises(ValueError, match="expected ") as caught:
        SPPClassifier.from_pretrained(tmp_path, device="cpu")
    assert str(caught.value).startswith(f"{tmp_path}: damaged classifier ({place}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [("classes", ["down", "across"]), ("kind", "svm"), ("layer", "fc6"), ("view.short_side", 97), ("notes.a", "b")],
)
def test_values_that_could_be_right_are_refused_if_they_are_others_than_were_saved(saved, tmp_path, place, value):
    change(saved, tmp_path, place, value)
    with pytest.raises(ValueError, match="its values do not match its digest"):
        SPPClassifier.from_pretrained(tmp_path, device="cpu")


def test_a_classifier_without_digest_is_read_as_before_if_its_parts_fit(saved, tmp_path):
    values = json.loads((saved / MODEL).read_text())
    del values[DIGEST]
    change(saved, tmp_path, "format", 1)
    (tmp_path / MODEL).write_text(json.dumps(values))
    assert SPPClassifier.from_pretrained(tmp_path, device="cpu").classes == CLASSES
    (tmp_path / MODEL).write_text(json.dumps(values | {"levels": [1, 2]}))
    with pytest.raises(ValueError, match=r"fc6 takes vectors of length \d+, but the levels give \d+"):
        SPPClassifier.from_pretrained(tmp_path, device="cpu")


def rewrite(saved, folder, file, change):
    """Write a classifier with other arrays in a file, and the right hashes and digest."""
    state = load_file(saved / file)
    change(state)
    values = json.loads((saved / MODEL).read_text())
    for other in saved.glob("*.safetensors"):
        (folder / other.name).write_bytes(save(state) if other.name == file else other.read_bytes())
    values["sha256"][file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    del values[DIGEST]
    (folder / MODEL).write_text(json.dumps(with_digest(values)))


@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        (LINEAR, "weights"),
        (LINEAR, "bias"),
        (NETWORK, "head.fc6.weight"),
        (NETWORK, "head.fc7.bias"),
        (NETWORK, "convolutions.conv2.weight"),
    ],
)
def test_weights_that_are_no_numbers_are_refused_by_name(saved, tmp_path, file, name, value):
    def change(state):
        state[name].view(-1)[3 % state[name].numel()] = value

    rewrite(saved, tmp_path, file, change)
    message = rf"{tmp_path}: damaged classifier \({file}: {name} holds 1 values that are not finite numbers"
    with pytest.raises(ValueError, match=message):
        SPPClassifier.from_pretrained(tmp_path, device="cpu")
    with pytest.raises(ValueError, match=rf"{name} holds 1 values"):
        check_files(tmp_path)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"weights": (2, 15)}, "weights for vectors of length 15, but fc7 has 16"),
        ({"weights": (2, 16, 1)}, r"weights \(2, 16, 1\) and bias \(2,\) for 2 classes"),
        ({"bias": (2, 1)}, r"bias \(2, 1\) for 2 classes"),
        ({"bias": (3,)}, r"bias \(3,\) for 2 classes"),
        ({"weights": ()}, r"weights \(\) and bias"),
    ],
)
def test_a_linear_layer_that_does_not_fit_is_refused(saved, tmp_path, shapes, message):
    rewrite(saved, tmp_path, LINEAR, lambda state: state.update({n: torch.ones(s) for n, s in shapes.items()}))
    with pytest.raises(ValueError, match=rf"damaged classifier \(linear\.safetensors: .*{message}"):
        SPPClassifier.from_pretrained(tmp_path, device="cpu")
