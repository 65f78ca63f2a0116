"""Fingerprints of trainings."""

from dataclasses import replace

from detection.config import PAPER
from detection.networks.fc_head import FcFeatures, FcHead
from detection.training.fingerprint import fingerprint


def test_fingerprint_changes_with_every_ingredient(images):
    def of(config=PAPER.svm, options=(1,)):
        return fingerprint(images, config, options)

    keys = {of(), of(config=replace(PAPER.svm, cost=1.0)), of(options=(2,))}
    images.proposals["000"][0, 0] += 1
    keys.add(of())
    assert len(keys) == 4


def test_the_fingerprint_of_a_training_changes_with_the_head(images):
    keys = {fingerprint(images, PAPER.svm, ())}
    for layer in ("fc6", "fc7"):
        images.fc = FcFeatures(FcHead.random(12, 5), layer)
        keys.add(fingerprint(images, PAPER.svm, ()))
    assert len(keys) == 3
