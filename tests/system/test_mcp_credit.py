# SPDX-License-Identifier: Apache-2.0
"""Credit, and what goes ahead of data that waits for a client: protocol.md sections 6 and 7."""
import socket
import struct
import sys
import time

import pytest

from gateway import Gateway
from http_bytes import encode_json, wait_steady, wait_until
from mcp_client import HEARTBEAT, RESPONSE, McpClient
from mcp_negotiated import Negotiated
from node import HANG, NDJSON, Gate, flood, head_of, ndjson, rechunked
from ollama_node import OllamaNode

GENERATE = {"model": "m", "prompt": "a"}
PARTS = [encode_json({"response": "x" * 67}) for _ in range(9)] + [encode_json({"response": "", "done": True})]
SIZE = len(PARTS[0])
assert SIZE == 82
MIB = 1 << 20
TCPI_BYTES_ACKED = 120  # in struct tcp_info
BIG = b'{"response":"%s"}\n' % (b"x" * 65000)
LAST = b"d\r\n{\"done\":true}\r\n0\r\n\r\n"


def script(*parts):
    """One after the other."""
    return ndjson(*parts)


def at_once(*parts):
    """All in one write, so that they are read whether there is credit or not."""
    return rechunked(b"".join(part + b"\n" for part in parts), 1 << 20)


@pytest.fixture
def client(gateway):
    with Negotiated(gateway.mcp, "credit", "cancel", window=3 * SIZE - 1) as client:
        yield client


def sizes(client, count, session=1):
    return [client.frame(session).payload for _ in range(count)]


# --- credit ---------------------------------------------------------------------------------------
def test_parts_come_while_there_is_credit_and_one_may_overdraw_it(client, node):
    node.next("/api/generate", script(*PARTS))
    client.request(1, GENERATE)
    assert sizes(client, 3) == PARTS[:3]  # one byte too many, once begun sent to its end
    client.no_frame()
    client.credit(1, 1)  # the balance is 0
    client.no_frame()
    client.credit(1, 1)
    assert sizes(client, 1) == PARTS[3:4]
    client.no_frame()
    client.credit(1, 3 * SIZE)
    assert sizes(client, 3) == PARTS[4:7]
    client.no_frame()
    client.credit(1, 1000)
    assert sizes(client, 3) == PARTS[7:]


def test_each_exchange_begins_with_the_window(client, node):
    for _ in range(3):
        node.next("/api/generate", script(*PARTS[-3:]))
        client.request(1, GENERATE)
        assert sizes(client, 3) == PARTS[-3:]


def test_other_sessions_go_on(client, node):
    node.next("/api/generate", script(*PARTS), script(*PARTS[-3:]))
    client.request(1, GENERATE)
    assert sizes(client, 3) == PARTS[:3]
    for _ in range(2):
        client.request(2, GENERATE)
        assert sizes(client, 3, 2) == PARTS[-3:]
        node.next("/api/generate", script(*PARTS[-3:]))
    node.forget()
    client.credit(1, 1000)
    assert sizes(client, 7) == PARTS[3:]


def test_a_window_of_nothing_holds_everything_but_errors(gateway, node):
    with Negotiated(gateway.mcp, "credit", "ack", window=0) as client:
        node.next("/api/generate", script(*PARTS[-2:]))
        client.request(1, GENERATE)
        assert client.frame().json()["state"] == "running"
        client.no_frame()
        assert client.error({"model": "none", "prompt": "a"}, session=2)[0] == "unknown_model"
        client.credit(1, 1)
        assert sizes(client, 1) == PARTS[-2:-1]
        client.credit(1, SIZE)
        assert sizes(client, 1) == PARTS[-1:]


def test_the_node_is_not_read_beyond_the_credit(gateway, node):
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(BIG)])
    with Negotiated(gateway.mcp, "credit", "cancel", window=100000) as client:
        client.request(1, GENERATE)
        connection = node.wait_request("/api/generate").connection
        assert len(sizes(client, 2)) == 2
        client.no_frame()
        sent = wait_steady(lambda: connection.sent)
        client.no_frame()
        client.credit(1, 150 * len(BIG))
        assert sizes(client, 149) == [BIG[:-1]] * 149
        assert wait_steady(lambda: connection.sent) > sent
        client.cancel(1)
        while (frame := client.frame(1)).error() is None:
            pass
        connection.wait_gone()


def taken(connection):
    """What the gateway has read of a node's connection: acknowledged, and not in its receive queue."""
    ends = ["%08X:%04X" % (int.from_bytes(socket.inet_aton(host), sys.byteorder), port)
            for host, port in (connection.sock.getpeername(), connection.sock.getsockname())]

    def acknowledged():
        info = connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return struct.unpack_from("Q", info, TCPI_BYTES_ACKED)[0]

    def steady():
        before = acknowledged()
        with open("/proc/net/tcp", encoding="ascii") as lines:
            words = next(words for words in map(str.split, lines) if words[1:3] == ends)
        return (before - int(words[4].split(":")[1], 16),) if acknowledged() == before else None
    return wait_until(steady, "nothing is on its way")[0]


def small_buffer(connection):
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)


@pytest.mark.parametrize("backend", ["epoll", "io_uring"])
@pytest.mark.parametrize("window", [1, 200000])
@pytest.mark.parametrize("warm", [False, True])
def test_a_session_without_credit_holds_one_read(backend, warm, window):
    """However much its node writes, and however many such sessions a client opens."""
    sessions, part = range(1, 9), encode_json({"response": "x" * 85})
    steps = [small_buffer, head_of(content_type=NDJSON, chunked=True), flood(b"".join([part + b"\n"] * 40))]
    with OllamaNode() as node, Gateway(node, config={"reactor": {"backend": backend}}) as gateway:
        with Negotiated(gateway.mcp, "credit", window=window) as client:
            if warm:  # on connections that were used by others
                gate = Gate()
                node.next("/api/generate", *[script(gate, *PARTS[-1:])] * len(sessions))
                with McpClient(gateway.mcp) as other:
                    for session in sessions:
                        other.request(session, GENERATE)
                    node.wait_request("/api/generate", len(sessions))
                    gate.open()
                    for session in sessions:
                        assert other.frame(session).payload == PARTS[-1]
                node.forget()
            node.next("/api/generate", *[steps] * len(sessions))
            for session in sessions:
                client.request(session, GENERATE)
            for session in sessions:
                got = 0
                while got < window:
                    assert client.frame(session).payload == part
                    got += len(part)
            connections = [request.connection for request in node.of("/api/generate")]
            assert len(connections) == len(sessions)
            for connection in connections:
                wait_steady(lambda: connection.sent)
            client.no_frame()
            framed = window * 103 // 100  # newlines and chunks
            assert max(map(taken, connections)) <= framed + 2 * 8192


def test_a_deadline_does_not_wait_for_credit(client, node):
    node.next("/api/generate", script(*PARTS[:-1], HANG))
    client.request(1, {**GENERATE, "mcp": {"deadline_ms": 1000}})
    assert sizes(client, 3) == PARTS[:3]
    assert client.frame().error()[0] == "deadline_exceeded"
    client.no_frame()


def test_an_error_does_not_wait_for_credit(client, node):
    node.next("/api/generate", at_once(*PARTS[:5], b'{"error":"it broke"}'))
    client.request(1, GENERATE)
    assert sizes(client, 3) == PARTS[:3]
    assert client.frame().error() == ("upstream_error", "it broke")
    client.no_frame()


def test_a_last_part_without_credit_can_be_cancelled(gateway, client, node):
    node.next("/api/generate", at_once(*PARTS))
    dropped = gateway.metric("mcpgate_mcp_parts_dropped_total")
    client.request(1, GENERATE)
    assert sizes(client, 3) == PARTS[:3]
    gateway.wait_access(lambda line: line["parts"] == "10")  # all of them are here
    client.cancel(1)
    assert client.frame().error()[0] == "cancelled"
    client.no_frame()
    assert gateway.metric("mcpgate_mcp_parts_dropped_total") == dropped + 7
    node.next("/api/generate", script(PARTS[-1]))
    client.request(1, GENERATE)
    assert sizes(client, 1) == PARTS[-1:]


def test_a_session_is_busy_until_its_last_part_has_credit(gateway, client, node):
    node.next("/api/generate", at_once(*PARTS))
    before = len(gateway.access())
    client.request(1, GENERATE)
    assert sizes(client, 3) == PARTS[:3]
    gateway.wait_access(lambda line: line["parts"] == "10", 1 if before == 0 else 2)
    client.request(1, GENERATE)
    frame = client.frame()
    assert (frame.session, frame.error()[0], frame.json()["session"]) == (0, "session_busy", 1)
    client.credit(1, 1000)
    assert sizes(client, 7) == PARTS[3:]


def test_too_much_credit_ends_the_exchange(client, node):
    node.next("/api/generate", script(PARTS[0], HANG))
    client.request(1, GENERATE)
    assert sizes(client, 1) == PARTS[:1]
    client.credit(1, 0x7fffffff)
    assert client.frame().error()[0] == "bad_request"
    node.wait_request("/api/generate").connection.wait_gone()
    client.credit(1, 0xffffffff)  # the session is idle
    client.no_frame()


def test_who_grants_nothing_is_cancelled():
    config = {"timeouts": {"client_stall": "300ms"}}
    with OllamaNode() as node, Gateway(node, config=config) as gateway:
        with Negotiated(gateway.mcp, "credit", window=100) as client:
            for parts in (PARTS, PARTS[:-1] + [HANG]):
                node.next("/api/generate", script(*parts))
                client.request(1, GENERATE)
                assert sizes(client, 2) == PARTS[:2]
                assert client.frame().error()[0] == "cancelled"
            node.of("/api/generate")[1].connection.wait_gone()
            client.no_frame()
        assert gateway.metric("mcpgate_client_stalls_total") == 2


def test_who_grants_slowly_is_not():
    config = {"timeouts": {"client_stall": "1s"}}
    with OllamaNode() as node, Gateway(node, config=config) as gateway:
        node.next("/api/generate", script(*PARTS))
        with Negotiated(gateway.mcp, "credit", window=1) as client:
            client.request(1, GENERATE)
            for part in PARTS:
                assert sizes(client, 1) == [part]
                time.sleep(0.15)  # far less than client_stall; all together more
                client.credit(1, SIZE)


def test_a_drain_ends_what_has_no_credit():
    with OllamaNode() as node:
        gateway = Gateway(node, config={"timeouts": {"drain": "500ms"}})
        node.next("/api/generate", at_once(*PARTS))
        with Negotiated(gateway.mcp, "credit", window=1) as client:
            client.request(1, GENERATE)
            assert sizes(client, 1) == PARTS[:1]
            gateway.wait_access(lambda line: line["parts"] == "10")
            gateway.terminate()
            assert client.frame().error()[0] == "shutting_down"
            assert client.closed() == b""
        gateway.wait_exit()


# --- ahead of data --------------------------------------------------------------------------------
@pytest.fixture
def stalled(gateway, node):
    """A client whose socket is full, with about 1 MiB waiting in the gateway."""
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(BIG)])
    with Negotiated(gateway.mcp, "cancel", "ack", receive_buffer=65536) as client:
        client.request(1, GENERATE)
        connection = node.wait_request("/api/generate").connection
        wait_steady(lambda: connection.sent)
        yield client


def frames_in(gateway):
    return gateway.metric('mcpgate_mcp_frames_total{direction="in"}')


def send_and_wait(gateway, send):
    before = frames_in(gateway)
    send()
    wait_until(lambda: frames_in(gateway) > before, "the gateway has read it")


def rest(client):
    """All frames up to the end of session 1's exchange."""
    frames = []
    while True:
        frames.append(client.frame())
        if frames[-1].session == 1 and frames[-1].opcode == RESPONSE and frames[-1].error():
            return frames


def test_heartbeats_and_errors_overtake_what_waits(gateway, stalled):
    send_and_wait(gateway, lambda: stalled.heartbeat(7, b"now"))
    send_and_wait(gateway, lambda: stalled.send_frame(0x55, 9))
    send_and_wait(gateway, lambda: stalled.cancel(99))
    seen, behind = [], 0
    while behind < 8:  # half of what waits, at least
        frame = stalled.frame()
        seen += [frame] if frame.session != 1 else []
        behind += frame.session == 1 and len(seen) == 2
    assert [(frame.opcode, frame.session) for frame in seen] == [(HEARTBEAT, 7), (RESPONSE, 9)]


def test_cancel_drops_what_waits(gateway, stalled):
    dropped = gateway.metric("mcpgate_mcp_parts_dropped_total")
    send_and_wait(gateway, lambda: stalled.cancel(1))
    assert gateway.metric("mcpgate_mcp_parts_dropped_total") - dropped > 8
    frames = rest(stalled)
    assert frames[-1].error()[0] == "cancelled"
    assert all(frame.payload == BIG[:-1] for frame in frames[1:-1])  # whole, behind the ACK
    stalled.no_frame()


def test_a_client_that_only_sends_is_not_read_for_long(gateway, stalled):
    before = gateway.metric("mcpgate_mcp_reading_pauses_total")
    stalled.sock.settimeout(1)
    try:
        while True:
            stalled.send(stalled.encode(HEARTBEAT, 3, b"x" * 64) * 1000)
    except TimeoutError:
        pass
    wait_until(lambda: gateway.metric("mcpgate_mcp_reading_pauses_total") > before, "it stops reading")
    with McpClient(gateway.mcp) as other:
        other.ping()


def test_a_client_that_does_not_read_keeps_nobody_from_ending():
    with OllamaNode() as node:
        gateway = Gateway(node, config={"timeouts": {"drain": "100ms"}})
        node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), flood(BIG, 300), LAST])
        with Negotiated(gateway.mcp, "goaway", receive_buffer=65536) as client:
            client.request(1, GENERATE)
            connection = node.wait_request("/api/generate").connection
            wait_steady(lambda: connection.sent)
            gateway.terminate()
            gateway.wait_exit(10)
