# SPDX-License-Identifier: Apache-2.0
"""A chunk that announces more than a body may have is refused when its header is read, not when so much has come."""
import pytest

from gateway import Gateway
from http_bytes import HttpClient
from ollama_node import OllamaNode

HEAD = "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def node():
    with OllamaNode() as node:
        yield node


@pytest.fixture(scope="module")
def gateway(node):
    with Gateway(node, config={"limits": {"max_body": "64KiB"}}) as gateway:
        yield gateway


@pytest.mark.parametrize("sent", [b"ffffffffffffffff\r\n", b"10001\r\n", b"4\r\n{   \r\nfffd\r\n", b"10001;name=value\r\nx"])
@pytest.mark.parametrize("each_byte", [False, True])
@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions"])
def test_it_is_refused_at_once(gateway, node, sent, each_byte, path):
    with HttpClient(gateway.http) as client:
        client.method = "POST"
        client.send(HEAD.format(path).encode())
        (client.send_each_byte if each_byte else client.send)(sent)
        response = client.response()
        assert response.status == 413 and b"the request body is too large" in response.body
    assert node.of(path) == []


def test_what_fits_is_taken(gateway, node):
    body = b'{"model":"m","prompt":"a","stream":false}'.ljust(65536)
    with HttpClient(gateway.http) as client:
        client.send(HEAD.format("/api/generate").encode() + b"8000\r\n" + body[:0x8000] + b"\r\n8000\r\n" + body[0x8000:])
        client.send(b"\r\n0\r\n\r\n")
        assert client.response("POST").status == 200
    node.forget()


def test_a_blob_may_be_larger(gateway, node):
    digest = "sha256:" + "a" * 64
    with HttpClient(gateway.http) as client:
        client.send(HEAD.format(f"/api/blobs/{digest}").encode() + b"20000\r\n" + b"x" * 0x20000 + b"\r\n0\r\n\r\n")
        assert client.response("POST").status < 300
    assert len(node.wait_request(f"/api/blobs/{digest}").body) == 0x20000
