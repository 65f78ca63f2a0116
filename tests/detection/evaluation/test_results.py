import json
from pathlib import Path

import numpy as np
import pytest

from data.records import ImageRecord
from detection.detection_table import DetectionTable
from detection.detections import Detections
from detection.evaluation import results
from detection.evaluation.voc import evaluate

CLASSES = ("cat", "dog")


def found(boxes, scores, labels, dtype=np.float32):
    return Detections(np.array(boxes, dtype), np.array(scores, dtype), np.array(labels))


def write(folder, name, text):
    (folder / f"comp4_det_test_{name}.txt").write_bytes(text.encode("utf-8") if isinstance(text, str) else text)


class TestComp4:
    def test_lines_are_one_based(self, tmp_path):
        detections = {"000001": found([[0, 1, 2.5, 3]], [0.1], [1])}
        paths = results.write_comp4(tmp_path / "new", detections, CLASSES, "test")
        assert [p.name for p in paths] == ["comp4_det_test_cat.txt", "comp4_det_test_dog.txt"]
        assert [p.read_text() for p in paths] == ["", "000001 0.100000001 1 2 3.5 4\n"]

    @pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 0), (np.float64, 1e-13)])
    def test_the_round_trip_restores_float32_exactly(self, tmp_path, dtype, tolerance):
        rng = np.random.default_rng(0)
        n = 500
        columns = rng.uniform(0, 500, (n, 4)).astype(dtype), rng.normal(size=n).astype(dtype), rng.integers(0, 2, n)
        table = DetectionTable(("b", "a"), rng.integers(0, 2, n), Detections(*columns))
        results.write_comp4(tmp_path, table, CLASSES, "test")
        back = results.read_comp4(tmp_path, CLASSES, "test")
        for image_id in table:
            for k in (0, 1):
                got, want = back[image_id].filter(labels=[k]), table[image_id].filter(labels=[k])
                np.testing.assert_allclose(got.boxes.astype(dtype), want.boxes, rtol=0, atol=tolerance)
                np.testing.assert_array_equal(got.scores.astype(dtype), want.scores)

    def test_class_names_that_lead_elsewhere_are_quoted_and_read_again(self, tmp_path):
        names, folder = ["a/b", "../../x", ".."], tmp_path / "deep" / "er"
        detections = {"000001": found([[0, 1, 2, 3]] * 3, [0.1, 0.2, 0.3], [0, 1, 2])}
        paths = results.write_comp4(folder, detections, names, "test")
        assert {p.parent for p in paths} == {folder}
        assert list(tmp_path.rglob("*.txt")) == list(folder.glob("*.txt"))
        assert results.read_comp4(folder, names, "test")["000001"].labels.tolist() == [0, 1, 2]

    def test_files_of_other_programs_are_read(self, tmp_path):
        write(tmp_path, "cat", "2008_000003 1e-3 1 1 10.25 20\r\n\r\n\t2008_000002  -2  5\t5 6 7 ")
        write(tmp_path, "dog", "\n \n")
        table = results.read_comp4(tmp_path, CLASSES, "test")
        assert list(table) == ["2008_000003", "2008_000002"]
        assert table["2008_000003"].boxes.tolist() == [[0, 0, 9.25, 19]]
        assert table["2008_000002"].scores.tolist() == [-2]
        assert table.rows.labels.tolist() == [0, 0]

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_byte_order_mark_is_no_part_of_the_first_id(self, tmp_path, encoding):
        write(tmp_path, "cat", "000003 0.5 1 1 10 20\r\n000002 0.5 1 1 10 20\r\n".encode(encoding))
        write(tmp_path, "dog", "".encode(encoding))
        assert list(results.read_comp4(tmp_path, CLASSES, "test")) == ["000003", "000002"]

    def test_another_prefix_can_be_read(self, tmp_path):
        results.write_comp4(tmp_path, {}, CLASSES, "val", "comp3")
        assert (tmp_path / "comp3_det_val_dog.txt").is_file()
        assert dict(results.read_comp4(tmp_path, CLASSES, "val", "comp3")) == {}

    def test_rows_keep_the_order_of_lines(self, tmp_path):
        write(tmp_path, "cat", "a 1 1 1 2 2\nb 1 1 1 3 3\na 1 1 1 4 4\n")
        write(tmp_path, "dog", "")
        table = results.read_comp4(tmp_path, CLASSES, "test")
        assert table.image.tolist() == [0, 1, 0]

    def test_scores_that_differ_in_the_twelfth_digit_stay_different(self, tmp_path):
        write(tmp_path, "cat", "a 0.900000000001 1 1 2 2\na 0.900000000002 1 1 3 3\n")
        write(tmp_path, "dog", "")
        assert results.read_comp4(tmp_path, CLASSES, "test")["a"].sorted().boxes[0, 2] == 2

    @pytest.mark.parametrize(
        "bad",
        [
            "b 1 2 3 4",
            "b 1 2 3 4 5 6",
            "b x 2 3 4 5",
            "b nan 2 3 4 5",
            "b 1 2 inf 4 5",
            "b 1_0 2 3 4 5",
            "b",
            "b 1,2,3,4,5",
        ],
    )
    def test_a_malformed_line_is_named(self, tmp_path, bad):
        write(tmp_path, "cat", f"a 1 1 1 2 2\n\n{bad}\na 1 1 1 2 2\n")
        with pytest.raises(ValueError, match=rf"comp4_det_test_cat\.txt, line 3: expected 6 fields, .*; got '{bad}'"):
            results.read_comp4(tmp_path, ["cat"], "test")

    def test_binary_files_are_refused(self, tmp_path):
        write(tmp_path, "cat", b"\xff\xfe\x00")
        with pytest.raises(ValueError, match=r"cat\.txt: not a text file"):
            results.read_comp4(tmp_path, ["cat"], "test")

    def test_the_class_without_a_file_is_named(self, tmp_path):
        write(tmp_path, "cat", "")
        with pytest.raises(FileNotFoundError, match=r"comp4_det_test_dog\.txt: missing file of class 'dog'"):
            results.read_comp4(tmp_path, CLASSES, "test")

    def test_values_the_format_cannot_store_are_refused_before_anything_is_written(self, tmp_path):
        folder = tmp_path / "out"
        for image_id, label, split, match in (
            ("my photo", 0, "test", "'my photo'.*white space"),
            ("", 0, "test", "empty ids"),
            ("a", 2, "test", r"labels 2\.\.2 do not fit 2 classes"),
            ("a", 0, "../test", "split '../test': not usable in a file name"),
        ):
            with pytest.raises(ValueError, match=match):
                results.write_comp4(folder, {image_id: found([[0, 0, 1, 1]], [1], [label])}, CLASSES, split)
        assert not folder.exists()


def test_a_failed_write_keeps_the_old_coco_json(tmp_path):
    results.write_coco_json(tmp_path / "r.json", {"7": found([[0, 0, 9, 9]], [0.5], [0])})
    assert json.loads((tmp_path / "r.json").read_text()) == [
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5}
    ]
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.write_coco_json(tmp_path / "r.json", {"7": found([[0, 0, 9, 9]], [np.inf], [0])})
    assert json.loads((tmp_path / "r.json").read_text())[0]["score"] == 0.5


@pytest.fixture
def result():
    """Class cat is detected, dog is missed, cow has no objects, hen is detected after a false positive."""
    box = [0, 0, 9, 9]
    record = ImageRecord(
        "a",
        Path("a.jpg"),
        (50, 50),
        np.array([box] * 3, np.float32),
        np.array([0, 1, 3]),
        np.zeros(3, np.bool_),
    )
    detections = {"a": found([box, [20, 20, 29, 29], box, box], [1, 3, 2, 1], [0, 3, 3, 2])}
    return evaluate(detections, [record], classes=["cat", "dog", "cow", "hen"])


def test_the_table_shows_zero_as_zero_and_classes_without_objects_as_na(result):
    assert results.format_table(result.classes, {"AP": result, "again": result}).splitlines() == [
        "class     AP  again",
        "-------------------",
        "cat    100.0  100.0",
        "dog      0.0    0.0",
        "cow      n/a    n/a",
        "hen     50.0   50.0",
        "-------------------",
        "mean    50.0   50.0",
    ]


def test_the_first_column_is_aligned_left_and_the_others_right():
    assert results.format_rows([["name", "n"], ["a", "10"], ["b", ""]]) == ["name   n", "a     10", "b"]
    assert results.format_rows([]) == []


def test_results_of_other_classes_are_refused(result):
    with pytest.raises(ValueError, match="AP: expected results of 2 classes, got 4"):
        results.format_table(CLASSES, {"AP": result})


def test_the_summary_is_valid_json_with_optional_curves(result):
    short = results.summary(result)
    assert json.loads(json.dumps(short, allow_nan=False)) == {
        "metric": "voc07",
        "iou_threshold": 0.5,
        "mean_ap": 0.5,
        "ap": {"cat": 1.0, "dog": 0.0, "cow": None, "hen": 0.5},
        "n_objects": {"cat": 1, "dog": 1, "cow": 0, "hen": 1},
    }
    curves = json.loads(json.dumps(results.summary(result, curves=True), allow_nan=False))["curves"]
    assert curves["hen"] == {"precision": [0.0, 0.5], "recall": [0.0, 1.0], "score": [3.0, 2.0]}
    assert curves["cow"]["recall"] == [None]
