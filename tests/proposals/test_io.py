import json
import zipfile

import numpy as np
import pytest

from proposals.io import load, load_one, save, save_one

BOXES = {
    "000012": np.array([[0, 0, 9, 19], [1.5, 2, 30, 40]], np.float32),
    "no boxes": np.empty((0, 4), np.float32),
    "größe": np.array([[3, 4, 5, 6]], np.float32),
}


def test_what_is_saved_is_loaded(tmp_path):
    save(tmp_path / "sub" / "boxes.npz", BOXES, {"mode": "fast", "seed": 3})
    loaded, meta = load(tmp_path / "sub" / "boxes.npz")
    assert meta == {"mode": "fast", "seed": 3}
    assert list(loaded) == list(BOXES)
    for name, boxes in BOXES.items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], boxes)


def test_a_file_may_have_no_images(tmp_path):
    save(tmp_path / "boxes.npz", {}, {})
    assert load(tmp_path / "boxes.npz") == ({}, {})


def test_the_same_boxes_give_the_same_bytes(tmp_path):
    save(tmp_path / "a.npz", BOXES, {"b": 1, "a": 2})
    save(tmp_path / "b.npz", BOXES, {"a": 2, "b": 1})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_name_is_kept_whatever_its_suffix(tmp_path):
    save(tmp_path / "boxes", BOXES, {})
    assert [p.name for p in tmp_path.iterdir()] == ["boxes"]


def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(tmp_path):
    save(tmp_path / "boxes.npz", BOXES, {})
    before = (tmp_path / "boxes.npz").read_bytes()
    with pytest.raises(ValueError, match=r"expected shape \(N, 4\)"):
        save(tmp_path / "boxes.npz", {"a": np.zeros((2, 5))}, {})
    with pytest.raises(TypeError):
        save(tmp_path / "boxes.npz", BOXES, {"not json": object()})
    assert (tmp_path / "boxes.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_boxes_that_are_no_numbers_are_named_with_the_file(tmp_path, value):
    boxes = {"a": np.array([[0, 0, 9, 19], [1, 2, value, 40]], np.float32)}
    save(tmp_path / "boxes.npz", boxes, {})
    with pytest.raises(ValueError, match=r"boxes\.npz: damaged or not a proposal file \(boxes: .*finite.*delete it"):
        load(tmp_path / "boxes.npz")
    save_one(tmp_path / "part.npy", boxes["a"])
    with pytest.raises(ValueError, match="finite"):
        load_one(tmp_path / "part.npy")


def test_every_truncation_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "boxes.npz"
    save(path, BOXES, {"mode": "fast"})
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"boxes\.npz: damaged or not a proposal file \(.*delete it"):
            load(path)


def test_a_changed_byte_of_the_boxes_is_noticed(tmp_path):
    path = tmp_path / "boxes.npz"
    save(path, BOXES, {})
    data = bytearray(path.read_bytes())
    data[len("boxes.npy") + 60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"boxes\.npz: damaged"):
        load(path)


def _npz(**changes):
    arrays = {
        "boxes": np.zeros((2, 4), np.float32),
        "offsets": np.array([0, 2], np.int64),
        "ids": np.array(["a"]),
        "meta": np.array("{}"),
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": np.zeros((2, 5), np.float32)},
        {"boxes": np.zeros((2, 4))},
        {"boxes": np.float32([[0, 0, 9, 9], [0, 0, np.nan, 9]])},
        {"boxes": np.float32([[0, 0, 9, 9], [9, 0, 0, 9]])},
        {"boxes": None},
        {"offsets": np.array([0, 3], np.int64)},
        {"offsets": np.array([1, 2], np.int64)},
        {"offsets": np.array([0, 1, 2], np.int64)},
        {"ids": np.array([1])},
        {"ids": np.array(["a", "a"]), "offsets": np.array([0, 1, 2], np.int64)},
        {"ids": np.array(["a", "b"]), "offsets": np.array([0, 3, 2], np.int64)},
        {"meta": np.array("[]")},
        {"meta": np.array("no json")},
        {"meta": None},
        {"ids": np.array([None])},
    ],
)
def test_another_archive_is_an_error_that_names_the_file(tmp_path, changes):
    path = tmp_path / "foreign.npz"
    np.savez(path, **_npz(**changes))
    with pytest.raises(ValueError, match=r"foreign\.npz: damaged or not a proposal file"):
        load(path)


def test_other_files_are_an_error_that_names_them(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros((3, 4)))
    (tmp_path / "text").write_text("hello")
    for name in ("array.npy", "text"):
        with pytest.raises(ValueError, match=f"{name}: damaged or not a proposal file"):
            load(tmp_path / name)


def test_a_missing_file_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")


def test_the_suffix_determines_the_format(tmp_path):
    save(tmp_path / "boxes.mat", BOXES, {"mode": "fast"})
    assert (tmp_path / "boxes.mat").read_bytes().startswith(b"MATLAB 5.0")
    save(tmp_path / "boxes.npz", BOXES, {"mode": "fast"})
    assert zipfile.is_zipfile(tmp_path / "boxes.npz")
    (tmp_path / "boxes.JSON").write_text(json.dumps({name: boxes.tolist() for name, boxes in BOXES.items()}))
    for name, meta in (("boxes.mat", {"mode": "fast"}), ("boxes.npz", {"mode": "fast"}), ("boxes.JSON", {})):
        loaded, found = load(tmp_path / name)
        assert (list(loaded), found) == (list(BOXES), meta)
        for image_id, boxes in BOXES.items():
            assert loaded[image_id].dtype == np.float32
            np.testing.assert_array_equal(loaded[image_id], boxes)


def test_json_is_read_only(tmp_path):
    with pytest.raises(ValueError, match=r"boxes\.json: proposals are written as \.npz or \.mat"):
        save(tmp_path / "boxes.json", BOXES, {})
    assert not list(tmp_path.iterdir())


def test_matlab_files_are_read_in_the_given_column_order(tmp_path):
    save(tmp_path / "boxes.mat", {"a": [[1, 2, 30, 40]]}, {})
    assert load(tmp_path / "boxes.mat", order="xyxy")[0]["a"].tolist() == [[2, 1, 40, 30]]


def test_coco_results_are_sorted_by_score_and_converted_to_corners(tmp_path):
    results = [
        {"image_id": 139, "bbox": [0, 0, 10, 20], "score": 0.5, "category_id": 1},
        {"image_id": "b", "bbox": [1, 1, 1, 1], "score": -3},
        {"image_id": 139, "bbox": [2.5, 3, 10, 20], "score": 0.9},
        {"image_id": 139, "bbox": [5, 5, 1, 1], "score": 0.5},
    ]
    (tmp_path / "r.json").write_text(json.dumps(results))
    loaded, meta = load(tmp_path / "r.json")
    assert (list(loaded), meta) == (["139", "b"], {})
    assert loaded["139"].tolist() == [[2.5, 3, 11.5, 22], [0, 0, 9, 19], [5, 5, 5, 5]]
    assert loaded["b"].tolist() == [[1, 1, 1, 1]]


def test_empty_json_has_no_images(tmp_path):
    for text in ("{}", "[]"):
        (tmp_path / "e.json").write_text(text)
        assert load(tmp_path / "e.json") == ({}, {})


def result(**changes):
    return [{"image_id": "a", "bbox": [0, 0, 5, 5], "score": 1.0} | changes]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[[", "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file"),
        ('{"a": [], "a": []}', "'a' occurs twice"),
        (b"\xff\xfe\x00", "not a readable JSON file"),
        ("3", "expected an object of image ids and boxes, or a COCO list of results, got int"),
        ({"a": [[1, 2, 3]]}, r"image 'a': expected numbers \(R, 4\), got int64 \(1, 3\)"),
        ({"a": [[1, 2, 3, 4], [1]]}, "image 'a': expected rows of 4 numbers"),
        ({"a": [["1", "2", "3", "4"]]}, "image 'a': expected numbers"),
        ({"a": {"x": 1}}, "image 'a': expected numbers"),
        ({"a": [[1, 2, 3, float("nan")]]}, "image 'a': box 1 is .*expected finite numbers"),
        ({"a": [[1, 2, 3, 1e300]]}, "image 'a': box 1 is .*expected finite numbers"),
        ({"a": [[1, 2, 3, 4], [9, 2, 3, 4]]}, r"image 'a': box 2 is \[9, 2, 3, 4\], expected x1 <= x2"),
        ([3], "result 1: expected an object with image_id, bbox and score, got 3"),
        ([{"image_id": 1, "bbox": [0, 0, 1, 1]}], "result 1: expected an object with image_id, bbox and score"),
        (result(image_id=1.5), "result 1: image_id: expected a number or text, got 1.5"),
        (result(bbox=[0, 0, 1]), "result 1: expected a bbox of 4 numbers and a score"),
        (result(score="high"), "result 1: expected a bbox of 4 numbers and a score"),
        (result(score=float("inf")), "result 1: expected finite numbers"),
        (result(bbox=[0, 0, 10**400, 1]), "result 1: expected finite numbers"),
        (result(bbox=[0, 0, 0, 5]), "image 'a': box 1 is .*expected x1 <= x2"),
    ],
)
def test_invalid_json_is_a_one_line_error_that_names_file_and_place(tmp_path, value, words):
    path = tmp_path / "bad.json"
    text = value if isinstance(value, str | bytes) else json.dumps(value)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_raise_file_not_found_in_every_format(tmp_path):
    for suffix in ("npz", "mat", "json"):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / f"none.{suffix}")
