"""The engine on the threads of torch's OpenMP runtime: the same bits, also in other threads and after a fork."""

import os
import signal
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import clearhead as ch
from clearhead import _core, _operator, _threads  # noqa: F401  (importing the operator shares the threads)


@pytest.fixture
def several_threads():
    before = ch.threads()
    ch.set_threads(max(2, before))
    yield
    ch.set_threads(before)
    _threads.share_with_torch()


def attended():
    q, k, v = (torch.from_numpy(np.random.default_rng(at).standard_normal((2, 8, 96, 32), dtype=np.float32)) for at in range(3))
    return ch.attend(q, k, v, topology=ch.causal())[0]


def test_the_openmp_runtime_of_torch_is_found():
    assert _threads._loaded_runtimes()


def test_results_do_not_depend_on_whose_threads_compute(several_threads):
    shared = attended()
    _core._use_openmp(0)
    assert torch.equal(attended(), shared)


def test_several_threads_of_the_caller_compute_at_once(several_threads):
    expected, found = attended(), [None] * 4

    def run(at):
        found[at] = [attended() for _ in range(5)]

    callers = [threading.Thread(target=run, args=(at,)) for at in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(torch.equal(one, expected) for of_one in found for one in of_one)


@pytest.mark.filterwarnings("ignore:This process")
def test_a_child_of_fork_computes_on_threads_of_its_own(several_threads):
    expected = attended().numpy()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a parallel region that waits for threads of the parent process would never end
        os._exit(0 if np.array_equal(attended().numpy(), expected) else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
