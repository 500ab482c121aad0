# SPDX-License-Identifier: Apache-2.0
"""Answers that go in one piece are collected first, whatever credit there is: large ones take of the memory for bodies."""
from gateway import Gateway
from http_bytes import ask, wait_until
from mcp_client import McpClient
from node import Gate, answer, chunk, head_of
from ollama_node import OllamaNode

MIB = 1 << 20
SHOW = {"mcp": {"op": "show"}, "model": "m"}
LARGE = {"template": "x" * (2 * MIB)}


def test_they_are_bounded_together_and_give_it_back():
    config = {"limits": {"body_memory": "1MiB", "max_body": "1MiB"}}
    with OllamaNode() as node, Gateway(node, config=config) as gateway, McpClient(gateway.mcp) as client:
        node.next("/api/show", answer(LARGE))
        assert client.error(SHOW)[0] == "queue_full"
        gateway.wait_metric("mcpgate_body_bytes", 0)
        node.next("/api/show", answer({"template": "x" * 300000}))
        assert len(client.ask(SHOW, single=True)[0]["template"]) == 300000
        gateway.wait_metric("mcpgate_body_bytes", 0)
        node.next("/api/show", answer(LARGE))
        assert len(ask(gateway.http, "POST", "/api/show", {"model": "m"}).body) > 2 * MIB  # it is passed on as it comes


def test_what_is_held_is_seen_while_it_is():
    gate = Gate()
    with OllamaNode() as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        node.next("/api/show", [head_of(chunked=True), chunk(b'{"template":"' + b"x" * MIB), gate, chunk(b'"}'),
                                b"0\r\n\r\n"])
        client.request(1, SHOW)
        gate.wait_reached()
        wait_until(lambda: gateway.metric("mcpgate_body_bytes") > MIB, "it is held")
        gate.open()
        assert len(client.frame(1).payload) > MIB
        gateway.wait_metric("mcpgate_body_bytes", 0)
