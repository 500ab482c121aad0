# SPDX-License-Identifier: Apache-2.0
"""Models over nodes: pull, create, copy and delete go to those that are meant, and look like one node's."""
import contextlib
import json

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient
from node import CLOSE, HANG, RESET, Gate, answer, ndjson
from ollama_node import CREATED, DETAILS, PROGRESS, OllamaNode
from sim import Sim

MANIFEST, VERIFYING, WRITING, SUCCESS = PROGRESS[0], *PROGRESS[2:]
CALLS = 'mcpgate_spread_calls_total{result="%s"}'
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def of(digest, total, completed=0):
    line = {"status": "pulling " + digest[7:19], "digest": digest, "total": total}
    return {**line, "completed": completed} if completed else line


def listing(*models):
    """/api/tags with {name: size} or names."""
    return answer({"models": [{"name": name, "model": name, "modified_at": CREATED, "size": size, "digest": "e" * 64,
                               "details": DETAILS} for name, size in models]})


@contextlib.contextmanager
def over(**nodes):
    """A gateway over nodes with these names."""
    config = {"nodes": [{"url": node.url, "name": name} for name, node in nodes.items()]}
    with Gateway(config=config) as gateway:
        yield gateway
        gateway.wait_idle()
        assert gateway.metric("mcpgate_body_bytes") == 0


@pytest.fixture
def three():
    with OllamaNode("m:latest") as a, OllamaNode("m:latest", "x:1") as b, OllamaNode("y:1") as c:
        with over(a=a, b=b, c=c) as gateway:
            yield gateway, {"a": a, "b": b, "c": c}


def pull(gateway, nodes=None, model="n", **more):
    return ask(gateway.http, "POST", "/api/pull", {"model": model, **more},
               [("X-Mcpgate-Nodes", nodes)] if nodes else [])


def asked(nodes, path):
    """The names of the nodes that were asked for it."""
    return "".join(name for name, node in nodes.items() for r in node.requests if r.path == path)


def script(nodes, path, **scripts):
    for name, steps in scripts.items():
        nodes[name].next(path, steps)


# --- where ----------------------------------------------------------------------------------------
def test_a_model_that_nobody_has_is_pulled_to_one_node_as_if_there_were_no_others(three):
    gateway, nodes = three
    response = pull(gateway)
    assert asked(nodes, "/api/pull") == "a"  # b has more models than the others
    direct = ask(("127.0.0.1", nodes["a"].port), "POST", "/api/pull", {"model": "n"})
    assert (response.status, response.body) == (direct.status, direct.body)
    assert response.get("X-Mcpgate-Nodes") is None
    assert gateway.metric("mcpgate_spread_requests_total") == 0


def test_a_model_is_pulled_to_all_that_have_it_and_the_same_again(three):
    gateway, nodes = three
    for _ in range(2):
        response = pull(gateway, model="m")
        assert response.lines()[-1] == SUCCESS
        assert response.get("X-Mcpgate-Nodes") == "a,b"
    assert asked(nodes, "/api/pull") == "aabb"
    assert gateway.metric("mcpgate_spread_requests_total") == 2
    assert gateway.metric(CALLS % "ok") == 4


@pytest.mark.parametrize("wish, expected", [("all", "abc"), ("2", "ac"), ("3", "abc"), ("c", "c"), ("c , a", "ac")])
def test_a_client_says_where(three, wish, expected):
    gateway, nodes = three
    response = pull(gateway, wish)
    assert response.lines()[-1] == SUCCESS
    assert response.get("X-Mcpgate-Nodes") == ",".join(expected)
    assert asked(nodes, "/api/pull") == expected


@pytest.mark.parametrize("wish, status, text", [
    ("d", 400, 'no node is called "d"'), ("0", 400, "a number from 1"), (",", 400, 'no node is called ""'),
    ("4", 503, "4 nodes were asked for, 3 are up and manage models")])
def test_a_wish_that_cannot_be_meant_is_refused(three, wish, status, text):
    gateway, nodes = three
    response = pull(gateway, wish)
    assert response.status == status
    assert text in response.json()["error"]
    assert asked(nodes, "/api/pull") == ""


def test_only_requests_that_manage_models_go_to_nodes_by_name(three):
    gateway, _ = three
    response = ask(gateway.http, "POST", "/api/generate", {"model": "m", "prompt": "a"}, [("X-Mcpgate-Nodes", "a")])
    assert response.status == 400
    assert "only pull, create, copy, delete and push" in response.json()["error"]


def test_the_emptiest_nodes_get_what_is_new():
    with OllamaNode() as a, OllamaNode() as b, OllamaNode() as c, over(a=a, b=b, c=c) as gateway:
        nodes = {"a": a, "b": b, "c": c}
        for node, size in ((a, 30), (b, 10), (c, 20)):
            node.always("/api/tags", listing((f"own-{size}:latest", size)), polls=True)
        wait_until(lambda: len(ask(gateway.http, "GET", "/api/tags").json()["models"]) == 3, "the lists are read")
        assert pull(gateway, "1").get("X-Mcpgate-Nodes") == "b"
        assert pull(gateway, "2").get("X-Mcpgate-Nodes") == "b,c"
        assert asked(nodes, "/api/pull") == "bbc"


def test_replicas_are_configured():
    with OllamaNode("m") as a, OllamaNode("m") as b, OllamaNode("m") as c, \
            Gateway(a, b, c, config={"placement": {"replicas": 2}}) as gateway:
        assert pull(gateway).lines()[-1] == SUCCESS
        assert asked({"a": a, "b": b, "c": c}, "/api/pull") == "ab"
        assert pull(gateway, "1").lines()[-1] == SUCCESS  # a client knows better
        assert asked({"a": a, "b": b, "c": c}, "/api/pull") == "aab"


def test_a_cordoned_node_gets_nothing(three):
    gateway, nodes = three
    assert ask(gateway.admin, "POST", "/admin/nodes/b/cordon").status == 200
    assert pull(gateway, model="m").lines()[-1] == SUCCESS
    assert asked(nodes, "/api/pull") == "a"
    response = pull(gateway, "b")
    assert (response.status, response.json()) == (503, {"error": "node b: it is cordoned"})
    response = pull(gateway, "all")
    assert response.lines()[-1] == {"error": "node b: it is cordoned (done on a, c)"}
    assert asked(nodes, "/api/pull") == "aac"


# --- progress -------------------------------------------------------------------------------------
def test_progress_is_the_sum_of_all_nodes(three):
    gateway, nodes = three
    gates = Gate(), Gate()
    script(nodes, "/api/pull",
           a=ndjson(MANIFEST, of(A, 100), of(A, 100, 60), gates[0], of(A, 100, 100), VERIFYING, SUCCESS),
           b=ndjson(MANIFEST, gates[1], of(A, 100, 100), VERIFYING, WRITING, SUCCESS))
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/pull", {"model": "m"})
        head, data = client.head(), b""
        while b'"completed":60' not in data:
            data += client.chunk()
        gates[1].open()
        wait_until(lambda: gateway.metric(CALLS % "ok") == 1, "b is done")
        gates[0].open()
        while piece := client.chunk():
            data += piece
    assert head.get("Content-Type") == "application/x-ndjson"
    lines = [json.loads(line) for line in data.splitlines()]
    assert lines[0] == MANIFEST
    assert [line["status"] for line in lines if "digest" not in line] == \
        [s["status"] for s in (MANIFEST, VERIFYING, WRITING, SUCCESS)]
    files = [line for line in lines if "digest" in line]
    assert {line["total"] for line in files} == {200}
    done = [line.get("completed", 0) for line in files]
    assert done == sorted(done) and done[-1] == 200 and 60 in done and 160 in done
    assert lines.index(files[-1]) < lines.index(VERIFYING)
    assert lines[-1] == SUCCESS


def test_not_streamed_it_is_one_object(three):
    gateway, nodes = three
    response = pull(gateway, "all", stream=False)
    assert response.json() == SUCCESS
    assert response.get("Content-Type") == "application/json; charset=utf-8"
    assert all(node.wait_request("/api/pull").json()["stream"] is False for node in nodes.values())


def test_a_client_that_does_not_read_hears_of_the_latest(three):
    gateway, nodes = three
    gate = Gate()
    lines = [of(A, 10 ** 9, i) for i in range(1, 60000)]
    script(nodes, "/api/pull", a=ndjson(MANIFEST, *lines, SUCCESS),
           b=ndjson(MANIFEST, gate, of(A, 10 ** 9, 10 ** 9), SUCCESS))
    with HttpClient(gateway.http, receive_buffer=4096) as client:
        client.request("POST", "/api/pull", {"model": "m"})
        wait_until(lambda: gateway.metric(CALLS % "ok") == 1, "a is done, whatever the client reads")
        gate.open()
        got = client.response().lines()
    assert got[-1] == SUCCESS
    assert got[-2].get("completed") == 2 * 10 ** 9
    assert len(got) < len(lines)


# --- errors ---------------------------------------------------------------------------------------
def test_a_node_that_dies_midway_is_named_at_the_end(three):
    gateway, nodes = three
    script(nodes, "/api/pull", a=ndjson(MANIFEST, of(A, 100, 10), RESET),
           b=ndjson(MANIFEST, of(A, 100, 100), VERIFYING, SUCCESS))
    lines = pull(gateway, model="m").lines()
    assert lines[0] == MANIFEST and VERIFYING in lines and SUCCESS not in lines
    assert lines[-1]["error"].startswith("node a: ") and lines[-1]["error"].endswith(" (done on b)")
    assert gateway.metric(CALLS % "failed") == 1
    line = gateway.wait_access(lambda line: line["op"] == "pull")
    assert line["node"] == "a,b" and line["code"] == "stream_interrupted"


def test_what_nodes_say_is_told_with_their_names(three):
    gateway, nodes = three
    script(nodes, "/api/pull", a=ndjson(MANIFEST, {"error": "no space left on device"}), b=[CLOSE],
           c=ndjson(MANIFEST, SUCCESS))
    last = pull(gateway, "all").lines()[-1]["error"]
    assert last.startswith("node a: no space left on device; node b: ") and last.endswith(" (done on c)")


def test_what_all_say_is_told_once(three):
    gateway, nodes = three
    missing = ndjson(MANIFEST, {"error": "pull model manifest: file does not exist"})
    script(nodes, "/api/pull", a=missing, b=missing, c=missing)
    assert pull(gateway, "all").lines() == [MANIFEST, {"error": "pull model manifest: file does not exist"}]


@pytest.mark.parametrize("stream", [True, False])
def test_before_anything_is_told_an_error_has_its_status(three, stream):
    gateway, nodes = three
    refused = answer({"error": "model is bad"}, 400, reason="Bad Request")
    script(nodes, "/api/pull", a=refused, b=refused)
    response = pull(gateway, model="m", stream=stream)
    assert (response.status, response.json()) == (400, {"error": "model is bad"})
    script(nodes, "/api/pull", a=refused, b=answer({"error": "full"}, 500))
    response = pull(gateway, model="m", stream=stream)
    assert (response.status, response.json()) == (502, {"error": "node a: model is bad; node b: full"})


def test_a_node_that_is_down_is_named():
    with OllamaNode("m") as a, OllamaNode("m", start=False) as b, over(a=a, b=b) as gateway:
        last = pull(gateway, "all", model="m").lines()[-1]["error"]
        assert last.startswith("node b: it is not up: ") and last.endswith(" (done on a)")


# --- cancel ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("leave", [HttpClient.close, HttpClient.reset, HttpClient.half_close])
def test_a_client_that_leaves_ends_it_everywhere(three, leave):
    gateway, nodes = three
    script(nodes, "/api/pull", a=ndjson(MANIFEST, HANG), b=[HANG])
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/pull", {"model": "m"})
        connections = [nodes[name].wait_request("/api/pull").connection for name in "ab"]
        leave(client)
        for connection in connections:
            connection.wait_gone()
    gateway.wait_metric(CALLS % "cancelled", 2)


def test_a_deadline_ends_it_everywhere(three):
    gateway, nodes = three
    script(nodes, "/api/pull", a=[HANG], b=[HANG])
    response = ask(gateway.http, "POST", "/api/pull", {"model": "m"}, [("X-Mcpgate-Deadline", "150")])
    assert response.status == 504
    for name in "ab":
        nodes[name].wait_request("/api/pull").connection.wait_gone()


def test_the_gateway_stops_in_the_midst_of_it():
    config = {"timeouts": {"drain": "100ms"}}
    with OllamaNode("m") as a, OllamaNode("m") as b, Gateway(a, b, config=config) as gateway, \
            HttpClient(gateway.http) as client:
        a.next("/api/pull", ndjson(MANIFEST, HANG))
        b.next("/api/pull", [HANG])
        client.request("POST", "/api/pull", {"model": "m"})
        connections = [node.wait_request("/api/pull").connection for node in (a, b)]
        gateway.terminate()
        gateway.wait_exit()
        for connection in connections:
            connection.wait_gone()


# --- copy, delete, create, push -------------------------------------------------------------------
def test_copies_and_deletions_are_done_where_the_model_is(three):
    gateway, nodes = three
    response = ask(gateway.http, "POST", "/api/copy", {"source": "m", "destination": "n"})
    assert (response.status, response.body, response.get("Content-Length")) == (200, b"", "0")
    assert asked(nodes, "/api/copy") == "ab"
    response = ask(gateway.http, "DELETE", "/api/delete", {"model": "m"})
    assert (response.status, response.body) == (200, b"")
    assert asked(nodes, "/api/delete") == "ab"
    response = ask(gateway.http, "DELETE", "/api/delete", {"model": "m"}, [("X-Mcpgate-Nodes", "2")])
    assert response.status == 400 and "delete takes no number" in response.json()["error"]


def test_what_nobody_has_is_for_a_node_to_say(three):
    gateway, nodes = three
    missing = answer({"error": "model 'z' not found"}, 404, reason="Not Found")
    script(nodes, "/api/delete", a=missing)
    response = ask(gateway.http, "DELETE", "/api/delete", {"model": "z"})
    assert (response.status, response.json()) == (404, {"error": "model 'z' not found"})


def test_a_model_is_created_where_what_it_is_made_from_is(three):
    gateway, nodes = three
    body = {"model": "n", "from": "x:1", "stream": False}
    assert ask(gateway.http, "POST", "/api/create", body).json() == SUCCESS
    assert asked(nodes, "/api/create") == "b"
    assert ask(gateway.http, "POST", "/api/create", body, [("X-Mcpgate-Nodes", "2")]).get("X-Mcpgate-Nodes") == "a,b"


def test_a_create_from_files_goes_where_the_files_went(three):
    gateway, nodes = three
    blob = "/api/blobs/" + A
    assert ask(gateway.http, "POST", blob, b"GGUF").status == 201
    assert ask(gateway.http, "POST", "/api/create", {"model": "x:1", "files": {"m.gguf": A}}).lines()[-1] == SUCCESS
    assert (asked(nodes, blob), asked(nodes, "/api/create")) == ("a", "a")
    named = [("X-Mcpgate-Nodes", "c")]
    assert ask(gateway.http, "POST", blob, b"GGUF", named).status == 201
    assert ask(gateway.http, "POST", "/api/create", {"model": "x:1", "files": {"m.gguf": A}}, named).status == 200
    assert (asked(nodes, blob), asked(nodes, "/api/create")) == ("ac", "ac")
    everywhere = [("X-Mcpgate-Nodes", "all")]
    assert ask(gateway.http, "POST", "/api/create", {"model": "x:1", "files": {"m": A}}, everywhere).status == 400


def test_a_push_goes_to_one_node(three):
    gateway, nodes = three
    assert ask(gateway.http, "POST", "/api/push", {"model": "y:1"}).lines()[-1] == SUCCESS
    assert ask(gateway.http, "POST", "/api/push", {"model": "m"}, [("X-Mcpgate-Nodes", "b")]).lines()[-1] == SUCCESS
    assert asked(nodes, "/api/push") == "bc"
    assert ask(gateway.http, "POST", "/api/push", {"model": "m"}, [("X-Mcpgate-Nodes", "a,b")]).status == 400


# --- MCP ------------------------------------------------------------------------------------------
def test_over_mcp(three):
    gateway, nodes = three
    with McpClient(gateway.mcp) as client:
        parts = client.ask({"model": "n", "mcp": {"op": "pull", "nodes": "all"}})
        assert parts[0] == MANIFEST and parts[-2:] == [SUCCESS, {"done": True}]
        assert client.ask({"source": "m", "destination": "k", "mcp": {"op": "copy"}}, single=True) == [{}]
        assert client.error({"model": "n", "mcp": {"op": "pull", "nodes": "z"}})[0] == "bad_request"
        assert client.error({"model": "n", "mcp": {"op": "pull", "nodes": ["a"]}})[0] == "bad_request"
        script(nodes, "/api/pull", a=ndjson(MANIFEST, {"error": "full"}))
        client.request(1, {"model": "m", "mcp": {"op": "pull"}})
        last = client.parts()[-1].json()
        assert (last["code"], last["error"]) == ("upstream_error", "node a: full (done on b)")
    assert asked(nodes, "/api/pull") == "aabbc"
    assert all("mcp" not in node.wait_request("/api/pull").json() for node in nodes.values())


# --- with simulated nodes -------------------------------------------------------------------------
@pytest.mark.parametrize("config", [{"reactor": {"mode": "single"}}, {"reactor": {"count": 2}}])
def test_what_was_pulled_is_there_for_the_next_request(config):
    with Sim("--models", "m") as a, Sim("--models", "m", "--pull-ms", "50") as b, \
            Gateway(a, b, config=config) as gateway:
        for i in range(5):
            name = f"n{i}:latest"
            assert pull(gateway, "all", name).lines()[-1] == SUCCESS
            assert ask(gateway.http, "POST", "/api/generate", {"model": name, "prompt": "a"}).status == 200
            assert name in [m["name"] for m in ask(gateway.http, "GET", "/api/tags").json()["models"]]
            assert ask(gateway.http, "DELETE", "/api/delete", {"model": name}).status == 200
            assert ask(gateway.http, "POST", "/api/generate", {"model": name, "prompt": "a"}).status == 404
            for sim in (a, b):
                assert [m["name"] for m in sim.ask("GET", "/api/tags").json()["models"]] == ["m:latest"]


@pytest.mark.parametrize("config", [{"reactor": {"mode": "single"}}, {"reactor": {"count": 2}}])
def test_what_one_node_has_now_is_known_at_once(config):
    with Sim("--models", "m") as a, Sim("--models", "m") as b, Gateway(a, b, config=config) as gateway:
        def models():
            nodes = ask(gateway.admin, "GET", "/admin/nodes").json()["nodes"]
            return [node["models"] for node in nodes]
        for _ in range(3):
            assert pull(gateway).lines()[-1] == SUCCESS
            wait_until(lambda: models() == [["m:latest", "n:latest"], ["m:latest"]], "it is known")
            assert ask(gateway.http, "DELETE", "/api/delete", {"model": "n"}).status == 200
            wait_until(lambda: models() == [["m:latest"], ["m:latest"]], "that is known")


def test_a_pull_mends_a_model_that_is_not_the_same_everywhere():
    with Sim("--models", "m") as a, Sim("--models", "m") as b, over(a=a, b=b) as gateway:
        made = {"model": "n", "from": "m", "system": "one"}
        assert ask(gateway.http, "POST", "/api/create", made, [("X-Mcpgate-Nodes", "all")]).lines()[-1] == SUCCESS
        assert gateway.metric("mcpgate_models_drifting") == 0
        made["system"] = "another"
        assert ask(gateway.http, "POST", "/api/create", made, [("X-Mcpgate-Nodes", "b")]).lines()[-1] == SUCCESS
        gateway.wait_metric("mcpgate_models_drifting", 1)
        assert pull(gateway, model="n").get("X-Mcpgate-Nodes") == "a,b"
        assert gateway.metric("mcpgate_models_drifting") == 0


def test_faults_of_a_simulated_node():
    with Sim("--models", "m", "--fault", "error:2") as a, Sim("--models", "m") as b, over(a=a, b=b) as gateway:
        lines = pull(gateway, "all").lines()
        assert lines[-1] == {"error": "node a: a simulated fault (done on b)"}
        assert a.stats()["faults"] == 1
