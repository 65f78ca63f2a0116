"""Fine-tuning: which windows, which rates, and that a training continues where it stopped."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from detection import features, finetune, network
from detection.config import FinetuneConfig
from detection.finetune import FinetuneOptions, Finetuning, WindowClassifier
from detection.networks import fc_initialization
from detection.networks.fc_head import FcHead, NormalizedHead
from detection.training.batches import WindowBatches

CONFIG = FinetuneConfig(positives=4, negatives=12, schedule=((90, 0.05), (30, 0.005)))


def make_batches(images, config=CONFIG, batches=5, **options):
    return WindowBatches([images], config, batches, **options)


def rows_of(images, block):
    """(image, row of its labelled) of each window of a block, found by its features: float16, so exactly."""
    table = {}
    for i in range(len(images)):
        boxes = images.labelled_boxes(i).boxes
        for row, pooled in enumerate(images.pool(i, boxes).astype(np.float16)):
            table[pooled.tobytes()] = (i, row)
    return [[table[f.tobytes()] for f in batch] for batch in block.features]


def test_positives_overlap_their_class_by_half_and_negatives_by_a_tenth_to_a_half(images):
    block = make_batches(images).block(0)
    assert block.features.shape[:2] == block.labels.shape == (5, 16)
    assert (block.labels[:, :4] > 0).all()
    assert (block.labels[:, 4:] == 0).all()
    for batch, labels in zip(rows_of(images, block), block.labels, strict=True):
        for (i, row), label in zip(batch, labels, strict=True):
            overlaps = images.labelled_boxes(i).overlaps[row]
            if label:
                assert overlaps.max() >= 0.5
                assert overlaps.argmax() == label - 1
            else:
                assert 0.1 <= overlaps.max() < 0.5


def test_a_batch_mixes_many_images(images):
    batch = rows_of(images, make_batches(images).block(0))[0]
    assert len({i for i, _ in batch}) >= 5


def test_windows_of_a_block_are_drawn_without_replacement(images):
    block = make_batches(images, replace(CONFIG, positives=2, negatives=6), batches=3).block(1)
    everything = [window for batch in rows_of(images, block) for window in batch]
    assert len(set(everything)) == len(everything)


def test_too_few_windows_are_drawn_again(images):
    block = make_batches(images, replace(CONFIG, positives=100), batches=50).block(0)
    assert block.labels.shape == (50, 112)
    assert (block.labels[:, :100] > 0).all()


def test_blocks_depend_on_their_number_and_the_seed_alone(images):
    one, again, other = make_batches(images), make_batches(images), make_batches(images, seed=1)
    for streamed, number in zip(one.stream(2, 4), (2, 3), strict=True):
        np.testing.assert_array_equal(streamed.features, again.block(number).features)
        np.testing.assert_array_equal(streamed.labels, again.block(number).labels)
    assert not np.array_equal(one.block(2).features, one.block(3).features)
    assert not np.array_equal(one.block(2).features, other.block(2).features)


def test_windows_of_difficult_objects_can_be_left_out(images):
    without = make_batches(images, difficult=False)
    for i, candidates in enumerate(without._candidates):
        labelled = images.labelled_boxes(i)
        best = labelled.gt_overlaps.argmax(axis=1) if len(labelled.labels) else []
        for row in candidates.positives:
            assert not labelled.difficult[best[row]]
    assert sum(len(c.positives) for c in make_batches(images)._candidates) > sum(
        len(c.positives) for c in without._candidates
    )


def test_a_random_scale_is_asked_for_and_varies(images, monkeypatch):
    seen = []
    pool = type(images).pool
    monkeypatch.setattr(
        type(images), "pool", lambda self, i, boxes, scale=None: seen.append(scale) or pool(self, i, boxes)
    )
    make_batches(images, replace(CONFIG, random_scale=True)).block(0)
    assert set(np.concatenate(seen)) == set(range(len(images.pooling.scales)))
    seen.clear()
    make_batches(images).block(0)
    assert all(scale is None for scale in seen)


def test_images_without_positives_are_one_clear_error(images):
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "difficult": np.zeros(0, bool)}
    images.records = [replace(images.records[0], **nothing)]
    with pytest.raises(ValueError, match="no window of 1 images may serve as one of the positives"):
        make_batches(images)


def test_the_classes_that_have_windows_are_known(images):
    assert make_batches(images).classes() == set(range(images.n_classes))
    images.n_classes += 1  # a class that no image has
    assert make_batches(images).classes() == set(range(images.n_classes - 1))


def training(images, folder, config=CONFIG, seed=0, validate_every=30, key="k", head=FcHead):
    torch.manual_seed(7)
    model = WindowClassifier(head(40, 128), images.n_classes)
    options = FinetuneOptions(folder, seed=seed, validate_every=validate_every, bfloat16=False)
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


def test_average_precision_of_windows_is_the_mean_over_the_classes_that_occur():
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
        assert f"continuing at iteration {saved} of 120" in caplog.text
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.curve == whole.curve


def test_a_checkpoint_of_another_training_or_a_torn_one_is_not_continued(images, tmp_path, caplog):
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


def test_rates_follow_the_schedule_and_biases_learn_twice_as_fast_without_decay_at_the_end(images, tmp_path):
    run = training(images, tmp_path)
    assert [run.learning_rate(i) for i in (0, 89, 90, 119, 1000)] == [0.05, 0.05, 0.005, 0.005, 0.005]
    of = {id(p): name for name, p in run.model.named_parameters()}
    groups = {of[id(g["params"][0])]: (g["rate"], g["weight_decay"]) for g in run.optimizer.param_groups}
    assert groups["head.fc6.weight"] == groups["fc8.weight"] == (1.0, 5e-4)
    assert groups["head.fc7.bias"] == (2.0, 5e-4)
    assert groups["fc8.bias"] == (2.0, 0.0)


def test_a_training_that_diverges_stops_and_says_so(images, tmp_path):
    run = training(images, tmp_path, replace(CONFIG, schedule=((40, 1e25),)))
    with pytest.raises(ValueError, match=r"fine-tuning: loss (nan|inf) at iteration \d+, learning rate 1e\+25"):
        run.run()


def test_the_softmax_layer_starts_near_zero_with_background_beside_the_classes():
    model = WindowClassifier(FcHead(8, 400), 3)
    assert model(torch.zeros(2, 8)).shape == (2, 4)
    assert model.fc8.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not model.fc8.bias.any()


def whole_network(channels, side, width=10):
    first = 1 if side == 6 else 0
    shapes = {first: (width, channels * side * side), first + 3: (width, width)}
    return {f"classifier.{i}.weight": torch.randn(s) for i, s in shapes.items()} | {
        f"classifier.{i}.bias": torch.randn(width) for i in shapes
    }


def test_alexnets_layers_read_the_finest_level_and_ignore_the_others():
    state = whole_network(channels=2, side=6)
    head_state = fc_initialization.from_torchvision(state, inputs=2 * 50)
    head = FcHead(100, 10)
    head.load_state_dict(head_state)
    pool5 = torch.randn(3, 100)
    theirs = pool5[:, 28:].unflatten(1, (36, 2)).transpose(1, 2).flatten(1)  # the 6 x 6 level, channel by channel
    fc6 = theirs @ state["classifier.1.weight"].T + state["classifier.1.bias"]
    fc7 = fc6.relu() @ state["classifier.4.weight"].T + state["classifier.4.bias"]
    torch.testing.assert_close(head.eval()(pool5), fc7.relu())


def test_a_window_of_224_pixels_gives_what_alexnet_gives_a_photo_of_224():
    from torchvision.models import alexnet

    torch.manual_seed(0)
    whole = alexnet(weights=None).eval()
    body = network.assemble("alexnet", whole.state_dict())
    photo = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    pyramid = features.compute_pyramid(photo, body, (224,))
    cells = features.Cells(np.zeros(1, np.int64), np.array([[0, 0, 12, 12]]))
    pool5 = torch.from_numpy(features.pool(pyramid, cells, (1, 2, 3, 6)))
    head = FcHead(12800)
    head.load_state_dict(fc_initialization.from_torchvision(whole.state_dict(), inputs=12800))
    with torch.inference_mode():
        expected = whole.classifier[:6](whole.avgpool(whole.features(body.preprocessing(photo)[None])).flatten(1))
        torch.testing.assert_close(head.eval()(pool5), expected, rtol=1e-3, atol=1e-5)  # maps are in half precision
    assert expected.any()


def test_vggs_layers_give_the_same_for_a_constant_map():
    state = whole_network(channels=2, side=7)
    weight = fc_initialization.from_torchvision(state, inputs=100)["fc6.weight"]
    constant = torch.tensor([1.5, -0.5])
    ours = weight @ constant.repeat(50)
    theirs = state["classifier.0.weight"] @ constant.repeat_interleave(49)
    torch.testing.assert_close(ours, theirs, rtol=0.2, atol=0.2 * theirs.abs().max().item())


def test_layers_come_from_files_of_either_kind(tmp_path):
    torch.save(whole_network(2, 6), tmp_path / "alexnet.pt")
    assert fc_initialization.build(str(tmp_path / "alexnet.pt"), 100, "alexnet").training
    FcHead.random(100, 10).save(tmp_path / "head.safetensors")
    head = fc_initialization.build(str(tmp_path / "head.safetensors"), 100, "zf5")
    assert torch.equal(head.fc6.weight, FcHead.random(100, 10).fc6.weight)
    with pytest.raises(ValueError, match=r"expected an fc6.weight of \(width, 50\), got \(10, 100\)"):
        fc_initialization.build(str(tmp_path / "head.safetensors"), 50, "zf5")
    with pytest.raises(ValueError, match="its fc6 reads 6 x 6 bins"):
        fc_initialization.build(str(tmp_path / "alexnet.pt"), 100, "alexnet", levels=(6, 3, 2, 1))
    with pytest.raises(ValueError, match="zf5: no ImageNet layers are known"):
        fc_initialization.build("imagenet", 100, "zf5")


def test_imagenets_layers_are_downloaded_by_torchvisions_own_address(monkeypatch):
    seen = []

    def load(url, **options):
        seen.append((url, options))
        return whole_network(2, 6)

    monkeypatch.setattr(fc_initialization, "load_state_dict_from_url", load)
    head = fc_initialization.build("imagenet", 100, "alexnet")
    assert head.fc6.weight.shape == (10, 100)
    ((url, options),) = seen
    assert url.startswith("https://download.pytorch.org/models/alexnet-")
    assert options["check_hash"]
    assert options["weights_only"]


def test_no_network_is_one_clear_error(monkeypatch):
    def load(url, **options):
        raise OSError("unreachable")

    monkeypatch.setattr(fc_initialization, "load_state_dict_from_url", load)
    with pytest.raises(OSError, match=r"alexnet-.*cannot be downloaded .unreachable.; start at random"):
        fc_initialization.build("imagenet", 100, "alexnet")


def test_bfloat16_trains_too(images, tmp_path, bfloat16):
    run = training(images, tmp_path)
    run.options = replace(run.options, bfloat16=True)
    run.run()
    assert all(math.isfinite(p.loss) for p in run.curve)
    assert run.curve[-1].loss < run.curve[0].loss
