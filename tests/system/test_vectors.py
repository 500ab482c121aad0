# SPDX-License-Identifier: Apache-2.0
"""Every vector of tests/vectors that a server can be sent, against the running gateway: whole and byte by byte."""
import json
import pathlib
import socket

import pytest

from gateway import Gateway
from mcp_client import HEADER, HEARTBEAT, REQUEST, RESPONSE, McpClient
from mcp_negotiated import GOAWAY, WELCOME, Negotiated
from ollama_node import OllamaNode

VECTORS = json.loads((pathlib.Path(__file__).resolve().parents[1] / "vectors" / "wire.json").read_text())["vectors"]
SERVER = [v for v in VECTORS if v["expect"].get("role") != "client"]
NEGOTIATED = [v for v in SERVER if v["name"].startswith(("hello", "crc_", "credit", "cancel_idle"))
              and v["name"] != "hello_late"]
BASE = [v for v in SERVER if v not in NEGOTIATED]
PATHS = {"generate": "/api/generate", "chat": "/api/chat", "embed": "/api/embed", "list": "/api/tags"}


@pytest.fixture(params=["whole", "byte by byte"])
def client(request, gateway):
    with McpClient(gateway.mcp) as client:
        client.write = client.send if request.param == "whole" else client.send_each_byte
        yield client


def named(vectors):
    return pytest.mark.parametrize("vector", vectors, ids=[v["name"] for v in vectors])


def test_the_vectors_are_all_here():
    kinds = ("op", "reply_hex", "error", "incomplete", "raw_prefix_hex", "frames")
    assert (len(BASE), len(NEGOTIATED)) == (34, 12)
    assert all(any(kind in v["expect"] for kind in kinds) for v in BASE)


@named([v for v in BASE if "op" in v["expect"]])
def test_a_request_reaches_the_node_and_is_answered(client, node, vector):
    (frame,) = vector["expect"]["frames"]
    client.write(bytes.fromhex(vector["hex"]))
    parts = client.parts(frame["session_id"], single=vector["expect"]["op"] in ("embed", "list"))
    assert all((part.opcode, part.error()) == (RESPONSE, None) for part in parts)
    request = node.wait_request(PATHS[vector["expect"]["op"]])
    if vector["expect"]["op"] != "list":
        assert request.body == bytes.fromhex(vector["hex"])[10:]


@named([v for v in BASE if "reply_hex" in v["expect"]])
def test_a_heartbeat_is_echoed(client, vector):
    expected = bytes.fromhex(vector["expect"]["reply_hex"])
    client.write(bytes.fromhex(vector["hex"]))
    assert client.reader.exactly(len(expected)) == expected
    client.ping()


@named([v for v in BASE if v["name"] == "two_frames_one_read"])
def test_frames_may_arrive_together(client, vector):
    client.write(bytes.fromhex(vector["hex"]))
    for frame in vector["expect"]["frames"]:
        answer = client.frame()
        assert (answer.opcode, answer.session) == (HEARTBEAT if frame["opcode"] == HEARTBEAT else RESPONSE,
                                                   frame["session_id"])
        if frame["opcode"] == REQUEST and answer.json().get("done") is not True:
            client.parts(frame["session_id"])


@named([v for v in BASE if "error" in v["expect"]])
def test_what_is_wrong_is_answered_with_its_code(client, node, vector):
    expect = vector["expect"]
    client.write(bytes.fromhex(vector["hex"]))
    if vector["name"] == "hello_late":
        assert client.frame().opcode == HEARTBEAT
    frame = client.frame()
    assert (frame.version, frame.opcode, frame.session) == (1, RESPONSE, expect["error_session"])
    body = frame.json()
    assert (body["code"], body["done"]) == (expect["error"], True)
    assert body["error"] and isinstance(body["error"], str) and body["retryable"] is False
    if expect["closes"]:
        assert client.closed() == b""
    else:
        client.ping()
    assert node.requests == []


@named([v for v in BASE if "incomplete" in v["expect"]])
def test_what_is_incomplete_is_waited_for(client, vector):
    client.write(bytes.fromhex(vector["hex"]))
    client.sock.settimeout(0.2)
    with pytest.raises(socket.timeout):
        client.sock.recv(1)


@named([v for v in BASE if "raw_prefix_hex" in v["expect"]])
def test_a_lost_browser_is_told_where_http_is(client, gateway, vector):
    client.write(bytes.fromhex(vector["hex"]))
    answer = client.closed()
    assert answer.startswith(bytes.fromhex(vector["expect"]["raw_prefix_hex"]))
    assert b"%s:%d" % (gateway.http[0].encode(), gateway.http[1]) in answer


# --- negotiated -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def without():
    """A gateway whose node has no model of the vectors'."""
    with OllamaNode("other") as node, Gateway(node) as gateway:
        yield gateway


@pytest.fixture(params=["whole", "byte by byte"])
def raw(request, without):
    """A client that has sent nothing yet."""
    with Negotiated.__new__(Negotiated) as client:
        McpClient.__init__(client, without.mcp)
        client.crc = False
        client.write = client.send if request.param == "whole" else client.send_each_byte
        yield client


def expect_error(frame, expect):
    """In whatever frame it came."""
    body = frame.json()
    if frame.opcode == GOAWAY:
        assert body["reason"] == expect["error"]
    else:
        assert (body["code"], bool(body["error"])) == (expect["error"], True)
    if "error_session" in expect:
        assert frame.session == expect["error_session"]


@named(NEGOTIATED)
def test_negotiation_is_as_the_vector_says(raw, vector):
    expect, data = vector["expect"], bytes.fromhex(vector["hex"])
    first = HEADER.size + HEADER.unpack(data[:HEADER.size])[3] if expect.get("wait_welcome") else len(data)
    raw.write(data[:first])
    frame = raw.frame()
    assert (frame.opcode, frame.session) == (WELCOME, 0)
    assert expect.get("reply_opcode", WELCOME) in (WELCOME, GOAWAY)
    welcome = frame.json()
    raw.crc = "crc32c" in welcome.get("features", ())
    assert welcome == {**welcome, **expect.get("reply_json", {})}
    raw.write(data[first:])
    if "then_hex" in expect:
        wanted = bytes.fromhex(expect["then_hex"])
        assert raw.reader.exactly(len(wanted)) == wanted
    elif "error" in expect:
        expect_error(frame if "error" in welcome else raw.frame(), expect)
    if expect.get("closes"):
        assert raw.closed() == b""
    else:
        raw.no_frame()
