# SPDX-License-Identifier: Apache-2.0
"""mcpgate pull, create, cp and rm, and what mcpgate nodes tells of models."""
import contextlib
import json
import signal
import subprocess

from cli import BIN, bad, environment, good, run
from gateway import Gateway
from http_bytes import wait_until
from ollama_node import OllamaNode
from sim import Sim
from terminal import Terminal


@contextlib.contextmanager
def two(*a_options, b_options=()):
    with Sim("--models", "m", *a_options) as a, Sim("--models", "m", *b_options) as b, \
            Gateway(config={"nodes": [{"url": a.url, "name": "a"}, {"url": b.url, "name": "b"}]}) as gateway:
        yield gateway, a, b


def here(gateway):
    return {"MCPGATE_HOST": "%s:%d" % gateway.mcp}


def models(sim):
    return sorted(m["name"] for m in sim.ask("GET", "/api/tags").json()["models"])


def test_a_model_comes_is_copied_and_goes():
    with two() as (gateway, a, b):
        env = here(gateway)
        lines = good("pull", "n", "--nodes", "all", **env).splitlines()
        assert lines[0] == "pulling manifest" and lines[1].startswith("pulling ")
        assert lines[2:] == ["verifying sha256 digest", "writing manifest", "success"]
        assert good("cp", "n", "k", **env) == "copied 'n' to 'k'\n"
        assert models(a) == models(b) == ["k:latest", "m:latest", "n:latest"]
        assert good("rm", "k", "n", **env) == "deleted 'k'\ndeleted 'n'\n"
        assert models(a) == models(b) == ["m:latest"]
        assert good("create", "k", "--from", "m", "--system", "Be brief.", "--parameter", "num_ctx=8192",
                    "--nodes", "b", **env).splitlines()[-1] == "success"
        assert (models(a), models(b)) == (["m:latest"], ["k:latest", "m:latest"])


def test_what_is_sent():
    with OllamaNode("m") as a, OllamaNode("m") as b, Gateway(a, b) as gateway:
        good("create", "k", "--from", "m", "--system", "Be brief.", "--parameter", "num_ctx=8192", "--parameter",
             "stop=[\"a\"]", "--replicas", "1", **here(gateway))
        for node in (a, b):  # both have what it is made from; the first in order gets it
            assert [r.json() for r in node.requests] == ([{
                "model": "k", "from": "m", "system": "Be brief.", "parameters": {"num_ctx": 8192, "stop": ["a"]}}]
                if node is a else [])


def test_json_is_what_came():
    with two() as (gateway, _, _):
        parts = [json.loads(line) for line in good("pull", "n", "--json", **here(gateway)).splitlines()]
        assert parts[0] == {"status": "pulling manifest"} and parts[-1] == {"done": True}


def test_errors_name_the_node():
    with two("--fault", "error:2") as (gateway, a, b):
        env = here(gateway)
        said = run("pull", "n", "--nodes", "a,b", **env)
        assert said.returncode == 1
        assert said.stderr == "mcpgate: upstream_error: node a: a simulated fault (done on b)\n"
        assert models(b) == ["m:latest", "n:latest"] and models(a) == ["m:latest"]
        assert "no node is called \"x\"" in bad(1, "pull", "n", "--nodes", "x", **env)
    with two() as (gateway, a, b):
        env = here(gateway)
        good("pull", "n", **env)
        said = run("rm", "gone", "n", **env)  # the others are deleted all the same
        assert (said.returncode, said.stdout) == (1, "deleted 'n'\n")
        assert "model 'gone' not found" in said.stderr


def test_usage():
    assert "expected a MODEL" in bad(2, "pull")
    assert "expected one MODEL, not 'b' too" in bad(2, "pull", "a", "b")
    assert "--replicas: expected a number from 1, not '0'" in bad(2, "pull", "a", "--replicas", "0")
    assert "--nodes or --replicas" in bad(2, "pull", "a", "--replicas", "2", "--nodes", "all")
    assert "--nodes: expected all" in bad(2, "rm", "a", "--nodes", "")
    assert "expected a MODEL" in bad(2, "rm")
    assert "expected MODEL and NAME" in bad(2, "cp", "a")
    assert "expected a NAME and --from MODEL" in bad(2, "create", "a")
    assert "--parameter: expected NAME=VALUE, not 'x'" in bad(2, "create", "a", "--from", "b", "--parameter", "x")


def test_ctrl_c_ends_it_on_all_nodes():
    slow = ("--pull-ms", "3600000")
    with two(*slow, b_options=slow) as (gateway, a, b):
        with subprocess.Popen([BIN, "pull", "n", "--nodes", "all"], env=environment(**here(gateway)), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout.readline() == "pulling manifest\n"
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
            assert process.returncode == 130
        gateway.wait_metric('mcpgate_spread_calls_total{result="cancelled"}', 2)
        assert models(a) == models(b) == ["m:latest"]


def test_on_a_terminal_a_file_is_one_line():
    with two("--pull-ms", "100", b_options=("--pull-ms", "100")) as (gateway, _, _), \
            Terminal([BIN, "pull", "n", "--nodes", "all"], env=environment(**here(gateway))) as terminal:
        shown = terminal.expect("success")
        assert "%  8.6 GB of 8.6 GB\n" in shown and "\r\x1b[K" in shown
        assert shown.count("\n") == 4


def test_nodes_tell_which_models_are_where():
    with two() as (gateway, _, _):
        env = here(gateway)
        good("create", "k", "--from", "m", "--nodes", "a", **env)
        good("create", "k", "--from", "m", "--system", "x", "--nodes", "b", **env)
        wait_until(lambda: "drift" in good("nodes", **env), "it is known")
        rows = [line.split() for line in good("nodes", "--models", **env).splitlines()]
        table = rows[rows.index(["MODEL", "ID", "NODES"]) + 1:]
        assert sorted(row[2:] for row in table[:2]) == [["a"], ["b"]]
        assert [row[0] for row in table[:3]] == ["k:latest", "k:latest", "m:latest"]
        assert table[0][1] != table[1][1] and table[2][2:] == ["a,", "b"]
        good("pull", "k", **env)  # both have it
        assert "drift" not in good("nodes", **env)
