# SPDX-License-Identifier: Apache-2.0
"""The whole of tools/demo-cluster: three real models, two tenants, one node killed, one drained; and what its clients saw."""
import os
import re
import signal
import subprocess

import pytest

from demo import TOOLS, Demo, Marked
from terminal import Terminal

BIN = os.path.abspath(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"))


@pytest.fixture(scope="module", autouse=True)
def fetched():
    subprocess.run([TOOLS / "engine/fetch"], check=True)  # of no effect where `make test` runs the tests


def rows_of(out):
    """{tenant: {column: text}} of the table at the end."""
    head, *rows = [re.split(r" {2,}", line) for line in out[out.index("\ntenant "):].strip().splitlines()[:3]]
    return {row[0]: dict(zip(head, row)) for row in rows}


def test_what_each_client_saw(tmp_path):
    demo = Demo(program="demo-cluster", cwd=tmp_path, MCPGATE_BIN=BIN)
    status, out, err = demo.finish()
    assert (status, err) == (0, "")
    assert "\033" not in out  # nothing is redrawn but on a terminal
    dead = re.search(r"(one|two|three) is killed, (\d+) parts into its answer to (nightly-\d+)", out)
    drained = re.search(r"(one|two|three) is drained: mcpgate node drain \1$", out, re.M)
    assert dead and drained and dead[1] != drained[1]
    assert f"{drained[1]} is empty and could be upgraded; requests that failed meanwhile: 0\n" in out
    assert f"{drained[1]} serves again: mcpgate node uncordon {drained[1]}\n" in out
    assert re.search(r" s  waiting \d+: (anna 1 )?nightly \d+;  running on one \d/2  two \d/2  three \d/2$", out, re.M)
    rows = rows_of(out)
    assert list(rows) == ["anna", "nightly"]
    cut = re.fullmatch(r"([12]) \((\d+)(?:, (\d+))? parts\)", rows["nightly"]["cut"])
    assert cut and max(int(parts) for parts in cut.groups()[1:] if parts) >= int(dead[2])
    for row in rows.values():
        asked, answered, lost = int(row["asked"]), int(row["answered"]), int(row["cut"].split()[0]) + int(row["failed"])
        # The slots of the node that was killed; and as many that followed on a connection of another loop that had
        # died with it, which is not to be told from a node that dies of a request. All were asked again.
        assert asked == answered + lost and lost <= 4
    assert int(rows["anna"]["answered"]) >= 4 and int(rows["nightly"]["answered"]) >= 16
    assert list(tmp_path.iterdir()) == []
    demo.assert_nothing_left()


def test_ctrl_c_on_a_terminal_leaves_nothing_behind():
    marked = Marked(MCPGATE_BIN=BIN, TERM="xterm")
    with Terminal([TOOLS / "demo-cluster"], marked.environment, timeout=120) as terminal:
        terminal.expect("nightly ten long ones")
        terminal.expect("STATE")  # as mcpgate queue shows it, below
        terminal.expect("\033[J")  # and again
        terminal.process.send_signal(signal.SIGINT)
        terminal.expect("demo: stopped")
        assert terminal.process.wait(30) == 130
    marked.assert_nothing_left()
