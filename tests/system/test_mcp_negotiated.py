# SPDX-License-Identifier: Apache-2.0
"""HELLO and WELCOME, and the features ack, cancel, goaway and crc32c, as protocol.md section 6 has them."""
import os
import pathlib
import signal
import time

import pytest

from gateway import Gateway
from http_bytes import encode_json, wait_until
from mcp_client import HEARTBEAT, REQUEST, RESPONSE, McpClient, encode
from mcp_negotiated import ACK, ALL, CANCEL, GOAWAY, HELLO, WELCOME, Negotiated, hello, with_crc
from node import HANG, Gate, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")
FIRST, *REST = PARTS


# --- HELLO and WELCOME ----------------------------------------------------------------------------
def test_welcome_says_what_was_agreed_on(gateway):
    with Negotiated(gateway.mcp, "chunk", "ack", "no_such", "credit", window=1000, heartbeat_ms=20000,
                    codecs=["avro", "json"], max_frame=4096, client="test/1", unknown={"a": 1}) as client:
        server, connection = client.welcome.pop("server"), client.welcome.pop("connection")
        assert client.welcome == {"version": 1, "codec": "json", "features": ["ack", "credit", "chunk"],
                                  "heartbeat_ms": 20000, "max_frame": 16777216, "window": 1000, "max_sessions": 4096}
        assert server.startswith("mcpgate/") and connection
        client.ping()


def test_what_the_server_has_less_of_counts():
    config = {"timeouts": {"heartbeat": "10s"}, "limits": {"window": "1KiB", "max_frame": "8KiB", "max_sessions": 7}}
    with OllamaNode() as node, Gateway(node, config=config) as gateway, Negotiated(gateway.mcp) as client:
        welcome = client.welcome
        assert [welcome[name] for name in ("heartbeat_ms", "window", "max_frame", "max_sessions")] == [
            10000, 1024, 8192, 7]


def test_connections_have_numbers_of_their_own(gateway):
    with Negotiated(gateway.mcp) as one, Negotiated(gateway.mcp) as two:
        assert one.welcome["connection"] != two.welcome["connection"]


def test_what_is_behind_hello_is_answered_behind_welcome(gateway, node):
    with McpClient(gateway.mcp) as client:
        client.send(hello("ack") + encode(HEARTBEAT, 5, b"x") + encode(REQUEST, 1, encode_json(GENERATE)))
        frames = [client.frame() for _ in range(3)]
        assert [frame.opcode for frame in frames] == [WELCOME, HEARTBEAT, ACK]
        assert [frame.json() for frame in client.parts()] == PARTS


@pytest.mark.parametrize("bad, code", [
    (encode(HELLO, 0, b"[1]"), "bad_request"), (encode(HELLO, 0, b""), "bad_request"),
    (encode(HELLO, 0, b'{"versions":[2,3]}'), "unsupported_version"),
    (encode(HELLO, 0, b'{"codecs":["bson"]}'), "bad_request"), (encode(HELLO, 0, b'{"codecs":[]}'), "bad_request"),
    (encode(HELLO, 0, b'{"max_frame":4095}'), "bad_request"), (encode(HELLO, 7, b"{}"), "bad_request")])
def test_a_hello_that_cannot_be_met_runs_nothing(gateway, node, bad, code):
    with McpClient(gateway.mcp) as client:
        client.send(bad + encode(REQUEST, 1, encode_json(GENERATE)))
        frame = client.frame()
        assert (frame.opcode, frame.session, frame.json()["code"]) == (WELCOME, 0, code)
        assert frame.json()["error"]
        assert client.closed() == b""
    assert node.requests == []


def test_what_was_not_offered_is_not_known(gateway):
    with Negotiated(gateway.mcp, "ack") as client:
        client.send_frame(CANCEL, 4)
        assert (frame := client.frame()).session == 4 and frame.error()[0] == "bad_request"


def test_hello_comes_once(gateway):
    with Negotiated(gateway.mcp) as client:
        client.send(hello())
        frame = client.frame()
        assert (frame.opcode, frame.session, frame.error()[0]) == (RESPONSE, 0, "bad_request")
        assert client.closed() == b""


# --- keys -----------------------------------------------------------------------------------------
ALICE, BOB = "alice-secret-key", "bob-secret-key"


@pytest.fixture(scope="module")
def keyed():
    keys = [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]
    with OllamaNode() as node, Gateway(node, config={"keys": keys}) as gateway:
        yield gateway


def test_the_key_of_hello_counts_for_requests_without_one(keyed):
    with Negotiated(keyed.mcp, auth=ALICE) as client:
        assert client.ask(GENERATE) == PARTS
        keyed.wait_access(lambda line: line.get("key") == "alice")
        assert client.error({**GENERATE, "mcp": {"auth": "wrong"}})[0] == "unauthorized"
        assert client.ask({**GENERATE, "mcp": {"auth": BOB}}) == PARTS
        keyed.wait_access(lambda line: line.get("key") == "bob")
        assert client.ask(GENERATE) == PARTS


def test_the_key_of_hello_lifts_the_limit_of_frames(keyed):
    body = {"model": "m", "prompt": "x" * 70000}
    with Negotiated(keyed.mcp, auth=ALICE) as client:
        assert client.ask(body) == PARTS
    with Negotiated(keyed.mcp) as client:
        assert client.error(body)[0] == "too_large"
        assert client.closed() == b""


def test_a_wrong_key_is_refused_and_none_is_not(keyed):
    with McpClient(keyed.mcp) as client:
        client.send(hello(auth="wrong"))
        frame = client.frame()
        assert (frame.opcode, frame.json()["code"]) == (WELCOME, "unauthorized")
        assert client.closed() == b""
    with Negotiated(keyed.mcp) as client:
        assert client.error(GENERATE)[0] == "unauthorized"
        assert client.ask({**GENERATE, "mcp": {"auth": ALICE}}) == PARTS
        assert client.error(GENERATE)[0] == "unauthorized"


def test_a_key_that_is_taken_away_no_longer_counts():
    def config(*names):
        return {"keys": [{"name": name, "key": f"{name}-secret-key"} for name in names]}
    with OllamaNode() as node, Gateway(config={"node": {"url": node.url}, **config("alice", "bob")}) as gateway:
        with Negotiated(gateway.mcp, auth=ALICE) as client:
            assert client.ask(GENERATE) == PARTS
            path = pathlib.Path(gateway.folder.name) / "mcpgate.yaml"
            path.write_text(encode_json({"node": {"url": node.url}, **config("bob")}).decode())
            gateway.key_headers = [("Authorization", f"Bearer {BOB}")]
            gateway.process.send_signal(signal.SIGHUP)
            wait_until(lambda: client.ask(GENERATE)[-1].get("code") == "unauthorized", "the key is gone")
            assert client.ask({**GENERATE, "mcp": {"auth": BOB}}) == PARTS


# --- ack ------------------------------------------------------------------------------------------
def test_an_admitted_request_gets_one_ack_before_its_first_part(gateway, node):
    gate = Gate()
    node.next("/api/generate", ndjson(gate, *PARTS))
    with Negotiated(gateway.mcp, "ack") as client:
        client.request(3, GENERATE)
        ack = client.frame()
        assert (ack.opcode, ack.session) == (ACK, 3)
        assert ack.json() == {"state": "running", "node": node.name, "attempt": 1}
        gate.open()
        assert [frame.json() for frame in client.parts(3)] == PARTS


@pytest.mark.parametrize("body", [{"mcp": {"op": "health"}}, {"mcp": {"op": "list"}},
                                  {"model": "m", "input": "a"}, {"model": "m", "mcp": {"op": "pull"}}])
def test_every_operation_is_acknowledged(gateway, body):
    with Negotiated(gateway.mcp, "ack") as client:
        client.request(1, body)
        assert [client.frame().opcode for _ in range(2)] == [ACK, RESPONSE]


@pytest.mark.parametrize("body", [{"model": "none", "prompt": "a"}, {"model": "m"}, {"mcp": {"op": "fly"}}])
def test_a_refused_request_gets_no_ack(gateway, body):
    with Negotiated(gateway.mcp, "ack") as client:
        client.request(1, body)
        assert client.frame().error()


def test_another_attempt_is_told():
    with OllamaNode() as one, OllamaNode() as two:
        config = {"limits": {"idle_connections": 0}}
        with Gateway(one, two, config=config) as gateway, Negotiated(gateway.mcp, "ack") as client:
            client.request(1, GENERATE)
            if client.frame().json()["node"] == two.name:
                one, two = two, one
            assert [frame.json() for frame in client.parts()] == PARTS
            one.stop()
            client.request(1, GENERATE)  # its session's node is asked first
            acks = [client.frame().json() for _ in range(2)]
            assert acks == [{"state": "running", "node": one.name, "attempt": 1},
                            {"state": "running", "node": two.name, "attempt": 2}]
            assert [frame.json() for frame in client.parts()] == PARTS


# --- cancel ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("script, parts", [([HANG], 0), (ndjson(FIRST, HANG), 1)], ids=["before", "within"])
def test_cancel_ends_the_exchange_and_its_call(gateway, node, script, parts):
    before = gateway.metric('mcpgate_mcp_cancels_total{result="done"}')
    node.next("/api/generate", script)
    with Negotiated(gateway.mcp, "cancel") as client:
        client.request(1, GENERATE)
        connection = node.wait_request("/api/generate").connection
        for _ in range(parts):
            assert client.frame().json() == FIRST
        client.cancel(1)
        frame = client.frame()
        assert (frame.opcode, frame.session, frame.error()[0]) == (RESPONSE, 1, "cancelled")
        assert frame.json()["done"] is True and frame.json()["retryable"] is False
        connection.wait_gone()
        assert client.ask(GENERATE) == PARTS
    assert gateway.metric('mcpgate_mcp_cancels_total{result="done"}') == before + 1
    gateway.wait_access(lambda line: line["code"] == "cancelled")


def test_cancel_disturbs_no_other_session(gateway, node):
    gate = Gate()
    node.next("/api/generate", ndjson(FIRST, HANG), ndjson(FIRST, gate, *REST))
    with Negotiated(gateway.mcp, "cancel") as client:
        for session in (1, 2):
            client.request(session, GENERATE)
            assert client.frame(session).json() == FIRST
        client.cancel(1)
        assert client.frame(1).error()[0] == "cancelled"
        gate.open()
        assert [frame.json() for frame in client.parts(2)] == REST


def test_cancel_too_late_or_of_nothing_is_ignored(gateway, node):
    with Negotiated(gateway.mcp, "cancel") as client:
        client.cancel(9)
        client.no_frame()
        assert client.ask(GENERATE) == PARTS
        client.cancel(1)
        client.no_frame()
        assert client.ask(GENERATE) == PARTS


def test_cancel_in_the_same_write_as_its_request(gateway, node):
    with Negotiated(gateway.mcp, "cancel") as client:
        client.send(encode(REQUEST, 1, encode_json(GENERATE)) + encode(CANCEL, 1))
        assert client.frame().error()[0] == "cancelled"
        client.no_frame()
    assert node.requests == []


# --- goaway, heartbeats ---------------------------------------------------------------------------
def test_goaway_says_that_it_drains(node):
    with OllamaNode() as own:
        gateway = Gateway(own)
        gate = Gate()
        own.next("/api/generate", ndjson(FIRST, gate, *REST))
        with Negotiated(gateway.mcp, "goaway") as client, Negotiated(gateway.mcp, "goaway") as idle:
            client.request(1, GENERATE)
            client.frame()
            gateway.terminate()
            assert idle.goaway() == "drain"
            frame = client.frame()
            assert (frame.opcode, frame.session) == (GOAWAY, 0)
            assert frame.json()["reason"] == "drain" and frame.json()["retry_after_ms"] > 0
            for late in (encode_json(GENERATE), b'{"neither":"nor"}', b"{"):
                client.send_frame(REQUEST, 2, late)
                assert client.frame().error()[0] == "shutting_down"
            client.request(2, GENERATE)
            assert client.frame(2).error()[0] == "shutting_down"
            client.request(1, GENERATE)  # though its session is busy
            frame = client.frame(0)
            assert (frame.error()[0], frame.json()["session"]) == ("shutting_down", 1)
            gate.open()
            assert [frame.json() for frame in client.parts(1)] == REST
            assert client.closed() == b""
        gateway.wait_exit()


@pytest.fixture(scope="module")
def impatient():
    """A gateway that wants to hear from its clients often."""
    with OllamaNode() as node, Gateway(node, config={"timeouts": {"heartbeat": "400ms"}}) as gateway:
        yield node, gateway


@pytest.mark.parametrize("running", [False, True])
def test_a_silent_client_is_sent_away(impatient, running):
    node, gateway = impatient
    with Negotiated(gateway.mcp, "goaway") as client:
        if running:
            node.next("/api/generate", ndjson(FIRST, HANG))
            client.request(1, GENERATE)
            client.frame()
        began = time.monotonic()
        assert client.goaway() == "idle"
        assert time.monotonic() - began > 0.6
    gateway.wait_idle()


def test_in_the_base_profile_what_runs_may_be_silent(impatient):
    node, gateway = impatient
    gate = Gate()
    node.next("/api/generate", ndjson(FIRST, gate, *REST))
    with McpClient(gateway.mcp) as client, McpClient(gateway.mcp) as idle:
        client.request(1, GENERATE)
        client.frame()
        assert idle.closed() == b""
        with McpClient(gateway.mcp) as another:
            assert another.closed() == b""
        gate.open()
        assert [frame.json() for frame in client.parts()] == REST


def test_heartbeats_keep_a_connection(impatient):
    _, gateway = impatient
    end = time.monotonic() + 2
    with Negotiated(gateway.mcp, "goaway") as client:
        while time.monotonic() < end:
            client.ping()
            time.sleep(0.1)  # far less than the time after which it would be closed
        assert client.ask(GENERATE) == PARTS


def test_too_many_errors_end_with_goaway(gateway):
    with Negotiated(gateway.mcp, "goaway") as client:
        for _ in range(17):
            client.send_frame(0x55, 3)
            assert client.frame().error()[0] == "bad_request"
        assert client.goaway() == "too_many_errors"


# --- crc32c ---------------------------------------------------------------------------------------
def test_with_crc32c_all_frames_are_checked_both_ways(gateway, node):
    with Negotiated(gateway.mcp, *ALL) as client:
        client.request(1, GENERATE)
        assert client.frame().opcode == ACK
        assert [frame.json() for frame in client.parts()] == PARTS
        client.no_frame()
        client.send_frame(0x55, 3, b"x")
        assert client.frame().error()[0] == "bad_request"


@pytest.mark.parametrize("frame", [with_crc(REQUEST, 1, b"{}"), with_crc(0x55, 1, b"{}"), with_crc(REQUEST, 0, b"{}"),
                                   with_crc(HEARTBEAT, 1, os.urandom(64))])
def test_a_wrong_crc_closes(gateway, node, frame):
    before = gateway.metric('mcpgate_mcp_closes_total{reason="corrupt"}')
    broken = frame[:-5] + bytes([frame[-5] ^ 1]) + frame[-4:]
    with Negotiated(gateway.mcp, "goaway", "crc32c") as client:
        client.send(broken + client.encode(HEARTBEAT, 1))
        assert client.goaway() == "corrupt"
    with Negotiated(gateway.mcp, "crc32c") as client:
        client.send(broken + client.encode(HEARTBEAT, 1))
        assert client.closed() == b""
    assert gateway.metric('mcpgate_mcp_closes_total{reason="corrupt"}') == before + 2
    assert node.requests == []


def test_a_wrong_crc_cancels_what_runs(gateway, node):
    node.next("/api/generate", ndjson(FIRST, HANG))
    with Negotiated(gateway.mcp, "goaway", "crc32c") as client:
        client.request(1, GENERATE)
        client.frame()
        client.send(encode(HEARTBEAT, 1, b"1234"))
        assert client.goaway() == "corrupt"
    node.wait_request("/api/generate").connection.wait_gone()


def test_negotiations_are_counted(gateway):
    def counts():
        return [gateway.metric(f'mcpgate_mcp_negotiations_total{{result="{r}"}}') for r in ("agreed", "refused")]
    agreed, refused = counts()
    with Negotiated(gateway.mcp), McpClient(gateway.mcp) as bad:
        bad.send(hello(versions=[9]))
        bad.closed()
    wait_until(lambda: counts() == [agreed + 1, refused + 1], counts)
