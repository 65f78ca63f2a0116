"""The bundled detectors: their folders and their detections."""

import json

import numpy as np
import pytest

from data import voc
from detection import SPPDetector, model, zoo
from detection.boxes import iou
from detection.weights import pretrained

MEGABYTES = 15
PHOTOS = 8


@pytest.fixture(params=zoo.names())
def name(request):
    return request.param


def test_the_default_detector_is_bundled():
    assert "lite0-voc2007" in zoo.names()


def test_a_folder_is_small_and_its_card_describes_its_model(name):
    folder = zoo.HERE / name
    assert sum(file.stat().st_size for file in folder.iterdir()) < MEGABYTES * 1e6
    card, trained = json.loads((folder / "card.json").read_text()), model.load(folder)
    assert card["bytes"] == sum(file.stat().st_size for file in folder.iterdir() if file.name != "card.json")
    assert (card["network"], card["weights_sha256"]) == (trained.network, trained.weights_hash)
    assert tuple(card["classes"]) == trained.classes == voc.VOC_CLASSES
    assert card["scores"]["regressed"]["voc07_map"] > 0.3
    assert {"commands", "commit", "licence", "seconds_per_image", "trained_on"} <= set(card)


def test_it_detects_large_objects_in_test_photos(name, shared):
    trained = model.load(zoo.HERE / name)
    path = pretrained.path_of(trained.network)
    if not path.is_file():
        pytest.skip(f"needs {path} (run `sppnet weights {trained.network}`)")
    detector = SPPDetector.from_pretrained(name, device="cpu")
    test = voc.load(shared / "voc2007" / "VOCdevkit2007", "2007", "mini_test")
    large = [r for r in test if len(r.boxes) == 1 and np.prod(r.boxes[0, 2:] - r.boxes[0, :2]) > 0.3 * np.prod(r.size)]
    right = 0
    for record in large[:PHOTOS]:
        found = detector.detect(record.path)
        best = found.scores.argmax()
        right += int(
            found.labels[best] == record.labels[0] and iou(found.boxes[best : best + 1], record.boxes)[0, 0] >= 0.5
        )
    assert len(large) >= PHOTOS
    assert right >= PHOTOS // 2
