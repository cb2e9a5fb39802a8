"""Ctrl-C ends a call that would take minutes with KeyboardInterrupt within moments; existing objects still work."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

BEGIN = """
import signal, numpy as np, clearhead as ch
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background has it ignored
q, k, v = (np.random.default_rng(0).random((1, 4, {length}, 64), np.float32) for _ in range(3))
small = [x[:, :, :256].copy() for x in (q, k, v)]
out, record = ch.attend(*small)
before = ch.Map(record).head(0, 3).row(7).weights
"""
END = """
    print("ended by itself", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert (ch.Map(record).head(0, 3).row(7).weights == before).all() and (ch.attend(*small)[0] == out).all()
print("works", flush=True)
"""


@pytest.mark.parametrize("length, call", [
    (40_000, "ch.attend(q, k, v)"),
    (20_000, "[large.gradients(result) for _ in range(1000)]"),
    (20_000, "[ch.Map(large).sweep('entropy') for _ in range(1000)]"),
])
def test_ctrl_c_stops_a_long_call(length, call):
    first = "" if "large" not in call else "result, large = ch.attend(q[:, :1], k[:, :1], v[:, :1])\n"
    script = textwrap.dedent(BEGIN.format(length=length)) + first + 'print("begins", flush=True)\ntry:\n    ' + call + END
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        ends = threading.Timer(120, process.kill)
        ends.start()
        assert process.stdout.readline() == "begins\n"
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        took = time.monotonic() - sent
        assert process.stdout.readline() == "works\n"
        process.wait(60)
        ends.cancel()
        print(f"{took:.3f} s")
    assert process.returncode == 0
    assert took < 2, "0.2 s on a quiet machine"
