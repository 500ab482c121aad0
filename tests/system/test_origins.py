# SPDX-License-Identifier: Apache-2.0
"""Pages in browsers: whose may ask, and what they may read. The gateway judges, nodes never see an Origin."""
import json
import pathlib

import pytest

from engine import MODEL
from gateway import Gateway
from http_bytes import ask
from node import answer
from ollama_node import OllamaNode
from openai_node import OpenaiNode

CHAT = "https://chat.example"
CONFIG = {"http": {"origins": CHAT + ", http://*.lan"}}
PREFLIGHT = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")]
RECORDED = pathlib.Path(__file__).resolve().parents[1] / "fixtures/ollama/preflight.json"
GENERATE = {"model": "m:latest", "prompt": "hi", "stream": False}


def page(origin, *more):
    return [("Origin", origin), *more]


def may_read(response, origin):
    return response.get("Access-Control-Allow-Origin") == origin and response.all("Vary") == ["Origin"]


@pytest.mark.parametrize("origin", ["http://localhost:3000", CHAT, "http://a.lan"])
@pytest.mark.parametrize("method, path, body, status", [
    ("GET", "/", None, 200), ("GET", "/api/tags", None, 200), ("POST", "/api/generate", GENERATE, 200),
    ("POST", "/v1/messages", GENERATE | {"model": "nope"}, 404), ("POST", "/api/chat", b"{", 400),
    ("GET", "/nope", None, 404), ("GET", "/api/chat", None, 405), ("GET", "//api/tags", None, 307)])
def test_a_page_that_may_ask_reads_every_answer(gateway, node, origin, method, path, body, status):
    response = ask(gateway.http, method, path, body, page(origin))
    assert response.status == status and may_read(response, origin)
    assert not [request for request in node.requests if request.get("Origin")]


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/", None), ("GET", "/api/tags", None), ("POST", "/api/generate", GENERATE), ("GET", "/nope", None),
    ("OPTIONS", "/api/generate", None), ("POST", "/api/chat", b"{")])
def test_a_foreign_page_is_refused(gateway, node, method, path, body):
    response = ask(gateway.http, method, path, body, page("https://page.example", *PREFLIGHT))
    assert (response.status, response.body) == (403, b"pages of this origin may not ask here (http.origins)")
    assert response.get("Access-Control-Allow-Origin") is None and node.requests == []
    line = gateway.access()[-1]
    assert (line["code"], line["status"], line["path"]) == ("unauthorized", "403", path)


def test_a_page_of_the_gateway_itself_needs_no_leave(gateway, node):
    response = ask(gateway.http, "GET", "/api/version", headers=page("http://%s:%d" % gateway.http))
    assert response.status == 200 and response.get("Access-Control-Allow-Origin") is None
    assert node.wait_request("/api/version").get("Origin") is None


@pytest.mark.parametrize("path, allow", [("/api/chat", "POST"), ("/v1/models", "GET"), ("/nope", None)])
def test_a_preflight_is_answered_as_ollama_does(gateway, node, path, allow):
    response = ask(gateway.http, "OPTIONS", path, headers=page("http://localhost:3000", *PREFLIGHT))
    recorded = [tuple(line.split(": ", 1)) for line in json.loads(RECORDED.read_text())["response"].split("\r\n")[1:-2]]
    own = ("Date", "Allow", "X-Request-Id")
    assert response.status == 204
    assert sorted(header for header in response.headers if header[0] not in own) == sorted(
        header for header in recorded if header[0] not in own)
    assert response.get("Allow") == allow and node.requests == []


def test_pages_read_why_the_key_or_the_node_is_missing():
    with OllamaNode() as node, Gateway(node, config=CONFIG | {"keys": [{"name": "k", "key": "right"}]}) as gateway:
        response = ask(gateway.http, "GET", "/api/tags", headers=page(CHAT))
        assert response.status == 401 and may_read(response, CHAT)
        assert ask(gateway.http, "OPTIONS", "/api/tags", headers=page(CHAT, *PREFLIGHT)).status == 204
    with Gateway("http://127.0.0.1:1", config=CONFIG, wait=False) as gateway:
        response = ask(gateway.http, "POST", "/api/generate", GENERATE, page(CHAT))
        assert response.status == 503 and may_read(response, CHAT)


def test_what_a_node_says_of_origins_is_replaced():
    with OpenaiNode() as node, Gateway(node, config=CONFIG) as gateway:
        node.next("/v1/chat/completions", answer({"choices": []}, headers=[("Access-Control-Allow-Origin", "*"),
                                                                         ("Access-Control-Allow-Credentials", "true")]))
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        response = ask(gateway.http, "POST", "/v1/chat/completions", body, page(CHAT))
        assert response.status == 200 and may_read(response, CHAT)
        assert response.get("Access-Control-Allow-Credentials") is None
        assert ask(gateway.http, "POST", "/api/chat", body, page("https://page.example")).status == 403


def test_no_foreign_page_reloads_the_configuration(gateway):
    assert ask(gateway.admin, "POST", "/admin/reload", b"", page("https://page.example")).status == 403
    assert ask(gateway.admin, "GET", "/metrics", headers=page("https://page.example")).status == 403
    assert ask(gateway.admin, "GET", "/metrics", headers=page("http://localhost:3000")).status == 200


def test_origins_change_while_it_runs():
    other = page("https://other.example")
    with OllamaNode() as node, Gateway(node, config=CONFIG) as gateway:
        assert ask(gateway.http, "GET", "/api/version", headers=other).status == 403
        (pathlib.Path(gateway.folder.name) / "mcpgate.yaml").write_text('{"http": {"origins": "https://other.example"}}')
        reloaded = ask(gateway.admin, "POST", "/admin/reload")
        assert (reloaded.status, reloaded.json()["changed"]) == (200, ["http.origins"])
        assert ask(gateway.http, "GET", "/api/version", headers=other).status == 200
        assert ask(gateway.http, "GET", "/api/version", headers=page(CHAT)).status == 403
