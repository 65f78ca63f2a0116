import numpy as np
import pytest

from proposals.io import load, save

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


def test_no_images_are_an_ordinary_case(tmp_path):
    save(tmp_path / "boxes.npz", {}, {})
    assert load(tmp_path / "boxes.npz") == ({}, {})


def test_the_same_boxes_give_the_same_bytes(tmp_path):
    save(tmp_path / "a.npz", BOXES, {"b": 1, "a": 2})
    save(tmp_path / "b.npz", BOXES, {"a": 2, "b": 1})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_name_is_kept_whatever_its_suffix(tmp_path):
    save(tmp_path / "boxes", BOXES, {})
    assert [p.name for p in tmp_path.iterdir()] == ["boxes"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    save(tmp_path / "boxes.npz", BOXES, {})
    before = (tmp_path / "boxes.npz").read_bytes()
    with pytest.raises(ValueError, match=r"expected shape \(N, 4\)"):
        save(tmp_path / "boxes.npz", {"a": np.zeros((2, 5))}, {})
    with pytest.raises(TypeError):
        save(tmp_path / "boxes.npz", BOXES, {"not json": object()})
    assert (tmp_path / "boxes.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_every_truncation_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "boxes.npz"
    save(path, BOXES, {"mode": "fast"})
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"boxes\.npz: damaged or no proposal file \(.*delete it"):
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
def test_a_foreign_archive_is_an_error_that_names_the_file(tmp_path, changes):
    path = tmp_path / "foreign.npz"
    np.savez(path, **_npz(**changes))
    with pytest.raises(ValueError, match=r"foreign\.npz: damaged or no proposal file"):
        load(path)


def test_an_array_file_and_a_pickle_are_foreign(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros((3, 4)))
    (tmp_path / "text").write_text("hello")
    for name in ("array.npy", "text"):
        with pytest.raises(ValueError, match=f"{name}: damaged or no proposal file"):
            load(tmp_path / name)


def test_a_missing_file_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")
