# SPDX-License-Identifier: Apache-2.0
"""A request's way can be followed: its id on both sides, where its time went, what was decided."""
import json
import os
import re
import signal
import socket
import subprocess

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, encode_json, wait_until
from node import CLOSE, Gate, answer, ndjson, pause
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "the-private-prompt"}
PARTS = generate_parts("m")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


# --- ids ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method, path, body, status", [
    ("GET", "/", b"", 200), ("GET", "/nothing", b"", 404), ("PUT", "/api/chat", b"", 405), ("GET", "/api//tags", b"", 307),
    ("POST", "/api/generate", b"nonsense", 400), ("POST", "/api/generate", {"model": "none", "prompt": "a"}, 404),
    ("POST", "/api/generate", GENERATE, 200), ("GET", "/api/tags", b"", 200)])
def test_every_answer_has_the_id(gateway, method, path, body, status):
    for given in ("client-1", None, "not fine", "x" * 65):
        response = ask(gateway.http, method, path, body, [("X-Request-Id", given)] if given else [])
        assert response.status == status
        (name,) = response.all("X-Request-Id")
        assert name == given if given == "client-1" else re.fullmatch(r"[0-9a-f]{8}-\d+", name)


def test_a_foreign_host_is_answered_with_the_id(gateway):
    with HttpClient(gateway.http) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Request-Id: foreign-1\r\n\r\n")
        assert client.response("GET").get("X-Request-Id") == "foreign-1"
    gateway.wait_access(lambda line: line["id"] == "foreign-1" and line["status"] == "403")


@pytest.mark.parametrize("given", ["client-2", None, "not fine"])
def test_the_node_is_told_the_id(gateway, node, given):
    headers = [("X-Request-Id", given), ("X-Request-Id", "another")] if given else []
    response = ask(gateway.http, "POST", "/api/generate", GENERATE, headers)
    asked = node.requests[-1]
    assert asked.all("X-Request-Id") == [response.get("X-Request-Id")]


def test_the_node_is_told_the_id_and_the_trace_of_an_mcp_client(gateway, node, mcp):
    mcp.ask({**GENERATE, "mcp": {"traceparent": PARENT}})
    asked = node.requests[-1]
    assert asked.all("traceparent") == [PARENT]
    gateway.wait_access(lambda line: line["id"] == asked.get("X-Request-Id"))
    for wrong in (PARENT + "0", PARENT.upper(), "", "\\r\\nX: y" + PARENT[9:]):
        mcp.ask({**GENERATE, "mcp": {"traceparent": wrong}})
        assert node.requests[-1].all("traceparent") == []


@pytest.mark.parametrize("given", ["client-3", "not fine", "\\u0061bc", "", None])
def test_an_mcp_client_may_name_its_request(gateway, node, mcp, given):
    tags = {"tags": {"team": "x", "request_id": given}} if given is not None else {}
    mcp.request(1, json.dumps({**GENERATE, "mcp": tags}).replace("\\\\u", "\\u").encode())
    mcp.parts()
    name = node.requests[-1].get("X-Request-Id")
    assert name == given if given == "client-3" else re.fullmatch(r"[0-9a-f]{8}-\d+", name)
    assert why(gateway, name)["face"] == "mcp"


# --- Server-Timing --------------------------------------------------------------------------------
TRACE = [("X-Mcpgate-Trace", "1")]


def timing(response):
    (value,) = response.all("Server-Timing")
    entries = [re.fullmatch(r"(\w+);dur=(\d+\.\d{3})", entry).groups() for entry in value.split(", ")]
    return {name: float(ms) for name, ms in entries}


def test_it_is_there_where_it_is_asked_for(gateway):
    for path, body in (("/api/generate", GENERATE), ("/api/generate", {"model": "none", "prompt": "a"}), ("/api/tags", b"")):
        method = "POST" if body else "GET"
        assert ask(gateway.http, method, path, body).all("Server-Timing") == []
        assert timing(ask(gateway.http, method, path, body, TRACE))["gateway"] >= 0


def test_the_time_of_the_node_and_of_loading_are_told(gateway, node):
    told = {"model": "m", "response": "x", "done": True, "total_duration": 1, "load_duration": 7654321}
    node.next("/api/generate", [pause(0.05), *answer(told)])
    response = ask(gateway.http, "POST", "/api/generate", {**GENERATE, "stream": False}, TRACE)
    times = timing(response)
    assert list(times) == ["queue", "load", "node", "gateway"]
    assert times["load"] == 7.654 and times["node"] >= 50 and times["gateway"] < 50
    assert json.loads(response.body) == told


@pytest.mark.parametrize("value, asked, unasked", [("always", 1, 1), ("off", 0, 0)])
def test_it_can_be_set(value, asked, unasked):
    with OllamaNode() as node, Gateway(node, config={"trace": {"server_timing": value}}) as gateway:
        for headers, count in ((TRACE, asked), ([], unasked)):
            assert len(ask(gateway.http, "GET", "/api/tags", headers=headers).all("Server-Timing")) == count
        assert "X-Mcpgate-Trace" not in node.requests[-1].names()


# --- why ------------------------------------------------------------------------------------------
BIN = os.path.abspath(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"))


def run(gateway, *args, **env):
    env = {**os.environ, "MCPGATE_ADMIN": "%s:%d" % gateway.admin, **env}
    return subprocess.run([BIN, "why", *args], env=env, capture_output=True, text=True, timeout=60, check=False)


def requests(gateway, ident):
    result = run(gateway, "--json", ident)
    assert (result.returncode, result.stderr) == (0, ""), result
    return json.loads(result.stdout)["requests"]


def why(gateway, ident):
    (request,) = requests(gateway, ident)
    times = [event["ms"] for event in request["events"]]
    assert times == sorted(times) and request["total_ms"] >= times[-1]
    return request


def events(request):
    return [event["event"] for event in request["events"]]


def asked(gateway, ident, body=GENERATE, path="/api/generate"):
    return ask(gateway.http, "POST", path, body, [("X-Request-Id", ident)])


def test_the_way_of_a_request(gateway, node):
    asked(gateway, "first")
    response = asked(gateway, "second")
    told = why(gateway, "second")
    assert events(told) == ["complete", "admitted", "node_chosen", "reused", "head", "first_part", "end"]
    assert (told["state"], told["face"], told["op"], told["model"]) == ("ended", "http", "generate", "m")
    assert (told["code"], told["status"], told["bytes_out"]) == ("ok", 200, len(response.body))
    assert told["bytes_in"] == len(encode_json(GENERATE))
    assert {event["node"] for event in told["events"] if "node" in event} == {node.name}
    text = run(gateway, "second").stdout
    assert re.match(r"second  generate  m  over http from 127\.0\.0\.1, received \d{4}-\S+Z\n", text)
    for event in told["events"]:
        assert re.search(rf"^ *{event['ms']:.3f} ms  {re.escape(event['text'])}$", text, re.M), text
    assert "private" not in text + json.dumps(told)


def test_the_way_of_an_mcp_request(gateway, node, mcp):
    mcp.ask(GENERATE)
    mcp.ask(GENERATE)
    told = why(gateway, node.requests[-1].get("X-Request-Id"))
    assert told["face"] == "mcp" and "node_kept" in events(told)


def test_errors_tell_why(gateway):
    asked(gateway, "no-model", {"model": "none", "prompt": "the-private-prompt"})
    told = why(gateway, "no-model")
    assert events(told) == ["complete", "admitted", "node_lacks_model", "waits_for_nodes", "nodes_asked", "node_lacks_model",
                            "end"]
    assert told["code"] == "unknown_model" and told["events"][-1]["text"] == "ended as unknown_model: model 'none' not found"
    asked(gateway, "no-json", b"the-private-text")
    assert events(why(gateway, "no-json")) == ["end"] and "private" not in run(gateway, "no-json").stdout


def test_a_connection_that_had_closed(gateway, node):
    asked(gateway, "before")
    node.next("/api/generate", [CLOSE])
    asked(gateway, "again")
    assert [name for name in events(why(gateway, "again")) if name in ("reused", "sent_again", "connected")] == [
        "reused", "sent_again", "connected"]


def test_a_node_that_is_not_reached():
    with OllamaNode() as one, OllamaNode() as two, Gateway(one, two) as gateway:
        assert asked(gateway, "before").status == 200
        later = [event["node"] for event in why(gateway, "before")["events"] if event["event"] == "node_later"]
        one, two = (one, two) if later == [two.name] else (two, one)
        assert later == [two.name]
        one.stop()
        told, requests_made = [], 0
        while ("node_down", one.name) not in told:  # its turn comes, or it is polled
            requests_made += 1
            assert asked(gateway, f"moved-{requests_made}").status == 200
            told = [(event["event"], event["node"])
                    for event in why(gateway, f"moved-{requests_made}")["events"] if "node" in event]
        if ("unreached", one.name) in told:  # else it was polled just now
            told = told[told.index(("unreached", one.name)):]
        assert ("node_chosen", two.name) in told and ("node_down", one.name) in told and told[-1] == ("first_part", two.name)


def test_a_request_that_runs(gateway, node):
    gate = Gate()
    node.next("/api/generate", ndjson(*PARTS[:1], gate, *PARTS[1:]))
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", GENERATE, [("X-Request-Id", "runs")])
        client.head()
        client.chunk()
        told = why(gateway, "runs")
        assert told["state"] == "running" and "code" not in told and events(told)[-1] == "first_part"
        assert "it still runs" in run(gateway, "runs").stdout
        gate.open()
        while client.chunk():
            pass
    gateway.wait_access(lambda line: line["id"] == "runs")
    assert events(why(gateway, "runs"))[-1] == "end"


def test_a_sub_reactor_that_has_drained_answers_still():
    gate = Gate()
    with OllamaNode() as node, Gateway(node, config={"reactor": {"count": 2}}) as gateway:
        asked(gateway, "before")  # on each in turn
        asked(gateway, "before")
        node.next("/api/generate", ndjson(*PARTS[:1], gate, *PARTS[1:]))
        with HttpClient(gateway.http) as client:
            client.request("POST", "/api/generate", GENERATE, [("X-Request-Id", "runs")])
            client.head()
            client.chunk()
            gateway.process.send_signal(signal.SIGTERM)
            wait_until(lambda: ask(gateway.admin, "GET", "/readyz").body == b"shutting down\n", "the drain")
            assert why(gateway, "runs")["state"] == "running"
            assert len(requests(gateway, "before")) == 2
            gate.open()
            while client.chunk():
                pass
        gateway.wait_exit()


def test_what_loading_took(gateway, node):
    slow = {**PARTS[-1], "load_duration": 20_000_000}
    node.next("/api/generate", [pause(0.05), *ndjson(*PARTS[:-1], slow)])
    asked(gateway, "loads")
    assert why(gateway, "loads")["load_ms"] == 20
    assert "20.000 ms of it to load the model" in run(gateway, "loads").stdout


def test_two_requests_of_one_id_on_any_loop():
    with OllamaNode() as node, Gateway(node, config={"reactor": {"count": 3}}) as gateway:
        for _ in range(10):
            asked(gateway, "twin")
        told = requests(gateway, "twin")
        assert 8 <= len(told) <= 10 and all(one["id"] == "twin" for one in told)


def test_old_ones_make_room():
    with OllamaNode() as node, Gateway(node, config={"reactor": {"mode": "single"}, "trace": {"requests": 2}}) as gateway:
        for ident in ("a", "b", "c"):
            asked(gateway, ident)
        assert [run(gateway, ident).returncode for ident in ("a", "b", "c")] == [1, 0, 0]
        assert run(gateway, "a").stderr == "mcpgate: no request of that id; the last 2 requests are kept (trace.requests)\n"


def test_tracing_can_be_off():
    with OllamaNode() as node, Gateway(node, config={"trace": {"requests": 0}}) as gateway:
        asked(gateway, "a")
        result = run(gateway, "a")
        assert (result.returncode, result.stderr) == (1, "mcpgate: requests are not traced: trace.requests is 0\n")


def test_keys_are_asked_for_and_in_no_record():
    config = {"keys": [{"name": "alice", "key": "the-private-key"}]}
    with OllamaNode() as node, Gateway(node, config=config) as gateway:
        for key in ("the-private-key", "another-private-key"):
            ask(gateway.http, "POST", "/api/generate", GENERATE, [("X-Request-Id", key[:3]), ("Authorization", "Bearer " + key)])
        assert run(gateway, "the").stderr == "mcpgate: unauthorized: give a key with --key or MCPGATE_KEY\n"
        assert run(gateway, "the", "--key", "wrong").stderr == "mcpgate: unauthorized: the key is not valid\n"
        for ident, last in (("the", "the answer is complete"), ("ano", "ended as unauthorized: the API key is not valid")):
            result = run(gateway, ident, MCPGATE_KEY="the-private-key")
            assert result.returncode == 0 and last in result.stdout and "private" not in result.stdout


def test_who_asks_and_leaves_harms_nobody(gateway):
    asked(gateway, "left")
    for _ in range(20):
        with HttpClient(gateway.admin) as client:
            client.request("GET", "/admin/requests/left")
            client.reset()
    assert why(gateway, "left")["state"] == "ended"
    assert ask(gateway.admin, "POST", "/admin/requests/left").status == 405
    assert ask(gateway.admin, "GET", "/admin/requests/").status == 404


@pytest.mark.parametrize("args, status, text", [
    ((), 2, "expected the id of a request"), (("a b",), 2, "expected the id of one request"), (("a", "b"), 2, "not 'b'"),
    (("--admin", "127.0.0.1:1", "a"), 4, "no gateway there: 127.0.0.1:1: Connection refused; "), (("--admin", "a:b:c", "a"), 2, "expected host:port")])
def test_what_cannot_be_asked(gateway, args, status, text):
    result = run(gateway, *args)
    assert result.returncode == status and text in result.stderr and not result.stdout


@pytest.mark.parametrize("face", ["mcp", "http", "node"])
def test_what_answers_is_no_admin_listener(gateway, node, face):
    """One line that names what was asked, and what was expected."""
    address = node.name if face == "node" else "%s:%d" % getattr(gateway, face)
    result = run(gateway, "--admin", address, "a")
    assert (result.returncode, result.stdout) == (4, "")
    assert re.fullmatch(rf"mcpgate: what answers at {address} is no admin listener \(.+\); --admin takes the address of "
                        r"admin\.listen, 127\.0\.0\.1:6060 by default\n", result.stderr), result.stderr


def test_nothing_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "127.0.0.1:%d" % silent.getsockname()[1]
        result = subprocess.run([BIN, "why", "--admin", address, "a"], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr == f"mcpgate: {address}: no answer within 5 s; --admin takes the address of admin.listen, " \
                            "127.0.0.1:6060 by default\n"
