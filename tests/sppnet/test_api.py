"""Training and evaluation from Python."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sppnet
from data import voc
from sppnet.settings import TrainSettings
from tests.data.test_formats import write_yolo

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(devkit, weights, tmp_path_factory):
    """A detector trained from Python on a YOLO folder, and that folder."""
    folder = tmp_path_factory.mktemp("api")
    write_yolo(devkit, folder / "things", "folders")
    settings = TrainSettings(
        backbone="alexnet", features="pool5", scales=(160,), precision="fp32", weights=weights, workers=1
    )
    return sppnet.train_detector(folder / "things", run=folder / "run", settings=settings), folder


def test_train_detector_returns_the_detector_and_its_scores(trained):
    detector, folder = trained
    assert isinstance(detector, sppnet.SPPDetector)
    assert (folder / "run" / "model" / "model.json").is_file()
    assert set(detector.scores) == {"windows", "regressed"}
    assert 0 <= detector.scores["regressed"]["mean_ap"] <= 1
    photo = next((folder / "things" / "images" / "test").iterdir())
    assert isinstance(detector.detect(photo), sppnet.Detections)


def test_evaluate_agrees_with_the_test_of_the_training(trained):
    detector, folder = trained
    result = sppnet.evaluate(detector, folder / "things")
    assert result.mean_ap == pytest.approx(detector.scores["regressed"]["mean_ap"])
    area = sppnet.evaluate(detector, folder / "things", split="test", metric="area", iou_threshold=0.3)
    assert (area.metric, area.iou_threshold) == ("area", 0.3)


def test_evaluate_takes_detections_and_data_sets(devkit):
    dataset = voc.load(devkit, None, "test")
    perfect = {r.id: sppnet.Detections(r.boxes, np.ones(len(r.boxes), np.float32), r.labels) for r in dataset}
    assert sppnet.evaluate(perfect, dataset).mean_ap == 1
    with pytest.raises(FileNotFoundError, match="no such data set"):
        sppnet.evaluate(perfect, "absent")


def test_progress_is_silent_from_python(trained, capfd):
    detector, folder = trained
    sppnet.evaluate(detector, folder / "things")
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_plain_script_beside_foreign_packages_trains(devkit, weights, tmp_path):
    """Without a main guard, several workers, and with modules of our names in the script's folder."""
    shutil.copytree(devkit, tmp_path / "things")
    for name in ("data", "proposals"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('foreign')\n")
    (tmp_path / "detection").mkdir()
    (tmp_path / "detection" / "__init__.py").write_text("raise RuntimeError('foreign')\n")
    (tmp_path / "script.py").write_text(
        f"""import sys
sys.path.append({str(ROOT)!r})
import sppnet
from sppnet.settings import TrainSettings
print("started")
settings = TrainSettings(
    backbone="alexnet", features="pool5", scales=(160,), precision="fp32", weights={str(weights)!r}, workers=2
)
print(sppnet.train_detector("things", settings=settings).scores["regressed"]["mean_ap"])
"""
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("started") == 1
    assert (tmp_path / "runs" / "things" / "model" / "model.json").is_file()


def test_evaluate_takes_the_classes_of_the_detections_and_refuses_another_order(devkit):
    dataset = voc.load(devkit, None, "test")
    turned = dataset.classes[::-1]
    swapped = [len(turned) - 1 - r.labels for r in dataset]
    perfect = {
        r.id: sppnet.Detections(r.boxes, np.ones(len(r.boxes), np.float32), labels, turned)
        for r, labels in zip(dataset, swapped, strict=True)
    }
    result = sppnet.evaluate(perfect, devkit)
    assert result.mean_ap == 1
    assert result.classes == turned
    with pytest.raises(ValueError, match="expected those of the detector"):
        sppnet.evaluate(perfect, dataset)
