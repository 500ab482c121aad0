# SPDX-License-Identifier: Apache-2.0
"""What real traffic was like: GET /admin/record and mcpgate record. Sizes, times and keyed hashes; no text, key or address."""
import json
import os
import re
import signal
import subprocess

import pytest

from cli import BIN, bad, environment
from gateway import Gateway
from http_bytes import HttpClient, ask, encode_json, wait_until
from mcp_client import McpClient
from node import Gate, answer, ndjson
from ollama_node import OllamaNode, generate_parts

GENERATE = {"model": "m", "prompt": "nobody may read this"}
KEYS = [{"name": "web", "key": "key-of-web", "tenant": "people"}, {"name": "app", "key": "key-of-app", "tenant": "people"},
        {"name": "night", "key": "key-of-night", "class": "batch"}]
HASH = re.compile(r"^[0-9a-f]{16}$")


class Recording:
    """GET /admin/record, read line by line."""

    def __init__(self, gateway, headers=()):
        self.client = HttpClient(gateway.admin)
        self.client.request("GET", "/admin/record", headers=headers)
        self.head = self.client.head()
        self.rest = b""
        if self.head.status == 200:
            self.first = self.line()

    def line(self):
        while b"\n" not in self.rest:
            self.rest += self.client.chunk()
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()


@pytest.fixture
def node():
    with OllamaNode() as node:
        yield node


@pytest.fixture
def gateway(node):
    with Gateway(node) as gateway:
        yield gateway
        gateway.wait_idle()


def test_a_request_is_a_line(gateway):
    with Recording(gateway) as recording:
        assert recording.head.get("Content-Type") == "application/x-ndjson"
        assert recording.first["mcpgate_record"] == 1 and re.match(r"^\d{4}-\d\d-\d\dT.*Z$", recording.first["started"])
        response = ask(gateway.http, "POST", "/api/generate", GENERATE)
        last = response.lines()[-1]
        line = recording.line()
        assert list(line)[:6] == ["at_us", "op", "face", "model", "class", "tenant"]
        assert (line["op"], line["face"], line["model"], line["class"], line["code"]) == ("generate", "http", "m", "normal", "ok")
        assert line["in_bytes"] == len(encode_json(GENERATE)) and line["out_bytes"] == len(response.body)
        assert (line["in_tokens"], line["out_tokens"]) == (last["prompt_eval_count"], last["eval_count"])
        assert 0 < line["first_us"] <= line["total_us"] and line["queue_us"] == 0 and line["at_us"] > 0
        assert HASH.match(line["tenant"]) and "session" not in line
        assert HASH.match(line["prefix"][0]) and line["prefix_bytes"] == [len(GENERATE["prompt"])]
        ask(gateway.http, "GET", "/api/tags")  # runs no model
        ask(gateway.http, "POST", "/api/show", {"model": "m"})
        with McpClient(gateway.mcp) as mcp:
            mcp.ask({"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, session=9)
            line = recording.line()
            assert (line["op"], line["face"], len(line["prefix"])) == ("chat", "mcp", 2) and HASH.match(line["session"])
        assert gateway.metric('mcpgate_recorded_total{result="written"}') == 2
    assert "nobody" not in json.dumps(line)


def test_hashes_tell_who_is_the_same_and_nothing_else(node):
    with Gateway(node, config={"keys": KEYS}) as gateway:
        def send(key, prompt, *headers):
            ask(gateway.http, "POST", "/api/chat", {"model": "m", "messages": [{"role": "user", "content": p} for p in prompt]},
                [("Authorization", f"Bearer key-of-{key}"), *headers])

        def lines(recording):
            send("web", ["one"], ("X-Mcpgate-Session", "s"))
            send("app", ["one", "two"], ("X-Mcpgate-Session", "s"), ("X-Mcpgate-Priority", "interactive"))
            send("night", ["other", "two"], ("X-Mcpgate-Session", "t"))
            return [recording.line() for _ in range(3)]

        with Recording(gateway) as refused:
            assert refused.head.status == 401
        with Recording(gateway, gateway.key_headers) as recording:
            web, app, night = lines(recording)
        assert web["tenant"] == app["tenant"] != night["tenant"]
        assert web["session"] == app["session"] != night["session"]
        assert (web["class"], app["class"], night["class"]) == ("normal", "interactive", "batch")
        assert web["prefix"] == app["prefix"][:1] and not set(night["prefix"]) & set(app["prefix"])
        assert app["prefix_bytes"][0] == web["prefix_bytes"][0] < app["prefix_bytes"][1]
        again = None

        def begins():
            nonlocal again
            again = Recording(gateway, gateway.key_headers)
            if again.head.status != 200:
                again.client.close()
            return again.head.status == 200

        wait_until(begins, "the first one is over")
        other = lines(again)
        again.client.close()
        hashes = lambda lines: {h for line in lines for h in [line["tenant"], line["session"], *line["prefix"]]}
        assert not hashes(other) & hashes([web, app, night])
        everything = json.dumps(other + [web, app, night])
        assert not re.search(r"one|two|people|web|night|127\.0|key-", everything)


def test_what_went_wrong_has_its_code(gateway, node):
    gate = Gate()
    with Recording(gateway) as recording:
        ask(gateway.http, "POST", "/api/generate", {"model": "nowhere", "prompt": "p"})
        line = recording.line()
        assert (line["code"], line["model"], line["out_tokens"], line["first_us"]) == ("unknown_model", "nowhere", 0, 0)
        node.next("/api/generate", answer({"error": "no"}, 400))
        ask(gateway.http, "POST", "/api/generate", GENERATE)
        assert recording.line()["code"] == "bad_request"
        node.next("/api/generate", ndjson(generate_parts("m")[0], gate))
        with HttpClient(gateway.http) as client:
            client.request("POST", "/api/generate", GENERATE)
            client.head()
            client.chunk()
        line = recording.line()
        assert (line["code"], line["out_tokens"], "in_tokens" in line) == ("cancelled", 1, False)
        gate.open()


def test_one_at_a_time_and_none_without_its_reader(gateway):
    with Recording(gateway) as recording:
        with Recording(gateway) as second:
            assert second.head.status == 409
            second.client.finish(second.head)
            assert "runs already" in second.head.json()["error"]
        assert "runs already" in bad(1, "record", "--admin", "%s:%d" % gateway.admin)
        ask(gateway.http, "POST", "/api/generate", GENERATE)
        assert recording.line()["model"] == "m"

    def begins():
        with Recording(gateway) as next_one:
            return next_one.head.status == 200

    wait_until(begins, "the first one's reader has left")
    before = gateway.metric('mcpgate_recorded_total{result="written"}')
    ask(gateway.http, "POST", "/api/generate", GENERATE)
    wait_until(begins, "nobody reads")
    assert gateway.metric('mcpgate_recorded_total{result="written"}') == before
    assert ask(gateway.admin, "HEAD", "/admin/record").status == 405


def start(gateway, *args, **options):
    return subprocess.Popen([BIN, "record", "--admin", "%s:%d" % gateway.admin, *args], stderr=subprocess.PIPE, text=True,
                            env=environment(), **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_the_command_line(gateway, tmp_path, number):
    path = tmp_path / "recorded.ndjson"
    path.write_text("something old\n")
    recording = start(gateway, "-o", str(path))
    wait_until(lambda: "mcpgate_record" in path.read_text(), "it has begun")
    for _ in range(3):
        ask(gateway.http, "POST", "/api/generate", GENERATE)
    wait_until(lambda: len(path.read_text().splitlines()) == 4, "three lines")
    os.kill(recording.pid, number)
    _, errors = recording.communicate(timeout=20)
    assert recording.returncode == 0 and re.fullmatch(r"mcpgate: 3 requests in \S+, 0 missing\n", errors)
    assert [json.loads(line)["model"] for line in path.read_text().splitlines()[1:]] == ["m"] * 3


def test_for_a_time_on_standard_output(gateway):
    recording = start(gateway, "--for", "1s", stdout=subprocess.PIPE)
    out, errors = recording.communicate(timeout=20)
    assert recording.returncode == 0 and json.loads(out)["mcpgate_record"] == 1
    assert errors == "mcpgate: 0 requests in 1s, 0 missing\n"


def test_the_gateway_ends_first(node, tmp_path):
    path = tmp_path / "r"
    with Gateway(node) as gateway:
        recording = start(gateway, "-o", str(path))
        wait_until(path.exists, "it has begun")
        ask(gateway.http, "POST", "/api/generate", GENERATE)
        wait_until(lambda: len(path.read_text().splitlines()) == 2, "a line")
    _, errors = recording.communicate(timeout=20)
    assert recording.returncode == 1 and errors.splitlines()[-1] == "mcpgate: the gateway has ended"
    assert path.read_text().endswith("}\n")


def test_what_is_wrong_is_said(gateway, tmp_path):
    admin = "%s:%d" % gateway.admin
    for time in ("10", "m", "1w", "-1s", "0s", "99999999s", "1ms", ""):
        assert "expected a time such as 90s" in bad(2, "record", "--for", time)
    assert str(tmp_path) in bad(1, "record", "--admin", admin, "-o", str(tmp_path))
    assert "no gateway there" in bad(4, "record", "--admin", "127.0.0.1:1")
    assert "no admin listener" in bad(4, "record", "--admin", "%s:%d" % gateway.http)
    old = tmp_path / "old"
    old.write_text("old\n")
    bad(4, "record", "--admin", "127.0.0.1:1", "-o", str(old))
    assert old.read_text() == "old\n"
