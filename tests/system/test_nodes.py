# SPDX-License-Identifier: Apache-2.0
"""Nodes: how they come up and go down, what they are, their models, and the connections to them."""
import os
import re
import socket
import subprocess
import time

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient
from node import CLOSE, HANG, NDJSON, RESET, Gate, answer, chunk, head_of, ndjson
from ollama_node import OllamaNode, generate_parts
from openai_node import MODEL, OpenaiNode, recorded

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")
STALE = "mcpgate_node_stale_retries_total"


def generate(gateway, body=GENERATE):
    return ask(gateway.http, "POST", "/api/generate", body)


# --- up and down ----------------------------------------------------------------------------------
def test_without_a_node_it_starts_says_why_and_is_ready_when_the_node_comes():
    with OllamaNode(start=False) as node, Gateway(node, wait=False) as gateway:
        gateway.wait_line("not ready: no node is up")
        assert re.search(rf"^node +{node.name} down: .*Connection refused", "\n".join(gateway.lines), re.M)
        response = ask(gateway.admin, "GET", "/readyz")
        assert (response.status, response.body) == (503, b"no node is up\n")
        assert ask(gateway.admin, "GET", "/healthz").status == 200
        assert generate(gateway).status == 503
        node.start()
        wait_until(lambda: gateway.ready_status() == 200, "it is ready")
        assert generate(gateway).lines() == PARTS


def test_a_node_that_is_down_is_asked_again_after_100_ms_doubling():
    with OllamaNode() as node:
        times = []

        def refuse(request):
            times.append(time.monotonic())
            return answer({"error": "x"}, 500)

        node.always("/api/version", refuse, polls=True)
        with Gateway(node, wait=False):
            wait_until(lambda: len(times) >= 6, "six polls")
        gaps = [after - before for before, after in zip(times, times[1:])]
        for gap, expected in zip(gaps, (0.1, 0.2, 0.4, 0.8, 1.6)):
            assert 0.95 * expected <= gap < expected + 3, gaps


def test_a_request_right_after_the_start_waits_for_the_first_poll():
    gate = Gate()
    with OllamaNode() as node:
        node.next("/api/version", [gate, *answer({"version": "1"})], polls=True)
        with Gateway(node, wait=False) as gateway, socket.create_connection(gateway.http) as early:
            early.sendall(b"GET /api/tags HTTP/1.0\r\n\r\n")
            gate.wait_reached()
            wait_until(lambda: gateway.metric("mcpgate_exchanges_running") == 1, "the request is there")
            gate.open()
            assert early.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.0 200")
            assert generate(gateway).status == 200


def test_the_banner_says_what_listens_and_which_nodes_have_which_models():
    with OllamaNode("a:latest", "b:7b") as one, OpenaiNode() as two, OllamaNode(start=False) as three:
        with Gateway(one, two, three) as gateway:
            text = "\n".join(gateway.lines)
            for face in ("mcp", "http", "admin"):
                assert re.search(rf"^{face} +listening on 127\.0\.0\.1:\d+$", text, re.M)
            assert re.search(rf"^node +{one.name} up \(ollama 0\.33\.0\): a:latest, b:7b$", text, re.M)
            assert re.search(rf"^node +{two.name} up \(openai\): {MODEL}$", text, re.M)
            assert re.search(rf"^node +{three.name} down: ", text, re.M)
            assert gateway.lines[-1] == "ready"


def test_a_node_that_goes_is_seen_by_the_next_request_and_comes_back_by_itself():
    with OllamaNode() as node, Gateway(node) as gateway:
        assert generate(gateway).complete
        node.stop()
        response = generate(gateway)
        assert (response.status, "refused" in response.json()["error"]) == (503, True)
        assert gateway.ready_status() == 503
        assert gateway.metric('mcpgate_node_transitions_total{to="down"}') == 1
        node.start()
        wait_until(lambda: gateway.ready_status() == 200, "it is up again")
        assert generate(gateway).lines() == PARTS


def test_health_is_degraded_when_one_of_two_is_down():
    with OllamaNode() as one, OllamaNode(start=False) as two, Gateway(one, two) as gateway:
        with McpClient(gateway.mcp) as client:
            def health():
                return client.ask({"mcp": {"op": "health"}}, single=True)[0]
            assert (health()["status"], [n["up"] for n in health()["nodes"]]) == ("degraded", [True, False])
            two.start()
            wait_until(lambda: health()["status"] == "ok", "both are up")
            one.stop(), two.stop()
            client.ask(GENERATE)
            wait_until(lambda: health()["status"] == "down", "none is up")


def test_a_node_that_does_not_take_connections_is_down_in_time():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = []
        for _ in range(4):  # its queue is full: the kernel answers no further SYN
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(address)
        limits = {"timeouts": {"connect": "300ms"}}
        with Gateway("http://127.0.0.1:%d" % address[1], config=limits, wait=False) as gateway:
            gateway.wait_line("not ready")
            assert any("no connection within 300 ms" in line for line in gateway.lines)
        for sock in waiting:
            sock.close()


# --- what a node is -------------------------------------------------------------------------------
def test_kinds_are_told_apart():
    with OllamaNode() as one, OpenaiNode() as two, Gateway(one, two) as gateway:
        nodes = ask(gateway.admin, "GET", "/admin/nodes").json()["nodes"]
        assert [(n["name"], n["kind"]) for n in nodes] == [(one.name, "ollama"), (two.name, "openai")]


def test_a_server_that_still_loads_is_down_and_not_misread():
    """llama.cpp answers 503 on every path while it loads; then it is what it is."""
    with OpenaiNode() as node:
        node.next("/api/version", recorded("loading"), recorded("loading"), polls=True)
        with Gateway(node, wait=False) as gateway:
            gateway.wait_line("not ready")
            wait_until(lambda: gateway.ready_status() == 200, "it has loaded")
            (told,) = ask(gateway.admin, "GET", "/admin/nodes").json()["nodes"]
            assert (told["kind"], told["up"]) == ("openai", True)


@pytest.mark.parametrize("kind, node_class, up", [("openai", OpenaiNode, True), ("ollama", OllamaNode, True),
                                                  ("ollama", OpenaiNode, False), ("openai", OllamaNode, True)])
def test_a_configured_kind_is_taken_as_it_is(kind, node_class, up):
    with node_class() as node:
        with Gateway(config={"node": {"url": node.url, "kind": kind}}, wait=False) as gateway:
            gateway.wait_line("ready" if up else "not ready")
            (told,) = ask(gateway.admin, "GET", "/admin/nodes").json()["nodes"]
            assert told["up"] is up and (not up or told["kind"] == kind)
        assert all(poll.path != "/api/version" for poll in node.polls) or kind == "ollama"


@pytest.mark.parametrize("answers", [[b"SSH-2.0-OpenSSH_9.2\r\n"], answer(b"<html>"), answer({"version": "1"})])
def test_what_is_no_node_is_down_with_a_reason(answers):
    with OllamaNode() as node:
        node.always("/api/version", [*answers, CLOSE], polls=True)
        node.always("/api/tags", answer(b"[]"), polls=True)
        with Gateway(node, wait=False) as gateway:
            gateway.wait_line("not ready")
            assert any(re.match(rf"node +{node.name} down: \S+", line) for line in gateway.lines)


def test_a_prefix_in_the_url_is_kept():
    with OllamaNode() as node:
        for path in ("/api/version", "/api/tags"):
            node.always("/pre/fix" + path, lambda request, path=path: node.plain_answer("GET", path), polls=True)
        node.always("/pre/fix/api/generate", ndjson(*PARTS))
        with Gateway(node.url + "/pre/fix/") as gateway:
            assert generate(gateway).lines() == PARTS


def test_nodes_and_faces_on_unix_sockets(tmp_path):
    paths = [f"--http=unix:{tmp_path}/http", f"--mcp=unix:{tmp_path}/mcp"]
    with OllamaNode() as node, Gateway(node, faces=("admin",), args=paths):
        with Gateway(f"unix:{tmp_path}/http") as outer:
            assert generate(outer).lines() == PARTS
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(f"{tmp_path}/mcp")
            plain.sendall(bytes.fromhex("01030000000000000000"))
            assert plain.recv(100) == bytes.fromhex("01030000000000000000")


# --- models ---------------------------------------------------------------------------------------
def test_a_model_that_has_just_come_is_found_at_once():
    with OllamaNode("m:latest") as node, Gateway(node) as gateway:
        assert generate(gateway, {"model": "new", "prompt": "a"}).status == 404
        node.models.append("new:latest")
        def found():
            return generate(gateway, {"model": "new", "prompt": "a"}).status == 200
        began = time.monotonic()
        wait_until(found, "the new model is found", deadline_s=4)  # before the next poll of its own accord
        assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("op, path, body, stream", [
    ("copy", "/api/copy", {"source": "m", "destination": "new"}, False),
    ("create", "/api/create", {"model": "new", "from": "m"}, True),
    ("pull", "/api/pull", {"model": "new"}, True), ("pull", "/api/pull", {"model": "new", "stream": False}, False)])
def test_a_model_that_came_through_the_gateway_is_known_at_once(op, path, body, stream):
    """Within the second for which a miss is believed, and when `success` is read, which comes before the end."""
    with OllamaNode("m:latest") as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        def change(_):
            node.models.append("new:latest")
            return ndjson({"status": "success"}, end) if stream else answer({"status": "success"})
        end = Gate()
        for face in ("http", "mcp"):
            assert generate(gateway, {"model": "new", "prompt": "a"}).status == 404
            node.next(path, change)
            with HttpClient(gateway.http) as http:
                if face == "http":
                    http.request("POST", path, body)
                    assert http.head().status == 200
                else:
                    client.request(1, {**body, "mcp": {"op": op}})
                    assert client.frame(1).json() == {"status": "success"}
                assert generate(gateway, {"model": "new", "prompt": "a"}).status == 200
                end.open()
            gateway.wait_idle()
            node.models.remove("new:latest")
            assert ask(gateway.http, "DELETE", "/api/delete", {"model": "new"}).status == 200
            end = Gate()
            if face == "mcp" and stream:
                assert client.frame(1).json() == {"done": True}


def test_a_miss_reads_the_catalogue_once_and_then_believes_it_for_a_second():
    with OllamaNode("m:latest") as node, Gateway(node) as gateway, McpClient(gateway.mcp) as client:
        def tags():
            return len([poll for poll in node.polls if poll.path == "/api/tags"])

        def misses():
            """Twenty at once; how often the catalogue was read for them."""
            before = tags()
            for session in range(1, 21):
                client.request(session, {"model": f"none{session}", "prompt": "a"})
            for session in range(1, 21):
                assert client.frame(session).error()[0] == "unknown_model"
            return tags() - before

        assert wait_until(misses, "the catalogue is read anew") == 1
        began, read = time.monotonic(), misses()
        assert read == 0 or time.monotonic() - began > 0.9  # by a machine that stood still
        assert node.requests == []


def test_a_request_goes_to_the_node_that_has_its_model():
    with OllamaNode("a:latest") as one, OllamaNode("b:latest") as two, Gateway(one, two) as gateway:
        for model, node in (("a", one), ("b", two), ("a", one)):
            assert generate(gateway, {"model": model, "prompt": "x"}).status == 200
            assert node.of("/api/generate")[-1].json()["model"] == model
        assert generate(gateway, {"model": "c", "prompt": "x"}).status == 404


def test_with_one_node_down_its_models_are_unavailable_only_if_the_other_lacks_them():
    with OllamaNode("a:latest", "b:latest") as one, OllamaNode("a:latest") as two, Gateway(one, two) as gateway:
        one.stop()
        assert generate(gateway, {"model": "a", "prompt": "x"}).status == 200
        assert generate(gateway, {"model": "b", "prompt": "x"}).status == 503
        assert generate(gateway, {"model": "c", "prompt": "x"}).status == 404
        assert [r.json()["model"] for r in two.of("/api/generate")] == ["a"]


def test_a_request_hops_to_another_node_when_the_connection_fails():
    with OllamaNode() as one, OllamaNode() as two:
        with Gateway(one, two, config={"limits": {"idle_connections": 0}}) as gateway, McpClient(gateway.mcp) as client:
            assert client.ask(GENERATE) == PARTS
            if two.of("/api/generate"):
                one, two = two, one
            one.stop()
            assert client.ask(GENERATE) == PARTS  # on the same session: its node is asked first
            assert len(one.of("/api/generate")) == 1
            assert len(two.of("/api/generate")) == 1
            assert gateway.metric("mcpgate_node_connect_failures_total") >= 1


@pytest.mark.parametrize("op, path, body", [
    ("push", "/api/push", {"model": "m"}), ("create", "/api/create", {"model": "n", "from": "m"}),
    ("delete", "/api/delete", {"model": "own:1"})])
def test_what_must_run_once_hops_only_if_nothing_was_sent(op, path, body):
    with OllamaNode("m", "own:1") as one, OllamaNode("m", "other:1") as two, Gateway(one, two) as gateway:
        one.always(path, [CLOSE])
        assert ask(gateway.http, "DELETE" if op == "delete" else "POST", path, body).status == 502
        assert (len(one.of(path)), len(two.of(path))) == (1, 0)


# --- connections ----------------------------------------------------------------------------------
@pytest.fixture
def single(node):
    """With one pool: whatever connection a client comes on, its requests share those to the node."""
    with Gateway(node, config={"reactor": {"mode": "single"}}) as gateway:
        yield gateway


def test_a_connection_is_used_again(single, node):
    for _ in range(5):
        assert generate(single).complete
    assert len({request.connection for request in node.requests}) == 1


def test_each_sub_reactor_has_connections_of_its_own():
    with OllamaNode() as node, Gateway(node, config={"reactor": {"count": 3}}) as gateway:
        for _ in range(12):  # clients take turns
            assert generate(gateway).complete
        assert len({request.connection for request in node.of("/api/generate")}) == 3


@pytest.mark.parametrize("fault", [CLOSE, RESET], ids=["FIN", "RST"])
def test_a_stale_connection_is_retried_once(single, node, fault):
    assert generate(single).complete
    before = single.metric(STALE)
    node.next("/api/generate", [fault])
    body = {"model": "m", "prompt": "x" * 100000}
    assert generate(single, body).lines() == PARTS
    first, second = node.of("/api/generate")[1:]
    assert first.body == second.body and first.connection is not second.connection
    assert single.metric(STALE) == before + 1


def test_once_means_once(single, node):
    assert generate(single).complete
    node.next("/api/generate", [CLOSE], [CLOSE])
    assert generate(single).status == 502
    assert len(node.of("/api/generate")) == 3


def test_a_fresh_connection_that_closes_is_no_stale_one():
    with OllamaNode() as node, Gateway(node, config={"limits": {"idle_connections": 0}}) as gateway:
        node.next("/api/generate", [CLOSE])
        assert generate(gateway).status == 502
        assert (len(node.requests), gateway.metric(STALE)) == (1, 0)


@pytest.mark.parametrize("method, path, body", [
    ("POST", "/api/create", {"model": "n", "from": "m"}), ("POST", "/api/push", {"model": "m"}),
    ("POST", "/api/copy", {"source": "m", "destination": "n"}), ("DELETE", "/api/delete", {"model": "m"}),
    ("POST", "/api/blobs/sha256:00", b"x")])
def test_what_must_run_once_takes_a_fresh_connection_and_is_sent_once(gateway, node, method, path, body):
    assert generate(gateway).complete
    used = node.of("/api/generate")[0].connection
    node.next(path, [CLOSE])
    assert ask(gateway.http, method, path, body).status == 502
    (request,) = node.of(path)
    assert request.connection is not used


def test_a_connection_the_node_closes_while_idle_is_forgotten(gateway, node):
    """llama.cpp's server does so after five seconds."""
    node.next("/api/generate", [*ndjson(*PARTS), CLOSE])
    before, evicted = gateway.metric(STALE), gateway.metric("mcpgate_node_pool_evictions_total")
    assert generate(gateway).complete
    wait_until(lambda: gateway.metric("mcpgate_node_pool_evictions_total") > evicted, "it leaves the pool")
    assert generate(gateway).complete
    assert gateway.metric(STALE) == before


GARBAGE = {
    "no HTTP": b"garbage\r\n\r\n",
    "no status": b"HTTP/1.1 abc\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100000 + b"\r\n\r\n",
    "folded header": b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}",
    "broken first chunk": head_of(content_type=NDJSON, chunked=True) + b"zz\r\n{}\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_upstream_error_and_its_connection_is_closed(gateway, node, data):
    bad = gateway.metric("mcpgate_node_bad_answers_total")
    for ask_it in (lambda: generate(gateway).status, lambda: over_mcp(gateway)):
        node.next("/api/generate", [data, HANG])
        assert ask_it() in (502, "upstream_error")
        node.of("/api/generate")[-1].connection.wait_gone()
    assert gateway.metric("mcpgate_node_bad_answers_total") == bad + 2
    assert generate(gateway).lines() == PARTS


def over_mcp(gateway):
    with McpClient(gateway.mcp) as client:
        return client.error(GENERATE)[0]


def test_a_chunk_that_breaks_within_the_stream_is_upstream_error(gateway, node):
    node.next("/api/generate", [head_of(content_type=NDJSON, chunked=True), chunk(b'{"response":"a"}\n'), b"xyz\r\n",
                                HANG])
    with McpClient(gateway.mcp) as client:
        client.request(1, GENERATE)
        assert client.frame().json() == {"response": "a"}
        assert client.frame().error()[0] == "upstream_error"
    node.of("/api/generate")[0].connection.wait_gone()


def test_bytes_behind_an_answer_close_the_connection(gateway, node):
    node.next("/api/show", [*answer({}), b"more", HANG])
    assert ask(gateway.http, "POST", "/api/show", {"model": "m"}).status == 200
    node.of("/api/show")[0].connection.wait_gone()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
def test_a_connection_that_will_close_is_not_used_again(gateway, node, head):
    node.next("/api/show", [head + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", HANG])
    assert ask(gateway.http, "POST", "/api/show", {"model": "m"}).body == b"{}"
    node.of("/api/show")[0].connection.wait_gone()


def test_an_answer_without_length_ends_with_its_connection(gateway, node):
    node.next("/api/show", [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":1}", CLOSE])
    response = ask(gateway.http, "POST", "/api/show", {"model": "m"})
    assert (response.body, response.complete) == (b'{"a":1}', True)


def test_interim_answers_are_skipped(gateway, node):
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    node.next("/api/show", [interim, *answer({"a": 1})])
    assert ask(gateway.http, "POST", "/api/show", {"model": "m"}).json() == {"a": 1}


def test_names_of_headers_have_no_case(gateway, node):
    node.next("/api/show", [b"HTTP/1.1 200 OK\r\ncontent-TYPE: application/json\r\nCONTENT-length: 2\r\n\r\n{}"])
    assert ask(gateway.http, "POST", "/api/show", {"model": "m"}).body == b"{}"


# --- the pool -------------------------------------------------------------------------------------
def run_at_once(gateway, node, count):
    gate, before = Gate(), len(node.of("/api/generate"))
    node.next("/api/generate", *[ndjson(gate, *PARTS)] * count)
    with McpClient(gateway.mcp) as client:
        for session in range(1, count + 1):
            client.request(session, GENERATE)
        node.wait_request("/api/generate", before + count)
        assert len({request.connection for request in node.of("/api/generate")[before:]}) == count
        gate.open()
        for session in range(1, count + 1):
            assert [frame.json() for frame in client.parts(session)] == PARTS


def test_only_so_many_idle_connections_are_kept():
    with OllamaNode() as node, Gateway(node, config={"limits": {"idle_connections": 3}}) as gateway:
        run_at_once(gateway, node, 10)
        wait_until(lambda: len(node.open_connections()) <= 3, "the others close")
        assert len(node.open_connections()) == 3
        run_at_once(gateway, node, 10)


def test_idle_connections_close_after_a_while():
    with OllamaNode() as node, Gateway(node, config={"timeouts": {"pool_idle": "300ms"}}) as gateway:
        run_at_once(gateway, node, 4)
        wait_until(lambda: not node.open_connections(), "all close")


def test_with_none_kept_each_call_has_its_own():
    with OllamaNode() as node, Gateway(node, config={"limits": {"idle_connections": 0}}) as gateway:
        for _ in range(3):
            assert generate(gateway).complete
        assert len({request.connection for request in node.requests}) == 3
        wait_until(lambda: not node.open_connections(), "all close")


# --- start ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("face", ["mcp", "http", "admin"])
def test_a_port_that_is_taken_is_said_with_who_has_it(the_gateway, face):
    port = getattr(the_gateway, face)[1]
    others = [f"--{name}=127.0.0.1:0" for name in ("mcp", "http", "admin") if name != face]
    run = subprocess.run([os.environ["MCPGATE_BIN"], "serve", *others, f"--{face}=127.0.0.1:{port}"],
                         capture_output=True, text=True, timeout=20)
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr == (f"mcpgate: 127.0.0.1:{port} is in use by mcpgate (pid {the_gateway.process.pid}); "
                          f"use --{face} ADDR or {face}.listen\n")


def test_the_soft_limit_on_open_files_is_raised(the_gateway):
    limits = open(f"/proc/{the_gateway.process.pid}/limits").read()
    soft, hard = re.search(r"Max open files +(\S+) +(\S+)", limits).groups()
    assert soft == hard
