#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every header of src/ and include/ compiles alone and can be included twice.

usage: check_headers.py [ROOT] [--cc CC]
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

GUARD = re.compile(r"^#ifndef (MCP_\w+_H)\n#define \1\n", re.M)


def guard_error(header, name, seen):
    found = GUARD.search(header.read_text())
    if not found:
        return f"{name}: no include guard of the form MCP_PART_FILE_H"
    guard = found.group(1)
    if not guard.endswith("_" + re.sub(r"\W", "_", header.stem).upper() + "_H"):
        return f"{name}: the guard {guard} does not end in the file's name"
    if guard in seen:
        return f"{name}: has the guard of {seen[guard]}"
    seen[guard] = name
    return None


def compile_error(cc, flags, root, path):
    run = subprocess.run(
        [cc, *flags, "-fsyntax-only", "-x", "c", "-"], cwd=root, text=True, check=False,
        input=f'#include "{path}"\n#include "{path}"\n', capture_output=True)
    return run.stderr if run.returncode else None


def check(root, cc):
    errors, seen, jobs = [], {}, []
    with tempfile.TemporaryDirectory() as generated:
        for template in (root / "src").rglob("*.h.in"):
            target = pathlib.Path(generated, template.relative_to(root / "src")).with_suffix("")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(template.read_text())
        flags = ["-std=gnu11", "-D_GNU_SOURCE=", "-Wall", "-Wextra", "-Werror",
                 "-Isrc", "-Iinclude", f"-I{generated}"]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for top in ("src", "include"):
                for header in sorted((root / top).rglob("*.h")):
                    name = header.relative_to(root).as_posix()
                    path = header.relative_to(root / top).as_posix()
                    if bad := guard_error(header, name, seen):
                        errors.append(bad)
                    jobs.append((name, pool.submit(compile_error, cc, flags, root, path)))
        for name, job in jobs:
            if bad := job.result():
                errors.append(f"{name}: does not compile alone\n{bad}")
    return errors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", nargs="?", default=pathlib.Path(__file__).parents[1],
                        type=pathlib.Path)
    parser.add_argument("--cc", default="cc")
    args = parser.parse_args()
    errors = check(args.root, args.cc)
    print("\n".join(errors) if errors else "headers: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
