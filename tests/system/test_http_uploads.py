# SPDX-License-Identifier: Apache-2.0
"""Blobs: streamed to the node without limit and without being kept; refused, cut and slow ones."""
import hashlib
import os

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from node import CLOSE, RESET, Early, Gate, answer
from ollama_node import DIGEST, OllamaNode

MIB = 1 << 20
PATH = f"/api/blobs/{DIGEST}"
PIECE = bytes(range(256)) * 256  # 64 KiB
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n"


def length(size):
    return f"{HEAD}Content-Length: {size}\r\n\r\n".encode()


CHUNKED = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()


@pytest.fixture(scope="module")
def the_gateway(the_node):
    """Its memory can be judged: AddressSanitizer keeps freed memory back otherwise."""
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    with Gateway(the_node, env={"ASAN_OPTIONS": options}, config={"limits": {"max_body": "64KiB"}}) as gateway:
        yield gateway


@pytest.fixture
def client(gateway):
    with HttpClient(gateway.http) as client:
        yield client


class Peak:
    """The most memory of the gateway seen while things are sent."""
    def __init__(self, gateway):
        self.gateway, self.before, self.most = gateway, gateway.rss_bytes(), 0

    def look(self):
        self.most = max(self.most, self.gateway.rss_bytes() - self.before)


def digest(data, count=1):
    total = hashlib.sha256()
    for _ in range(count):
        total.update(data)
    return total.hexdigest()


def test_a_big_blob_arrives_whole_and_is_not_kept(gateway, client, node):
    """48 MiB, far above max_body, which is for what is read whole."""
    count, peak = 768, Peak(gateway)
    client.send(length(count * len(PIECE)))
    for i in range(count):
        client.send(PIECE)
        if i % 32 == 0:
            peak.look()
    response = client.response("POST")
    assert (response.status, response.body) == (201, b"")
    request = node.wait_request(PATH)
    assert digest(request.body) == digest(PIECE, count)
    assert request.get("Content-Length") == str(count * len(PIECE))
    assert peak.most < 12 * MIB


def test_a_chunked_blob_arrives_whole_and_chunked(gateway, client, node):
    count, peak = 256, Peak(gateway)
    client.send(CHUNKED)
    for i in range(count):
        client.send(b"10000\r\n" + PIECE + b"\r\n")
        if i % 32 == 0:
            peak.look()
    client.send(b"0\r\n\r\n")
    assert client.response("POST").status == 201
    request = node.wait_request(PATH)
    assert (request.get("Transfer-Encoding"), request.get("Content-Length")) == ("chunked", None)
    assert digest(request.body) == digest(PIECE, count) and peak.most < 12 * MIB


@pytest.mark.parametrize("body", [b"", b"x", PIECE * 3])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_blobs_of_all_sizes(client, node, body, framing):
    if framing == "length":
        client.send(length(len(body)) + body)
    else:
        client.send(CHUNKED + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")
    assert client.response("POST").status == 201
    assert node.wait_request(PATH).body == body
    client.request("GET", "/api/version")
    assert client.response().status == 200


def test_a_blob_that_comes_byte_by_byte(client, node):
    client.send_each_byte(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert client.response("POST").status == 201
    assert node.wait_request(PATH).body == b"abcde"


def test_the_body_is_asked_for_when_there_is_a_node_to_pass_it_to(client, node):
    client.send(f"{HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
    assert client.head().status == 100
    client.send(b"hello")
    assert client.response("POST").status == 201
    request = node.wait_request(PATH)
    assert (request.body, request.get("Expect")) == (b"hello", None)


def test_no_node_no_body():
    with OllamaNode(start=False) as node, Gateway(node, wait=False) as gateway, HttpClient(gateway.http) as client:
        gateway.wait_line("not ready")
        client.send(f"{HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
        response = client.head()
        assert response.status == 503
        client.finish(response)
        assert "no node" in response.json()["error"]


@pytest.mark.parametrize("status", [200, 400])
def test_the_nodes_answer_passes(client, node, status):
    node.next(PATH, answer({"error": "digest mismatch"} if status == 400 else b"", status))
    client.send(length(3) + b"abc")
    response = client.response("POST")
    assert response.status == status
    assert status == 200 or response.json() == {"error": "digest mismatch"}


def test_a_blob_is_asked_for_with_head(gateway, node):
    assert ask(gateway.http, "HEAD", PATH).status == 200
    node.next(PATH, [b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"])
    response = ask(gateway.http, "HEAD", PATH)
    assert (response.status, response.body, response.get("Content-Length")) == (404, b"", "30")


def test_a_blob_goes_over_a_connection_of_its_own(gateway, client, node):
    """A pooled one might be closed just now, and the body could not be sent again."""
    ask(gateway.http, "GET", "/api/ps")
    client.send(length(3) + b"abc")
    assert client.response("POST").status == 201
    blob = node.wait_request(PATH)
    assert blob.connection.number > node.wait_request("/api/ps").connection.number
    assert all(request.connection is not blob.connection for request in node.polls + node.of("/api/ps"))


def test_a_node_that_refuses_early_is_heard(client, node):
    """It answers 400 without having read the body, and closes."""
    node.next(PATH, Early([*answer({"error": "invalid digest format"}, 400, headers=[("Connection", "close")]), CLOSE]))
    client.send(length(64 * MIB))
    try:
        for _ in range(1024):
            client.send(PIECE)
    except ConnectionError:
        pass  # the gateway does not read 64 MiB for nothing
    response = client.response("POST")
    assert (response.status, response.json()) == (400, {"error": "invalid digest format"})


@pytest.mark.parametrize("cut", [CLOSE, RESET], ids=["FIN", "RST"])
def test_a_node_that_leaves_within_the_upload_is_an_error(client, node, cut):
    gate = Gate()
    node.next(PATH, Early([gate, cut]))
    client.send(length(10 * MIB) + PIECE)
    gate.wait_reached()
    gate.open()
    try:
        for _ in range(159):
            client.send(PIECE)
    except ConnectionError:
        pass
    assert client.response("POST").status == 502


@pytest.mark.parametrize("leave", [HttpClient.close, HttpClient.reset, HttpClient.half_close],
                         ids=["FIN", "RST", "half-close"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_leaves_within_its_upload_leaves_no_half_blob(gateway, client, node, leave, framing):
    """The node must not take what came so far for the whole: its connection is cut."""
    client.send((length(MIB) if framing == "length" else CHUNKED + b"10000\r\n") + PIECE[:1000])
    wait_until(lambda: node.of(PATH), "the upload begins")
    leave(client)
    (request,) = node.of(PATH)
    request.connection.wait_gone()
    assert not request.whole.is_set()


def test_a_slow_node_slows_its_client_and_costs_bounded_memory(gateway, client, node):
    gate, peak = Gate(), Peak(gateway)
    node.next(PATH, Early([gate, lambda connection: connection.read_body(node.of(PATH)[0]), *answer(b"", 201)]))
    size = 64 * MIB
    client.send(length(size))
    client.sock.settimeout(0.4)
    sent = 0
    try:
        while sent < size:
            sent += client.sock.send(PIECE)
    except TimeoutError:
        pass
    peak.look()
    assert sent < 40 * MIB, "nothing holds the client back"
    assert peak.most < 12 * MIB
    assert ask(gateway.http, "GET", "/api/ps").status == 200  # others are served
    gate.open()
    client.sock.settimeout(20)
    whole = (PIECE * (size // len(PIECE) + 1))
    offset = sent % len(PIECE)
    remaining = size - sent
    while remaining:
        data = whole[offset:offset + min(remaining, len(PIECE))]
        client.send(data)
        remaining -= len(data)
    assert client.response("POST").status == 201
    assert len(node.wait_request(PATH).body) == size


def test_an_upload_counts_what_came(gateway, client, node):
    client.request("POST", PATH, PIECE, [("X-Request-Id", "upload-1")])
    assert client.response().status == 201
    line = gateway.wait_access(lambda line: line["id"] == "upload-1")
    assert (line["bytes_in"], line["code"], line["path"]) == (str(len(PIECE)), "ok", PATH)
