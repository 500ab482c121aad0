# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself: that it runs and counts right. How fast anything is decides nothing here."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate")).resolve().parent
sys.path.insert(0, str(ROOT / "bench"))
from benchlib import bars, cases, figures, load as load_runs, servers, table  # noqa: E402

ALWAYS = {"direct", "relay", "mcpgate http"}
FIGURES = {"requests_per_s", "p50_us", "p99_us", "p99.9_us", "max_us"}


def bench(tmp_path, name, *options):
    """The results of a run that must find no errors, and what it printed."""
    run = subprocess.run([sys.executable, "bench/run.py", name, "--build", BUILD, "--out", tmp_path, "--no-svg",
                          "--seconds", "0.1", "--warmup", "0.05", "--rounds", "1", "--connections", "50", "--hold",
                          "0.1", "--starts", "2", *options],
                         cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads((tmp_path / f"{name}.json").read_text()), run.stdout


def check_result(result, target):
    assert result["errors"] == 0, result
    assert result["requests_all"] > 0
    assert result["latency_us"]["count"] == result["requests"] <= result["requests_all"]
    assert 0 <= result["latency_us"]["p50"] <= result["latency_us"]["p99"] <= result["latency_us"]["max"]
    assert ("watched" in result) == (target != "direct")


def test_all_of_it_without_errors(tmp_path):
    results, printed = bench(tmp_path, "all", "--no-calls")
    assert results["simulated"] is True
    assert results["errors"] == []
    assert [c["name"] for c in results["cases"]] == [c.name for c in cases.GROUPS["all"]]
    for case in results["cases"]:
        assert f"{case['name']}: {case['title']} (simulated: true)" in printed
        assert ALWAYS <= case["summary"].keys()
        for target, result in case["rounds"][0].items():
            check_result(result, target)
            assert FIGURES <= case["summary"][target].keys()
            if case["name"].startswith("stream"):
                assert result["parts"] >= (result["requests"] - case["in_flight"]) * cases.PARTS
            if case["name"].startswith("abort"):
                assert result["aborted"] == result["requests"]
            if target not in ("direct", "relay"):
                assert {"median", "min", "max"} == case["summary"][target]["cpu_us"]["ratio"].keys()
    assert {"relay", "mcpgate http", "mcpgate mcp, each"} <= {row["target"] for row in results["idle"]}
    assert all(row["result"]["requests"] == 50 for row in results["idle"])
    assert results["start"]["times"] == 2
    assert {b["met"] for b in results["bars"]} <= {True, False}


def test_system_calls_are_counted_where_a_tool_is_there(tmp_path):
    results, _ = bench(tmp_path, "http", "--case", "short-1")
    [case] = results["cases"]
    for target, summary in case["summary"].items():
        if "calls" in summary:  # perf or strace may trace
            assert target != "direct"
            assert 1 <= summary["calls"]["median"] <= 100


def test_calls_are_those_that_more_requests_add():
    assert load_runs.slope((1100, 200), (2100, 400)) == 5  # 100 are for the connections
    assert load_runs.slope((2100, 400), (1100, 200)) == 5
    assert load_runs.slope((1000, 200), (1010, 201)) == 2010 / 401
    assert load_runs.slope((7, 0), (8, 0)) == 15


def load(at, *options):
    """Exit status and result of bench-load."""
    run = subprocess.run([BUILD / "bench/bench-load", at, "-t", "0.2", "--warmup", "0", *map(str, options)],
                         capture_output=True, text=True, timeout=60, check=False)
    assert "Sanitizer" not in run.stderr, run.stderr
    return run.returncode, json.loads(run.stdout)


@contextlib.contextmanager
def simulator(tmp_path, *options):
    sim = servers.Server(tmp_path, "sim", [BUILD / "mcpgate", "sim", "--http", "127.0.0.1:0", *options],
                         banner=rb"^ready$")
    try:
        yield sim.address(r"http\s+")
    finally:
        sim.stop()


@pytest.mark.parametrize("fault, expected", [
    ("refuse:503@every 3", "status 503"),
    ("close@every 3", "closed by the peer"),
    ("close:3@every 3", "closed by the peer"),
    ("reset:3@every 3", ""),  # seen as an end or as a reset, as the bytes fall
    ("cut:3@every 3", "an answer that ends early"),
    ("garbage:3@every 3", ""),
])
def test_what_a_server_does_wrong_is_an_error(tmp_path, fault, expected):
    with simulator(tmp_path, "--fault", fault) as at:
        status, result = load(at, "-c", 4, "-p", 8)
    assert status == 1
    assert result["errors"] > 0 and expected in result["first_error"]
    assert result["requests_all"] > result["errors"]  # and it goes on


def test_silence_is_an_error(tmp_path):
    with simulator(tmp_path, "--fault", "hang@every 3") as at:
        status, result = load(at, "-c", 4, "--timeout", 0.1)
    assert status == 1
    assert (result["errors"], result["first_error"]) >= (1, "no answer in time")


@pytest.mark.parametrize("options, expected", [
    (["--text", "something else"], "another text in part 0"),
    (["-m", "missing"], "status 404"),
])
def test_a_wrong_answer_is_an_error(tmp_path, options, expected):
    with simulator(tmp_path) as at:
        status, result = load(at, *options)
    assert (status, result["requests"]) == (1, 0)
    assert result["first_error"].startswith(expected)


def test_an_open_loop_counts_what_is_due_not_what_is_sent(tmp_path):
    """One connection, 20 ms for an answer, 500 due in a second: they wait for each other, which shows."""
    with simulator(tmp_path) as at:
        status, result = load(at, "--rate", 500, "--even", "-p", 5, "--gap", 5, "-t", 0.2)
    assert status == 0
    assert result["requests"] == 100
    assert result["latency_us"]["max"] > 1_000_000  # the last was due at 0.2 s and answered behind 99 others
    assert result["late_us"]["max"] > 1_000_000


def test_a_rate_that_is_too_high_is_an_error(tmp_path):
    with simulator(tmp_path) as at:
        status, result = load(at, "--rate", 500, "--even", "-p", 5, "--gap", 5, "-t", 0.2, "--timeout", 0.2)
    assert status == 1
    assert result["first_error"].startswith("not sent in time")
    assert result["requests"] + result["errors"] == 100


def test_nobody_there_is_an_error():
    status, result = load(f"127.0.0.1:{servers.free_port()}")
    assert status == 1
    assert result["first_error"] == "Connection refused"


def test_ratios_are_taken_within_a_round():
    rounds = [{"relay": {"requests_per_s": 100, "p50_us": 10}, "x": {"requests_per_s": 50, "p50_us": 30}},
              {"relay": {"requests_per_s": 10, "p50_us": 20}, "x": {"requests_per_s": 9, "p50_us": 20}},
              {"relay": {"requests_per_s": 10, "p50_us": 20}, "x": {"requests_per_s": 8, "p50_us": 40}}]
    summary = figures.summarise(rounds)
    assert summary["x"]["requests_per_s"] == {"median": 9, "min": 8, "max": 50,
                                              "ratio": {"median": 0.8, "min": 0.5, "max": 0.9}}
    assert summary["x"]["p50_us"]["ratio"] == {"median": 2, "min": 1, "max": 3}
    assert "ratio" not in summary["relay"]["p50_us"]
    shown = table.case_table({"name": "n", "title": "t"}, summary, True).splitlines()
    assert shown[0] == "n: t (simulated: true)"
    assert shown[-1].split() == ["to", "the", "relay", "0.80", "0.50..0.90", "2.00", "1.00..3.00"]


def test_bars_are_judged_by_medians():
    def spread(value, ratio=None):
        return {"median": value, **({"ratio": {"median": ratio}} if ratio else {})}
    case = {"name": "short-64", "in_flight": 64, "parts": 1, "rate_per_s": None,
            "summary": {"relay": {"requests_per_s": spread(100)}, "nginx": {"requests_per_s": spread(92)},
                        "mcpgate http": {"requests_per_s": spread(91, 0.91)},
                        "mcpgate mcp, 1 conn": {"requests_per_s": spread(150, 1.5)}}}
    judged = {b["bar"]: b["met"] for b in bars.judge({"cases": [case]})}
    assert judged == {"HTTP at least 0.90 of the relay, short-64": True, "HTTP above nginx, short-64": False,
                      "MCP, 1 connection, at least 1.6 of the relay, short-64": False}
