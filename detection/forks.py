"""Processes forked after a detection run in one thread.

Only the thread that calls fork survives in the new process. The pools of OpenMP, which torch uses, and of OpenCV still
count on their other threads there, and would wait for them for ever.
"""

from __future__ import annotations

import os
import sys
import threading

import cv2

_one_at_a_time = threading.Lock()
_opencv_threads = 0


def protect() -> None:
    """Prepare every fork of this process from now on."""
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def _before() -> None:
    """End OpenCV's threads, which only the process that they belong to can do; the next call starts them again."""
    global _opencv_threads
    _one_at_a_time.acquire()
    _opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)


def _in_parent() -> None:
    cv2.setNumThreads(_opencv_threads)
    _one_at_a_time.release()


def _in_child() -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    _one_at_a_time.release()
