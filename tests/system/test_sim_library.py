# SPDX-License-Identifier: Apache-2.0
"""`mcpgate sim`: models that come, are copied and go, as Ollama has it."""
import pytest

from http_bytes import HttpClient
from sim import Sim

SUCCESS = {"status": "success"}


@pytest.fixture(params=["echo", "llm"])
def sim(request):
    with Sim("--profile", request.param, "--models", "m", "--load-ms", "1", "--pull-ms", "20") as sim:
        yield sim


def names(sim):
    return [m["name"] for m in sim.ask("GET", "/api/tags").json()["models"]]


def digest_of(sim, name):
    return {m["name"]: m["digest"] for m in sim.ask("GET", "/api/tags").json()["models"]}[name]


def test_a_pull_tells_how_much_is_there(sim):
    lines = sim.ask("POST", "/api/pull", {"model": "n"}).lines()
    assert lines[0] == {"status": "pulling manifest"} and lines[-1] == SUCCESS
    files = [line for line in lines if "digest" in line]
    done = [line.get("completed", 0) for line in files]
    assert done == sorted(done) and (done[0], done[-1], len(done)) == (0, files[0]["total"], 11)
    assert names(sim) == ["m:latest", "n:latest"]
    assert files[0]["digest"] == "sha256:" + digest_of(sim, "n:latest")
    assert sim.generate(model="n")["done"] is True
    again = sim.ask("POST", "/api/pull", {"name": "n:latest"}).lines()
    assert [line.get("completed") for line in again if "digest" in line] == [files[0]["total"]]
    assert sim.ask("POST", "/api/pull", {"model": "n", "stream": False}).json() == SUCCESS
    assert names(sim) == ["m:latest", "n:latest"]


def test_digests_follow_from_names_on_every_node(sim):
    with Sim("--models", "n") as other:
        sim.ask("POST", "/api/pull", {"model": "n"})
        assert digest_of(sim, "n:latest") == digest_of(other, "n:latest")


def test_models_are_created_copied_and_deleted(sim):
    body = {"model": "k", "from": "m", "system": "Be brief."}
    assert sim.ask("POST", "/api/create", body).lines()[-1] == SUCCESS
    assert sim.ask("POST", "/api/create", {**body, "stream": False}).json() == SUCCESS
    assert digest_of(sim, "k:latest") != digest_of(sim, "m:latest")
    assert sim.ask("POST", "/api/copy", {"source": "k", "destination": "l:1"}).status == 200
    assert digest_of(sim, "l:1") == digest_of(sim, "k:latest")
    sim.generate(model="k")
    gone = sim.ask("DELETE", "/api/delete", {"model": "k"})
    assert (gone.status, gone.body) == (200, b"")
    assert names(sim) == ["m:latest", "l:1"]
    assert "k:latest" not in sim.loaded()
    assert sim.ask("POST", "/api/generate", {"model": "k", "prompt": "a"}).status == 404
    assert sim.ask("POST", "/api/pull", {"model": "p"}).status == 200  # in the place that is free
    assert names(sim) == ["m:latest", "p:latest", "l:1"]
    assert sim.generate(model="p")["done"] is True


@pytest.mark.parametrize("method, path, body, status, error", [
    ("POST", "/api/pull", {}, 400, "model is required"), ("POST", "/api/pull", {"model": ""}, 400, "model is required"),
    ("POST", "/api/create", {"model": "a"}, 400, "neither 'from' or 'files' was specified"),
    ("POST", "/api/create", {"model": "a", "from": "x"}, 404, "model 'x' not found"),
    ("POST", "/api/copy", {"source": "x", "destination": "y"}, 404, 'model "x" not found'),
    ("POST", "/api/copy", {"source": "m"}, 400, "destination is required"),
    ("POST", "/api/copy", {"destination": "m"}, 400, "source is required"),
    ("DELETE", "/api/delete", {"model": "x"}, 404, "model 'x' not found")])
def test_what_is_wrong_is_said(sim, method, path, body, status, error):
    answer = sim.ask(method, path, body)
    assert (answer.status, answer.json()) == (status, {"error": error})
    assert names(sim) == ["m:latest"]


def test_who_leaves_has_pulled_nothing():
    with Sim("--pull-ms", "3600000") as sim:
        with HttpClient(sim.address) as client:
            client.request("POST", "/api/pull", {"model": "n"})
            client.head()
        assert names(sim) == ["m:latest"]


@pytest.mark.parametrize("path, body", [
    ("/api/pull", {"model": "n"}), ("/api/generate", {"model": "m", "prompt": "a"}),
    ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": True})])
def test_a_node_that_says_that_it_failed(sim, path, body):
    answer = sim.ask("POST", path, body, [("X-Sim-Fault", "error:2")])
    assert answer.complete and answer.status == 200
    assert b"a simulated fault" in answer.body and answer.body.count(b'"error"') == 1
    assert answer.body.strip().count(b"\n") == (4 if path.startswith("/v1") else 2)
    answer = sim.ask("POST", path, body, [("X-Sim-Fault", "error:0")])
    assert answer.status == 500 and b"a simulated fault" in answer.body
    assert names(sim) == ["m:latest"]
    assert sim.stats()["faults"] == 2
