# SPDX-License-Identifier: Apache-2.0
"""Ends that come early, with a real engine (llama.cpp's server): a client that leaves frees its slot, a gateway
that is restarted finds the engine again, an engine that dies is seen in every face."""
import json
import signal

import pytest

from engine import Engine
from engine_asks import COUNT, LONG, NATIVE, V1, assert_counts, body_of, data_of, text_of_event, text_of_part
from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient

ENGINE = True
SOON_S = 5  # until a slot is idle; what was asked for takes a minute
WAYS = {"closes": lambda client: client.close(), "resets": lambda client: client.reset(),
        "half-closes": lambda client: client.half_close()}


def long_one(number, path="/api/generate"):
    """Requests that are equal would share one call, and its slot."""
    return body_of(path, LONG, prompt=f"{number}. {COUNT}")


def assert_only_begun(engine, count=1):
    """`count` slots generate, and nearly all of what was asked for is still to come."""
    slots = [slot for slot in engine.get("/slots") if slot["is_processing"]]
    assert len(slots) == count
    for slot in slots:
        assert slot["next_token"][0]["n_remain"] > LONG * 3 // 4, slot


def read_first_text(client, path):
    """Reads a streamed answer up to its first text."""
    assert client.head().status == 200
    text = ""
    while not text:
        line = client.reader.until(b"\n")
        if path in NATIVE and line.startswith(b"{"):
            text = text_of_part(json.loads(line))
        elif line.startswith(b"data: "):
            text = text_of_event(path, data_of(line))


# --- the client leaves -----------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", NATIVE + V1)
def test_a_part_comes_as_it_is_made_and_a_client_that_leaves_frees_the_slot(gateway, engine, path, way):
    with HttpClient(gateway.http) as client:
        client.request("POST", path, body_of(path, LONG))
        read_first_text(client, path)
        assert_only_begun(engine)
        WAYS[way](client)
        engine.wait_busy(0, SOON_S)
    gateway.wait_idle()
    line = gateway.access()[-1]
    assert (line["path"], line["code"]) == (path, "cancelled")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", NATIVE)
def test_an_mcp_client_that_leaves_frees_the_slots_of_all_its_sessions(gateway, engine, path, way):
    with McpClient(gateway.mcp) as client:
        for session in (1, 2, 3):
            client.request(session, long_one(session, path))
        for session in (1, 2, 3):
            assert client.frame(session).json()["done"] is False
        assert_only_begun(engine, 3)
        WAYS[way](client)
        engine.wait_busy(0, SOON_S)
    gateway.wait_idle()
    assert [line["code"] for line in gateway.access()[-3:]] == ["cancelled"] * 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", NATIVE)
def test_an_mcp_client_that_waits_for_a_whole_answer_and_leaves_frees_the_slot(gateway, engine, path, way):
    with McpClient(gateway.mcp) as client:
        client.request(1, body_of(path, LONG, stream=False))
        engine.wait_busy(1)
        WAYS[way](client)
        engine.wait_busy(0, SOON_S)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", NATIVE + V1)
def test_a_client_that_waits_for_a_whole_answer_and_leaves_frees_the_slot(gateway, engine, path, way):
    body = body_of(path, LONG, stream=False)
    with HttpClient(gateway.http) as client:
        if path in V1 and way == "closes":
            del body["stream"]  # the same as false
        client.request("POST", path, body)
        engine.wait_busy(1)
        WAYS[way](client)
        engine.wait_busy(0, SOON_S)
    gateway.wait_idle()
    line = gateway.access()[-1]
    assert (line["path"], line["code"], line["parts"]) == (path, "cancelled", "0")


def test_a_client_that_leaves_while_the_prompt_is_read_frees_the_slot(gateway, engine):
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", body_of("/api/generate", LONG, prompt="word " * 250))
        engine.wait_busy(1)
        client.close()
    engine.wait_busy(0)
    gateway.wait_idle()
    line = gateway.access()[-1]
    assert (line["code"], line["parts"]) == ("cancelled", "0")


def test_who_leaves_the_engines_queue_leaves_the_others_alone(gateway, engine, mcp):
    clients = [HttpClient(gateway.http) for _ in range(engine.parallel)]
    for number, client in enumerate(clients):
        client.request("POST", "/api/generate", long_one(number))
    for client in clients:
        read_first_text(client, "/api/generate")
    with McpClient(gateway.mcp) as waiting:
        waiting.request(1, long_one("waiting"))
        gateway.wait_metric("mcpgate_exchanges_running", engine.parallel + 1)
    gateway.wait_metric("mcpgate_exchanges_running", engine.parallel)
    clients.pop().close()  # its slot is the next one's, and not that of the one that left
    parts = mcp.ask(body_of("/api/generate"))
    assert_counts("".join(map(text_of_part, parts)))
    assert_only_begun(engine, engine.parallel - 1)
    for client in clients:
        client.close()
    engine.wait_busy(0, SOON_S)


def test_a_deadline_ends_the_answer_and_frees_the_slot(gateway, engine, mcp):
    last = mcp.ask(body_of("/api/generate", LONG, mcp={"deadline_ms": 1000}))[-1]
    assert (last["code"], last["retryable"]) == ("deadline_exceeded", False)
    engine.wait_busy(0, SOON_S)
    assert_counts("".join(map(text_of_part, mcp.ask(body_of("/api/generate")))))  # the session is free


# --- the gateway ends --------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_gateway_that_ends_frees_the_slots_and_the_next_one_serves(engine, number):
    engine.wait_busy(0)
    gateway = Gateway(engine, config={"timeouts": {"drain": "50ms"}})
    try:
        with McpClient(gateway.mcp) as mcp, HttpClient(gateway.http) as http:
            mcp.request(1, body_of("/api/generate", LONG))
            http.request("POST", "/v1/chat/completions", body_of("/v1/chat/completions", LONG))
            mcp.frame()
            read_first_text(http, "/v1/chat/completions")
            gateway.process.send_signal(number)
            if number == signal.SIGTERM:
                assert mcp.parts()[-1].json()["code"] == "shutting_down"
                assert b'data: {"error":{"message":"the gateway is shutting down"' in http.closed()
                gateway.wait_exit()
            engine.wait_busy(0, SOON_S)
    finally:
        gateway.kill()
    with Gateway(engine) as gateway, McpClient(gateway.mcp) as mcp:
        assert_counts("".join(map(text_of_part, mcp.ask(body_of("/api/generate")))))


# --- the engine ends -----------------------------------------------------------------------------------
CUT = "closed the connection within its answer"


def assert_interrupted(path, rest):
    """The last bytes of a stream whose engine died: an error in the format of `path`, and no end mark."""
    for mark in (b'"done":true', b"[DONE]", b"message_stop", b"response.completed", b'finish_reason":"'):
        assert mark not in rest
    last = rest.split(b"\r\n")[-4]
    if path in NATIVE:
        assert CUT in json.loads(last)["error"]
        return
    event = data_of(last.removesuffix(b"\n\n"))
    assert CUT in event["error"]["message"] and event["error"]["type"] == "api_error"
    assert last.startswith(b"event: error\n") == (path == "/v1/messages") == ("type" in event)


def assert_unavailable(path, response):
    body = response.json()
    text = body["error"] if path in NATIVE else body["error"]["message"]
    assert response.status == 503 and "no node is up" in text and "refused" in text


def test_an_engine_that_dies_is_seen_in_every_face_and_comes_back():
    engine = Engine(parallel=8)
    try:
        with Gateway(engine) as gateway, McpClient(gateway.mcp) as mcp:
            assert_death_is_seen(engine, gateway, mcp)
            engine.stop()
            assert mcp.error(body_of("/api/chat"))[0] == "node_unavailable"
            for path in NATIVE + V1:
                assert_unavailable(path, ask(gateway.http, "POST", path, body_of(path)))
            assert gateway.ready_status() == 503
            engine = Engine(parallel=1, port=engine.port)
            wait_until(lambda: gateway.ready_status() == 200, "the engine is found again")
            assert_counts("".join(map(text_of_part, mcp.ask(body_of("/api/generate")))))
    finally:
        engine.stop()


def assert_death_is_seen(engine, gateway, mcp):
    clients = {path: HttpClient(gateway.http) for path in NATIVE + V1}
    mcp.request(1, body_of("/api/generate", LONG))
    mcp.request(2, body_of("/api/chat", LONG, stream=False))
    for path, client in clients.items():
        client.request("POST", path, body_of(path, LONG))
    mcp.frame(1)
    for path, client in clients.items():
        read_first_text(client, path)
    engine.wait_busy(2 + len(clients))
    engine.process.kill()
    for session in (1, 2):
        last = mcp.parts(session)[-1].json()
        assert (last["code"], last["retryable"]) == ("stream_interrupted", True)
        assert CUT in last["error"]
    for path, client in clients.items():
        assert_interrupted(path, client.reader.until(b"\r\n0\r\n\r\n"))
        client.close()
