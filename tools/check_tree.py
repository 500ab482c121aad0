#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks every file that is, or would be, committed.

usage: check_tree.py [ROOT]
Sources: an SPDX line at the top, at most 800 lines. All text files: UTF-8, LF, a newline at the end,
no path of somebody's machine and no host of a package registry.
"""
import pathlib
import re
import subprocess
import sys

MAX_LINES = 800
SPDX = "SPDX-License-Identifier: Apache-2.0"
SOURCE_SUFFIXES = {".c", ".h", ".in", ".def", ".py", ".sh", ".cmake", ".js"}
SOURCE_NAMES = {"CMakeLists.txt", "Makefile"}
# A copy that must stay as the original is (check_vectors.py).
VERBATIM = {"tools/cleanroom", "LICENSE"}
# Written in pieces so that this file passes its own check.
FORBIDDEN = [
    (re.compile(r"(?<![\w.])/" + r"(work|root|home/\w+|Users/\w+)/"), "a path of one machine"),
    (re.compile(r"\b(registry\." + r"npmjs\.|pypi\." + r"org|pythonhosted\." + r"org|deb\." + r"debian\.)"),
     "the host of a package registry"),
]


def files_of(root):
    run = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root,
                         capture_output=True, text=True, check=False)
    if run.returncode == 0:
        names = run.stdout.split("\0")[:-1]
    else:  # an unpacked archive
        names = [p.relative_to(root).as_posix() for p in root.rglob("*")]
        names = [n for n in names if not n.startswith(("build/", ".cache/"))]
    return sorted(n for n in set(names) if (root / n).is_file() and not (root / n).is_symlink())


def is_source(name, text):
    path = pathlib.PurePosixPath(name)
    return path.suffix in SOURCE_SUFFIXES or path.name in SOURCE_NAMES or text.startswith("#!")


def check_file(name, data):
    if b"\0" in data or name.startswith("fuzz/corpus/"):
        return
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        yield f"{name}: not UTF-8 ({error.reason} at byte {error.start})"
        return
    if "\r" in text:
        yield f"{name}: line endings are not LF"
    if text and not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    if name in VERBATIM:
        return
    lines = text.splitlines()
    if is_source(name, text):
        if not any(SPDX in line for line in lines[:3]):
            yield f"{name}: no SPDX line"
        if len(lines) > MAX_LINES:
            yield f"{name}: {len(lines)} lines; past {MAX_LINES}, find the second thing it does"
    for number, line in enumerate(lines, 1):
        for pattern, what in FORBIDDEN:
            if pattern.search(line):
                yield f"{name}:{number}: {what}: {line.strip()[:80]}"


def check(root):
    return [e for name in files_of(root) for e in check_file(name, (root / name).read_bytes())]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    errors = check(root)
    print("\n".join(errors) if errors else "tree: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
