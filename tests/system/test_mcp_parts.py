# SPDX-License-Identifier: Apache-2.0
"""Parts over MCP (protocol.md section 4): unchanged, as soon as they are complete, and exactly one is the last."""
import json

import pytest

from http_bytes import wait_until
from mcp_client import RESPONSE
from node import CLOSE, LAST_CHUNK, NDJSON, Gate, answer, chunk, head_of, in_writes_of, ndjson, rechunked, stream
from ollama_node import CREATION, PROGRESS, chat_parts, generate_parts

GENERATE = {"model": "m", "prompt": "a"}


def payloads(mcp, body, session=1):
    mcp.request(session, body)
    return [frame.payload for frame in mcp.parts(session)]


# --- unchanged ------------------------------------------------------------------------------------
ODD_LINES = [
    b'{"response": "a", "n": 1.0e+02, "big":12345678901234567890123, "done": false}',
    b'  {"done":false,"response":"\\u00e9 \\ud83e\\udd8a \\u0000"}  ',
    b'{"a":{"done":true},"response":"\xc3\xa9","response":"twice","done":false}\r',
    b'{}',
    b'{"done" : true , "response":""}',
]


def test_parts_are_the_nodes_bytes_without_the_newline(mcp, node):
    node.next("/api/generate", ndjson(*ODD_LINES))
    assert payloads(mcp, GENERATE) == [line.rstrip(b"\r") for line in ODD_LINES]


def test_blank_lines_are_no_parts(mcp, node):
    node.next("/api/generate", ndjson(b'{"response":"a"}', b"", b"\r", b'{"done":true}'))
    assert payloads(mcp, GENERATE) == [b'{"response":"a"}', b'{"done":true}']


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100000])
def test_parts_are_found_wherever_the_node_cuts_its_chunks(mcp, node, size):
    node.next("/api/generate", rechunked(b"\n".join(ODD_LINES) + b"\n", size))
    assert payloads(mcp, GENERATE) == [line.rstrip(b"\r") for line in ODD_LINES]


def test_parts_are_found_when_every_byte_comes_alone(mcp, node):
    node.next("/api/generate", in_writes_of(ndjson(*ODD_LINES)))
    assert payloads(mcp, GENERATE) == [line.rstrip(b"\r") for line in ODD_LINES]


def test_parts_are_found_at_every_cut_in_two_writes(mcp, node):
    lines = [b'{"response":"a"}', b'{"x":{"done":true}}', b'{"done":true}']
    data = b"".join(ndjson(*lines))
    gates = []
    for at in range(1, len(data), 3):
        gate = Gate()
        gates.append(gate)
        node.next("/api/generate", [data[:at], gate, data[at:]])
    for gate in gates:
        mcp.request(1, GENERATE)
        gate.wait_reached()
        gate.open()
        assert [frame.payload for frame in mcp.parts()] == lines


def test_a_last_line_without_its_newline_counts(mcp, node):
    node.next("/api/generate", stream(b'{"response":"a"}\n{"done":true}', content_type=NDJSON))
    assert payloads(mcp, GENERATE) == [b'{"response":"a"}', b'{"done":true}']


def test_a_stream_that_ends_with_its_connection_is_whole_when_done(mcp, node):
    node.next("/api/generate", [head_of(content_type=NDJSON) + b'{"response":"a"}\n{"done":true}\n', CLOSE])
    assert payloads(mcp, GENERATE) == [b'{"response":"a"}', b'{"done":true}']


def test_a_part_may_be_megabytes_long(mcp, node):
    huge = json.dumps({"model": "m", "response": "x" * (8 << 20), "done": False}).encode()
    node.next("/api/generate", ndjson(huge, b'{"done":true}'), rechunked(huge + b'\n{"done":true}\n', 4096))
    for _ in range(2):
        assert payloads(mcp, GENERATE) == [huge, b'{"done":true}']


def test_a_part_over_the_frame_limit_ends_the_exchange_alone(mcp, node):
    """The default limit of a client that announced none is 16 MiB."""
    def part(size):
        return b'{"response":"%s"}' % (b"x" * (size - 15))
    node.next("/api/generate", ndjson(part(16 << 20), part((16 << 20) + 1), b'{"done":true}'))
    mcp.request(1, GENERATE)
    assert len(mcp.frame().payload) == 16 << 20
    frame = mcp.frame()
    assert frame.error()[0] == "too_large" and frame.json()["done"] is True
    assert mcp.ask(GENERATE)[-1]["done"] is True


def test_a_part_goes_on_the_moment_it_is_complete(mcp, node):
    parts, gates = generate_parts("m"), [Gate() for _ in generate_parts("m")]
    node.next("/api/generate", ndjson(*[step for pair in zip(parts, gates) for step in pair]))
    mcp.request(1, GENERATE)
    for part, gate in zip(parts, gates):
        assert mcp.frame().json() == part  # the node has written nothing more
        gate.open()


def test_a_part_does_not_wait_for_the_rest_of_its_chunk(mcp, node):
    gate = Gate()
    data = b'{"response":"a"}\n{"response":"b"}\n{"done":true}\n'
    whole = chunk(data)
    at = whole.index(b"b")
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), whole[:at], gate, whole[at:], LAST_CHUNK])
    mcp.request(1, GENERATE)
    assert mcp.frame().payload == b'{"response":"a"}'
    gate.open()
    assert len(mcp.parts()) == 2


# --- the last -------------------------------------------------------------------------------------
def test_done_inside_a_tool_call_is_not_the_end(mcp, node):
    call = {"function": {"name": "finish", "arguments": {"done": True}}}
    parts = chat_parts("m")
    parts[0]["message"]["tool_calls"] = [call]
    node.next("/api/chat", ndjson(*parts))
    assert mcp.ask({"model": "m", "messages": [{"role": "user", "content": "a"}]}) == parts


@pytest.mark.parametrize("line", [
    b'{"message":{"tool_calls":[{"function":{"arguments":{"done":true}}}]},"done":false}',
    b'{"message":{"content":"{\\"done\\":true}"},"done":false}',
    b'{"done":true,"response":"a","done":false}',
    b'{"x":[{"done":true}],"response":"a"}',
    b'{"Done":"true","done":"true","response":"a"}',
    b'{"response":"done\\":true","done":0}'])
def test_only_a_true_done_at_the_top_ends(mcp, node, line):
    node.next("/api/generate", ndjson(line, b'{"done":true}'))
    mcp.request(1, GENERATE)
    assert [mcp.frame().payload, mcp.frame().payload] == [line, b'{"done":true}']
    mcp.ping()
    assert mcp.waiting == []


@pytest.mark.parametrize("line", [b'{"done":true}', b'{ "done" :\ttrue }', b'{"d":{"done":false},"done":true}',
                                  b'{"response":"}","done":true,"context":[1,2]}'])
def test_a_true_done_at_the_top_is_the_end(mcp, node, line):
    node.next("/api/generate", ndjson(line, b'{"response":"behind the end"}'))
    assert payloads(mcp, GENERATE) == [line]
    mcp.ping()
    assert mcp.waiting == []


@pytest.mark.parametrize("op", ["pull", "push", "create"])
def test_pull_push_and_create_get_a_done_behind_a_clean_end(mcp, node, op):
    steps = CREATION if op == "create" else PROGRESS
    assert mcp.ask({"model": "m", "mcp": {"op": op}}) == [*steps, {"done": True}]
    assert node.wait_request(f"/api/{op}").json() == {"model": "m"}


@pytest.mark.parametrize("op", ["pull", "push", "create"])
def test_without_stream_they_have_one_part(mcp, node, op):
    assert mcp.ask({"model": "m", "stream": False, "mcp": {"op": op}}, single=True) == [{"status": "success"}]
    mcp.ping()
    assert mcp.waiting == []


@pytest.mark.parametrize("body, method, path", [
    ({"source": "m", "destination": "n", "mcp": {"op": "copy"}}, "POST", "/api/copy"),
    ({"model": "m", "mcp": {"op": "delete"}}, "DELETE", "/api/delete"),
    ({"name": "m", "mcp": {"op": "delete"}}, "DELETE", "/api/delete")])
def test_an_empty_answer_is_an_empty_object(mcp, node, body, method, path):
    mcp.request(1, body)
    assert mcp.frame().payload == b"{}"
    request = node.wait_request(path)
    assert request.method == method
    assert request.json() == {key: value for key, value in body.items() if key != "mcp"}


@pytest.mark.parametrize("body, path", [
    ({**GENERATE, "stream": False}, "/api/generate"),
    ({"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": False}, "/api/chat"),
    ({"model": "m", "input": ["a", "b"]}, "/api/embed"),
    ({"model": "m", "prompt": "a", "mcp": {"op": "embeddings"}}, "/api/embeddings"),
    ({"model": "m", "mcp": {"op": "show"}}, "/api/show"),
    ({"mcp": {"op": "list"}}, "/api/tags"),
    ({"mcp": {"op": "ps"}}, "/api/ps"),
    ({"mcp": {"op": "version"}}, "/api/version")])
def test_what_is_no_stream_is_one_part_as_the_node_wrote_it(mcp, node, body, path):
    exact = b'{ "response" : "a",\n "done":true, "n":1.50 }'
    node.next(path, answer(exact))
    mcp.request(1, body)
    frame = mcp.frame()
    assert (frame.opcode, frame.payload) == (RESPONSE, exact)
    mcp.ping()
    assert mcp.waiting == []


@pytest.mark.parametrize("body", [{"model": "m", "prompt": ""}, {"model": "m", "messages": []}])
def test_loading_a_model_answers_one_part_even_when_streaming(mcp, node, body):
    exact = b'{"model":"m","response":"","done":true,"done_reason":"load"}'
    body = {**body, "mcp": {"op": "chat" if "messages" in body else "generate"}}
    node.next("/api/chat" if "messages" in body else "/api/generate", answer(exact))
    assert payloads(mcp, body) == [exact]


def test_health_is_the_gateways_own(mcp, node):
    (health,) = mcp.ask({"mcp": {"op": "health"}}, single=True)
    assert (health["status"], [(n["name"], n["up"]) for n in health["nodes"]]) == ("ok", [(node.name, True)])
    assert health["version"] and node.requests == []


def test_a_deep_health_check_generates_a_token(gateway, mcp, node):
    before = len(gateway.access())
    (health,) = mcp.ask({"deep": True, "mcp": {"op": "health"}}, single=True)
    assert health["status"] == "ok"
    assert node.of("/api/generate") or node.of("/api/chat")
    wait_until(lambda: len(gateway.access()) > before, "it is logged")
    assert (gateway.access()[before]["op"], gateway.access()[before]["node"]) == ("health", node.name)
