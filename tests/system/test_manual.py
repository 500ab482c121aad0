# SPDX-License-Identifier: Apache-2.0
"""The pages of the manual: clean for groff and mandoc, and with all that the tables have."""
import pathlib
import re
import subprocess

import pytest

from cli import bad, good

PAGES = ["mcpgate", "mcpgate.yaml"]


def shown(page):
    """The page as text, each paragraph in one line."""
    text = subprocess.run(["mandoc", "-Tutf8", "-O", "width=500"], input=good("manual", page), text=True,
                          capture_output=True, check=True).stdout
    return re.sub(".\b", "", text)  # bold and italics


@pytest.mark.parametrize("page", PAGES)
def test_clean(page, tmp_path):
    path = tmp_path / page
    path.write_text(good("manual", page))
    groff = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", path], capture_output=True, text=True, check=False)
    assert (groff.returncode, groff.stdout + groff.stderr) == (0, "")
    mandoc = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False)
    assert (mandoc.returncode, mandoc.stdout + mandoc.stderr) == (0, "")


def test_commands_and_options():
    page = shown("mcpgate")
    assert good("manual") == good("manual", "mcpgate")
    for command in re.findall(r"^  ([a-z-]+) +\S", good("--help"), re.M):
        assert re.search(rf"^   mcpgate {command}\b", page, re.M)
        for option in set(re.findall(r"--([a-z][a-z-]+)", good(command, "--help"))) - {"help", "usage"}:
            assert f"--{option}" in page, (command, option)
    assert "/set parameter NAME VALUE..." in page and '"""' in page


def test_keys_of_the_configuration():
    page = shown("mcpgate.yaml")
    items = re.findall(r'^CONFIG_ITEM\(\w+, "(\w+)", "(\w+)", \w+, (?:"(.*?)"|NULL)',
                       pathlib.Path("src/gateway/config.def").read_text(), re.M)
    assert len(items) > 25
    for section, key, initial in items:
        row = re.search(rf"^ +{section}\.{key}\n.*\n +Value: .*", page, re.M)
        assert row, (section, key)
        assert not initial or f"Default: {initial}." in row[0], (section, key)


def test_no_such_page():
    assert bad(2, "manual", "x") == "mcpgate: expected mcpgate or mcpgate.yaml, not 'x'; see mcpgate manual --help"
    assert bad(2, "manual", "mcpgate", "y").startswith("mcpgate: expected one page, not 'y' too")
