# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself: that it runs and counts right. How fast anything is decides nothing here."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import types
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate")).resolve().parent
sys.path.insert(0, str(ROOT / "bench"))
from benchlib import affinity, bars, cases, chart, copies, counts, figures, load as load_runs, queues, servers, table  # noqa: E402

ALWAYS = {"direct", "relay", "mcpgate http"}
FIGURES = {"requests_per_s", "p50_us", "p99_us", "p99.9_us", "max_us"}


def run_bench(tmp_path, *options, build=BUILD):
    return subprocess.run([sys.executable, "bench/run.py", "--build", build, "--out", tmp_path, "--seconds", "0.1",
                           "--warmup", "0.05", "--rounds", "1", "--connections", "50", "--hold", "0.1", "--starts",
                           "2", *options],
                          cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


def bench(tmp_path, name, *options):
    """The results of a run that must find no errors, and what it printed."""
    run = run_bench(tmp_path, name, *options)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads((tmp_path / f"{name}.json").read_text()), run.stdout


def check_charts(folder, groups):
    """One SVG for each, with a bar and a whisker at least."""
    assert {path.stem for path in folder.iterdir()} == groups
    for path in folder.iterdir():
        root = xml.etree.ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
        kinds = [element.get("class", "") for element in root.iter()]
        assert any("rect" in kind for kind in kinds), path
        assert any("ci" in kind.split() or "ci" == kind for kind in kinds), path


def check_bars(results, whole):
    expected = bars.judge({}, whole=True)
    keys = [(b["bar"], b["where"]) for b in results["bars"] if b["group"] != "idle"]
    if whole:
        assert keys == [(b["bar"], b["where"]) for b in expected if b["group"] != "idle"]
    assert len(set(keys)) == len(keys) > 0
    for bar in results["bars"]:
        if bar["value"] is None:
            assert (whole, bar["holds"]) == (True, None)
        else:
            assert {"median", "min", "max"} == bar["value"].keys() and bar["holds"] in (True, False)


def check_result(result, target):
    assert result["errors"] == 0, result
    assert result["requests_all"] > 0
    assert result["latency_us"]["count"] == result["requests"] <= result["requests_all"]
    assert 0 <= result["latency_us"]["p50"] <= result["latency_us"]["p99"] <= result["latency_us"]["max"]
    assert ("watched" in result) == (target != "direct")


def test_all_of_it_without_errors(tmp_path):
    results, printed = bench(tmp_path, "all", "--no-calls", "--no-svg")
    assert not (tmp_path / "all").exists()
    assert results["simulated"] is True
    assert results["errors"] == []
    assert [c["name"] for c in results["cases"]] == [c.name for c in cases.GROUPS["all"]]
    for case in results["cases"]:
        assert f"{case['name']}: {case['title']} (simulated: true)" in printed
        assert ALWAYS <= case["summary"].keys()
        assert [r.keys() for r in case["figures"]] == [case["summary"].keys()]
        for target, result in case["rounds"][0].items():
            check_result(result, target)
            assert FIGURES <= case["summary"][target].keys()
            if case["name"].startswith("stream"):
                assert result["parts"] >= (result["requests"] - case["in_flight"]) * cases.PARTS
            if case["name"].startswith("abort"):
                assert result["aborted"] == result["requests"]
            relay_cpu = case["summary"]["relay"]["cpu_us"]["median"]
            if target not in ("direct", "relay") and relay_cpu > 0:  # the time is short
                assert {"median", "min", "max"} == case["summary"][target]["cpu_us"]["ratio"].keys()
    assert {"relay", "mcpgate http", "mcpgate mcp, each"} <= {row["target"] for row in results["idle"]}
    assert [r["requests"] for row in results["idle"] for r in row["rounds"]] == [50] * len(results["idle"])
    assert all(row["figures"]["bytes_per_connection"].keys() == {"median", "min", "max"} for row in results["idle"])
    assert results["start"]["times"] == 2
    check_bars(results, whole=True)
    assert ("copies" in results["missing"]) == (results["copies"] == {})
    assert printed.splitlines()[-1].endswith("not measured; fewer than 5 rounds, so for orientation only")


def test_one_case_of_some_targets_with_charts(tmp_path):
    """A short look: only what was asked for, under a name of its own, the ratio last."""
    results, printed = bench_part(tmp_path, "streams", "--case", "stream-1ms-64", "--targets", "relay,http,mcp-1")
    [case] = results["cases"]
    assert list(case["summary"]) == ["relay", "mcpgate http", "mcpgate mcp, 1 conn"]
    for figures_ in case["summary"].values():
        if "sends_per_part" in figures_:  # the kernel's events or strace can be had
            assert 0 < figures_["sends_per_part"]["median"] < 2
    assert set(case["counted_by"]) == {"calls", "sends_per_part"}
    check_bars(results, whole=False)
    last = printed.splitlines()[-2:]
    assert [line.split(" has ")[0] for line in last] == ["stream-1ms-64: mcpgate http",
                                                         "stream-1ms-64: mcpgate mcp, 1 conn"]
    assert all("of the requests/s of relay, " in line for line in last)
    groups = {"http", "parts-cpu"} | ({"parts-sends"} if case["counted_by"]["sends_per_part"] else set())
    check_charts(tmp_path / "streams-part", groups)


def bench_part(tmp_path, name, *options):
    run = run_bench(tmp_path, name, *options)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not (tmp_path / f"{name}.json").exists()
    return json.loads((tmp_path / f"{name}-part.json").read_text()), run.stdout


def test_the_gateway_otherwise_than_by_default(tmp_path):
    """Each is measured, or it is said why not."""
    results, _ = bench_part(tmp_path, "backends", "--case", "short-1", "--no-svg", "--no-calls", "--rounds", "2",
                            "--targets", "epoll,io_uring,single,main-sub")
    [case] = results["cases"]
    assert len(case["rounds"]) == 2  # the second with all programs started anew
    names = {f"mcpgate http/{name}" for name in servers.VARIANTS}
    assert case["summary"].keys() | {f"mcpgate http/{name}" for name in results["missing"]} == names
    assert case["summary"].keys() & {f"mcpgate http/{name}" for name in results["missing"]} == set()
    assert all(results["missing"].values())


@pytest.mark.parametrize("usage, why", [
    ("      --node=URL   no --backend here", "this mcpgate has no --backend"),
    ("      --backend=NAME", "mcpgate-io_uring did not start: mcpgate: no io_uring here"),
])
def test_what_the_gateway_cannot_do_is_left_out(tmp_path, usage, why):
    mcpgate = tmp_path / "mcpgate"
    mcpgate.write_text(f"#!/bin/sh\n[ \"$2\" = --help ] && echo '{usage}' && exit\n"
                       "echo 'mcpgate: no io_uring here' >&2\nexit 1\n")
    mcpgate.chmod(0o755)
    assert servers.start("io_uring", tmp_path, tmp_path, "127.0.0.1:1") == (None, why)


def test_a_target_or_case_that_is_not_there(tmp_path):
    run = run_bench(tmp_path, "http", "--targets", "relay,varnish")
    assert (run.returncode, run.stdout) == (2, "")
    assert "no target varnish; there are direct, relay," in run.stderr
    run = run_bench(tmp_path, "http", "--case", "short-2")
    assert run.returncode == 1
    assert run.stderr.startswith("bench: http has no case short-2; it has short-1,")


def test_system_calls_are_counted_where_a_tool_is_there(tmp_path):
    results, _ = bench_part(tmp_path, "http", "--case", "short-1", "--no-svg")
    [case] = results["cases"]
    for target, summary in case["summary"].items():
        if "calls" in summary:  # perf or strace may trace
            assert target != "direct"
            assert 1 <= summary["calls"]["median"] <= 100


def test_calls_are_those_that_more_requests_add():
    assert counts.slope((1100, 200), (2100, 400)) == 5  # 100 are for the connections
    assert counts.slope((2100, 400), (1100, 200)) == 5
    assert counts.slope((1000, 200), (1010, 201)) == 2010 / 401
    assert counts.slope((7, 0), (8, 0)) == 15


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


def test_the_scheduler_on_a_running_gateway(tmp_path):
    results, printed = bench(tmp_path, "queue")
    assert {name: len(rounds) for name, rounds in results["queue"].items()} == dict.fromkeys(queues.PARTS, 1)
    assert [(b["where"], b["bar"]) for b in results["bars"]] == [(part, title) for part, _, title, _, _ in queues.BARS]
    assert all(b["value"]["median"] >= 0 and b["holds"] in (True, False) for b in results["bars"])
    assert results["queue"]["models"][0]["first_come_loads"] >= 2
    assert "queue: the scheduler on a running gateway (simulated: true)" in printed
    check_charts(tmp_path / "queue", {"queue"})


def test_a_part_of_the_queue_that_is_not_there(tmp_path):
    run = run_bench(tmp_path, "queue", "--case", "tennants")
    assert run.returncode == 1
    assert run.stderr == "bench: queue has no case tennants; it has " + ", ".join(queues.PARTS) + "\n"


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


TRACE = """# entries-in-buffer/entries-written: {}/6   #P:2
 a-1 [0] ..... 1.0: sock_send_length: sk=0xa (-1) family=0x2 (2) protocol=0x6 (6) ret=0x1 (1) flags=0x0 (0)
 b-2 [0] ..s2. 1.1: inet_sock_set_state: skaddr=0xa (-1) oldstate=0x3 (3) newstate=0x1 (1) sport=0x50 (80) dport=0x9 (9)
 a-1 [0] ..... 1.2: sock_send_length: sk=0xa (-1) family=0x2 (2) protocol=0x6 (6) ret=0x5e (94) flags=0x0 (0)
 a-1 [0] ..... 1.3: sock_send_length: sk=0xa (-1) family=0x2 (2) protocol=0x6 (6) ret=0xfffffff5 (-11) flags=0x0 (0)
 a-1 [0] ..... 1.4: sock_send_length: sk=0xb (-1) family=0x2 (2) protocol=0x6 (6) ret=0x5e (94) flags=0x0 (0)
 b-2 [0] ..s2. 1.5: inet_sock_set_state: skaddr=0xa (-1) oldstate=0x9 (9) newstate=0x7 (7) sport=0x50 (80) dport=0x9 (9)
 a-1 [0] ..... 1.6: sock_send_length: sk=0xa (-1) family=0x2 (2) protocol=0x6 (6) ret=0x5e (94) flags=0x0 (0)
"""


def test_sends_are_those_to_clients():
    assert counts.sends_in_trace(TRACE.format(6).splitlines(), 80) == 1
    assert counts.sends_in_trace(TRACE.format(6).splitlines(), 81) == 0
    assert counts.sends_in_trace(TRACE.format(5).splitlines(), 80) is None  # some were lost


def test_sends_are_counted_alike_by_all_tools_here(tmp_path):
    """A relay sends what it reads: with one stream, 20 ms between parts, each part by itself, the last two together."""
    with contextlib.ExitStack() as stack:
        sim = servers.start_sim(BUILD, tmp_path)
        stack.callback(sim.stop)
        relay = servers.start_relay(BUILD, tmp_path, sim.at)
        stack.callback(relay.stop)
        loads = load_runs.Load(BUILD, sim)
        ways, combine = counts.SENDS
        for way in ways:
            number, results, used = counts.per_request(((way,), combine), loads, relay.at, ["-p", 4, "--gap", 20], relay)
            assert [r["errors"] for r in results] == [0] * len(results)
            if used:
                assert 3 <= number <= 5


def judged(*cases_, **results):
    return {(b["bar"], b["where"]): b["holds"] for b in bars.judge({"cases": cases_, **results}, whole=False)}


def test_bars_are_judged_by_the_median_of_what_the_rounds_say():
    def rates(relay, nginx, http, mcp):
        return {name: {"requests_per_s": rate} for name, rate in
                (("relay", relay), ("nginx", nginx), ("mcpgate http", http), ("mcpgate mcp, 1 conn", mcp))}
    case = {"name": "short-64", "summary": {},
            "figures": [rates(100, 92, 91, 150), rates(100, 80, 90, 150), rates(200, 170, 160, 400)]}
    assert judged(case) == {("HTTP / relay, requests/s", "short-64"): True,
                            ("HTTP / nginx, requests/s", "short-64"): False,
                            ("MCP on 1 connection / relay, requests/s", "short-64"): False}


def test_bars_of_backends_are_per_cpu_second():
    case = {"name": "short-256", "summary": {}, "figures": [
        {"mcpgate http/epoll": {"requests_per_cpu_s": 100}, "mcpgate http/io_uring": {"requests_per_cpu_s": 120}}]}
    assert judged(case) == {("io_uring / epoll, requests per CPU s", "short-256"): True}


def test_a_bar_without_a_figure_is_not_met():
    [bar] = [b for b in bars.judge({"missing": {"io_uring": "no ring"}}, whole=True)
             if b["bar"] == "io_uring / epoll, requests per CPU s" and b["where"] == "short-1"]
    assert (bar["holds"], bar["why"]) == (None, "no ring")
    shown = bars.text([bar], 5).splitlines()
    assert shown[-2].endswith("not measured: no ring")
    assert shown[-1] == "0 hold, 0 missed, 1 not measured"


def test_on_one_cpu_and_back():
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            before = os.sched_getaffinity(0), os.sched_getaffinity(child.pid)
            with affinity.one_cpu([child.pid]):
                assert os.sched_getaffinity(0) == os.sched_getaffinity(child.pid) == {min(before[0])}
                own = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
                assert f"Cpus_allowed_list:\t{min(before[0])}\n" in own
            assert (os.sched_getaffinity(0), os.sched_getaffinity(child.pid)) == before
        finally:
            child.kill()


def test_ticks_are_round_and_span_all():
    assert chart.ticks(0, 2.6) == [0, 1, 2, 3]
    assert chart.ticks(-30, 90) == [-50, -25, 0, 25, 50, 75, 100]
    assert chart.ticks(0, 0) == [0]


def test_copies_are_counted(tmp_path):
    counted = tmp_path / "copies"
    counted.write_bytes(bytes(16))
    subprocess.run([sys.executable, "-c", "bytes(bytearray(1 << 20))"], check=True, timeout=60, cwd=tmp_path,
                   env={"LD_PRELOAD": str(BUILD / "bench/libbench-copies.so"), "MCPGATE_BENCH_COPIES": str(counted)})
    copied, calls = copies.read(counted)
    assert copied >= 1 << 20 and calls >= 1


def test_copies_of_the_gateway_or_why_not(tmp_path):
    with contextlib.ExitStack() as stack:
        sim = servers.start_sim(BUILD, tmp_path)
        stack.callback(sim.stop)
        measured, errors, why = copies.measure(types.SimpleNamespace(
            build=BUILD, folder=tmp_path, sim=sim, load=load_runs.Load(BUILD, sim)))
    assert errors == []
    if why is None:
        assert measured.keys() == {"mcpgate http", "mcpgate mcp, 1 conn"}
        assert all(50 < m["bytes_per_part"] < 200 and m["copied_share"] >= 0 for m in measured.values())
    else:
        assert "ASan" in why  # sanitizers must come first


def test_embeddings_in_batches(tmp_path):
    results, printed = bench(tmp_path, "batch")
    assert results["errors"] == [] and results["simulated"] is True and "(simulated: true)" in printed
    assert [row["row"] for row in results["batch"]] == ["single", *(f"B = {n}" for n in (1, 2, 4, 8, 16, 32)), "adaptive"]
    eight = results["batch"][4]
    assert (eight["clients"], round(eight["ceiling"])) == (20, 210)
    assert {b["bar"] for b in results["bars"]} >= {"B = 8 / single, requests/s", "adaptive, mean ms"}
    check_charts(tmp_path / "batch", {"batch"})


def test_an_embedding_that_is_wrong_is_an_error(tmp_path):
    with simulator(tmp_path) as at:
        status, result = load(at, "--embed", "-c", 4)
        assert (status, result["errors"]) == (0, 0) and result["requests"] > 0
        status, result = load(at, "--embed", "--mcp")
        assert status == 1
    with simulator(tmp_path, "--seed", "1", "--fault", "garbage:1@every 3") as at:
        status, result = load(at, "--embed")
    assert status == 1 and result["requests_all"] > result["errors"] > 0
