# SPDX-License-Identifier: Apache-2.0
"""HTTP clients that leave, that do not read, and a gateway that is told to stop."""
import os

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_steady
from node import HANG, LAST_CHUNK, NDJSON, SSE, Gate, chunk, flood, head_of, ndjson, pause, stream
from ollama_node import OllamaNode, generate_parts
from openai_node import MODEL, OpenaiNode

MIB = 1 << 20
BODY = {"model": "m", "prompt": "a", "messages": [{"role": "user", "content": "a"}], "input": "a", "max_tokens": 9}
FIRST, *REST = generate_parts("m")
LEAVE = {"FIN": HttpClient.close, "RST": HttpClient.reset, "half-close": HttpClient.half_close}
CANCELLED = 'mcpgate_exchanges_total{outcome="cancelled"}'
leaving = pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)


@pytest.fixture(scope="module")
def the_gateway(the_node):
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    with Gateway(the_node, env={"ASAN_OPTIONS": options}) as gateway:
        yield gateway


# --- the client leaves ----------------------------------------------------------------------------
@leaving
@pytest.mark.parametrize("path, stream", [
    ("/api/generate", True), ("/api/generate", False), ("/v1/chat/completions", True), ("/v1/chat/completions", False),
    ("/v1/messages", True), ("/api/embed", None), ("/v1/embeddings", None), ("/api/pull", True)])
def test_a_client_that_leaves_before_the_answer_stops_the_node(gateway, node, leave, path, stream):
    before = gateway.metric(CANCELLED)
    node.next(path, [HANG])
    with HttpClient(gateway.http) as client:
        client.request("POST", path, BODY if stream is None else {**BODY, "stream": stream})
        connection = node.wait_request(path).connection
        leave(client)
        connection.wait_gone()
    gateway.wait_metric(CANCELLED, before + 1)


@leaving
def test_a_client_that_leaves_behind_the_end_mark_cancelled_nothing(gateway, node, leave):
    gate = Gate()
    node.next("/v1/chat/completions", stream(b"data: {}\n\n", b"data: [DONE]\n\n", gate, content_type=SSE))
    with HttpClient(gateway.http) as client:
        client.request("POST", "/v1/chat/completions", {"model": "m", "messages": [], "stream": True})
        ident = client.head().get("X-Request-Id")
        assert [client.chunk(), client.chunk()] == [b"data: {}\n\n", b"data: [DONE]\n\n"]
        leave(client)
        line = gateway.wait_access(lambda line: line["id"] == ident)
    assert (line["code"], line["parts"]) == ("ok", "2")
    connection = node.wait_request("/v1/chat/completions").connection
    assert not connection.gone.is_set()  # the end of the framing is awaited, and it is as good as ever
    gate.open()


@leaving
@pytest.mark.parametrize("path, kind", [("/api/generate", NDJSON), ("/v1/chat/completions", SSE)])
def test_a_client_that_leaves_within_a_stream_stops_the_node(gateway, node, leave, path, kind):
    part = b'{"response":"a"}\n' if kind == NDJSON else b'data: {"a":1}\n\n'
    node.next(path, [head_of(content_type=kind, chunked=True), *[chunk(part), pause(0.002)] * 5000])
    with HttpClient(gateway.http) as client:
        client.request("POST", path, {**BODY, "stream": True})
        client.head()
        assert [client.chunk() for _ in range(3)] == [part] * 3
        leave(client)
        node.wait_request(path).connection.wait_gone()


@leaving
def test_a_client_that_leaves_while_it_holds_a_pipelined_request_stops_the_node(gateway, node, leave):
    """The second request is held back unread; that must not hide the end."""
    node.next("/api/generate", [HANG])
    with HttpClient(gateway.http) as client:
        client.send(client.bytes_of("POST", "/api/generate", BODY) + client.bytes_of("GET", "/api/ps"))
        connection = node.wait_request("/api/generate").connection
        leave(client)
        connection.wait_gone()
    assert node.of("/api/ps") == []


@leaving
def test_a_client_that_leaves_while_it_does_not_read_stops_the_node(gateway, node, leave):
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(b'{"a":"%s"}\n' % (b"x" * 50000))])
    with HttpClient(gateway.http, receive_buffer=65536) as client:
        client.request("POST", "/api/generate", BODY)
        connection = node.wait_request("/api/generate").connection
        wait_steady(lambda: connection.sent)
        leave(client)
        connection.wait_gone()


# --- the client does not read ---------------------------------------------------------------------
@pytest.mark.parametrize("path, kind, part, end", [
    ("/api/generate", NDJSON, b'{"a":"%s"}\n' % (b"x" * 65000), b'{"done":true}\n'),
    ("/v1/chat/completions", SSE, b'data: {"a":"%s"}\n\n' % (b"x" * 65000), b"data: [DONE]\n\n"),
    ("/api/show", "application/json", b"x" * 65000, b"y")])
def test_a_client_that_does_not_read_stops_its_exchange_alone(gateway, node, path, kind, part, end):
    """Memory stays bounded, others are served, and all of it comes once the client reads again."""
    count = 500
    before = gateway.rss_bytes()
    node.next(path, [head_of(content_type=kind, chunked=True), flood(part, count), chunk(end) + LAST_CHUNK])
    with HttpClient(gateway.http, receive_buffer=65536) as client:
        client.request("POST", path, {**BODY, "stream": True})
        connection = node.wait_request(path).connection
        wait_steady(lambda: connection.sent)
        assert connection.sent < count * len(part), "nothing holds the node back"
        assert gateway.rss_bytes() - before < 16 * MIB
        for _ in range(20):
            assert ask(gateway.http, "POST", "/api/chat", BODY).complete
        assert client.response().body == part * count + end
    assert gateway.metric("mcpgate_backpressure_pauses_total") > 0


def test_a_client_that_reads_nothing_for_too_long_is_cut():
    with OllamaNode() as node, Gateway(node, config={"timeouts": {"client_stall": "500ms"}}) as gateway:
        part = b'{"a":"%s"}\n' % (b"x" * 65000)
        node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(part)])
        with HttpClient(gateway.http, receive_buffer=65536) as client:
            client.request("POST", "/api/generate", BODY)
            node.wait_request("/api/generate").connection.wait_gone(10)
            assert gateway.wait_access(lambda line: line["path"] == "/api/generate")["code"] == "cancelled"
            assert gateway.metric("mcpgate_client_stalls_total") == 1
            response = client.response()
            assert not response.complete  # what was on its way, and no end


# --- the gateway stops ----------------------------------------------------------------------------
def test_sigterm_lets_answers_end_and_says_close():
    with OllamaNode() as node:
        gateway, gate = Gateway(node), Gate()
        try:
            node.next("/api/generate", ndjson(FIRST, gate, *REST))
            with HttpClient(gateway.http) as client, HttpClient(gateway.http) as idle:
                idle.request("GET", "/api/version")
                idle.response()
                client.request("POST", "/api/generate", BODY)
                response = client.head()
                client.chunk()
                gateway.terminate()
                assert idle.closed() == b""
                assert ask(gateway.admin, "GET", "/healthz").status == 200
                assert ask(gateway.admin, "GET", "/readyz").status == 503
                gate.open()
                client.finish(response)
                assert (response.complete, len(response.chunks)) == (True, len(REST))
                client.sock.settimeout(2)  # at once, not when the process ends
                assert client.closed() == b""
            gateway.wait_exit()
        finally:
            gateway.kill()


@pytest.mark.parametrize("path, first", [("/api/generate", FIRST), ("/v1/chat/completions", None),
                                         ("/v1/messages", None)])
def test_at_the_drain_timeout_what_is_left_is_told(path, first):
    with OllamaNode() as node:
        gateway = Gateway(node, config={"timeouts": {"drain": "300ms"}})
        try:
            node.next(path, ndjson(first, HANG) if first else [HANG])
            with HttpClient(gateway.http) as client:
                client.request("POST", path, BODY)
                node.wait_request(path)
                response = client.head() if first else None
                if first:
                    client.chunk()
                gateway.terminate()
                if first:
                    client.finish(response)
                    assert "shutting down" in response.lines()[-1]["error"]
                else:
                    response = client.response()
                    assert response.status == 503 and "shutting down" in str(response.json()["error"])
            gateway.wait_exit()
        finally:
            gateway.kill()


@pytest.mark.parametrize("node_class, path", [(OllamaNode, "/api/generate"), (OllamaNode, "/v1/chat/completions"),
                                              (OpenaiNode, "/api/generate")])
def test_a_nodes_status_is_not_that_of_an_error_of_the_gateway(node_class, path):
    """The node has begun to say 429 when the time is up; nothing of that went out."""
    with node_class() as node:
        gateway = Gateway(node, config={"timeouts": {"drain": "300ms"}})
        asked = "/v1/chat/completions" if node_class is OpenaiNode else path
        gate = Gate()
        try:
            node.next(asked, [head_of(429, length=100), gate, HANG])
            with HttpClient(gateway.http) as client:
                client.request("POST", path, {**BODY, "model": MODEL if node_class is OpenaiNode else "m"})
                gate.wait_reached()
                gate.open()
                gateway.terminate()
                response = client.response()
                assert response.status == 503 and "shutting down" in str(response.json()["error"])
            gateway.wait_exit()
        finally:
            gateway.kill()
