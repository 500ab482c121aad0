# SPDX-License-Identifier: Apache-2.0
"""A page whose name was made to resolve to this machine gets nothing from a gateway that asks for no key."""
from gateway import Gateway
from http_bytes import HttpClient
from ollama_node import OllamaNode

KEYS = {"keys": [{"name": "k", "key": "0123456789abcdef"}]}


def status(address, host, path="/api/tags", headers=()):
    lines = "".join(f"{name}: {value}\r\n" for name, value in [("Host", host), *headers])
    with HttpClient(address) as client:
        client.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return client.response("GET").status


def test_a_foreign_host_is_refused_on_loopback():
    with OllamaNode() as node, Gateway(node) as gateway:
        assert [status(gateway.http, host) for host in ("localhost", "127.0.0.1:1", "")] == [200] * 3
        assert status(gateway.http, "evil.example:11435") == 403
        assert status(gateway.http, "evil.example", "/") == 403
        assert status(gateway.admin, "evil.example", "/metrics") == 403
        assert status(gateway.admin, "localhost", "/metrics") == 200
        assert len(node.of("/api/tags")) == 3
        line, _ = [line for line in gateway.access() if line["status"] == "403"]
        assert (line["code"], line["path"], line["client"]) == ("unauthorized", "/api/tags", "127.0.0.1")


def test_with_keys_any_host_is_served():
    with OllamaNode() as node, Gateway(node, config=KEYS) as gateway:
        key = [("Authorization", "Bearer 0123456789abcdef")]
        assert status(gateway.http, "ai.example", headers=key) == 200
        assert status(gateway.http, "ai.example") == 401
