# SPDX-License-Identifier: Apache-2.0
"""Who asks: behind trusted proxies the client is whom Forwarded, X-Forwarded-For or a PROXY header names; nobody else's
headers change anything."""
import json
import pathlib
import socket
import struct

import pytest

from cli import bad, good, run
from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient
from node import Gate, answer, ndjson
from ollama_node import OllamaNode

GENERATE = {"model": "m:latest", "prompt": "hi", "stream": False}
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ALICE, BOB = "192.0.2.1", "2001:db8::b"
LOCAL = SIGNATURE + b"\x20\0\0\0"


def proxy_v2(client, more=b""):
    if ":" in client:
        addresses = socket.inet_pton(socket.AF_INET6, client) + socket.inet_pton(socket.AF_INET6, "::1")
    else:
        addresses = socket.inet_aton(client) + socket.inet_aton("127.0.0.1")
    rest = addresses + struct.pack(">HH", 4711, 80) + more
    return SIGNATURE + (b"\x21\x21" if ":" in client else b"\x21\x11") + struct.pack(">H", len(rest)) + rest


def proxy_v1(client):
    return f"PROXY TCP{6 if ':' in client else 4} {client} {'::1' if ':' in client else '127.0.0.1'} 4711 80\r\n".encode()


@pytest.fixture(scope="module")
def the_node():
    with OllamaNode() as node:
        yield node


def behind(*trusted, **more):
    return {"trusted_proxies": list(trusted)} | more


def clients(gateway):
    return [line["client"] for line in gateway.access()]


def generate(gateway, *headers, ident=None, **options):
    more = [("X-Request-Id", ident)] if ident else []
    return ask(gateway.http, "POST", "/api/generate", GENERATE, [*headers, *more], **options)


@pytest.fixture(scope="module")
def trusting(the_node):
    with Gateway(the_node, config=behind("127.0.0.1", "10.0.0.0/8")) as gateway:
        yield gateway


# --- headers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("headers, client", [
    ([("X-Forwarded-For", ALICE)], ALICE),
    ([("x-forwarded-for", f"6.6.6.6, {ALICE}, 10.1.1.1")], ALICE),
    ([("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", ALICE)], ALICE),
    ([("X-Forwarded-For", f"{ALICE}:5123")], ALICE),
    ([("Forwarded", f'for=6.6.6.6, for="[{BOB}]:80";proto=https')], BOB),
    ([("Forwarded", "for=_team-a;by=10.1.1.1")], "_team-a"),
    ([("Forwarded", "for=unknown")], "127.0.0.1"),
    ([("Forwarded", 'for="'), ("X-Forwarded-For", ALICE)], "127.0.0.1"),
    ([("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", ALICE)], "127.0.0.1"),
    ([("X-Forwarded-For", "a" * 20000)], "127.0.0.1"),
    ([], "127.0.0.1")])
def test_the_client_is_whom_a_trusted_proxy_names(the_node, trusting, headers, client):
    before = len(trusting.access())
    assert generate(trusting, *headers).status == 200
    wait_until(lambda: len(trusting.access()) > before, "a line in the access log")
    assert trusting.access()[-1]["client"] == client
    asked = the_node.wait_request("/api/generate")
    for name in ("Forwarded", "X-Forwarded-For"):  # the node is told what was said, as nginx does
        assert asked.all(name) == [value for given, value in headers if given.lower() == name.lower()]
    the_node.forget()


def test_a_refused_host_and_why_know_the_client_too(trusting):
    with HttpClient(trusting.http) as client:
        client.send(f"GET / HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-For: {ALICE}\r\n\r\n".encode())
        assert client.response("GET").status == 403
    assert trusting.access()[-1]["client"] == ALICE
    generate(trusting, ("X-Forwarded-For", BOB), ident="who")
    told = ask(trusting.admin, "GET", "/admin/requests/who").json()["requests"][-1]
    assert told["client"] == BOB
    assert f"over http from {BOB}, received" in good("why", "who", "--admin", "%s:%d" % trusting.admin)


def test_what_is_not_clear_is_counted(trusting):
    before = trusting.metric("mcpgate_forwarded_unclear_total")
    generate(trusting, ("X-Forwarded-For", "rubbish"))
    assert trusting.metric("mcpgate_forwarded_unclear_total") == before + 1


def test_headers_of_others_change_nothing(the_node):
    for config in (None, behind("10.0.0.0/8", "unix")):
        with Gateway(the_node, config=config) as gateway:
            generate(gateway, ("X-Forwarded-For", ALICE), ("Forwarded", f"for={ALICE}"))
            gateway.wait_access(lambda line: line["op"] == "generate")
            assert clients(gateway) == ["127.0.0.1"]
            assert gateway.metric("mcpgate_forwarded_unclear_total") == 0


def test_clients_behind_a_proxy_are_tenants_of_their_own():
    gate = Gate()
    with OllamaNode() as node:
        config = behind("127.0.0.1", nodes=[{"url": node.url, "slots": 1}], queue={"per_tenant": 1})
        node.always("/api/generate", answer({"response": "", "done": True}))
        node.next("/api/generate", ndjson({"response": ""}, gate, {"done": True}))
        with Gateway(config=config) as gateway, HttpClient(gateway.http) as first, HttpClient(gateway.http) as second, \
                HttpClient(gateway.http) as third:
            first.request("POST", "/api/generate", GENERATE | {"stream": True}, [("X-Forwarded-For", ALICE)])
            gate.wait_reached()
            second.request("POST", "/api/generate", GENERATE, [("X-Forwarded-For", ALICE)])
            gateway.wait_metric("mcpgate_queue_waiting", 1)
            assert generate(gateway, ("X-Forwarded-For", ALICE)).status == 503  # Alice's queue is full
            third.request("POST", "/api/generate", GENERATE, [("X-Forwarded-For", BOB)])
            gateway.wait_metric("mcpgate_queue_waiting", 2)
            waiting = ask(gateway.admin, "GET", "/admin/queue").json()["requests"]
            assert sorted(request["tenant"] for request in waiting) == sorted([ALICE, ALICE, BOB])
            gate.open()
            assert [client.response().status for client in (first, second, third)] == [200] * 3


def test_who_is_trusted_changes_while_it_runs(the_node):
    with Gateway(the_node, config={}) as gateway:
        generate(gateway, ("X-Forwarded-For", ALICE))
        path = pathlib.Path(gateway.folder.name) / "mcpgate.yaml"
        path.write_text(json.dumps(behind("127.0.0.0/8")))
        reloaded = ask(gateway.admin, "POST", "/admin/reload")
        assert (reloaded.status, reloaded.json()["changed"]) == (200, ["trusted_proxies"])
        generate(gateway, ("X-Forwarded-For", ALICE))
        wait_until(lambda: len(gateway.access()) == 2, "two lines")
        assert clients(gateway) == ["127.0.0.1", ALICE]


# --- the configuration ----------------------------------------------------------------------------
@pytest.mark.parametrize("config, said", [
    ({"trusted_proxies": ["proxy.example"]}, "trusted_proxies[0]: 'proxy.example' is no address or network; expected"),
    ({"trusted_proxies": ["10.0.0.1", "10.0.0.1/8"]}, "trusted_proxies[1]: the network begins at 10.0.0.0/8"),
    ({"trusted_proxies": "10.0.0.1"}, "trusted_proxies: expected a list of addresses and networks such as 10.0.0.0/8"),
    ({"trusted_proxies": []}, "trusted_proxies: an empty list; give an entry or leave it out"),
    ({"http": {"proxy_protocol": True}}, "http.proxy_protocol: without trusted_proxies nobody could connect"),
    ({"mcp": {"proxy_protocol": True}}, "mcp.proxy_protocol: without trusted_proxies nobody could connect"),
    ({"mcp": {"proxy_protocol": "v2"}, "trusted_proxies": ["unix"]}, "mcp.proxy_protocol: expected true or false")])
def test_mistakes_are_named_with_their_line(tmp_path, config, said):
    path = tmp_path / "mcpgate.yaml"
    path.write_text(json.dumps(config))
    error = bad(2, "check-config", "-c", str(path))
    assert f"mcpgate.yaml:1: {said}" in error


def test_to_trust_everybody_is_warned_about(tmp_path):
    path = tmp_path / "mcpgate.yaml"
    path.write_text("trusted_proxies: [0.0.0.0/0]\n")
    result = run("check-config", "-c", str(path))
    assert result.returncode == 0 and "trusted_proxies: anybody can say to be anybody" in result.stdout + result.stderr


# --- PROXY ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=["epoll", "io_uring"])
def proxied(request, the_node):
    config = behind("127.0.0.1", "10.0.0.1", http={"proxy_protocol": True}, mcp={"proxy_protocol": True})
    with Gateway(the_node, config=config, args=["--backend", request.param]) as gateway:
        yield gateway


def ask_behind(gateway, header, *headers, each_byte=False):
    """The response, and the client of its line."""
    before = len(gateway.access())
    with HttpClient(gateway.http) as client:
        data = header + client.bytes_of("POST", "/api/generate", GENERATE, headers)
        (client.send_each_byte if each_byte else client.send)(data)
        client.method = "POST"
        response = client.response()
        wait_until(lambda: len(gateway.access()) > before, "a line in the access log")
        return response, gateway.access()[-1]["client"]


@pytest.mark.parametrize("header, client", [
    (proxy_v2(ALICE), ALICE), (proxy_v2(BOB), BOB), (proxy_v1(ALICE), ALICE), (proxy_v1(BOB), BOB),
    (proxy_v2("::ffff:192.0.2.1"), ALICE), (proxy_v2(ALICE, more=b"\x04\x04\x00" + bytes(1024)), ALICE),
    (LOCAL, "127.0.0.1"), (b"PROXY UNKNOWN\r\n", "127.0.0.1")])
@pytest.mark.parametrize("each_byte", [False, True])
def test_a_connection_is_of_the_client_that_its_header_names(proxied, header, client, each_byte):
    response, said = ask_behind(proxied, header, each_byte=each_byte)
    assert (response.status, said) == (200, client)


def test_headers_behind_a_proxy_header_are_the_clients_own_words(proxied):
    named = ("X-Forwarded-For", "6.6.6.6")
    assert ask_behind(proxied, proxy_v2(ALICE), named)[1] == ALICE
    assert ask_behind(proxied, proxy_v2("10.0.0.1"), named)[1] == "6.6.6.6"  # of a second trusted proxy
    assert ask_behind(proxied, LOCAL, named)[1] == "6.6.6.6"


def test_a_connection_goes_on_as_any_other(proxied):
    with HttpClient(proxied.http) as client:
        client.send(proxy_v2(ALICE))
        for _ in range(3):
            client.request("POST", "/api/generate", GENERATE | {"stream": True})
            assert client.response().status == 200


def test_mcp_behind_a_proxy(proxied):
    with McpClient(proxied.mcp) as client:
        client.send(proxy_v2(BOB))
        assert client.ask({"model": "m", "prompt": "hi"})[-1]["done"] is True
    line = proxied.wait_access(lambda line: line["face"] == "mcp")
    assert line["client"] == BOB


@pytest.mark.parametrize("data, why", [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "the connection does not begin with one"),
    (b"\x01\x03\0\0\0\0\0\0\0\0", "the connection does not begin with one"),
    (b"PROXY TCP4 1.2.3.4 x 1 1\r\n", "its addresses and ports cannot be read"),
    (proxy_v2(ALICE)[:20], "the connection ended within it")])
@pytest.mark.parametrize("face", ["mcp", "http"])
def test_a_wrong_header_closes_with_a_line_and_is_counted(proxied, face, data, why):
    before, name = proxied.errors().count("proxy_refused"), 'mcpgate_proxy_headers_total{result="malformed"}'
    counted = proxied.metric(name)
    with HttpClient(getattr(proxied, face)) as client:
        client.send(data)
        client.half_close()
        assert client.closed() == b""
    proxied.wait_metric(name, counted + 1)
    wait_until(lambda: proxied.errors().count("proxy_refused") == before + 1, "a line in the log")
    line = proxied.errors().splitlines()[-1]
    assert f'event=proxy_refused client=127.0.0.1 face={face} why="{why}"' in line


def test_a_balancer_that_only_looks_whether_somebody_listens(proxied):
    said = proxied.errors()
    with HttpClient(proxied.http) as client:
        client.half_close()
        assert client.closed() == b""
    with HttpClient(proxied.http) as client:
        client.reset()
    assert proxied.errors() == said


def test_other_peers_cannot_connect(the_node):
    config = behind("10.0.0.1", http={"proxy_protocol": True})
    with Gateway(the_node, config=config) as gateway:
        with HttpClient(gateway.http) as client:
            assert client.closed() == b""
        gateway.wait_metric('mcpgate_proxy_headers_total{result="untrusted"}', 1)
        assert 'event=proxy_refused client=127.0.0.1 face=http why="the peer is not in trusted_proxies"' in gateway.errors()
        with McpClient(gateway.mcp) as client:  # it did not ask for headers
            assert client.ask({"model": "m", "prompt": "hi"})[-1]["done"] is True


def test_a_header_is_no_request_where_it_was_not_asked_for(trusting):
    with HttpClient(trusting.http) as client:
        client.send(proxy_v1(ALICE) + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.response("GET").status == 400


def test_who_still_owes_a_header_does_not_hold_up_the_end(the_node):
    config = behind("127.0.0.1", http={"proxy_protocol": True})
    with Gateway(the_node, config=config) as gateway:
        with HttpClient(gateway.http) as client, HttpClient(gateway.http) as partly:
            partly.send(proxy_v2(ALICE)[:10])
            gateway.terminate()
            assert client.closed() == b"" and partly.closed() == b""
            gateway.wait_exit()
