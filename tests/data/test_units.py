"""Boxes in fractions of the photo in formats of pixels, and files that mix both."""

import json

import numpy as np
import pytest

from data import coco, table, voc
from data.units import Unit, common_unit, unit_of
from tests.data.test_voc import obj, write_voc, xml
from tests.data.test_yolo import photo

FRACTIONS = [(0.1, 0.2, 0.6, 0.8), (0, 0, 1, 1), (0.5, 0.5, 1, 1.002)]  # corners
PIXELS = [[10, 10, 59, 39], [0, 0, 99, 49], [50, 25, 99, 49]]  # of a photo of 100x50


def write_csv(root, corners):
    photo(root / "a.png")
    lines = [",".join(map(str, ("a.png", *box, "cat"))) for box in corners]
    (root / "boxes.csv").write_text("\n".join(["file,xmin,ymin,xmax,ymax,class", "", *lines]))
    return table.load(root, "all")


def write_coco(root, corners):
    photo(root / "a.png")
    boxes = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in corners]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 50}],
        "annotations": [{"id": 7 + i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "boxes.json").write_text(json.dumps(content))
    return coco.load(root, "all")


def write_xml(root, corners):
    size = "<size><width>100</width><height>50</height></size>"
    return voc.load(write_voc(root / "voc", {"a": xml(*[obj("cat", box) for box in corners], size=size)}))


READ = [write_csv, write_coco, write_xml]


@pytest.mark.parametrize("read", READ)
def test_fractions_become_pixels_with_one_line(tmp_path, caplog, read):
    (record,) = read(tmp_path, FRACTIONS)
    np.testing.assert_allclose(record.boxes, PIXELS, atol=0.011)
    told = [message for message in caplog.messages if "boxes in fractions" in message]
    assert len(told) == 1
    assert "boxes in fractions of the photo, converted to pixels: 3" in told[0]


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (write_csv, r"boxes\.csv: line 5"),
        (write_coco, r"a\.png: annotation 9 "),
        (write_xml, r"a\.xml: object 3 \(cat\)"),
    ],
)
@pytest.mark.parametrize(
    ("most", "odd", "words"),
    [
        (
            [(10, 10, 30, 40)] * 2,
            (0.1, 0.2, 0.6, 0.8),
            "the box is in fractions of the photo, but the file is in pixels",
        ),
        (
            [(0.1, 0.2, 0.6, 0.8)] * 2,
            (10, 10, 30, 40),
            "the box is in pixels, but the file is in fractions of the photo",
        ),
    ],
)
def test_a_file_that_mixes_both_is_an_error_that_names_the_line(tmp_path, read, line, most, odd, words):
    with pytest.raises(ValueError, match=f"{line}.*{words}"):
        read(tmp_path, [*most, odd])


def test_boxes_that_fit_both_do_not_decide():
    assert [unit_of(box) for box in ((0, 0, 1, 1), (0.5, 0.5, 1.5, 1.5), (-0.1, 0, 0.5, 1), ())] == [None] * 4
    assert common_unit([(0, 0, 1, 1)]) is common_unit([]) is Unit.PIXELS
    assert common_unit([(0, 0, 1, 1), (0, 0, 0.5, 1)]) is Unit.FRACTIONS
