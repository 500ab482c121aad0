# SPDX-License-Identifier: Apache-2.0
"""One answer of /v1 from llama.cpp's server: asked for as a stream, so that a client that leaves stops it, and put
together to what that server would have answered at once. What it answers was recorded."""
import json

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask
from node import CLOSE, HANG, RESET, SSE, answer, in_writes_of, rechunked, sse
from openai_node import MODEL, OpenaiNode, payload, recorded
from pairs import PAIRS, lasting, request_of, requests

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "a"}]}
DELTA = {"choices": [{"index": 0, "delta": {"content": "tick"}, "finish_reason": None}]}
DONE = b"data: [DONE]"
ASKS = [("/v1/chat/completions", CHAT), ("/v1/completions", {"model": MODEL, "prompt": "a"}),
        ("/v1/messages", {**CHAT, "max_tokens": 4}), ("/v1/responses", {"model": MODEL, "input": "a"})]
LEAVES = [HttpClient.close, HttpClient.reset, HttpClient.half_close]


@pytest.fixture(scope="module")
def the_node():
    with OpenaiNode() as node:
        yield node


def name_of(path):
    """What is recorded of it."""
    return {"/v1/chat/completions": "chat"}.get(path, path[4:])


def head_names(name):
    """The header names of a recorded answer that are the node's own to send."""
    head = recorded(name)[0].split(b"\r\n\r\n")[0].decode()
    return {line.split(":")[0].lower() for line in head.split("\r\n")[1:]} - {"keep-alive"}


# Streams of it hold less.
AT_ONCE = {"stop", "stop_sequences", "response_format", "json_schema", "grammar", "verbose"}


# --- the answer -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(name for name in PAIRS if not AT_ONCE & set(request_of(name)[1])))
def test_a_stream_becomes_what_the_node_answers_at_once(gateway, node, name):
    path, body = request_of(name)
    node.next(path, recorded(f"pairs/{name}-stream"))
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.framing, response.complete) == (200, "length", True)
    assert lasting(response.json()) == lasting(json.loads(payload(f"pairs/{name}")))
    assert response.get("Content-Type") == "application/json; charset=utf-8"
    assert response.names() - {"date", "x-request-id"} == head_names(f"pairs/{name}")
    assert node.wait_request(path).json() == requests.streamed(path, body)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_it_does_not_matter_how_the_stream_is_cut(gateway, node, size):
    for name in ("chat-tools", "completions-array", "messages-tools", "responses-tools"):
        path, body = request_of(name)
        node.next(path, in_writes_of(recorded(f"pairs/{name}-stream"), size))
        assert lasting(ask(gateway.http, "POST", path, body).json()) == lasting(json.loads(payload(f"pairs/{name}")))


@pytest.mark.parametrize("path, body", ASKS)
@pytest.mark.parametrize("stream", [{}, {"stream": False}, {"stream": None}], ids=str)
def test_only_the_stream_is_added_to_the_request(gateway, node, path, body, stream):
    asked = {**body, "odd": [1.50, {"a": None}], **stream}
    assert ask(gateway.http, "POST", path, asked).status == 200
    assert node.wait_request(path).json() == requests.streamed(path, asked)


def test_the_connection_and_the_log_are_as_for_any_answer(gateway, node):
    with HttpClient(gateway.http) as client:
        for _ in range(3):
            client.request("POST", "/v1/chat/completions", CHAT)
            response = client.response()
            assert response.status == 200
            gateway.wait_idle()
    assert len({request.connection.number for request in node.of("/v1/chat/completions")}) == 1
    line = gateway.access()[-1]
    assert (line["code"], line["status"], line["parts"]) == ("ok", "200", "1")
    assert line["bytes_out"] == str(len(response.body))


# --- what is asked as it came ---------------------------------------------------------------------
@pytest.mark.parametrize("path, body", [
    ("/v1/chat/completions", {**CHAT, "logprobs": True}), ("/v1/chat/completions", {**CHAT, "n_probs": 1}),
    ("/v1/chat/completions", {**CHAT, "stream_options": {"include_usage": True}}),
    ("/v1/completions", {"model": MODEL, "prompt": "a", "stop": ["b"]}),
    ("/v1/completions", {"model": MODEL, "prompt": "a", "verbose": True}),
    ("/v1/chat/completions", {**CHAT, "response_format": {"type": "json_object"}}),
    ("/v1/messages", {**CHAT, "max_tokens": 5, "stop_sequences": ["b"]}),
    ("/v1/embeddings", {"model": MODEL, "input": "a"})])
def test_what_a_stream_does_not_hold_is_asked_at_once(gateway, node, path, body):
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.body) == (200, payload(name_of(path)))
    assert node.wait_request(path).json() == body


def test_a_stream_that_would_outlive_its_client_is_not_asked_for(gateway, node):
    response = ask(gateway.http, "POST", "/v1/chat/completions", CHAT, [("X-Conversation-Id", "a")])
    assert (response.status, response.body) == (200, payload("chat"))
    request = node.wait_request("/v1/chat/completions")
    assert (request.json(), request.get("X-Conversation-Id")) == (CHAT, "a")


class Vllm(OpenaiNode):
    """Sees a client that leaves by itself; its streams lack some of what it answers at once."""

    def answers_of(self, request):
        if request.path == "/v1/models":
            return answer({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "vllm"}]})
        return super().answers_of(request)


@pytest.mark.parametrize("path, body", ASKS)
def test_other_servers_are_asked_as_the_client_asked(path, body):
    with Vllm() as node, Gateway(node) as gateway:
        response = ask(gateway.http, "POST", path, body)
        assert (response.status, response.body) == (200, payload(name_of(path)))
        assert node.wait_request(path).json() == body


@pytest.mark.parametrize("path, body", ASKS)
def test_a_node_that_does_not_stream_is_relayed(gateway, node, path, body):
    node.next(path, answer({"its": "own"}, headers=[("X-Accel-Buffering", "no")]))
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.json(), response.get("X-Accel-Buffering")) == (200, {"its": "own"}, "no")


# --- errors and cuts ------------------------------------------------------------------------------
@pytest.mark.parametrize("name, status", [("error-no-messages", 400), ("error-context", 400), ("loading", 503)])
@pytest.mark.parametrize("path, body", ASKS)
def test_an_error_before_the_stream_is_relayed(gateway, node, path, body, name, status):
    node.next(path, recorded(name))
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.body) == (status, payload(name))


@pytest.mark.parametrize("path, body", ASKS)
def test_an_error_in_the_stream_is_the_nodes_answer(gateway, node, path, body):
    errors = {"code": 503, "message": "the slot is gone", "type": "unavailable_error"}, {"message": "m", "type": "x"}
    for error, status in zip(errors, (503, 500)):
        node.next(path, sse({"error": error}))
        response = ask(gateway.http, "POST", path, body)
        assert (response.status, response.json(), response.complete) == (status, {"error": error}, True)
        assert response.get("Content-Type") == "application/json; charset=utf-8"
        gateway.wait_idle()
        assert gateway.access()[-1]["status"] == str(status)


def error_of(path, response):
    assert response.json().get("type") == ("error" if path == "/v1/messages" else None)
    return response.status, response.json()["error"]["message"]


@pytest.mark.parametrize("cut", [None, CLOSE, RESET], ids=["end", "FIN", "RST"])
@pytest.mark.parametrize("path, body", ASKS)
def test_a_stream_without_its_end_is_no_answer(gateway, node, path, body, cut):
    blocks = payload(f"pairs/{name_of(path)}-stream").split(b"\n\n")[:-2]
    node.next(path, sse(*blocks, *([cut] if cut else [])))
    status, text = error_of(path, ask(gateway.http, "POST", path, body))
    assert status == 502 and ("ended its stream" in text or "connection" in text)


@pytest.mark.parametrize("end", [b'data: {"choices":[{"ind', b"data: [DONE]"])
def test_half_an_event_at_the_end_is_none(gateway, node, end):
    node.next("/v1/chat/completions", rechunked(b'data: {"choices":[]}\n\n' + end, 1000, SSE))
    status, text = error_of("/v1/chat/completions", ask(gateway.http, "POST", "/v1/chat/completions", CHAT))
    assert status == 502 and "ended its stream" in text


@pytest.mark.parametrize("event", [b"data: oops", b"data: [1]", b'data: {"choices":7,"type":"ping"}',
                                   b'data: {"choices":[{"delta":', b'data: {"choices":[{}],"type":"what"}'])
def test_a_stream_that_cannot_be_read_is_no_answer(gateway, node, event):
    for path, body in ASKS[:2]:
        node.next(path, sse(event, HANG))
        assert error_of(path, ask(gateway.http, "POST", path, body)) == (502, "the node's answer cannot be read")
        node.of(path)[-1].connection.wait_gone()


@pytest.mark.parametrize("leave", LEAVES, ids=["FIN", "RST", "half-close"])
@pytest.mark.parametrize("path, body", ASKS)
def test_a_client_that_leaves_stops_the_node(gateway, node, path, body, leave):
    node.next(path, sse(b": nothing yet", HANG))
    with HttpClient(gateway.http) as client:
        client.request("POST", path, body)
        connection = node.wait_request(path).connection
        leave(client)
        connection.wait_gone()
    gateway.wait_idle()
    assert gateway.access()[-1]["code"] == "cancelled"


def test_an_answer_too_large_to_hold_is_refused(gateway, node):
    def endless(connection):
        connection.write(sse(DELTA, HANG)[0])
        block = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * (1 << 20) + b'"}}]}\n\n'
        while True:
            connection.write(b"%x\r\n%s\r\n" % (len(block), block))

    node.next("/v1/chat/completions", [endless])
    response = ask(gateway.http, "POST", "/v1/chat/completions", CHAT)
    assert error_of("/v1/chat/completions", response) == (413, "the node's answer is too large")
    node.of("/v1/chat/completions")[0].connection.wait_gone()
    assert gateway.rss_bytes() < 600 << 20
