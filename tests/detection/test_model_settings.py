"""model.json: every value is of the kind and size that its annotation says, or the model is refused by name."""

import contextlib
import json
import re
import shutil
from dataclasses import replace

import pytest

from detection import config, model, zoo
from detection.calibration import Calibration
from detection.config import PAPER, RELEASED, PoolingConfig, View
from detection.detector import SPPDetector
from detection.model_settings import MODEL, read_settings
from detection.value_digest import DIGEST
from detection.weights.state_dict import write_state
from proposals.sources import ProposalSettings
from sppnet.settings.commands import DetectSettings, ServeSettings
from sppnet.settings.detector import SVMSettings, TestSettings
from sppnet.settings.shared import LARGEST_SEED
from sppnet.settings.train import TrainSettings
from tests.detection.conftest import trained

NAN, INFINITY = float("nan"), float("inf")
KNOWN = Calibration((1.0, 2.0, 3.0), (0.1, -0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.fixture(scope="module")
def whole(body, tmp_path_factory):
    """The folder of a model whose file states every value that there is."""
    views = (View(0.7), View(1.25, mirror=True))
    everything = replace(
        RELEASED,
        pooling=replace(RELEASED.pooling, scales=(688,), context=(1.5,), context_levels=(1, 2)),
        bbox=replace(RELEASED.bbox, max_windows=100),
        best_views=views,
    ).with_inference("best")
    folder = tmp_path_factory.mktemp("whole")
    replace(trained(body), config=everything, calibration=KNOWN).save(folder)
    return folder


def change(whole, folder, place, value):
    """Write model.json into another folder, with another value at a dotted place; `...` deletes it."""
    values = json.loads((whole / MODEL).read_text())
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    node = values
    for part in path:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    (folder / MODEL).write_text(json.dumps(values))


def test_everything_is_read_as_it_was_written(whole):
    again = model.load(whole)
    assert (again.calibration, again.classes) == (KNOWN, ("a", "b", "c"))
    assert again.config.pooling == PoolingConfig((688,), "released", 6.5, (1, 2, 3, 6), (1.5,), (1, 2))
    assert again.config.bbox.max_windows == 100
    assert again.config.views == again.config.best_views == (View(0.7), View(1.25, mirror=True))
    assert repr(again.config.svm) == repr(RELEASED.svm)


@pytest.mark.parametrize("name", zoo.names())
def test_bundled_models_are_as_their_annotations_say(name):
    assert read_settings(zoo.HERE / name).config.inference == "best"


@pytest.mark.parametrize(
    "place",
    ["calibration", "config.best_views", "config.test.voting", "config.pooling.context", "config.bbox.max_windows"],
)
def test_what_older_models_lack_has_its_default(whole, tmp_path, place):
    change(whole, tmp_path, place, ...)
    change(tmp_path, tmp_path, DIGEST, ...)
    part = place.split(".")[1:]
    found, default = read_settings(tmp_path).config, PAPER
    for name in part:
        found, default = getattr(found, name), getattr(default, name)
    assert not part or found == default


WRONG = [
    *((f"config.{part}", value) for part in ("pooling", "test", "svm") for value in (None, 5, "x", [], {})),
    *(("config.pooling.scales", v) for v in (688, "688", [], [0], [-1], [688.5], ["688"], [[688]], [10**9], [True])),
    *(("config.pooling.scales", v) for v in ([688] * 101, None, [None], {"0": 688}, [NAN])),
    *(("config.pooling.rule", v) for v in ("papers", None, 1, ["paper"], "")),
    *(("config.pooling.offset", v) for v in ("6.5", NAN, INFINITY, [6.5], 10**400, True)),
    *(("config.pooling.levels", v) for v in (6, [0], [1, -2], [1.0], [[1, 2]], [10**6], "1236", [])),
    *(("config.pooling.context", v) for v in (1.5, [0], [-1], ["1.5"], [NAN], [1e300])),
    *(("config.pooling.context_levels", v) for v in ([], [0], ["1"])),
    *(("config.finetune.schedule", v) for v in ([], [[1]], [[1, 2, 3]], [["1", 2]], [[1.5, 2]], [1, 2], [[-1, 0.1]])),
    *(("config.finetune.negative_iou", v) for v in (0.1, [0.1], [0.1, 0.5, 1], [0.1, 2], ["0", "1"], [[0.1], 0.5])),
    *(("config.finetune.positives", v) for v in (-1, 1.5, "32", None, 10**400)),
    *(("config.finetune.random_scale", v) for v in (0, "false", None)),
    *(("config.svm.cost", v) for v in (0, -1, "1", NAN, -INFINITY, None, [0.1], 1e308)),
    *(("config.svm.thinning_iou", v) for v in (-0.1, 7, "0.7", NAN)),
    *(("config.svm.difficult", v) for v in (1, "true", None)),
    *(("config.bbox.min_iou", v) for v in (1.5, -1, "0.5", None)),
    *(("config.bbox.max_windows", v) for v in (-5, 2.5, "100")),
    *(("config.test.score_threshold", v) for v in ("-1.5", NAN, -INFINITY, None, 10**400)),
    *(("config.test.nms_iou", v) for v in (0, 1.01, "0.3", NAN, [0.3])),
    *(("config.test.max_per_image", v) for v in (-1, 1e2, None, 10**30)),
    *(("config.test.voting", v) for v in (True, [], "fast", {})),
    *(("config.test.voting.windows", v) for v in (-1, "300", 0.5)),
    *(("config.test.voting.sharpness", v) for v in (-1, NAN, "2")),
    *(("config.test.voting.views", v) for v in ([], {}, [[]], [1], ["0.7m"], [{"scale": 1}])),
    *(("config.best_views.0.scale", v) for v in (0, 0.01, 100, "1", NAN)),
    *(("config.best_views.0.mirror", v) for v in (0, None, "m")),
    *(("config.precision", v) for v in ("fp16", None, 32)),
    *(("config.preset", v) for v in ("mine", None, ["paper"])),
    *(("network", v) for v in (None, 5, ["alexnet"])),
    *(("weights_hash", v) for v in (None, 5)),
    *(("features", v) for v in ("pool4", None, [], 5)),
    *(("bbox_features", v) for v in ("pool5", 1, [])),
    *(("svm_feature_scale", v) for v in ("1", NAN, None, [1])),
    *(("bbox_feature_scale", v) for v in ("1", INFINITY, 10**400)),
    *(("box_regression", v) for v in (0, 1, None, "yes")),
    *(("classes", v) for v in ([], "abc", [1, 2, 3], ["a", "b", None], [["a"], "b", "c"])),
    *(("notes", v) for v in (None, [], "packed")),
    *(("notes.category_ids", v) for v in (5, [1.5], [[1]], "123")),
    *(("notes.softmax_weight", v) for v in ("1", NAN, -1)),
    *(("notes.train_views", v) for v in ([1], "1m")),
    *(("notes.solver", v) for v in ("best", 1)),
    *(("proposals", v) for v in (None, [], "ss")),
    *(("proposals.source", v) for v in (1, None)),
    *(("proposals.max_boxes", v) for v in ("100", -1, 1.5)),
    *(("calibration", v) for v in ([], "x", 5, {})),
    *(("calibration.slopes", v) for v in ([1.0, 2.0], [0.0, 1.0, 1.0], ["1.0", 2.0, 3.0], [NAN, 1.0, 1.0], 5)),
    *(("calibration.intercepts", v) for v in ([[1.0]] * 3, ["x"] * 3, [INFINITY, 0.0, 0.0], [10**400, 0, 0], None)),
    *(("calibration.thresholds", v) for v in ([0.5] * 4, [1e10, 0.5, 0.5], [-0.1, 0.5, 0.5], None)),
    *(("sha256", v) for v in ([], "0", {})),
    ("sha256.svms.safetensors", 5),
    *(("format", v) for v in (1, 5, "4", 4.0, True, None)),
]


def where(place):
    """The place as errors name it."""
    return re.sub(r"\.(\d+)", r"[\1]", place)


@pytest.mark.parametrize(("place", "value"), WRONG, ids=lambda v: repr(v)[:40])
def test_wrong_values_are_refused_by_name_in_one_line(whole, tmp_path, place, value):
    if place == "sha256.svms.safetensors":
        change(whole, tmp_path, "sha256", {"svms.safetensors": value})
        place = "sha256.'svms.safetensors'"
    else:
        change(whole, tmp_path, place, value)
    with pytest.raises(ValueError, match="damaged model") as caught:
        model.load(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}: damaged model (model.json: {where(place)}")
    assert "expected " in line
    assert "got " in line or "missing" in line
    assert "\n" not in line
    assert len(line) < len(str(tmp_path)) + 400


@pytest.mark.parametrize(
    "place",
    ["network", "config", "config.pooling", "config.svm.cost", "config.pooling.scales", "notes", "sha256", "format"],
)
def test_missing_values_are_refused_by_name(whole, tmp_path, place):
    change(whole, tmp_path, place, ...)
    with pytest.raises(ValueError, match=rf"damaged model \(model\.json: {place}: expected .*, but it is missing\)"):
        model.load(tmp_path)


def test_unknown_names_in_the_configuration_are_refused(whole, tmp_path):
    change(whole, tmp_path, "config.svm.costs", 1)
    with pytest.raises(ValueError, match=r"model\.json: config\.svm: expected only cost, .*, got 'costs'"):
        model.load(tmp_path)


def test_what_could_not_be_read_is_not_written(body, tmp_path):
    wrong = replace(trained(body), config=PAPER.with_scales((0,)))
    with pytest.raises(ValueError, match=r"model\.json: not written \(config\.pooling\.scales\[0\]: expected"):
        wrong.save(tmp_path)
    assert not (tmp_path / MODEL).exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(
            ("calibration.slopes.1", 2.5),
            ("calibration.thresholds.0", 0.45),
            ("calibration", None),
            ("calibration", ...),
        ),
        *(("notes.data", "other"), ("svm_feature_scale", 0.71), ("bbox_feature_scale", 1), ("weights_hash", "0")),
        *(("classes.0", "z"), ("config.test.nms_iou", 0.4), ("more", 1), (DIGEST, None), (DIGEST, "0" * 64)),
    ],
)
def test_values_that_could_be_right_are_refused_if_they_are_others_than_were_saved(whole, tmp_path, place, value):
    change(whole, tmp_path, place, value)
    with pytest.raises(
        ValueError, match=rf"^{tmp_path}: damaged model \(model\.json: its values do not match its digest"
    ):
        model.load(tmp_path)


def test_every_flipped_bit_of_a_calibration_is_noticed(whole, tmp_path):
    text = (whole / MODEL).read_bytes()
    first, last = text.index(b'"calibration"'), text.index(b'"notes"')
    for place in range(first, last):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            (tmp_path / MODEL).write_bytes(flipped)
            with contextlib.suppress(ValueError):
                assert read_settings(tmp_path) == read_settings(whole)  # only white space is another


def test_the_digest_does_not_depend_on_order_or_layout(whole, tmp_path):
    values = json.loads((whole / MODEL).read_text())
    (tmp_path / MODEL).write_text(json.dumps(dict(reversed(values.items()))))
    assert read_settings(tmp_path) == read_settings(whole)


def test_a_model_without_digest_is_read_as_before(whole, tmp_path):
    change(whole, tmp_path, DIGEST, ...)
    change(tmp_path, tmp_path, "calibration.slopes.1", 2.5)
    assert read_settings(tmp_path).calibration.slopes == (1.0, 2.5, 3.0)


def test_models_hold_the_largest_values_that_settings_allow(whole, tmp_path):
    largest = {"notes.seed": LARGEST_SEED, "config.pooling.scales": [config.LARGEST_SIDE], "config.test.nms_iou": 1}
    for place, value in (largest | {"config.pooling.context": [10], "proposals.seed": LARGEST_SEED}).items():
        change(whole, tmp_path, place, value)
        change(tmp_path, tmp_path, DIGEST, ...)
        read_settings(tmp_path)
    assert ProposalSettings.from_meta(ProposalSettings(seed=LARGEST_SEED).meta).seed == LARGEST_SEED


def test_settings_allow_what_models_do():
    for kind in (SVMSettings, TestSettings, TrainSettings, DetectSettings, ServeSettings):
        assert kind.kinds()["scales"][1].maximum == config.LARGEST_SIDE
    assert SVMSettings.kinds()["levels"][1].maximum == config.MOST_BINS


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("proposals", {"version": 2, "source": "slow"}, "source: expected one of ss, "),
        ("proposals", {"version": 2, "source": "ss", "min_side": "x"}, "proposals.min_side: expected an integer"),
        ("network", "http://127.0.0.1/x", "network: http://127.0.0.1/x: expected a network"),
        ("config.pooling.levels", [1, 2], "model: expects pooled vectors of length"),
    ],
)
def test_values_that_do_not_fit_are_an_error_that_names_the_model(whole, body, tmp_path, place, value, message):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    change(whole, tmp_path, place, value)
    change(tmp_path, tmp_path, DIGEST, ...)
    write_state(tmp_path / "weights.safetensors", body.state_dict())
    with pytest.raises(ValueError, match=rf"^{tmp_path}: {message}"):
        SPPDetector.from_pretrained(tmp_path, device="cpu", weights=tmp_path / "weights.safetensors")


def test_ids_of_categories_are_as_many_as_classes(whole, tmp_path):
    change(whole, tmp_path, "notes.category_ids", [1, 2])
    with pytest.raises(ValueError, match=r"notes\.category_ids: expected one for each of 3 classes, got 2"):
        read_settings(tmp_path)
    change(whole, tmp_path, "notes.category_ids", [7, "8", None])
    change(tmp_path, tmp_path, DIGEST, ...)
    assert read_settings(tmp_path).notes["category_ids"] == [7, "8", None]
