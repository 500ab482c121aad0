# SPDX-License-Identifier: Apache-2.0
"""What the gateway tells about itself: metrics, access log, admin pages; and what it never tells."""
import os
import re
import signal

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient
from node import CLOSE, Gate, answer, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "the-private-prompt"}
PARTS = generate_parts("m")


# --- metrics --------------------------------------------------------------------------------------
def test_metrics_are_prometheus_text(gateway, mcp):
    mcp.ask(GENERATE)
    response = ask(gateway.admin, "GET", "/metrics")
    assert response.get("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    kinds, samples = {}, {}
    for line in response.body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            name, labels, value = re.fullmatch(r"([a-z_]+)(\{[^}]*\})? ([-0-9.e+]+)", line).groups()
            assert (name, labels) not in samples
            samples[name, labels] = float(value)
            family = name if name in kinds else re.sub("_(bucket|sum|count)$", "", name)
            assert family in kinds and (kinds[family] != "counter" or name.endswith("_total"))
    for name in [name for name, kind in kinds.items() if kind == "histogram"]:
        series = {}  # a histogram may have one for each value of a label
        for (n, labels), value in samples.items():
            if n == name + "_bucket":
                rest = re.sub(',?le="[^"]+"', "", labels)
                series.setdefault(None if rest == "{}" else rest, []).append(
                    (float(re.search('le="([^"]+)"', labels)[1]), value))
        assert series
        for labels, buckets in series.items():
            assert buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets)
            assert buckets[-1] == (float("inf"), samples[name + "_count", labels])


def difference(gateway, work):
    before = gateway.metrics()
    work()
    gateway.wait_idle()
    after = gateway.metrics()
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


def test_an_exchange_counts_what_it_was(gateway, mcp):
    mcp.ask(GENERATE)
    counted = difference(gateway, lambda: mcp.ask(GENERATE))
    assert counted['mcpgate_exchanges_total{outcome="ok"}'] == 1
    assert counted["mcpgate_parts_total"] == len(PARTS)
    assert counted['mcpgate_mcp_frames_total{direction="in"}'] == 1
    assert counted['mcpgate_mcp_frames_total{direction="out"}'] == len(PARTS)
    assert counted["mcpgate_time_to_first_part_seconds_count"] == counted["mcpgate_exchange_seconds_count"] == 1
    assert counted["mcpgate_node_connection_reuse_total"] == 1


@pytest.mark.parametrize("over", ["mcp", "http"])
def test_the_gateways_own_time_is_measured_for_each_part(gateway, node, over):
    gates = [Gate() for _ in PARTS]
    node.next("/api/generate", ndjson(*[step for pair in zip(PARTS, gates) for step in pair]))

    def work():
        with (McpClient(gateway.mcp) if over == "mcp" else HttpClient(gateway.http)) as client:
            if over == "mcp":
                client.request(1, GENERATE)
            else:
                client.request("POST", "/api/generate", GENERATE)
                client.head()
            for gate in gates:
                assert client.frame() if over == "mcp" else client.chunk()
                gate.open()
            if over == "http":
                assert client.chunk() == b""

    counted = difference(gateway, work)
    assert counted["mcpgate_relay_seconds_count"] >= len(PARTS)
    assert 0 < counted["mcpgate_relay_seconds_sum"] < 1


def test_connections_are_counted_while_open_and_after(gateway):
    name = 'mcpgate_connections_open{face="mcp"}'
    before = gateway.metric(name)
    with McpClient(gateway.mcp) as client:
        client.ping()
        assert gateway.metric(name) == before + 1
    gateway.wait_metric(name, before)


# --- the access log -------------------------------------------------------------------------------
def test_there_is_one_line_for_each_exchange(gateway, mcp):
    before = len(gateway.access())
    mcp.ask(GENERATE)
    mcp.ask({"model": "none", "prompt": "a"})
    mcp.ask(b"nonsense")
    ask(gateway.http, "POST", "/api/generate", GENERATE)
    ask(gateway.http, "GET", "/api/tags")
    ask(gateway.http, "GET", "/nothing")  # no exchange
    wait_until(lambda: len(gateway.access()) == before + 5, lambda: gateway.access()[before:])
    lines = gateway.access()[before:]
    assert [line["code"] for line in lines] == ["ok", "unknown_model", "bad_request", "ok", "ok"]
    assert [line["face"] for line in lines] == ["mcp", "mcp", "mcp", "http", "http"]
    assert len({line["id"] for line in lines}) == 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["ts"]) for line in lines)


def test_the_status_in_the_log_is_what_the_client_got(gateway, node):
    asked = [("POST", "/api/generate", GENERATE), ("POST", "/api/generate", b"nonsense"),
             ("POST", "/api/generate", {"model": "none", "prompt": "a"}), ("GET", "/api/tags", b""),
             ("POST", "/v1/messages", {"model": "m", "messages": []}), ("POST", "/api/show", {"model": "none"})]
    node.next("/v1/messages", [CLOSE] * 2)
    node.next("/api/show", answer({"error": "later"}, 429))
    for method, path, body in asked:
        response = ask(gateway.http, method, path, body)
        line = gateway.wait_access(lambda line, response=response: line["id"] == response.get("X-Request-Id"))
        assert line["status"] == str(response.status), line


def test_a_client_that_leaves_before_the_answer_got_no_status(gateway, node):
    gate = Gate()
    node.next("/api/generate", [gate])
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", GENERATE, [("X-Request-Id", "left-early")])
        gate.wait_reached()
    line = gateway.wait_access(lambda line: line["id"] == "left-early")
    assert (line["code"], line["status"]) == ("cancelled", "0")


@pytest.mark.parametrize("name", ["a\nts=2000 event=forged", 'x" code="ok', "\u2028\x1b[31m", "a" * 5000, "a=b c",
                                  "x" + "\u00e9" * 600])
def test_a_name_cannot_forge_a_line(gateway, mcp, name):
    before = len(gateway.access())
    assert mcp.error({"model": name, "prompt": "a"})[0] in ("unknown_model", "bad_request")
    wait_until(lambda: len(gateway.access()) > before, "it is logged")
    raw = gateway.access_path.read_bytes().split(b"\n")
    assert len(raw) == before + 2 and all(byte >= 0x20 for byte in raw[before])
    assert raw[before].decode()
    assert len(raw[before]) < 1000 and b" code=" in raw[before]
    assert gateway.access()[before]["code"] in ("unknown_model", "bad_request")


def test_the_log_can_be_moved_away(gateway, mcp):
    moved = gateway.access_path.with_name("moved")
    mcp.ask(GENERATE)
    os.rename(gateway.access_path, moved)
    gateway.process.send_signal(signal.SIGUSR1)
    wait_until(gateway.access_path.exists, "a new file is opened")
    mcp.ask(GENERATE)
    gateway.wait_access(lambda line: line["op"] == "generate")
    assert len(gateway.access()) == 1
    gateway.access_path.write_text(moved.read_text() + gateway.access_path.read_text())


@pytest.mark.parametrize("to, has_lines", [("off", False), (None, True)])
def test_the_log_goes_where_it_is_told_to(to, has_lines):
    with OllamaNode() as node, Gateway(node, config={"log": {"access": to or "stderr"}}, log_to_file=False) as gateway:
        with McpClient(gateway.mcp) as client:
            client.ask(GENERATE)
        assert ("event=exchange" in gateway.errors()) is has_lines


# --- what is never told ---------------------------------------------------------------------------
def test_payloads_and_keys_are_in_no_log():
    config = {"keys": [{"name": "alice", "key": "the-private-key"}], "log": {"level": "debug", "access": "stderr"}}
    with OllamaNode() as node, Gateway(node, config=config, log_to_file=False) as gateway:
        body = {**GENERATE, "mcp": {"auth": "the-private-key"}}
        with McpClient(gateway.mcp) as client:
            client.ask(body)
            client.ask({**body, "mcp": {"auth": "another-private-key"}})
            node.next("/api/generate", [CLOSE], [CLOSE])
            client.ask(body)
            client.send(b"\x07the-private-frame......")
            client.closed()
        headers = [("Authorization", "Bearer the-private-key"), ("Cookie", "the-private-cookie")]
        ask(gateway.http, "POST", "/api/generate?q=the-private-query", GENERATE, headers)
        ask(gateway.http, "POST", "/api/generate", b'{"prompt":"the-private-prompt', headers)
        text = gateway.errors()
        assert text.count("event=exchange") >= 5 and "key=alice" in text
        assert "private" not in text and PARTS[0]["response"] + " " not in text


# --- admin pages ----------------------------------------------------------------------------------
@pytest.mark.parametrize("method, path, status", [
    ("GET", "/healthz", 200), ("HEAD", "/readyz", 200), ("GET", "/nothing", 404), ("POST", "/metrics", 405),
    ("DELETE", "/admin/nodes", 405), ("GET", "/healthz?x=1", 200)])
def test_admin_pages(gateway, method, path, status):
    response = ask(gateway.admin, method, path)
    assert (response.status, response.complete) == (status, True)


def test_the_nodes_page_is_what_health_says(gateway, mcp):
    page = ask(gateway.admin, "GET", "/admin/nodes").json()
    (health,) = mcp.ask({"mcp": {"op": "health"}}, single=True)
    assert page.pop("discovery") == []  # which is for those who run it
    assert page == health and page["nodes"][0]["kind"] == "ollama"
