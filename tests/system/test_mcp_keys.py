# SPDX-License-Identifier: Apache-2.0
"""Keys that come and go by a reload, and what a connection may send by then: protocol.md section 5."""
import json
import pathlib

import pytest

from gateway import Gateway
from http_bytes import ask, encode_json, wait_until
from mcp_client import REQUEST, McpClient, encode
from mcp_negotiated import Negotiated
from ollama_node import OllamaNode

ALICE, BOB = ({"name": name, "key": f"{name}-private-key"} for name in ("alice", "bob"))
KIB = 1024


def asks(key=None, size=0):
    body = {"model": "m", "prompt": ""}
    body["mcp"] = {"auth": key["key"]} if key else {}
    body["prompt"] = "x" * (size - len(encode_json(body)))
    return body


@pytest.fixture(name="gateway", params=["single", "main-sub"])
def own_gateway(request, node):
    config = {"keys": [ALICE, BOB], "reactor": {"mode": request.param}}
    with Gateway(node, config=config) as gateway:
        gateway.mode = request.param
        yield gateway


def use_keys(gateway, node, *keys):
    path = pathlib.Path(gateway.folder.name) / "mcpgate.yaml"
    path.write_text(json.dumps({"reactor": {"mode": gateway.mode}, **({"keys": keys} if keys else {})}))
    response = ask(gateway.admin, "POST", "/admin/reload", headers=gateway.key_headers)
    assert response.status == 200, response.body
    gateway.key_headers = [("Authorization", f"Bearer {key['key']}") for key in keys[:1]]


def is_let_in(client, body):
    client.request(1, body)
    while True:
        part = client.frame(1).json()
        if "error" in part or part["done"]:
            return part.get("code") != "unauthorized"


def expect_64_kib(client):
    assert is_let_in(client, asks(size=64 * KIB)) is False
    client.send(encode(REQUEST, 3, encode_json(asks(size=64 * KIB + 1))))
    assert client.frame(3).error()[0] == "too_large"
    assert client.closed() == b""


def test_a_key_that_is_taken_away_takes_its_limits_along(gateway, node):
    by_hello = Negotiated(gateway.mcp, auth=ALICE["key"])
    by_request, other = McpClient(gateway.mcp), McpClient(gateway.mcp)
    in_pieces = Negotiated(gateway.mcp, "chunk", auth=ALICE["key"])
    with by_hello, by_request, other, in_pieces:
        for client, key in ((by_hello, None), (by_request, ALICE), (other, BOB), (in_pieces, None)):
            assert is_let_in(client, asks(key))
            assert is_let_in(client, asks(key, 200 * KIB))
        in_pieces.chunk(7, b"x" * 40 * KIB)
        use_keys(gateway, node, BOB)
        wait_until(lambda: not is_let_in(by_hello, asks()), "the key is gone")
        expect_64_kib(by_hello)
        wait_until(lambda: not is_let_in(by_request, asks(ALICE)), "the key is gone")
        expect_64_kib(by_request)
        wait_until(lambda: not is_let_in(in_pieces, asks()), "the key is gone")
        in_pieces.chunk(7, b"x" * 25 * KIB)
        assert in_pieces.frame(7).error()[0] == "too_large"
        assert is_let_in(other, asks(BOB, 200 * KIB))


def test_a_large_request_on_its_way_gives_its_memory_back(gateway, node):
    whole = encode_json(asks(size=500 * KIB))
    with Negotiated(gateway.mcp, auth=ALICE["key"]) as client:
        frame = encode(REQUEST, 1, whole)
        client.send(frame[:-1])
        wait_until(lambda: gateway.metric("mcpgate_body_bytes") >= 400 * KIB, "it is held")
        use_keys(gateway, node, BOB)
        with McpClient(gateway.mcp) as other:
            wait_until(lambda: not is_let_in(other, asks(ALICE)), "the key is gone")
        client.send(frame[-1:])
        assert client.frame(1).error()[0] == "unauthorized"
        gateway.wait_metric("mcpgate_body_bytes", 0)


def test_keys_that_come_bring_the_limits_and_take_them_along():
    with OllamaNode() as node, Gateway(node, config={"reactor": {"mode": "single"}}) as gateway:
        gateway.mode = "single"
        with McpClient(gateway.mcp) as client, McpClient(gateway.mcp) as other:
            for each in (client, other):
                assert is_let_in(each, asks(size=200 * KIB))
            use_keys(gateway, node, ALICE)
            wait_until(lambda: not is_let_in(client, asks()), "a key is asked for")
            expect_64_kib(client)
            use_keys(gateway, node)
            wait_until(lambda: is_let_in(other, asks()), "no key is asked for")
            assert is_let_in(other, asks(size=200 * KIB))
