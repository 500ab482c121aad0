# SPDX-License-Identifier: Apache-2.0
"""A node of kind openai: Ollama's operations through the translation, /v1 relayed (one answer: test_openai_whole.py),
the rest refused by name. The node answers with what llama.cpp's server was recorded with."""
import base64
import json
import math
import struct

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask
from mcp_client import McpClient
from node import CLOSE, HANG, RESET, Gate, in_writes_of, sse
from ollama_node import OllamaNode, generate_parts
from openai_node import MODEL, OpenaiNode, payload, recorded

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "a"}]}
GENERATE = {"model": MODEL, "prompt": "a"}
RAW = {**GENERATE, "raw": True}
COUNTS = {"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"}


@pytest.fixture(scope="module")
def the_node():
    with OpenaiNode() as node:
        yield node


def events_of(name):
    """The objects of a recorded stream."""
    lines = payload(name).decode().split("\n\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def text_of(name):
    choices = [event["choices"][0] for event in events_of(name) if event["choices"]]
    return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in choices)


def native_text(parts):
    return "".join(part.get("response") or part.get("message", {}).get("content", "") for part in parts)


def over_http(gateway, path, body):
    with HttpClient(gateway.http) as client:
        client.request("POST", path, body)
        response = client.response()
    assert (response.status, response.complete) == (200, True)
    assert response.get("Content-Type") == "application/x-ndjson" or response.framing == "length"
    return response.lines() if response.framing == "chunked" else [response.json()]


def over_mcp(gateway, path, body):
    with McpClient(gateway.mcp) as client:
        return client.ask({**body, "mcp": {"op": path.rsplit("/", 1)[1]}}, single=body.get("stream") is False)


both = pytest.mark.parametrize("over", [over_http, over_mcp], ids=["http", "mcp"])
REQUESTS = [("/api/chat", CHAT, "chat-stream-usage"), ("/api/generate", GENERATE, "chat-stream-usage"),
            ("/api/generate", RAW, "completions-stream-usage")]
requests = pytest.mark.parametrize("path, body, name", REQUESTS, ids=["chat", "generate", "raw"])


# --- the translation ------------------------------------------------------------------------------
@both
@requests
def test_a_stream_is_ollamas_stream(gateway, node, over, path, body, name):
    parts = over(gateway, path, body)
    assert native_text(parts) == text_of(name) and len(parts) > 3
    assert all(part["model"] == MODEL and part["created_at"].endswith("Z") for part in parts)
    assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert COUNTS < set(parts[-1]) and parts[-1]["done_reason"] == "length"
    usage = next(event["usage"] for event in events_of(name) if event.get("usage"))
    assert parts[-1]["eval_count"] == usage["completion_tokens"]
    assert parts[-1]["prompt_eval_count"] == usage["prompt_tokens"]
    sent = node.wait_request("/v1/completions" if "raw" in body else "/v1/chat/completions").json()
    assert (sent["stream"], sent["stream_options"], sent["model"]) == (True, {"include_usage": True}, MODEL)
    assert sent["prompt"] == "a" if "raw" in body else sent["messages"] == [{"role": "user", "content": "a"}]


@both
@requests
def test_one_answer_is_ollamas_answer(gateway, node, over, path, body, name):
    (part,) = over(gateway, path, {**body, "stream": False})
    assert native_text([part]) == text_of(name)
    assert part["done"] is True and COUNTS < set(part)


@both
@requests
def test_it_does_not_matter_where_the_node_cuts(gateway, node, over, path, body, name):
    target = "/v1/completions" if "raw" in body else "/v1/chat/completions"
    whole = over(gateway, path, body)
    node.next(target, in_writes_of(recorded(name)))
    again = over(gateway, path, body)
    assert [native_text([part]) for part in again] == [native_text([part]) for part in whole]


def test_text_in_other_scripts_survives(gateway, node):
    node.next("/v1/completions", recorded("completions-stream-utf8"))
    assert native_text(over_mcp(gateway, "/api/generate", RAW)) == text_of("completions-stream-utf8")


@both
def test_a_token_goes_on_the_moment_it_comes(gateway, node, over):
    chunk = {"choices": [{"index": 0, "delta": {"content": "tick"}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    gate = Gate()
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    node.next("/v1/chat/completions", sse(chunk, gate, end, usage, b"data: [DONE]"))
    if over is over_mcp:
        with McpClient(gateway.mcp) as client:
            client.request(1, CHAT)
            assert client.frame().json()["message"]["content"] == "tick"
            gate.open()
            assert client.parts()[-1].json()["done"] is True
    else:
        with HttpClient(gateway.http) as client:
            client.request("POST", "/api/chat", CHAT)
            response = client.head()
            assert json.loads(client.chunk())["message"]["content"] == "tick"
            gate.open()
            client.finish(response)
            assert response.lines()[-1]["done"] is True


@both
def test_embeddings_are_unit_vectors(gateway, node, over):
    (part,) = over(gateway, "/api/embed", {"model": MODEL, "input": ["one", "two"], "stream": False})
    assert part["model"] == MODEL and [len(v) for v in part["embeddings"]] == [640, 640]
    for vector, item in zip(part["embeddings"], json.loads(payload("embeddings-two-base64"))["data"]):
        assert math.isclose(math.sqrt(sum(x * x for x in vector)), 1, abs_tol=1e-3)
        raw = struct.unpack("<640f", base64.b64decode(item["embedding"]))
        scale = math.sqrt(sum(x * x for x in raw))
        assert all(math.isclose(a, b / scale, abs_tol=1e-5) for a, b in zip(vector, raw))


def test_the_old_embeddings_operation_has_one_vector(gateway, node):
    (part,) = over_http(gateway, "/api/embeddings", {"model": MODEL, "prompt": "one"})
    assert set(part) == {"embedding"} and len(part["embedding"]) == 640


@pytest.mark.parametrize("path, keys", [("/api/tags", {"models"}), ("/api/ps", {"models"}),
                                        ("/api/version", {"version"})])
def test_lists_are_made_from_the_nodes_catalogue(gateway, node, path, keys):
    body = ask(gateway.http, "GET", path).json()
    assert set(body) == keys
    with McpClient(gateway.mcp) as client:
        (over,) = client.ask({"mcp": {"op": {"/api/tags": "list"}.get(path, path[5:])}}, single=True)
    assert set(over) == keys
    if "models" in keys:
        assert [m["name"] for m in body["models"]] == [m["model"] for m in over["models"]] == [MODEL]


def test_show_tells_what_is_known(gateway, node):
    body = ask(gateway.http, "POST", "/api/show", {"model": MODEL}).json()
    assert "capabilities" in body and "model_info" in body
    assert ask(gateway.http, "POST", "/api/show", {"model": "none"}).status == 404


def test_head_of_what_is_made_here_has_no_body(gateway, node):
    head, get = ask(gateway.http, "HEAD", "/api/tags"), ask(gateway.http, "GET", "/api/tags")
    assert (head.status, head.body, head.get("Content-Length")) == (200, b"", get.get("Content-Length"))


def test_an_empty_prompt_is_answered_without_the_node(gateway, node):
    for over in (over_http, over_mcp):
        (part,) = over(gateway, "/api/generate", {"model": MODEL})
        assert (part["done"], part["done_reason"]) == (True, "load")
        (part,) = over(gateway, "/api/generate", {"model": MODEL, "keep_alive": 0})
        assert part["done_reason"] == "unload"
    assert node.requests == []


# --- refused --------------------------------------------------------------------------------------
@pytest.mark.parametrize("body, name", [
    ({**GENERATE, "suffix": "x"}, "suffix"), ({**GENERATE, "context": [1]}, "context"),
    ({**GENERATE, "template": "x"}, "template")])
def test_fields_that_cannot_be_served_are_refused_by_name(gateway, node, body, name):
    response = ask(gateway.http, "POST", "/api/generate", body)
    assert (response.status, name in response.json()["error"]) == (501, True)
    with McpClient(gateway.mcp) as client:
        code, text = client.error(body)
    assert code == "unsupported_op" and name in text and node.requests == []


@pytest.mark.parametrize("op", ["pull", "push", "create", "copy", "delete"])
def test_operations_of_ollama_alone_are_unsupported(gateway, node, op):
    body = {"model": MODEL, "source": "a", "destination": "b"}
    with McpClient(gateway.mcp) as client:
        assert client.error({**body, "mcp": {"op": op}})[0] == "unsupported_op"
    response = ask(gateway.http, "DELETE" if op == "delete" else "POST", f"/api/{op}", body)
    assert (response.status, "Ollama" in response.json()["error"]) == (501, True)
    assert node.requests == []


def test_an_unknown_model_is_not_sent_to_a_node_that_would_not_mind(gateway, node):
    for path in ("/api/generate", "/v1/chat/completions"):
        assert ask(gateway.http, "POST", path, {**CHAT, **GENERATE, "model": "none"}).status == 404
    assert node.requests == []


# --- errors and cuts ------------------------------------------------------------------------------
@pytest.mark.parametrize("name, status, code", [
    ("error-context", 400, "bad_request"), ("error-embeddings-context", 500, "upstream_error"),
    ("loading", 503, "queue_full"), ("not-found", 404, "unknown_model")])
def test_the_nodes_errors_keep_their_text(gateway, node, name, status, code):
    text = json.loads(payload(name))["error"]["message"]
    node.next("/v1/chat/completions", recorded(name), recorded(name))
    response = ask(gateway.http, "POST", "/api/chat", CHAT)
    assert (response.status, response.json()) == (status, {"error": text})
    with McpClient(gateway.mcp) as client:
        assert client.error(CHAT) == (code, text)


DELTA = {"choices": [{"index": 0, "delta": {"content": "tick"}, "finish_reason": None}]}


@pytest.mark.parametrize("cut", [None, CLOSE, RESET], ids=["end", "FIN", "RST"])
def test_a_stream_without_its_end_is_interrupted(gateway, node, cut):
    script = sse(DELTA, *([cut] if cut else []))
    node.next("/v1/chat/completions", script, script, script)
    with McpClient(gateway.mcp) as client:
        first, last = client.ask(CHAT)
        assert first["message"]["content"] == "tick" and last["code"] == "stream_interrupted"
        assert client.error({**CHAT, "stream": False})[0] in ("stream_interrupted", "upstream_error")
    lines = over_http(gateway, "/api/chat", CHAT)
    assert lines[0]["message"]["content"] == "tick" and set(lines[1]) == {"error"}


def test_an_error_event_in_the_stream_keeps_its_text(gateway, node):
    event = {"error": {"code": 500, "message": "the slot is gone", "type": "server_error"}}
    node.next("/v1/chat/completions", sse(DELTA, event), sse(DELTA, event))
    with McpClient(gateway.mcp) as client:
        _, last = client.ask(CHAT)
        assert (last["code"], last["error"]) == ("upstream_error", "the slot is gone")
    assert over_http(gateway, "/api/chat", CHAT)[-1] == {"error": "the slot is gone"}


@pytest.mark.parametrize("event", [b"data: oops", b"data: [1]", b'data: {"choices":7}', b'data: {"choices":[{"delta":'])
def test_a_stream_that_cannot_be_read_is_upstream_error(gateway, node, event):
    node.next("/v1/chat/completions", sse(DELTA, event, HANG))
    with McpClient(gateway.mcp) as client:
        assert client.ask(CHAT)[-1]["code"] == "upstream_error"
    node.of("/v1/chat/completions")[0].connection.wait_gone()


@pytest.mark.parametrize("leave", [McpClient.close, McpClient.reset, McpClient.half_close],
                         ids=["FIN", "RST", "half-close"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_node(gateway, node, leave, stream):
    node.next("/v1/chat/completions", sse(DELTA, HANG))
    with McpClient(gateway.mcp) as client:
        client.request(1, {**CHAT, "stream": stream})
        connection = node.wait_request("/v1/chat/completions").connection
        leave(client)
        connection.wait_gone()


# --- /v1 is relayed -------------------------------------------------------------------------------
V1 = [("/v1/chat/completions", {**CHAT, "stream": True}, "chat-stream"),
      ("/v1/completions", {**GENERATE, "stream": True}, "completions-stream"),
      ("/v1/embeddings", {"model": MODEL, "input": "a"}, "embeddings"),
      ("/v1/messages", {**CHAT, "max_tokens": 4, "stream": True}, "messages-stream"),
      ("/v1/responses", {"model": MODEL, "input": "a", "stream": True}, "responses-stream")]


@pytest.mark.parametrize("path, body, name", V1, ids=[name for _, _, name in V1])
def test_v1_passes_unchanged(gateway, node, path, body, name):
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.body, response.complete) == (200, payload(name), True)
    assert node.wait_request(path).json() == body


def test_v1_models_pass_unchanged(gateway, node):
    assert ask(gateway.http, "GET", "/v1/models").body == payload("models")


@pytest.mark.parametrize("path, name", [("/v1/chat/completions", "chat-stream"), ("/v1/messages", "messages-stream"),
                                        ("/v1/responses", "responses-stream")])
def test_v1_streams_without_their_mark_end_with_an_error(gateway, node, path, name):
    blocks = payload(name).split(b"\n\n")[:-2]
    node.next(path, sse(*blocks))
    response = ask(gateway.http, "POST", path, {**CHAT, "input": "a", "max_tokens": 4, "stream": True})
    assert response.events()[:-1] == blocks and b'"error"' in response.events()[-1]


# --- beside an Ollama node ------------------------------------------------------------------------
def test_one_gateway_has_nodes_of_both_kinds(node):
    with OllamaNode("m:latest") as ollama, Gateway(node, ollama) as gateway, McpClient(gateway.mcp) as client:
        assert native_text(client.ask(GENERATE)) == text_of("chat-stream-usage")
        assert client.ask({"model": "m", "prompt": "a"}) == generate_parts("m")
        assert client.ask({"model": "m", "mcp": {"op": "pull"}})[-1] == {"done": True}  # the one that can
        assert len(ollama.of("/api/pull")) == 1
