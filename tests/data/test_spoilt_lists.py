"""A spoilt list beside a good one, in formats with one file per split: it is named, and the good one is not divided."""

import pytest

from data import datasets
from tests.data.test_yolo import photo
from tests.data.tools import cvat, cvat_box, cvat_image, label_studio, rect, region, task, via, via_csv, via_region

NAMES = [f"{i}.png" for i in range(8)]
REGION = via_region(rect(10, 5, 20, 20), label="cat")

WRITERS = {
    "via.json": lambda path: via(path, {name: [REGION] for name in NAMES}),
    "via.csv": lambda path: via_csv(path, {name: [REGION] for name in NAMES}),
    "studio.json": lambda path: label_studio(
        path, [task(i, name, [region("cat", 10, 5, 20, 20)]) for i, name in enumerate(NAMES)]
    ),
    "cvat.xml": lambda path: cvat(path, [(cvat_image(name), cvat_box("cat", (10, 5, 30, 25))) for name in NAMES]),
}
SPOILT = {"empty": "", "empty list": "[]", "empty object": "{}", "other": '{"a": 1}', "cut": None}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("kind", WRITERS)
def test_a_spoilt_list_is_named_and_the_other_is_not_divided(tmp_path, kind, spoilt):
    for name in NAMES:
        photo(tmp_path / name)
    suffix = kind.partition(".")[2]
    train, val = (tmp_path / f"{split}.{suffix}" for split in ("train", "val"))
    for path in (train, val):
        WRITERS[kind](path)
    train.write_text(train.read_text()[:-30] if SPOILT[spoilt] is None else SPOILT[spoilt])
    assert set(datasets.splits(tmp_path)) == {"train", "val"}
    assert len(datasets.load(tmp_path, "val")) == len(NAMES)
    with pytest.raises(ValueError, match=rf"train\.{suffix}: "):
        datasets.load(tmp_path, "train")
