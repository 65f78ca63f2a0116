"""Data sets of every format, written in every format, read back as they were."""

import numpy as np
import pytest
from PIL import Image

from data import coco, datasets, writers, yolo
from data import cvat as cvat_reader
from data import label_studio as label_studio_reader
from data import labelme as labelme_reader
from data import via as via_reader
from data.records import Dataset, ImageRecord
from tests.data import tools
from tests.data.test_yolo import photo

SIZE = (100, 50)  # width and height
CLASSES = ("Straße", "cat/dog", "red, wet", "猫 1")
SCENES = {
    "train": {
        "été 1": [
            ("猫 1", (10, 5, 29, 24), False),
            ("Straße", (0.25, 0, 99, 49), True),
            ("猫 1", (7.12, 3.4, 8, 30), False),
        ],
        "empty": [],
        "b": [("cat/dog", (50.5, 20.25, 60.75, 31), True), ("red, wet", (0, 0, 9, 0), False)],
    },
    "test": {"é": [("Straße", (33.33, 12.34, 66.67, 43.21), False)], "none": []},
}
LABELLED = tools.region("cat", 10, 5, 20, 20)
FLAGS = ("voc", "coco", "labelme", "cvat", "cvat_tool")
"""Formats that mark difficult objects."""


def colored(path, red):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (red, 90, 90)).save(path)
    return path


def edges(box):
    return box[0], box[1], box[2] + 1, box[3] + 1


def of_writer(format):
    def write(root, photos):
        found = {split: dataset(split, photos[split]) for split in SCENES}
        writers.write(root, found, format)

    return write


def dataset(split, paths, scene=None):
    """The scene of a split as a `Dataset`, or another."""
    records = []
    for name, path in paths.items():
        objects = (scene or SCENES[split])[name]
        records.append(
            ImageRecord(
                "_".join(name.split()),
                path,
                SIZE[::-1],
                np.array([box for _, box, _ in objects], np.float32).reshape(-1, 4),
                np.array([CLASSES.index(label) for label, _, _ in objects], np.int64),
                np.array([difficult for _, _, difficult in objects], bool),
            )
        )
    return Dataset(split, CLASSES, tuple(records))


def labelme(root, photos):
    for split, paths in photos.items():
        for name in paths:
            shapes = [
                tools.labelme_shape(label, "rectangle", [edges(box)[:2], edges(box)[2:]], difficult=difficult)
                for label, box, difficult in SCENES[split][name]
            ]
            path = root / split / f"{name}.json"
            tools.labelme(path, shapes, f"../../photos/{split}/{name}.png", SIZE, make_photo=False)


def label_studio(root, photos):
    for split, paths in photos.items():
        tasks = []
        for name, path in paths.items():
            objects = [
                tools.region(label, x0, y0, x1 - x0, y1 - y0)
                for label, (x0, y0, x1, y1) in ((label, edges(box)) for label, box, _ in SCENES[split][name])
            ]
            tasks.append(tools.task(len(tasks) + 1, f"/data/local-files/?d={split}/{path.name}", objects))
        tools.label_studio(root / f"{split}.json", tasks)


def cvat(root, photos):
    images = []
    for split, paths in photos.items():
        for name, path in paths.items():
            flags = {True: '<attribute name="difficult">true</attribute>', False: ""}
            boxes = [tools.cvat_box(label, edges(box), inside=flags[flag]) for label, box, flag in SCENES[split][name]]
            images.append((tools.cvat_image(path.name, split, SIZE), "".join(boxes)))
    tools.cvat(root / "annotations.xml", images)


def via(writer, suffix):
    def write(root, photos):
        for split, paths in photos.items():
            listed = {
                path.name: [
                    tools.via_region(tools.rect(x0, y0, x1 - x0, y1 - y0), kind=label)
                    for label, (x0, y0, x1, y1) in ((label, edges(box)) for label, box, _ in SCENES[split][name])
                ]
                for name, path in paths.items()
            }
            writer(root / f"{split}{suffix}", listed)

    return write


INPUTS = {
    **{format: of_writer(format) for format in writers.FORMATS},
    "labelme": labelme,
    "label_studio_tool": label_studio,
    "cvat_tool": cvat,
    "via_json": via(tools.via, ".json"),
    "via_csv": via(tools.via_csv, ".csv"),
}


@pytest.fixture(params=INPUTS)
def source(request, tmp_path):
    """A data set in some format, and the name of the format."""
    tool = request.param not in writers.FORMATS
    root = tmp_path / "in"
    place = root if tool else tmp_path
    photos = {
        split: {name: colored(place / "photos" / split / f"{name}.png", 40 * i) for i, name in enumerate(scene)}
        for split, scene in SCENES.items()
    }
    INPUTS[request.param](root, photos)
    return root, request.param


def id_of(record):
    """The id of a record; VOC keeps blanks in ids."""
    return record.id.replace(" ", "_")


def objects_of(found, record):
    names = [found.classes[k] for k in record.labels]
    return sorted(zip(names, record.boxes.tolist(), record.difficult.tolist(), strict=True))


def check_same(found, flags):
    """Check data sets by split against the scenes."""
    assert set(found) == set(SCENES)
    for split, of_split in found.items():
        assert (of_split.dropped, of_split.clipped, of_split.notes) == ((), (), {})
        assert {r.path.name for r in of_split} == {f"{name}.png" for name in SCENES[split]}
        for record in of_split:
            assert record.size == SIZE[::-1]
            expected = sorted((n, list(b), d and flags) for n, b, d in SCENES[split][record.path.stem])
            mine = objects_of(of_split, record)
            assert [(name, difficult) for name, _, difficult in mine] == [(n, d) for n, _, d in expected]
            np.testing.assert_allclose([b for _, b, _ in mine], [b for _, b, _ in expected], atol=1e-3)


@pytest.mark.parametrize("format", writers.FORMATS)
def test_what_is_written_reads_back_as_the_same_records(source, format, tmp_path):
    root, read = source
    original = datasets.load_all(root)
    check_same(original, read in FLAGS)
    writers.write(tmp_path / "out", original, format)
    again = datasets.load_all(tmp_path / "out")
    check_same(again, read in FLAGS and format in FLAGS)
    for split, found in again.items():
        assert {id_of(r): r.path.read_bytes() for r in found} == {
            id_of(r): r.path.read_bytes() for r in original[split]
        }


@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_formats_that_list_classes_keep_their_order_and_those_without_objects(tmp_path, format):
    photos = {"a": photo(tmp_path / "a.png")}
    found = dataset("train", photos, {"a": [("猫 1", (1, 1, 9, 9), False)]})
    writers.write(tmp_path / "out", {"train": found}, format)
    assert datasets.load(tmp_path / "out", "all").classes == CLASSES


KINDS = {
    **{"voc": "VOC", "coco": "COCO", "yolo": "YOLO", "csv": "CSV", "labelme": "LabelMe"},
    **{"label_studio_tool": "Label Studio", "cvat_tool": "CVAT", "via_json": "VIA", "via_csv": "VIA"},
    **{"label-studio": "Label Studio", "cvat": "CVAT"},
}


def test_no_format_is_taken_for_another(source):
    root, read = source
    claims = [kind for kind, reader in {**datasets.TOOLS, "COCO": coco, "YOLO": yolo}.items() if reader.splits(root)]
    assert claims == ([KINDS[read]] if read not in ("voc", "csv") else [])
    with pytest.raises(FileNotFoundError, match=f"this {KINDS[read]} data set has" if read != "voc" else "no list"):
        datasets.load(root, "absent")


def test_photos_may_be_in_another_folder(tmp_path):
    data, photos = tmp_path / "data", tmp_path / "elsewhere" / "images"
    photo(photos / "b.png", SIZE)
    box = (10, 5, 30, 25)
    files = [
        (labelme_reader, tools.labelme(data / "1" / "a.json", [("cat", "rectangle", [box[:2], box[2:]])], "x/b.png")),
        (label_studio_reader, tools.label_studio(data / "2.json", [tools.task(1, "/x/b.png", [LABELLED])])),
        (cvat_reader, tools.cvat(data / "3.xml", [(tools.cvat_image("x/b.png"), tools.cvat_box("cat", box))])),
        (
            via_reader,
            tools.via(data / "4.json", {"x/b.png": [tools.via_region(tools.rect(10, 5, 20, 20), kind="cat")]}),
        ),
    ]
    (data / "1" / "a.png").unlink()
    for reader, file in files:
        (found,) = reader.load(file, "all", images=photos)
        assert found.path == photos / "b.png"
        assert found.boxes.tolist() == [[10, 5, 29, 24]]
