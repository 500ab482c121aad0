#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the include lines of src/ point down only, as src/layers.txt says.

usage: check_layers.py [ROOT]
A quoted include names a header from src/ or include/ in full ("base/buf.h"). A part includes itself
and the parts it sees; public headers (include/) include only public headers. The sans-IO parts also
include no header that gives them a file descriptor, a thread or the log.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
SIBLINGS = {("client/io", "client")}
IO_HEADERS = {
    "fcntl.h", "netdb.h", "netinet/in.h", "poll.h", "pthread.h", "signal.h", "sys/epoll.h",
    "sys/eventfd.h", "sys/select.h", "sys/socket.h", "sys/timerfd.h", "sys/un.h", "threads.h",
    "unistd.h", "base/log.h",
}


def read_layers(root):
    """Returns ({part: (level, seen parts)}, sans-IO parts, errors)."""
    table, sans_io, errors = {}, set(), []
    for line in (root / "src/layers.txt").read_text().splitlines():
        if line.startswith("@sans-io"):
            sans_io = set(line.split()[1:])
        elif line and not line.startswith("#"):
            part, level, *sees = line.split()
            table[part] = (int(level), set(sees))
    for part, (level, sees) in table.items():
        for other in sorted(sees):
            if other not in table:
                errors.append(f"src/layers.txt: {part} sees {other}, which is no part")
            elif table[other][0] >= level and (part, other) not in SIBLINGS:
                errors.append(f"src/layers.txt: {part} sees {other}, which is not below it")
    for part in sorted(sans_io - set(table)):
        errors.append(f"src/layers.txt: @sans-io names {part}, which is no part")
    return table, sans_io, errors


def part_of(path, table):
    """The part with the longest folder that path (relative to src/) lies in."""
    found = [p for p in table if path.startswith(p + "/")]
    return max(found, key=len, default=None)


def check(root):
    table, sans_io, errors = read_layers(root)
    for file in sorted([*(root / "src").rglob("*.[ch]"), *(root / "include").rglob("*.[ch]")]):
        name = file.relative_to(root).as_posix()
        public = name.startswith("include/")
        part = None if public else part_of(name.removeprefix("src/"), table)
        if not public and part is None:
            errors.append(f"{name}: lies in no part of src/layers.txt")
            continue
        for kind, header in INCLUDE.findall(file.read_text()):
            if part in sans_io and header in IO_HEADERS:
                errors.append(f"{name}: includes {header}, but {part} is sans-IO")
            if kind == "<" or header.startswith("mcp/"):
                continue
            other = part_of(header, table)
            if public:
                errors.append(f"{name}: a public header includes {header}")
            elif other is None:
                errors.append(f'{name}: "{header}" is no path from src/ or include/')
            elif other != part and other not in table[part][1]:
                errors.append(f"{name}: includes {header}, but {part} does not see {other}")
    return errors


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    errors = check(root)
    print("\n".join(errors) if errors else "layers: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
