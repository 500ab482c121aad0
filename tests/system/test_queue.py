# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for a slot of a node: their order, what their clients are told, and that slots come back."""
import json
import pathlib
import re
import subprocess
import threading

import pytest

from cli import BIN, good
from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_negotiated import ACK, RESPONSE, Negotiated
from node import RESET, Gate, answer, ndjson
from ollama_node import OllamaNode, generate_parts
from openai_node import MODEL, OpenaiNode

GENERATE = {"model": "m", "prompt": "a"}
PARTS = generate_parts("m")
WAITING = "mcpgate_queue_waiting"
USED = "mcpgate_slots_used"


def limited(*nodes, slots=1, **config):
    return Gateway(config={"nodes": [{"url": node.url, "name": node.name, "slots": slots} for node in nodes], **config})


def held(gate):
    """An answer that waits for the gate."""
    return ndjson(PARTS[0], gate, *PARTS[1:])


@pytest.fixture
def busy():
    """A gateway whose only slot is taken by a request, until its gate opens."""
    gate = Gate()
    with OllamaNode() as node, limited(node, queue={"cancel_grace": "0ms"}) as gateway:
        node.next("/api/generate", held(gate))
        with Negotiated(gateway.mcp, "ack", "cancel") as first:
            first.request(1, GENERATE)
            gate.wait_reached()
            yield gateway, node, gate, first
            gate.open()
            node.forget()
        gateway.wait_idle()
        gateway.wait_metric(USED, 0)
        assert gateway.metric(WAITING) == 0


def states(client, session):
    """Of the ACKs until the first part, which is returned too."""
    told = []
    while (frame := client.frame(session)).opcode == ACK:
        told.append(frame.json())
    return told, frame


def test_a_request_waits_for_a_slot_and_its_client_is_told(busy):
    gateway, node, gate, first = busy
    assert first.frame(1).json()["state"] == "running"
    with Negotiated(gateway.mcp, "ack") as second:
        second.request(1, GENERATE)
        ack = second.frame(1).json()
        assert (ack["state"], ack["position"], ack["depth"], "node" in ack) == ("queued", 1, 1, False)
        assert (gateway.metric(WAITING), gateway.metric(USED), len(node.of("/api/generate"))) == (1, 1, 1)
        gate.open()
        told, part = states(second, 1)
        assert [ack["state"] for ack in told] == ["running"]
        assert (told[0]["node"], told[0]["attempt"]) == (node.name, 1)
        assert "position" not in told[0]
        assert part.opcode == RESPONSE and part.json() == PARTS[0]
    assert gateway.metric('mcpgate_queue_wait_seconds_count{class="normal"}') == 2


def test_a_position_that_changes_is_told_within_about_a_second(busy):
    gateway, _, _, _ = busy
    with Negotiated(gateway.mcp, "ack", "cancel") as one, Negotiated(gateway.mcp, "ack") as two:
        one.request(1, GENERATE)
        assert one.frame(1).json()["position"] == 1
        two.request(1, GENERATE)
        assert two.frame(1).json()["position"] == 2
        one.cancel(1)
        ack = two.frame(1)
        assert (ack.opcode, ack.json()["state"], ack.json()["position"]) == (ACK, "queued", 1)


def test_those_of_one_tenant_are_served_in_the_order_they_came(busy):
    gateway, node, gate, _ = busy
    order, clients = [], []
    for number in range(4):
        client = HttpClient(gateway.http)
        clients.append(client)
        client.request("POST", "/api/generate", {**GENERATE, "prompt": str(number)})
        gateway.wait_metric(WAITING, number + 1)
    gate.open()
    for client in clients:
        assert client.response().lines() == PARTS
        client.close()
    order = [request.json()["prompt"] for request in node.of("/api/generate")[1:]]
    assert order == ["0", "1", "2", "3"]


def test_the_queue_can_be_looked_at(busy):
    gateway, node, _, _ = busy
    with HttpClient(gateway.http) as client:
        client.request("POST", "/v1/chat/completions", {"model": "m", "messages": []})
        gateway.wait_metric(WAITING, 1)
        page = ask(gateway.admin, "GET", "/admin/queue").json()
        assert (page["schedules"], page["waiting"], page["running"], page["requests_left_out"]) == (True, 1, 1, 0)
        queued, running = page["requests"]
        assert (queued["state"], queued["position"], queued["model"], queued["tenant"], queued["class"]) == (
            "queued", 1, "m:latest", "127.0.0.1", "normal")
        assert (running["state"], running["node"]) == ("running", node.name) and running["ms"] >= queued["ms"] >= 0
        (shown,) = page["nodes"]
        assert shown["name"] == node.name
        assert [(m["model"], m["running"], m["slots"]) for m in shown["models"] if m["running"]] == [("m:latest", 1, 1)]


def test_the_queue_on_the_command_line(busy):
    gateway, node, gate, _ = busy
    admin = "%s:%d" % gateway.admin
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", GENERATE)
        gateway.wait_metric(WAITING, 1)
        title, queued, running, _, sums = good("queue", "--admin", admin).splitlines()
        assert title.split() == ["STATE", "MODEL", "TENANT", "CLASS", "NODE", "SINCE", "POSITION", "ETA"]
        assert queued.split()[:5] == ["queued", "m:latest", "127.0.0.1", "normal", "-"]
        assert running.split()[0] == "running" and node.name in running.split()
        assert sums == "1 waiting, 1 running"
        assert json.loads(good("queue", "--json", "--admin", admin))["waiting"] == 1
        watching = subprocess.Popen([BIN, "queue", "--watch", "--admin", admin], stdout=subprocess.PIPE, text=True)
        try:
            for wanted in ("1 waiting, 1 running\n", "0 waiting, 0 running\n"):
                while watching.stdout.readline() != wanted:
                    pass
                gate.open()
        finally:
            watching.terminate()
            watching.wait()
            watching.stdout.close()
        assert client.response().lines() == PARTS


QUEUED = {"X-Mcpgate-Queue-Position", "X-Mcpgate-Queue-Depth", "X-Mcpgate-Queue-Wait"}


def test_an_answer_tells_that_its_request_waited(busy):
    gateway, _, gate, _ = busy
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", GENERATE, [("X-Mcpgate-Trace", "1")])
        gateway.wait_metric(WAITING, 1)
        gate.open()
        response = client.response()
        assert response.get("X-Mcpgate-Queue-Position") == response.get("X-Mcpgate-Queue-Depth") == "1"
        assert int(response.get("X-Mcpgate-Queue-Wait")) >= 0
        assert response.get("Server-Timing").startswith("queue;dur=")
        line = gateway.wait_access(lambda line: line["face"] == "http")
        assert int(line["queue_us"]) // 1000 == int(response.get("X-Mcpgate-Queue-Wait"))
        assert not {name for name, _ in ask(gateway.http, "POST", "/api/generate", GENERATE).headers} & QUEUED


CHAT = {"model": "m", "messages": [], "stream": True}


@pytest.fixture
def talkative():
    """As busy; who waits for events hears of it soon."""
    gate = Gate()
    with OllamaNode() as node, limited(node, queue={"comments": "50ms"}) as gateway:
        node.next("/api/generate", held(gate))
        with HttpClient(gateway.http) as first:
            first.request("POST", "/api/generate", GENERATE)
            gate.wait_reached()
            yield gateway, node, gate
        gateway.wait_idle()


def test_who_waits_for_events_is_told_by_comments(talkative):
    gateway, _, gate = talkative
    alone = None
    with HttpClient(gateway.http) as client, HttpClient(gateway.http) as other:
        client.request("POST", "/v1/chat/completions", CHAT)
        response = client.head()
        assert (response.status, response.get("Content-Type")) == (200, "text/event-stream")
        assert re.match(rb": queued position=1( eta=\d+s)?\n\n$", client.chunk())
        gate.open()
        client.finish(response)
        events = [event for event in response.events() if not event.startswith(b": ")]
        other.request("POST", "/v1/chat/completions", CHAT)
        alone = other.response()
        assert alone.get("X-Mcpgate-Queue-Wait") is None
        assert [json.loads(e[6:])["choices"] for e in events[:-1]] == [json.loads(e[6:])["choices"] for e in alone.events()[:-1]]
        assert events[-1] == b"data: [DONE]"


def test_an_error_behind_a_comment_is_an_event(talkative):
    gateway, node, gate = talkative
    node.next("/v1/chat/completions", answer({"error": {"message": "too long", "type": "x"}}, 400))
    with HttpClient(gateway.http) as client:
        client.request("POST", "/v1/chat/completions", CHAT)
        response = client.head()
        assert client.chunk().startswith(b": queued")
        gate.open()
        client.finish(response)
        assert response.complete and b"too long" in response.events()[-1]
    assert gateway.wait_access(lambda line: line["path"] == "/v1/chat/completions")["status"] == "200"


def test_lines_cannot_carry_comments(talkative):
    gateway, _, gate = talkative
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", GENERATE)
        gateway.wait_metric(WAITING, 1)
        gateway.wait_metric(WAITING, 1)
        gate.open()
        assert client.response().lines() == PARTS


@pytest.mark.parametrize("header, value", [("Priority", "urgent"), ("Deadline", "soon"), ("Deadline", "-1"), ("Session", ""),
                                           ("Session", "a b"), ("Session", "x" * 65)])
def test_a_wish_that_cannot_be_read_is_refused(gateway, header, value):
    refused = ask(gateway.http, "POST", "/v1/chat/completions", CHAT, [(f"X-Mcpgate-{header}", value)])
    assert refused.status == 400 and f"X-Mcpgate-{header}: expected" in refused.json()["error"]["message"]


def test_a_deadline_in_a_header(busy):
    gateway, _, _, _ = busy
    assert ask(gateway.http, "POST", "/api/generate", GENERATE, [("x-mcpgate-deadline", "100")]).status == 504


def test_who_is_in_a_hurry_comes_first(busy):
    gateway, node, gate, _ = busy
    clients = []
    for number, priority in enumerate(["batch", "normal", "Interactive"]):
        clients.append(HttpClient(gateway.http))
        clients[-1].request("POST", "/api/generate", {**GENERATE, "prompt": priority}, [("X-Mcpgate-Priority", priority)])
        gateway.wait_metric(WAITING, number + 1)
    gate.open()
    for client in clients:
        assert client.response().lines() == PARTS
        client.close()
    assert [request.json()["prompt"] for request in node.of("/api/generate")[1:]] == ["Interactive", "normal", "batch"]


def test_a_key_has_a_class_a_limit_and_a_rate():
    gate = Gate()
    keys = [{"name": "slow", "key": "key-slow", "class": "batch", "max_priority": "normal"},
            {"name": "fast", "key": "key-fast", "class": "interactive"}, {"name": "few", "key": "key-few", "rate": 1}]
    with OllamaNode() as node, limited(node, keys=keys) as gateway:
        def send(client, key, *headers):
            client.request("POST", "/api/generate", {**GENERATE, "prompt": key}, [("Authorization", f"Bearer {key}"), *headers])

        node.next("/api/generate", held(gate))
        clients = [HttpClient(gateway.http) for _ in range(4)]
        send(clients[0], "key-slow")
        gate.wait_reached()
        for number, (key, *headers) in enumerate([("key-slow", ("X-Mcpgate-Priority", "interactive")), ("key-fast",), ("key-few",)]):
            send(clients[number + 1], key, *headers)
            gateway.wait_metric(WAITING, number + 1)
        classes = {r["tenant"]: r["class"] for r in ask(gateway.admin, "GET", "/admin/queue", headers=gateway.key_headers).json()["requests"]
                   if r["state"] == "queued"}
        assert classes == {"slow": "normal", "fast": "interactive", "few": "normal"}
        with HttpClient(gateway.http) as more:
            send(more, "key-few")
            refused = more.response()
            assert refused.status == 429 and 1 <= int(refused.get("Retry-After")) <= 60
        gate.open()
        for client in clients:
            assert client.response().lines() == PARTS
            client.close()


def test_a_session_goes_to_one_node():
    with OpenaiNode() as one, OpenaiNode() as two, limited(one, two, slots=4) as gateway:
        for session in ("a", "b", "c", "d"):
            for _ in range(3):
                body = {"model": MODEL, "messages": [{"role": "user", "content": session}]}
                assert ask(gateway.http, "POST", "/v1/chat/completions", body, [("X-Mcpgate-Session", session)]).status == 200
        of = [{r.json()["messages"][0]["content"] for r in node.of("/v1/chat/completions")} for node in (one, two)]
        assert of[0] | of[1] == {"a", "b", "c", "d"} and not of[0] & of[1]


def test_a_conversation_goes_where_it_was():
    with OllamaNode() as one, OllamaNode() as two, limited(one, two, slots=4) as gateway:
        messages = {name: [{"role": "user", "content": name * 2000}] for name in "abcd"}
        for _ in range(4):
            for said in messages.values():  # the other node has had as much, or less
                assert ask(gateway.http, "POST", "/api/chat", {"model": "m", "messages": said}).status == 200
                said += [{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
        of = [{r.json()["messages"][0]["content"][0] for r in node.of("/api/chat")} for node in (one, two)]
        assert of[0] | of[1] == set("abcd") and not of[0] & of[1] and all(of)


def test_slots_may_be_found_out():
    with OllamaNode() as node, limited(node, slots="auto") as gateway:
        for _ in range(3):
            assert ask(gateway.http, "POST", "/api/generate", GENERATE).lines() == PARTS
        (shown,) = ask(gateway.admin, "GET", "/admin/queue").json()["nodes"]
        assert [m["slots"] for m in shown["models"] if m["model"] == "m:latest"][0] >= 1


def test_one_that_waits_can_be_cancelled_and_leaves_the_others_their_turn(busy):
    gateway, node, gate, _ = busy
    with Negotiated(gateway.mcp, "ack", "cancel") as one, Negotiated(gateway.mcp, "ack") as two:
        one.request(1, GENERATE)
        one.frame(1)
        two.request(1, GENERATE)
        two.frame(1)
        one.cancel(1)
        assert one.frame(1).json()["code"] == "cancelled"
        gateway.wait_metric(WAITING, 1)
        gate.open()
        assert states(two, 1)[1].json() == PARTS[0]
    assert len(node.of("/api/generate")) == 2


def test_a_client_that_leaves_the_queue_takes_no_slot(busy):
    gateway, node, gate, _ = busy
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", GENERATE)
        gateway.wait_metric(WAITING, 1)
    gateway.wait_metric(WAITING, 0)
    gate.open()
    gateway.wait_metric(USED, 0)
    assert len(node.of("/api/generate")) == 1


def test_a_deadline_passes_in_the_queue(busy):
    gateway, _, _, _ = busy
    with Negotiated(gateway.mcp) as client:
        client.request(1, {**GENERATE, "mcp": {"deadline_ms": 150}})
        assert client.frame(1).json()["code"] == "deadline_exceeded"
    gateway.wait_metric(WAITING, 0)


def test_what_runs_no_model_waits_for_nobody(busy):
    gateway, _, _, _ = busy
    assert ask(gateway.http, "GET", "/api/tags").status == 200
    assert ask(gateway.http, "POST", "/api/show", {"model": "m"}).status == 200


def test_a_cancelled_call_keeps_its_slot_for_the_grace():
    gate = Gate()
    with OllamaNode() as node, limited(node, queue={"cancel_grace": "60s"}) as gateway:
        node.next("/api/generate", held(gate))
        with HttpClient(gateway.http) as client:
            client.request("POST", "/api/generate", GENERATE)
            gate.wait_reached()
        gateway.wait_idle()
        with Negotiated(gateway.mcp, "ack") as client:
            client.request(1, GENERATE)
            assert client.frame(1).json()["state"] == "queued"


def test_a_full_queue_refuses_and_says_when_to_come_again():
    gate = Gate()
    with OllamaNode() as node, limited(node, queue={"per_tenant": 1}) as gateway:
        node.next("/api/generate", held(gate))
        with HttpClient(gateway.http) as one, HttpClient(gateway.http) as two, Negotiated(gateway.mcp, "ack") as mcp:
            one.request("POST", "/api/generate", GENERATE)
            gate.wait_reached()
            two.request("POST", "/api/generate", GENERATE)
            gateway.wait_metric(WAITING, 1)
            refused = ask(gateway.http, "POST", "/v1/chat/completions", {"model": "m", "messages": []})
            assert refused.status == 503 and int(refused.get("Retry-After")) >= 1
            assert "wait for this model" in refused.json()["error"]["message"]
            mcp.request(1, GENERATE)
            error = mcp.frame(1).json()
            assert (error["code"], error["retryable"]) == ("queue_full", True)
            assert error["retry_after_ms"] >= 1000
            assert gateway.metric('mcpgate_queue_refused_total{reason="queue_full"}') == 2
            gate.open()
            assert one.response().lines() == two.response().lines() == PARTS


def test_a_call_that_fails_gives_its_slot_back():
    with OllamaNode() as node, limited(node) as gateway:
        node.next("/api/generate", answer({"error": "broken"}, 500), ndjson(PARTS[0], RESET))
        for status in (500, 200):
            assert ask(gateway.http, "POST", "/api/generate", GENERATE).status == status
        assert ask(gateway.http, "POST", "/api/generate", GENERATE).lines() == PARTS
        gateway.wait_metric(USED, 0)


def test_two_nodes_share_what_comes_and_one_that_goes_away_passes_its_share_on():
    gate = Gate()
    with OllamaNode() as one, OllamaNode() as two, limited(one, two) as gateway:
        clients = [HttpClient(gateway.http) for _ in range(3)]
        for node in (one, two):
            node.always("/api/generate", held(gate))
        for client in clients:
            client.request("POST", "/api/generate", GENERATE)
        gateway.wait_metric(WAITING, 1)
        assert gateway.metric(USED) == 2
        for node in (one, two):
            node.wait_request("/api/generate")
        gate.open()
        for client in clients:
            assert client.response().lines() == PARTS
            client.close()
        two.stop()
        for _ in range(3):
            assert ask(gateway.http, "POST", "/api/generate", GENERATE).lines() == PARTS
        gateway.wait_metric(USED, 0)


def test_slots_change_with_a_reload():
    gate = Gate()
    with OllamaNode() as node, limited(node) as gateway:
        node.always("/api/generate", held(gate))
        clients = [HttpClient(gateway.http) for _ in range(2)]
        for client in clients:
            client.request("POST", "/api/generate", GENERATE)
        gateway.wait_metric(WAITING, 1)
        path = pathlib.Path(gateway.folder.name) / "mcpgate.yaml"
        path.write_text(path.read_text().replace('"slots": 1', '"slots": 2'))
        assert ask(gateway.admin, "POST", "/admin/reload").json() == {"status": "reloaded", "changed": ["nodes"]}
        gateway.wait_metric(WAITING, 0)
        gate.open()
        for client in clients:
            assert client.response().lines() == PARTS
            client.close()


def test_a_gateway_that_stops_lets_those_that_wait_have_their_turn():
    gate = Gate()
    with OllamaNode() as node, limited(node) as gateway, HttpClient(gateway.http) as one, HttpClient(gateway.http) as two:
        node.next("/api/generate", held(gate))
        one.request("POST", "/api/generate", GENERATE)
        gate.wait_reached()
        two.request("POST", "/api/generate", GENERATE)
        gateway.wait_metric(WAITING, 1)
        gateway.terminate()
        threading.Timer(0.2, gate.open).start()
        assert one.response().lines() == two.response().lines() == PARTS
        gateway.wait_exit()


def test_many_clients_on_many_threads_all_get_their_answer():
    with OllamaNode() as node, limited(node, slots=3) as gateway:
        most, running, lock = 0, 0, threading.Lock()

        def watched(request):
            nonlocal most, running
            with lock:
                running += 1
                most = max(most, running)

            def done(_):
                nonlocal running
                with lock:
                    running -= 1
            return ndjson(PARTS[0], done, *PARTS[1:])

        node.always("/api/generate", watched)

        def work(results):
            with HttpClient(gateway.http) as client:
                for _ in range(10):
                    client.request("POST", "/api/generate", GENERATE)
                    results.append(client.response().lines())
        results = []
        threads = [threading.Thread(target=work, args=(results,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 160 and all(lines == PARTS for lines in results)
        assert most <= 3
        gateway.wait_metric(USED, 0)
        wait_until(lambda: gateway.metric(WAITING) == 0, "nothing waits")
