# SPDX-License-Identifier: Apache-2.0
"""Requests with an encoded body: passed on as they came, to the node that has the model."""
import gzip
import json

import pytest

from gateway import Gateway
from http_bytes import ask
from node import answer
from ollama_node import OllamaNode
from openai_node import MODEL, OpenaiNode

BODY = json.dumps({"model": MODEL, "prompt": "hi", "stream": False}).encode()
CORS = [b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Methods: GET, POST\r\nContent-Length: 0\r\n\r\n"]


def test_an_encoded_body_is_refused_by_name_and_identity_is_none():
    with OpenaiNode() as node, Gateway(node) as gateway:
        response = ask(gateway.http, "POST", "/api/generate", gzip.compress(BODY), [("Content-Encoding", "gzip")])
        assert response.status == 400 and "Content-Encoding" in response.json()["error"]
        assert not node.requests
        response = ask(gateway.http, "POST", "/api/generate", BODY, [("Content-Encoding", "identity")])
        assert response.status == 200 and response.json()["response"]


def test_options_are_the_nodes_business_also_where_its_answers_are_translated():
    with OpenaiNode() as node, Gateway(node) as gateway:
        for path in ("/api/chat", "/api/tags", "/api/blobs/sha256:a1", "/v1/chat/completions"):
            node.next(path, CORS)
            response = ask(gateway.http, "OPTIONS", path, headers=[("Access-Control-Request-Method", "POST")])
            assert response.status == 200 and response.get("Access-Control-Allow-Methods") == "GET, POST"
            assert node.of(path)[-1].method == "OPTIONS"


def zstd(data, more=b""):
    """One frame of blocks that are not compressed; `more`: blocks before them."""
    blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)]
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + more
    for i, block in enumerate(blocks):
        frame += (len(block) << 3 | (i == len(blocks) - 1)).to_bytes(3, "little") + block
    return frame


@pytest.fixture(scope="module")
def two():
    """Two Ollama nodes with a model each, behind one gateway."""
    with OllamaNode("first:1b") as first, OllamaNode("second:1b") as second, Gateway(first, second) as gateway:
        yield first, second, gateway


@pytest.mark.parametrize("path", ["/v1/responses", "/api/chat"])
def test_the_model_is_found_in_zstd_and_the_body_goes_on_as_it_came(two, path):
    first, second, gateway = two
    request = {"input": "x" * 200000, "stream": True, "mcp": {"tags": {"a": "b"}}}
    for node, other, model in ((first, second, "first:1b"), (second, first, "second:1b")):
        node.forget()
        other.forget()
        node.next(path, answer({"yes": True}))
        body = zstd(json.dumps({**request, "model": model}).encode())
        response = ask(gateway.http, "POST", path, body, [("Content-Encoding", "zstd")])
        assert (response.status, response.json()) == (200, {"yes": True})
        (got,) = node.of(path)
        assert (got.body, got.get("content-encoding")) == (body, "zstd")
        assert not other.of(path)
        assert gateway.wait_access(lambda line, model=model: line["model"] == model and line["path"] == path)


def test_a_model_nobody_has_is_said_for_zstd_too(two):
    response = ask(two[2].http, "POST", "/v1/responses", zstd(b'{"model":"third:1b"}'), [("Content-Encoding", "ZSTD")])
    assert (response.status, response.json()["error"]["message"]) == (404, "model 'third:1b' not found")


@pytest.mark.parametrize(("body", "status", "text"), [
    (b'{"model":"first:1b"}', 400, "not zstd"),
    (zstd(b'{"model":"first:1b"}')[:-1], 400, "cut short"),
    (zstd(b'{"model":'), 400, "JSON"),
    (zstd(b'{"model":"first:1b"}', more=b"\x02\x00\x10 " * 1000), 413, "more than 20971520 bytes"),
], ids=["none", "cut", "no JSON", "bomb"])
def test_zstd_that_cannot_be_read_is_refused(two, body, status, text):
    for node in two[:2]:
        node.forget()
    response = ask(two[2].http, "POST", "/v1/responses", body, [("Content-Encoding", "zstd")])
    assert response.status == status and text in response.json()["error"]["message"]
    assert not two[0].of("/v1/responses") + two[1].of("/v1/responses")
