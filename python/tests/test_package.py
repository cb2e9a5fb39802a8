"""The package as it is installed: the command, the types, and what an import costs."""

import os
import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import clearhead as ch

PACKAGE = Path(ch.__file__).parent
IS_WHEEL = PACKAGE.parent == Path(sysconfig.get_path("platlib"))
SYSTEM = {  # what every Linux has (PEP 600), and what Python itself brings
    "libc", "libm", "libdl", "librt", "libpthread", "libutil", "libstdc++", "libgcc_s", "ld-linux-x86-64", "libz", "libpython",
}


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
    assert "class Trace:" in stubs and "def attend(" in stubs
    compile(stubs, "_core.pyi", "exec")


def test_all_that_is_public_says_what_it_is():
    silent = []
    for name in ch.__all__:
        if name in ch._OF_TORCH:
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
    code = "import clearhead, numpy; clearhead.attend(*[numpy.ones((1, 1, 4, 4), 'f4')] * 3); print(open('/proc/self/maps').read())"
    mapped = {line.split()[-1] for line in run(sys.executable, "-c", code).splitlines() if ".so" in line}
    foreign = {path for path in mapped if not path.startswith((str(PACKAGE.parent), os.path.realpath(sys.base_prefix), sys.base_prefix))}
    assert {re.sub(r"[-.\d]*\.so.*$", "", Path(path).name) for path in foreign} <= {re.sub(r"[-.\d]*$", "", name) for name in SYSTEM}
    assert any("libdnnl" in path for path in mapped if path.startswith(str(PACKAGE.parent)))
    needed = run("ldd", str(PACKAGE / "bin" / "clearhead"))
    foreign = [line.split()[2] for line in needed.splitlines() if "=> /" in line and str(PACKAGE.parent) not in os.path.realpath(line.split()[2])]
    assert {re.sub(r"[-.\d]*\.so.*$", "", Path(path).name) for path in foreign} <= SYSTEM, needed


def test_threads_are_those_of_the_process():
    code = "import clearhead; print(clearhead.threads())"
    begin = time.monotonic()
    assert int(run(sys.executable, "-c", code)) == len(os.sched_getaffinity(0))
    assert time.monotonic() - begin < 60
