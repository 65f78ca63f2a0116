"""Threads of kernels and of matrix products."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import torch
from threadpoolctl import threadpool_info

from detection import parallel


def test_items_come_in_order_whichever_thread_finishes_first():
    gate = threading.Event()

    def work(item):
        if item == 0:
            assert gate.wait(60)  # a single thread would wait for ever
        gate.set()
        return 2 * item

    found = [(item, done.result()) for item, done in parallel.ahead(work, range(20), depth=3, threads=2)]
    assert found == [(item, 2 * item) for item in range(20)]


def test_threads_that_start_meanwhile_have_single_threaded_torch():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with parallel.single_threaded_torch() as had, ThreadPoolExecutor(1) as pool:
            assert (had, pool.submit(torch.get_num_threads).result()) == (3, 1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_each_thread_of_a_pool_computes_alone_and_the_caller_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with parallel.torch_threads(2) as outer, parallel.torch_threads(2) as inner:
            assert [pool.submit(torch.get_num_threads).result() for pool in (outer, inner)] == [1, 1]
            assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_single_threaded_blas_restores_the_thread_count_when_the_last_caller_leaves():
    def threads():
        return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]

    before = threads()
    with ExitStack() as later:
        with parallel.single_threaded_blas():
            later.enter_context(parallel.single_threaded_blas())  # leaves last, as calls in a server may
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert threads() == before
