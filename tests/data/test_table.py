"""CSV tables as people write them."""

import pytest

from data import datasets, table
from data.annotation import SWAPPED, TWICE
from tests.data.test_yolo import photo, write

HEADER = "file,xmin,ymin,xmax,ymax,class\n"


def test_rows_of_a_photo_belong_together_however_its_path_is_written(tmp_path):
    photo(tmp_path / "sub" / "a.png")
    rows = "sub/a.png,0,0,9,9,cat\n./sub/a.png,10,0,19,9,cat\nsub//a.png,20,0,29,9,cat\n"
    (record,) = table.load(write(tmp_path / "boxes.csv", HEADER + rows), "all")
    assert record.boxes[:, 0].tolist() == [0, 10, 20]


def test_line_numbers_are_those_of_an_editor(tmp_path):
    photo(tmp_path / "a.png")
    rows = "\n\na.png,0,0,9,9,cat\n,,,,,\na.png,0,x,9,9,cat\n"
    with pytest.raises(ValueError, match=r"boxes\.csv: line 6: a coordinate is 'x'"):
        table.load(write(tmp_path / "boxes.csv", HEADER + rows), "all")


def test_photos_may_lie_in_images_in_upper_or_lower_case(tmp_path):
    photo(tmp_path / "Images" / "a.png")
    assert len(table.load(write(tmp_path / "boxes.csv", f"{HEADER}a.png,0,0,9,9,cat\n"), "all")) == 1


def test_a_missing_first_photo_is_one_missing_photo(tmp_path):
    photo(tmp_path / "images" / "b.png")
    path = write(tmp_path / "boxes.csv", HEADER + "a.png,0,0,9,9,cat\nb.png,0,0,9,9,cat\n")
    with pytest.raises(FileNotFoundError, match=r"image is missing: .*images/a\.png"):
        table.load(path, "all")
    found = table.load(path, "all", skip_bad=True)
    assert ([r.id for r in found], list(found.bad)) == (["b"], ["a"])


ROWS = [
    ("a.png", "0", "1,5", "9,25", "9", "big cat"),
    ("b.png", "", "", "", "", ""),
    ("a.png", "5", "5", "19", "9", "dog"),
]
COLUMNS = ("filename", "xmin", "ymin", "xmax", "ymax", "class")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("comma", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_tables_may_have_any_delimiter_decimal_commas_and_encoding(tmp_path, delimiter, header, comma, encoding):
    for name in ("a.png", "b.png"):
        photo(tmp_path / name)
    lines = [[cell if comma else cell.replace(",", ".") for cell in row] for row in ROWS]
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in lines]
    text = "".join(delimiter.join(row) + "\r\n" for row in [COLUMNS][: int(header)] + quoted)
    (tmp_path / "boxes.csv").write_bytes(text.encode(encoding))
    found = datasets.load(tmp_path, "all")
    assert found.classes == ("big cat", "dog")
    assert [r.boxes.tolist() for r in found] == [[[0, 1.5, 9.25, 9], [5, 5, 19, 9]], []]


def test_tables_of_tabs_may_be_called_tsv(tmp_path):
    photo(tmp_path / "a.png")
    write(tmp_path / "boxes.tsv", "a.png\t0\t0\t9\t9\tcat\n")
    assert len(datasets.load(tmp_path, "all")[0].boxes) == 1


def test_commas_beside_decimal_points_are_not_decimal(tmp_path):
    photo(tmp_path / "a.png")
    path = write(tmp_path / "boxes.csv", "file;xmin;ymin;xmax;ymax;class\na.png;1,250;0.5;1,260;9;cat\n")
    with pytest.raises(ValueError, match=r"line 2: a coordinate is '1,250', expected a finite number"):
        table.load(path, "all")


@pytest.mark.parametrize("row", ["a.png,0,0,9,9", "a.png,1,5,2,5,9,5,9,5,cat", "a.png,0,0,9,9,big,cat"])
def test_a_row_with_too_few_or_too_many_columns_is_named(tmp_path, row):
    photo(tmp_path / "a.png")
    path = write(tmp_path / "boxes.csv", f"{HEADER}a.png,0,0,9,9,cat,,\n{row}\n")
    with pytest.raises(ValueError, match=r"boxes\.csv: line 3 has \d+ columns, expected 6"):
        table.load(path, "all")


def test_a_table_without_the_columns_names_them_whatever_its_delimiter(tmp_path):
    path = write(tmp_path / "boxes.csv", "file;xmin;ymin;xmax;why;class\na.png;0;0;9;9;cat\n")
    with pytest.raises(ValueError, match=r"boxes\.csv: no column for y1; expected file, xmin"):
        table.load(path, "all")


def test_a_row_without_a_file_is_named(tmp_path):
    photo(tmp_path / "a.png")
    path = write(tmp_path / "boxes.csv", f"{HEADER}a.png,0,0,9,9,cat\n,0,0,9,9,cat\n")
    with pytest.raises(ValueError, match=r"boxes\.csv: line 3 names no file"):
        table.load(path, "all")


def test_the_same_row_twice_is_one_object(tmp_path, caplog):
    photo(tmp_path / "a.png")
    rows = "a.png,0,0,9,9,cat\na.png,0,0,9,9,dog\na.png,0,0,9,9,cat\n"
    found = table.load(write(tmp_path / "boxes.csv", HEADER + rows), "all")
    assert found[0].labels.tolist() == [0, 1]
    assert found.notes == {TWICE: ("a: object 3 (cat) [0, 0, 9, 9]",)}
    assert "objects labelled twice, used once: 1" in caplog.text


@pytest.mark.parametrize(("row", "box"), [("9,8,0,1", [0, 1, 9, 8]), ("0.5,0.6,0.1,0.2", [10, 10, 49, 29])])
def test_swapped_corners_are_swapped_back_and_told(tmp_path, row, box):
    photo(tmp_path / "a.png")
    found = table.load(write(tmp_path / "boxes.csv", f"{HEADER}a.png,{row},cat\n"), "all")
    assert found[0].boxes.tolist() == [box]
    assert len(found.notes[SWAPPED]) == 1


def test_a_path_that_no_file_can_have_is_a_missing_photo(tmp_path):
    write(tmp_path / "labels.csv", "file,xmin,ymin,xmax,ymax,class\na\0b.png,1,1,9,9,cat\n")
    with pytest.raises((FileNotFoundError, ValueError), match=r"labels\.csv|image is missing"):
        datasets.load(tmp_path, "all")
