# SPDX-License-Identifier: Apache-2.0
"""Routes: a name that stands for several models, and what is asked when one does not do."""
import json
import os
import re
import subprocess

import pytest

from cli import good as good_cli
from gateway import Gateway
from http_bytes import ask, wait_until
from mcp_client import McpClient
from mcp_negotiated import ACK, Negotiated
from node import CLOSE, HANG, Gate, answer, ndjson
from ollama_node import OllamaNode, generate_parts
from openai_node import OpenaiNode, payload
from sim import Sim

MODELS = ["a:v1", "a:v2", "b:latest", "c:latest", "pinned:latest"]
CONFIG = {"routes": {
    "assistant": {"sticky": "request", "arms": [{"model": "a:v1", "weight": 1}, {"model": "a:v2", "weight": 1}]},
    "gpt-3.5-turbo": {"arms": [{"model": "b"}]},
    "of-sessions": {"sticky": "session", "arms": [{"model": "a:v1"}, {"model": "a:v2"}]},
    "of-keys": {"arms": [{"model": "a:v1"}, {"model": "a:v2"}]},
    "gone": {"arms": [{"model": "nowhere"}], "fallback": ["neither", "c", "b"]},
    "lost": {"arms": [{"model": "nowhere"}], "fallback": ["neither"]},
    "small": {"arms": [{"model": "pinned"}]},
    "busy": {"arms": [{"model": "a:v1"}], "fallback": ["b", "c"]},
}, "models": {"pinned": {"pin": {"num_ctx": 8192, "use_mmap": False}}}}
CONTEXT = {"error": "the input length exceeds the context length"}


def generate(gateway, model, **more):
    return ask(gateway.http, "POST", "/api/generate", {"model": model, "prompt": "p", **more})


# --- arms -----------------------------------------------------------------------------------------
def test_arms_have_their_shares_and_the_answer_says_which_model_spoke(gateway, node):
    said = []
    for _ in range(60):
        response = generate(gateway, "assistant")
        said.append(response.get("X-Mcpgate-Model"))
        assert response.status == 200
        assert response.lines()[-1]["model"] == said[-1] == node.requests[-1].json()["model"]
    assert 10 <= said.count("a:v2") <= 50 and said.count("a:v1") + said.count("a:v2") == 60
    assert gateway.access()[-1]["model"] == said[-1]


def test_what_else_the_body_says_goes_on_byte_by_byte(gateway, node):
    body = b'{ "prompt":"p" ,"model" :"gpt-3.5-turbo", "n":1.0}'
    assert ask(gateway.http, "POST", "/api/generate", body).status == 200
    assert node.requests[-1].body == body.replace(b'"gpt-3.5-turbo"', b'"b"')


@pytest.mark.parametrize("name", ["gpt-3.5-turbo", "gpt-3.5-turbo:latest"])
@pytest.mark.parametrize("path, body", [
    ("/api/chat", {"messages": [{"role": "user", "content": "p"}]}), ("/api/embed", {"input": "p"}),
    ("/api/show", {}), ("/v1/chat/completions", {"messages": [{"role": "user", "content": "p"}]}),
    ("/v1/messages", {"max_tokens": 5, "messages": [{"role": "user", "content": "p"}]})])
def test_every_interface_takes_the_name(gateway, node, name, path, body):
    response = ask(gateway.http, "POST", path, {"model": name, **body})
    assert (response.status, response.get("X-Mcpgate-Model")) == (200, "b")
    assert node.requests[-1].json() == {"model": "b", **body}


def test_routes_are_among_the_models(gateway, node, mcp):
    names = [*MODELS, *CONFIG["routes"]]
    tags = ask(gateway.http, "GET", "/api/tags").json()["models"]
    assert [model["name"] for model in tags] == names
    assert {"name", "model", "modified_at", "size", "digest", "details"} <= tags[-1].keys()
    (listed,) = mcp.ask({"mcp": {"op": "list"}}, single=True)
    assert listed["models"] == tags
    listed = ask(gateway.http, "GET", "/v1/models").json()
    assert listed["object"] == "list" and [model["id"] for model in listed["data"]] == names
    assert ask(gateway.http, "GET", "/v1/models/busy").json() == {
        "id": "busy", "object": "model", "created": 0, "owned_by": "mcpgate"}
    assert ask(gateway.http, "GET", "/v1/models/b").json()["id"] == "b"
    assert [model["name"] for model in ask(gateway.http, "GET", "/api/ps").json()["models"]] == MODELS


def test_a_route_that_hides_a_model_is_listed_once():
    with OllamaNode("a:v1", "b:latest") as node:
        with Gateway(node, config={"routes": {"b": {"arms": [{"model": "a:v1"}]}}}) as gateway:
            assert [m["name"] for m in ask(gateway.http, "GET", "/api/tags").json()["models"]] == ["a:v1", "b:latest"]
            assert generate(gateway, "b:latest").get("X-Mcpgate-Model") == "a:v1"


def test_a_model_that_is_no_route_is_as_ever(gateway, node):
    response = generate(gateway, "b")
    assert response.get("X-Mcpgate-Model") is None and node.requests[-1].json()["model"] == "b"


def test_a_client_without_a_key_stays_with_one_arm(gateway):
    assert len({generate(gateway, "of-keys").get("X-Mcpgate-Model") for _ in range(20)}) == 1


def test_a_session_of_mcp_keeps_the_route(gateway, node, mcp):
    arms = set()
    for session in range(1, 41):
        first = mcp.ask({"model": "of-sessions", "prompt": "p"}, session)[-1]["model"]
        assert mcp.ask({"prompt": "p"}, session)[-1]["model"] == first == node.requests[-1].json()["model"]
        arms.add(first)
    assert arms == {"a:v1", "a:v2"}


def test_a_session_of_http_keeps_its_arm(gateway):
    def spoken(session):
        return ask(gateway.http, "POST", "/api/generate", {"model": "of-sessions", "prompt": "p"},
                   [("X-Mcpgate-Session", session)]).get("X-Mcpgate-Model")
    arms = {session: spoken(session) for session in map(str, range(30))}
    assert set(arms.values()) == {"a:v1", "a:v2"}
    assert all(spoken(session) == arm for session, arm in arms.items())


def test_with_keys_each_has_its_arm():
    keys = [{"name": f"user-{i}", "key": f"secret-{i}"} for i in range(40)]
    with OllamaNode(*MODELS) as node, Gateway(node, config={**CONFIG, "keys": keys}) as gateway:
        seen = {}
        for _ in range(2):
            for key in keys:
                response = ask(gateway.http, "POST", "/api/generate", {"model": "of-keys", "prompt": "p"},
                               [("Authorization", f"Bearer {key['key']}")])
                model = response.get("X-Mcpgate-Model")
                assert seen.setdefault(key["name"], model) == model
        assert set(seen.values()) == {"a:v1", "a:v2"}


def test_a_node_of_another_kind_is_asked_for_the_arm():
    with OpenaiNode() as node:
        listed = json.loads(payload("models"))["data"][0]["id"]
        with Gateway(node, config={"routes": {"assistant": {"arms": [{"model": listed}]}}}) as gateway:
            response = ask(gateway.http, "POST", "/api/chat", {
                "model": "assistant", "messages": [{"role": "user", "content": "p"}]})
            assert (response.status, response.get("X-Mcpgate-Model")) == (200, listed)
            assert node.requests[-1].json()["model"] == listed


# --- who spoke, over MCP --------------------------------------------------------------------------
def test_acks_name_the_model_and_its_node(gateway, node):
    with Negotiated(gateway.mcp, "ack") as client:
        for model, asked in (("gpt-3.5-turbo", "b"), ("gone", "c"), ("b", None)):
            client.request(1, {"model": model, "prompt": "p"})
            ack = client.frame(1)
            assert ack.opcode == ACK and (ack.json()["node"], ack.json().get("model")) == (node.name, asked)
            assert client.parts(1)[-1].json()["model"] == (asked or model)


@pytest.mark.parametrize("error, status", [({"error": "model 'a:v1' not found"}, 404), (CONTEXT, 400)])
def test_the_next_model_is_told_in_another_ack(gateway, node, error, status):
    node.next("/api/chat", answer(error, status))
    with Negotiated(gateway.mcp, "ack") as client:
        client.request(1, {"model": "busy", "messages": [{"role": "user", "content": "p"}]})
        acks = [client.frame(1).json() for _ in range(2)]
        assert [(ack["model"], ack["attempt"]) for ack in acks] == [("a:v1", 1), ("b", 2)]
        assert client.frame(1).json()["model"] == "b"


# --- encoded bodies -------------------------------------------------------------------------------
def zstd(text):
    """One frame with one block as it is."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(text)]) + (len(text) << 3 | 1).to_bytes(3, "little") + text


@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions"])
def test_a_body_under_zstd_is_sent_to_a_route_decoded(gateway, node, path):
    text = b'{"prompt" : "p", "model":"gone","stream":false }'
    response = ask(gateway.http, "POST", path, zstd(text), [("Content-Encoding", "zstd")])
    assert (response.status, response.get("X-Mcpgate-Model")) == (200, "c")
    (request,) = [r for r in node.requests if r.method == "POST"]
    assert (request.body, request.get("Content-Encoding")) == (text.replace(b'"gone"', b'"c"'), None)
    body = zstd(b'{"prompt":"p","model":"b"}')
    node.next(path, answer({}))
    assert ask(gateway.http, "POST", path, body, [("Content-Encoding", "zstd")]).status == 200
    assert (node.requests[-1].body, node.requests[-1].get("Content-Encoding")) == (body, "zstd")
    gateway.wait_idle()
    assert gateway.metric("mcpgate_body_bytes") == 0


def test_pins_are_put_into_a_body_under_zstd(gateway, node):
    body = zstd(b'{"prompt":"p","model":"pinned"}')
    assert ask(gateway.http, "POST", "/api/generate", body, [("Content-Encoding", "zstd")]).status == 200
    assert node.requests[-1].json()["options"] == PINNED


def test_a_body_that_is_no_zstd_is_refused(gateway):
    body = zstd(b'{"model":"gone"}')[:-3]
    assert ask(gateway.http, "POST", "/api/generate", body, [("Content-Encoding", "zstd")]).status == 400


# --- fallback -------------------------------------------------------------------------------------
def test_a_model_that_no_node_has_is_passed_over(gateway, node, mcp):
    before = gateway.metrics()
    response = generate(gateway, "gone")
    assert (response.status, response.get("X-Mcpgate-Model")) == (200, "c")
    assert mcp.ask({"model": "gone", "prompt": "p"})[-1]["model"] == "c"
    assert [r.json()["model"] for r in node.requests if r.method == "POST"] == ["c", "c"]
    name = 'mcpgate_route_fallbacks_total{reason="unknown_model"}'
    assert gateway.metric(name) == before[name] + 4


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions"])
@pytest.mark.parametrize("status, error, reason", [
    (404, {"error": "model 'a:v1' not found"}, "unknown_model"),
    (400, CONTEXT, "context"),
    (400, {"error": {"message": "This model's maximum context length is 8 tokens.", "code": 400}}, "context"),
    (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, "queue_full")])
def test_a_node_that_says_no_is_passed_over(gateway, node, mcp, path, stream, status, error, reason):
    name = f'mcpgate_route_fallbacks_total{{reason="{reason}"}}'
    before = gateway.metric(name)
    node.next(path, answer(error, status))
    response = ask(gateway.http, "POST", path, {"model": "busy", "prompt": "p", "stream": stream})
    assert (response.status, response.get("X-Mcpgate-Model"), response.complete) == (200, "b", True)
    assert [r.json()["model"] for r in node.requests if r.method == "POST"] == ["a:v1", "b"]
    node.next("/api/generate", answer(error, status))
    assert mcp.ask({"model": "busy", "prompt": "p"})[-1]["model"] == "b"
    assert gateway.metric(name) == before + 2


def test_the_last_model_says_what_is_wrong(gateway, node, mcp):
    for _ in range(3):
        node.next("/api/generate", answer(CONTEXT, 400))
    response = generate(gateway, "busy")
    assert (response.status, response.json(), response.get("X-Mcpgate-Model")) == (400, CONTEXT, "c")
    assert [r.json()["model"] for r in node.requests if r.method == "POST"] == ["a:v1", "b", "c"]
    response = generate(gateway, "lost")
    assert (response.status, response.json()) == (404, {"error": "model 'neither' not found"})
    assert mcp.error({"model": "lost", "prompt": "p"})[0] == "unknown_model"


@pytest.mark.parametrize("status, error", [(400, {"error": "invalid options"}), (500, {"error": "context length"}),
                                           (403, {"error": "no"})])
def test_another_error_stays_the_answer(gateway, node, status, error):
    node.next("/api/generate", answer(error, status))
    response = generate(gateway, "busy")
    assert (response.status, response.json(), response.get("X-Mcpgate-Model")) == (status, error, "a:v1")


def test_what_has_begun_is_not_begun_again(gateway, node):
    node.next("/api/generate", ndjson(generate_parts("a:v1")[0], {"error": "context length"}))
    response = generate(gateway, "busy")
    assert response.status == 200 and response.lines()[-1] == {"error": "context length"}
    node.next("/api/generate", [*ndjson(generate_parts("a:v1")[0])[:1], CLOSE])
    response = generate(gateway, "busy")
    assert len([r for r in node.requests if r.method == "POST"]) == 2


def test_a_node_that_is_down_is_passed_over():
    routes = {"routes": {"r": {"arms": [{"model": "a"}], "fallback": ["b"]}}}
    first = Sim("--models", "a")
    with Sim("--models", "b") as second:
        with Gateway(first, second, config=routes) as gateway:
            assert generate(gateway, "r").get("X-Mcpgate-Model") == "a"
            first.process.kill()
            first.process.wait()
            response = generate(gateway, "r")
            assert (response.status, response.get("X-Mcpgate-Model")) == (200, "b")
            assert gateway.access()[-1]["code"] == "ok"
            with McpClient(gateway.mcp) as client:
                assert client.ask({"model": "r", "prompt": "p"})[-1]["model"] == "b"
            assert gateway.metric('mcpgate_route_fallbacks_total{reason="node_unavailable"}') + \
                gateway.metric('mcpgate_route_fallbacks_total{reason="unknown_model"}') == 2
    first.kill()


def test_a_full_queue_is_passed_over():
    gate = Gate()
    with OllamaNode("a:latest") as first, OllamaNode("b:latest") as second:
        config = {"nodes": [{"url": first.url, "slots": 1}, {"url": second.url}], "queue": {"per_tenant": 1},
                  "routes": {"r": {"arms": [{"model": "a"}], "fallback": ["b"]}}}
        with Gateway(config=config) as gateway, McpClient(gateway.mcp) as client:
            first.always("/api/generate", lambda request: [gate, *first.answers_of(request)])
            client.request(1, {"model": "a", "prompt": "p"})
            first.wait_request("/api/generate")
            client.request(2, {"model": "a", "prompt": "p"})
            gateway.wait_metric('mcpgate_queue_waiting', 1)
            response = generate(gateway, "r")
            assert (response.status, response.get("X-Mcpgate-Model")) == (200, "b")
            assert gateway.metric('mcpgate_route_fallbacks_total{reason="queue_full"}') == 1
            assert client.ask({"model": "r", "prompt": "p"}, session=3)[-1]["model"] == "b"
            assert gateway.metric('mcpgate_route_fallbacks_total{reason="queue_full"}') == 2
            gate.open()
            assert client.parts(1)[-1].json()["model"] == client.parts(2)[-1].json()["model"] == "a"


# --- pins -----------------------------------------------------------------------------------------
PINNED = {"num_ctx": 8192, "use_mmap": False}


@pytest.mark.parametrize("given, sent", [
    ({}, PINNED), ({"options": None}, PINNED), ({"options": {}}, PINNED),
    ({"options": {"num_ctx": 1, "seed": 3, "num_ctx\\u0020": 2}}, {**PINNED, "seed": 3, "num_ctx\\u0020": 2}),
    ({"options": {"seed": 3, "use_mmap": True}}, {**PINNED, "seed": 3}), ({"options": [1]}, [1])])
@pytest.mark.parametrize("model", ["pinned", "pinned:latest", "small"])
def test_pinned_options_are_everybodys(gateway, node, mcp, model, given, sent):
    assert generate(gateway, model, **given).status == 200
    assert node.requests[-1].json()["options"] == sent
    mcp.ask({"model": model, "prompt": "p", **given})
    assert node.requests[-1].json()["options"] == sent


def test_escaped_keys_are_pinned_too_and_inherited_options(gateway, node, mcp):
    ask(gateway.http, "POST", "/api/generate", rb'{"model":"pinned","options":{"num\u005fctx":1,"a" : 1.0}}')
    assert node.requests[-1].body == rb'{"model":"pinned","options":{"num_ctx":8192,"use_mmap":false,"a" : 1.0}}'
    mcp.ask({"model": "pinned", "prompt": "p", "options": {"seed": 4, "num_ctx": 5}})
    mcp.ask({"prompt": "p", "mcp": {"continue": True}})
    assert node.requests[-1].json()["options"] == {**PINNED, "seed": 4}


@pytest.mark.parametrize("path, body, model", [
    ("/v1/completions", {"prompt": "p"}, "pinned"), ("/api/show", {}, "pinned"), ("/api/generate", {"prompt": "p"}, "b")])
def test_other_requests_have_no_pins(gateway, node, path, body, model):
    ask(gateway.http, "POST", path, {"model": model, **body})
    assert node.requests[-1].json() == {"model": model, **body}


# --- copies ---------------------------------------------------------------------------------------
SHADOW = {"routes": {"r": {"arms": [{"model": "a:v1"}, {"model": "a:v2", "shadow": 100}]}}}


def test_a_shadow_gets_a_copy_and_nobody_its_answer():
    with OllamaNode(*MODELS) as node, Gateway(node, config=SHADOW) as gateway, McpClient(gateway.mcp) as mcp:
        body = {"model": "r", "prompt": "p", "stream": False, "n": 1}
        for ask_it in (lambda: ask(gateway.http, "POST", "/api/generate", body).json()["model"],
                       lambda: ask(gateway.http, "POST", "/v1/completions", body).json()["model"],
                       lambda: mcp.ask({**body, "mcp": {"op": "generate"}})[-1]["model"]):
            node.forget()
            assert ask_it() == "a:v1"
            wait_until(lambda: len(node.requests) == 2, lambda: node.requests)
            first, copied = sorted(node.requests, key=lambda request: request.json()["model"])
            assert copied.path == first.path and copied.json() == {**body, "model": "a:v2"}
            assert first.json() == {**body, "model": "a:v1"}
            gateway.wait_idle()
        assert len(gateway.access()) == 3  # none of the copies
        assert gateway.metric('mcpgate_route_shadows_total{result="sent"}') == 3
        node.forget()
        ask(gateway.http, "POST", "/api/show", {"model": "r"})
        assert [request.path for request in node.requests] == ["/api/show"]


def test_copies_are_bounded_and_a_slow_shadow_holds_nobody():
    with OllamaNode(*MODELS) as node, Gateway(node, config={**SHADOW, "reactor": {"mode": "single"}}) as gateway:
        answered = lambda request: [HANG] if request.json()["model"] == "a:v2" else node.answers_of(request)
        node.always("/api/generate", answered)
        for _ in range(40):
            assert generate(gateway, "r").status == 200
        sent = 'mcpgate_route_shadows_total{result="sent"}'
        left_out = 'mcpgate_route_shadows_total{result="left_out"}'
        assert (gateway.metric(sent), gateway.metric(left_out)) == (32, 8)
        gateway.terminate()
        gateway.wait_exit(10)  # drains for 30 s at most, but nobody waits for these


# --- what is ignored ------------------------------------------------------------------------------
CHAT = {"model": "b", "messages": [{"role": "user", "content": "p"}]}


@pytest.mark.parametrize("path, body, names", [
    ("/v1/chat/completions", {**CHAT, "user": "u", "seed": 1, "tool_choice": "none"}, "user, tool_choice"),
    ("/v1/chat/completions", {**CHAT, "n": 1, "user": None, "tool_choice": "auto"}, None),
    ("/v1/chat/completions", {**CHAT, "n": 2}, "n"), ("/v1/chat/completions", CHAT, None),
    ("/v1/completions", {"model": "b", "prompt": "p", "logit_bias": {}}, "logit_bias"),
    ("/v1/embeddings", {"model": "b", "input": "p", "user": "u"}, "user"),
    ("/v1/messages", {**CHAT, "max_tokens": 1, "metadata": {}}, "metadata"),
    ("/v1/responses", {"model": "b", "input": "p", "store": False}, "store"),
    ("/api/chat", {**CHAT, "n": 2}, None)])
def test_what_an_ollama_ignores_is_named(gateway, node, path, body, names):
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.get("X-Mcpgate-Ignored")) == (200, names)
    assert node.requests[-1].json() == body


def test_it_is_refused_where_that_is_asked_for():
    with OllamaNode(*MODELS) as node, Gateway(node, config={"http": {"strict": True}}) as gateway:
        response = ask(gateway.http, "POST", "/v1/chat/completions", {**CHAT, "n": 2, "user": "u"})
        assert response.status == 400 and not node.requests
        assert response.json()["error"]["message"] == "an Ollama would ignore: n, user"
        assert ask(gateway.http, "POST", "/v1/chat/completions", CHAT).status == 200


def test_another_node_may_read_it():
    with OpenaiNode() as node, Gateway(node, config={"http": {"strict": True}}) as gateway:
        model = json.loads(payload("models"))["data"][0]["id"]
        response = ask(gateway.http, "POST", "/v1/chat/completions", {**CHAT, "model": model, "n": 2, "stream": True})
        assert (response.status, response.get("X-Mcpgate-Ignored")) == (200, None)


# --- canaries -------------------------------------------------------------------------------------
def canary(rule=None):
    """Two models of which the second one can be made to fail, half of the requests each."""
    return {"routes": {"r": {"sticky": "request", "arms": [{"model": "good"}, {"model": "bad"}], **(rule or {})}}}


def arms_of(gateway, route="r"):
    routes = ask(gateway.admin, "GET", "/admin/routes").json()["routes"]
    return {arm["model"]: arm for arm in next(r["arms"] for r in routes if r["name"] == route)}


def change(gateway, path, status=200):
    response = ask(gateway.admin, "POST", f"/admin/routes/{path}")
    assert response.status == status
    return response.json()


def spoken(gateway, count=30):
    return {generate(gateway, "r", stream=True).get("X-Mcpgate-Model") for _ in range(count)}


def test_an_arm_that_fails_is_rolled_back_and_stays_so_after_a_restart(tmp_path):
    config = {**canary({"min_requests": 20}), "state": {"dir": str(tmp_path)}}
    with Sim("--models", "good") as good, Sim("--models", "bad", "--fault", "refuse:500@every 2") as bad:
        with Gateway(good, bad, config=config) as gateway:
            wait_until(lambda: generate(gateway, "r") and arms_of(gateway)["bad"]["state"] == "rolled_back", "a rollback")
            arm = arms_of(gateway)["bad"]
            assert arm["why"] == "errors" and arm["requests"] >= 20 and arm["errors"] * 3 > arm["requests"]
            assert arms_of(gateway)["good"]["errors"] == 0
            assert "event=route_rolled_back route=r model=bad why=errors" in gateway.errors()
            assert gateway.metric("mcpgate_route_rollbacks_total") == 1
            assert spoken(gateway) == {"good"}
            wait_until((tmp_path / "routes.json").exists, "the state is kept")
        with Gateway(good, bad, config=config) as gateway:
            assert arms_of(gateway)["bad"]["state"] == "rolled_back"
            assert spoken(gateway) == {"good"}
            change(gateway, "r/resume")
            assert spoken(gateway) == {"good", "bad"}


def test_a_promoted_arm_that_fails_is_rolled_back_after_a_restart_too(tmp_path):
    config = {"routes": {"r": {"min_requests": 20, "arms": [{"model": "good"}, {"model": "bad", "weight": 0}]}},
              "state": {"dir": str(tmp_path)}}
    with Sim("--models", "good") as good, Sim("--models", "bad", "--fault", "refuse:500@every 2") as bad:
        with Gateway(good, bad, config=config) as gateway:
            assert spoken(gateway) == {"good"}
            (arm,) = [arm for arm in change(gateway, "r/promote")["routes"][0]["arms"] if arm["state"] == "promoted"]
            assert arm["model"] == "bad" and 86000 < arm["watched_s"] <= 86400
            assert arm["against"]["requests"] == 30 and arm["against"]["errors"] == 0
            assert "promoted, watched 24h" in good_cli("canary", "--admin", "%s:%d" % gateway.admin)
            wait_until((tmp_path / "routes.json").exists, "the state is kept")
        with Gateway(good, bad, config=config) as gateway:
            assert arms_of(gateway)["bad"]["against"] == arm["against"]
            assert spoken(gateway, 10) == {"bad"}
            wait_until(lambda: generate(gateway, "r") and arms_of(gateway)["bad"]["state"] == "rolled_back", "a rollback")
            assert arms_of(gateway)["bad"]["why"] == "errors" and spoken(gateway) == {"good"}
            assert re.search(r"route_rolled_back route=r model=bad why=errors .* first_requests=30 first_errors=0",
                             gateway.errors())


def test_an_arm_that_is_slow_is_rolled_back():
    slow = ["--profile", "llm", "--jitter-percent", "0", "--load-ms", "0", "--decode-us", "100", "--slots", "64"]
    with Sim("--models", "good", *slow, "--prompt-us", "0") as good, Sim("--models", "bad", *slow, "--prompt-us", "50000") as bad:
        with Gateway(good, bad, config=canary({"min_requests": 10})) as gateway:
            wait_until(lambda: generate(gateway, "r", options={"num_predict": 3}) and
                       arms_of(gateway)["bad"]["state"] == "rolled_back", "a rollback")
            arms = arms_of(gateway)
            assert arms["bad"]["why"] == "first_part"
            assert arms["bad"]["first_part_ms"]["mean"] > 1.5 * arms["good"]["first_part_ms"]["mean"]
            assert arms["good"]["parts"]["mean"] == 4 and arms["good"]["parts_per_s"]["mean"] > 0


def test_people_say_what_becomes_of_an_arm(gateway, tmp_path):
    with Sim("--models", "good,bad") as sim, Gateway(sim, config={**canary(), "state": {"dir": str(tmp_path)}}) as own:
        assert spoken(own) == {"good", "bad"}
        for action, state, models in (("pause", "paused", {"good"}), ("resume", "on", {"good", "bad"}),
                                      ("rollback", "rolled_back", {"good"}), ("promote", "promoted", {"bad"}),
                                      ("resume", "on", {"good", "bad"})):
            routes = change(own, f"r/{action}")["routes"]
            assert routes[0]["arms"][1]["state"] == state == arms_of(own)["bad"]["state"]
            assert spoken(own) == models
        change(own, "r/promote/bad")
        wait_until(lambda: "promoted" in (tmp_path / "routes.json").read_text(), "the state is kept")
        assert "route_changed route=r action=promote model=bad" in own.errors()
        assert change(own, "x/pause", 404)["error"] == "there is no route 'x'"
        assert change(own, "r/pause/x", 404)["error"] == "route 'r' has no arm 'x'"
        assert change(own, "r/pause/good", 400)["error"] == "'good' is the first arm, which the others fall back on"
        assert change(own, "r/stop", 400)["error"] == "'stop' is none of promote, rollback, pause and resume"
        assert change(own, "r/pause/a/b", 404)
    with Sim("--models", "good,bad") as sim, Gateway(sim, config={**canary(), "state": {"dir": str(tmp_path)}}) as own:
        assert spoken(own) == {"bad"}
    (tmp_path / "routes.json").write_text('{"routes":[{"name":"r","promoted":"gone","arms":[{"model":"bad","state":"?"}]},7]')
    with Sim("--models", "good,bad") as sim, Gateway(sim, config={**canary(), "state": {"dir": str(tmp_path)}}) as own:
        assert spoken(own) == {"good", "bad"}


def test_a_reload_keeps_what_was_said(tmp_path):
    with Sim("--models", "good,bad,new") as sim, Gateway(config={"nodes": [{"url": sim.url}], **canary()}) as gateway:
        change(gateway, "r/pause")
        config = {"nodes": [{"url": sim.url}], **canary()}
        config["routes"]["r"]["arms"].append({"model": "new"})
        path = gateway.process.args[gateway.process.args.index("-c") + 1]
        with open(path, "w") as file:
            json.dump(config, file)
        reloaded = ask(gateway.admin, "POST", "/admin/reload")
        assert (reloaded.status, reloaded.json()["changed"]) == (200, ["routes"])
        assert [(name, arm["state"]) for name, arm in arms_of(gateway).items()] == [
            ("good", "on"), ("bad", "paused"), ("new", "on")]
        assert spoken(gateway) == {"good", "new"}


def test_the_command_shows_and_changes(tmp_path):
    with Sim("--models", "good,bad") as sim, Gateway(sim, config=canary()) as gateway:
        def run(*args, status=0):
            done = subprocess.run([os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"), "canary", "--admin",
                                   "%s:%d" % gateway.admin, *args], capture_output=True, text=True, timeout=20)
            assert done.returncode == status, done.stderr
            return done.stderr if status else done.stdout
        spoken(gateway, 8)
        lines = run().splitlines()
        assert lines[0].split()[:4] == ["ROUTE", "MODEL", "SHARE", "STATE"]
        assert lines[1].split()[:4] == ["r", "good", "1", "on"] and lines[2].split()[:3] == ["bad", "1", "on"]
        assert json.loads(run("--json"))["routes"][0]["arms"][0]["model"] == "good"
        assert run("pause", "r").splitlines()[2].split()[:3] == ["bad", "1", "paused"]
        assert run("promote", "r", "bad").splitlines()[2].split()[:3] == ["bad", "1", "promoted"]
        assert run("resume", "x", status=1) == "mcpgate: there is no route 'x'\n"
        assert "expected the name of a route" in run("pause", status=2)
        assert "not 'stop'" in run("stop", "r", status=2)


def test_why_tells_of_arm_and_fallback(gateway, node):
    response = generate(gateway, "gone")
    (record,) = ask(gateway.admin, "GET", f"/admin/requests/{response.get('X-Request-Id')}").json()["requests"]
    assert (record["route"], record["model"]) == ("gone", "c")
    said = [event["text"] for event in record["events"] if event["event"] in ("routed", "falls_back")]
    assert said == ["the route's model for it: nowhere", "the model does not do: now neither",
                    "the model does not do: now c"]
