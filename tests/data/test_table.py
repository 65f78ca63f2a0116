"""CSV tables as people write them."""

import pytest

from data import table
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
