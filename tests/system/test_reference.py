# SPDX-License-Identifier: Apache-2.0
"""docs/configuration.md is what tools/config_reference makes of the program; docs/cli.md shows what it prints;
the tables of the protocol's pages are those of the sources."""
import os
import pathlib
import re
import subprocess

import pytest

from cli import BIN, good

PAGE = pathlib.Path("docs/configuration.md")
CLI = pathlib.Path("docs/cli.md")


def tool(*args):
    return subprocess.run(["tools/config_reference", *args], env=os.environ | {"MCPGATE_BIN": BIN},
                          capture_output=True, text=True, timeout=60, check=False)


def test_the_page_is_current():
    result = tool("--check")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("was,becomes", [("| `100MiB` |", "| `1MiB` |"),
                                         ("| `limits.window` |", "| `limits.pane` |")])
def test_a_page_that_is_not_is_mended(tmp_path, was, becomes):
    page, text = tmp_path / "page.md", PAGE.read_text()
    page.write_text(text.replace(was, becomes))
    assert page.read_text() != text
    result = tool("--check", page)
    assert (result.returncode, result.stderr) == (1, "page.md is not what the program says: run tools/config_reference\n")
    assert page.read_text() != text
    assert tool(page).returncode == 0
    assert page.read_text() == text


def test_a_section_without_a_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text().replace("<!-- keys: limits -->", ""))
    result = tool(page)
    assert result.returncode == 1
    assert result.stderr.endswith("look at limits\n")


def test_decode_shows_what_the_page_says():
    command, shown = re.search(r"^\$ echo (.+) \| mcpgate decode\n((?:.+\n)+)```$", CLI.read_text(), re.M).groups()
    assert good("decode", stdin=command + "\n") == shown


def entries(table, pattern):
    found = re.findall(pattern, pathlib.Path(table).read_text(), re.M)
    assert found
    return found


def test_opcodes_of_the_protocol():
    wanted = [(code, name, since.lower().replace("greeting", "negotiated")) for name, code, since in
              entries("src/wire/opcode.def", r"^WIRE_OPCODE\((\w+), (0x\w+), \w+, (\w+),")]
    rows = entries("docs/protocol.md", r"^\| (0x\w+) \| (\w+) \|.*\| `?(\w+)`? \|$")
    assert rows == wanted
    features = entries("src/wire/feature.def", r'^WIRE_FEATURE\(\w+, "(\w+)"')
    assert entries("docs/mcp.md", r"^\| `(\w+)` \|(?: 0x1\w \w+)? \|") == features
    assert sorted(entries("docs/protocol.md", r"^### (\w+)$")) == sorted(features)


def test_errors_of_the_protocol():
    table = entries("include/mcp/errors.def", r'^MCP_ERROR\(\w+, "(\w+)", (\d+), ([01]), "(.+)"\)$|^(/\* Local)')
    table = table[:next(i for i, row in enumerate(table) if row[4])]
    yes_no = {"0": "no", "1": "yes"}
    assert entries("docs/mcp.md", r"^\| `(\w+)` \| (yes|no) \| (.+) \|$") == [
        (name, yes_no[retryable], meaning) for name, _, retryable, meaning, _ in table]
    shown = entries("docs/protocol.md", r"\| (\w+) \| (\d+|\(in stream\)|MCP only) \| (yes|no) (?=\|)")
    assert sorted((name, retryable) for name, _, retryable in shown) == sorted(
        (name, yes_no[retryable]) for name, _, retryable, _, _ in table)
    status = {name: status for name, status, _, _, _ in table}
    assert all(status[name] == at for name, at, _ in shown if at.isdigit())
