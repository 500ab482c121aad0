# SPDX-License-Identifier: Apache-2.0
"""Every route of Ollama's HTTP surface, native and /v1: request and answer pass unchanged but for what belongs to
the connection, and what the gateway says itself has the shape of the face."""
import json

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask
from node import CLOSE, RESET, answer, head_of
from ollama_node import DIGEST, OllamaNode

CONFIG = {"limits": {"max_body": "64KiB"}}
CHAT = [{"role": "user", "content": "hi"}]
MESSAGES = {"model": "m", "messages": CHAT}
ROUTES = [
    ("GET", "/api/version", None), ("HEAD", "/api/version", None), ("GET", "/api/status", None),
    ("GET", "/api/tags", None), ("HEAD", "/api/tags", None), ("GET", "/api/ps", None),
    ("POST", "/api/generate", {"model": "m", "prompt": "a"}),
    ("POST", "/api/generate", {"model": "m", "prompt": "a", "stream": False}),
    ("POST", "/api/generate", {"model": "m"}),
    ("POST", "/api/chat", MESSAGES), ("POST", "/api/chat", {**MESSAGES, "stream": False}),
    ("POST", "/api/embed", {"model": "m", "input": ["a", "b"]}),
    ("POST", "/api/embeddings", {"model": "m", "prompt": "a"}),
    ("POST", "/api/show", {"model": "m"}), ("POST", "/api/show", {"name": "none"}),
    ("POST", "/api/create", {"model": "n", "from": "m"}), ("POST", "/api/pull", {"model": "n"}),
    ("POST", "/api/pull", {"model": "n", "stream": False}), ("POST", "/api/push", {"model": "n"}),
    ("POST", "/api/copy", {"source": "m", "destination": "n"}), ("DELETE", "/api/delete", {"model": "m"}),
    ("HEAD", f"/api/blobs/{DIGEST}", None), ("POST", f"/api/blobs/{DIGEST}", b"GGUF\0\xff"),
    ("POST", "/api/me", b""), ("POST", "/api/signout", b""), ("DELETE", "/api/user/keys/abc%2Fd", None),
    ("POST", "/api/experimental/web_search", {"query": "q"}),
    ("POST", "/api/experimental/web_fetch", {"url": "https://example.com"}),
    ("GET", "/api/experimental/model-recommendations", None),
    ("POST", "/v1/chat/completions", MESSAGES), ("POST", "/v1/chat/completions", {**MESSAGES, "stream": True}),
    ("POST", "/v1/completions", {"model": "m", "prompt": "a"}),
    ("POST", "/v1/completions", {"model": "m", "prompt": "a", "stream": True}),
    ("POST", "/v1/embeddings", {"model": "m", "input": "a", "encoding_format": "base64"}),
    ("GET", "/v1/models", None), ("GET", "/v1/models/m", None), ("GET", "/v1/models/library/m:latest", None),
    ("POST", "/v1/responses", {"model": "m", "input": "a"}),
    ("POST", "/v1/responses", {"model": "m", "input": "a", "stream": True}),
    ("POST", "/v1/messages", {**MESSAGES, "max_tokens": 5}),
    ("POST", "/v1/messages", {**MESSAGES, "max_tokens": 5, "stream": True}),
    ("POST", "/v1/audio/transcriptions", b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b--\r\n"),
]
route = pytest.mark.parametrize("method, path, body", ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
# Set anew by who writes the answer; all others pass.
OWN = {"date", "x-request-id", "connection", "keep-alive", "transfer-encoding", "content-length"}
HEADERS = [("User-Agent", "test/1.0"), ("Accept", "*/*"), ("X-Custom", "a, b"), ("Cookie", "private"),
           ("Authorization", "Bearer private"), ("x-api-key", "private")]


def kept(response):
    return [(name.lower(), value) for name, value in response.headers if name.lower() not in OWN]


@route
def test_an_answer_passes_unchanged(gateway, node, method, path, body):
    direct = ask(("127.0.0.1", node.port), method, path, body, HEADERS)
    through = ask(gateway.http, method, path, body, HEADERS)
    assert (through.status, through.body, through.complete) == (direct.status, direct.body, True)
    assert kept(through) == kept(direct)
    assert through.chunks == direct.chunks  # a part each, as the node wrote them
    if direct.get("Content-Length") and method != "HEAD":
        assert through.get("Content-Length") == direct.get("Content-Length")


@route
def test_a_request_reaches_the_node_unchanged(gateway, node, method, path, body):
    ask(gateway.http, method, path + "?a=1&b=%20x", body, HEADERS)
    (request,) = node.requests
    assert (request.method, request.target, request.version) == (method, path + "?a=1&b=%20x", "HTTP/1.1")
    assert request.body == (b"" if body is None else body if isinstance(body, bytes) else
                            json.dumps(body, separators=(",", ":")).encode())
    assert request.get("Host") == node.name
    assert [request.get(name) for name in ("User-Agent", "Accept", "X-Custom")] == ["test/1.0", "*/*", "a, b"]
    assert b"private" not in request.raw


def test_the_liveness_text_is_the_gateways_own(gateway, node):
    for method in ("GET", "HEAD"):
        response = ask(gateway.http, method, "/")
        assert (response.status, response.get("Content-Length")) == (200, "17")
        assert response.body == (b"Ollama is running" if method == "GET" else b"")
    assert node.requests == []


@pytest.mark.parametrize("method, path, status, text", [
    ("GET", "/api/nothing", 404, b"404 page not found"), ("GET", "/v1", 404, b"404 page not found"),
    ("POST", "/api/blobs/a/b", 404, b"404 page not found"), ("GET", "/api/generate", 405, b"405 method not allowed"),
    ("DELETE", "/api/tags", 405, b"405 method not allowed"), ("PUT", "/v1/models", 405, b"405 method not allowed"),
    ("POST", "/", 405, b"405 method not allowed"), ("GET", "//example.com/", 404, b"404 page not found"),
    ("GET", "/api/../api/tags", 404, b"404 page not found")])
def test_what_is_no_route_is_answered_as_ollama_does(gateway, node, method, path, status, text):
    response = ask(gateway.http, method, path)
    assert (response.status, response.body, response.complete) == (status, text, True)
    assert response.get("Content-Type") == "text/plain"
    assert (response.get("Allow") is not None) == (status == 405)
    assert node.requests == []


@pytest.mark.parametrize("path, right", [
    ("/api/tags/", "/api/tags"), ("//api/tags", "/api/tags"), ("//api//tags/?a=/b/", "/api/tags?a=/b/"),
    ("/v1/models/", "/v1/models")])
def test_slashes_too_many_are_redirected(gateway, node, path, right):
    for method in ("GET", "POST"):
        response = ask(gateway.http, method, path)
        assert (response.status, response.get("Location"), response.body) == (307, right, b"")
    assert node.requests == []


# --- the body -------------------------------------------------------------------------------------
ODD = (b'{ "keep":1.0e+02, "model" : "m","prompt":"\\u00e9\\ud83e\\udd8a \xc3\xa9",'
       b' "options":{"seed":123456789012345678901},'
       b'\n\t"messages":[ {"role":"user","content":"a"} ] ,"stream":false,"max_tokens":5, "input":"x"}')


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/api/embed", "/v1/chat/completions", "/v1/completions",
                                  "/v1/embeddings", "/v1/responses", "/v1/messages"])
def test_a_body_reaches_the_node_byte_for_byte(gateway, node, path):
    assert ask(gateway.http, "POST", path, ODD).status == 200
    assert node.wait_request(path).body == ODD


@pytest.mark.parametrize("body, left", [
    (b'{"model":"m","mcp":{"auth":"secret"},"prompt":"a"}', b'{"model":"m","prompt":"a"}'),
    (b'{"mcp":1,"model":"m","prompt":"a"}', b'{"model":"m","prompt":"a"}'),
    (b'{"model":"m","prompt":"a" , "mcp":null}', None)])
def test_mcp_in_a_body_is_cut_and_not_read(gateway, node, body, left):
    assert ask(gateway.http, "POST", "/api/generate", body).status == 200
    got = node.wait_request("/api/generate").body
    assert b"mcp" not in got and json.loads(got) == {"model": "m", "prompt": "a"}
    assert left is None or got == left


@pytest.mark.parametrize("body", [
    b'{"model":"m","model":"n","prompt":"a"}', b'{"model":"m","Model":"n","prompt":"a"}',
    b'{"model":"m","\\u006dodel":"n","prompt":"a"}', b'{"model":"m","prompt":"a","\xc5\xbftream":true}',
    b'{"model":"m","prompt":"a"', b'[]', b'null', b'{"model":"m","prompt":"a"}x',
    b'{"model":"m","o":' + b"[" * 128 + b"]" * 128 + b"}"])
@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions"])
def test_a_body_that_can_be_read_in_two_ways_is_refused(gateway, node, path, body):
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.complete) == (400, True)
    assert node.requests == []


def test_an_encoded_body_is_passed_on_as_it_is(gateway, node):
    node.next("/v1/responses", answer({"id": "resp_42"}))
    body = b"\x1f\x8b not really gzip"
    assert ask(gateway.http, "POST", "/v1/responses", body, [("Content-Encoding", "gzip")]).status == 200
    request = node.wait_request("/v1/responses")
    assert (request.body, request.get("Content-Encoding")) == (body, "gzip")


# --- headers --------------------------------------------------------------------------------------
def test_headers_of_the_connection_stay_on_it(gateway, node):
    headers = [("Connection", "keep-alive, X-Private"), ("X-Private", "1"), ("Keep-Alive", "timeout=9"),
               ("TE", "trailers"), ("Trailer", "X-T"), ("Upgrade", "h2c"), ("Proxy-Connection", "keep-alive"),
               ("Proxy-Authorization", "x")]
    assert ask(gateway.http, "POST", "/api/generate", {"model": "m", "prompt": "a"}, headers).status == 200
    request = node.wait_request("/api/generate")
    assert not request.names() & {"x-private", "keep-alive", "te", "trailer", "upgrade", "proxy-connection",
                                  "proxy-authorization"}
    assert len(request.all("Host")) == 1 and len(request.all("Content-Length")) == 1


def test_headers_of_the_nodes_connection_stay_on_it(gateway, node):
    node.next("/api/ps", answer(b"{}", headers=[("Connection", "close, X-Private"), ("X-Private", "1"),
                                                ("Keep-Alive", "timeout=5"), ("X-Two", "a"), ("X-Two", "b"),
                                                ("Retry-After", "7"), ("Set-Cookie", "s=1")]) + [CLOSE])
    with HttpClient(gateway.http) as client:
        client.request("GET", "/api/ps")
        response = client.response()
        assert response.names() & {"x-private", "keep-alive"} == set()
        assert (response.all("X-Two"), response.get("Retry-After")) == (["a", "b"], "7")
        client.request("GET", "/api/tags")  # the client's own connection lives
        assert client.response().status == 200


def test_metadata_for_the_gateway_does_not_reach_the_node(gateway, node):
    ask(gateway.http, "GET", "/api/ps", headers=[("X-Mcpgate-Tags", "team=x"), ("x-mcpgate-priority", "batch")])
    assert not any(name.startswith("x-mcpgate") for name in node.wait_request("/api/ps").names())


@pytest.mark.parametrize("given", ["abc-1.2:3_X", "x" * 64])
def test_a_request_id_is_kept(gateway, node, given):
    response = ask(gateway.http, "GET", "/api/ps", headers=[("X-Request-Id", given)])
    assert response.all("X-Request-Id") == [given]
    assert gateway.wait_access(lambda line: line["id"] == given)["path"] == "/api/ps"


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", 'a"b', "a;b"])
def test_a_request_id_is_made_where_none_is_usable(gateway, node, given):
    node.next("/api/ps", answer(b"{}", headers=[("X-Request-Id", "the-nodes-own")]))
    headers = [] if given is None else [("X-Request-Id", given)]
    first = ask(gateway.http, "GET", "/api/ps", headers=headers).get("X-Request-Id")
    second = ask(gateway.http, "GET", "/api/nothing", headers=headers).get("X-Request-Id")
    assert first and first not in (given, second, "the-nodes-own")
    gateway.wait_access(lambda line: line["id"] == first)


# --- a node's own errors --------------------------------------------------------------------------
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 499, 500, 502, 503])
@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions", "/v1/messages"])
def test_a_nodes_error_passes_unchanged(gateway, node, status, path):
    body = b'{"error" : "as the node says it \\u00fc" }\n'
    node.next(path, answer(body, status, headers=[("Retry-After", "3")]))
    response = ask(gateway.http, "POST", path, {**MESSAGES, "prompt": "a", "max_tokens": 1, "stream": True})
    assert (response.status, response.body, response.get("Retry-After")) == (status, body, "3")


def test_a_redirect_passes_unchanged(gateway, node):
    node.next("/api/ps", answer(b"", 307, headers=[("Location", "http://example.com/api/ps")]))
    response = ask(gateway.http, "GET", "/api/ps")
    assert (response.status, response.get("Location")) == (307, "http://example.com/api/ps")


# --- the gateway's own errors ---------------------------------------------------------------------
def text_of(path, response, kinds):
    """The text of an error in the face's shape; (type of OpenAI, type of Anthropic) is in `kinds`."""
    body = response.json()
    assert response.get("Content-Type") == "application/json; charset=utf-8" or not path.startswith("/api")
    if path == "/v1/messages":
        assert set(body) == {"type", "error", "request_id"} and body["type"] == "error"
        assert body["error"]["type"] == kinds[1] and body["request_id"] == response.get("X-Request-Id")
        return body["error"]["message"]
    if path.startswith("/v1/"):
        assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
        assert (body["error"]["type"], body["error"]["param"], body["error"]["code"]) == (kinds[0], None, None)
        return body["error"]["message"]
    assert set(body) == {"error"}
    return body["error"]


FACES = ["/api/generate", "/api/chat", "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]
faces = pytest.mark.parametrize("path", FACES)


def body_for(model, **more):
    return {"model": model, "prompt": "a", "messages": CHAT, "input": "a", "max_tokens": 1, **more}


@faces
@pytest.mark.parametrize("stream", [True, False])
def test_an_unknown_model_is_404(gateway, node, path, stream):
    response = ask(gateway.http, "POST", path, body_for("none", stream=stream))
    assert response.status == 404 and node.requests == []
    assert text_of(path, response, ("not_found_error", "not_found_error")) == "model 'none' not found"


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/v1/embeddings"])
def test_an_unknown_model_is_404_for_embeddings_too(gateway, path):
    response = ask(gateway.http, "POST", path, body_for("none"))
    assert response.status == 404
    text = text_of(path, response, ("not_found_error", ""))
    assert text == 'model "none" not found, try pulling it first'


@faces
def test_bad_json_is_400(gateway, path):
    response = ask(gateway.http, "POST", path, b'{"model":')
    assert response.status == 400
    assert text_of(path, response, ("invalid_request_error", "invalid_request_error"))


@faces
def test_an_empty_body_is_400_in_ollamas_words(gateway, path):
    response = ask(gateway.http, "POST", path, b"")
    assert response.status == 400
    assert text_of(path, response, ("invalid_request_error", "invalid_request_error")) == "missing request body"


@faces
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(gateway, node, path, chunked):
    body = json.dumps(body_for("m", pad="x" * 65536)).encode()
    with HttpClient(gateway.http) as client:
        if chunked:
            cut = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            client.request("POST", path, cut, [("Transfer-Encoding", "chunked")])
        else:
            client.request("POST", path, body)
        response = client.response()
    assert (response.status, response.complete, node.requests) == (413, True, [])
    assert text_of(path, response, ("api_error", "api_error"))


@faces
def test_a_body_at_the_limit_is_served(gateway, node, path):
    body = json.dumps(body_for("m", pad="")).encode()
    body = body.replace(b'"pad": ""', b'"pad": "' + b"x" * (65536 - len(body)) + b'"')
    assert len(body) == 65536
    assert ask(gateway.http, "POST", path, body).status == 200
    assert node.wait_request(path).body == body


@faces
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [
    [CLOSE], [RESET], [b"garbage\r\n\r\n", CLOSE], [b"HTTP/1.1 200 OK\r\nContent-", CLOSE]],
    ids=["FIN", "RST", "garbage", "half a head"])
def test_a_node_that_fails_before_its_answer_is_502(gateway, node, path, stream, fault):
    node.next(path, fault, fault)  # the first may come on a pooled connection, which is retried once
    with Gateway(node, config={"limits": {"idle_connections": 0}}) as fresh:
        response = ask(fresh.http, "POST", path, body_for("m", stream=stream))
    node.forget()
    assert response.status == 502
    assert text_of(path, response, ("api_error", "api_error"))


@faces
def test_a_stream_cut_before_its_first_part_still_has_a_status(gateway, node, path):
    kind = "application/x-ndjson" if path.startswith("/api") else "text/event-stream"
    node.next(path, [head_of(content_type=kind, chunked=True), CLOSE])
    response = ask(gateway.http, "POST", path, body_for("m", stream=True))
    assert response.status == 502
    assert text_of(path, response, ("api_error", "api_error"))


@pytest.fixture(scope="module")
def alone():
    with OllamaNode(start=False) as node, Gateway(node, wait=False) as gateway:
        gateway.wait_line("not ready")
        yield gateway


@faces
def test_with_no_node_up_it_is_503(alone, path):
    response = ask(alone.http, "POST", path, body_for("m", stream=True))
    assert response.status == 503
    assert "refused" in text_of(path, response, ("api_error", "overloaded_error"))


@pytest.mark.parametrize("method, path", [("GET", "/api/tags"), ("HEAD", "/api/tags"), ("GET", "/v1/models")])
def test_with_no_node_up_lists_are_503_too(alone, method, path):
    assert ask(alone.http, method, path).status == 503
    assert ask(alone.http, "GET", "/").body == b"Ollama is running"


def test_the_access_log_tells_path_model_node_and_sizes(gateway, node):
    body = {"model": "llama3:8b", "messages": CHAT}
    response = ask(gateway.http, "POST", "/v1/chat/completions?secret=1", body)
    line = gateway.wait_access(lambda line: line.get("model") == "llama3:8b")
    assert line["path"] == "/v1/chat/completions"
    assert (line["face"], line["node"], line["code"], line["status"]) == ("http", node.name, "ok", "200")
    assert (line["client"], int(line["bytes_out"])) == ("127.0.0.1", len(response.body))
    assert line["bytes_in"] == str(len(json.dumps(body, separators=(",", ":"))))
    assert int(line["total_us"]) >= int(line["first_us"]) > 0
    assert "secret" not in gateway.access_path.read_text()
