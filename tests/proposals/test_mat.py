import json
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from proposals.mat import load, save

BOXES = {
    "000012": np.array([[0, 0, 9, 19], [1.5, 2, 30, 40]], np.float32),
    "no boxes": np.empty((0, 4), np.float32),
    "größe": np.array([[3, 4, 5, 6]], np.float32),
}


def cells(*items, shape=(1, -1)):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array.reshape(shape)


def foreign(folder, boxes, images, **more):
    """Write a file as another program does."""
    path = folder / "foreign.mat"
    scipy.io.savemat(path, {"boxes": boxes, "images": images} | more)
    return path


@pytest.mark.parametrize("order", ["yxyx", "xyxy"])
@pytest.mark.parametrize("meta", [None, {"source": "ss", "seconds_per_image": 0.5, "ö": None}])
def test_what_is_saved_is_loaded(tmp_path, order, meta):
    save(tmp_path / "sub" / "boxes.mat", BOXES, meta, order)
    loaded, found = load(tmp_path / "sub" / "boxes.mat", order)
    assert (list(loaded), found) == (list(BOXES), meta or {})
    for name, boxes in BOXES.items():
        assert loaded[name].dtype == np.float32
        assert loaded[name].shape == boxes.shape
        np.testing.assert_array_equal(loaded[name], boxes)


def test_files_have_the_authors_layout(tmp_path):
    save(tmp_path / "boxes.mat", {"000012": [[0, 1, 20, 31]], "b": []})
    found = scipy.io.loadmat(tmp_path / "boxes.mat")
    assert (found["boxes"].shape, found["images"].shape) == ((1, 2), (2, 1))
    assert found["boxes"][0, 0].tolist() == [[2, 1, 32, 21]]  # y1 x1 y2 x2 from 1
    assert found["boxes"][0, 0].dtype == np.float64
    assert found["images"][0, 0].tolist() == ["000012"]


def test_the_first_pixel_of_an_authors_file_is_the_origin(tmp_path):
    path = foreign(tmp_path, cells(np.array([[1.0, 1, 2, 3]])), cells("a"))
    assert load(path)[0]["a"].tolist() == [[0, 0, 2, 1]]
    assert load(path, "xyxy")[0]["a"].tolist() == [[0, 0, 1, 2]]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_numbers_of_any_type_and_cells_in_rows_or_columns(tmp_path, kind, shape):
    rows = np.array([[1, 2, 200, 250]], kind)
    path = foreign(tmp_path, cells(rows, rows + 1, shape=shape), cells("a", "b", shape=shape[::-1]))
    assert {k: v.tolist() for k, v in load(path)[0].items()} == {"a": [[1, 0, 249, 199]], "b": [[2, 1, 250, 200]]}


@pytest.mark.parametrize("empty", [np.empty((0, 0)), np.empty((0, 4)), np.empty((1, 0)), np.empty((0, 4), np.uint8)])
def test_empty_matrices_of_any_shape_are_no_boxes(tmp_path, empty):
    loaded, _ = load(foreign(tmp_path, cells(empty, np.ones((1, 4))), cells("a", "b")))
    assert loaded["a"].shape == (0, 4)
    assert loaded["a"].dtype == np.float32
    assert loaded["b"].shape == (1, 4)


@pytest.mark.parametrize(
    "names",
    [
        cells("000001.jpg", "x.y", "photo.PNG"),
        cells("000001", "x.y", "photo", shape=(-1, 1)),
        np.array(["000001", "x.y", "photo"]),  # rows of a char array, padded with blanks
    ],
)
def test_names_are_cells_or_rows_of_chars_with_or_without_suffix(tmp_path, names):
    one = np.ones((1, 4))
    assert list(load(foreign(tmp_path, cells(one, one, one), names))[0]) == ["000001", "x.y", "photo"]


def test_files_may_have_no_image_or_a_single_one(tmp_path):
    save(tmp_path / "none.mat", {})
    assert load(tmp_path / "none.mat") == ({}, {})
    assert list(load(foreign(tmp_path, cells(np.ones((2, 4))), "only"))[0]) == ["only"]


def test_a_meta_of_another_program_is_ignored(tmp_path):
    for meta in (3, "[1]", "no json", cells("a"), {"field": 1}, "[" * 100_000):
        path = foreign(tmp_path, cells(np.ones((1, 4))), cells("a"), meta=meta)
        assert load(path)[1] == {}


ONE = np.ones((1, 4))


@pytest.mark.parametrize(
    ("boxes", "images", "words"),
    [
        (ONE, cells("a"), r"boxes: expected a cell array with one matrix per image, got float64 \(1, 4\)"),
        ({"a": ONE}, cells("a"), "boxes: expected a cell"),
        (cells(ONE, np.ones((2, 5))), cells("a", "b"), r"boxes: cell 2: expected a matrix \(R, 4\).*\(2, 5\)"),
        (cells("text"), cells("a"), "boxes: cell 1: expected a matrix"),
        (cells(ONE * 1j), cells("a"), "boxes: cell 1: expected a matrix"),
        (cells(cells(ONE)), cells("a"), "boxes: cell 1: expected a matrix"),
        (cells(ONE), cells("a", "b"), "1 matrices in boxes but 2 names in images"),
        (cells(ONE, ONE), cells("a", 3.0), "images: cell 2: expected a name, got"),
        (cells(ONE, ONE), cells("a", ""), "images: cell 2: expected a name, got"),
        (cells(ONE, ONE), cells("a.jpg", "a.png"), "image 'a' occurs twice"),
        (cells(ONE * 0), cells("a"), "image 'a': got coordinate 0, expected 1-based"),
        (cells(np.array([[1, 1, np.nan, 1]])), cells("a"), "image 'a' .*box 1 is .*expected finite numbers"),
        (cells(np.array([[50.0, 60, 20, 10]])), cells("a"), r"image 'a' \(read as yxyx\): box 1 .*another order"),
    ],
)
def test_other_content_is_a_one_line_error_that_names_the_file(tmp_path, boxes, images, words):
    path = foreign(tmp_path, boxes, images)
    with pytest.raises(ValueError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_error_for_a_missing_cell_array_names_it(tmp_path):
    path = tmp_path / "x.mat"
    for there, lacking in (("boxes", "images"), ("images", "boxes"), ("gt", "boxes")):
        scipy.io.savemat(path, {there: cells(ONE)})
        with pytest.raises(ValueError, match=rf"x\.mat: holds no {lacking}"):
            load(path)


def test_the_error_for_hdf5_files_says_how_to_convert_them(tmp_path):
    for start in (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512), b"\x89HDF\r\n\x1a\n".ljust(512, b"\0")):
        (tmp_path / "new.mat").write_bytes(start)
        with pytest.raises(ValueError, match=r"new\.mat: MATLAB 7\.3 file \(HDF5\).*-v7$"):
            load(tmp_path / "new.mat")


def test_every_truncation_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "cut.mat"
    save(path, BOXES, {"source": "ss"})
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"^.*cut\.mat: ") as caught:
            load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_bytes_raise_nothing_but_a_one_line_error(tmp_path, compressed):
    path = tmp_path / "cut.mat"
    scipy.io.savemat(path, {"boxes": cells(*BOXES.values()), "images": cells(*BOXES)}, do_compression=compressed)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    lines = []
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(8, len(whole))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except ValueError as error:
            lines.append(str(error))
    assert len(lines) > 50
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in lines)


def test_too_many_boxes_are_a_one_line_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise scipy.io.matlab.MatWriteError("Matrix too large to save with Matlab 5 format")

    monkeypatch.setattr(scipy.io, "savemat", refuse)
    with pytest.raises(ValueError, match=r"a\.mat: too many boxes for a \.mat file \(Matrix too large"):
        save(tmp_path / "a.mat", BOXES)


def test_text_is_not_a_matlab_file(tmp_path):
    (tmp_path / "text.mat").write_text("boxes = {}")
    with pytest.raises(ValueError, match=r"text\.mat: damaged or not a MATLAB file"):
        load(tmp_path / "text.mat")


def test_the_same_boxes_give_the_same_bytes(tmp_path, monkeypatch):
    save(tmp_path / "a.mat", BOXES, {"b": 1, "a": 2})
    monkeypatch.setattr("time.asctime", lambda *_: "another day")
    save(tmp_path / "b.mat", BOXES, {"a": 2, "b": 1})
    assert (tmp_path / "a.mat").read_bytes() == (tmp_path / "b.mat").read_bytes()


def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(tmp_path):
    save(tmp_path / "boxes.mat", BOXES)
    before = (tmp_path / "boxes.mat").read_bytes()
    with pytest.raises(ValueError, match=r"expected shape \(N, 4\)"):
        save(tmp_path / "boxes.mat", {"a": np.zeros((2, 5))})
    with pytest.raises(TypeError):
        save(tmp_path / "boxes.mat", BOXES, {"not json": object()})
    assert (tmp_path / "boxes.mat").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_unknown_orders_are_refused(tmp_path):
    for call in (lambda: load(tmp_path / "x.mat", "xywh"), lambda: save(tmp_path / "x.mat", {}, order="xywh")):
        with pytest.raises(ValueError, match="order: expected one of yxyx, xyxy, got 'xywh'"):
            call()


def test_meta_is_text_that_other_programs_can_show(tmp_path):
    save(tmp_path / "a.mat", BOXES, {"source": "ss"})
    assert json.loads(scipy.io.loadmat(tmp_path / "a.mat")["meta"][0]) == {"source": "ss"}


def element(kind, data, order):
    """Encode a data element as MATLAB does: short ones are stored within the tag."""
    if 0 < len(data) <= 4:
        return struct.pack(f"{order}I", len(data) << 16 | kind) + data.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def array(kind, shape, content, order, name=b""):
    flags = element(6, struct.pack(f"{order}II", kind, 0), order)
    dimensions = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, flags + dimensions + element(1, name, order) + content, order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_written_by_matlab_are_read(tmp_path, order, compressed):
    """Doubles stored as small integers, names in 16 bits, either byte order, an empty item."""
    matrix = array(6, (2, 4), element(2, bytes([1, 11, 2, 12, 3, 13, 4, 14]), order), order)
    boxes = array(1, (1, 2, 1), matrix + element(14, b"", order), order, b"boxes")
    names = "".join(
        array(4, (1, len(n)), element(4, n.encode({"<": "utf-16-le", ">": "utf-16-be"}[order]), order), order).hex()
        for n in ("größe.jpg", "b")
    )
    images = array(1, (2, 1), bytes.fromhex(names), order, b"images")
    variables = [boxes, images]
    if compressed:
        packed = [zlib.compress(v) for v in variables]
        variables = [struct.pack(f"{order}II", 15, len(v)) + v for v in packed]
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100) + {"<": b"IM", ">": b"MI"}[order]
    path = tmp_path / "matlab.mat"
    path.write_bytes(header + b"".join(variables))
    loaded, _ = load(path)
    assert {name: b.tolist() for name, b in loaded.items()} == {
        "größe": [[1, 0, 3, 2], [11, 10, 13, 12]],
        "b": [],
    }


@pytest.mark.parametrize("damage", [lambda v: v[:-4], lambda v: v[:-1] + bytes([v[-1] ^ 1]), lambda v: v[:-9]])
def test_damaged_compressed_variables_are_an_error(tmp_path, damage):
    content = damage(zlib.compress(array(1, (1, 0), b"", "<", b"boxes")))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    (tmp_path / "z.mat").write_bytes(header + struct.pack("<II", 15, len(content)) + content)
    with pytest.raises(ValueError, match=r"z\.mat: damaged or not a MATLAB file"):
        load(tmp_path / "z.mat")


def test_other_variables_are_ignored_and_wrong_types_are_named(tmp_path):
    sparse = scipy.sparse.eye_array(4, format="csc")
    path = foreign(tmp_path, cells(ONE), cells("a"), gt=sparse, imdb={"x": cells(1.0)}, note="text", flags=[True])
    assert list(load(path)[0]) == ["a"]
    with pytest.raises(ValueError, match="boxes: expected a cell array with one matrix per image, got sparse matrix"):
        load(foreign(tmp_path, sparse, cells("a")))
    with pytest.raises(ValueError, match="images: expected a cell array of names, got float64"):
        load(foreign(tmp_path, cells(ONE), 3.0))
