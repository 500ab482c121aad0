# SPDX-License-Identifier: Apache-2.0
"""Answers that are not computed twice: identical requests in flight, a cache, idempotency keys."""
import contextlib

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, encode_json, wait_until
from mcp_client import McpClient
from node import CLOSE, Gate, answer, ndjson
from ollama_node import OllamaNode, chat_parts, generate_parts

MODEL = "m:latest"
FIXED = {"model": MODEL, "prompt": "hi", "options": {"temperature": 0}}
PARTS = generate_parts(MODEL)
SHARE = {}  # the default
CACHE = {"share": {"cache": "1MiB", "identical": "client"}}
SHARED = 'mcpgate_shared_answers_total{of="%s"}'


@contextlib.contextmanager
def held(config=SHARE, mode="main-sub", path="/api/generate", parts=PARTS):
    """A gateway whose node waits at a gate behind its first part."""
    gate = Gate()
    with OllamaNode(MODEL) as node, Gateway(node, config=config, args=["--mode", mode]) as gateway:
        node.next(path, ndjson(parts[0], gate, *parts[1:]))
        yield node, gateway, gate
        gateway.wait_idle()


def wait_shared(gateway, of, count):
    gateway.wait_metric(SHARED % of, count)


@pytest.mark.parametrize("mode", ["single", "main-sub"])
def test_identical_requests_in_flight_are_one(mode):
    with held(mode=mode) as (node, gateway, gate), HttpClient(gateway.http) as one, HttpClient(gateway.http) as two:
        one.request("POST", "/api/generate", FIXED)
        gate.wait_reached()
        two.request("POST", "/api/generate", FIXED)
        wait_shared(gateway, "running", 1)
        for client in (one, two):
            assert client.head().status == 200
            assert client.chunk() == encode_json(PARTS[0]) + b"\n"
        gate.open()
        for client in (one, two):
            lines = b""
            while chunk := client.chunk():
                lines += chunk
            assert lines.count(b"\n") == len(PARTS) - 1 and b'"done":true' in lines.replace(b" ", b"")
        assert len(node.of("/api/generate")) == 1
        gateway.wait_access(lambda line: line["op"] == "generate" and line["status"] == "200", 2)


def test_over_mcp():
    with held() as (node, gateway, gate), McpClient(gateway.mcp) as one, McpClient(gateway.mcp) as two:
        one.request(1, FIXED)
        gate.wait_reached()
        two.request(7, FIXED)
        one.request(2, FIXED)
        wait_shared(gateway, "running", 2)
        gate.open()
        for client, session in ((one, 1), (two, 7), (one, 2)):
            assert [client.frame(session).json() for _ in PARTS] == PARTS
        assert len(node.of("/api/generate")) == 1


@pytest.mark.parametrize("path, body", [
    ("/api/chat", {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "options": {"seed": 7}}),
    ("/api/generate", {**FIXED, "options": {"temperature": 0.0e1}, "stream": False}),
    ("/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "temperature": 0}),
    ("/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "seed": 0, "stream": True}),
    ("/api/embeddings", {"model": MODEL, "prompt": "x"}),
])
def test_what_is_determined(path, body):
    with OllamaNode(MODEL) as node, Gateway(node, config=CACHE) as gateway:
        direct = node_answer(node, path, body)
        for i in range(3):
            response = ask(gateway.http, "POST", path, body)
            assert (response.status, response.body, response.get("Content-Type")) == direct
            assert response.get("X-Mcpgate-Cache") == (None if i == 0 else "hit")
        assert len(node.of(path)) == 2  # one of them direct
        assert gateway.metric(SHARED % "kept") == 2
        gateway.wait_idle()


def node_answer(node, path, body):
    response = ask(("127.0.0.1", node.port), "POST", path, body)
    return response.status, response.body, response.get("Content-Type")


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"seed": -1}, {"temperature": None}])
def test_what_is_not_is_computed_each_time(options):
    with OllamaNode(MODEL) as node, Gateway(node, config=CACHE) as gateway:
        for _ in range(2):
            assert ask(gateway.http, "POST", "/api/generate", {**FIXED, "options": options}).status == 200
        assert len(node.of("/api/generate")) == 2


def test_it_can_be_turned_off():
    with OllamaNode(MODEL) as node, Gateway(node, config={"share": {"identical": "off"}}) as gateway:
        gates = [Gate(), Gate()]
        for gate in gates:
            node.next("/api/generate", [gate, *ndjson(*PARTS)])
        with HttpClient(gateway.http) as one, HttpClient(gateway.http) as two:
            for client, gate in zip((one, two), gates):
                client.request("POST", "/api/generate", FIXED)
                gate.wait_reached()
            for gate in gates:
                gate.open()
            for client in (one, two):
                assert client.response().status == 200


def test_who_accepts_something_else_is_answered_by_itself():
    gates = [Gate(), Gate()]
    with OllamaNode(MODEL) as node, Gateway(node) as gateway:
        for gate in gates:
            node.next("/api/generate", [gate, *ndjson(*PARTS)])
        with HttpClient(gateway.http) as one, HttpClient(gateway.http) as two:
            for client, gate, accepted in zip((one, two), gates, ("text/plain", "application/json")):
                client.request("POST", "/api/generate", FIXED, [("Accept", accepted)])
                gate.wait_reached()
            for gate in gates:
                gate.open()
            assert one.response().status == two.response().status == 200
        assert [r.get("Accept") for r in node.of("/api/generate")] == ["text/plain", "application/json"]


def test_the_node_hears_whose_request_it_is():
    with OllamaNode(MODEL) as node, Gateway(node) as gateway:
        ask(gateway.http, "POST", "/api/generate", FIXED, [("X-Request-Id", "mine")])
        assert node.of("/api/generate")[0].get("X-Request-Id") == "mine"
        told = ask(gateway.admin, "GET", "/admin/requests/mine").json()["requests"]
        events = {event["event"] for request in told for event in request["events"]}
        assert {"answer_shared", "head"} <= events


def test_where_it_stands_in_the_queue():
    with OllamaNode(MODEL) as node:
        nodes = {"nodes": [{"url": node.url, "name": node.name, "slots": 1}]}
        with Gateway(config=nodes) as gateway, HttpClient(gateway.http) as busy, HttpClient(gateway.http) as client:
            gate = Gate()
            node.next("/api/generate", [gate, *ndjson(*PARTS)])
            busy.request("POST", "/api/generate", {"model": MODEL, "prompt": "busy"})
            gate.wait_reached()
            client.request("POST", "/api/generate", {**FIXED, "stream": False})
            gateway.wait_metric("mcpgate_queue_waiting", 1)
            gate.open()
            assert busy.response().status == 200
            response = client.response()
            assert response.status == 200 and response.get("X-Mcpgate-Queue-Position") == "1"


def test_a_slow_reader_that_is_alone_slows_the_node_down():
    big = [{"model": MODEL, "response": "x" * 65536, "done": False}] * 128
    with OllamaNode(MODEL) as node, Gateway(node) as gateway, HttpClient(gateway.http, receive_buffer=4096) as client:
        node.next("/api/generate", ndjson(*big, PARTS[-1]))
        client.request("POST", "/api/generate", FIXED)
        wait_until(lambda: gateway.metric("mcpgate_backpressure_pauses_total") >= 2, "both stand still")
        assert gateway.metric('mcpgate_node_bytes_total{direction="in"}') < 4 * 1024 * 1024
        response = client.response()
        assert response.complete and len(response.lines()) == 129


def test_without_a_cache_nothing_is_kept():
    with OllamaNode(MODEL) as node, Gateway(node, config=SHARE) as gateway:
        for _ in range(2):
            assert ask(gateway.http, "POST", "/api/generate", FIXED).get("X-Mcpgate-Cache") is None
        assert len(node.of("/api/generate")) == 2
        assert gateway.metric("mcpgate_shared_kept_bytes") == 0


def test_kept_for_a_time_and_within_a_size():
    def calls(config):
        with OllamaNode(MODEL) as node, Gateway(node, config={"share": config, "reactor": {"mode": "single"}}) as gateway:
            for prompt in ("a", "b", "a"):
                ask(gateway.http, "POST", "/api/generate", {**FIXED, "prompt": prompt})
            gateway.wait_idle()
            return len(node.of("/api/generate"))
    assert calls({"cache": "1MiB", "identical": "client"}) == 2
    assert calls({"cache": "1MiB", "identical": "client", "cache_age": "1ms"}) == 3
    assert calls({"cache": "1MiB", "identical": "off"}) == 3


def test_embeddings_are_kept_too():
    with OllamaNode(MODEL) as node, Gateway(node, config=CACHE) as gateway:
        body = {"model": MODEL, "input": "x"}
        first = ask(gateway.http, "POST", "/api/embed", body)
        again = ask(gateway.http, "POST", "/api/embed", body)
        assert first.json() == again.json() and again.get("X-Mcpgate-Cache") == "hit"
        assert len(node.of("/api/embed")) == 1


def test_errors_are_shared_but_not_kept():
    error = {"error": "no such layer"}
    with OllamaNode(MODEL) as node, Gateway(node, config=CACHE) as gateway:
        gate = Gate()
        node.next("/api/generate", [gate, *answer(error, status=500)])
        with HttpClient(gateway.http) as one, HttpClient(gateway.http) as two:
            for client in (one, two):
                client.request("POST", "/api/generate", FIXED)
            wait_shared(gateway, "running", 1)
            gate.open()
            for client in (one, two):
                response = client.response()
                assert (response.status, response.json()) == (500, error)
        assert ask(gateway.http, "POST", "/api/generate", FIXED).status == 200
        node.next("/api/generate", ndjson(PARTS[0], CLOSE))
        body = {**FIXED, "prompt": "breaks off"}
        assert b'"error"' in ask(gateway.http, "POST", "/api/generate", body).body
        assert b'"error"' not in ask(gateway.http, "POST", "/api/generate", body).body


def test_each_key_has_its_own_unless_configured():
    keys = [{"name": name, "key": f"key-of-{name}"} for name in "xy"]
    for identical, calls in (("client", 2), ("all", 1)):
        config = {"keys": keys, "share": {"cache": "1MiB", "identical": identical}}
        with OllamaNode(MODEL) as node, Gateway(node, config=config) as gateway:
            for name in "xyxy":
                headers = [("Authorization", f"Bearer key-of-{name}")]
                assert ask(gateway.http, "POST", "/api/generate", FIXED, headers).status == 200
            assert len(node.of("/api/generate")) == calls
            gateway.wait_idle()


def test_who_leaves_does_not_stop_the_others_and_the_last_does():
    with held() as (node, gateway, gate), HttpClient(gateway.http) as one, McpClient(gateway.mcp):
        one.request("POST", "/api/generate", FIXED)
        gate.wait_reached()
        call = node.of("/api/generate")[0].connection
        two = HttpClient(gateway.http)
        two.request("POST", "/api/generate", FIXED)
        wait_shared(gateway, "running", 1)
        one.close()
        gateway.wait_access(lambda line: line["code"] == "cancelled")
        assert not call.gone.is_set()
        two.head()
        two.chunk()
        two.close()
        call.wait_gone()


def test_deadlines_of_sharers():
    with held() as (node, gateway, gate), McpClient(gateway.mcp) as client:
        client.request(1, FIXED)
        gate.wait_reached()
        client.request(2, {**FIXED, "mcp": {"deadline_ms": 50}})
        assert client.frame(2).json() == PARTS[0]
        assert client.frame(2).error()[0] == "deadline_exceeded"
        gate.open()
        assert [client.frame(1).json() for _ in PARTS] == PARTS


def test_an_idempotency_key_over_mcp():
    body = {"model": MODEL, "prompt": "hi", "mcp": {"idempotency_key": "k1"}}
    with held() as (node, gateway, gate), McpClient(gateway.mcp) as client:
        client.request(1, body)
        gate.wait_reached()
        client.request(2, {**body, "mcp": {"idempotency_key": "k1", "priority": "batch"}})  # mcp is not compared
        wait_shared(gateway, "key", 1)
        client.request(3, {**body, "prompt": "another"})
        assert client.frame(3).error()[0] == "bad_request"
        gate.open()
        for session in (1, 2):
            assert [client.frame(session).json() for _ in PARTS] == PARTS
        assert client.ask(body, session=4) == PARTS  # replayed
        client.request(3, {**body, "prompt": "another"})
        assert client.frame(3).error()[0] == "bad_request"
        assert len(node.of("/api/generate")) == 1
        assert "mcp" not in node.of("/api/generate")[0].json()
        assert client.ask({**body, "mcp": {"idempotency_key": "k2"}}, session=5) == PARTS
        assert len(node.of("/api/generate")) == 2


def test_an_idempotency_key_over_http():
    key = [("X-Mcpgate-Idempotency-Key", "k1")]
    messages = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    with OllamaNode(MODEL) as node, Gateway(node) as gateway:
        first = ask(gateway.http, "POST", "/api/chat", messages, key)
        again = ask(gateway.http, "POST", "/api/chat", messages, key)
        assert first.body == again.body and first.lines() == chat_parts(MODEL)
        assert len(node.of("/api/chat")) == 1
        other = ask(gateway.http, "POST", "/api/chat", {**messages, "think": False}, key)
        assert other.status == 400 and "idempotency key" in other.json()["error"]
        node.next("/api/chat", answer({"error": "busy"}, status=503))
        key = [("X-Mcpgate-Idempotency-Key", "k2")]
        assert ask(gateway.http, "POST", "/api/chat", messages, key).status == 503
        assert ask(gateway.http, "POST", "/api/chat", messages, key).status == 200  # errors are not kept
        gateway.wait_idle()


def test_an_idempotency_key_is_its_tenants():
    keys = [{"name": name, "key": f"key-of-{name}", "tenant": tenant} for name, tenant in (("x", "a"), ("y", "b"), ("z", "b"))]
    with OllamaNode(MODEL) as node, Gateway(node, config={"keys": keys}) as gateway:
        def ask_as(name, prompt):
            headers = [("Authorization", f"Bearer key-of-{name}"), ("X-Mcpgate-Idempotency-Key", "k")]
            return ask(gateway.http, "POST", "/api/generate", {"model": MODEL, "prompt": prompt}, headers).status
        assert [ask_as("x", "one"), ask_as("y", "another"), ask_as("z", "another"), ask_as("z", "one")] == [
            200, 200, 200, 400]
        assert len(node.of("/api/generate")) == 2


def test_an_idempotency_key_of_an_error_over_mcp():
    body = {"model": MODEL, "prompt": "hi", "mcp": {"idempotency_key": "k"}}
    with OllamaNode(MODEL) as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        node.next("/api/generate", answer({"error": "busy"}, status=503))
        node.next("/api/generate", ndjson(PARTS[0], {"error": "no more"}))
        for _ in range(2):
            client.request(1, body)
            frames = [client.frame(1).json()]
            while "error" not in frames[-1]:
                frames.append(client.frame(1).json())
        assert client.ask(body, session=1) == PARTS and client.ask(body, session=1) == PARTS
        assert len(node.of("/api/generate")) == 3


def test_answers_of_idempotency_keys_are_64_MiB_at_most():
    big = {"model": MODEL, "response": "x" * (7 * 1024 * 1024), "done": True, "done_reason": "stop"}
    with OllamaNode(MODEL) as node, Gateway(node, args=["--mode", "single"]) as gateway:
        node.always("/api/generate", lambda request: answer(big))

        def calls_for(key):
            before = len(node.of("/api/generate"))
            headers = [("X-Mcpgate-Idempotency-Key", f"k{key}")]
            body = {"model": MODEL, "prompt": "x", "stream": False}
            assert ask(gateway.http, "POST", "/api/generate", body, headers).status == 200
            return len(node.of("/api/generate")) - before
        assert [calls_for(key) for key in range(10)] == [1] * 10
        assert gateway.metric("mcpgate_shared_kept_bytes") <= 64 * 1024 * 1024
        assert [calls_for(key) for key in (9, 2, 0)] == [0, 0, 1]


def test_an_idempotency_key_of_what_must_not_run_twice():
    with OllamaNode(MODEL) as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        body = {"op": "copy", "idempotency_key": "k"}
        for session in (1, 2):
            client.request(session, {"source": MODEL, "destination": "copy", "mcp": body})
            assert client.frame(session).json() == {}
        assert len(node.of("/api/copy")) == 1


def test_an_idempotency_key_to_a_route():
    routes = {"any": {"arms": [{"model": MODEL, "weight": 1}, {"model": "other", "weight": 1}]}}
    with OllamaNode(MODEL, "other") as node, Gateway(node, config={"routes": routes}) as gateway:
        key = [("X-Mcpgate-Idempotency-Key", "k1")]
        answers = {ask(gateway.http, "POST", "/api/generate", {**FIXED, "model": "any"}, key).body for _ in range(5)}
        assert len(answers) == 1 and len(node.of("/api/generate")) == 1
        assert node.of("/api/generate")[0].json()["model"] in (MODEL, "other")
        for _ in range(2):  # without a key they are computed each time
            ask(gateway.http, "POST", "/api/generate", {**FIXED, "model": "any"})
        assert len(node.of("/api/generate")) == 3


def test_a_slow_reader_does_not_hold_up_the_other():
    big = [{"model": MODEL, "response": "x" * 65536, "done": False}] * 64
    script = ndjson(*big, PARTS[-1])
    with OllamaNode(MODEL) as node, Gateway(node, config=SHARE) as gateway:
        gate = Gate()
        node.next("/api/generate", [gate, *script])
        with HttpClient(gateway.http, receive_buffer=4096) as slow, HttpClient(gateway.http) as fast:
            for client in (slow, fast):
                client.request("POST", "/api/generate", FIXED)
            wait_shared(gateway, "running", 1)
            gate.open()
            assert fast.response().complete
            gateway.wait_access(lambda line: line["code"] == "ok")
        gateway.wait_idle()
