"""COCO results carry the ids of the data set's own file, so that other programs can score them against it."""

import contextlib
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data import datasets
from detection.detections import Detections
from detection.evaluation import coco
from sppnet.detector.scoring import score_detections
from sppnet.run import DataSource, Run
from sppnet.settings.shared import DatasetSettings
from tests.commands import command

NAMES = ("zebra", "cat", "apple")
ODD = {
    "shuffled and large, with holes": ([900000000007, 3, 40001, 12, 5, 88, 7, 61, 10**15, 2], [90, 1, 37]),
    "text": ([f"scene/{i}" for i in (4, 1, 9, 3, 0, 5, 2, 7, 8, 6)], ["z", "c", "a"]),
}


def write_coco(path, image_ids, category_ids, folder="photos"):
    """Ten photos with one to three objects each, a crowd among them, and a category without an object."""
    rng = np.random.default_rng(0)
    (path.parent / folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for place, image_id in enumerate(image_ids):
        name = f"{folder}/photo{place}.png"
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(path.parent / name)
        images.append({"id": image_id, "file_name": name, "height": 60, "width": 80})
        for n in range(1 + place % 3):
            x, y, w, h = (int(v) for v in rng.integers((0, 0, 10, 10), (40, 30, 40, 30)))
            crowd = int(place == 4 and n == 0)
            annotations.append(
                {"id": 10 * place + n + 1, "image_id": image_id, "category_id": category_ids[(place + n) % 2],
                 "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd}
            )  # fmt: skip
    categories = [{"id": i, "name": name} for i, name in zip(category_ids, NAMES, strict=True)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def found_in(dataset):
    """Detections of the objects, moved, and of things that are not there."""
    rng, found = np.random.default_rng(1), {}
    for record in dataset:
        labels = np.concatenate([record.labels, rng.integers(0, len(dataset.classes), 4)])
        wrong = rng.integers((0, 0, 40, 30), (30, 25, 79, 59), (4, 4))
        boxes = np.concatenate([record.boxes + rng.integers(-3, 4, record.boxes.shape), wrong]).astype(np.float32)
        found[record.id] = Detections(boxes, rng.random(len(boxes), np.float32), labels)
    return found


def ap_of_pycocotools(annotations, results, images):
    """AP of a results file against the user's own annotation file, over some of its images."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        run = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        run.params.imgIds = images
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats[0]


def results_of(tmp_path, data, classes=None):
    """The images that were tested, our score, and the results file."""
    source = DataSource.of(DatasetSettings(data=data))
    run = Run(tmp_path / "run", source, test_split=source.usual_split("test"))
    dataset = run.dataset(run.test_split, classes)
    scores = score_detections(run, dataset, {"windows": found_in(dataset)}, "voc07")
    return dataset, scores.coco["windows"].ap, scores.folders["windows"] / "coco_results.json"


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("classes", [None, ("apple", "cat", "zebra"), ("cat", "dog", "zebra")])
def test_pycocotools_gives_our_ap_on_the_users_own_file(tmp_path, kind, classes):
    for split in ("train", "test"):
        write_coco(tmp_path / "set" / f"{split}.json", *ODD[kind], folder=split)
    dataset, ours, results = results_of(tmp_path, tmp_path / "set", classes)
    assert {r.file_id for r in dataset} == set(ODD[kind][0])
    theirs = ap_of_pycocotools(tmp_path / "set" / "test.json", results, ODD[kind][0])
    assert 0.1 < ours < 0.9
    assert theirs == pytest.approx(ours)


def test_a_set_that_is_divided_automatically_keeps_its_ids(tmp_path):
    write_coco(tmp_path / "set" / "mine.json", *ODD["shuffled and large, with holes"])
    dataset, ours, results = results_of(tmp_path, tmp_path / "set" / "mine.json")
    assert 0 < len(dataset) < 10
    images = [r.file_id for r in dataset]
    assert ap_of_pycocotools(tmp_path / "set" / "mine.json", results, images) == pytest.approx(ours)


def test_cocos_numbers_with_holes_are_kept(tmp_path):
    write_coco(tmp_path / "train.json", range(10), [1, 88, 90])
    dataset = datasets.load(tmp_path, "train", classes=("dog", "apple", "cat", "zebra"))
    images, categories = coco.ids_of(dataset)
    assert categories == (None, 90, 88, 1)
    entries = coco.to_coco_json({"photo3": Detections(np.ones((3, 4)), np.ones(3), np.arange(3))}, images, categories)
    assert [(e["image_id"], e["category_id"]) for e in entries] == [(3, 90), (3, 88)]


def test_categories_of_one_name_have_the_id_of_the_one_with_objects(tmp_path):
    write_coco(tmp_path / "train.json", range(10), [5, 6, 7])
    content = json.loads((tmp_path / "train.json").read_text())
    content["categories"].append({"id": 8, "name": "cat"})
    (tmp_path / "train.json").write_text(json.dumps(content))
    dataset = datasets.load(tmp_path, "train")
    assert dict(zip(dataset.classes, dataset.category_ids, strict=True)) == {"zebra": 5, "cat": 6, "apple": 7}


def test_images_without_ids_of_their_own_are_numbered_as_before(devkit):
    from data import voc

    dataset = voc.load(devkit, None, "test")
    assert coco.ids_of(dataset) == ({r.id: n for n, r in enumerate(dataset, 1)}, None)
    assert dataset.category_ids == ()


def test_a_detector_knows_the_categories_of_its_training(tmp_path):
    found = Detections(np.ones((2, 4)), np.ones(2), np.array([1, 0]), ("cat", "dog"), category_ids=(17, 18))
    assert [e["category_id"] for e in found.to_coco("scene/4")] == [18, 17]
    assert found.to_coco("scene/4")[0]["image_id"] == "scene/4"
    assert [e["category_id"] for e in found.to_coco(np.int64(4), category_ids=(None, 90))] == [90]
    assert [e["category_id"] for e in coco.to_coco_json({"7": found})] == [18, 17]


def test_boxes_in_coco_results_belong_to_the_images_of_the_file(tmp_path, capsys):
    ids = [5, 6, 7, 8, 9, 4, 3, 2, 1, 0]  # other numbers than those in the photos' names
    write_coco(tmp_path / "train.json", ids, [1, 2, 3])
    shutil.copy(tmp_path / "train.json", tmp_path / "test.json")
    content = json.loads((tmp_path / "test.json").read_text())
    boxes = [{**{k: a[k] for k in ("image_id", "bbox")}, "score": 1.0} for a in content["annotations"]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    argv = ["--data", tmp_path, "--run", tmp_path / "run", "--proposals", tmp_path / "boxes.json"]
    assert command("stage evaluate-proposals")([*argv, "--json", tmp_path / "r.json"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["result"]["boxes"]["recall"] == {"0.5": 1, "0.7": 1}
