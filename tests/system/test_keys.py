# SPDX-License-Identifier: Apache-2.0
"""Static keys on all faces: who is let in, how much is read before, and that no credential reaches a node."""
import os
import subprocess

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, encode_json
from mcp_client import REQUEST, McpClient, encode
from ollama_node import OllamaNode

ALICE, BOB = "alice-secret-key", "bob-secret-key"
CONFIG = {"keys": [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]}
GENERATE = {"model": "m", "prompt": "a"}
OTHERS = ["", "x", ALICE[:-1], ALICE + "x", ALICE.upper(), " " + ALICE, BOB[::-1], "\u00e9" * 8]


def with_key(key, **body):
    return {**GENERATE, **body, "mcp": {"auth": key}}


# --- MCP ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, key", [("alice", ALICE), ("bob", BOB)])
def test_a_good_key_lets_its_request_in_and_is_named_in_the_log(gateway, mcp, node, name, key):
    before = len([line for line in gateway.access() if line.get("key") == name])
    assert mcp.ask(with_key(key))[-1]["done"] is True
    gateway.wait_access(lambda line: line.get("key") == name, before + 1)
    assert key.encode() not in node.wait_request("/api/generate").body


@pytest.mark.parametrize("key", OTHERS)
def test_any_other_key_is_unauthorized(mcp, node, key):
    assert mcp.error(with_key(key))[0] == "unauthorized"
    assert node.requests == []


def test_each_request_is_judged_by_its_own_key(mcp, node):
    assert mcp.ask(with_key(ALICE))[-1]["done"] is True
    assert mcp.error(GENERATE)[0] == "unauthorized"
    assert mcp.error(with_key("wrong"))[0] == "unauthorized"
    assert mcp.ask(with_key(BOB))[-1]["done"] is True
    assert len(node.requests) == 2


@pytest.mark.parametrize("op", ["health", "list", "version", "pull"])
def test_no_operation_is_open(mcp, node, op):
    assert mcp.error({"model": "m", "mcp": {"op": op}})[0] == "unauthorized"
    assert node.requests == []


def test_an_unauthorized_request_sets_nothing_in_its_session(mcp):
    assert mcp.error(GENERATE)[0] == "unauthorized"
    assert mcp.error({"prompt": "a", "mcp": {"auth": ALICE}})[0] == "bad_request"


def sized(size, **body):
    body["prompt"] = ""
    body["prompt"] = "x" * (size - len(encode_json(body)))
    return body


def test_64_kib_are_read_before_a_good_key_and_not_a_byte_more(gateway, mcp):
    assert mcp.error(sized(65536, **GENERATE))[0] == "unauthorized"
    mcp.send(encode(REQUEST, 3, b"")[:6] + (65537).to_bytes(4, "big"))
    frame = mcp.frame()
    assert (frame.session, frame.error()[0]) == (3, "too_large")
    assert mcp.closed() == b""


def test_a_good_key_lifts_that_limit_for_its_connection_alone(gateway, mcp):
    assert mcp.ask(with_key(ALICE))[-1]["done"] is True
    assert mcp.ask(sized(1 << 20, **with_key(ALICE)))[-1]["done"] is True
    assert mcp.error(sized(1 << 20, **GENERATE))[0] == "unauthorized"
    with McpClient(gateway.mcp) as other:
        other.request(1, sized(65537, **GENERATE))
        assert other.frame().error()[0] == "too_large"


def test_a_wrong_key_does_not_lift_it(mcp):
    assert mcp.error(with_key("wrong"))[0] == "unauthorized"
    mcp.send(encode(REQUEST, 3, b"")[:6] + (65537).to_bytes(4, "big"))
    assert mcp.frame().error()[0] == "too_large"


# --- HTTP -----------------------------------------------------------------------------------------
SHAPES = [
    ("/api/generate", lambda body: isinstance(body["error"], str)),
    ("/v1/chat/completions", lambda body: body["error"]["message"] and body["error"]["type"]
     and (body["error"]["param"], body["error"]["code"]) == (None, None)),
    ("/v1/messages", lambda body: (body["type"], body["error"]["type"]) == ("error", "authentication_error"))]
BODY = {"model": "m", "prompt": "a", "messages": [{"role": "user", "content": "a"}], "max_tokens": 5}


@pytest.mark.parametrize("path, is_right", SHAPES, ids=[path for path, _ in SHAPES])
@pytest.mark.parametrize("headers", [[], [("Authorization", "Bearer wrong")], [("x-api-key", "wrong")],
                                     [("Authorization", f"Basic {ALICE}")], [("Authorization", ALICE)],
                                     [("Cookie", f"key={ALICE}")], [("Authorization", f"Bearer {ALICE}x")],
                                     [("Authorization", "Bearer wrong"), ("x-api-key", ALICE)]])
def test_http_without_a_good_key_is_401_in_the_faces_shape(gateway, node, path, is_right, headers):
    response = ask(gateway.http, "POST", path, BODY, headers)
    assert (response.status, response.complete) == (401, True)
    assert response.get("WWW-Authenticate") == "Bearer"
    assert is_right(response.json()), response.body
    assert node.requests == []


@pytest.mark.parametrize("path", [path for path, _ in SHAPES])
@pytest.mark.parametrize("header", [("Authorization", f"Bearer {ALICE}"), ("authorization", f"bearer {ALICE}"),
                                    ("X-Api-Key", ALICE)])
def test_http_with_a_good_key_is_served_and_the_node_never_sees_it(gateway, node, path, header):
    cookies = [("Cookie", "session=private"), ("Proxy-Authorization", "Basic private"), header]
    assert ask(gateway.http, "POST", path, BODY, cookies).status == 200
    request = node.wait_request(path)
    assert not request.names() & {"authorization", "x-api-key", "cookie", "proxy-authorization"}
    assert ALICE.encode() not in request.raw and b"private" not in request.raw


@pytest.mark.parametrize("method, path", [("GET", "/api/tags"), ("HEAD", "/api/tags"), ("POST", "/api/pull"),
                                          ("GET", "/v1/models"), ("POST", "/api/blobs/sha256:00")])
def test_no_route_to_a_node_is_open(gateway, node, method, path):
    assert ask(gateway.http, method, path, b"{}" if method == "POST" else None).status == 401
    assert node.requests == []


def test_a_body_is_not_awaited_from_who_is_not_let_in(gateway):
    with HttpClient(gateway.http) as client:
        client.send(b"POST /api/generate HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n"
                    b"Expect: 100-continue\r\n\r\n")
        assert client.head().status == 401


# --- admin ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("path, open_to_all", [("/healthz", True), ("/readyz", True), ("/metrics", False),
                                               ("/admin/nodes", False)])
def test_admin_pages_but_health_need_a_key(gateway, path, open_to_all):
    without = 200 if open_to_all else 401
    assert ask(gateway.admin, "GET", path).status == without
    assert ask(gateway.admin, "GET", path, headers=[("Authorization", f"Bearer {BOB}")]).status == 200
    assert ask(gateway.admin, "GET", path, headers=[("Authorization", "Bearer no")]).status == without


# --- the gateway's own credential -----------------------------------------------------------------
def test_the_nodes_own_key_and_headers_are_sent_in_place_of_the_clients(tmp_path):
    (tmp_path / "node.key").write_text("the-nodes-key\n")
    (tmp_path / "node.key").chmod(0o600)
    with OllamaNode() as node:
        config = {"node": {"url": node.url, "name": "gpu-1", "api_key_file": str(tmp_path / "node.key"),
                           "headers": [{"name": "X-Team", "value": "search"}]}}
        with Gateway(config=config) as gateway:
            headers = [("Authorization", "Bearer client"), ("X-Team", "client")]
            assert ask(gateway.http, "POST", "/api/generate", GENERATE, headers).status == 200
            with McpClient(gateway.mcp) as client:
                client.ask(with_key("client"))
            for request in (*node.of("/api/generate"), *node.polls):
                assert request.get("Authorization") == "Bearer the-nodes-key"
                assert request.all("X-Team")[-1] == "search"
                assert b"client" not in request.raw.replace(b"X-Team: client", b"") + request.body
            assert gateway.access()[0]["node"] == "gpu-1"


# --- nothing is exposed by accident ---------------------------------------------------------------
@pytest.mark.parametrize("face", ["mcp", "http", "admin"])
def test_listening_beyond_loopback_without_keys_is_refused(node, face):
    faces = [f"--{name}=127.0.0.1:0" for name in ("mcp", "http", "admin") if name != face]
    run = subprocess.run([os.environ["MCPGATE_BIN"], "serve", "--node", node.url, *faces, f"--{face}=0.0.0.0:0"],
                         capture_output=True, text=True, timeout=20)
    assert (run.returncode, run.stdout) == (2, "")
    assert "--insecure" in run.stderr and len(run.stderr.splitlines()) == 1


def test_insecure_allows_it(node):
    with Gateway(node, faces=("mcp", "admin"), args=["--http=0.0.0.0:0", "--insecure"]) as gateway:
        assert gateway.http[0] == "0.0.0.0"
        assert ask(("127.0.0.1", gateway.http[1]), "GET", "/api/version").status == 200


# --- browsers -------------------------------------------------------------------------------------
PREFLIGHT = [("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "POST"),
             ("Access-Control-Request-Headers", "authorization,content-type")]


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/models", "/"])
def test_a_preflight_needs_no_key(gateway, node, path):
    response = ask(gateway.http, "OPTIONS", path, headers=PREFLIGHT)
    assert response.status == 204 and "Authorization" in response.get("Access-Control-Allow-Headers")
    assert node.requests == []


@pytest.mark.parametrize("method, headers, body", [
    ("OPTIONS", PREFLIGHT[1:], b""), ("POST", PREFLIGHT, b"{}"), ("GET", PREFLIGHT, b"")])
def test_what_only_looks_like_a_preflight_needs_one(gateway, node, method, headers, body):
    path = "/api/tags" if method == "GET" else "/api/chat"
    assert ask(gateway.http, method, path, body, headers).status == 401
    assert node.requests == []
