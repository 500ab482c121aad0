# SPDX-License-Identifier: Apache-2.0
"""Many clients that do all they should not, on all faces, in front of nodes that do the same. Whatever happens: nobody
gets another's part, a part twice or a cut stream that looks whole; and at the end nothing is left.

A failure names its seed; MCPGATE_SEED=N runs that one.
"""
import os
import random
import threading
import time

import pytest

from gateway import Gateway
from http_bytes import Closed, HttpClient, ask, wait_until
from mcp_client import McpClient, encode
from node import CLOSE, HANG, NDJSON, RESET, SSE, answer, chunk, head_of, in_writes_of, ndjson, pause, rechunked, sse
from ollama_node import OllamaNode, generate_parts

SEEDS = [int(os.environ["MCPGATE_SEED"])] if "MCPGATE_SEED" in os.environ else [1, 2, 3]
RUN_S = 6
CLIENTS = 12
GARBAGE = [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Enc",
           head_of(content_type=NDJSON, chunked=True) + b"zz\r\n", b"\0" * 100]


# --- the nodes ------------------------------------------------------------------------------------
def parts_of(path, tag, count):
    texts = [f"{tag}:{i}" for i in range(count)]
    if path == "/api/generate":
        return generate_parts("m", texts)
    return [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts] + [b"data: [DONE]"]


def misbehave(request, seed):
    """A script for this request, decided by its tag."""
    body = request.json()
    tag = body.get("prompt") or body["messages"][0]["content"]
    tag = tag.split("|")[0]
    dice = random.Random(f"{seed} {tag}")
    parts = parts_of(request.path, tag, dice.choice([0, 1, 3, 20]))
    stream = ndjson if request.path == "/api/generate" else sse
    if not body.get("stream", request.path == "/api/generate"):
        return answer(parts[-1] if request.path == "/api/generate" else {"choices": [{"message": {"content": tag}}]})
    cut = dice.randrange(len(parts))
    fate = dice.randrange(12)
    if fate < 3:
        return stream(*parts)
    if fate == 3:
        return in_writes_of(stream(*parts), dice.choice([1, 7, 1000]))
    if fate == 4:
        data = b"".join(step.split(b"\r\n", 1)[1][:-2] for step in stream(*parts)[1:-1])
        return rechunked(data, dice.choice([1, 5, 300]), NDJSON if stream is ndjson else SSE)
    if fate == 5:
        return stream(*parts[:cut], dice.choice([CLOSE, RESET, HANG]))
    if fate == 6:
        return stream(*parts[:cut])
    if fate == 7:
        return [dice.choice(GARBAGE), dice.choice([CLOSE, HANG])]
    if fate == 8:
        return [dice.choice([CLOSE, RESET, HANG])]
    if fate == 9:
        return answer({"error": f"{tag}:error"}, dice.choice([400, 404, 500, 503]))
    if fate == 10:
        return stream(*[step for part in parts for step in (part, pause(dice.random() / 50))])
    return [*stream(*parts[:cut])[:-1], chunk(b"x" * 100)[:dice.randrange(100)], dice.choice([CLOSE, RESET])]


class WildNode(OllamaNode):
    def __init__(self, seed):
        self.seed = seed
        super().__init__("m:latest")

    def note(self, request):
        super().note(request)
        return None

    def answers_of(self, request):
        if request.path in ("/api/generate", "/v1/chat/completions"):
            return misbehave(request, self.seed)
        return super().answers_of(request)


# --- the clients ----------------------------------------------------------------------------------
def check_texts(texts, tag):
    assert texts == [f"{tag}:{i}" for i in range(len(texts))], (tag, texts)


def leave(client, dice):
    dice.choice([client.close, client.reset, client.half_close])()


def mcp_client(gateway, dice, name):
    with McpClient(gateway.mcp) as client:
        for turn in range(dice.randrange(1, 4)):
            tags = {session: f"{name}-{turn}-{session}" for session in range(1, dice.randrange(2, 6))}
            for session, tag in tags.items():
                prompt = f"{tag}|{'x' * dice.choice([0, 10, 100000])}"
                body = {"model": "m", "prompt": prompt, "stream": dice.random() < 0.9}
                if dice.random() < 0.3:
                    body["mcp"] = {"deadline_ms": dice.randrange(1, 200)}
                client.request(session, body) if dice.random() < 0.9 else client.send_each_byte(
                    encode(1, session, b'{"model":"m","prompt":"%s"}' % tag.encode()))
            got, open_sessions = {session: [] for session in tags}, set(tags)
            patience = time.monotonic() + dice.choice([0.05, 0.3, 2])
            while open_sessions:
                client.sock.settimeout(0.2)
                try:
                    frame = client.frame()
                except TimeoutError:
                    if time.monotonic() > patience:
                        return leave(client, dice)
                    continue
                assert frame.session in open_sessions, frame
                part = frame.json()
                if "code" not in part and "response" in part and part["response"]:
                    got[frame.session].append(part["response"])
                if part.get("done"):
                    open_sessions.remove(frame.session)
                if dice.random() < 0.01:
                    return leave(client, dice)
            for session, tag in tags.items():
                check_texts(got[session], tag)


def http_client(gateway, dice, name):
    with HttpClient(gateway.http) as client:
        client.sock.settimeout(dice.choice([0.1, 0.5, 2]))
        for turn in range(dice.randrange(1, 4)):
            tag, path = f"{name}-{turn}", dice.choice(["/api/generate", "/v1/chat/completions"])
            body = {"model": "m", "prompt": tag, "messages": [{"role": "user", "content": tag}],
                    "stream": dice.random() < 0.9}
            try:
                client.request("POST", path, body)
                if dice.random() < 0.15:
                    return leave(client, dice)
                response = client.response()
            except TimeoutError:
                return leave(client, dice)
            assert response.get("X-Request-Id")
            if response.status != 200 or not body["stream"]:
                continue
            check_http_stream(path, response, tag)
            if not response.complete:
                return None


def check_http_stream(path, response, tag):
    if path == "/api/generate" and response.framing == "chunked":
        lines = response.lines()
        check_texts([line["response"] for line in lines if line.get("response")], tag)
        assert not response.complete or lines[-1].get("done") or "error" in lines[-1], lines
    elif response.framing == "chunked":
        events = response.events()
        assert not response.complete or events[-1] == b"data: [DONE]" or b'"error"' in events[-1], events


def rude_client(gateway, dice, name):
    """Sends what is no protocol at all."""
    with (McpClient if dice.random() < 0.5 else HttpClient)(dice.choice([gateway.mcp, gateway.http])) as client:
        data = dice.choice([dice.randbytes(dice.randrange(1, 300)), encode(1, 1, b"{}")[:dice.randrange(1, 12)],
                            b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
                            encode(dice.randrange(256), dice.randrange(3), dice.randbytes(20)) * 20])
        client.send(data)
        leave(client, dice)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens(seed):
    failures = []
    limits = {"timeouts": {"idle": "1s", "first_byte": "1s"}}
    with WildNode(seed) as one, WildNode(seed) as two, Gateway(one, two, config=limits) as gateway:
        files = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
        end = time.monotonic() + RUN_S

        def client(number):
            dice, turn = random.Random(f"{seed} client {number}"), 0
            while time.monotonic() < end and not failures:
                turn += 1
                kind = dice.choice([mcp_client, mcp_client, http_client, http_client, rude_client])
                try:
                    kind(gateway, dice, f"{number}.{turn}")
                except (Closed, ConnectionError):
                    pass
                except BaseException as error:  # noqa: BLE001
                    failures.append((f"seed {seed}", kind.__name__, repr(error)))

        threads = [threading.Thread(target=client, args=[number]) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end - 1 and not failures:
            for node in (two, one):
                time.sleep(0.4)
                node.stop()
                time.sleep(0.1)
                node.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        assert_nothing_is_left(gateway, files)
        assert gateway.metric('mcpgate_exchanges_total{outcome="ok"}') > 20


def assert_nothing_is_left(gateway, files):
    """Not an exchange, a body, a connection or a descriptor; and it works as on the first day."""
    gateway.wait_idle()
    for face in ("mcp", "http"):
        gateway.wait_metric(f'mcpgate_connections_open{{face="{face}"}}', 0)
    assert gateway.metric("mcpgate_body_bytes") == 0
    wait_until(lambda: len(os.listdir(f"/proc/{gateway.process.pid}/fd")) <= files + 45,
               lambda: f"{len(os.listdir(f'/proc/{gateway.process.pid}/fd'))} files are open, {files} were")
    wait_until(lambda: ask(gateway.http, "GET", "/api/version").status == 200, "it serves")
