"""Fine-tuning: learning rates, validation, and trainings that resume where they stopped."""

import math
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detection import finetune
from detection.finetune import FinetuneOptions, Finetuning, WindowClassifier
from detection.networks.fc_head import FcHead, NormalizedHead
from tests.detection.training.test_batches import CONFIG, make_batches

ROOT = Path(__file__).parents[2]


def training(images, folder, config=CONFIG, seed=0, validate_every=30, key="k", head=FcHead, boxes=False):
    torch.manual_seed(7)
    model = WindowClassifier(head(40, 128), images.n_classes, boxes)
    options = FinetuneOptions(folder, torch.device("cpu"), seed, validate_every, bfloat16=False)
    batches = make_batches(images, config)
    return Finetuning(model, batches, [make_batches(images, seed=9).block(0)], config, options, key)


def weights(training):
    return torch.cat([p.detach().ravel() for p in training.model.parameters()])


def test_training_lowers_the_loss_and_keeps_the_best_weights(images, tmp_path):
    run = training(images, tmp_path)
    run.run()
    curve = run.curve
    assert [p.iteration for p in curve] == [30, 60, 90, 120]
    assert curve[-1].loss < 0.7 * curve[0].loss
    best = max(curve, key=lambda p: p.validation_ap)
    assert best.validation_accuracy > 0.8  # 0.75 are background
    assert best.validation_ap > 0.5
    run.curve, run.best, run._sums = [], {}, np.ones(3)
    run._validate()  # the model holds the best weights now
    assert run.curve[0].validation_ap == best.validation_ap


class Interrupted(Exception):
    pass


def test_window_ap_is_the_mean_over_the_classes_that_have_windows():
    scores = np.array([[0, 0.9, 0.1, 0], [0, 0.8, 0.2, 0], [0, 0.1, 0.7, 0], [1, 0.85, 0, 0]], np.float32)
    assert finetune.window_ap(scores, np.array([1, 1, 2, 0])) == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)


@pytest.mark.parametrize(("stop", "head"), [(7, FcHead), (30, NormalizedHead), (65, NormalizedHead), (119, FcHead)])
def test_a_training_stopped_anywhere_ends_with_the_same_weights(images, tmp_path, stop, head, caplog):
    caplog.set_level("INFO")
    whole = training(images, tmp_path / "whole", head=head)
    whole.run()

    def interrupt(iteration, loss):
        if iteration == stop:
            raise Interrupted

    with pytest.raises(Interrupted):
        training(images, tmp_path / "broken", head=head).run(interrupt)
    resumed = training(images, tmp_path / "broken", head=head)
    resumed.run()
    if saved := (stop - 1) // 30 * 30:
        assert f"resuming at iteration {saved} of 120" in caplog.text
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.curve == whole.curve


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_ignored(images, tmp_path, caplog):
    training(images, tmp_path).run()
    other = training(images, tmp_path, key="other")
    other._resume()
    assert other.iteration == 0
    assert "other settings or data" in caplog.text
    path = tmp_path / finetune.CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    torn = training(images, tmp_path)
    torn._resume()
    assert torn.iteration == 0
    assert "damaged" in caplog.text


def test_rates_follow_the_schedule_and_biases_learn_twice_as_fast(images, tmp_path):
    run = training(images, tmp_path)
    assert [run.learning_rate(i) for i in (0, 89, 90, 119, 1000)] == [0.05, 0.05, 0.005, 0.005, 0.005]
    of = {id(p): name for name, p in run.model.named_parameters()}
    groups = {of[id(g["params"][0])]: (g["rate"], g["weight_decay"]) for g in run.optimizer.param_groups}
    assert groups["head.fc6.weight"] == groups["fc8.weight"] == (1.0, 5e-4)
    assert groups["head.fc7.bias"] == (2.0, 5e-4)
    assert groups["fc8.bias"] == (2.0, 0.0)


def test_a_diverging_training_is_one_clear_error(images, tmp_path):
    run = training(images, tmp_path, replace(CONFIG, schedule=((40, 1e25),)))
    with pytest.raises(ValueError, match=r"fine-tuning: loss (nan|inf) at iteration \d+ with learning rate 1e\+25"):
        run.run()


def test_the_softmax_layer_starts_near_zero_with_background_beside_the_classes():
    model = WindowClassifier(FcHead(8, 400), 3)
    assert model(torch.zeros(2, 8)).shape == (2, 4)
    assert model.fc8.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not model.fc8.bias.any()


def test_the_box_loss_is_smooth_l1_of_the_class_of_each_positive(images, tmp_path):
    run = training(images, tmp_path, boxes=True)
    layer = run.model.fc_boxes
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(4.0 * images.n_classes))
    targets = np.array([[0.1, 0.2, 0.6, 0.8], [0.35, 0, 0, 0]], np.float32)  # divided by 0.1, 0.1, 0.2, 0.2: 1 2 3 4
    loss = run._box_loss(torch.rand(8, 128), torch.tensor([1, 2, 0, 0, 0, 0, 0, 0]), targets, 8)
    expected = (1 - 0.5) * 4 + (0.5**2 / 2 + (5 - 0.5) + (6 - 0.5) + (7 - 0.5))
    assert loss.item() == pytest.approx(expected / 8, rel=1e-5)


def test_layers_learn_boxes_beside_classes_and_the_classes_alone_as_before(images, tmp_path):
    alone, both = training(images, tmp_path / "alone"), training(images, tmp_path / "both", boxes=True)
    start = both.model.fc_boxes.weight.detach().clone()
    alone.run()
    both.run()
    assert both.curve[-1].loss > alone.curve[-1].loss  # that of the boxes is added
    assert both.curve[-1].validation_ap > 0.5
    assert not torch.equal(both.model.fc_boxes.weight, start)
    assert alone.model.fc_boxes is None


PROGRAM = f"""
import pickle
import sys

sys.path.insert(0, {str(ROOT)!r})
import torch

from detection.finetune import Finetuning
from detection.training.distributed import ProcessGroup

group = ProcessGroup.join(torch.device("cpu"))
assert group.size == 2
model, batches, validation, config, options, key = pickle.load(open(sys.argv[1], "rb"))
batches.group = group
run = Finetuning(model, batches, validation if group.rank == 0 else [], config, options, key, group)
run.run()
pooled = batches.block(0).mine.mean()
if group.rank == 0:
    torch.save([run.model.state_dict(), [vars(p) for p in run.curve], pooled], sys.argv[2])
group.barrier()
group.leave()
"""


@pytest.mark.slow
def test_two_processes_train_as_one(images, tmp_path):
    config = replace(CONFIG, schedule=((40, 0.05),))
    one = training(images, tmp_path / "one", config, head=NormalizedHead, boxes=True)
    other = training(images, tmp_path / "two", config, head=NormalizedHead, boxes=True)
    other.model.head.dropout.p = one.model.head.dropout.p = 0.3
    parts = (other.model, other.batches, other.validation, other.config, other.options, other.key)
    (tmp_path / "parts").write_bytes(pickle.dumps(parts))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    done = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM, tmp_path / "parts", tmp_path / "end.pt"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one.run()
    weights, curve, pooled = torch.load(tmp_path / "end.pt", weights_only=False)
    assert 0.2 < pooled < 0.8  # each pools the windows of its own images
    for theirs, mine in zip(curve, one.curve, strict=True):
        assert theirs == pytest.approx(vars(mine), rel=1e-3)
    for name, tensor in one.model.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(weights[name], tensor, rtol=1e-3, atol=1e-4), name


def test_training_works_in_bfloat16(images, tmp_path, bfloat16):
    run = training(images, tmp_path)
    run.options = replace(run.options, bfloat16=True)
    run.run()
    assert all(math.isfinite(p.loss) for p in run.curve)
    assert run.curve[-1].loss < run.curve[0].loss
