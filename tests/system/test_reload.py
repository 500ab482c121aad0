# SPDX-License-Identifier: Apache-2.0
"""Another configuration while it runs: SIGHUP and POST /admin/reload."""
import json
import os
import pathlib
import signal
import threading

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient
from node import Gate, ndjson
from ollama_node import OllamaNode, generate_parts
from terminal import Terminal

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")
OK, FAILED = 'mcpgate_reloads_total{result="ok"}', 'mcpgate_reloads_total{result="failed"}'


def of_nodes(*nodes, **sections):
    return {"nodes": [{"url": node.url, "name": name} for name, node in nodes], **sections}


def write(gateway, config):
    """The gateway's file; its mode is kept."""
    path = pathlib.Path(gateway.folder.name) / "mcpgate.yaml"
    path.write_text(config if isinstance(config, str) else json.dumps(config))


def reload(gateway, config, status=200, headers=()):
    write(gateway, config)
    response = ask(gateway.admin, "POST", "/admin/reload", headers=list(headers))
    assert response.status == status, response.body
    body = json.loads(response.body)
    return body["changed"] if status == 200 else body["error"]


def node_names(gateway):
    return [n["name"] for n in json.loads(ask(gateway.admin, "GET", "/admin/nodes").body)["nodes"]]


def generate(gateway, headers=()):
    return ask(gateway.http, "POST", "/api/generate", GENERATE, headers=list(headers))


@pytest.fixture(name="nodes")
def two_nodes():
    with OllamaNode() as a, OllamaNode() as b:
        yield a, b


# --- nodes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["single", "main-sub"])
def test_nodes_come_and_go_and_what_runs_goes_on(nodes, mode):
    a, b = nodes
    gate = Gate()
    a.next("/api/generate", ndjson(PARTS[0], gate, *PARTS[1:]))
    args = ["--mode", mode]
    with Gateway(config=of_nodes(("a", a)), args=args) as gateway, HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", GENERATE)
        gate.wait_reached()
        assert reload(gateway, of_nodes(("b", b))) == ["nodes"]
        assert node_names(gateway) == ["b"]
        wait_until(lambda: generate(gateway).status == 200, "b is up")
        assert gateway.access()[-1]["node"] == "b"
        gate.open()
        assert client.response().lines() == PARTS
        line = gateway.wait_access(lambda line: line["node"] == "a")
        assert line["code"] == "ok"
        assert reload(gateway, of_nodes(("b", b), ("a", a))) == ["nodes"]
        assert node_names(gateway) == ["b", "a"]
        assert gateway.metric(OK) == 2


def test_no_request_fails_while_nodes_change(nodes):
    a, b = nodes
    bad, stop = [], threading.Event()
    with Gateway(config=of_nodes(("a", a))) as gateway:
        def load():
            with HttpClient(gateway.http) as client:
                while not stop.is_set():
                    client.request("POST", "/api/generate", GENERATE)
                    response = client.response()
                    if response.status != 200 or response.lines() != PARTS:
                        bad.append(response)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for i in range(10):
                # Both for a moment: a new node is asked only once it was polled.
                reload(gateway, of_nodes(("a", a), ("b", b)))
                wait_until(lambda: all(n["up"] for n in json.loads(
                    ask(gateway.admin, "GET", "/admin/nodes").body)["nodes"]), "both are up")
                reload(gateway, of_nodes(("b", b) if i % 2 else ("a", a)))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not bad
        assert gateway.metric(OK) == 20


# --- other keys -----------------------------------------------------------------------------------
def test_limits_keys_and_logs_are_those_of_the_file(nodes):
    a, _ = nodes
    with Gateway(config=of_nodes(("a", a)), log_to_file=False) as gateway:
        assert generate(gateway).status == 200
        moved = pathlib.Path(gateway.folder.name) / "moved"
        changed = reload(gateway, of_nodes(("a", a), keys=[{"name": "alice", "key": "one-private-key"}],
                                           limits={"max_body": "1KiB"}, log={"access": str(moved), "level": "warn"}))
        assert changed == ["keys", "limits.max_body", "log.level", "log.access"]
        wait_until(lambda: generate(gateway).status == 401, "a key is asked for")
        key = [("Authorization", "Bearer one-private-key")]
        assert generate(gateway, key).status == 200
        big = ask(gateway.http, "POST", "/api/generate", {**GENERATE, "prompt": "a" * 2000}, headers=key)
        assert big.status == 413
        with McpClient(gateway.mcp) as client:
            assert client.error(GENERATE)[0] == "unauthorized"
        wait_until(lambda: moved.read_text().count("event=exchange") >= 4, "the log is the other file")
        assert gateway.errors().count("event=exchange") == 1
        assert ask(gateway.admin, "POST", "/admin/reload").status == 401
        gateway.key_headers = key
        assert reload(gateway, of_nodes(("a", a)), headers=key) == ["keys", "limits.max_body", "log.level",
                                                                    "log.access"]
        gateway.key_headers = []
        wait_until(lambda: generate(gateway).status == 200, "no key is asked for")
        assert "event=reload " in gateway.errors()


def test_the_same_file_changes_nothing(nodes):
    with Gateway(config=of_nodes(("a", nodes[0]))) as gateway:
        assert reload(gateway, of_nodes(("a", nodes[0]))) == []
        assert generate(gateway).status == 200


# --- what is wrong --------------------------------------------------------------------------------
@pytest.mark.parametrize("config, error", [
    ("nodes: [\n", "mcpgate.yaml:2: not YAML"),
    ("limits:\n  max_body: lots\n", "mcpgate.yaml:2: limits.max_body: "),
    ("reactor: {count: 3}\n", "reactor.count: cannot change while the gateway runs; restart it"),
])
def test_a_wrong_file_changes_nothing(nodes, config, error):
    with Gateway(config=of_nodes(("a", nodes[0]))) as gateway:
        text = reload(gateway, config, status=422)
        assert error in text
        assert node_names(gateway) == ["a"]
        assert generate(gateway).status == 200
        assert (gateway.metric(OK), gateway.metric(FAILED)) == (0, 1)
        assert "event=reload_failed" in gateway.errors()
        assert reload(gateway, of_nodes(("a", nodes[0]))) == []


def test_options_still_win_over_the_file(nodes):
    config = of_nodes(("a", nodes[0]), http={"listen": "127.0.0.1:1"}, log={"level": "debug"})
    with Gateway(config=of_nodes(("a", nodes[0]))) as gateway:  # which is given --http
        assert reload(gateway, config) == ["log.level"]
        assert generate(gateway).status == 200


def test_a_log_that_cannot_be_opened_changes_nothing(nodes):
    a, b = nodes
    with Gateway(config=of_nodes(("a", a)), log_to_file=False) as gateway:
        text = reload(gateway, of_nodes(("b", b), log={"access": "/nowhere/at/all"}), status=422)
        assert "/nowhere/at/all" in text
        assert node_names(gateway) == ["a"]
        assert generate(gateway).status == 200
        wait_until(lambda: "event=exchange" in gateway.errors(), "it is still logged")


def test_the_log_is_opened_anew_on_sighup_and_else_only_where_it_changed(nodes):
    """So that what rotates logs may send either signal, and a reload asks no more of the file than it must."""
    config = of_nodes(("a", nodes[0]), log={"access": "access"})
    with Gateway(config=config, log_to_file=False) as gateway:
        here = pathlib.Path(gateway.folder.name)
        (here / "access").rename(here / "moved")
        assert reload(gateway, config) == []
        generate(gateway)
        wait_until(lambda: "event=exchange" in (here / "moved").read_text(), "it is still the same file")
        assert not (here / "access").exists()
        write(gateway, "nodes: [")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_metric(FAILED, 1)
        assert (here / "access").exists()
        generate(gateway)
        wait_until(lambda: "event=exchange" in (here / "access").read_text(), "it is the new file")
        (here / "access").unlink()
        (here / "access").mkdir()
        gateway.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "event=access_log_failed" in gateway.errors(), "that it cannot be")
        assert f'path={here}/access why="Is a directory"' in gateway.errors()
        assert generate(gateway).status == 200


def test_only_post_reloads(nodes):
    with Gateway(nodes[0]) as gateway:
        assert ask(gateway.admin, "GET", "/admin/reload").status == 405
        assert gateway.metric(OK) == 0


# --- the ways to ask ------------------------------------------------------------------------------
def test_sighup_reloads(nodes):
    a, b = nodes
    with Gateway(config=of_nodes(("a", a))) as gateway:
        write(gateway, of_nodes(("a", a), ("b", b)))
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: node_names(gateway) == ["a", "b"], "b is a node")
        write(gateway, "nodes: [")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_metric(FAILED, 1)
        assert node_names(gateway) == ["a", "b"]


def test_all_who_ask_at_once_are_answered(nodes):
    with Gateway(config=of_nodes(("a", nodes[0]))) as gateway:
        clients = [HttpClient(gateway.admin) for _ in range(8)]
        for client in clients:
            client.request("POST", "/admin/reload")
        clients[3].close()
        for i, client in enumerate(clients):
            if i != 3:
                assert json.loads(client.response().body) == {"status": "reloaded", "changed": []}
                client.close()
        assert 1 <= gateway.metric(OK) <= 8


def test_it_ends_with_its_terminal(nodes):
    argv = [os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"), "serve", "--node", nodes[0].url,
            *(word for face in ("mcp", "http", "admin") for word in (f"--{face}", "127.0.0.1:0"))]
    terminal = Terminal(argv)
    try:
        terminal.expect("ready")
        os.kill(terminal.process.pid, signal.SIGHUP)
        terminal.expect("event=reload changed=")
        assert terminal.process.poll() is None
    finally:
        os.close(terminal.master)
    assert terminal.process.wait(20) == 0
