"""Training: schedules, resuming, several processes."""

import copy
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from classification.augment import Augmentation, ColourComponents
from classification.config import TrainConfig
from classification.photos import MIN_SIDE, CentreViews, DecodedPhotos, TrainingViews, batches
from classification.training import CHECKPOINT, Training, TrainOptions
from data import class_folders
from detection.training.distributed import _SynchronizedBatchNorm, local_device
from tests.classification.conftest import make_net

ROOT = Path(__file__).parents[2]
SMALL = TrainConfig(epochs=4, batch=6, rate=0.02, colour=0.1)


@pytest.fixture(scope="module")
def data(folder):
    photos = class_folders.from_folder(folder)
    return DecodedPhotos(photos.paths), photos.labels


def training(data, folder, config=SMALL, net=None, validate=True, seed=0):
    photos, labels = data
    net = net or make_net()
    seen = net.body.preprocessing
    views = TrainingViews(photos, labels, Augmentation(seen, ColourComponents.fit(photos[i] for i in range(4))), seed)
    options = TrainOptions(folder, seed=seed, bfloat16=False)
    return Training(net, views, CentreViews(photos, labels, seen) if validate else None, config, options, "test")


def weights(training):
    return {name: tensor.clone() for name, tensor in training.net.state_dict().items()}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SMALL, [224] * 4),
        (replace(SMALL, sizes=(224, 180)), [180, 224, 180, 224]),
        (replace(SMALL, sizes=(224, 200, 180)), [224, 180, 200, 224]),
    ],
)
def test_sizes_take_turns_and_the_last_epoch_uses_the_first(data, tmp_path, config, expected):
    t = training(data, tmp_path, config)
    assert [t.size(epoch) for epoch in range(4)] == expected


def test_random_sizes_are_drawn_per_epoch_and_repeat_on_resuming(data, tmp_path):
    config = replace(SMALL, sizes=(180, 224), random_size=True)
    one, other = (training(data, tmp_path, config) for _ in range(2))
    drawn = [one.size(epoch) for epoch in range(300)]
    assert drawn == [other.size(epoch) for epoch in reversed(range(300))][::-1]
    assert (min(drawn), max(drawn)) == (180, 224)
    assert len(set(drawn)) > 30


def test_training_learns_two_kinds_of_stripes(data, tmp_path):
    t = training(data, tmp_path, replace(SMALL, epochs=12))
    t.net.head.dropout.p = 0.0  # too few of the sixteen units would remain
    t.run()
    assert t.curve[-1].validation_accuracy > 0.9
    assert t.curve[-1].loss < t.curve[0].loss
    assert [p.learning_rate for p in t.curve][::4] == pytest.approx([0.02, 0.02, 0.002])


def test_the_loss_of_an_epoch_is_the_mean_over_its_photos(data, tmp_path):
    """With a learning rate of 0 and no dropout, training leaves the network and its loss unchanged."""
    net = make_net(norm=False).freeze()
    net.head.dropout.p = 0.0
    t = training(data, tmp_path, replace(SMALL, epochs=1, rate=0.0), net)
    t.run()
    images, labels = zip(*(t.views[0, 224, i] for i in range(16)), strict=True)
    with torch.inference_mode():
        logits = net(torch.stack(images))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).item()
    assert t.curve[0].loss == pytest.approx(expected, rel=1e-4)
    assert t.curve[0].accuracy == (logits.argmax(1) == torch.tensor(labels)).float().mean().item()


class Interrupted(Exception):
    pass


def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(data, tmp_path):
    whole = training(data, tmp_path / "whole")
    whole.run()

    def stop(point):
        if point.epoch == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        training(data, tmp_path / "broken").run(stop)
    resumed = training(data, tmp_path / "broken")
    torch.rand(7)  # change the state of the global generator
    resumed.run()
    assert [p.epoch for p in resumed.curve] == [1, 2, 3, 4]
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed).items())


def test_patience_divides_the_rate_twice_and_then_ends_training(data, tmp_path, monkeypatch):
    t = training(data, tmp_path, replace(SMALL, epochs=50, patience=2))
    monkeypatch.setattr(t, "_train", lambda shared, size: (0.5, 0.5))
    monkeypatch.setattr(t, "_validate", lambda: (max(0.0, 0.7 - t.epoch / 10), 0.5))  # falls for eight epochs
    t.run()
    assert [p.learning_rate for p in t.curve] == pytest.approx([0.02] * 10 + [0.002] * 2 + [0.0002] * 2)


@pytest.mark.parametrize("change", [{"seed": 1}, {"config": replace(SMALL, rate=0.03)}])
def test_a_checkpoint_of_other_settings_is_not_resumed(data, tmp_path, change, caplog):
    training(data, tmp_path, replace(SMALL, epochs=1)).run()
    t = training(data, tmp_path, **({"config": SMALL} | change))
    t._resume()
    assert t.epoch == 0
    assert "other settings or data" in caplog.text


def test_a_damaged_checkpoint_is_not_resumed(data, tmp_path, caplog):
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    t = training(data, tmp_path)
    t._resume()
    assert t.epoch == 0
    assert "is damaged" in caplog.text


def test_an_infinite_or_nan_loss_stops_training(data, tmp_path):
    net = make_net(norm=False)
    with torch.no_grad():
        net.fc8.weight.fill_(math.inf)
    with pytest.raises(ValueError, match=r"loss (nan|inf) in epoch 1; give a lower --rate"):
        training(data, tmp_path, net=net).run()


def test_training_views_depend_only_on_seed_epoch_and_photo(data):
    photos, labels = data
    augment = Augmentation(make_net().body.preprocessing, ColourComponents.fit([photos[0]]))
    one, other = (TrainingViews(photos, labels, augment, 3) for _ in range(2))
    assert torch.equal(one[2, 180, 5][0], other[2, 180, 5][0])
    assert not torch.equal(one[2, 180, 5][0], one[3, 180, 5][0])


def test_photos_beyond_the_memory_limit_are_decoded_again(folder):
    paths = class_folders.from_folder(folder).paths
    kept, decoded = DecodedPhotos(paths), DecodedPhotos(paths, memory=0)
    assert all(np.array_equal(kept[i], decoded[i]) for i in range(len(paths)))


def test_bad_photos_are_named_before_training_starts(folder, tmp_path):
    from PIL import Image

    (tmp_path / "a.jpg").write_bytes(b"no image")
    Image.new("RGB", (MIN_SIDE - 1, 40)).save(tmp_path / "b.png")
    good = class_folders.from_folder(folder).paths[0]
    with pytest.raises(ValueError, match=r"2 of 3 photos cannot be used: .*a\.jpg: .*; .*b\.png: 15 x 40 pixels"):
        DecodedPhotos([tmp_path / "a.jpg", good, tmp_path / "b.png"])


@pytest.mark.parametrize(("count", "batch", "processes"), [(10, 4, 1), (10, 4, 2), (9, 4, 2), (33, 8, 3), (5, 5, 5)])
def test_the_parts_of_all_processes_make_up_the_batches_of_one(count, batch, processes):
    whole = [set(places.tolist()) for places, _ in batches(count, batch, 0, 1)]
    assert sorted(i for places in whole for i in places) == list(range(count))
    assert max(map(len, whole)) <= batch
    assert max(map(len, whole)) - min(map(len, whole)) <= 1  # so no photo is left alone
    parts = [list(batches(count, batch, rank, processes)) for rank in range(processes)]
    for number, places in enumerate(zip(*parts, strict=True)):
        assert set().union(*(p.tolist() for p, _ in places)) == whole[number]
        assert {n for _, n in places} == {len(whole[number])}


@pytest.mark.parametrize(("count", "batch", "sizes"), [(5, 2, [3, 2]), (3, 2, [3]), (5, 1, [1] * 5), (1, 4, [1])])
def test_no_batch_has_a_single_photo_unless_batch_is_1(count, batch, sizes):
    assert [whole for _, whole in batches(count, batch, 0, 1)] == sizes


def test_batches_smaller_than_the_number_of_processes_are_refused():
    with pytest.raises(ValueError, match=r"a batch of 2 photos is too small for 3 processes; give a larger --batch"):
        list(batches(4, 2, 0, 3))


TWO = """
import sys
from pathlib import Path

import torch

from classification.photos import DecodedPhotos
from detection.training.distributed import ProcessGroup
from classification.training import Training
from tests.classification.test_training import SMALL, training
from data import class_folders
from dataclasses import replace
from tests.classification.conftest import make_net

backbone, out = sys.argv[1], Path(sys.argv[3])
photos = class_folders.from_folder(sys.argv[2])
net = make_net(backbone=backbone, norm=backbone == "zf5-small")
net.head.dropout.p = 0.0
net.double()  # so that differences are not rounding
loaded = Training._batches
Training._batches = lambda *a: ((images.double(), labels, whole) for images, labels, whole in loaded(*a))
torch.Tensor.float = lambda x: x  # keep the logits in double precision too
t = training((DecodedPhotos(photos.paths), photos.labels), out, replace(SMALL, epochs=2, batch=6), net)
t.group = ProcessGroup.join(torch.device("cpu"))
t.run()
if t.group.rank == 0:
    torch.save({"net": net.state_dict(), "loss": [p.loss for p in t.curve], "count": t.group.size}, out / "end.pt")
t.group.leave()
"""


@pytest.mark.parametrize("backbone", ["zf5-small"])
@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_batch(backbone, folder, tmp_path):
    """16 photos make batches of 6, 5 and 5, so the two processes have parts of different sizes."""
    program = tmp_path / "program.py"
    program.write_text(TWO)
    found = []
    for name, command in (
        ("one", []),
        ("two", ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        out = tmp_path / name
        out.mkdir()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *command, str(program), backbone, str(folder), str(out)],
            env=environment, capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(torch.load(out / "end.pt", weights_only=True))
    one, two = found
    assert (one["count"], two["count"]) == (1, 2)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-9)
    for key, tensor in one["net"].items():
        if tensor.is_floating_point():
            assert torch.allclose(two["net"][key], tensor, rtol=1e-8, atol=1e-10), key


def test_synchronized_batch_norm_in_one_process_matches_torch(monkeypatch):
    monkeypatch.setattr("detection.training.distributed.all_reduce", lambda x: x)
    plain = torch.nn.BatchNorm2d(5)
    mine = copy.deepcopy(plain)
    mine.__class__ = _SynchronizedBatchNorm
    x = torch.randn(4, 5, 6, 7) * 3 + 1
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.randn_like(x)
    (plain(a) * weight).sum().backward()
    (mine(b) * weight).sum().backward()
    assert torch.allclose(mine(x), plain(x), atol=1e-5)
    assert torch.allclose(a.grad, b.grad, atol=1e-4)
    for name in ("running_mean", "running_var"):
        assert torch.allclose(getattr(mine, name), getattr(plain, name), atol=1e-5)
    assert torch.allclose(mine.eval()(x), plain.eval()(x), atol=1e-5)
    constant = torch.full((97, 5, 1, 1), 300.1)
    assert mine.train()(constant).isfinite().all()  # its variance rounds to less than zero


def test_each_torchrun_process_uses_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert local_device(torch.device("cuda", 0)) == torch.device("cuda", 0)
    assert local_device(torch.device("cpu")) == torch.device("cpu")
