# SPDX-License-Identifier: Apache-2.0
"""What the gateway read is what the node reads. Two nodes, each with a model of its own, read bodies as Go's
encoding/json does (keys in any case, the last one wins): a request with any keys is refused by the gateway, or comes to
the node whose model that reading names, and the parts are those it means.

A failure names its seed; MCPGATE_SEED=N runs that one.
"""
import json
import os
import random

import pytest

from gateway import Gateway
from http_bytes import HttpClient
from mcp_client import REQUEST, McpClient, encode
from node import answer, ndjson
from ollama_node import OllamaNode, generate_parts

SEEDS = [int(os.environ["MCPGATE_SEED"])] if "MCPGATE_SEED" in os.environ else [1, 2, 3]
BODIES = 1000
DEPTH_MAX = 128


# --- as Go reads it -------------------------------------------------------------------------------
def fold(key):
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


def read_as_go(body):
    """(model, stream); None where it is refused."""
    model, stream = "", True
    try:
        pairs = json.loads(body.decode("utf-8", "replace"), object_pairs_hook=list)
    except ValueError:
        return None
    if not isinstance(pairs, list):
        return None
    for key, value in pairs:
        if fold(key) == "model" and value is not None:
            model = value
        if fold(key) == "stream":
            stream = True if value is None else value
    return (model, stream) if isinstance(model, str) and isinstance(stream, bool) else None


class GoNode(OllamaNode):
    def __init__(self, model):
        self.read = []
        super().__init__(model)

    def answers_of(self, request):
        if request.path != "/api/generate":
            return super().answers_of(request)
        reading = read_as_go(request.body)
        self.read.append(reading)
        if reading is None or not reading[0]:
            return answer({"error": "model is required" if reading else "invalid"}, 400)
        parts = generate_parts(reading[0], [reading[0]])
        return ndjson(*parts) if reading[1] else answer(parts[-1])


@pytest.fixture(scope="module")
def served():
    with GoNode("a:latest") as one, GoNode("b:latest") as two, Gateway(one, two) as gateway:
        with HttpClient(gateway.http) as http, McpClient(gateway.mcp) as mcp:
            yield {"a": one, "b": two}, http, mcp


# --- bodies ---------------------------------------------------------------------------------------
def spell(key, dice):
    """The key, or one that somebody might take for it."""
    way = dice.randrange(10)
    if way < 5:
        return f'"{key}"'
    at = dice.randrange(len(key))
    odd = [key[:at] + f"\\u{ord(key[at]):04x}" + key[at + 1:], key[:at] + key[at].upper() + key[at + 1:], key.upper(),
           key.replace("s", "\u017f"), key.replace("s", "\\u017F"), key.replace("k", "\u212a"), key + " ",
           key + "\\u0000", "\\ufeff" + key, key[:-1], key + "\\/", key.replace("e", "\u0435"),
           key[:at] + "\\ud800" + key[at:]]
    return f'"{dice.choice(odd)}"'


def value_of(key, dice):
    usual = {"model": ['"a"', '"b"', '"b:latest"', '"\\u0061"'], "stream": ["true", "false"], "prompt": ['"hi"', '""']}
    odd = ["null", "1", '"c"', "[]", "{}", "[" * 5 + "]" * 5, '{"model":"b","stream":false,"done":true}', '"\\ud800"',
           "1e999", "-0", "[{}]", '"}"', '"\\\\"', '"\\",\\"model\\":\\"b\\""']
    return dice.choice(usual[key] if key in usual and dice.random() < 0.9 else odd)


def nasty_body(dice):
    keys = ["model", "prompt"] + dice.choices(["model", "stream", "prompt", "options", "keep_alive", "mcp", "x", "k",
                                               "mode", "models", "format"], k=dice.randrange(4))
    if dice.random() < 0.3:
        dice.shuffle(keys)
    blank = dice.choice(["", " ", "\t\n\r "])
    members = [f"{blank}{spell(key, dice)}{blank}:{blank}{value_of(key, dice)}{blank}" for key in keys]
    text = (blank + "{" + ",".join(members) + "}" + blank).encode()
    way = dice.randrange(20)
    at = dice.randrange(len(text))
    if way == 0:
        return text[:at] + dice.choice([b"\xff", b"\0", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\"]) + text[at:]
    return dice.choice([text[:at], text + b"{}", text + b"\0", b"\xef\xbb\xbf" + text]) if way == 1 else text


# --- the test -------------------------------------------------------------------------------------
def heard_by(nodes):
    """(name, what it read) of the one that was asked, or None."""
    heard = [(name, reading) for name, node in nodes.items() for reading in node.read]
    for node in nodes.values():
        node.read.clear()
    assert len(heard) < 2, heard
    return heard[0] if heard else None


def check(nodes, body, parts):
    """`parts`: of the answer as objects; None where the gateway refused, or the node for want of a model."""
    heard = heard_by(nodes)
    if parts is None:
        assert heard is None or (heard[1] and heard[1][0] == ""), body
        return 0
    assert heard is not None and heard[1] is not None, body
    name, (model, stream) = heard
    assert model.split(":")[0] == name, body
    assert [part.get("response") for part in parts] == ([model, ""] if stream else [""]), body
    return 1


@pytest.mark.parametrize("seed", SEEDS)
def test_one_reading_over_http(seed, served):
    nodes, client, _ = served
    dice, taken = random.Random(f"http {seed}"), 0
    for _ in range(BODIES):
        body = nasty_body(dice)
        client.request("POST", "/api/generate", body)
        response = client.response()
        assert response.complete and response.status in (200, 400, 404), (seed, body, response.raw)
        if response.status == 200:
            taken += check(nodes, body, response.lines() if response.framing == "chunked" else [response.json()])
        elif response.status == 400:
            check(nodes, body, None)
        else:
            unknown(nodes, body)
    assert BODIES / 10 < taken < BODIES


@pytest.mark.parametrize("seed", SEEDS)
def test_one_reading_over_mcp(seed, served):
    nodes, _, client = served
    dice, taken = random.Random(f"mcp {seed}"), 0
    for number in range(BODIES):
        body = nasty_body(dice)
        session = seed * BODIES * 2 + number + 1  # nothing to inherit
        client.send(encode(REQUEST, session, body))
        parts = [frame.json() for frame in client.parts(session)]
        code = parts[-1].get("code")
        assert code in (None, "bad_request", "unknown_model", "unsupported_op"), (seed, body, parts)
        if code == "unknown_model":
            unknown(nodes, body)
        else:
            taken += check(nodes, body, None if code else parts)
    assert BODIES / 10 < taken < BODIES


def unknown(nodes, body):
    """A model that no node has: the node that was asked, if one was, has it neither."""
    heard = heard_by(nodes)
    assert heard is None or heard[1][0].split(":")[0] not in nodes, body


@pytest.mark.parametrize("begin, end", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth, fits", [(DEPTH_MAX - 1, True), (DEPTH_MAX, False), (100000, False)])
def test_depth(begin, end, depth, fits, served):
    nodes, http, mcp = served
    body = b'{"model":"a","prompt":"a","stream":false,"options":%s%s%s}' % (begin * depth, b"1", end * depth)
    http.request("POST", "/api/generate", body)
    assert http.response().status == (200 if fits else 400)
    assert (heard_by(nodes) is not None) == fits
    mcp.send(encode(REQUEST, 1, body))
    assert mcp.frame(1).json().get("code") == (None if fits else "bad_request")
    assert (heard_by(nodes) is not None) == fits
