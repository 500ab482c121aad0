# SPDX-License-Identifier: Apache-2.0
"""Limits that protect the gateway: memory for bodies, frames that come too slowly, and what happens while it waits."""
import os
import time

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, encode_json, wait_until
from mcp_client import REQUEST, McpClient, encode
from node import HANG, Gate, answer, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")


def of_size(size):
    body = {"model": "m", "prompt": ""}
    return {**body, "prompt": "x" * (size - len(encode_json(body)))}


# --- memory for bodies ----------------------------------------------------------------------------
CONFIG = {"limits": {"max_body": "40KiB", "body_memory": "64KiB"}}
HELD = "mcpgate_body_bytes"


def test_bodies_beyond_the_memory_for_all_are_refused_until_there_is_room(gateway, mcp, node):
    gates = [Gate(), Gate()]
    node.next("/api/generate", *[ndjson(gate, PARTS[0], HANG) for gate in gates])
    refused = gateway.metric("mcpgate_body_memory_refusals_total")
    mcp.request(1, of_size(40000))
    gates[0].wait_reached()
    assert gateway.metric(HELD) == 40000
    code, _ = mcp.error(of_size(40000), session=2)
    assert code == "queue_full"
    response = ask(gateway.http, "POST", "/api/generate", of_size(40000))
    assert (response.status, "memory" in response.json()["error"]) == (503, True)
    gates[0].open()
    assert mcp.frame(1).json() == PARTS[0]  # kept for a retry till here, not longer
    assert gateway.metric(HELD) == 0
    mcp.request(2, of_size(40000))
    gates[1].wait_reached()
    mcp.close()
    gateway.wait_metric(HELD, 0)
    assert gateway.metric("mcpgate_body_memory_refusals_total") == refused + 2


@pytest.mark.parametrize("leave", [HttpClient.close, HttpClient.reset])
def test_a_body_that_never_comes_whole_gives_its_memory_back(gateway, leave):
    with HttpClient(gateway.http) as client:
        client.send(client.bytes_of("POST", "/api/generate", of_size(40000))[:20000])
        wait_until(lambda: gateway.metric(HELD) > 10000, "a part of the body is held")
        leave(client)
        gateway.wait_metric(HELD, 0)


def test_what_counts_is_the_memory_not_what_is_in_it(gateway):
    """Of a length that is known no more is taken in the end; else there is room for as much again."""
    body = encode_json(of_size(33000))
    with HttpClient(gateway.http) as known, HttpClient(gateway.http) as chunked:
        known.send(known.bytes_of("POST", "/api/generate", body)[:-1])
        gateway.wait_metric(HELD, 33000)
        known.close()
        gateway.wait_metric(HELD, 0)
        head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked.send(head + b"%x\r\n" % len(body) + body)
        gateway.wait_metric(HELD, 40 * 1024)  # max_body
    gateway.wait_metric(HELD, 0)


def test_refused_bodies_hold_nothing(gateway, mcp, node):
    for body in (b"nonsense" * 100, {"model": "none", "prompt": "x" * 1000}, {"prompt": "x" * 1000}):
        assert "code" in mcp.ask(body)[-1]
    for body in (b"nonsense" * 100, {"model": "none", "prompt": "x" * 1000}):
        assert ask(gateway.http, "POST", "/api/generate", body).status in (400, 404)
    gateway.wait_metric(HELD, 0)


# --- frames that come too slowly ------------------------------------------------------------------
def test_a_frame_that_stops_within_10_seconds_closes_and_a_silent_connection_does_not(gateway):
    whole = encode(REQUEST, 1, b'{"model":"m","prompt":"a"}')
    began = time.monotonic()
    halves = []
    for cut in (1, 9, 10, 20):
        halves.append(McpClient(gateway.mcp, timeout_s=14))
        halves[-1].send(whole[:cut])
    with McpClient(gateway.mcp) as silent:
        for client in halves:
            assert client.closed() == b""
            client.close()
        assert 9 < time.monotonic() - began < 14
        silent.ping()


# --- while it waits -------------------------------------------------------------------------------
@pytest.fixture
def reading():
    """A gateway that is reading the catalogue anew for a client, and the gate that ends it."""
    with OllamaNode("m:latest") as node, Gateway(node, wait=True) as gateway:
        gate = Gate()

        def begin(client, body):
            tags = node.plain_answer("GET", "/api/tags")
            node.always("/api/tags", [gate, *tags], polls=True)
            client.request(1, body)

        yield node, gateway, gate, begin
        gate.open()


def ask_until_it_waits(client, begin, gate):
    """What was read less than a second ago is believed: the first ones may be answered at once."""
    begin(client, {"model": "new", "prompt": "a"})
    def waits():
        if gate.reached.is_set():
            return True
        client.sock.settimeout(0.05)
        try:
            assert client.frame().error()[0] == "unknown_model"
            client.request(1, {"model": "new", "prompt": "a"})
        except TimeoutError:
            pass
        return False
    wait_until(waits, "the gateway reads the catalogue")
    client.sock.settimeout(20)


@pytest.mark.parametrize("leave", [McpClient.close, McpClient.reset])
def test_a_client_may_leave_while_the_catalogue_is_read(reading, leave):
    node, gateway, gate, begin = reading
    with McpClient(gateway.mcp) as client:
        ask_until_it_waits(client, begin, gate)
        leave(client)
        gateway.wait_idle()
    gate.open()
    with McpClient(gateway.mcp) as client:
        assert client.ask(GENERATE) == PARTS


def test_the_node_may_go_while_its_catalogue_is_read(reading):
    node, gateway, gate, begin = reading
    with McpClient(gateway.mcp) as client:
        ask_until_it_waits(client, begin, gate)
        node.stop()
        assert client.frame().error()[0] == "node_unavailable"


def test_a_deadline_may_pass_while_the_catalogue_is_read(reading):
    node, gateway, gate, begin = reading
    with McpClient(gateway.mcp) as client:
        ask_until_it_waits(client, begin, gate)
        client.request(2, {"model": "other", "prompt": "a", "mcp": {"deadline_ms": 100}})
        assert client.frame(2).error()[0] == "deadline_exceeded"
        gate.open()
        assert client.frame(1).error()[0] == "unknown_model"


def test_the_gateway_may_stop_while_the_catalogue_is_read(reading):
    node, gateway, gate, begin = reading
    with McpClient(gateway.mcp) as client:
        ask_until_it_waits(client, begin, gate)
        gateway.terminate()
        wait_until(lambda: gateway.ready_status() == 503, "it drains")
        gateway.terminate()  # the second does not wait
        assert client.frame().error()[0] == "shutting_down"
    gateway.wait_exit()


def test_a_half_frame_and_the_end_ask_nothing_of_a_node(gateway, node):
    with McpClient(gateway.mcp) as client:
        client.send(encode(REQUEST, 1, b'{"model":"m","prompt":"a"}')[:-1])
    with HttpClient(gateway.http) as client:
        client.send(client.bytes_of("POST", "/api/generate", GENERATE)[:-1])
    with McpClient(gateway.mcp) as client:
        client.ping()
        assert client.ask(GENERATE) == PARTS
    assert len(node.requests) == 1


# --- descriptors ----------------------------------------------------------------------------------
def test_four_hundred_connections_at_once_and_none_is_left(gateway, node):
    def open_files():
        return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
    before = open_files()
    clients = [McpClient(gateway.mcp) if i % 2 else HttpClient(gateway.http) for i in range(400)]
    for client in clients:
        if isinstance(client, McpClient):
            client.heartbeat()
        else:
            client.request("GET", "/api/version")
    for client in clients:
        assert client.frame().session == 0 if isinstance(client, McpClient) else client.response().status == 200
    assert open_files() >= before + 400
    for client in clients:
        client.close()
    wait_until(lambda: open_files() <= before + 20, lambda: f"{open_files()} files are open, {before} were")


def test_what_a_node_answers_too_long_for_a_poll_is_no_catalogue():
    with OllamaNode() as node:
        node.always("/api/tags", answer(b'{"models":[' + b" " * (17 << 20) + b"]}"), polls=True)
        with Gateway(node, wait=False) as gateway:
            gateway.wait_line("not ready")
            assert any("too large" in line for line in gateway.lines)
