# SPDX-License-Identifier: Apache-2.0
"""Many nodes as one: lists of all, nodes taken out of use and back, added and removed, upgraded under load."""
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import threading

import pytest

from cli import BIN, environment
from gateway import Gateway
from http_bytes import ask, wait_until
from mcp_client import McpClient
from node import HANG, Gate, answer, ndjson
from ollama_node import OllamaNode, generate_parts
from openai_node import MODEL, OpenaiNode
from sim import Sim

GENERATE = {"model": "m", "prompt": "a", "stream": False}


def of_nodes(state, nodes, **sections):
    return {"nodes": [{"url": node.url, "name": name, **more} for name, node, more in nodes],
            "state": {"dir": str(state)}, **sections}


def cli(gateway, *args, status=0):
    """What the command prints, standard error included."""
    env = environment(MCPGATE_ADMIN="%s:%d" % gateway.admin, MCPGATE_HOST="%s:%d" % gateway.mcp)
    result = subprocess.run([BIN, *args], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            timeout=30, check=False)
    assert result.returncode == status, result.stdout
    return result.stdout


def nodes(gateway):
    """{name: what is told of it}"""
    return {node["name"]: node for node in ask(gateway.admin, "GET", "/admin/nodes").json()["nodes"]}


def names(response, key="models", name="name"):
    assert response.status == 200, response.body
    return [entry[name] for entry in response.json()[key]]


def generate(gateway, **more):
    return ask(gateway.http, "POST", "/api/generate", {**GENERATE, **more})


def served(node):
    """How many texts clients had from it."""
    return len([r for r in node.requests if r.target == "/api/generate" and b'"prompt"' in r.body])


def wait_serving(gateway, name):
    wait_until(lambda: nodes(gateway)[name]["service"] == "serving" and nodes(gateway)[name]["up"],
               lambda: f"{name} serves again: {nodes(gateway)[name]}")


# --- lists ----------------------------------------------------------------------------------------
def test_lists_are_those_of_all_nodes_each_model_once():
    with OllamaNode("a:latest", "b:7b") as one, OpenaiNode() as two, OllamaNode("B:7b", "c:latest") as three, \
            OllamaNode("d", start=False) as dead, Gateway(one, two, three, dead) as gateway:
        listed = ask(gateway.http, "GET", "/api/tags")
        assert names(listed) == ["a:latest", "b:7b", MODEL, "c:latest"]
        own = ask(("127.0.0.1", one.port), "GET", "/api/tags").json()["models"]
        assert listed.json()["models"][:2] == own
        assert dict(listed.headers)["Content-Type"] == "application/json; charset=utf-8"
        openai = ask(gateway.http, "GET", "/v1/models")
        assert openai.json()["object"] == "list"
        assert names(openai, "data", "id") == ["a:latest", "b:7b", MODEL, "c:latest"]
        assert {k: v for k, v in openai.json()["data"][0].items() if k != "created"} == \
            {"id": "a:latest", "object": "model", "owned_by": "library"}
        with McpClient(gateway.mcp) as client:
            assert [m["name"] for m in client.ask({"mcp": {"op": "list"}}, single=True)[-1]["models"]] == \
                ["a:latest", "b:7b", MODEL, "c:latest"]
        assert not [r for node in (one, two, three) for r in node.requests if r.target in ("/api/tags", "/v1/models")
                    and node is not one]


def test_one_node_speaks_for_itself():
    with OllamaNode("a:latest") as one, Gateway(one) as gateway:
        for path in ("/api/tags", "/api/ps", "/v1/models"):
            assert ask(gateway.http, "GET", path).body == ask(("127.0.0.1", one.port), "GET", path).body
        assert [r.target for r in one.requests] == [p for p in ("/api/tags", "/api/ps", "/v1/models") for _ in "12"]


def test_lists_wait_for_no_node_that_hangs():
    with OllamaNode("a:latest") as one, OllamaNode("b:latest") as two, Gateway(one, two) as gateway:
        for path in ("/api/version", "/api/tags", "/api/ps"):
            two.always(path, [HANG], polls=True)
        two.wait_polls(1)
        assert names(ask(gateway.http, "GET", "/api/tags")) == ["a:latest", "b:latest"]


def test_what_is_loaded_anywhere_is_listed():
    with Sim("--profile", "seed", "--models", "a,b") as one, Sim("--profile", "seed", "--models", "c") as two, \
            Gateway(one, two) as gateway:
        assert names(ask(gateway.http, "GET", "/api/ps")) == []
        for model in ("c", "a"):
            assert generate(gateway, model=model).status == 200
        wait_until(lambda: names(ask(gateway.http, "GET", "/api/ps")) == ["a:latest", "c:latest"],
                   "both are listed")
        assert [node["resident"] for node in nodes(gateway).values()] == [["a:latest"], ["c:latest"]]


def test_a_model_deleted_through_the_gateway_is_not_listed_any_more():
    with OllamaNode("a:latest", "b:latest") as one, OllamaNode("c:latest") as two, Gateway(one, two) as gateway:
        tags = ask(("127.0.0.1", one.port), "GET", "/api/tags").json()
        one.always("/api/tags", answer({"models": tags["models"][:1]}), polls=True)
        assert ask(gateway.http, "DELETE", "/api/delete", {"model": "b"}).status == 200
        assert names(ask(gateway.http, "GET", "/api/tags")) == ["a:latest", "c:latest"]


def test_digest_drift_is_shown():
    def tags(digest):
        return answer({"models": [{"name": "m:latest", "model": "m:latest", "digest": digest * 64}]})
    with OllamaNode() as one, OllamaNode() as two, OllamaNode() as three:
        for node, digest in ((one, "a"), (two, "a"), (three, "b")):
            node.always("/api/tags", tags(digest), polls=True)
        config = {"nodes": [{"url": n.url, "name": name} for n, name in ((one, "x"), (two, "y"), (three, "z"))]}
        with Gateway(config=config) as gateway:
            drift = ask(gateway.admin, "GET", "/admin/nodes").json()["drift"]
            assert drift == [{"model": "m:latest", "digests": [
                {"node": "x", "digest": "a" * 64}, {"node": "y", "digest": "a" * 64},
                {"node": "z", "digest": "b" * 64}]}]
            assert ("drift    m:latest: aaaaaaaaaaaa on x, aaaaaaaaaaaa on y, bbbbbbbbbbbb on z\n"
                    in cli(gateway, "nodes"))


# --- out of use and back --------------------------------------------------------------------------
def test_a_cordoned_node_gets_nothing_new_and_a_drain_waits_for_what_runs(tmp_path):
    gate = Gate()
    with OllamaNode("m", "x") as one, OllamaNode("m") as two:
        parts = generate_parts("x")
        script = ndjson(*parts)
        one.next("/api/generate", [*script[:2], gate, *script[2:]])
        with Gateway(config=of_nodes(tmp_path, [("one", one, {}), ("two", two, {})])) as gateway:
            answers = []
            running = threading.Thread(target=lambda: answers.append(generate(gateway, model="x", stream=True)))
            running.start()
            gate.wait_reached()
            drain = subprocess.Popen([BIN, "node", "drain", "one"], stdout=subprocess.PIPE, text=True,
                                     env=environment(MCPGATE_ADMIN="%s:%d" % gateway.admin))
            assert drain.stdout.readline() == "one: up, cordoned, 1 running\n"
            before = served(one)
            for _ in range(5):
                assert generate(gateway).status == 200
            assert served(one) == before
            assert drain.poll() is None
            gate.open()
            running.join(20)
            assert answers[0].lines() == parts
            assert drain.communicate(timeout=20)[0] == "one: drained\n"
            assert drain.returncode == 0
            assert " drained " in cli(gateway, "nodes")
            assert re.match(r"one: up, (serving|warming)", cli(gateway, "node", "uncordon", "one"))
            wait_serving(gateway, "one")
            assert generate(gateway, model="x").status == 200
            assert served(one) == before + 1
            assert gateway.metric('mcpgate_node_transitions_total{to="cordoned"}') == 1
            assert gateway.metric('mcpgate_node_transitions_total{to="uncordoned"}') == 1


def command(gateway, *args):
    return subprocess.Popen([BIN, "node", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment(MCPGATE_ADMIN="%s:%d" % gateway.admin))


def test_waiting_ends_with_ctrl_c_and_leaves_the_node_as_it_is(tmp_path):
    gate = Gate()
    with OllamaNode("m") as one, OllamaNode("m") as two:
        script = ndjson(*generate_parts("x"))
        one.next("/api/generate", [*script[:2], gate, *script[2:]])
        with Gateway(config=of_nodes(tmp_path, [("one", one, {}), ("two", two, {})])) as gateway:
            running = threading.Thread(target=lambda: generate(gateway, stream=True))
            running.start()
            gate.wait_reached()
            drain = command(gateway, "drain", "one")
            assert drain.stdout.readline() == "one: up, cordoned, 1 running\n"
            drain.send_signal(signal.SIGINT)
            assert drain.communicate(timeout=20)[1] == \
                "mcpgate: interrupted; one stays out of use until mcpgate node uncordon one\n"
            assert drain.returncode == 130
            assert nodes(gateway)["one"]["service"] == "cordoned"
            gate.open()
            running.join(20)
            assert cli(gateway, "node", "drain", "one") == "one: drained\n"
            one.stop()
            wait_until(lambda: not nodes(gateway)["one"]["up"], "it is down")
            back = command(gateway, "uncordon", "--wait", "one")
            assert back.stdout.readline().startswith("one: down, ")
            one.start()
            assert back.communicate(timeout=20)[0] == "one: serves\n"
            assert back.returncode == 0
            assert cli(gateway, "node", "drain", "--wait", "one", status=2).startswith(
                "mcpgate: --wait goes with uncordon")


def test_cordoned_holds_after_a_restart_and_without_others_it_is_said(tmp_path):
    with OllamaNode("m") as one:
        config = of_nodes(tmp_path / "deep" / "er", [("one", one, {})])
        with Gateway(config=config) as gateway:
            assert cli(gateway, "node", "cordon", "one") == "one: up, cordoned\n"
            kept = tmp_path / "deep" / "er" / "nodes.json"
            assert json.loads(kept.read_text())["nodes"][0]["cordoned"]
            assert kept.stat().st_mode & 0o777 == 0o600
        with Gateway(config=config, wait=False) as gateway:
            assert gateway.wait_line("node ").startswith("node   one up, cordoned (ollama")
            gateway.wait_line("not ready: every node that is up is cordoned; mcpgate node uncordon NAME$")
            ready = ask(gateway.admin, "GET", "/readyz")
            assert (ready.status, ready.body) == (503, b"every node that is up is cordoned\n")
            refused = generate(gateway)
            assert refused.status == 503
            assert b"cordoned" in refused.body
            cli(gateway, "node", "uncordon", "one")
            wait_until(lambda: gateway.ready_status() == 200, "it serves")
            assert generate(gateway).status == 200
        with Gateway(config=config) as gateway:
            assert generate(gateway).status == 200


def test_what_cannot_be_kept_is_done_and_said():
    with OllamaNode("m") as one, Gateway(config=of_nodes("/proc/mcpgate", [("one", one, {})])) as gateway:
        said = cli(gateway, "node", "cordon", "one")
        assert "warning: a restart of the gateway will not know this: " in said
        assert said.endswith("one: up, cordoned\n")


def test_a_file_that_cannot_be_read_is_told_at_the_start(tmp_path):
    (tmp_path / "nodes.json").write_text("{")
    config = tmp_path / "mcpgate.yaml"
    config.write_text(json.dumps({"state": {"dir": str(tmp_path)}, "http": {"listen": "127.0.0.1:0"},
                                  "mcp": {"listen": "off"}, "admin": {"listen": "off"}}))
    result = subprocess.run([BIN, "serve", "-c", str(config)], env=environment(), text=True, timeout=20,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert (result.returncode, result.stdout) == \
        (2, "mcpgate: nodes.json of the state directory: expected JSON\n")


def test_what_is_no_node_cannot_be_cordoned(tmp_path):
    with OllamaNode("m") as one, Gateway(config=of_nodes(tmp_path, [("a/b", one, {})])) as gateway:
        assert cli(gateway, "node", "cordon", "x", status=1) == "mcpgate: no node is called 'x'\n"
        assert cli(gateway, "node", "cordon", "a/b") == "a/b: up, cordoned\n"
        assert ask(gateway.admin, "POST", "/admin/nodes/a%2fb/explode").status == 404
        assert ask(gateway.admin, "GET", "/admin/nodes/a%2fb/cordon").status == 405
        assert cli(gateway, "node", "remove", "a/b", status=1) == \
            "mcpgate: 'a/b' is a node of the configuration: remove it there and reload, or cordon it\n"


def test_a_model_that_only_a_node_out_of_use_has_is_not_unknown(tmp_path):
    with OllamaNode("m") as one, OllamaNode("x") as two, OllamaNode("y") as three, \
            Gateway(config=of_nodes(tmp_path, [("one", one, {}), ("two", two, {}), ("three", three, {})])) as gateway:
        two.stop()
        cli(gateway, "node", "cordon", "three")
        wait_until(lambda: not nodes(gateway)["two"]["up"], "it is down")
        for model, why in (("x", "two is down"), ("y", "three is cordoned")):
            refused = generate(gateway, model=model)
            assert (refused.status, refused.json()["error"]) == (503, f"model '{model}': its node {why}")
            assert ask(gateway.http, "POST", "/v1/chat/completions", {"model": model, "messages": []}).status == 503
        assert generate(gateway, model="z").status == 404
        assert generate(gateway).status == 200
        two.start()
        wait_until(lambda: generate(gateway, model="x").status == 200, "it is there again")


def test_before_it_serves_again_a_node_loads_what_it_had(tmp_path):
    with Sim("--profile", "llm", "--load-ms", "300", "--models", "a,b,c") as one, \
            Gateway(config=of_nodes(tmp_path, [("one", one, {})])) as gateway:
        for model, options in (("a", {"num_ctx": 8192}), ("b", {})):
            assert generate(gateway, model=model, options={"num_predict": 1, **options}).status == 200
        wait_until(lambda: len(nodes(gateway)["one"]["resident"]) == 2, "both are known to be loaded")
        cli(gateway, "node", "drain", "one")
        for model in ("a", "b"):  # as a new process would be
            one.ask("POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False})
        assert one.loaded() == []
        cli(gateway, "node", "uncordon", "one")
        assert nodes(gateway)["one"]["service"] == "warming"
        wait_serving(gateway, "one")
        listed = one.ask("GET", "/api/ps").json()["models"]
        assert {m["name"]: m["context_length"] for m in listed} == {"a:latest": 8192, "b:latest": 4096}
        assert generate(gateway, model="a", options={"num_ctx": 8192, "num_predict": 1}).json()["load_duration"] == 0
        assert gateway.metric('mcpgate_node_loads_total{result="ok"}') == 2


def test_what_cannot_be_loaded_does_not_keep_a_node_for_ever(tmp_path):
    with OllamaNode("m") as one:
        one.always("/api/ps", answer({"models": [{"name": "m:latest"}, {"name": "gone:latest"}]}), polls=True)
        with Gateway(config=of_nodes(tmp_path, [("one", one, {})])) as gateway:
            wait_until(lambda: len(nodes(gateway)["one"]["resident"]) == 2, "both are known to be loaded")
            cli(gateway, "node", "cordon", "one")
            one.always("/api/ps", answer({"models": []}), polls=True)
            one.wait_polls(4)
            one.next("/api/generate", answer({"error": "model 'gone' not found"}, 404),
                     answer({"error": "model 'gone' not found"}, 404))
            cli(gateway, "node", "uncordon", "one")
            wait_serving(gateway, "one")
            assert gateway.metric('mcpgate_node_loads_total{result="failed"}') >= 1


def test_declared_models_are_kept_resident(tmp_path):
    with Sim("--profile", "llm", "--load-ms", "50", "--models", "a,b,c") as one, \
            Gateway(config=of_nodes(tmp_path, [("one", one, {"resident": ["a", "c:latest"]})])) as gateway:
        wait_until(lambda: sorted(one.loaded()) == ["a:latest", "c:latest"], "both are loaded")
        one.ask("POST", "/api/generate", {"model": "c", "keep_alive": 0, "stream": False})
        wait_until(lambda: sorted(one.loaded()) == ["a:latest", "c:latest"], "it is loaded again")
        assert gateway.metric('mcpgate_node_loads_total{result="ok"}') == 3


def test_declared_models_are_loaded_again_when_their_node_was_restarted(tmp_path):
    options = ("--profile", "llm", "--load-ms", "20", "--models", "a,b")
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Sim(*options))
        gateway = stack.enter_context(Gateway(config=of_nodes(tmp_path, [("one", one, {"resident": ["a"]})])))
        for loads in (1, 2, 3):
            wait_until(lambda: one.loaded() == ["a:latest"], "it is loaded")
            gateway.wait_metric('mcpgate_node_loads_total{result="ok"}', loads)
            assert one.ask("GET", "/api/ps").json()["models"][0]["expires_at"].startswith("2286")  # it stays
            one.stop()
            wait_until(lambda: not nodes(gateway)["one"]["up"], "the gateway has noticed")
            one = stack.enter_context(Sim(*options, "--http", "%s:%d" % one.address))


# --- added and removed ----------------------------------------------------------------------------
def test_nodes_are_added_and_removed_and_a_restart_knows(tmp_path):
    with OllamaNode("a") as one, OllamaNode("b") as two:
        config = of_nodes(tmp_path, [("one", one, {})])
        with Gateway(config=config) as gateway:
            assert generate(gateway, model="b").status == 404
            assert cli(gateway, "node", "add", two.url, "--name", "two", "--kind", "ollama",
                       "--node-key", "secret").startswith("two: ")
            wait_until(lambda: nodes(gateway)["two"]["up"], "it is up")
            assert generate(gateway, model="b").status == 200
            assert ("authorization", "Bearer secret") in [(k.lower(), v) for k, v in two.requests[-1].headers]
            assert "there is a node called 'two'" in cli(gateway, "node", "add", two.url, "--name", "two", status=1)
        with Gateway(config=config) as gateway:
            wait_until(lambda: nodes(gateway)["two"]["up"], "it is up")
            assert generate(gateway, model="b").status == 200
            assert ask(gateway.admin, "POST", "/admin/reload").status == 200
            assert generate(gateway, model="b").status == 200
            assert cli(gateway, "node", "remove", "two") == "two: removed\n"
            assert list(nodes(gateway)) == ["one"]
            assert generate(gateway, model="b").status == 404
        with Gateway(config=config) as gateway:
            assert list(nodes(gateway)) == ["one"]


@pytest.mark.parametrize("body, said", [
    ({}, "expected a JSON object with the member url"),
    ([], "expected a JSON object with the member url"),
    ({"url": "ftp://x"}, "url: 'ftp://x': unknown scheme \"ftp\": expected http://host:port"),
    ({"url": 7}, "url: expected a text"),
    ({"url": "http://a\0b"}, "url: expected a text"),
    ({"url": "http://a", "name": "a b"}, "name: expected a name"),
    ({"url": "http://a", "api_key": "a\r\nb"}, "api_key: "),
    ({"url": "http://a", "resident": "m"}, "resident: expected a list of models"),
    ({"url": "http://a", "resident": [""]}, "resident: expected a list of models"),
    ({"url": "http://a", "weight": 1}, "'weight': unknown; expected url, name, kind, api_key or resident")])
def test_what_is_no_node_is_not_added(tmp_path, body, said):
    with OllamaNode("a") as one, Gateway(config=of_nodes(tmp_path, [("one", one, {})])) as gateway:
        refused = ask(gateway.admin, "POST", "/admin/nodes", body)
        assert refused.status == 400
        assert said in refused.json()["error"]
        assert list(nodes(gateway)) == ["one"]
        assert not list(pathlib.Path(tmp_path).iterdir())


def test_admin_wants_a_key_for_it_and_takes_no_large_bodies(tmp_path):
    config = of_nodes(tmp_path, [], keys=[{"name": "a", "key": "secret"}])
    with OllamaNode("a") as one, Gateway(config={**config, "nodes": [{"url": one.url}]}) as gateway:
        assert ask(gateway.admin, "POST", "/admin/nodes", {"url": one.url}).status == 401
        assert ask(gateway.admin, "DELETE", "/admin/nodes/x").status == 401
        key = [("Authorization", "Bearer secret")]
        large = ask(gateway.admin, "POST", "/admin/nodes", {"url": "x" * 70000}, headers=key)
        assert (large.status, large.json()["error"]) == (413, "the body is larger than 64 KiB")


# --- a file of nodes ------------------------------------------------------------------------------
def test_a_file_of_nodes_is_watched(tmp_path):
    listed = tmp_path / "nodes.yaml"

    def write(*entries):
        listed.with_suffix(".new").write_text(json.dumps({"nodes": list(entries)} if entries else {}))
        listed.with_suffix(".new").rename(listed)
    with OllamaNode("a") as one, OllamaNode("b") as two:
        config = {"discovery": {"file": str(listed)}, "state": {"dir": str(tmp_path)}}
        with Gateway(config=config, wait=False) as gateway:
            gateway.wait_line("not ready: no node is up")
            assert nodes(gateway) == {}
            assert ask(gateway.admin, "GET", "/readyz").status == 503
            write({"url": one.url, "name": "one"})
            wait_until(lambda: list(nodes(gateway)) == ["one"], "the node is there")
            wait_serving(gateway, "one")
            assert generate(gateway, model="a").status == 200
            write({"url": one.url, "name": "one"}, {"url": two.url, "name": "two"})
            wait_until(lambda: list(nodes(gateway)) == ["one", "two"], "both are there")
            listed.write_text("nodes: nonsense")
            wait_until(lambda: "reload_failed" in gateway.errors(), "it is refused")
            assert list(nodes(gateway)) == ["one", "two"]
            listed.write_text("log: {level: debug}")
            wait_until(lambda: "expected nodes alone in this file" in gateway.errors(), "it is refused")
            listed.unlink()
            wait_until(lambda: nodes(gateway) == {}, "none is there")
            assert gateway.metric('mcpgate_reloads_total{result="failed"}') == 2


# --- all of it ------------------------------------------------------------------------------------
def test_nodes_are_upgraded_one_by_one_under_load(tmp_path):
    """Each is drained, ended, started anew at the same place and taken back; no request fails."""
    sims = []
    try:
        for _ in range(3):
            sims.append(Sim("--profile", "llm", "--load-ms", "100", "--decode-us", "1000"))
        config = of_nodes(tmp_path, [(f"n{i}", sim, {}) for i, sim in enumerate(sims)])
        with Gateway(config=config) as gateway:
            failed, done, over = [], [0] * 4, threading.Event()

            def load(i):
                while not over.is_set():
                    response = generate(gateway, model="m", options={"num_predict": 8})
                    if response.status != 200 or not response.json()["done"]:
                        failed.append((response.status, response.body))
                    done[i] += 1
            threads = [threading.Thread(target=load, args=(i,)) for i in range(len(done))]
            for thread in threads:
                thread.start()
            try:
                for i, sim in enumerate(sims):
                    wait_until(lambda: min(done) > 2, "requests are answered")
                    assert f"n{i}: drained\n" in cli(gateway, "node", "drain", f"n{i}")
                    address = sim.address
                    sim.stop(signal.SIGTERM)
                    sim.kill()
                    sims[i] = Sim("--profile", "llm", "--load-ms", "100", "--decode-us", "1000",
                                  "--http", "%s:%d" % address)
                    cli(gateway, "node", "uncordon", f"n{i}")
                    wait_serving(gateway, f"n{i}")
                    done[:] = [0] * len(done)
            finally:
                over.set()
                for thread in threads:
                    thread.join(30)
            assert not failed
            assert gateway.metric('mcpgate_node_transitions_total{to="uncordoned"}') == 3
    finally:
        for sim in sims:
            sim.kill()
