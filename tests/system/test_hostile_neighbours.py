# SPDX-License-Identifier: Apache-2.0
"""No input of one client changes another's bytes: clients that send what was once valid, beside clients whose requests
the node must get and whose answers they must get to the byte.

A failure names its seed; MCPGATE_SEED=N runs that one.
"""
import os
import random
import threading
import time

import pytest

from gateway import Gateway
from http_bytes import Closed, HttpClient, ask, encode_json
from mcp_client import HEADER, REQUEST, McpClient, encode
from node import answer, ndjson
from ollama_node import OllamaNode, generate_parts

SEEDS = [int(os.environ["MCPGATE_SEED"])] if "MCPGATE_SEED" in os.environ else [1, 2]
RUN_S = 4
GOOD_CLIENTS, HOSTILE_CLIENTS = 2, 4  # of each face
MARK = "good-"  # nobody else may see, or send, anything with it


# --- the node: what it answers follows from the prompt alone --------------------------------------
def answer_parts(prompt):
    dice = random.Random(prompt)
    return generate_parts("m", [f"{prompt}:{i}:{'y' * dice.choice([0, 5, 3000])}" for i in range(dice.randrange(4))])


class EchoNode(OllamaNode):
    def answers_of(self, request):
        if request.path != "/api/generate":
            return super().answers_of(request)
        try:
            body = request.json()
            parts = answer_parts(str(body["prompt"]))
            return ndjson(*parts) if body.get("stream", True) else answer(parts[-1])
        except (ValueError, KeyError):
            return answer({"error": "what is this"}, 400)


# --- the good: every byte is known ----------------------------------------------------------------
def good_body(prompt, dice):
    return encode_json({"model": "m", "prompt": prompt, "options": {"x": "z" * dice.choice([0, 10, 20000])}})


def cut(client, data, dice):
    while data:
        size = dice.choice([1, 7, 100, 5000, len(data)])
        client.send(data[:size])
        data = data[size:]


def good_http(gateway, dice, name, goes_on, sent):
    with HttpClient(gateway.http) as client:
        turn = 0
        while goes_on():
            turn += 1
            prompt = f"{MARK}{name}-{turn}"
            body = good_body(prompt, dice)
            sent.add(body)
            cut(client, client.bytes_of("POST", "/api/generate", body), dice)
            response = client.response("POST")
            assert (response.status, response.complete) == (200, True), response.raw
            assert response.body == b"".join(encode_json(part) + b"\n" for part in answer_parts(prompt)), prompt
            assert client.reader.held == b""


def good_mcp(gateway, dice, name, goes_on, sent):
    with McpClient(gateway.mcp) as client:
        turn = 0
        while goes_on():
            turn += 1
            prompts = {session: f"{MARK}{name}-{turn}-{session}" for session in range(1, 4)}
            for session, prompt in prompts.items():
                body = good_body(prompt, dice)
                sent.add(body)
                cut(client, encode(REQUEST, session, body), dice)
            for session, prompt in prompts.items():
                payloads = [frame.payload for frame in client.parts(session)]
                assert payloads == [encode_json(part) for part in answer_parts(prompt)], prompt
            assert client.waiting == [] and client.reader.held == b""


# --- the hostile: valid streams, damaged ----------------------------------------------------------
def http_stream(dice):
    body = encode_json({"model": "m", "prompt": "bad", "stream": dice.random() < 0.5})
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    requests = [head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
                head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n",
                head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),
                b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                b"OPTIONS /api/chat HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n"]
    return b"".join(dice.choices(requests, k=dice.randrange(1, 6)))


def mcp_stream(dice):
    hello = encode_json({"codecs": ["json"], "features": ["ack", "cancel", "credit", "chunk", "goaway"],
                         "window": dice.choice([1, 1000, 262144])})
    frames = [encode(0x10, 0, hello)] if dice.random() < 0.7 else []
    for _ in range(dice.randrange(1, 8)):
        session = dice.randrange(1, 4)
        body = encode_json({"model": "m", "prompt": "bad", "mcp": {"deadline_ms": dice.choice([1, 1000])}})
        frames += dice.choice([[encode(REQUEST, session, body)], [encode(3, session, b"beat")],
                               [encode(0x16, session, body[:20]), encode(REQUEST, session, body[20:])],
                               [encode(0x14, session)], [encode(0x13, session, HEADER.pack(0, 0, 1, 2)[2:6])]])
    return b"".join(frames)


def damage(data, other, dice):
    data = bytearray(data)
    for _ in range(dice.choice([0, 1, 1, 2, 5])):
        at, size = dice.randrange(len(data) + 1), dice.choice([1, 1, 4, 50])
        data[at:at + dice.choice([0, size])] = dice.choice([
            b"", dice.randbytes(size), b"\0" * size, b"\r\n", b"\n", b"\xff" * size, bytes(data[at:at + size]) * 2,
            other[dice.randrange(len(other)):][:size * 10], bytes([data[at] ^ 1 << dice.randrange(8)])
            if at < len(data) else b""])
    return bytes(data[:dice.randrange(len(data) + 1)] if dice.random() < 0.3 else data)


def hostile(kind, address, make, other):
    def run(gateway, dice, name, goes_on, _):
        while goes_on():
            with kind(getattr(gateway, address)) as client:
                client.sock.settimeout(dice.choice([0.01, 0.1]))
                got = b""
                try:
                    cut(client, damage(make(dice), other(dice), dice), dice)
                    while data := client.sock.recv(65536):
                        got += data
                except (OSError, Closed):
                    pass
                assert MARK.encode() not in got, f"{name} got another's answer: {got!r}"
                dice.choice([client.close, client.reset])()
    return run


# --- the test -------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("backend", ["epoll", "io_uring"])
def test_nobody_notices_what_others_send(seed, backend):
    failures, sent, threads = [], set(), []
    people = {"http": (GOOD_CLIENTS, good_http), "mcp": (GOOD_CLIENTS, good_mcp),
              "bad-http": (HOSTILE_CLIENTS, hostile(HttpClient, "http", http_stream, mcp_stream)),
              "bad-mcp": (HOSTILE_CLIENTS, hostile(McpClient, "mcp", mcp_stream, http_stream))}
    with EchoNode() as node, start(node, backend) as gateway:
        end = time.monotonic() + RUN_S

        def goes_on():
            return time.monotonic() < end and not failures

        def live(run, name):
            try:
                run(gateway, random.Random(f"{seed} {name}"), name, goes_on, sent)
            except BaseException as error:  # noqa: BLE001
                failures.append((f"seed {seed}", name, repr(error)))
        for kind, (count, run) in people.items():
            threads += [threading.Thread(target=live, args=[run, f"{kind}{i}"]) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        heard = [request.body for request in node.of("/api/generate") if MARK.encode() in request.body]
        assert len(heard) == len(sent) > 20 and set(heard) == sent
        gateway.wait_idle()
        for face in ("mcp", "http"):
            gateway.wait_metric(f'mcpgate_connections_open{{face="{face}"}}', 0)
        assert gateway.metric("mcpgate_body_bytes") == 0
        assert gateway.metric("mcpgate_http_bad_requests_total") > 0
        assert ask(gateway.http, "GET", "/api/version").status == 200


def start(node, backend):
    try:
        return Gateway(node, args=("--backend", backend))
    except AssertionError as error:
        if backend == "io_uring" and "io_uring" in str(error):
            pytest.skip(str(error))
        raise
