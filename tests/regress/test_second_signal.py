# SPDX-License-Identifier: Apache-2.0
"""A second SIGTERM ends the waiting for clients that keep their side of an idle connection open."""
import time

from gateway import Gateway
from http_bytes import HttpClient, wait_until
from mcp_client import McpClient
from ollama_node import OllamaNode


def test_a_second_signal_does_not_wait_for_idle_clients():
    with OllamaNode() as node:
        gateway = Gateway(node)
        with McpClient(gateway.mcp) as mcp, HttpClient(gateway.http) as http:
            mcp.ping()
            http.request("GET", "/api/version")
            assert http.response().status == 200
            gateway.terminate()
            wait_until(lambda: "event=drain" in gateway.errors(), "the first one arrived")
            began = time.monotonic()
            gateway.terminate()
            gateway.wait_exit()
            assert time.monotonic() - began < 2  # with one: 2.5 s
