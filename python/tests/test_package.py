"""The installed package: the command, the type stubs, and the cost of an import."""

import os
import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import clearhead as ch
import pytest

PACKAGE = Path(ch.__file__).parent
IS_WHEEL = PACKAGE.parent == Path(sysconfig.get_path("platlib"))
SYSTEM = {"libc", "libm", "libdl", "librt", "libpthread", "libutil", "libstdc++", "libgcc_s", "libz"}  # on every Linux (PEP 600)


def run(*arguments, **environment):
    return subprocess.run(arguments, capture_output=True, text=True, check=True, env={**os.environ, **environment}).stdout


def test_the_command_comes_along():
    if not (PACKAGE / "bin" / "clearhead").exists():
        pytest.skip("the command line is not built")
    expected = f"clearhead {ch.__version__}\n"
    assert run(sys.executable, "-m", "clearhead", "--version") == expected
    if IS_WHEEL:
        assert run(os.path.join(sysconfig.get_path("scripts"), "clearhead"), "--version") == expected
    found = subprocess.run([sys.executable, "-m", "clearhead", "show", "nobody", "text"], capture_output=True, text=True)
    assert found.returncode == 1 and "nobody" in found.stderr


def test_an_import_is_quick_and_brings_neither_torch_nor_numpy():
    loaded = run(sys.executable, "-c", "import sys, clearhead; print(*sys.modules)").split()
    assert "clearhead._core" in loaded and not {"torch", "numpy", "transformers", "tempfile"} & set(loaded)

    def processor_time(code):
        before = os.times()
        run(sys.executable, "-c", code)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    took = min(processor_time("import clearhead") for _ in range(5)) - min(processor_time("pass") for _ in range(5))
    assert took < 0.15, "seconds"


def test_types_are_known_to_checkers():
    assert (PACKAGE / "py.typed").exists()
    stubs = (PACKAGE / "_core.pyi").read_text(encoding="utf-8")
    assert all(one in stubs for one in ("class Trace:", "def attend(", "def view(self", "def to_image(self", "def generate(self"))
    compile(stubs, "_core.pyi", "exec")


def test_public_names_have_docstrings():
    silent = []
    for name in ch.__all__:
        if name in ch._MODULE_OF:
            continue
        of = getattr(ch, name)
        if callable(of) and not (of.__doc__ or "").strip():
            silent.append(name)
        if not isinstance(of, type) or not of.__module__.startswith("clearhead"):
            continue
        for member, value in vars(of).items():
            if not member.startswith("_") and not (getattr(value, "__doc__", None) or "").strip():
                silent.append(f"{name}.{member}")
    assert silent == []


def test_a_wheel_brings_the_libraries_that_it_needs():
    if not IS_WHEEL:
        pytest.skip("this is no installed wheel")
    for file in (*PACKAGE.glob("_core.*so"), PACKAGE / "bin" / "clearhead"):
        needed = [line.split()[2] for line in run("ldd", str(file)).splitlines() if "=> " in line]
        own = [path for path in needed if os.path.realpath(path).startswith(os.path.realpath(PACKAGE.parent))]
        foreign = {re.sub(r"[-.\d]*\.so.*$", "", Path(path).name) for path in set(needed) - set(own)}
        assert foreign <= SYSTEM and any("libdnnl" in path for path in own), file


def test_the_default_thread_count_equals_the_cpu_affinity():
    code = "import clearhead; print(clearhead.threads())"
    begin = time.monotonic()
    assert int(run(sys.executable, "-c", code)) == len(os.sched_getaffinity(0))
    assert time.monotonic() - begin < 60
