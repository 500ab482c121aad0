# SPDX-License-Identifier: Apache-2.0
"""Clients that do nothing cannot take all descriptors: those that are served still reach the nodes."""
import contextlib
import resource

from gateway import Gateway
from http_bytes import ask, wait_until
from mcp_client import McpClient
from node import Gate, ndjson
from ollama_node import OllamaNode


SINGLE = {"reactor": {"mode": "single"}}  # each loop has descriptors of its own


def test_idle_connections_leave_descriptors_for_those_to_nodes():
    with (OllamaNode() as node, Gateway(node, config=SINGLE, open_files=64) as gateway,
          contextlib.ExitStack() as stack):
        client, gate = McpClient(gateway.mcp), Gate()
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


def test_no_descriptor_for_a_node_is_no_lack_of_memory_and_operators_still_see_it():
    with OllamaNode() as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        gate = Gate()
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        node.always("/api/generate", ndjson({"response": "a"}, gate, {"done": True}))
        for session in range(1, 65):  # one connection of a client, as many to the node as there can be
            client.request(session, {"model": "m", "prompt": "hi"})
        frames = [client.frame() for _ in range(64)]
        refused = [frame.error() for frame in frames if frame.error()]
        served = [frame for frame in frames if not frame.error()]
        assert served and set(refused) == {
            ("queue_full", "no file descriptor is left for a connection to the node")}
        assert gateway.metric("mcpgate_node_descriptor_failures_total") >= len(refused)
        assert ask(gateway.admin, "GET", "/readyz").status == 200  # the node is as well as ever
        gate.open()
        assert [client.frame().json() for _ in served] == [{"done": True}] * len(served)
        client.request(65, {"model": "m", "prompt": "hi"})
        assert client.frame().json() == {"response": "a"}
