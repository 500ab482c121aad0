# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/operations.md are what the sources say."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def rows_of(head):
    """The cells of the table whose heading line begins with `head`."""
    lines = PAGE[PAGE.index(f"\n{head}") + 1:].splitlines()[2:]
    end = next(i for i, line in enumerate([*lines, ""]) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


def metric_rows():
    """What the table of metrics must be, made from src/base/metrics.def; one line for each family."""
    families = {}
    string = r'"((?:[^"\\]|\\.)*)"'
    entry = rf"^(COUNTER|GAUGE|HISTOGRAM)\(\w+, {string}(?:, {string})?, {string}\)$"
    for kind, family, labels, text in re.findall(entry, (ROOT / "src/base/metrics.def").read_text(), re.M):
        row = families.setdefault(family, [f"`{family}`", kind.lower(), [], text])
        row[2] += re.findall(r'(\w+)=\\"(\w+)\\"', labels)
    for row in families.values():
        names = {name for name, _ in row[2]}
        assert len(names) <= 1
        row[2] = "".join(f"`{name}`: " for name in names) + ", ".join(value for _, value in row[2])
    return list(families.values())


def test_every_metric_is_in_the_table():
    expected = metric_rows()
    assert len(expected) > 20
    wanted = "\n".join("| " + " | ".join(row) + " |" for row in expected)
    assert rows_of("| metric ") == expected, f"the table must be:\n{wanted}"


def test_every_field_of_the_access_log_is_in_the_table():
    source = (ROOT / "src/obs/access_log.c").read_text()
    fields = ["ts", "event", *re.findall(r'logfmt_(?:pair|number)\(out, "(\w+)"', source)]
    assert [row[0].strip("`") for row in rows_of("| field ")] == fields


def test_every_line_an_operator_sees_is_in_the_table():
    events = set()
    for path in (ROOT / "src").rglob("*.c"):
        events |= set(re.findall(r'LOG_(?:INFO|WARN|ERROR)\("(\w+)"', path.read_text()))
    assert {name for row in rows_of("| event ") for name in re.findall(r"`(\w+)`", row[0])} == events
