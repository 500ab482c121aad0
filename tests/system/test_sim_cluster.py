# SPDX-License-Identifier: Apache-2.0
"""mcpgate sim-cluster and plan: tables, JSON, charts, recordings, Ctrl-C."""
import json
import re
import signal
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from cli import BIN, bad, environment, good, run
from http_bytes import DEADLINE_S
from terminal import Terminal

SMALL = ["--requests", "3000", "--nodes", "3", "--models", "3"]
POLICIES = ["round-robin", "least-outstanding", "random-2", "mcpgate"]
HEAD = '{"mcpgate_record":1,"version":"0.1.0","started":"2026-11-22T19:09:21.103Z"}\n'


def recording(path, count=400, each_us=200000):
    lines = [{"at_us": i * each_us, "op": "chat", "model": ["a", "b"][i % 2], "class": "normal", "tenant": f"t{i % 3}",
              "in_bytes": 4000, "in_tokens": 300, "out_tokens": 40, "code": "ok"} for i in range(count)]
    path.write_text(HEAD + "".join(json.dumps(line) + "\n" for line in reversed(lines)))
    return path


def texts(path):
    """What stands in a chart."""
    return [e.text for e in ElementTree.parse(path).getroot().iter() if e.tag.endswith("}text")]


def test_the_policies_side_by_side(tmp_path):
    out = good("sim-cluster", *SMALL, "--json", tmp_path / "a.json", "--svg", tmp_path / "a.svg")
    assert re.match(r"3000 requests of 4 tenants for 3 models at [\d.]+/s, seed 1; 3 nodes\n\nPOLICY +TTFT P50 ", out)
    assert re.findall(r"^([a-z0-9-]+) {2,}\d", out, re.M) == POLICIES
    found = json.loads((tmp_path / "a.json").read_text())
    assert [p["policy"] for p in found["policies"]] == POLICIES
    assert (found["requests"], found["nodes"], found["seed"]) == (3000, 3, 1)
    for p in found["policies"]:
        assert p["whole"] and p["refused"] == 0 and 2500 < p["counted"] <= 3000
        assert 0 < p["ttft_us"]["p50"] <= p["ttft_us"]["p99"] <= p["ttft_us"]["max"]
        assert p["known_tokens"] < p["prompt_tokens"] and p["busiest_node"] >= 1
    assert set(POLICIES) <= set(texts(tmp_path / "a.svg"))


def test_the_same_seed_is_the_same_output():
    first = good("sim-cluster", *SMALL)
    assert good("sim-cluster", *SMALL) == first
    assert good("sim-cluster", *SMALL, "--seed", "2") != first


def test_json_alone_on_standard_output():
    found = json.loads(good("sim-cluster", *SMALL, "--policy", "mcpgate", "--json", "-"))
    assert [p["policy"] for p in found["policies"]] == ["mcpgate"]


def test_all_kinds_of_nodes_and_requests():
    found = json.loads(good(
        "sim-cluster", "--requests", "2000", "--nodes", "2", "--nodes", "1:slots=8,decode-us=10000,memory-mib=0",
        "--tenants", "3", "--tenant-skew", "1", "--weights", "1,4", "--models", "5", "--model-mib", "4000,9000",
        "--load-ms", "500,1000", "--burst", "5:5s:30s", "--turns", "1", "--prompt", "100:0.5", "--answer", "50",
        "--batch", "20", "--prompt-cache", "0", "--gateway-slots", "auto", "--rate", "3", "--json", "-"))
    assert found["per_s"] == 3 and found["nodes"] == 3
    assert all(p["known_tokens"] == 0 for p in found["policies"])


def test_a_recording(tmp_path):
    path = recording(tmp_path / "r.ndjson")
    out = good("sim-cluster", "--trace", path, "--nodes", "2")
    assert out.startswith(f"400 requests of 3 tenants for 2 models at 5.01/s, recorded in {path}; 2 nodes\n")
    faster = good("sim-cluster", "--trace", path, "--nodes", "2", "--speed", "2")
    assert " at 10/s" in faster
    cut = path.read_text()[:-20]  # its last line is not whole
    path.write_text(cut)
    assert good("sim-cluster", "--trace", path).startswith("399 requests")
    path.write_text(HEAD + "{}\nhello\n")
    assert bad(2, "sim-cluster", "--trace", path) == f"mcpgate: {path}:3: expected a JSON object; see mcpgate record"
    path.write_text(HEAD)
    assert bad(2, "sim-cluster", "--trace", path) == f"mcpgate: {path}: there are no requests in it"
    assert bad(2, "plan", "--slo", "ttft_p99=1s", "--trace", tmp_path / "none").endswith("No such file or directory")


def test_how_many_nodes_it_takes(tmp_path):
    args = ["--slo", "ttft_p99=4s", "--slo", "token_p50=40ms", "--rate", "3", "--requests", "2000", "--slots", "2,4"]
    out = good("plan", *args, "--now", "2:2", "--json", tmp_path / "p.json", "--svg", tmp_path / "p.svg")
    found = json.loads((tmp_path / "p.json").read_text())
    best = re.search(r"^(\d+) nodes? of (\d) slots will do: ttft_p99 .* \(asked: 4.00 s\), token_p50 ", out, re.M)
    assert (found["nodes"], found["slots"]) == (int(best[1]), int(best[2]))
    assert re.search(r"^The 2 nodes of 2 slots of now will not do: ttft_p99 ", out, re.M)
    tried = {t["nodes"]: t["enough"] for t in found["tried"] if t["slots"] == found["slots"]}
    assert all(tried[n] for n in tried if n >= found["nodes"]) and not tried.get(found["nodes"] - 1, False)
    assert not any(t["enough"] for t in found["tried"] if t["nodes"] < 3)
    assert next(t for t in found["tried"] if t["now"])["ttft_p99"] > 4
    assert "asked: 4.00 s" in texts(tmp_path / "p.svg")


def test_what_cannot_be_had():
    result = run("plan", "--slo", "ttft_p99=1us", "--rate", "1", "--requests", "300", "--slots", "4", "--most", "8")
    assert result.returncode == 1
    assert "\nNo number of nodes up to 8 was found that will do with these slots.\n" in result.stdout


@pytest.mark.parametrize(("args", "text"), [
    (["sim-cluster", "x"], "expected no argument, not 'x'"),
    (["sim-cluster", "--nodes", "0"], "--nodes: expected such as 4 or 2:slots=8,decode-us=10000, at most 100000 in all"),
    (["sim-cluster", "--nodes", "2:frob=1"], "--nodes: expected such as 4"),
    (["sim-cluster", "--nodes", "2:slots=x"], "--nodes: expected such as 4"),
    (["sim-cluster", "--policy", "best"], "--policy: expected round-robin, least-outstanding, random-2 or mcpgate, not 'best'"),
    (["sim-cluster", "--requests", "0"], "--requests: expected a whole number from 1 to 1000000000, not '0'"),
    (["sim-cluster", "--burst", "5"], "--burst: expected FACTOR:FOR:EACH, such as 5:10s:60s, not '5'"),
    (["sim-cluster", "--burst", "5:60s:10s"], "--burst: expected a time that is shorter than the period"),
    (["sim-cluster", "--pause", "x"], "--pause: expected a time, such as 2s or 250ms, not 'x'"),
    (["sim-cluster", "--nodes", "1000", "--models", "4000"], "--nodes: at most 500 of them for 4000 models"),
    (["sim-cluster", "--tenants", "9000", "--models", "4000"], "4000 models of 9000 tenants: at most 2000000 of both"),
    (["sim-cluster", "--load", "0"], "--load: expected a percentage above 0"),
    (["plan", "--slo", "ttft_p9=1s", "--rate", "1", "--models", "4000", "--now", "999"], "--now: at most 500 nodes for 4000"),
    (["plan", "--rate", "1"], "expected what is asked, such as --slo ttft_p99=2s"),
    (["plan", "--slo", "ttft_p99=2s"], "expected requests: --trace FILE, or --rate N each second"),
    (["plan", "--slo", "p99=2s", "--rate", "1"], "--slo: expected ttft_p99=2s, or token_ or latency_ and another percentile"),
    (["plan", "--slo", "ttft_p99=x", "--rate", "1"], "--slo: expected a time, such as 2s or 250ms, not 'ttft_p99=x'"),
])
def test_what_is_wrong_with_the_command_line(args, text):
    assert bad(2, *args).startswith(f"mcpgate: {text}")


def test_where_it_cannot_write(tmp_path):
    assert bad(1, "sim-cluster", *SMALL, "--svg", tmp_path / "no/a.svg") == \
        f"mcpgate: {tmp_path}/no/a.svg: No such file or directory"


def test_ctrl_c_shows_what_there_is(tmp_path):
    for command in ["sim-cluster"], ["plan", "--slo", "ttft_p99=1s", "--rate", "9"]:
        process = subprocess.Popen([BIN, *command, "--requests", "900000000", "--json", tmp_path / "c.json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        assert process.stdout.readline().startswith("900000000 requests of 4 tenants")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, err) == (130, "")
        assert "interrupted" in out
        assert json.loads((tmp_path / "c.json").read_text())["requests"] == 900000000


def test_how_far_it_is_stands_on_a_terminal():
    with Terminal([BIN, "sim-cluster", "--requests", "900000000", "--policy", "mcpgate"], environment()) as terminal:
        terminal.expect("mcpgate: 0 % (")
        terminal.type("\x03")
        terminal.expect("mcpgate was interrupted after ")
