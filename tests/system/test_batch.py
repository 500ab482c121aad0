# SPDX-License-Identifier: Apache-2.0
"""Single requests for embeddings that share calls to the node: who gets what, and what happens to a bad one."""
import base64
import contextlib
import itertools
import random
import struct
import threading

import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient
from node import CLOSE, Gate, answer
from ollama_node import OllamaNode
from openai_node import OpenaiNode
from sim import Sim

MODEL = "m:latest"
BAD = {"error": "the input length exceeds the context length"}


def vector(text):
    return [len(text), 0.1, -2.5e-7, sum(text.encode())]


def inputs_of(request):
    given = request.json()["input"]
    return [given] if isinstance(given, str) else given


def embedding(request, gates=()):
    """As Ollama answers; a bad input fails all of its call. Gates are waited at one after the other, by call."""
    texts = inputs_of(request)
    steps = [gates.pop(0)] if gates else []
    if any("bad" in text for text in texts):
        return steps + answer(BAD, status=400)
    return steps + answer({"model": request.json()["model"], "embeddings": [vector(t) for t in texts],
                           "total_duration": 5, "load_duration": 1,
                           "prompt_eval_count": sum(len(t.split()) for t in texts)})


def v1_embedding(request, gates=()):
    steps = [gates.pop(0)] if gates else []
    texts = inputs_of(request)
    if any("bad" in text for text in texts):
        return steps + answer({"error": {"message": BAD["error"], "type": "invalid_request_error", "param": None,
                                         "code": None}}, status=400)
    packed = request.json().get("encoding_format") == "base64"

    def shown(text):
        return base64.b64encode(struct.pack("<4f", *vector(text))).decode() if packed else vector(text)
    count = sum(len(t.split()) for t in texts)
    return steps + answer({"object": "list", "data": [{"object": "embedding", "embedding": shown(t), "index": i}
                                                      for i, t in enumerate(texts)],
                           "model": request.json()["model"],
                           "usage": {"prompt_tokens": count, "total_tokens": count}})


class Embedder(OllamaNode):
    """Notes what each call asked for; the first `held` calls wait at gates."""

    def __init__(self, held=0):
        super().__init__(MODEL)
        self.gates = [Gate() for _ in range(held)]
        gates = list(self.gates)
        self.always("/api/embed", lambda request: embedding(request, gates))
        self.always("/v1/embeddings", lambda request: v1_embedding(request, gates))

    def calls(self):
        return [inputs_of(r) for path in ("/api/embed", "/v1/embeddings") for r in self.of(path)]


class Asking:
    """Requests at once, each on a connection and thread of its own."""

    def __init__(self, gateway):
        self.gateway, self.threads, self.answers = gateway, [], {}

    def ask(self, name, path="/api/embed", headers=(), **body):
        def run():
            self.answers[name] = ask(self.gateway.http, "POST", path, {"model": MODEL, **body}, headers)
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def wait_joined(self, count):
        """So many inputs wait for a call to share."""
        self.gateway.wait_metric("mcpgate_batch_waiting", count)

    def wait(self):
        for thread in self.threads:
            thread.join(20)
        return self.answers


@contextlib.contextmanager
def held_behind_one(count=4, mode="single", config=None):
    """A gateway whose node works on a first request; then `asking` may add others, which will share a call."""
    with Embedder(held=1) as node, Gateway(node, args=["--mode", mode], config=config) as gateway:
        asking = Asking(gateway)
        asking.ask("first", input="the first")
        node.gates[0].wait_reached()
        yield node, gateway, asking
        gateway.wait_idle()


def check(response, *texts, tokens=None):
    assert response.status == 200
    body = response.json()
    assert list(body) == ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]
    assert body["model"] == MODEL and body["embeddings"] == [vector(t) for t in texts]
    if tokens is not None:
        assert body["prompt_eval_count"] == tokens
    return body["prompt_eval_count"]


def test_one_request_goes_as_it_came():
    with Embedder() as node, Gateway(node) as gateway, HttpClient(gateway.http) as client:
        for i in range(3):
            for body in ({"model": MODEL, "input": f"text {i}", "unknown": 1}, {"model": MODEL, "input": f"text {i}"}):
                client.request("POST", "/api/embed", body)
                check(client.response(), f"text {i}")
        assert [r.json().get("unknown") for r in node.of("/api/embed")] == [1, None] * 3
        assert node.of("/api/embed")[1].json() == {"model": MODEL, "input": "text 0"}
        assert gateway.metric("mcpgate_batch_calls_total") == 0
        gateway.wait_idle()


@pytest.mark.parametrize("mode", ["single", "main-sub"])
def test_those_that_come_during_a_call_share_the_next(mode):
    texts = [f"text {'a ' * i}" for i in range(8)]
    with held_behind_one(mode=mode) as (node, gateway, asking):
        for text in texts:
            asking.ask(text, input=text)
        asking.wait_joined(8)
        node.gates[0].open()
        answers = asking.wait()
        counts = [check(answers[text], text) for text in texts]
        check(answers["first"], "the first")
        assert sum(counts) == sum(len(t.split()) for t in texts)
        assert len(node.calls()) == 2 and sorted(node.calls()[1]) == sorted(texts)
        assert gateway.metric("mcpgate_batch_calls_total") == 1
        gateway.wait_access(lambda line: (line["op"], line["status"], line["node"]) == ("embed", "200", node.name), 9)


def test_arrays_and_equal_inputs():
    with held_behind_one() as (node, gateway, asking):
        asking.ask("a", input="same")
        asking.ask("b", input=["other", "same", "third"])
        asking.ask("c", input="same")
        asking.wait_joined(5)
        node.gates[0].open()
        answers = asking.wait()
        counts = [check(answers["a"], "same"), check(answers["b"], "other", "same", "third"),
                  check(answers["c"], "same")]
        assert sum(counts) == 3
        assert sorted(node.calls()[1]) == ["other", "same", "third"]
        assert gateway.metric('mcpgate_batch_inputs_total{kind="equal"}') == 2


def test_an_input_that_is_being_computed_is_shared():
    with Embedder(held=2) as node, Gateway(node) as gateway:
        asking = Asking(gateway)
        asking.ask("first", input="first")
        node.gates[0].wait_reached()
        for name in "ab":
            asking.ask(name, input=name)
        asking.wait_joined(2)
        node.gates[0].open()
        node.gates[1].wait_reached()
        asking.ask("again", input="a")
        gateway.wait_metric('mcpgate_batch_inputs_total{kind="equal"}', 1)
        node.gates[1].open()
        answers = asking.wait()
        counts = [check(answers["a"], "a"), check(answers["b"], "b"), check(answers["again"], "a")]
        assert sum(counts) == 2 and len(node.calls()) == 2
        gateway.wait_idle()


def test_equal_inputs_of_other_keys_are_computed_for_each():
    keys = [{"name": name, "key": f"key-of-{name}"} for name in "xy"]
    with Embedder(held=1) as node, Gateway(node, config={"keys": keys}) as gateway:
        asking = Asking(gateway)

        def ask_as(name, number, text):
            asking.ask(f"{name}{number}", headers=[("Authorization", f"Bearer key-of-{name}")], input=text)
        ask_as("x", 0, "first")
        node.gates[0].wait_reached()
        for name, number in (("x", 1), ("x", 2), ("y", 1)):
            ask_as(name, number, "same")
        gateway.wait_metric("mcpgate_batch_waiting", 3)
        node.gates[0].open()
        answers = asking.wait()
        assert node.calls()[1] == ["same", "same"]
        assert sum(check(answers[n], "same") for n in ("x1", "x2", "y1")) == 2
        gateway.wait_idle()


def test_routes_share_calls_and_fall_back():
    routes = {"embedder": {"arms": [{"model": MODEL}], "fallback": ["other"]}}
    with OllamaNode(MODEL, "other") as node, Gateway(node, config={"routes": routes}) as gateway:
        gates = [Gate()]
        node.always("/api/embed", lambda request: embedding(request, gates))
        gate, asking = gates[0], Asking(gateway)
        asking.ask("first", input="first")
        gate.wait_reached()
        asking.ask("a", model="embedder", input="a")
        asking.ask("b", input="b")
        asking.wait_joined(2)
        gate.open()
        answers = asking.wait()
        check(answers["a"], "a")
        check(answers["b"], "b")
        assert len(node.of("/api/embed")) == 2
        gate = Gate()
        gates.append(gate)
        asking.ask("first", input="first")
        gate.wait_reached()
        asking.ask("a", model="embedder", input="a")
        asking.ask("b", input="b")
        asking.wait_joined(2)
        node.next("/api/embed", answer({"error": "server busy"}, status=503))
        gate.open()
        answers = asking.wait()
        assert answers["a"].json()["model"] == "other" and answers["b"].status == 503
        gateway.wait_idle()


def test_one_bad_input_fails_only_its_owner():
    good = [f"good {i}" for i in range(7)]
    with held_behind_one() as (node, gateway, asking):
        for text in [*good[:3], "a bad one", *good[3:]]:
            asking.ask(text, input=text)
        asking.wait_joined(8)
        node.gates[0].open()
        answers = asking.wait()
        for text in good:
            check(answers[text], text)
        assert answers["a bad one"].status == 400 and answers["a bad one"].json() == BAD
        assert gateway.metric("mcpgate_batch_halved_total") == 3
        assert node.of("/api/embed")[-1].json()["model"] == MODEL


@pytest.mark.parametrize("encoding", [None, "base64"])
def test_v1(encoding):
    texts = [f"text {i}" for i in range(4)]
    more = {"encoding_format": encoding} if encoding else {}
    with Embedder(held=1) as node, Gateway(node) as gateway:
        asking = Asking(gateway)
        asking.ask("first", "/v1/embeddings", input="first", **more)
        node.gates[0].wait_reached()
        for text in [*texts, "bad"]:
            asking.ask(text, "/v1/embeddings", input=text, **more)
        asking.wait_joined(5)
        node.gates[0].open()
        answers = asking.wait()
        for text in texts:
            body = answers[text].json()
            [entry] = body["data"]
            assert entry["index"] == 0 and body["object"] == "list" and body["usage"].keys() == {"prompt_tokens",
                                                                                                 "total_tokens"}
            if encoding:
                values = list(struct.unpack("<4f", base64.b64decode(entry["embedding"])))
                assert values == list(struct.unpack("<4f", struct.pack("<4f", *vector(text))))
            else:
                assert entry["embedding"] == vector(text)
        assert answers["bad"].status == 400 and answers["bad"].json()["error"]["message"] == BAD["error"]
        gateway.wait_idle()


def test_other_options_are_other_calls():
    with held_behind_one() as (node, gateway, asking):
        bodies = [{"input": "a"}, {"input": "b"}, {"input": "c", "truncate": False}, {"input": "d", "truncate": False},
                  {"input": "e", "options": {"num_ctx": 8}}, {"input": "f", "dimensions": 2}]
        for body in bodies:
            asking.ask(body["input"], **body)
        asking.wait_joined(2)  # the others have calls of their own
        node.gates[0].open()
        answers = asking.wait()
        for body in bodies:
            check(answers[body["input"]], body["input"])
        for request in node.of("/api/embed"):
            body = request.json()
            ours = [b for b in bodies if b["input"] in inputs_of(request)]
            assert all({**b, "model": MODEL, "input": 0} == {**body, "input": 0} for b in ours)


def test_an_array_larger_than_a_call_is_split_and_put_together():
    texts = [f"text {i}" for i in range(25)]
    with Embedder() as node, Gateway(node, config={"batch": {"max_items": 10}}) as gateway:
        body = ask(gateway.http, "POST", "/api/embed", {"model": MODEL, "input": texts}).json()
        assert body["embeddings"] == [vector(t) for t in texts]
        assert body["prompt_eval_count"] == 50
        assert [len(call) for call in node.calls()] == [10, 10, 5]
        bad = ask(gateway.http, "POST", "/api/embed", {"model": MODEL, "input": [*texts, "bad"]})
        assert bad.status == 400 and bad.json() == BAD
        gateway.wait_idle()


def test_an_array_is_split_over_nodes():
    texts = [f"text {i}" for i in range(40)]
    with Embedder(held=1) as one, Embedder(held=1) as two, Gateway(one, two) as gateway:
        asking = Asking(gateway)
        asking.ask("a", input=texts)
        asking.ask("b", input="b")
        one.gates[0].wait_reached()
        two.gates[0].wait_reached()
        one.gates[0].open()
        two.gates[0].open()
        answers = asking.wait()
        check(answers["a"], *texts)
        check(answers["b"], "b")
        gateway.wait_idle()


def test_who_leaves_is_not_computed():
    with held_behind_one() as (node, gateway, asking):
        asking.ask("stays", input="stays")
        with HttpClient(gateway.http) as client:
            client.send(client.bytes_of("POST", "/api/embed", {"model": MODEL, "input": "leaves"}))
            asking.wait_joined(2)
        asking.wait_joined(1)
        asking.ask("too", input="too")
        asking.wait_joined(2)
        node.gates[0].open()
        answers = asking.wait()
        check(answers["stays"], "stays")
        assert sorted(node.calls()[1]) == ["stays", "too"]


def test_a_call_closes_when_its_last_member_leaves():
    with Embedder(held=2) as node, Gateway(node) as gateway:
        asking = Asking(gateway)
        asking.ask("first", input="first")
        node.gates[0].wait_reached()
        with McpClient(gateway.mcp) as client, HttpClient(gateway.http) as other:
            client.request(1, {"model": MODEL, "input": "a", "mcp": {"op": "embed"}})
            other.send(other.bytes_of("POST", "/api/embed", {"model": MODEL, "input": "b"}))
            asking.wait_joined(2)
            node.gates[0].open()
            node.gates[1].wait_reached()
            call = node.of("/api/embed")[1]
            client.close()
            gateway.wait_metric("mcpgate_exchanges_running", 1)  # the other
            assert not call.connection.gone.is_set()
        call.connection.wait_gone()
        gateway.wait_idle()


KEYS = [{"name": name, "key": f"key-of-{name}", **more} for name, more in (("x", {}), ("y", {}), ("z", {"rate": 2}))]


def with_key(name):
    return [("Authorization", f"Bearer key-of-{name}")]


def test_a_long_array_does_not_hold_up_others():
    array = [f"x {i}" for i in range(12)]
    with Embedder(held=1) as node, Gateway(node, config={"keys": KEYS, "batch": {"max_items": 4}}) as gateway:
        asking = Asking(gateway)
        asking.ask("first", headers=with_key("x"), input="first")
        node.gates[0].wait_reached()
        asking.ask("array", headers=with_key("x"), input=array)
        asking.wait_joined(12)
        asking.ask("single", headers=with_key("y"), input="y")
        asking.wait_joined(13)
        node.gates[0].open()
        answers = asking.wait()
        assert answers["array"].json()["embeddings"] == [vector(t) for t in array]
        check(answers["single"], "y")
        assert "y" in node.calls()[1] and len(node.calls()) == 5
        gateway.wait_idle()


def test_each_counts_for_the_rate_of_its_key():
    with Embedder(held=1) as node, Gateway(node, config={"keys": KEYS}) as gateway:
        asking = Asking(gateway)
        asking.ask("first", headers=with_key("x"), input="first")
        node.gates[0].wait_reached()
        for i in range(2):
            asking.ask(i, headers=with_key("z"), input=f"text {i}")
        asking.ask("x", headers=with_key("x"), input="x")
        asking.wait_joined(3)
        refused = ask(gateway.http, "POST", "/api/embed", {"model": MODEL, "input": "one more"}, with_key("z"))
        assert refused.status == 429 and int(refused.get("Retry-After")) >= 1
        node.gates[0].open()
        for name, response in asking.wait().items():
            assert response.status == 200, name
        assert len(node.calls()) == 2
        gateway.wait_idle()


def test_like_lengths_share_calls_where_a_node_pads():
    costs = ["--slots", "1", "--call-us", "5000", "--prompt-us", "20", "--pads", "1"]
    with Sim(*costs) as sim, Gateway(sim) as gateway:
        stop = threading.Event()

        def go_on(seed):
            lengths = random.Random(seed)
            with HttpClient(gateway.http) as client:
                for i in itertools.count():
                    if stop.is_set():
                        return
                    client.request("POST", "/api/embed", {"model": MODEL, "input": f"{i} " + "word " * lengths.randint(1, 400)})
                    assert client.response().status == 200
        threads = [threading.Thread(target=go_on, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        gateway.wait_metric("mcpgate_batch_padders", 1)
        stop.set()
        for thread in threads:
            thread.join()
        assert gateway.metric('mcpgate_batch_tokens_total{kind="inputs"}') > 0
        gateway.wait_idle()


def test_deadlines_of_members():
    with held_behind_one() as (node, gateway, asking), McpClient(gateway.mcp) as client:
        client.request(1, {"model": MODEL, "input": "late", "mcp": {"deadline_ms": 50}})
        client.request(2, {"model": MODEL, "input": "in time"})
        assert client.frame(1).error()[0] == "deadline_exceeded"
        node.gates[0].open()
        assert client.frame(2).json()["embeddings"] == [vector("in time")]
        assert all("late" not in call for call in node.calls())


def test_a_node_that_fails_fails_them_all():
    with held_behind_one() as (node, gateway, asking):
        asking.ask("a", input="a")
        asking.ask("b", input="b")
        asking.wait_joined(2)
        node.next("/api/embed", answer({"error": "server busy"}, status=503))
        node.gates[0].open()
        answers = asking.wait()
        assert [(answers[n].status, answers[n].json()) for n in "ab"] == [(503, {"error": "server busy"})] * 2
    with held_behind_one() as (node, gateway, asking):
        asking.ask("a", input="a")
        asking.ask("b", input="b")
        asking.wait_joined(2)
        node.next("/api/embed", [CLOSE])
        node.next("/api/embed", [CLOSE])  # it is sent once more
        node.gates[0].open()
        answers = asking.wait()
        assert {answers[n].status for n in "ab"} == {502}


def test_mcp_with_a_session_that_inherits():
    with held_behind_one() as (node, gateway, asking), McpClient(gateway.mcp) as client:
        for session in (1, 2):
            client.request(session, {"model": MODEL, "input": f"x {session}", "options": {"num_ctx": 8}})
        for session in (1, 2):
            assert client.frame(session).json()["embeddings"] == [vector(f"x {session}")]
        node.gates[0].open()
        client.request(1, {"input": "again", "mcp": {"continue": True}})
        assert client.frame(1).json()["embeddings"] == [vector("again")]
        assert node.of("/api/embed")[-1].json()["options"] == {"num_ctx": 8}


def test_openai_nodes_are_left_to_themselves_unless_configured():
    def embeddings(gates):
        return lambda request: v1_embedding(request, gates)
    for mode, calls in (("auto", 4), ("on", 2)):
        with OpenaiNode() as node, Gateway(node, config={"batch": {"embeddings": mode}}) as gateway:
            gate = Gate()
            node.always("/v1/embeddings", embeddings([gate]))
            asking = Asking(gateway)
            asking.ask("first", model="gemma3:270m", input="first")
            gate.wait_reached()
            for name in "abc":
                asking.ask(name, model="gemma3:270m", input=name)
            asking.wait_joined(3 if mode == "on" else 0)
            gate.open()
            for name, response in asking.wait().items():
                assert len(response.json()["embeddings"]) == 1, name
            assert len(node.of("/v1/embeddings")) == calls
            gateway.wait_idle()


def test_it_can_be_turned_off():
    with Embedder(held=3) as node, Gateway(node, config={"batch": {"embeddings": "off"}}) as gateway:
        asking = Asking(gateway)
        for name in "abc":
            asking.ask(name, input=name)
        wait_until(lambda: all(gate.reached.is_set() for gate in node.gates), "all are with the node")
        for gate in node.gates:
            gate.open()
        for name, response in asking.wait().items():
            check(response, name)


def test_a_stop_waits_for_what_is_shared():
    with Embedder(held=1) as node:
        gateway = Gateway(node)
        asking = Asking(gateway)
        asking.ask("first", input="first")
        node.gates[0].wait_reached()
        for name in "abcdef":
            asking.ask(name, input=name)
        asking.wait_joined(6)
        gateway.terminate()
        node.gates[0].open()
        for name, response in asking.wait().items():
            check(response, name)
        gateway.wait_exit()


def test_what_happened_is_told():
    with held_behind_one() as (node, gateway, asking), HttpClient(gateway.http) as client:
        asking.ask("a", input="a")
        client.send(client.bytes_of("POST", "/api/embed", {"model": MODEL, "input": "b"}, [("X-Request-Id", "one")]))
        asking.wait_joined(2)
        node.gates[0].open()
        asking.wait()
        gateway.wait_access(lambda line: line["id"] == "one")
        [told] = ask(gateway.admin, "GET", "/admin/requests/one").json()["requests"]
        events = told["events"]
        assert {"batch_joined", "batch_answered"} <= {event["event"] for event in events}
