#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the files that are copies: equal to the original where ../shared has it, else well-formed.

usage: check_vectors.py [ROOT]
"""
import json
import os
import pathlib
import sys

COPIES = {"tests/vectors/wire.json": "vectors/wire.json", "tools/cleanroom": "tools/cleanroom"}


def check(root):
    errors = []
    for copy, original in COPIES.items():
        mine, theirs = root / copy, root.resolve().parent / "shared" / original
        if not mine.is_file():
            errors.append(f"{copy}: is missing")
            continue
        if theirs.is_file() and mine.read_bytes() != theirs.read_bytes():
            errors.append(f"{copy}: differs from ../shared/{original}")
        if copy.endswith(".json"):
            try:
                json.loads(mine.read_text())
            except ValueError as error:
                errors.append(f"{copy}: {error}")
        elif not os.access(mine, os.X_OK):
            errors.append(f"{copy}: is not executable")
    return errors


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    errors = check(root)
    print("\n".join(errors) if errors else "vectors: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
