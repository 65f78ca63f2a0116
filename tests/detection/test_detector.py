"""`SPPDetector` on a network with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from detection import detections, features, image, network
from detection.calibration import Calibration
from detection.detector import SPPDetector
from detection.ensemble import Evidence, detect_windows
from tests.detection.conftest import SCALES, trained, windows


def test_a_saved_and_loaded_detector_detects_the_same(body, photo, tmp_path, monkeypatch):
    detector = SPPDetector(body, trained(body))
    detector.save(tmp_path / "model")
    monkeypatch.setattr(network, "build", lambda name, weights, device, precision: body)
    again = SPPDetector.from_pretrained(tmp_path / "model")
    boxes = windows(100)
    first, second = detector.detect(photo, boxes), again.detect(photo, boxes)
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert again.model.notes == {"data": "none"}
    assert again.classes == ("a", "b", "c")


def test_a_detector_proposes_its_own_windows(body, photo):
    found = SPPDetector(body, trained(body)).detect(photo)
    assert len(found) > 0
    assert found.labels.dtype == np.int64


def test_only_maps_that_windows_use_are_computed(body, photo, monkeypatch):
    model = trained(body)
    many = replace(model, config=model.config.with_scales((120, 200, 260, 400)))
    made = []
    compute = features.compute_pyramid

    def watched(image, body, scales):
        made.append(tuple(scales))
        return compute(image, body, scales)

    monkeypatch.setattr(features, "compute_pyramid", watched)
    boxes = np.array([[0, 0, 149, 130], [3, 3, 148, 140]], np.float32)
    found = SPPDetector(body, many).detect(photo, boxes)
    whole = detect_windows(Evidence(compute(photo, body, (120, 200, 260, 400)), boxes, many))[1]
    assert made == [(260,)]
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert len(SPPDetector(body, many).detect(photo, np.zeros((0, 4)))) == 0


def test_a_detector_uses_the_given_scales(body, photo, tmp_path, monkeypatch):
    SPPDetector(body, trained(body)).save(tmp_path / "model")
    monkeypatch.setattr(network, "build", lambda name, weights, device, precision: body)
    told = SPPDetector.from_pretrained(tmp_path / "model", scales=(150, 300))
    pyramid = features.compute_pyramid(photo, body, (150, 300))
    expected = detect_windows(Evidence(pyramid, windows(100), told.model))[1]
    np.testing.assert_array_equal(told.detect(photo, windows(100)).scores, expected.scores)
    own = SPPDetector.from_pretrained(tmp_path / "model").detect(photo, windows(100))
    assert not np.array_equal(own.scores, expected.scores)


def test_a_detector_refuses_other_convolutions(body):
    with pytest.raises(ValueError, match="load the weights it was trained on"):
        SPPDetector(body, replace(trained(body), weights_hash="0" * 64))


@pytest.mark.parametrize("levels", [(1, 2, 4), (1, 2, 3)])
def test_a_detector_refuses_a_model_of_another_pyramid(body, levels):
    other = trained(body)
    config = replace(other.config, pooling=replace(other.config.pooling, levels=levels))
    with pytest.raises(
        ValueError, match=r"expects pooled vectors of length 12800, .* use the network and the levels of its training"
    ):
        SPPDetector(body, replace(other, config=config))


def test_a_name_that_is_neither_a_folder_nor_a_detector_is_one_clear_error():
    with pytest.raises(FileNotFoundError, match=r"yolo-voc2007: neither a folder nor a bundled detector"):
        SPPDetector.from_pretrained("yolo-voc2007")


@pytest.fixture
def files(tmp_path, photo):
    """Two photos, and between them a file that is no image."""
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(photo).save(path)
    paths[1].write_bytes(b"no image")
    return paths


def test_a_file_is_decoded_once_for_detection_and_drawing(body, files, photo, monkeypatch):
    decoded = []
    read = image.read
    monkeypatch.setattr(image, "read", lambda path: decoded.append(path) or read(path))
    monkeypatch.setattr(detections, "read", image.read)
    detector = SPPDetector(body, trained(body))
    found = detector.detect(files[0], windows(20))
    np.testing.assert_array_equal(found.photo, photo)
    assert found.draw().shape == photo.shape
    for _, each in detector.detect_each(files[::2]):
        each.draw()
    assert decoded == [files[0], files[0], files[2]]


def test_detections_of_many_files_hold_paths_and_those_of_each_file_hold_pixels(body, files, photo):
    detector, bad = SPPDetector(body, trained(body)), []
    many = list(detector.detect_many(files, lambda path, error: bad.append(path)))
    each = list(detector.detect_each(files, lambda path, error: bad.append(path)))
    assert bad == [files[1], files[1]]
    assert [d.photo for d in many] == [path for path, _ in each] == files[::2]
    for kept, (_, found) in zip(many, each, strict=True):
        np.testing.assert_array_equal(found.photo, photo)
        np.testing.assert_array_equal(found.boxes, kept.boxes)
    with pytest.raises(ValueError, match=r"b\.png"):
        list(detector.detect_each(files))


def test_scores_are_empty_unless_given_and_read_only(body):
    assert dict(SPPDetector(body, trained(body)).scores) == {}
    scored = SPPDetector(body, trained(body), scores={"mean_ap": 0.5})
    assert scored.scores["mean_ap"] == 0.5
    with pytest.raises(TypeError):
        scored.scores["mean_ap"] = 1.0


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ((50, 10, 20, 40), "has swapped corners"),
        ((10, 50, 20, 40), "has swapped corners"),
        ((220, 10, 260, 40), "lies outside the image"),
        ((10, -60, 20, -1), "lies outside the image"),
        ((10, np.nan, 20, 40), "is not finite"),
        ((10, 10, np.inf, 40), "is not finite"),
        ((10, 10, 1e300, 40), "is not finite"),
    ],
)
def test_a_window_that_marks_nothing_is_refused_by_its_row(body, photo, row, fault):
    boxes = [(0, 0, 30, 30), (5, 5, 5, 5), row, row]
    with pytest.raises(ValueError, match=rf"boxes: row 2 \(.*\) {fault}; expected .* of 220 x 150 .*; 2 of 4 rows"):
        SPPDetector(body, trained(body)).detect(photo, boxes)


def test_windows_may_extend_beyond_the_photo(body, photo):
    detector, boxes = SPPDetector(body, trained(body)), [(-10, -5, 219.5, 150)]
    assert np.isfinite(detector.detect(photo, boxes).boxes).all()


def test_none_is_refused_as_a_photo_that_could_not_be_read(body):
    detector = SPPDetector(body, trained(body))
    with pytest.raises(ValueError, match=r"got None; cv2\.imread returns None for a file that is missing"):
        detector.detect(None)
    with pytest.raises(ValueError, match="got None"):
        list(detector.detect_many([None]))


def test_grey_tensors_are_photos(body, photo):
    detector, grey = SPPDetector(body, trained(body)), photo[..., 0]
    expected = detector.detect(grey, windows(20)).scores
    for tensor in (torch.from_numpy(grey)[None], torch.from_numpy(grey)[None] / 255):
        np.testing.assert_array_equal(detector.detect(tensor, windows(20)).scores, expected)
    for shape, hint in (((1, 1, 9, 9), "one image at a time"), ((9, 9, 3), "channels first"), ((4, 9, 9), "RGB or")):
        with pytest.raises(ValueError, match=hint):
            detector.detect(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("size", [(60, 1200), (1200, 60)])
def test_elongated_photos_are_detected_at_a_bounded_size(body, size, monkeypatch):
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    shapes = []
    conv5 = network.ConvBody.conv5
    monkeypatch.setattr(network.ConvBody, "conv5", lambda self, image: shapes.append(image.shape) or conv5(self, image))
    height, width = size
    boxes = np.array([[0, 0, 50, 50], [width - 51, height - 51, width - 1, height - 1]], np.float32)
    found = SPPDetector(body, trained(body)).detect(photo, boxes)
    assert all(h * w <= 8 * max(SCALES) ** 2 for h, w, _ in shapes)
    near = [np.abs(found.boxes - box).max(axis=1).min() for box in boxes]
    assert max(near) < 40  # in the frame of the photo at both ends


def test_a_photo_that_is_too_elongated_for_the_network_is_refused(body):
    with pytest.raises(ValueError, match="image of 9000 x 1 pixels: too elongated for alexnet; crop it"):
        SPPDetector(body, trained(body)).detect(np.zeros((1, 9000, 3), np.uint8))


def test_a_list_of_photos_gives_a_list_of_detections(body, photo):
    detector = SPPDetector(body, trained(body))
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    found = detector.detect([photo, mirrored])
    assert [d.scores.tolist() for d in found] == [detector.detect(p).scores.tolist() for p in (photo, mirrored)]
    assert detector.detect([]) == []
    with pytest.raises(ValueError, match="boxes are those of one photo"):
        detector.detect([photo], windows(3))


def test_a_detector_says_what_it_is(body):
    text = repr(SPPDetector(body, trained(body)))
    assert text == f"SPPDetector({body.name} pool5 at {', '.join(map(str, SCALES))}, 3 classes: a, b, c)"


def test_detections_have_the_probabilities_of_their_model(body, photo, tmp_path, monkeypatch):
    flat = Calibration((2.0,) * 3, (0.1,) * 3, (0.4,) * 3)
    SPPDetector(body, replace(trained(body), calibration=flat)).save(tmp_path / "model")
    monkeypatch.setattr(network, "build", lambda name, weights, device, precision: body)
    detector = SPPDetector.from_pretrained(tmp_path / "model")
    found = detector.detect(photo)
    assert found.calibration == flat
    np.testing.assert_allclose(found.probabilities, 1 / (1 + np.exp(-2 * found.scores - 0.1)), rtol=1e-6)
    (tmp_path / "model" / "model.json").write_text(
        (tmp_path / "model" / "model.json").read_text().replace('"slopes"', '"slope"')
    )
    with pytest.raises(ValueError, match=r"calibration: expected only slopes, .*, got 'slope'"):
        SPPDetector.from_pretrained(tmp_path / "model")
