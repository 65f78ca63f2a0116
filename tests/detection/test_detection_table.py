import json

import numpy as np
import pytest

from detection.detection_table import DetectionTable, load_npz, save_npz
from detection.detections import Detections


def make(scores, labels=None):
    n = len(scores)
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    return Detections(boxes, np.array(scores, np.float32), np.array(labels if labels is not None else [0] * n))


class TestDetectionTable:
    def test_a_table_equals_the_mapping_it_is_built_from(self):
        images = {"b": make([1, 2], [0, 1]), "none": Detections.empty(), "a": make([3], [2])}
        table = DetectionTable.of(images)
        assert list(table) == ["b", "none", "a"]
        assert len(table) == 3
        for image_id, d in images.items():
            np.testing.assert_array_equal(table[image_id].boxes, d.boxes)
            np.testing.assert_array_equal(table[image_id].labels, d.labels)
        assert DetectionTable.of(table) is table

    def test_interleaved_rows_keep_their_order(self):
        table = DetectionTable(("a", "b"), np.array([1, 0, 1]), make([1, 2, 3]))
        assert table["b"].scores.tolist() == [1, 3]
        with pytest.raises(KeyError):
            table["c"]

    def test_a_table_without_images_is_empty(self):
        assert dict(DetectionTable.of({})) == {}


class TestNpz:
    def test_round_trip(self, tmp_path):
        images = {"000012": make([1, 2], [0, 1]), "ünï code": Detections.empty(), "a": make([0.1], [2])}
        save_npz(tmp_path / "d.npz", images, {"classes": ["x", "y", "z"]})
        back, meta = load_npz(tmp_path / "d.npz")
        assert meta == {"classes": ["x", "y", "z"]}
        assert list(back) == list(images)
        for image_id, d in images.items():
            for name in ("boxes", "scores", "labels"):
                got, want = getattr(back[image_id], name), getattr(d, name)
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got, want)

    def test_an_empty_mapping_can_be_saved(self, tmp_path):
        save_npz(tmp_path / "d.npz", {})
        assert dict(load_npz(tmp_path / "d.npz")[0]) == {}

    def test_every_truncation_is_detected_and_names_the_file(self, tmp_path):
        path = tmp_path / "d.npz"
        save_npz(path, {"a": make([1, 2])})
        data = path.read_bytes()
        for end in range(0, len(data), 37):
            path.write_bytes(data[:end])
            with pytest.raises(ValueError, match=r"d\.npz: .*write it again"):
                load_npz(path)

    def test_flipped_bits_are_detected(self, tmp_path):
        path = tmp_path / "d.npz"
        save_npz(path, {"a": make(range(100))})
        data = bytearray(path.read_bytes())
        data[data.index(b"boxes.npy") + 400] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(ValueError, match=r"d\.npz"):
            load_npz(path)

    def test_another_npz_is_refused(self, tmp_path):
        np.savez(tmp_path / "d.npz", boxes=np.zeros((1, 4)))
        with pytest.raises(ValueError, match=r"d\.npz: not a detections file"):
            load_npz(tmp_path / "d.npz")

    def test_pickles_are_refused(self, tmp_path):
        np.savez(tmp_path / "d.npz", header=np.array([{"a": 1}], object))
        with pytest.raises(ValueError, match=r"d\.npz"):
            load_npz(tmp_path / "d.npz")

    @pytest.mark.parametrize(
        ("name", "value"), [("boxes", np.nan), ("boxes", np.inf), ("scores", np.nan), ("labels", -1)]
    )
    def test_values_that_no_detection_has_are_refused(self, tmp_path, name, value):
        path = tmp_path / "d.npz"
        save_npz(path, {"a": make([1, 2])})
        with np.load(path) as archive:
            arrays = dict(archive)
        arrays[name].flat[1] = value
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=r"d\.npz: not a detections file"):
            load_npz(path)

    @pytest.mark.parametrize("ids", [5, "ab", [None, "b"], [["a"], "b"], ["a", "a"], [1.5, "b"], {"a": 1, "b": 2}])
    def test_other_ids_are_refused(self, tmp_path, ids):
        path = tmp_path / "d.npz"
        save_npz(path, {"a": make([1]), "b": make([2])})
        assert load_npz(path)[0].ids == ("a", "b")
        with np.load(path) as archive:
            arrays = dict(archive)
        header = json.loads(arrays["header"].tobytes()) | {"ids": ids}
        np.savez(path, **arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)})
        with pytest.raises(ValueError, match=r"d\.npz: not a detections file of this program, or damaged \(ids"):
            load_npz(path)

    def test_a_missing_file_is_a_file_not_found(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            load_npz(tmp_path / "d.npz")

    def test_a_failed_write_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "d.npz"
        save_npz(path, {"a": make([1])})
        with pytest.raises(TypeError):
            save_npz(path, {"a": make([2])}, {"unserialisable": object()})
        assert load_npz(path)[0]["a"].scores.tolist() == [1]
        assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]
