# SPDX-License-Identifier: Apache-2.0
"""Streams over HTTP: parts pass as they come, the end is known by its own mark, and a stream that is cut never looks
like a whole one."""
import json

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from node import CLOSE, HANG, JSON, NDJSON, RESET, SSE, Gate, answer, head_of, in_writes_of, rechunked, sse, stream
from ollama_node import (anthropic_events, chat_parts, generate_parts, openai_chat_events, openai_text_events,
                         responses_events)

BODY = {"model": "m", "prompt": "a", "messages": [{"role": "user", "content": "a"}], "input": "a", "max_tokens": 9,
        "stream": True}


def line(part):
    return json.dumps(part, ensure_ascii=False).encode() + b"\n"


def block(event):
    return (event if isinstance(event, bytes) else b"data: " + json.dumps(event, ensure_ascii=False).encode()) + b"\n\n"


# What each path streams, as parts with their delimiters; the last one (or two) is its end mark.
PARTS = {
    "/api/generate": [line(part) for part in generate_parts("m")],
    "/api/chat": [line(part) for part in chat_parts("m")],
    "/v1/chat/completions": [block(event) for event in openai_chat_events("m")],
    "/v1/completions": [block(event) for event in openai_text_events("m")],
    "/v1/messages": [block(event) for event in anthropic_events("m")],
    "/v1/responses": [block(event) for event in responses_events("m")],
}
paths = pytest.mark.parametrize("path", PARTS)


def kind_of(path):
    return NDJSON if path.startswith("/api") else SSE


def script(path, *parts, end=True):
    return stream(*parts, content_type=kind_of(path), **({} if end else {"end": b""}))


def the_error(path, part):
    """The text of an error in a stream of that path, in its own shape."""
    if path.startswith("/api"):
        assert part.endswith(b"\n") and part.count(b"\n") == 1
        body = json.loads(part)
        assert set(body) == {"error"} and isinstance(body["error"], str)
        return body["error"]
    assert part.endswith(b"\n\n")
    lines = part[:-2].split(b"\n")
    if path == "/v1/messages":
        assert lines[0] == b"event: error"
        body = json.loads(lines[1].removeprefix(b"data: "))
        assert set(body) == {"type", "error", "request_id"} and body["type"] == "error"
        assert body["error"]["type"] == "api_error"
        return body["error"]["message"]
    assert len(lines) == 1
    body = json.loads(lines[0].removeprefix(b"data: "))
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]["message"]


def read_stream(gateway, path):
    with HttpClient(gateway.http) as client:
        client.request("POST", path, BODY)
        return client.response()


@pytest.fixture(scope="module")
def hasty(the_node):
    with Gateway(the_node, config={"timeouts": {"idle": "300ms"}}) as gateway:
        yield gateway


# --- whole streams --------------------------------------------------------------------------------
@paths
@pytest.mark.parametrize("size", [1, 2, 5, 17, 100000])
def test_parts_are_found_wherever_the_node_cuts_its_chunks(gateway, node, path, size):
    data = b"".join(PARTS[path])
    node.next(path, rechunked(data, size, kind_of(path)))
    response = read_stream(gateway, path)
    assert (response.status, response.complete, response.body) == (200, True, data)
    assert response.chunks == PARTS[path]  # one part is one chunk, never half of one


@paths
def test_parts_are_found_when_every_byte_comes_alone(gateway, node, path):
    node.next(path, in_writes_of(script(path, *PARTS[path])))
    assert read_stream(gateway, path).chunks == PARTS[path]


@paths
def test_a_part_goes_on_the_moment_it_is_complete(gateway, node, path):
    gates = [Gate() for _ in PARTS[path]]
    node.next(path, script(path, *[step for pair in zip(PARTS[path], gates) for step in pair]))
    with HttpClient(gateway.http) as client:
        client.request("POST", path, BODY)
        assert client.head().get("Content-Type").startswith(kind_of(path))
        for part, gate in zip(PARTS[path], gates):
            assert client.chunk() == part  # the node has written nothing more
            gate.open()
        assert client.chunk() == b""


@paths
def test_a_stream_that_ends_with_its_connection_is_whole_behind_its_mark(gateway, node, path):
    node.next(path, [head_of(content_type=kind_of(path)) + b"".join(PARTS[path]), CLOSE])
    response = read_stream(gateway, path)
    assert (response.body, response.complete) == (b"".join(PARTS[path]), True)


@pytest.mark.parametrize("ends", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_events_may_end_in_each_way_the_standard_has(gateway, node, ends):
    data = b"data: {\"a\":1}" + ends + b": comment" + ends + b"event: x\ndata: [DONE]" + ends
    node.next("/v1/completions", rechunked(data, 3, SSE))
    response = read_stream(gateway, "/v1/completions")
    assert (response.body, response.complete) == (data, True)


def test_comments_and_empty_blocks_pass(gateway, node):
    data = b":\n\n\n\ndata: {}\n\n: ping\n\ndata: [DONE]\n\n"
    node.next("/v1/chat/completions", rechunked(data, 4, SSE))
    response = read_stream(gateway, "/v1/chat/completions")
    assert response.body == data
    line = gateway.wait_access(lambda line: line["id"] == response.get("X-Request-Id"))
    assert (line["parts"], line["bytes_out"]) == ("2", str(len(data)))  # what says something, and all


def test_a_part_may_be_megabytes_long(gateway, node):
    huge = block({"choices": [{"delta": {"content": "x" * (8 << 20)}}]})
    node.next("/v1/chat/completions", rechunked(huge + b"data: [DONE]\n\n", 30000, SSE))
    assert read_stream(gateway, "/v1/chat/completions").chunks == [huge, b"data: [DONE]\n\n"]


@pytest.mark.parametrize("kind", ["response.completed", "response.failed", "response.incomplete"])
def test_responses_have_three_ends(gateway, node, kind):
    data = b'event: response.created\ndata: {}\n\nevent: %s\ndata: {"type":"%s"}\n\n' % (kind.encode(), kind.encode())
    node.next("/v1/responses", rechunked(data, 100, SSE))
    response = read_stream(gateway, "/v1/responses")
    assert (response.body, response.complete) == (data, True)


@pytest.mark.parametrize("path", ["/api/pull", "/api/push", "/api/create"])
def test_what_has_no_mark_ends_with_its_framing(gateway, node, path):
    response = read_stream(gateway, path)
    assert response.complete and response.lines()[-1] == {"status": "success"}
    assert all("done" not in part for part in response.lines())


# --- streams that are cut -------------------------------------------------------------------------
CUTS = {"end": None, "FIN": CLOSE, "RST": RESET, "broken chunk": b"zz\r\nxx"}


@paths
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("kept", [1, -1])
def test_a_stream_without_its_mark_ends_with_an_error(gateway, node, path, cut, kept):
    """`kept`: only the first part came, or all but the mark."""
    parts = PARTS[path][:kept]
    if cut is None:
        node.next(path, script(path, *parts))
    else:
        steps = script(path, *parts, end=False)
        node.next(path, [*steps, cut, HANG] if isinstance(cut, bytes) else [*steps, cut])
    response = read_stream(gateway, path)
    assert response.status == 200 and response.chunks[:-1] == parts
    assert the_error(path, response.chunks[-1])


@paths
def test_a_node_that_falls_silent_is_waited_for_only_so_long(node, hasty, path):
    node.next(path, script(path, PARTS[path][0], HANG))
    response = read_stream(hasty, path)
    assert response.chunks[0] == PARTS[path][0] and the_error(path, response.chunks[1])
    node.of(path)[0].connection.wait_gone()


@paths
def test_a_stream_cut_within_a_part_never_shows_half_of_it(gateway, node, path):
    steps = script(path, PARTS[path][0], PARTS[path][1][:-5], end=False)
    node.next(path, [*steps, RESET])
    response = read_stream(gateway, path)
    assert response.chunks[0] == PARTS[path][0]
    assert the_error(path, response.chunks[-1]) and len(response.chunks) == 2


@paths
def test_a_mark_inside_a_text_is_no_mark(gateway, node, path):
    text = 'data: [DONE]\n\nevent: message_stop {"done":true} [DONE] response.completed'
    part = block({"a": text})
    if path.startswith("/api"):
        part = line({"response": text, "done": False, "x": {"done": True}})
    node.next(path, script(path, PARTS[path][0], part))
    response = read_stream(gateway, path)
    assert response.chunks[:2] == [PARTS[path][0], part] and the_error(path, response.chunks[2])


@pytest.mark.parametrize("path, part", [
    ("/api/generate", line({"error": "an error was encountered"})),
    ("/v1/chat/completions", block({"error": {"message": "x", "type": "api_error", "param": None, "code": None}})),
    ("/v1/messages", b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n'),
    ("/v1/responses", b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{}}}\n\n')])
def test_an_error_of_the_node_in_its_stream_passes_and_no_second_follows(gateway, node, path, part):
    node.next(path, script(path, PARTS[path][0], part))
    response = read_stream(gateway, path)
    assert (response.chunks, response.complete) == ([PARTS[path][0], part], True)
    gateway.wait_access(lambda line: line["path"] == path and line["parts"] == "2")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_ollamas_trap_an_empty_delta_and_the_end_is_shown_as_interrupted(gateway, node, path):
    """Ollama decodes an error line of its runner as a chunk: an empty delta, then the end without [DONE]."""
    empty = block({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""},
                                                    "text": "", "finish_reason": None}]})
    node.next(path, script(path, PARTS[path][0], empty))
    response = read_stream(gateway, path)
    assert response.chunks[:2] == [PARTS[path][0], empty] and the_error(path, response.chunks[2])


def test_a_pull_that_is_cut_ends_with_an_error_line(gateway, node):
    node.next("/api/pull", script("/api/pull", line({"status": "pulling manifest"}), RESET))
    response = read_stream(gateway, "/api/pull")
    assert response.lines()[0] == {"status": "pulling manifest"} and the_error("/api/pull", response.chunks[-1])


def test_an_answer_without_parts_that_is_cut_is_cut_for_the_client_too(gateway, node):
    node.next("/api/show", [head_of(content_type=JSON, length=1000) + b'{"modelfile":', CLOSE])
    response = ask(gateway.http, "POST", "/api/show", {"model": "m"})
    assert (response.status, response.body, response.complete) == (200, b'{"modelfile":', False)
    node.next("/api/show", stream(b'{"modelfile":', RESET, content_type=JSON))
    response = ask(gateway.http, "POST", "/api/show", {"model": "m"})
    assert (response.status, response.body, response.complete) == (200, b'{"modelfile":', False)


def test_an_interrupted_stream_is_counted_and_logged(gateway, node):
    name = 'mcpgate_exchanges_total{outcome="interrupted"}'
    before = gateway.metric(name)
    node.next("/api/chat", script("/api/chat", PARTS["/api/chat"][0]))
    assert the_error("/api/chat", read_stream(gateway, "/api/chat").chunks[-1])
    assert gateway.metric(name) == before + 1
    gateway.wait_access(lambda line: line["code"] == "stream_interrupted" and line["path"] == "/api/chat")


def test_the_connection_of_an_interrupted_stream_can_be_used_again(gateway, node):
    node.next("/api/chat", script("/api/chat", PARTS["/api/chat"][0]))
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/chat", BODY)
        assert client.response().complete
        client.request("POST", "/api/chat", BODY)
        assert client.response().lines() == chat_parts("m")


# --- kinds of answers -----------------------------------------------------------------------------
def test_loading_a_model_answers_plain_json_to_a_streaming_request(gateway, node):
    exact = b'{"model":"m","response":"","done":true,"done_reason":"load"}'
    node.next("/api/generate", answer(exact))
    response = ask(gateway.http, "POST", "/api/generate", {"model": "m"})
    assert (response.body, response.framing, response.get("Content-Type")) == (exact, "length", JSON)


def test_a_stream_of_the_node_is_passed_even_where_none_was_asked_for(gateway, node):
    node.next("/v1/chat/completions", sse(*openai_chat_events("m")))
    response = ask(gateway.http, "POST", "/v1/chat/completions", {**BODY, "stream": False})
    assert (response.body.endswith(b"data: [DONE]\n\n"), response.complete) == (True, True)


def test_what_follows_the_mark_passes_too(gateway, node):
    data = b"".join(PARTS["/v1/chat/completions"]) + b": bye\n\n"
    node.next("/v1/chat/completions", rechunked(data, 50, SSE))
    assert read_stream(gateway, "/v1/chat/completions").body == data


def test_the_last_part_does_not_wait_for_the_nodes_framing(gateway, node):
    """What came with the mark is delivered while the node still holds its connection."""
    gate = Gate()
    node.next("/api/generate", script("/api/generate", *PARTS["/api/generate"], gate))
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", BODY)
        client.head()
        assert [client.chunk() for _ in PARTS["/api/generate"]] == PARTS["/api/generate"]
        wait_until(gate.reached.is_set, "the node waits")
        gate.open()
        assert client.chunk() == b""
