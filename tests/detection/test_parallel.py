"""Threads of kernels and of matrix products."""

from contextlib import ExitStack

from threadpoolctl import threadpool_info

from detection import parallel


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
