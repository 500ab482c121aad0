# SPDX-License-Identifier: Apache-2.0
"""Requests as nobody should send them (tests/lib/hostile_http.py), on each backend, whole, byte by byte and with a good
one behind them: the answer, whether the connection ends, what the node hears of it, and that nobody else notices."""
import pytest

from gateway import Gateway
from hostile_http import CASES, get
from http_bytes import HttpClient
from ollama_node import OllamaNode

GOOD = get(b"/api/tags")
PIECES = {"whole": None, "byte by byte": 1, "with a good one behind": None}
LONG = 10000  # more than this goes in larger pieces


@pytest.fixture(scope="module")
def served_node():
    with OllamaNode() as node:
        yield node


@pytest.fixture(scope="module", params=["epoll", "io_uring"])
def served(request, served_node):
    """A gateway, and a client of it that is there all the time."""
    try:
        gateway = Gateway(served_node, args=("--backend", request.param))
    except AssertionError as error:
        if request.param == "io_uring" and "io_uring" in str(error):
            pytest.skip(str(error))
        raise
    with gateway, HttpClient(gateway.http) as neighbour:
        yield gateway, neighbour


@pytest.fixture
def neighbour_is_well(served, served_node):
    served_node.forget()
    yield
    gateway, neighbour = served
    served_node.forget()
    neighbour.send(GOOD)
    assert (neighbour.response("GET").status, [r.path for r in served_node.requests]) == (200, ["/api/tags"])
    gateway.wait_idle()


def send(client, data, size):
    size = 1000 if size and len(data) > LONG else size
    for at in range(0, len(data), size or len(data)):
        client.send(data[at:at + (size or len(data))])


def check_refused(case, response):
    kind, begin, text = "text/plain; charset=utf-8", f"{case.status} {response.first[2]}: ", response.body.decode()
    if case.begun:
        kind, begin, text = "application/json; charset=utf-8", "", response.json()["error"]
    assert (response.get("Connection"), response.get("Content-Type")) == ("close", kind)
    assert text.startswith(begin) and len(text) > len(begin), text
    assert case.text is None or text == begin + case.text


@pytest.mark.parametrize("way", PIECES)
@pytest.mark.parametrize("name", CASES)
def test_what_comes_of(name, way, served, served_node, neighbour_is_well):
    gateway, _ = served
    case = CASES[name]
    behind = GOOD if way == "with a good one behind" else b""
    with HttpClient(gateway.http) as client:
        send(client, case.data + behind, PIECES[way])
        response = client.response("GET")
        assert (response.version, response.status, response.complete) == ("HTTP/1.1", case.status, True), response.raw
        if case.status != 200 and case.closes and case.text != "the Host of this request is not this machine":
            check_refused(case, response)
        elif case.text is not None:
            assert response.body.decode() == case.text
        if case.closes:
            assert client.closed() == b""
        else:
            if not behind:
                client.send(GOOD)
            assert client.response("GET").json()["models"]
    wanted = [*case.reaches] + ([] if case.closes else ["/api/tags"])
    assert [request.path for request in served_node.requests] == wanted


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.closes and case.status != 200])
def test_the_admin_face_reads_no_other_way(name, served):
    """What can be read at all is another thing there: other paths, other words."""
    gateway, _ = served
    case = CASES[name]
    with HttpClient(gateway.admin) as client:
        client.send(case.data + get(b"/healthz"))
        response = client.response("GET")
        assert (response.status, response.complete) in [(case.status, True), (404, True), (405, True)]
        assert client.closed() == b""
    with HttpClient(gateway.admin) as client:
        client.request("GET", "/healthz")
        assert client.response().status == 200
