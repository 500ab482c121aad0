# SPDX-License-Identifier: Apache-2.0
"""The connection itself (protocol.md sections 5 and 7): heartbeats, frames that are wrong, what closes it,
and drain."""
import socket

import pytest

from gateway import Gateway
from http_bytes import HttpClient, wait_until
from mcp_client import HEARTBEAT, REQUEST, McpClient, encode
from node import HANG, Gate, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
FIRST, *REST = generate_parts("m")


# --- heartbeats -----------------------------------------------------------------------------------
def test_a_heartbeat_is_echoed_on_any_session_while_exchanges_run(mcp, node):
    gate = Gate()
    node.next("/api/generate", ndjson(FIRST, gate, *REST))
    mcp.request(1, GENERATE)
    mcp.frame()
    for session in (0, 1, 7, 0xffffffff):
        mcp.heartbeat(session, b"x" * 64)
        frame = mcp.frame()
        assert (frame.opcode, frame.session, frame.payload) == (HEARTBEAT, session, b"x" * 64)
    gate.open()
    assert [frame.json() for frame in mcp.parts()] == REST


def test_a_heartbeat_makes_no_session(mcp):
    mcp.heartbeat(5)
    assert mcp.frame().session == 5
    assert mcp.error({"prompt": "a"}, session=5)[0] == "bad_request"


# --- frames that are wrong ------------------------------------------------------------------------
@pytest.mark.parametrize("frame, about", [
    (encode(0x00, 1, b"x"), 1), (encode(0x11, 0, b"{}"), None), (encode(0x14, 1), 1), (encode(0x13, 1, b"\0\0\0\1"), 1),
    (encode(0x16, 1, b"piece"), 1), (encode(0xff, 1), 1), (encode(2, 1, b"{}"), 1),
    (encode(HEARTBEAT, 1, b"x" * 65), 1),
    (encode(REQUEST, 0, b"{}"), None)])
def test_an_error_beside_a_running_exchange_goes_to_session_0(mcp, node, frame, about):
    gate = Gate()
    node.next("/api/generate", ndjson(FIRST, gate, *REST))
    mcp.request(1, GENERATE)
    mcp.frame()
    mcp.send(frame)
    error = mcp.frame()
    assert (error.session, error.error()[0], error.json().get("session")) == (0, "bad_request", about)
    gate.open()
    assert [frame.json() for frame in mcp.parts()] == REST


@pytest.mark.parametrize("frame", [encode(0x42, 9, b"x" * 100), encode(0x14, 9), encode(2, 9, b"{}")])
def test_an_error_on_an_idle_session_goes_to_that_session(mcp, frame):
    mcp.send(frame)
    error = mcp.frame()
    assert (error.session, error.error()[0], "session" in error.json()) == (9, "bad_request", False)
    mcp.ping()


def test_the_17th_unknown_opcode_closes(mcp):
    for count in range(1, 18):
        mcp.send(encode(0x42, count, b"skipped"))
    for count in range(1, 18):
        frame = mcp.frame()
        assert (frame.session, frame.error()[0]) == (count, "bad_request")
    assert mcp.closed() == b""


def test_sixteen_unknown_opcodes_do_not(mcp):
    mcp.send(encode(0x42, 1) * 16)
    for _ in range(16):
        mcp.frame()
    assert mcp.ask(GENERATE)[-1]["done"] is True


def test_a_wrong_version_cancels_what_runs_and_its_answer_arrives(gateway, mcp, node):
    node.next("/api/generate", ndjson(FIRST, HANG))
    mcp.request(1, GENERATE)
    mcp.frame()
    mcp.send(encode(REQUEST, 2, b"{}", version=7) + b"x" * 200000)  # input behind it is discarded
    frame = mcp.frame()
    code, text = frame.error()
    assert (frame.session, code) == (2, "unsupported_version") and "1" in text
    assert mcp.closed() == b""
    node.wait_request("/api/generate").connection.wait_gone()


def test_what_follows_the_error_that_closes_is_not_handled(mcp, node):
    mcp.send(encode(REQUEST, 2, b"{}", version=7) + encode(REQUEST, 3, b'{"model":"m","prompt":"a"}'))
    assert mcp.frame().error()[0] == "unsupported_version"
    assert mcp.closed() == b""
    assert node.requests == []


def test_tls_on_the_plain_port_gets_an_alert(gateway):
    with McpClient(gateway.mcp) as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00")
        assert client.closed()[:2] == b"\x15\x03"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "X"])
def test_a_lost_browser_gets_a_whole_answer(gateway, method):
    with HttpClient(gateway.mcp) as client:
        client.request(method, "/api/tags")
        response = client.response("GET")
        assert (response.status, response.complete) == (400, True)
        assert "%s:%d" % gateway.http in response.body.decode()


def test_frames_of_many_sizes_back_to_back(mcp, node):
    """A REQUEST that is cut anywhere, several of them, and heartbeats between."""
    data = b""
    for session in range(1, 21):
        data += encode(REQUEST, session, b'{"model":"m","prompt":"%s"}' % (b"x" * session * 400))
        data += encode(HEARTBEAT, session, b"y" * (session % 3))
    for i in range(0, len(data), 977):
        mcp.send(data[i:i + 977])
    for session in range(1, 21):
        frames = []
        while len(frames) < len(REST) + 2:
            frames.append(mcp.frame(session))
        assert sorted(frame.opcode for frame in frames) == [2] * (len(REST) + 1) + [3]
    prompts = sorted(len(request.json()["prompt"]) for request in node.of("/api/generate"))
    assert prompts == [400 * n for n in range(1, 21)]


# --- drain ----------------------------------------------------------------------------------------
@pytest.fixture
def own():
    with OllamaNode() as node:
        gateway = Gateway(node, config={"timeouts": {"drain": "30s"}})
        yield node, gateway
        gateway.kill()


def refused(address):
    try:
        socket.create_connection(address, 5).close()
        return False
    except ConnectionError:
        return True


def test_sigterm_lets_what_runs_end_and_refuses_what_is_new(own):
    node, gateway = own
    gate = Gate()
    node.next("/api/generate", ndjson(FIRST, gate, *REST))
    with McpClient(gateway.mcp) as client, McpClient(gateway.mcp) as idle:
        idle.ping()
        client.request(1, GENERATE)
        client.frame()
        gateway.terminate()
        assert idle.closed() == b""
        wait_until(lambda: refused(gateway.mcp), "new connections are refused")
        assert gateway.ready_status() == 503
        client.request(2, GENERATE)
        refusal = client.frame()
        assert (refusal.session, refusal.error()[0], refusal.json()["retryable"]) == (2, "shutting_down", True)
        client.heartbeat(3, b"alive")
        assert client.frame().payload == b"alive"
        gate.open()
        assert [frame.json() for frame in client.parts(1)] == REST
        assert client.closed() == b""
    gateway.wait_exit()


def test_at_the_drain_timeout_what_is_left_ends_shutting_down():
    with OllamaNode() as node:
        gateway = Gateway(node, config={"timeouts": {"drain": "300ms"}})
        node.next("/api/generate", ndjson(FIRST, HANG))
        with McpClient(gateway.mcp) as client:
            client.request(1, GENERATE)
            client.frame()
            gateway.terminate()
            (frame,) = client.parts()
            assert frame.error()[0] == "shutting_down"
            assert client.closed() == b""
        node.wait_request("/api/generate").connection.wait_gone()
        gateway.wait_exit()


def test_a_second_signal_does_not_wait(own):
    node, gateway = own
    node.next("/api/generate", ndjson(FIRST, HANG))
    with McpClient(gateway.mcp) as client:
        client.request(1, GENERATE)
        client.frame()
        gateway.terminate()
        wait_until(lambda: refused(gateway.mcp), "it drains")
        gateway.terminate()
        (frame,) = client.parts()
        assert frame.error()[0] == "shutting_down"
    gateway.wait_exit(deadline_s=15)


def test_with_nothing_to_do_it_ends_at_once(own):
    _, gateway = own
    gateway.terminate()
    gateway.wait_exit(deadline_s=15)
