# SPDX-License-Identifier: Apache-2.0
"""Three real Ollamas, each drained, ended, started anew and taken back under load: no request fails."""
import json
import subprocess
import threading

from cli import BIN, environment
from gateway import Gateway
from http_bytes import ask, wait_until
from real import Ollama

LOAD = [("/api/generate", {"model": "tiny", "prompt": "Hello", "stream": False, "options": {"num_predict": 8}}),
        ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "options": {"num_predict": 8}}),
        ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "stream": True,
                                  "max_tokens": 8}),
        ("/api/embed", {"model": "tinyembed", "input": ["a", "b"]})]


def is_whole(path, response):
    """With its end, and without an error anywhere."""
    if response.status != 200 or not response.complete or b'"error"' in response.body:
        return False
    if path == "/api/chat":
        return json.loads(response.body.splitlines()[-1])["done"]
    return path != "/v1/chat/completions" or response.body.rstrip().endswith(b"data: [DONE]")


def cli(gateway, *args):
    result = subprocess.run([BIN, *args], env=environment(MCPGATE_ADMIN="%s:%d" % gateway.admin), text=True, timeout=120,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert result.returncode == 0, result.stdout
    return result.stdout


def node(gateway, name):
    return next(n for n in ask(gateway.admin, "GET", "/admin/nodes").json()["nodes"] if n["name"] == name)


def resident(ollama):
    return sorted(m["name"] for m in ask(ollama.address, "GET", "/api/ps").json()["models"])


def begin_load(gateway):
    """A thread for each kind of request; (how many were answered, what failed, over)."""
    done, failed, over = [0] * len(LOAD), [], threading.Event()

    def run(i):
        path, body = LOAD[i]
        while not over.is_set():
            response = ask(gateway.http, "POST", path, body, timeout_s=100)
            if not is_whole(path, response):
                failed.append((path, response.status, response.body[-300:]))
            done[i] += 1
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(LOAD))]
    for thread in threads:
        thread.start()

    def end():
        over.set()
        for thread in threads:
            thread.join(100)
    return done, failed, end


def test_ollama_is_upgraded_node_by_node_under_load(tmp_path):
    servers = []
    try:
        for _ in range(3):
            servers.append(Ollama(OLLAMA_NUM_PARALLEL="2", OLLAMA_DEBUG="0"))
            servers[-1].create("tiny", "tinyembed")
            for model in ("tiny", "tinyembed"):
                servers[-1].load(model)
        nodes = [{"url": server.url, "name": f"n{i}"} for i, server in enumerate(servers)]
        with Gateway(config={"nodes": nodes, "state": {"dir": str(tmp_path)}}) as gateway:
            wait_until(lambda: all(len(node(gateway, n["name"])["resident"]) == 2 for n in nodes), "all are loaded")
            done, failed, end = begin_load(gateway)
            try:
                for i, server in enumerate(servers):
                    done[:] = [0] * len(done)
                    wait_until(lambda: min(done) > 0, "requests are answered", 60)
                    assert f"n{i}: drained\n" in cli(gateway, "node", "drain", f"n{i}")
                    before = server.process.pid
                    server.end()
                    done[:] = [0] * len(done)
                    wait_until(lambda: min(done) > 0, "the others answer", 60)
                    server.start_anew()
                    assert server.process.pid != before
                    assert resident(server) == []
                    cli(gateway, "node", "uncordon", f"n{i}")
                    wait_until(lambda: node(gateway, f"n{i}")["service"] == "serving", "it serves again", 60)
                    assert resident(server) == ["tiny:latest", "tinyembed:latest"]
            finally:
                end()
            assert not failed
            assert gateway.metric('mcpgate_node_loads_total{result="ok"}') == 6
            assert gateway.metric('mcpgate_node_loads_total{result="failed"}') == 0
    finally:
        for server in servers:
            server.stop()
