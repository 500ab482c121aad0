# SPDX-License-Identifier: Apache-2.0
"""Errors that the gateway itself answers have a size too: `bytes_out` of the access log, and of `why`."""
import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask
from mcp_client import McpClient
from mcp_negotiated import Negotiated
from node import CLOSE, Gate, ndjson
from ollama_node import OllamaNode

GENERATE = {"model": "m", "prompt": "a"}


@pytest.fixture(scope="module")
def node():
    with OllamaNode() as node:
        yield node


@pytest.fixture(scope="module")
def gateway(node):
    with Gateway(node) as gateway:
        yield gateway


def bytes_out(gateway, ident):
    line = gateway.wait_access(lambda line: line["id"] == ident)
    told = ask(gateway.admin, "GET", f"/admin/requests/{ident}").json()["requests"]
    assert all(request["bytes_out"] == int(line["bytes_out"]) for request in told)
    return int(line["bytes_out"])


@pytest.mark.parametrize("method, path, body, status", [
    ("POST", "/api/generate", {"model": "none", "prompt": "a"}, 404), ("POST", "/api/chat", b"nonsense", 400),
    ("POST", "/v1/messages", {"model": "none", "messages": []}, 404)])
def test_over_http(gateway, method, path, body, status):
    response = ask(gateway.http, method, path, body, [("X-Request-Id", f"r{path}".replace("/", "."))])
    assert response.status == status
    assert bytes_out(gateway, f"r{path}".replace("/", ".")) == len(response.body)


def test_an_answer_to_head_has_no_body():
    with Gateway("http://127.0.0.1:1", wait=False) as gateway:
        assert ask(gateway.http, "HEAD", "/api/version", headers=[("X-Request-Id", "head")]).status == 503
        assert bytes_out(gateway, "head") == 0


def test_of_a_host_that_is_refused(gateway):
    with HttpClient(gateway.http) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\nX-Request-Id: evil\r\n\r\n")
        body = client.response("GET").body
    assert int(gateway.wait_access(lambda line: line["id"] == "evil")["bytes_out"]) == len(body) > 0


def test_behind_the_parts_of_a_stream(gateway, node):
    node.next("/api/generate", ndjson({"response": "a"}, CLOSE))
    response = ask(gateway.http, "POST", "/api/generate", GENERATE, [("X-Request-Id", "broken")])
    assert b"error" in response.chunks[-1]
    assert bytes_out(gateway, "broken") == len(response.body)


def test_over_mcp(gateway):
    with McpClient(gateway.mcp) as client:
        client.request(1, {"model": "none", "prompt": "a", "mcp": {"tags": {"request_id": "m1"}}})
        frame = client.frame()
    assert frame.error()[0] == "unknown_model"
    assert bytes_out(gateway, "m1") == len(frame.payload)


def test_of_what_was_cancelled():
    gate = Gate()
    with OllamaNode() as node, Gateway(node) as gateway:
        node.next("/api/generate", ndjson({"response": "a"}, gate))
        with Negotiated(gateway.mcp, "cancel") as client:
            client.request(1, GENERATE | {"mcp": {"tags": {"request_id": "c1"}}})
            part = client.frame(1)
            client.cancel(1)
            last = client.frame(1)
            assert last.error()[0] == "cancelled"
            assert bytes_out(gateway, "c1") == len(part.payload) + len(last.payload)


def test_nothing_is_counted_for_who_has_left(gateway, node):
    gate = Gate()
    node.next("/api/generate", [gate])
    with McpClient(gateway.mcp) as client:
        client.request(1, GENERATE | {"mcp": {"tags": {"request_id": "gone"}}})
        gate.wait_reached()
    assert bytes_out(gateway, "gone") == 0
    gate.open()
