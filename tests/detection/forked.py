"""Detect in processes forked after a detection; print a json object: kind of process -> what went wrong, or "".

A process that detects in several threads has to fork, so this is a program of its own.
"""

import json
import multiprocessing
import os
import threading

import cv2
import numpy as np
import pytest
import torch

from detection import network
from detection.detector import SPPDetector
from tests.detection.conftest import trained

SECONDS = 40  # until a process counts as hanging
torch.set_num_threads(2)
cv2.setNumThreads(2)

body = network.build("alexnet", weights=None)
detector = SPPDetector(body, trained(body))
photos = [np.random.default_rng(i).integers(0, 256, (300, 400, 3), np.uint8) for i in range(4)]
found = detector.detect(photos[0])
running = detector.detect_many(photos)
next(running)


def same():
    np.testing.assert_array_equal(detector.detect(photos[0]).scores, found.scores)


def threads_of_a_server():
    done = []
    threads = [threading.Thread(target=lambda p=p: done.append(len(detector.detect(p)))) for p in photos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == len(photos)


def new_loop():
    assert len(list(detector.detect_many(photos))) == len(photos)


def loop_of_the_parent():
    with pytest.raises(RuntimeError, match="begin a new one in the forked process"):
        next(running)


class Found(torch.utils.data.Dataset):
    def __len__(self):
        return len(photos)

    def __getitem__(self, index):
        return len(detector.detect(photos[index]))


def data_loader():
    loader = torch.utils.data.DataLoader(
        Found(), num_workers=2, multiprocessing_context="fork", timeout=SECONDS, batch_size=None
    )
    assert [one > 0 for one in loader] == [True] * len(photos)


def parent_after_a_fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
    same()


def in_a_fork(work):
    """Why a function fails in a forked process."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(SECONDS)
    if child.is_alive():
        child.kill()
        return "hangs"
    return "" if child.exitcode == 0 else f"exit code {child.exitcode}"


if __name__ == "__main__":
    result = {work.__name__: in_a_fork(work) for work in (same, threads_of_a_server, new_loop, loop_of_the_parent)}
    data_loader()
    parent_after_a_fork()
    print(json.dumps(result))
