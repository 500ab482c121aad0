#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the pages for people: README*, CONTRIBUTING, CHANGELOG and docs/.

usage: check_docs.py [ROOT]
Every relative link and picture exists, and its anchor; every file of docs/ is linked or shown by
another page; every docs/X.md that any file names exists; pictures are XML. README.zh-CN.md goes with
README.md: headings of the same levels, the same blocks of code byte for byte, the same links.
docs/architecture.md has a row for each part of src/, with its level, and names no file that is not there.
The rows of a table have as many cells as its head, and a block of code ends.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

from check_layers import read_layers
from check_tree import files_of

BLOCK = re.compile(r"^```.*?^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^()\s]+)\)|\b(?:src|srcset|href)=\"([^\"]+)\"")
NAMED = re.compile(r"(?<![\w./])(docs/[\w-]+\.md)\b")
PAIR = ("README.md", "README.zh-CN.md")


def pages_of(root):
    return [n for n in files_of(root) if n.endswith(".md") and ("/" not in n or n.startswith("docs/"))]


def prose(text):
    """Without blocks of code and what stands in backticks, in both of which nothing links."""
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", text))


def headings(text):
    return re.findall(r"^(#+) +(.+?) *$", BLOCK.sub("", text), re.M)


def anchors(text):
    """As GitHub makes them of headings."""
    seen, names = {}, set()
    for _, title in headings(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = seen[name] = seen.get(name, -1) + 1
        names.add(f"{name}-{number}" if number else name)
    return names


def links(text):
    """Targets in this project, in the order they stand."""
    found = [a or b for a, b in LINK.findall(prose(text))]
    return [target for target in found if not re.match(r"[a-z][a-z+.-]*:", target)]


def check_links(root, texts, linked):
    """Adds to `linked` the files that another page links to."""
    for name, text in texts.items():
        for target in links(text):
            path, _, anchor = target.partition("#")
            file = (root / name).parent / path if path else root / name
            if not file.exists() or not file.resolve().is_relative_to(root.resolve()):
                yield f"{name}: no file for the link {target}"
                continue
            to = file.resolve().relative_to(root.resolve()).as_posix()
            if to != name:
                linked.add(to)
            if anchor and anchor not in anchors(texts.get(to, "")):
                yield f"{name}: no heading for the link {target}"


def check_names(root):
    for name in files_of(root):
        if name.startswith(("fuzz/corpus/", "tests/fixtures/", "tests/tools/")):
            continue
        for page in sorted(set(NAMED.findall((root / name).read_bytes().decode(errors="replace")))):
            if not (root / page).exists() and page != "docs/X.md":
                yield f"{name}: names {page}, which is not there"


def check_pair(texts):
    one, other = (texts.get(name) for name in PAIR)
    if one is None or other is None:
        return
    if [level for level, _ in headings(one)] != [level for level, _ in headings(other)]:
        yield f"{PAIR[1]}: headings of other levels than in {PAIR[0]}"
    blocks, others = BLOCK.findall(one), BLOCK.findall(other)
    if len(blocks) != len(others):
        yield f"{PAIR[1]}: {len(others)} blocks of code, {PAIR[0]} has {len(blocks)}"
    for number, (a, b) in enumerate(zip(blocks, others), 1):
        if a != b:
            yield f"{PAIR[1]}: block {number} of code is another than in {PAIR[0]}"
    # Each links to the other; an anchor is of its own language.
    sets = [sorted({t.partition("#")[0] or name for t in links(text)} - set(PAIR))
            for name, text in zip(PAIR, (one, other))]
    if sets[0] != sets[1]:
        yield f"{PAIR[1]}: links differ from those of {PAIR[0]}: {sorted(set(sets[0]) ^ set(sets[1]))}"


def check_architecture(root, text):
    if text is None:
        return
    table, _, _ = read_layers(root)
    wanted = {part: str(level) for part, (level, _) in table.items() if (root / "src" / part).is_dir()}
    shown = dict(re.findall(r"^\| `src/([\w/]+)` \|.*\| (\d+) \|$", text, re.M))
    # A folder of a part may have a row of its own.
    shown = {p: level for p, level in shown.items() if p in wanted or not (root / "src" / p).is_dir()}
    if shown != wanted:
        yield f"docs/architecture.md: rows {sorted(set(shown.items()) ^ set(wanted.items()))} are not as in src/layers.txt"
    sources = [file.as_posix() for folder in ("src", "include") for file in (root / folder).rglob("*")]
    for name in sorted(set(re.findall(r"`([\w/]*\w\*?\.[ch])`", text))):
        if not any(pathlib.PurePosixPath(file).match(name) for file in sources):
            yield f"docs/architecture.md: names {name}, which is not there"


def check_layout(texts):
    for name, text in texts.items():
        if len(re.findall(r"^```", text, re.M)) % 2:
            yield f"{name}: a block of code does not end"
        cells = 0  # of the table these lines are of
        for line in BLOCK.sub("", text).splitlines():
            here = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            if here and cells and here != cells:
                yield f"{name}: a row of {here - 1} cells where the head has {cells - 1}: {line[:60]}"
            cells = cells if here and cells else here


def check_pictures(root):
    for name in files_of(root):
        if name.startswith("docs/") and name.endswith(".svg"):
            try:
                xml.parse(root / name)
            except xml.ParseError as error:
                yield f"{name}: {error}"


def check(root):
    texts = {name: (root / name).read_text(encoding="utf-8") for name in pages_of(root)}
    linked = set()
    errors = [*check_links(root, texts, linked)]
    errors += [f"{name}: no other page links to it"
               for name in files_of(root) if name.startswith("docs/") and name not in linked]
    return errors + [*check_names(root), *check_pair(texts), *check_pictures(root), *check_layout(texts),
                     *check_architecture(root, texts.get("docs/architecture.md"))]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    errors = check(root)
    print("\n".join(errors) if errors else "docs: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
