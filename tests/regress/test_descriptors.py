# SPDX-License-Identifier: Apache-2.0
"""Clients that do nothing cannot take all descriptors: those that are served still reach the nodes."""
import contextlib
import resource

from gateway import Gateway
from http_bytes import wait_until
from mcp_client import McpClient
from node import Gate, ndjson
from ollama_node import OllamaNode


def test_idle_connections_leave_descriptors_for_those_to_nodes():
    with OllamaNode() as node, Gateway(node) as gateway, contextlib.ExitStack() as stack:
        client, gate = McpClient(gateway.mcp), Gate()
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        idle = [stack.enter_context(McpClient(gateway.mcp)) for _ in range(60)]
        wait_until(lambda: "accept_failed" in gateway.errors(), "it takes no more")
        accepted = int(gateway.metric('mcpgate_connections_open{face="mcp"}'))
        assert 30 < accepted < 49
        for session in range(1, 9):
            node.next("/api/generate", ndjson({"response": "a"}, gate, {"done": True}))
            client.request(session, {"model": "m", "prompt": "hi"})
        assert [client.frame().json() for _ in range(8)] == [{"response": "a"}] * 8
        gate.open()
        assert [client.frame().json() for _ in range(8)] == [{"done": True}] * 8
        client.close()
        for other in idle[:accepted - 1]:
            other.close()
        idle[-1].ping()  # the last one in the queue is served now
