# SPDX-License-Identifier: Apache-2.0
"""What MCP clients can make the gateway hold in memory is bounded, and given back."""
import contextlib
import os

from gateway import Gateway
from http_bytes import wait_until
from mcp_client import REQUEST, McpClient, encode
from ollama_node import OllamaNode

HEALTH = {"mcp": {"op": "health"}}
MIB = 1 << 20


def frame_of(size):
    body = b'{"model":"m","prompt":"%s","stream":false}'
    return encode(REQUEST, 1, body % (b"x" * (size - len(body) + 2)))


def test_an_idle_connection_does_not_keep_its_last_request():
    # What a sanitizer puts aside before it frees it would count.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}
    with OllamaNode() as node, Gateway(node, env=env) as gateway, contextlib.ExitStack() as stack:
        before, frame = gateway.rss_bytes(), frame_of(8 * MIB)
        for _ in range(12):
            client = stack.enter_context(McpClient(gateway.mcp))
            client.send(frame)
            assert client.frame().json()["done"] is True
        wait_until(lambda: gateway.rss_bytes() - before < 40 * MIB,
                   lambda: f"{(gateway.rss_bytes() - before) / MIB} MiB more")


def test_unfinished_frames_count_as_request_bodies():
    with OllamaNode() as node, contextlib.ExitStack() as stack:
        gateway = stack.enter_context(Gateway(node, config={"limits": {"body_memory": "4MiB", "max_body": "4MiB"}}))
        clients = [stack.enter_context(McpClient(gateway.mcp)) for _ in range(3)]
        frame = frame_of(3 * MIB)
        clients[0].send(frame[:-1])
        gateway.wait_metric("mcpgate_body_bytes", 3 * MIB)
        clients[1].send(frame[:-1])
        refusal = clients[1].frame()
        assert (refusal.session, refusal.error()[0]) == (1, "queue_full")
        assert gateway.metric("mcpgate_body_memory_refusals_total") == 1
        clients[1].send(frame[-1:])  # the end of what was skipped
        clients[1].ping()
        clients[0].send(frame[-1:])
        assert clients[0].frame().json()["done"] is True
        gateway.wait_metric("mcpgate_body_bytes", 0)
        assert clients[1].ask({"model": "m", "prompt": "hi"})[-1]["done"] is True
        clients[2].send(frame[:-1])
        gateway.wait_metric("mcpgate_body_bytes", 3 * MIB)
        clients[2].close()
        gateway.wait_metric("mcpgate_body_bytes", 0)


def test_answers_of_the_gateway_itself_wait_for_a_client_that_does_not_read():
    models = [f"model-{i:03}-{'x' * 100}:latest" for i in range(500)]
    with OllamaNode(*models) as node, Gateway(node) as gateway, McpClient(gateway.mcp, receive_buffer=4096) as client:
        count = 1000  # 60 KB each
        for session in range(1, count + 1):
            client.request(session, HEALTH)
        gateway.wait_metric('mcpgate_mcp_frames_total{direction="in"}', count)
        assert gateway.metric("mcpgate_exchanges_running") > 0
        assert gateway.metric('mcpgate_client_bytes_total{direction="out"}') < 16 * MIB  # the kernel's share
        sessions = {client.frame().session for _ in range(count)}
        assert sessions == set(range(1, count + 1))
        gateway.wait_idle()


def test_who_shows_no_key_takes_nothing_of_the_memory_for_requests():
    config = {"keys": [{"name": "k", "key": "0123456789abcdef"}]}
    with OllamaNode() as node, Gateway(node, config=config) as gateway, McpClient(gateway.mcp) as client:
        client.send(frame_of(60000)[:-1])
        wait_until(lambda: gateway.metric('mcpgate_client_bytes_total{direction="in"}') >= 59999, "it came")
        assert gateway.metric("mcpgate_body_bytes") == 0
        client.send(frame_of(60000)[-1:])
        assert client.frame().error()[0] == "unauthorized"
        gateway.wait_metric("mcpgate_body_bytes", 0)
