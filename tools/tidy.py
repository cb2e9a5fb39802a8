#!/usr/bin/env python3
"""Style that executes: what CONTRIBUTING.md promises about the tree and no compiler checks.

  tools/tidy.py            all checks but the slow one
  tools/tidy.py --headers  also compiles every header alone (each must be self-contained)

Checks: who may include whom (docs/ARCHITECTURE.md's house); file and function sizes; public headers name their room and carry no build
flags; the library never prints, exits or aborts; each wrapped library stands in one file; what a document quotes of an
example stands in both; formatting by clang-format when it is installed. Prints `file:line: what` per finding and exits 1 when there is one.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Room → rooms whose headers it may include directly or through them. Siblings do not include each other.
HOUSE = {
    "base": [],
    "tensor": ["base"],
    "spec": ["tensor"],
    "contract": ["spec"],
    "backend_ref": ["contract"],
    "backend_cpu": ["contract"],
    "backends": ["backend_ref", "backend_cpu"],
    "ops": ["contract"],
    "autograd": ["ops"],
    "io": ["tensor"],
    "text": ["base"],
    "observe": ["ops", "io"],
    "nn": ["ops"],
    "models": ["nn", "observe", "io", "text"],
    "generate": ["models"],
    "comm": ["tensor"],
    "train": ["models", "autograd", "comm"],
    "viewer": ["observe", "generate"],
}
MAXIMUM_FILE = 800
MAXIMUM_FUNCTION = 70
MAXIMUM_PUBLIC_HEADERS = 17
ONE_FILE_ONLY = {  # what → the files that may say it
    r"#include <nlohmann/": {"src/base/json.cc"},
    r"#include <fmt/": {"src/base/format.cc"},
    r"#include [<\"]httplib": {"src/viewer/connections.h"},
    r"#include <png\.h>": {"src/io/png.cc"},
    r"#include <turbojpeg\.h>": {"src/io/jpeg.cc"},
    r"#include <sndfile\.h>": {"src/io/sound.cc"},
    r"#include <CLI/": None,  # only in cli/
}
QUOTED_BY = {"readme": ["README.md", "README.zh-CN.md"]}  # mark in an example → documents; any other mark is a document's path
findings = []


def complain(path, line, what):
    findings.append(f"{path.relative_to(ROOT)}:{line}: {what}")


def reach(room):
    seen, todo = set(), [room]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += HOUSE[at]
    return seen


def room_of(path):
    """The room of a file below src/ or include/, or None."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "include":
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        match = re.match(r"// Room: ([a-z_]+)", first)
        return match.group(1) if match else None
    if parts[0] != "src" or len(parts) < 3:
        return None
    if parts[1] == "backends":
        if len(parts) == 4:
            return "backend_" + parts[2]
        return "contract" if path.suffix == ".h" else "backends"
    return parts[1]


def check_includes(path, text):
    room = room_of(path)
    if room is None or room == "umbrella":
        return
    allowed = reach(room)
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include "([^"]+)"', line)
        if not match:
            continue
        name = match.group(1)
        if name == "clearhead/clearhead.h":
            complain(path, number, "includes the umbrella header; name the header that is used")
            continue
        target = ROOT / ("include" if name.startswith("clearhead/") else "src") / name
        if not target.exists():
            target = path.parent / name
        if not target.exists():
            continue
        other = room_of(target)
        if other and other not in allowed:
            complain(path, number, f'room {room} may not include "{name}" of room {other}')


def strip_code(text):
    """The text with comments, strings and characters blanked, line breaks kept."""
    pattern = r'R"(\w*)\((?:.|\n)*?\)\1"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def check_functions(path, text):
    """Finds brace blocks that follow a parameter list and measures them; lambdas count to the function they stand in."""
    code = strip_code(text)
    stack, line, statement = [], 1, ""
    inside = 0
    for char in code:
        if char == "\n":
            line += 1
            if statement.lstrip().startswith("#"):
                statement = ""
            statement += " "
        elif char == "{":
            head = statement.strip()
            is_function = (
                inside == 0
                and ")" in head
                and not re.match(r"^(namespace|class|struct|enum|union|extern)\b", head)
                and "=" not in re.sub(r"\([^()]*\)", "", re.sub(r"operator\s*[^\s(]+", "", head)).replace("= default", "")
            )
            stack.append((line, is_function))
            inside += is_function
            statement = ""
        elif char == "}":
            if stack:
                begin, is_function = stack.pop()
                if is_function:
                    inside -= 1
                    if line - begin + 1 > MAXIMUM_FUNCTION:
                        complain(path, begin, f"function of {line - begin + 1} lines; at most {MAXIMUM_FUNCTION}")
            statement = ""
        elif char == ";":
            statement = ""
        else:
            statement += char


def check_library_manners(path, text):
    code = strip_code(text)
    forbidden = r"\b(std::cout|std::cerr|std::clog|printf|fprintf|puts|abort|_exit|std::exit|quick_exit|std::terminate)\s*\(|#include <iostream>|#include <cstdio>|std::cout|std::cerr"
    for number, line in enumerate(code.split("\n"), 1):
        if re.search(forbidden, line):
            complain(path, number, "the library never prints, exits or aborts")


def check_one_file(path, text):
    name = str(path.relative_to(ROOT))
    for pattern, files in ONE_FILE_ONLY.items():
        if files is None:
            if not name.startswith("cli/") and re.search(pattern, text):
                complain(path, 1, f"{pattern} belongs to cli/ only")
        elif name not in files and name.startswith("src/") and re.search(r"(?m)^\s*" + pattern, text):
            complain(path, 1, f"{pattern} belongs to {', '.join(sorted(files))}")


def check_public_header(path, text):
    if not re.match(r"// Room: ([a-z_]+)\.\n", text):
        complain(path, 1, 'a public header opens with "// Room: NAME."')
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"\s*#\s*if", line):
            complain(path, number, "public headers carry no build flags")
        if re.search(r"hwy|nlohmann|dnnl|fmt::", strip_code(line)):
            complain(path, number, "no SIMD, JSON or dense library is visible in a public header")


def check_opening(path, text):
    first = next((line for line in text.split("\n") if line.strip()), "")
    if not first.startswith("//"):
        complain(path, 1, "a file opens with its idea")
    if path.suffix == ".h" and "#pragma once" not in text and not path.name.endswith("-inl.h"):
        complain(path, 1, "a header says #pragma once")


def check_quotes(path, text):
    """What stands between `// [readme]` and `// [/readme]`, or between marks that name another document, stands there too, up to indentation."""
    for match in re.finditer(r"(?ms)^ *// \[(readme|[\w./-]+\.md)\]\n(.*?)(^ *// \[/\1\]$|\Z)", text):
        mark, block, end = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if not end:
            complain(path, line, f"[{mark}] is not closed by [/{mark}]")
            continue
        for name in QUOTED_BY.get(mark, [mark]):
            document = ROOT / name
            if not document.exists():
                complain(path, line, f"{name} is marked as quoting this and does not exist")
            elif f"\n```cpp\n{textwrap.dedent(block)}```\n" not in document.read_text(encoding="utf-8"):
                complain(path, line, f"{name} does not quote this block as it is now")


def check_header_compiles(path):
    command = ["c++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-I", str(ROOT / "include"), "-I", str(ROOT / "src"), "-x", "c++", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    errors = [line for line in done.stderr.split("\n") if "error:" in line]
    if errors:
        complain(path, 1, "is not self-contained: " + errors[0].split("error:", 1)[1].strip())


def check_format(paths):
    tool = shutil.which("clang-format-14")
    if not tool:
        print("tidy: clang-format-14 is not installed; formatting was not checked")
        return
    done = subprocess.run([tool, "--dry-run", "--Werror", *map(str, paths)], capture_output=True, text=True)
    for line in sorted(set(re.findall(r"^(\S+?):(\d+):\d+: error", done.stderr, re.M)), key=lambda item: (item[0], int(item[1]))):
        complain(Path(line[0]), line[1], "is not formatted (make format)")


def main():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "*.cc", "*.h", "*.ts", "*.py"], capture_output=True, text=True)
    names = listed.stdout.split() if listed.returncode == 0 else [str(p.relative_to(ROOT)) for e in ("*.cc", "*.h") for p in ROOT.rglob(e) if "build" not in p.parts]
    paths = [ROOT / name for name in names if (ROOT / name).exists() and "/dist/" not in name]
    sources = [path for path in paths if path.suffix in (".cc", ".h")]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MAXIMUM_FILE:
            complain(path, lines, f"file of {lines} lines; at most {MAXIMUM_FILE}")
        if path.suffix not in (".cc", ".h"):
            continue
        check_functions(path, text)
        top = path.relative_to(ROOT).parts[0]
        check_one_file(path, text)
        if top in ("src", "include"):
            check_includes(path, text)
            check_library_manners(path, text)
        if top in ("src", "include", "cli"):
            check_opening(path, text)
        if top == "examples":
            check_quotes(path, text)
        if top == "include":
            check_public_header(path, text)
    public = [path for path in sources if path.relative_to(ROOT).parts[0] == "include"]
    if len(public) > MAXIMUM_PUBLIC_HEADERS:
        complain(public[0], 1, f"{len(public)} public headers; at most {MAXIMUM_PUBLIC_HEADERS}")
    check_format(sources)
    if "--headers" in sys.argv:
        headers = [path for path in sources if path.suffix == ".h" and not path.name.endswith("-inl.h") and path.relative_to(ROOT).parts[0] in ("src", "include")]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(check_header_compiles, headers))
    for finding in sorted(findings):
        print(finding)
    print(f"tidy: {len(paths)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
