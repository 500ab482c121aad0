# SPDX-License-Identifier: Apache-2.0
"""Who is connected and what goes on there: GET /admin/sessions and mcpgate sessions, with clients in each state."""
import json

import pytest

from cli import good
from gateway import Gateway
from http_bytes import Connection, HttpClient, ask, encode_json, wait_until
from mcp_client import McpClient
from mcp_negotiated import ACK, Negotiated
from node import Gate, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")
KEYS = [{"name": "web", "key": "key-of-web", "tenant": "people"}]
KEY = ("Authorization", "Bearer key-of-web")


def page(gateway, **options):
    return ask(gateway.admin, "GET", "/admin/sessions", **options).json()


def rows(gateway, **wanted):
    """Those that have these members."""
    return [row for row in page(gateway)["sessions"] if all(row.get(key) == value for key, value in wanted.items())]


def wait_row(gateway, **wanted):
    wait_until(lambda: rows(gateway, **wanted), wanted)
    (row,) = rows(gateway, **wanted)
    return row


@pytest.fixture(params=["main-sub", "single"])
def small(request):
    """A gateway with one slot."""
    with OllamaNode() as node:
        config = {"nodes": [{"url": node.url, "name": "gpu", "slots": 1}], "queue": {"cancel_grace": "0ms"}}
        with Gateway(config=config, args=["--mode", request.param]) as gateway:
            yield gateway, node


def test_nobody_is_connected(small):
    assert page(small[0]) == {"sessions": [], "total": 0}
    title, _, sums = good("sessions", "--admin", "%s:%d" % small[0].admin).splitlines()
    assert title.split()[:4] == ["STATE", "FACE", "CLIENT", "TENANT"] and sums == "0 at work, 0 idle"


def test_idle_connections(small):
    gateway, _ = small
    with McpClient(gateway.mcp) as mcp, HttpClient(gateway.http) as http:
        mcp.ask(GENERATE)
        http.request("GET", "/api/tags")
        http.response()
        seen = wait_row(gateway, state="idle", face="mcp")
        assert (seen["client"], seen["remembered"], seen["unsent"]) == ("127.0.0.1", 1, 0) and seen["connection"] > 0
        seen = wait_row(gateway, state="idle", face="http")
        assert seen["client"] == "127.0.0.1" and 0 <= seen["ms"] < 60000
        assert page(gateway)["total"] == 2
    wait_until(lambda: page(gateway)["total"] == 0, "both have gone")


def test_a_request_that_comes_slowly(small):
    gateway, _ = small
    body = json.dumps(GENERATE).encode()
    with Connection(gateway.http) as http, Negotiated(gateway.mcp, "chunk") as mcp:
        http.send(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body))
        assert "id" not in wait_row(gateway, state="reading", face="http")
        http.send(b"X-Request-Id: slow\r\n\r\n" + body[:5])
        seen = wait_row(gateway, state="reading", id="slow")
        assert (seen["face"], seen["op"], "model" in seen) == ("http", "generate", False)
        mcp.chunk(7, b'{"model"')
        assert wait_row(gateway, state="reading", face="mcp")["session"] == 7


def test_running_queued_and_streaming(small):
    gateway, node = small
    first, rest = Gate(), Gate()
    node.next("/api/generate", ndjson(first, PARTS[0], rest, *PARTS[1:]))
    with HttpClient(gateway.http) as http, Negotiated(gateway.mcp, "ack") as mcp:
        http.request("POST", "/api/generate", GENERATE, [("X-Request-Id", "one")])
        first.wait_reached()
        seen = wait_row(gateway, state="running", id="one")
        assert (seen["node"], seen["model"], seen["tenant"], seen["parts"]) == ("gpu", "m", "127.0.0.1", 0)
        mcp.request(5, GENERATE)
        assert mcp.frame(5).json()["state"] == "queued"
        seen = wait_row(gateway, state="queued")
        assert (seen["face"], seen["session"], seen["position"], "node" in seen) == ("mcp", 5, 1, False)
        first.open()
        seen = wait_row(gateway, state="streaming", id="one")
        assert seen["parts"] == 1 and seen["bytes_out"] > 0 and seen["bytes_in"] == len(encode_json(GENERATE))
        title, *shown, _, sums = good("sessions", "--admin", "%s:%d" % gateway.admin).splitlines()
        assert sums == "2 at work, 0 idle" and {line.split()[0] for line in shown} == {"streaming", "queued"}
        assert [line for line in shown if line.startswith("queued #1 ")] and len(title.split()) == 12
        rest.open()
        assert http.response().lines() == PARTS
        while mcp.frame(5).opcode == ACK:
            pass


def test_a_client_without_credit_is_stalled(small):
    gateway, node = small
    node.next("/api/generate", ndjson(*PARTS))
    with Negotiated(gateway.mcp, "ack", "credit", window=10) as mcp:
        mcp.request(3, GENERATE)
        seen = wait_row(gateway, state="stalled", session=3)
        assert seen["credit"] < 0 and seen["parts"] == 1 and seen["face"] == "mcp"


def test_tenants_and_keys():
    gate = Gate()
    with OllamaNode() as node, Gateway(node, config={"keys": KEYS}) as gateway:
        assert ask(gateway.admin, "GET", "/admin/sessions").status == 401
        node.next("/api/generate", ndjson(gate, *PARTS))
        with HttpClient(gateway.http) as http:
            http.request("POST", "/api/generate", GENERATE, [KEY])
            gate.wait_reached()
            (row,) = page(gateway, headers=[KEY])["sessions"]
            assert (row["state"], row["tenant"]) == ("running", "people") and "key-of-web" not in json.dumps(row)
            gate.open()
            http.response()


def test_requests_come_before_the_idle_ones_and_the_rest_is_counted():
    """More than are listed."""
    gate = Gate()
    with OllamaNode() as node, Gateway(node, args=["--reactors", "2"]) as gateway:
        idle = [Connection(gateway.http) for _ in range(1010)]
        wait_until(lambda: page(gateway)["total"] == 1010, "all are connected")
        node.next("/api/generate", ndjson(gate, *PARTS))
        with HttpClient(gateway.http) as http:
            http.request("POST", "/api/generate", GENERATE)
            gate.wait_reached()
            listed = page(gateway)
            assert listed["total"] == 1011 and 1000 >= len(listed["sessions"]) > 900
            assert [row["state"] for row in listed["sessions"]].count("running") == 1
            assert "(%d more)" % (1011 - len(listed["sessions"])) in good("sessions", "--admin", "%s:%d" % gateway.admin)
            gate.open()
            http.response()
        for connection in idle:
            connection.close()
