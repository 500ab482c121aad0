# SPDX-License-Identifier: Apache-2.0
"""A client that leaves, a deadline that passes, a client that does not read: the node's connection closes at once,
and nobody else notices."""
import os
import time

import pytest

from gateway import Gateway
from http_bytes import wait_steady
from mcp_client import McpClient
from node import HANG, NDJSON, flood, head_of, ndjson, pause
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
CANCELLED = 'mcpgate_exchanges_total{outcome="cancelled"}'
FIRST = generate_parts("m")[0]
LEAVE = {"FIN": McpClient.close, "RST": McpClient.reset, "half-close": McpClient.half_close}
leaving = pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)


# --- the client leaves ----------------------------------------------------------------------------
@leaving
@pytest.mark.parametrize("body", [GENERATE, {**GENERATE, "stream": False}, {"model": "m", "input": "a"},
                                  {"model": "m", "mcp": {"op": "pull"}}],
                         ids=["generate", "generate whole", "embed", "pull"])
def test_a_client_that_leaves_before_the_answer_stops_the_node(gateway, node, leave, body):
    path = {"input": "/api/embed", "mcp": "/api/pull"}.get(list(body)[-1], "/api/generate")
    before = gateway.metric(CANCELLED)
    node.next(path, [HANG])
    with McpClient(gateway.mcp) as client:
        client.request(1, body)
        connection = node.wait_request(path).connection
        leave(client)
        connection.wait_gone()
    gateway.wait_metric(CANCELLED, before + 1)


@leaving
def test_a_client_that_leaves_within_the_answer_stops_the_node(gateway, node, leave):
    node.next("/api/generate", ndjson(FIRST, HANG))
    with McpClient(gateway.mcp) as client:
        client.request(1, GENERATE)
        assert client.frame().json() == FIRST
        leave(client)
        node.wait_request("/api/generate").connection.wait_gone()


@leaving
def test_a_client_that_leaves_while_tokens_come_stops_the_node(gateway, node, leave):
    node.next("/api/generate", ndjson(*[FIRST, pause(0.002)] * 5000))
    with McpClient(gateway.mcp) as client:
        client.request(1, GENERATE)
        for _ in range(3):
            client.frame()
        leave(client)
        node.wait_request("/api/generate").connection.wait_gone()


@leaving
def test_all_sessions_of_a_client_that_leaves_end(gateway, node, leave):
    node.next("/api/generate", *[ndjson(FIRST, HANG)] * 5)
    with McpClient(gateway.mcp) as client, McpClient(gateway.mcp) as other:
        for session in range(1, 5):
            client.request(session, GENERATE)
            assert client.frame().session == session
        other.request(1, GENERATE)
        assert other.frame().session == 1
        leave(client)
        for request in node.of("/api/generate")[:4]:
            request.connection.wait_gone()
        gateway.wait_metric("mcpgate_exchanges_running", 1)
        assert not node.of("/api/generate")[4].connection.gone.is_set()
    node.of("/api/generate")[4].connection.wait_gone()


def test_it_is_counted_and_logged_as_cancelled(gateway, node):
    before = gateway.metric(CANCELLED)
    node.next("/api/chat", ndjson({"message": {"content": "a"}}, HANG))
    with McpClient(gateway.mcp) as client:
        client.request(1, {"model": "llama3:8b", "messages": [{"role": "user", "content": "a"}]})
        client.frame()
    line = gateway.wait_access(lambda line: line.get("model") == "llama3:8b")
    assert (line["code"], line["op"], line["parts"]) == ("cancelled", "chat", "1")
    assert gateway.metric(CANCELLED) == before + 1


def test_the_connection_of_a_cancelled_call_is_not_used_again(gateway, mcp, node):
    node.next("/api/generate", ndjson(FIRST, HANG))
    with McpClient(gateway.mcp) as client:
        client.request(1, GENERATE)
        client.frame()
        cut = node.wait_request("/api/generate").connection
    cut.wait_gone()
    mcp.ask(GENERATE)
    assert node.wait_request("/api/generate", 2).connection is not cut


# --- deadlines ------------------------------------------------------------------------------------
@pytest.mark.parametrize("script, parts", [([HANG], 0), (ndjson(FIRST, HANG), 1)], ids=["before", "within"])
def test_a_deadline_ends_the_exchange_and_the_call(mcp, node, script, parts):
    node.next("/api/generate", script)
    began = time.monotonic()
    mcp.request(1, {**GENERATE, "mcp": {"deadline_ms": 200}})
    frames = mcp.parts()
    assert 0.2 <= time.monotonic() - began < 3
    assert len(frames) == parts + 1
    assert frames[-1].error()[0] == "deadline_exceeded" and frames[-1].json()["retryable"] is False
    node.wait_request("/api/generate").connection.wait_gone()
    assert mcp.ask(GENERATE)[-1]["done"] is True


def test_an_answer_within_its_deadline_is_whole(mcp):
    assert mcp.ask({**GENERATE, "mcp": {"deadline_ms": 60000}}) == generate_parts("m")


# --- a client that does not read ------------------------------------------------------------------
MIB = 1 << 20
BIG = b'{"response":"%s"}\n' % (b"x" * 65000)


@pytest.fixture(scope="module")
def lean():
    """A gateway whose memory can be judged: AddressSanitizer keeps freed memory back otherwise."""
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    with OllamaNode() as node, Gateway(node, env={"ASAN_OPTIONS": options}) as gateway:
        yield node, gateway


def test_a_client_that_does_not_read_stops_its_node_and_costs_bounded_memory(lean):
    node, gateway = lean
    with McpClient(gateway.mcp) as warm:
        warm.ask(GENERATE)
    before = gateway.rss_bytes()
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(BIG)])
    with McpClient(gateway.mcp, receive_buffer=65536) as client:
        client.request(1, GENERATE)
        connection = node.wait_request("/api/generate", 2).connection
        wait_steady(lambda: connection.sent)
        assert gateway.rss_bytes() - before < 24 * MIB
        assert gateway.metric("mcpgate_backpressure_pauses_total") > 0
        # Others are served meanwhile, on the same node.
        with McpClient(gateway.mcp) as other:
            for _ in range(20):
                assert other.ask(GENERATE)[-1]["done"] is True
        assert not connection.gone.is_set()
    connection.wait_gone()
    node.forget()


def test_what_was_held_back_comes_whole_when_the_client_reads_again(lean):
    node, gateway = lean
    count = 400
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(BIG, limit=count),
                                b"d\r\n{\"done\":true}\r\n0\r\n\r\n"])
    with McpClient(gateway.mcp, receive_buffer=65536) as client:
        client.request(1, GENERATE)
        connection = node.wait_request("/api/generate").connection
        wait_steady(lambda: connection.sent)
        frames = client.parts()
        assert len(frames) == count + 1
        assert all(frame.payload == BIG[:-1] for frame in frames[:-1])
    node.forget()


def test_a_client_that_reads_nothing_for_too_long_is_cancelled():
    with OllamaNode() as node, Gateway(node, config={"timeouts": {"client_stall": "500ms"}}) as gateway:
        node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(BIG)])
        with McpClient(gateway.mcp, receive_buffer=65536) as client:
            client.request(1, GENERATE)
            connection = node.wait_request("/api/generate").connection
            connection.wait_gone(10)
            assert gateway.wait_access(lambda line: line["op"] == "generate")["code"] == "cancelled"
            assert gateway.metric("mcpgate_client_stalls_total") == 1


def test_a_client_that_reads_slowly_is_not_cancelled_and_its_node_not_blamed():
    """It takes longer than client_stall in all, and longer than a node may be silent."""
    config = {"timeouts": {"client_stall": "2s", "idle": "1s"}}
    with OllamaNode() as node, Gateway(node, config=config) as gateway:
        node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(BIG, limit=200),
                                    b"d\r\n{\"done\":true}\r\n0\r\n\r\n"])
        with McpClient(gateway.mcp, receive_buffer=16384) as client:
            client.request(1, GENERATE)
            frames = 0
            while client.frame().payload != b'{"done":true}':
                frames += 1
                if frames % 20 == 0:
                    time.sleep(0.3)  # a reader that takes its time is what is tested
            assert frames == 200


def test_a_client_that_sends_without_reading_is_no_longer_read():
    """Over 64 KiB of unsent answers to heartbeats the gateway stops reading; nothing grows."""
    with OllamaNode() as node, Gateway(node) as gateway:
        before = gateway.rss_bytes()
        with McpClient(gateway.mcp, receive_buffer=8192) as client:
            client.sock.settimeout(1)
            sent, beat = 0, bytes.fromhex("01030000000100000040") + b"x" * 64
            try:
                while sent < 64 * MIB:
                    client.send(beat * 1000)
                    sent += 74000
            except TimeoutError:
                pass
            assert sent < 32 * MIB, "it reads on and on"
            assert gateway.rss_bytes() - before < 16 * MIB
            with McpClient(gateway.mcp) as other:
                other.ping()
