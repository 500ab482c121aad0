# SPDX-License-Identifier: Apache-2.0
"""Errors over MCP (protocol.md sections 3 and 4): one part, the last, with the right code and its text."""
import pytest

from gateway import Gateway
from http_bytes import encode_json
from mcp_client import McpClient
from node import CLOSE, HANG, NDJSON, RESET, Gate, answer, chunk, head_of, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
RETRYABLE = {"rate_limited", "upstream_error", "node_unavailable", "queue_full", "shutting_down",
             "stream_interrupted", "session_busy"}


def the_error(frames):
    """What the last of these frames says; all its members are there."""
    body = frames[-1].json()
    assert body["done"] is True and isinstance(body["error"], str) and body["error"]
    assert body["retryable"] is (body["code"] in RETRYABLE)
    assert isinstance(body.get("retry_after_ms", 0), int)
    return body["code"], body["error"]


# --- what the node says ---------------------------------------------------------------------------
@pytest.mark.parametrize("status, code", [
    (400, "bad_request"), (404, "unknown_model"), (503, "queue_full"), (401, "upstream_error"),
    (403, "upstream_error"), (405, "upstream_error"), (413, "upstream_error"), (422, "upstream_error"),
    (429, "upstream_error"), (499, "upstream_error"), (500, "upstream_error"), (502, "upstream_error"),
    (504, "upstream_error")])
@pytest.mark.parametrize("body", [GENERATE, {**GENERATE, "stream": False}], ids=["stream", "whole"])
def test_a_nodes_status_becomes_a_code_and_keeps_its_text(mcp, node, status, code, body):
    text = "server busy, please try again.  maximum pending requests exceeded \u00fc\" \\"
    node.next("/api/generate", answer({"error": text}, status))
    mcp.request(1, body)
    assert the_error(mcp.parts()) == (code, text)


def test_a_node_cannot_set_the_gateways_own_members(mcp, node):
    node.next("/api/generate", answer({"error": "x", "code": "ok", "done": False, "retryable": "maybe"}, 500))
    mcp.request(1, GENERATE)
    (frame,) = mcp.parts()
    assert the_error([frame]) == ("upstream_error", "x")
    assert all(frame.payload.count(b'"%s"' % key) == 1 for key in (b"error", b"code", b"done", b"retryable"))


@pytest.mark.parametrize("body, said", [
    (b"404 page not found", "404 page not found"), (b"", ""), (b"<html>oops</html>", "oops"), (b"[1,2]", ""),
    (b'{"error":{"message":"no such thing","type":"x"}}', "no such thing"), (b'{"message":1}', ""),
    (b'{"error":"cut', ""), (b"\xff\xfe\x00", "")])
def test_an_error_that_is_no_ollama_error_has_a_text_too(mcp, node, body, said):
    node.next("/api/generate", answer(body, 500, "text/plain"))
    mcp.request(1, GENERATE)
    code, text = the_error(mcp.parts())
    assert code == "upstream_error" and said in text


def test_an_error_line_in_a_stream_ends_it_with_its_text(mcp, node):
    parts = generate_parts("m")
    node.next("/api/generate", ndjson(parts[0], {"error": "an error was encountered while running the model"},
                                      parts[1]))
    mcp.request(1, GENERATE)
    frames = mcp.parts()
    assert [frame.json() for frame in frames[:-1]] == parts[:1]
    assert the_error(frames) == ("upstream_error", "an error was encountered while running the model")
    mcp.ping()  # and nothing follows
    assert mcp.waiting == []


def test_an_error_line_in_a_pull_ends_it(mcp, node):
    node.next("/api/pull", ndjson({"status": "pulling manifest"},
                                  {"error": "pull model manifest: file does not exist"}))
    mcp.request(1, {"model": "none", "mcp": {"op": "pull"}})
    frames = mcp.parts()
    assert len(frames) == 2 and the_error(frames)[0] == "upstream_error"


@pytest.mark.parametrize("line", [b"oops", b"[1]", b'{"response":', b'"text"', b"\xff\xff"])
def test_a_stream_that_is_not_json_objects_is_an_error(mcp, node, line):
    node.next("/api/generate", ndjson(generate_parts("m")[0], line))
    mcp.request(1, GENERATE)
    assert the_error(mcp.parts())[0] == "upstream_error"


@pytest.mark.parametrize("body", [b"", b"[]", b"oops", b'{"models":'])
def test_an_answer_that_is_no_object_is_an_error(mcp, node, body):
    node.next("/api/tags", answer(body))
    mcp.request(1, {"mcp": {"op": "list"}})
    if body == b"":
        assert mcp.frame().json() == {}
    else:
        assert the_error([mcp.frame()])[0] == "upstream_error"


# --- streams that end without an end --------------------------------------------------------------
@pytest.mark.parametrize("cut", [None, CLOSE, RESET], ids=["end", "FIN", "RST"])
@pytest.mark.parametrize("before", [1, 2])
def test_a_stream_without_its_end_is_interrupted(mcp, node, cut, before):
    parts = generate_parts("m")[:before]
    node.next("/api/generate", ndjson(*parts, *([cut] if cut else [])))
    mcp.request(1, GENERATE)
    frames = mcp.parts()
    assert [frame.json() for frame in frames[:-1]] == parts
    assert the_error(frames)[0] == "stream_interrupted"


def test_a_stream_cut_within_a_part_is_interrupted(mcp, node):
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), chunk(b'{"response":"a","done":fal'),
                                CLOSE])
    mcp.request(1, GENERATE)
    (frame,) = mcp.parts()
    assert the_error([frame])[0] == "stream_interrupted"


@pytest.mark.parametrize("cut", [CLOSE, RESET], ids=["FIN", "RST"])
def test_a_pull_that_is_cut_is_interrupted(mcp, node, cut):
    node.next("/api/pull", ndjson({"status": "pulling manifest"}, cut))
    mcp.request(1, {"model": "m", "mcp": {"op": "pull"}})
    frames = mcp.parts()
    assert len(frames) == 2 and the_error(frames)[0] == "stream_interrupted"


def test_a_node_that_never_answers_or_falls_silent_is_an_error_in_time(node):
    limits = {"timeouts": {"idle": "300ms", "first_byte": "600ms"}}
    with Gateway(node, config=limits) as gateway, McpClient(gateway.mcp) as client:
        node.next("/api/generate", [HANG], ndjson(generate_parts("m")[0], HANG))
        client.request(1, GENERATE)
        assert the_error(client.parts())[0] == "upstream_error"
        client.request(1, GENERATE)
        assert [the_error(client.parts()[1:])[0]] == ["stream_interrupted"]
        for request in node.of("/api/generate"):
            request.connection.wait_gone()
        assert gateway.metric('mcpgate_node_timeouts_total{phase="first_byte"}') == 1
        assert gateway.metric('mcpgate_node_timeouts_total{phase="idle"}') == 1


# --- what the gateway says itself -----------------------------------------------------------------
@pytest.mark.parametrize("body, text", [
    ({"model": "none", "prompt": "a"}, "model 'none' not found"),
    ({"model": "none", "messages": []}, "model 'none' not found"),
    ({"model": "none", "input": "a"}, 'model "none" not found, try pulling it first'),
    ({"model": "none", "prompt": "a", "mcp": {"op": "embeddings"}}, 'model "none" not found, try pulling it first')])
def test_an_unknown_model_is_said_in_ollamas_words(mcp, node, body, text):
    assert mcp.error(body) == ("unknown_model", text)
    assert node.requests == []


def test_for_other_operations_the_nodes_own_answer_stands(mcp, node):
    assert mcp.error({"model": "none", "mcp": {"op": "show"}}) == ("unknown_model", "model 'none' not found")
    assert len(node.of("/api/show")) == 1


@pytest.mark.parametrize("name", ["m", "m:latest", "library/m", "registry.ollama.ai/library/m:latest", "M"])
def test_model_names_are_normalised_to_find_them_and_forwarded_as_written(mcp, node, name):
    node.next("/api/generate", answer({"done": True}))
    mcp.ask({"model": name, "prompt": "a", "stream": False})
    assert node.wait_request("/api/generate").json()["model"] == name


def nested(depth):
    return b'{"model":"m","prompt":"a","stream":false,"options":%s%s}' % (b"[" * depth, b"]" * depth)


def test_nesting_is_allowed_to_128(mcp, node):
    assert "code" not in mcp.ask(nested(127))[-1]
    assert mcp.error(nested(128))[0] == "bad_request"


@pytest.mark.parametrize("body, code", [
    ({"model": "m", "prompt": "a", "mcp": {"tenant": "t"}}, "forbidden"),
    ({"model": "m", "prompt": "a", "mcp": {"deadline_ms": "soon"}}, "bad_request"),
    ({"model": "m", "prompt": "a", "mcp": {"deadline_ms": -1}}, "bad_request"),
    ({"model": "m", "prompt": "a", "mcp": {"op": 7}}, "bad_request"),
    ({"model": "m", "prompt": "a", "mcp": {"priority": "urgent"}}, "bad_request"),
    ({"model": "m", "prompt": "a", "mcp": {"continue": 1}}, "bad_request"),
    ({"model": "m", "prompt": "a", "mcp": {"tags": {"a": 1}}}, "bad_request"),
    ({"model": 7, "prompt": "a"}, "bad_request"),
    ({"model": "", "prompt": "a"}, "bad_request"),
    ({"prompt": "a"}, "bad_request"),
    ({"model": "m", "prompt": "a", "stream": "yes"}, "bad_request"),
    ({"mcp": {"op": "pull"}}, "bad_request"),
    ({"name": "", "mcp": {"op": "delete"}}, "bad_request"),
    (b'{"model":"m","prompt":"a"} {}', "bad_request"),
    (b'{"model":"m","prompt":"\xff"}', "bad_request"),
    (b'{"model":"m","prompt":"a",}', "bad_request")])
def test_a_request_that_says_something_wrong_is_refused(mcp, node, body, code):
    mcp.request(1, body)
    assert the_error([mcp.frame()])[0] == code
    assert node.requests == []


def test_an_error_before_the_exchange_leaves_session_and_connection_usable(mcp):
    assert mcp.error(b"nonsense")[0] == "bad_request"
    assert mcp.ask(GENERATE)[-1]["done"] is True


@pytest.mark.parametrize("status, outcome", [(400, "client_error"), (500, "node_error")])
def test_the_access_log_and_the_counters_tell_how_it_ended(gateway, mcp, node, status, outcome):
    name = f'mcpgate_exchanges_total{{outcome="{outcome}"}}'
    before = gateway.metric(name)
    node.next("/api/generate", answer({"error": "x"}, status))
    mcp.ask({**GENERATE, "model": "llama3:8b"})
    line = gateway.wait_access(lambda line: line.get("status") == str(status) and line.get("model") == "llama3:8b")
    assert (line["face"], line["op"], line["node"]) == ("mcp", "generate", node.name)
    assert line["code"] == {400: "bad_request", 500: "upstream_error"}[status]
    assert gateway.metric(name) == before + 1


# --- without nodes --------------------------------------------------------------------------------
def test_with_no_node_up_it_is_node_unavailable_and_says_why():
    with OllamaNode(start=False) as node, Gateway(node, wait=False) as gateway, McpClient(gateway.mcp) as client:
        gateway.wait_line("not ready")
        for body in (GENERATE, {"model": "m", "mcp": {"op": "show"}}, {"mcp": {"op": "list"}}):
            code, text = client.error(body)
            assert code == "node_unavailable" and node.name in text and "refused" in text
        client.request(1, {"mcp": {"op": "health"}})
        assert client.frame().json()["status"] == "down"


def test_a_payload_at_the_limit_is_served_and_one_above_is_too_large(node):
    with Gateway(node, config={"limits": {"max_frame": "8KiB"}}) as gateway, McpClient(gateway.mcp) as client:
        body = {"model": "m", "prompt": "", "stream": False}
        body["prompt"] = "x" * (8192 - len(encode_json(body)))
        assert client.ask(body)[-1]["done"] is True
        gate = Gate()
        node.next("/api/generate", ndjson(generate_parts("m")[0], gate))
        client.request(1, {"model": "m", "prompt": "a"})
        assert client.frame().session == 1
        client.request(2, {**body, "prompt": body["prompt"] + "x"})
        refusal = client.frame()
        assert (refusal.session, refusal.error()[0]) == (2, "too_large")
        assert client.closed() == b""  # the exchange in flight ends without a part
        node.wait_request("/api/generate", 2).connection.wait_gone()
