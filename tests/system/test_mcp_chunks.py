# SPDX-License-Identifier: Apache-2.0
"""Long payloads in pieces, both ways: protocol.md section 6, `chunk`."""
import pytest

from gateway import Gateway
from http_bytes import encode_json
from mcp_client import REQUEST, RESPONSE
from mcp_negotiated import CHUNK, Negotiated
from node import HANG, Gate, answer, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")
LONG = encode_json({"model": "m", "prompt": "p" * 200000})
HELD = "mcpgate_body_bytes"


@pytest.fixture
def client(gateway):
    with Negotiated(gateway.mcp, "chunk", "cancel", "ack") as client:
        yield client
    gateway.wait_metric(HELD, 0)


def pieces(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)]


def send_in_pieces(client, session, data, size):
    *most, last = pieces(data, size)
    for piece in most:
        client.chunk(session, piece)
    client.send_frame(REQUEST, session, last)


def answered(client, session=1):
    assert client.frame(session).json()["state"] == "running"
    return [frame.json() for frame in client.parts(session)] == PARTS


# --- requests -------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [65536, 70000, 100000, 199999, 1 << 20])
def test_a_request_in_pieces_is_whole_for_the_node(client, node, size):
    send_in_pieces(client, 1, LONG, size)
    assert answered(client)
    assert node.wait_request("/api/generate").body == LONG


def test_pieces_of_one_byte(client, node):
    send_in_pieces(client, 1, encode_json(GENERATE), 1)
    assert answered(client)
    assert node.wait_request("/api/generate").json() == GENERATE


def test_the_last_piece_may_be_empty(client, node):
    client.chunk(1, LONG)
    client.send_frame(REQUEST, 1)
    assert answered(client)


def test_pieces_of_sessions_interleave(client, node):
    bodies = {session: encode_json({"model": "m", "prompt": str(session) * 150000}) for session in (1, 2, 3)}
    for i in range(3):
        for session, body in bodies.items():
            client.send_frame(CHUNK if i < 2 else REQUEST, session, pieces(body, 60000)[i])
        client.ping()
    for session in bodies:
        assert answered(client, session)
    assert {request.body for request in node.of("/api/generate")} == set(bodies.values())


def test_an_empty_chunk_discards_what_came(gateway, client, node):
    client.chunk(1, LONG[:100000])
    client.ping()
    assert gateway.metric(HELD) >= 100000
    client.chunk(1)
    client.ping()
    assert gateway.metric(HELD) == 0
    client.request(1, GENERATE)
    assert answered(client)
    client.chunk(1)  # nothing to discard
    client.no_frame()


def test_cancel_drops_an_unfinished_request(gateway, client, node):
    client.chunk(1, LONG[:100000])
    client.cancel(1)
    client.no_frame()
    assert gateway.metric(HELD) == 0
    client.request(1, GENERATE)
    assert answered(client)


def test_no_exchange_before_the_last_piece(gateway, client, node):
    client.chunk(1, LONG[:100000])
    client.no_frame()
    assert node.requests == [] and gateway.metric("mcpgate_exchanges_running") == 0
    client.send_frame(REQUEST, 1, LONG[100000:])
    assert answered(client)


def test_a_busy_session_refuses_pieces_once_and_skips_the_rest(client, node):
    gate = Gate()
    node.next("/api/generate", ndjson(PARTS[0], gate, *PARTS[1:]))
    client.request(1, GENERATE)
    assert [client.frame().opcode for _ in range(2)][1] == RESPONSE
    for piece in pieces(LONG, 50000):
        client.chunk(1, piece)
    frame = client.frame()
    assert (frame.session, frame.error()[0], frame.json()["session"]) == (0, "session_busy", 1)
    client.send_frame(REQUEST, 1, b"the end")
    client.no_frame()
    gate.open()
    assert [frame.json() for frame in client.parts()] == PARTS[1:]
    send_in_pieces(client, 1, LONG, 50000)
    assert answered(client)


@pytest.fixture(scope="module")
def small():
    config = {"limits": {"max_body": "100KiB", "body_memory": "300KiB", "max_sessions": 2, "max_part": "100KiB"}}
    with OllamaNode() as node, Gateway(node, config=config) as gateway:
        yield node, gateway


def test_more_than_a_body_may_have_is_refused_once(small):
    _, gateway = small
    with Negotiated(gateway.mcp, "chunk") as client:
        for piece in pieces(b"x" * 200000, 60000):
            client.chunk(1, piece)
        frame = client.frame()
        assert (frame.session, frame.error()[0]) == (1, "too_large")
        client.chunk(1, b"more")
        client.chunk(1)  # the end of it
        client.no_frame()
        assert client.ask(GENERATE) == PARTS
        client.chunk(2, b"x" * 60000)
        client.send_frame(REQUEST, 2, b"x" * 60000)
        assert client.frame().error()[0] == "too_large"
        assert client.ask(GENERATE, 2) == PARTS
    gateway.wait_metric(HELD, 0)


def test_memory_for_bodies_counts_pieces(small):
    _, gateway = small
    with Negotiated(gateway.mcp, "chunk") as one, Negotiated(gateway.mcp, "chunk") as two:
        for client in (one, two):
            for session in (1, 2):
                client.chunk(session, b"x" * 40000)
                client.chunk(session, b"x" * 40000)
                if client is one:
                    client.no_frame()
        frame = two.frame()
        assert frame.error()[0] == "queue_full" and "memory" in frame.error()[1]
    gateway.wait_metric(HELD, 0)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_request_whose_piece_finds_no_memory_is_refused_once(lost):
    """The frame is dropped half way; no node may see the request without it."""
    *most, last = pieces(encode_json({"model": "m", "prompt": "a" * 90000}), 40000)
    config = {"limits": {"max_body": "1MiB", "body_memory": "1MiB"}}
    with OllamaNode() as node, Gateway(node, config=config) as gateway:
        with Negotiated(gateway.mcp, "chunk") as client, Negotiated(gateway.mcp, "chunk") as other:
            frames = [client.encode(CHUNK, 1, piece) for piece in most] + [client.encode(REQUEST, 1, last)]
            client.send(b"".join(frames[:lost]))
            client.no_frame()
            for session in range(1, 60):
                other.chunk(session, b"x" * (50000 if session < 20 else 2500))
            other.ping()  # the memory is used up
            client.send(frames[lost][:9000])
            frame = client.frame()
            about = frame.json().get("session", frame.session)
            assert (about, frame.error()[0]) == (1, "queue_full")
            for session in range(1, 60):
                other.chunk(session)
            other.ping()
            client.send(frames[lost][9000:] + b"".join(frames[lost + 1:]))
            client.no_frame()
            assert client.ask(GENERATE) == PARTS
            assert [request.json() for request in node.of("/api/generate")] == [GENERATE]
        gateway.wait_metric(HELD, 0)


def test_an_unfinished_request_is_in_flight(small):
    _, gateway = small
    with Negotiated(gateway.mcp, "chunk") as client:
        client.chunk(1, b"x")
        client.chunk(2, b"x")
        client.request(3, GENERATE)
        assert (frame := client.frame()).session == 3 and frame.error()[0] == "queue_full"
        client.chunk(4, b"x")
        assert (frame := client.frame()).session == 4 and frame.error()[0] == "queue_full"
        client.chunk(1)
        assert client.ask(GENERATE, 3) == PARTS


def test_before_authentication_there_is_little():
    key = "secret-key-1"
    config = {"keys": [{"name": "alice", "key": key}]}
    body = {**GENERATE, "prompt": "x" * 100000}
    with OllamaNode() as node, Gateway(node, config=config) as gateway:
        with Negotiated(gateway.mcp, "chunk") as client:
            send_in_pieces(client, 1, encode_json({**body, "mcp": {"auth": key}}), 60000)
            assert client.frame().error()[0] == "too_large"
            assert client.ask({**GENERATE, "mcp": {"auth": key}}) == PARTS
            send_in_pieces(client, 1, encode_json({**body, "mcp": {"auth": key}}), 60000)
            assert [frame.json() for frame in client.parts()] == PARTS
        with Negotiated(gateway.mcp, "chunk") as client:
            for session in range(1, 5):
                client.chunk(session, b"x" * 60000)
            assert client.frame().error()[0] == "queue_full"
            assert gateway.metric(HELD) == 0
        with Negotiated(gateway.mcp, "chunk", auth=key) as client:
            send_in_pieces(client, 1, encode_json(body), 60000)
            assert [frame.json() for frame in client.parts()] == PARTS
        gateway.wait_metric(HELD, 0)


# --- answers --------------------------------------------------------------------------------------
def big_part(size):
    part = {"model": "m", "response": ""}
    return encode_json({**part, "response": "x" * (size - len(encode_json(part)))})


@pytest.mark.parametrize("size, frames", [(65536, [65536]), (65537, [65536, 1]), (150000, [65536, 65536, 18928])])
def test_a_part_above_64_kib_comes_in_pieces(client, node, size, frames):
    node.next("/api/generate", ndjson(big_part(size), {"done": True}))
    client.request(1, GENERATE)
    client.frame()
    assert client.answer() == (big_part(size), frames)
    assert client.answer() == (b'{"done":true}', [13])


@pytest.mark.parametrize("features, piece", [(["chunk"], 4096), (["chunk", "crc32c"], 4092)])
def test_pieces_are_no_longer_than_the_client_takes(gateway, node, features, piece):
    part = big_part(10000)
    node.next("/api/generate", ndjson(part, {"done": True}))
    with Negotiated(gateway.mcp, *features, max_frame=4096) as client:
        client.request(1, GENERATE)
        assert client.answer() == (part, [piece, piece, 10000 - 2 * piece])
        assert client.answer()[0] == b'{"done":true}'


def test_a_whole_answer_comes_in_pieces(client, node):
    body = big_part(3 << 20)
    node.next("/api/generate", answer(body))
    client.request(1, {**GENERATE, "stream": False})
    client.frame()
    whole, lengths = client.answer()
    assert whole == body and max(lengths) == 65536


@pytest.mark.parametrize("features, most", [([], 4096), (["crc32c"], 4092)])
def test_without_chunk_a_longer_part_is_too_large(gateway, node, features, most):
    with Negotiated(gateway.mcp, *features, max_frame=4096) as client:
        node.next("/api/generate", ndjson(big_part(most), big_part(most + 1), HANG))
        client.request(1, GENERATE)
        assert len(client.frame().payload) == most
        assert client.frame().error()[0] == "too_large"
        node.wait_request("/api/generate").connection.wait_gone()


def test_without_chunk_a_long_answer_of_the_gateways_own_is_too_large():
    with OllamaNode() as node:
        config = {"nodes": [{"url": node.url, "name": f"n{i}".ljust(63, "x")} for i in range(30)]}
        with Gateway(config=config) as gateway:
            with Negotiated(gateway.mcp, max_frame=4096) as client:
                assert client.error({"mcp": {"op": "health"}})[0] == "too_large"
                assert client.ask(GENERATE) == PARTS
            with Negotiated(gateway.mcp, "chunk", max_frame=4096) as client:
                client.request(1, {"mcp": {"op": "health"}})
                whole, lengths = client.answer()
                assert len(whole) > 4096 and max(lengths) == 4096


def test_a_long_error_of_a_node_is_shortened_where_it_must(gateway, node):
    text = "e" * 6000
    with Negotiated(gateway.mcp, max_frame=4096) as short, Negotiated(gateway.mcp, "chunk", max_frame=4096) as long:
        for client in (short, long):
            node.next("/api/generate", answer({"error": text}, 500))
            client.request(1, GENERATE)
        assert short.frame().error()[0] == "upstream_error"
        whole, lengths = long.answer()
        assert text.encode() in whole and len(lengths) == 2


def test_more_than_a_part_may_have_is_too_large(small):
    node, gateway = small
    node.next("/api/generate", ndjson(big_part(102400), big_part(102401), HANG))
    with Negotiated(gateway.mcp, "chunk") as client:
        client.request(1, GENERATE)
        assert client.answer()[0] == big_part(102400)
        assert client.frame().error()[0] == "too_large"
    node.forget()


def test_pieces_are_charged_and_a_part_that_has_begun_is_sent_to_its_end(gateway, node):
    part = big_part(150000)
    node.next("/api/generate", ndjson(part, b'{"done":true}'))
    with Negotiated(gateway.mcp, "chunk", "credit", window=1000) as client:
        client.request(1, GENERATE)
        assert client.answer()[0] == part
        client.no_frame()
        client.credit(1, 149000)
        client.no_frame()
        client.credit(1, 1)
        assert client.answer()[0] == b'{"done":true}'
