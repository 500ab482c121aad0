# SPDX-License-Identifier: Apache-2.0
"""How streams end when the node does not end them as it should."""
import json

import pytest

from gateway import Gateway
from http_bytes import ask
from mcp_client import McpClient
from node import CLOSE, JSON, LAST_CHUNK, NDJSON, SSE, answer, chunk, head_of
from ollama_node import OllamaNode
from openai_node import MODEL, OpenaiNode, recorded

TEXT = {"model": "m", "prompt": "hi"}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@pytest.fixture(scope="module")
def node():
    with OllamaNode() as node:
        yield node


@pytest.fixture(scope="module")
def gateway(node):
    with Gateway(node) as gateway:
        yield gateway


def stream(content_type, *data, end=LAST_CHUNK):
    return [head_of(content_type=content_type, chunked=True), *map(chunk, data), end]


def test_an_error_behind_a_line_without_its_end_is_a_line_of_its_own(gateway, node):
    line = b'{"response":"a","done":false}'
    node.next("/api/generate", stream(NDJSON, line + b"\n", line))
    lines = ask(gateway.http, "POST", "/api/generate", TEXT).lines()
    assert lines[:2] == [json.loads(line)] * 2 and list(lines[2]) == ["error"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_an_error_behind_half_an_event_is_an_event_of_its_own(gateway, node, end):
    node.next("/v1/chat/completions", stream(SSE, b'data: {"a":1}\n\n', b'data: {"b":1}' + end))
    body = ask(gateway.http, "POST", "/v1/chat/completions", CHAT).body
    events = [event.strip() for event in body.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]
    assert events[:2] == [b'data: {"a":1}', b'data: {"b":1}']
    assert "error" in json.loads(events[2].removeprefix(b"data: ")) and len(events) == 3


@pytest.mark.parametrize("path, content_type, last", [
    ("/api/generate", NDJSON, b'{"response":"","done":true}\n'),
    ("/v1/chat/completions", SSE, b"data: [DONE]\n\n"),
    ("/v1/messages", SSE, b"event: message_stop\r\ndata: {}\r\n\r\n"),
])
def test_an_answer_that_said_its_end_is_whole_though_its_framing_is_not(gateway, node, path, content_type, last):
    node.next(path, stream(content_type, last, end=CLOSE))
    response = ask(gateway.http, "POST", path, {**CHAT, "prompt": "hi"})
    assert response.body == last and response.complete
    line = gateway.wait_access(lambda line: line["path"] == path and line["bytes_out"] == str(len(last)))
    assert line["code"] == "ok"


def test_a_stream_answered_by_one_object_still_has_a_last_part(gateway, node):
    node.next("/api/generate", answer({"response": "a", "done": True}), answer({"response": "a"}), answer())
    node.next("/api/pull", answer({"status": "success"}))
    with McpClient(gateway.mcp) as client:
        assert client.ask(TEXT) == [{"response": "a", "done": True}]
        assert [part.get("code") for part in client.ask(TEXT)] == [None, "stream_interrupted"]
        assert [part.get("code") for part in client.ask(TEXT)] == [None, "stream_interrupted"]
        assert client.ask({"model": "m", "mcp": {"op": "pull"}}) == [{"status": "success"}, {"done": True}]


def test_an_error_object_with_status_200_is_an_error_also_where_it_is_no_stream(gateway, node):
    node.next("/api/generate", answer({"error": "out of luck"}))
    with McpClient(gateway.mcp) as client:
        assert client.error({**TEXT, "stream": False}) == ("upstream_error", "out of luck")


def test_a_node_of_kind_openai_that_does_not_stream_is_understood():
    with OpenaiNode() as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        node.next("/v1/chat/completions", recorded("chat"))
        (part,) = client.ask({"model": MODEL, "messages": CHAT["messages"]})
        assert part["done"] is True and part["message"]["content"]
        node.next("/v1/chat/completions", [head_of(content_type=JSON, length=2) + b"[]"])
        assert client.error({"model": MODEL, "messages": CHAT["messages"]})[0] == "upstream_error"


@pytest.mark.parametrize("half", [b'{"message":{"content":"b"}', b'{"message":{"conte'], ids=["brace", "text"])
def test_half_a_line_is_no_part(gateway, node, half):
    line = b'{"message":{"content":"a"},"done":false}'
    node.next("/api/chat", stream(NDJSON, line + b"\n", half))
    with McpClient(gateway.mcp) as client:
        client.request(1, CHAT)
        assert client.frame(1).json() == json.loads(line)
        assert client.frame(1).error()[0] == "stream_interrupted"
