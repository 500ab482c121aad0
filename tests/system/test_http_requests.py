# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.x itself: versions, keep-alive, pipelining, framing of requests, and a node that is the gateway. What is
malformed is in test_hostile_http.py."""
import json

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient
from node import Gate, ndjson
from ollama_node import OllamaNode, chat_parts, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
BODY = json.dumps(GENERATE).encode()


@pytest.fixture
def client(gateway):
    with HttpClient(gateway.http) as client:
        yield client


# --- keep-alive and pipelining --------------------------------------------------------------------
def test_one_connection_carries_many_requests(client, node):
    for method, path, body in [
            ("POST", "/api/generate", GENERATE), ("GET", "/api/tags", None), ("GET", "/nothing", None),
            ("HEAD", "/api/version", None), ("POST", "/api/generate", b"{"),
            ("POST", "/api/generate", {"model": "none"}), ("DELETE", "/api/delete", {"model": "m"}),
            ("POST", "/v1/chat/completions", {**GENERATE, "messages": [], "stream": True})]:
        client.request(method, path, body)
        assert client.response().complete
    client.request("GET", "/api/version")
    assert client.response().status == 200


def test_connection_close_closes_behind_the_answer(client):
    client.request("POST", "/api/generate", GENERATE, [("Connection", "close")])
    response = client.response()
    assert (response.complete, response.get("Connection")) == (True, "close")
    assert client.closed() == b""


def test_pipelined_requests_are_answered_in_order(client, node):
    gate = Gate()
    node.next("/api/chat", ndjson(gate, *chat_parts("m")))
    requests = [("POST", "/api/chat", {"model": "m", "messages": [{"role": "user", "content": "a"}]}),
                ("GET", "/api/version", None), ("POST", "/api/generate", GENERATE), ("GET", "/nothing", None)]
    client.send(b"".join(client.bytes_of(*request) for request in requests))
    gate.wait_reached()
    gate.open()
    responses = [client.response() for _ in requests]
    assert [r.status for r in responses] == [200, 200, 200, 404]
    assert responses[0].lines() == chat_parts("m") and "version" in responses[1].json()
    assert responses[2].lines() == generate_parts("m")
    assert [r.path for r in node.requests] == ["/api/chat", "/api/version", "/api/generate"]


def test_a_hundred_pipelined_requests(client, node):
    one = client.bytes_of("POST", "/api/show", {"model": "m"})
    client.send(one * 100)
    for _ in range(100):
        assert client.response().status == 200
    assert len(node.requests) == 100


# --- versions -------------------------------------------------------------------------------------
@pytest.mark.parametrize("path, body", [("/api/generate", GENERATE), ("/api/generate", {**GENERATE, "stream": False}),
                                        ("/v1/completions", {**GENERATE, "stream": True})])
def test_http_1_0_gets_the_answer_without_chunks(gateway, client, node, path, body):
    modern = ask(gateway.http, "POST", path, body)
    client.request("POST", path, body, version="HTTP/1.0")
    response = client.response()
    assert (response.status, response.body, response.get("Transfer-Encoding")) == (200, modern.body, None)
    assert client.closed() == b""


def test_http_1_0_may_keep_its_connection(client):
    for _ in range(3):
        client.request("GET", "/api/version", headers=[("Connection", "keep-alive")], version="HTTP/1.0")
        response = client.response()
        assert (response.framing, response.get("Connection")) == ("length", "keep-alive")


def test_http_1_0_needs_no_host(client):
    client.send(b"GET /api/version HTTP/1.0\r\n\r\n")
    assert client.response().status == 200


# --- methods --------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/api/tags", "/api/version"])
def test_head_has_the_headers_of_get_and_no_body(gateway, client, path):
    get = ask(gateway.http, "GET", path)
    client.request("HEAD", path)
    head = client.response()
    assert (head.status, head.get("Content-Length"), head.get("Content-Type")) == (
        200, get.get("Content-Length"), get.get("Content-Type"))
    client.request("GET", path)
    assert client.response().body == get.body


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/api/tags"])
def test_options_of_no_page_is_the_nodes_to_answer(client, node, path):
    client.request("OPTIONS", path, headers=[("Access-Control-Request-Method", "POST")])
    response = client.response()
    assert (response.status, response.get("Access-Control-Allow-Origin")) == (204, "*")
    assert node.wait_request(path).method == "OPTIONS"
    assert not response.names() & {"transfer-encoding", "content-length"}


def test_absolute_targets_are_taken(client, node):
    client.send(b"GET http://localhost:1/api/ps?x=1 HTTP/1.1\r\nHost: anything.example\r\n\r\n")
    assert client.response().status == 200
    assert node.wait_request("/api/ps").target == "/api/ps?x=1"


# --- framing of requests --------------------------------------------------------------------------
def test_a_chunked_body_is_taken(client, node):
    cut = [BODY[:5], BODY[5:6], BODY[6:]]
    data = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in cut) + b"0\r\nX-Trailer: 1\r\n\r\n"
    client.request("POST", "/api/generate", data, [("Transfer-Encoding", "chunked")])
    assert client.response().lines() == generate_parts("m")
    request = node.wait_request("/api/generate")
    assert (request.body, request.get("Content-Length")) == (BODY, str(len(BODY)))
    assert request.get("Transfer-Encoding") is None


ORIGIN = ("Origin", "http://localhost:3000")


@pytest.mark.parametrize("path, error", [
    ("/api/chat", lambda body: body["error"]), ("/api/blobs/sha256:" + 64 * "0", lambda body: body["error"]),
    ("/v1/chat/completions", lambda body: body["error"]["message"]),
    ("/v1/messages", lambda body: body["type"] == "error" and body["error"]["message"])])
def test_chunks_that_break_are_an_error_of_that_api(gateway, client, node, path, error):
    client.request("POST", path, b"", [("Transfer-Encoding", "chunked"), ("X-Request-Id", "broken"), ORIGIN])
    client.send(b"1\r\n{\r\n")
    client.send(b"zz\r\n")
    response = client.response("POST")
    assert (response.status, response.get("Connection"), response.get("X-Request-Id")) == (400, "close", "broken")
    assert response.get("Access-Control-Allow-Origin") == ORIGIN[1]
    assert "chunk" in error(response.json())
    assert client.closed() == b""
    line = gateway.wait_access(lambda line: line["id"] == "broken" and line["path"] == path)
    assert (line["status"], line["code"]) == ("400", "bad_request")
    gateway.wait_idle()


def test_a_request_may_come_byte_by_byte(client, node):
    client.send_each_byte(client.bytes_of("POST", "/api/generate", BODY))
    assert client.response().lines() == generate_parts("m")
    assert node.wait_request("/api/generate").body == BODY


@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions"])
def test_a_body_is_asked_for_where_the_client_waits(client, node, path):
    client.send(client.bytes_of("POST", path, BODY, [("Expect", "100-continue")])[:-len(BODY)])
    assert client.head().status == 100
    client.send(BODY)
    assert client.response().status == 200
    assert node.wait_request(path).get("Expect") is None


def test_a_body_that_will_be_refused_is_not_asked_for(client):
    client.send(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
    assert client.head().status == 404


def test_upgrades_are_ignored(client, node):
    client.request("GET", "/api/version", headers=[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                                                   ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA")])
    assert client.response().status == 200
    client.request("GET", "/api/version")
    assert client.response().status == 200


def test_a_smuggled_request_is_none(client, node):
    inner = b"GET /api/ps HTTP/1.1\r\nHost: localhost\r\n\r\n"
    client.request("POST", "/api/show", b'{"model":"m","x":"%s"}' % inner.replace(b"\r\n", b"\\r\\n"))
    assert client.response().status == 200
    assert [request.path for request in node.requests] == ["/api/show"]


@pytest.mark.parametrize("target", ["/api/ps?x=\"a b\"", "/api/ps#frag", "/api/p\x7fs", "*", "api/ps"])
def test_odd_targets_reach_no_other_route(client, node, target):
    client.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert client.response("GET").status in (400, 404)
    assert node.requests == []


# --- a node that is the gateway -------------------------------------------------------------------
def test_a_gateway_that_is_a_node_of_itself_is_refused():
    """The node passes all it gets on to the gateway that asks it."""
    with OllamaNode() as good, OllamaNode(start=False) as mirror, Gateway(good, mirror, wait=True) as gateway:
        def pass_on(request):
            headers = [(n, v) for n, v in request.headers if n.lower() not in ("host", "content-length")]
            answer = ask(gateway.http, request.method, request.target, request.body or None, headers)
            return [answer.raw + answer.body]
        mirror.answers_of = pass_on
        mirror.start()
        mirror.wait_polls(1)
        polled = len(mirror.polls)
        with McpClient(gateway.mcp) as client:
            def refused():
                (health,) = client.ask({"mcp": {"op": "health"}}, single=True)
                return any("itself" in node.get("error", "") for node in health["nodes"])
            wait_until(refused, "the mirror is refused")
            for _ in range(10):
                assert client.ask(GENERATE)[-1]["done"] is True
        assert len(good.of("/api/generate")) == 10 and len(mirror.polls) <= polled + 1


def test_another_gateway_is_a_node_like_any_other(gateway, node):
    with Gateway(gateway.url) as outer:
        assert ask(outer.http, "POST", "/api/generate", GENERATE).lines() == generate_parts("m")
        with McpClient(outer.mcp) as client:
            assert client.ask(GENERATE) == generate_parts("m")
