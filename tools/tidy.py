#!/usr/bin/env python3
"""Checks the conventions of CONTRIBUTING.md that no compiler checks.

  tools/tidy.py            all checks except the slow one
  tools/tidy.py --headers  also compiles each header alone (it must be self-contained), except those that a source file includes first

Checks: includes between rooms (docs/ARCHITECTURE.md); file and function sizes; public headers name their room and contain no build flags;
every source file begins with a summary; the library never prints, exits or aborts; each wrapped library is used in one file; no type is
defined twice; no file is dead; quotations of examples in documents are exact, the files and options that documents name exist, and their
lines and paragraphs are short; clang-format, if it is installed. Prints `file:line: what` for each finding and exits with 1 if there is
one.
The viewer's page (web/src) is checked by eslint and knip instead (`npm run check` in web/).
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

# The inner rooms of src/backends/cpu → the rooms whose headers they may include, directly or transitively.
INNER_ROOMS = {
    "cpu_simd": ["backend"],
    "cpu_dispatch": ["cpu_simd"],
    "cpu_score": ["cpu_dispatch"],
    "cpu_forward": ["cpu_score"],
    "cpu_backward": ["cpu_forward"],
    "cpu_inspect": ["cpu_forward"],
    "cpu_dense": ["cpu_simd"],
    "backend_cpu": ["cpu_backward", "cpu_inspect", "cpu_dense"],
}


def graph_of_rooms():
    """Returns room → rooms whose headers it may include, as the clearhead_room() lines of CMake say. Siblings do not include each other."""
    rooms = {}
    for path in sorted(ROOT.glob("src/**/CMakeLists.txt")):
        for name, arguments in re.findall(r"clearhead_room\((\w+)([^)]*)\)", path.read_text(encoding="utf-8")):
            uses = re.match(r"\s+USES((?:\s+[a-z_]+)*)", arguments)
            rooms[name] = uses.group(1).split() if uses else []
    rooms["ops"] = ["backend"]  # it is linked with `backends`, which knows ref/ and cpu/; it may include only the interface
    return rooms | INNER_ROOMS


HOUSE = graph_of_rooms()
MAXIMUM_FILE = {".cc": 800, ".h": 800, ".py": 800, ".css": 1500}
MAXIMUM_FUNCTION = 70
MAXIMUM_COLUMNS = 120  # of a document, except tables and code
MAXIMUM_PARAGRAPH = 6  # lines
MAXIMUM_PUBLIC_HEADERS = 21
ONE_FILE_ONLY = {  # pattern → the files that may contain it
    r"#include <nlohmann/": {"src/base/json.cc"},
    r"#include <fmt/": {"src/base/format.cc"},
    r"#include [<\"]httplib": {"src/viewer/connections.h"},
    r"#include <png\.h>": {"src/io/png.cc"},
    r"#include <turbojpeg\.h>": {"src/io/jpeg.cc"},
    r"#include <sndfile\.h>": {"src/io/sound.cc"},
    r"#include <CLI/": None,  # only in cli/
}
PAGE = ROOT / "web/src"
QUOTED_BY = {"readme": ["README.md", "README.zh-CN.md"]}  # mark in an example → documents; any other mark is the path of a document
findings = []


def complain(path, line, what):
    findings.append(f"{path.relative_to(ROOT)}:{line}: {what}")


def reach(first):
    """Returns the room `first` and every room that it may include."""
    seen, todo = set(), [first]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += HOUSE[at]
    return seen


def room_of(path):
    """Returns the room of a file below src/ or include/, or None."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "include":
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        match = re.match(r"// Implemented in src/([a-z_]+)", first)
        return "umbrella" if path.name == "clearhead.h" else match.group(1) if match else None
    if parts[0] != "src" or len(parts) < 3:
        return None
    if parts[1] == "backends":
        if parts[2] == "cpu" and (len(parts) == 5 or path.stem in ("dispatch", "kernels")):
            return "cpu_" + (parts[3] if len(parts) == 5 else "dispatch")
        if len(parts) == 4:
            return "backend_" + parts[2]
        return "backend" if path.suffix == ".h" else "backends"
    return parts[1]


def check_graph_in_document():
    """The table of docs/ARCHITECTURE.md repeats the graph for readers."""
    path = ROOT / "docs/ARCHITECTURE.md"
    lines = path.read_text(encoding="utf-8").split("\n")
    first = lines.index("| room | may include | opens with |") + 2
    for number, line in enumerate(lines[first:], first + 1):
        if not line.startswith("|"):
            break
        names, uses = [cell.strip() for cell in line.split("|")[1:3]]
        for name in re.sub(r"\(.*?\)", "", names).replace(" ", "").split(","):
            if name in HOUSE and name not in INNER_ROOMS and sorted(uses.replace(",", " ").split()) != sorted(HOUSE[name]):
                complain(path, number, f"room {name} may include {', '.join(HOUSE[name])} (its CMakeLists.txt); the table has: {uses}")
    known = " ".join(lines[first:])
    for name in HOUSE.keys() - INNER_ROOMS.keys() - {"backends"}:
        if not re.search(rf"\| [^|]*\b{name}\b[^|]* \|", known):
            complain(path, first, f"the table lacks the room {name}")


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
    """Returns the text with comments, strings and characters blanked; line breaks are kept."""
    pattern = r'R"(\w*)\((?:.|\n)*?\)\1"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def check_functions(path, text):
    """Finds brace blocks after a parameter list and measures them. Lambdas count towards the enclosing function."""
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
    forbidden = (
        r"\b(std::clog|printf|fprintf|puts|abort|_exit|std::exit|quick_exit|std::terminate)\s*\(|"
        r"#include <iostream>|#include <cstdio>|std::cout|std::cerr"
    )
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
    if path.name != "clearhead.h" and not re.match(r"// Implemented in src/([a-z_]+)\.\n", text):
        complain(path, 1, 'a public header opens with "// Implemented in src/ROOM."')
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
    """Text between `// [readme]` and `// [/readme]`, or marks that name another document, must occur in that document, up to
    indentation."""
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


def check_dead_files(names):
    """Finds headers that nothing includes, and files of bench/, tools/ or examples/ that no other file or CMake pattern names."""
    texts = {}
    for name in names:
        path = ROOT / name
        if path.exists() and not name.startswith(("tests/goldens/", "web/dist/", "models/")) and path.suffix not in (".svg", ".png"):
            texts[name] = path.read_text(encoding="utf-8", errors="replace")
    included = set()
    for name, text in texts.items():
        for wanted in re.findall(r'(?m)^\s*#\s*(?:include|define HWY_TARGET_INCLUDE)\s+["<]([^">]+)[">]', text):
            roots = (ROOT / "include", ROOT / "src", ROOT, ROOT / "tests", ROOT / "tests/conformance", (ROOT / name).parent)
            included |= {os.path.normpath(root / wanted) for root in roots}
    modules = {module for text in texts.values() for module in re.findall(r"(?m)^\s*(?:import|from) (\w+)", text)}
    for name in texts:
        path = Path(name)
        if path.suffix == ".h" and os.path.normpath(ROOT / name) not in included:
            complain(ROOT / name, 1, "nothing includes this header")
        if path.parts[0] not in ("bench", "tools", "examples") or path.name in ("CMakeLists.txt", "README.md") or path.suffix == ".h":
            continue
        if path.match("examples/*.cc") or (path.suffix == ".py" and path.stem in modules):
            continue
        named = re.compile(r"(?<![\w-])" + re.escape(path.name if path.suffix else name) + r"(?![\w-])")
        if not any(named.search(text) for other, text in texts.items() if other != name):
            complain(ROOT / name, 1, "no other file names this one")


def prose(text):
    """Yields (number, line) for the lines of a document outside code blocks."""
    fence = None
    for number, line in enumerate(text.split("\n"), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark:
            fence = None if fence else mark.group(1)
        elif not fence:
            yield number, line


def check_names(path, text, options):
    """Checks that files in inline code and links exist, and that command-line options exist. Possible placeholders are accepted."""
    folders = {"src", "include", "cli", "tests", "tools", "bench", "examples", "docs", "fuzz", "recipes", "cmake", ".ci", ".github"}
    roots = [ROOT, ROOT / "include", ROOT / "src", ROOT / "src/backends", PAGE, path.parent]
    for number, line in prose(text):
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", line):
            if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                complain(path, number, f"the link to {target} leads nowhere")
        codes = re.findall(r"`([^`]+)`", line) if line.count("`") % 2 == 0 else []
        for code in codes:
            for word in re.findall(r"(?<!\S)[\w.-]+(?:/[\w.-]+)+(?=/?(?:[\s,;:]|$))", code):
                parts = word.split("/")
                is_file = re.search(r"\.(cc|h|py|ts|mjs|css|md)$", word)
                is_placeholder = parts[0] == "build" or any(re.search(r"(?<![a-z])[A-Z]{2,}", part) for part in parts)
                if (is_file or parts[0] in folders) and not is_placeholder and not any((root / word).exists() for root in roots):
                    complain(path, number, f"there is no {word}")
            if code.startswith(("--", "clearhead ")):
                for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", code):
                    if option not in options:
                        complain(path, number, f"no command has the option {option}")


def check_widths(path, text):
    paragraph, last = 0, 0
    for number, line in prose(text):
        is_table = line.lstrip().startswith("|")
        # A link cannot be broken over lines: alone on its line, it may be longer.
        if len(line) > MAXIMUM_COLUMNS and not is_table and not line.startswith("    ") and " " in line.strip():
            complain(path, number, f"line of {len(line)} columns; at most {MAXIMUM_COLUMNS}")
        ends = not line.strip() or is_table or line.startswith(("#", "    "))
        begins = number != last + 1 or re.match(r"\s*([-*+]|\d+\.)\s", line)
        paragraph = 0 if ends else 1 if begins else paragraph + 1
        last = number
        if paragraph == MAXIMUM_PARAGRAPH + 1:
            complain(path, number, f"paragraph of more than {MAXIMUM_PARAGRAPH} lines")


def types_of(text):
    """Returns [(qualified name, line)] for the types that a file defines outside anonymous namespaces."""
    inside, out = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if found := re.match(r"(?:inline )?namespace ?([\w:]*) \{$", line):
            inside.append(found[1])
        elif line.startswith("}  // namespace"):
            inside.pop()
        elif (
            found := re.match(r"(?:struct|class|enum class|enum) (?:\w+\([^)]*\) )?(\w+)(?: final)?(?: : [^;]*)? \{", line)
        ) and "" not in inside:
            out.append(("::".join([*inside, found[1]]), number))
    return out


def check_one_definition(paths):
    """Finds type names that are defined twice (C++'s one definition rule, which compilers do not check across files; see .ci/run odr)."""
    seen = {}
    for path in paths:
        for name, line in types_of(path.read_text(encoding="utf-8")):
            if name in seen:
                complain(
                    path,
                    line,
                    f"{name} is also defined in {seen[name].relative_to(ROOT)}; rename one, or put it into an anonymous namespace",
                )
            seen.setdefault(name, path)


def is_included_first(path):
    """Returns whether a source file of the same name includes this header first. Building that file then proves it self-contained."""
    name = str(path.relative_to(ROOT / path.relative_to(ROOT).parts[0]))
    for source in [path.with_suffix(".cc")] if path.parent.name != "clearhead" else ROOT.glob(f"src/**/{path.stem}.cc"):
        first = re.search(r'^#include ([<"][^>"]+)', source.read_text(encoding="utf-8"), re.M) if source.exists() else None
        if first and first[1] == '"' + name:
            return True
    return False


def check_header_compiles(path):
    command = [
        "c++",
        "-std=c++20",
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-I",
        str(ROOT / "include"),
        "-I",
        str(ROOT / "src"),
        "-x",
        "c++",
        str(path),
    ]
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
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    out_of_git = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and not {"build", "node_modules"} & set(p.parts)]
    names = listed.stdout.splitlines() if listed.returncode == 0 else out_of_git
    check_graph_in_document()
    endings = (".cc", ".h", ".css", ".py", ".md")
    paths = [ROOT / name for name in names if name.endswith(endings) and (ROOT / name).exists() and "/dist/" not in name]
    sources = [path for path in paths if path.suffix in (".cc", ".h")]
    options = set(
        re.findall(
            r"--[a-z][a-z0-9-]*", "".join(path.read_text(encoding="utf-8") for path in sources if path.parts[len(ROOT.parts)] == "cli")
        )
    )
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        most = MAXIMUM_FILE.get(path.suffix)
        if most and lines > most:
            complain(path, lines, f"file of {lines} lines; at most {most}")
        if path.suffix == ".md":
            check_names(path, text, options)
            check_widths(path, text)
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
    check_dead_files(names)
    check_one_definition(
        [path for path in sources if path.relative_to(ROOT).parts[0] in ("src", "include", "cli", "python") and "-inl" not in path.name]
    )
    check_format(sources)
    if "--headers" in sys.argv:
        headers = [
            path
            for path in sources
            if path.suffix == ".h" and not path.name.endswith("-inl.h") and path.relative_to(ROOT).parts[0] in ("src", "include")
        ]
        headers = [path for path in headers if not is_included_first(path)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(check_header_compiles, headers))
    for finding in sorted(findings):
        print(finding)
    print(f"tidy: {len(paths)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
