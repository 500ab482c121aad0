# SPDX-License-Identifier: Apache-2.0
"""The simulated node, asked directly: what it serves, what its profiles cost, and what goes wrong on demand."""
import os
import re
import signal
import subprocess
import time

import pytest

from http_bytes import HttpClient, encode_json, wait_until
from sim import Sim, body_of, encoded, words

NATIVE = ["/api/generate", "/api/chat"]
V1 = ["/v1/completions", "/v1/chat/completions"]
STREAM_TYPE = {**dict.fromkeys(NATIVE, "application/x-ndjson"), **dict.fromkeys(V1, "text/event-stream")}


@pytest.fixture(scope="module")
def the_echo():
    with Sim("--models", "m,other:8b") as sim:
        yield sim


@pytest.fixture
def echo(the_echo):
    """Profile echo; afterwards no call is left."""
    yield the_echo
    def over():
        stats = the_echo.stats()
        return stats["connections"] == 1  # that of this question
    wait_until(over, lambda: the_echo.stats())


def request_of(path, **more):
    text = {"messages": [{"role": "user", "content": "a"}]} if "chat" in path else {"prompt": "a"}
    return {"model": "m", **text, **more}


# --- what it serves --------------------------------------------------------------------------------------------------
def test_it_says_that_it_is_simulated(echo):
    assert echo.ask("GET", "/api/version").json() == {"version": "0.33.0", "simulated": True}
    assert echo.stats()["simulated"] is True
    assert echo.ask("GET", "/").body == b"Ollama is running"
    head = echo.ask("HEAD", "/")
    assert (head.status, head.body, head.get("Content-Length")) == (200, b"", "17")
    assert echo.lines[0].startswith("mcpgate ") and echo.lines[2] == "sim    profile echo: m, other:8b"


def test_the_catalogue_in_all_its_forms(echo):
    tags = echo.ask("GET", "/api/tags").json()["models"]
    assert [model["name"] for model in tags] == ["m:latest", "other:8b"]
    assert all(len(model["digest"]) == 64 and model["size"] > 0 for model in tags)
    assert tags[0]["digest"] != tags[1]["digest"]
    assert [model["id"] for model in echo.ask("GET", "/v1/models").json()["data"]] == ["m:latest", "other:8b"]
    assert echo.loaded() == ["m:latest", "other:8b"]
    show = echo.ask("POST", "/api/show", {"model": "m"}).json()
    assert show["details"]["format"] == "gguf" and show["capabilities"] == ["completion", "embedding"]


@pytest.mark.parametrize("path", NATIVE)
def test_a_native_stream_has_32_parts_and_an_end(echo, path):
    response = echo.ask("POST", path, request_of(path))
    parts = response.lines()
    assert (response.get("Content-Type"), len(response.chunks)) == (STREAM_TYPE[path], 33)
    assert [part["done"] for part in parts] == [False] * 32 + [True]
    assert (parts[-1]["eval_count"], parts[-1]["done_reason"]) == (32, "stop")
    whole = echo.ask("POST", path, request_of(path, stream=False)).json()
    assert words([whole]) == words(parts)
    assert re.fullmatch(r"( [a-z]{3}){32}", words(parts))


@pytest.mark.parametrize("path", V1)
def test_a_v1_stream_has_its_mark(echo, path):
    body = request_of(path, stream=True, max_tokens=3)
    response = echo.ask("POST", path, body)
    events = encoded(response.events())
    assert response.get("Content-Type") == STREAM_TYPE[path]
    assert len(events) == 5 and events[-1] == "[DONE]"
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None, None, None, "length"]
    events = encoded(echo.ask("POST", path, {**body, "stream_options": {"include_usage": True}}).events())
    assert events[-2]["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    whole = echo.ask("POST", path, request_of(path, max_tokens=3)).json()
    choice = whole["choices"][0]
    assert re.fullmatch(r"( [a-z]{3}){3}", choice["message"]["content"] if "chat" in path else choice["text"])
    assert whole["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("count", [1, 2, 1024, 1025, 3000])
def test_as_many_parts_as_asked_for(echo, count):
    parts = echo.ask("POST", "/api/generate", body_of(num_predict=count)).lines()
    assert (len(parts), parts[-1]["eval_count"], parts[-1]["done_reason"]) == (count + 1, count, "length")


def test_embeddings_follow_from_their_text(echo):
    def embed(given, **more):
        return echo.ask("POST", "/api/embed", {"model": "m", "input": given, **more}).json()
    pair = embed(["one", "two"])
    assert len(pair["embeddings"]) == 2 and pair["embeddings"][0] != pair["embeddings"][1]
    assert embed("two")["embeddings"] == [pair["embeddings"][1]]
    assert [len(vector) for vector in pair["embeddings"]] == [64, 64]
    assert abs(sum(x * x for x in pair["embeddings"][0]) - 1) < 0.001
    assert len(embed("two", dimensions=8)["embeddings"][0]) == 8
    assert embed([])["embeddings"] == []
    old = echo.ask("POST", "/api/embeddings", {"model": "m", "prompt": "two"}).json()
    assert old == {"embedding": pair["embeddings"][1]}
    assert echo.ask("POST", "/api/embeddings", {"model": "m"}).json() == {"embedding": []}


@pytest.mark.parametrize("path,body,status,text", [
    ("/api/generate", b"", 400, "missing request body"),
    ("/api/generate", b"{", 400, "the body is no JSON object"),
    ("/api/generate", {}, 400, "model is required"),
    ("/api/generate", {"model": "x", "prompt": "a"}, 404, "model 'x' not found"),
    ("/api/embed", {"model": "x", "input": "a"}, 404, 'model "x" not found, try pulling it first'),
    ("/api/embed", {"model": "m", "input": [1]}, 400, "invalid input type"),
    ("/api/embed", {"model": "m", "input": "a" * 20000, "truncate": False}, 400,
     "the input length exceeds the context length"),
    ("/api/show", {"model": "x"}, 404, "model 'x' not found"),
    ("/v1/chat/completions", {"model": "x", "messages": [{}]}, 404, "model 'x' not found")])
def test_errors_have_ollamas_texts(echo, path, body, status, text):
    response = echo.ask("POST", path, body)
    said = response.json()["error"]
    assert (response.status, said["message"] if path.startswith("/v1/") else said) == (status, text)


@pytest.mark.parametrize("name", ["m", "m:latest", "M:LATEST", "library/m", "m\\u003alatest", "other:8b", "OTHER:8B"])
def test_names_of_models_as_ollama_reads_them(echo, name):
    body = b'{"model":"%s","prompt":"a"}' % name.encode()
    assert echo.ask("POST", "/api/generate", body).lines()[-1]["done"] is True


def test_routes_it_does_not_have(echo):
    response = echo.ask("POST", "/api/push", {"model": "m"})
    assert (response.status, response.body) == (404, b"404 page not found")
    response = echo.ask("GET", "/api/generate")
    assert (response.status, response.body) == (405, b"405 method not allowed")


# --- HTTP ------------------------------------------------------------------------------------------------------------
def test_requests_on_one_connection_are_answered_in_order(echo):
    with HttpClient(echo.address) as client:
        bodies = [body_of(num_predict=n) for n in (1, 5, 2)]
        client.send(b"".join(client.bytes_of("POST", "/api/generate", body) for body in bodies))
        assert [len(client.response("POST").lines()) for _ in bodies] == [2, 6, 3]


def test_a_request_in_single_bytes(echo):
    with HttpClient(echo.address) as client:
        client.send_each_byte(client.bytes_of("POST", "/api/generate", body_of(num_predict=2)))
        assert len(client.response("POST").lines()) == 3


def test_a_chunked_request_that_asks_to_continue(echo):
    with HttpClient(echo.address) as client:
        client.request("POST", "/api/generate", b"", [("Transfer-Encoding", "chunked"), ("Expect", "100-continue")])
        assert client.head().status == 100
        for piece in (encode_json(body_of(num_predict=2))[:9], encode_json(body_of(num_predict=2))[9:]):
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert len(client.response("POST").lines()) == 3


def test_http_1_0_gets_a_stream_until_the_end_of_the_connection(echo):
    with HttpClient(echo.address) as client:
        client.request("POST", "/api/generate", body_of(num_predict=2), version="HTTP/1.0")
        response = client.response("POST")
        assert (response.framing, len(response.lines())) == ("close", 3)


@pytest.mark.parametrize("data, first", [
    (b"\x16\x03\x01\r\n\r\n", "400 Bad Request"),
    (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501 Not Implemented"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000, "431 Request Header Fields Too Large")])
def test_what_is_no_http_is_refused_as_by_the_gateway(echo, gateway, data, first):
    for address in (echo.address, gateway.http):
        with HttpClient(address) as client:
            client.send(data)
            response = client.response("POST")
            assert (response.get("Connection"), response.get("Content-Type")) == ("close", "text/plain; charset=utf-8")
            assert response.body.decode().startswith(first + ": ") and response.status == int(first[:3])
            assert client.closed() == b""


def test_a_body_that_breaks_is_answered_in_ollamas_words(echo):
    with HttpClient(echo.address) as client:
        client.send(b"POST /api/generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        response = client.response("POST")
        assert (response.status, response.get("Connection"), list(response.json())) == (400, "close", ["error"])
        assert client.closed() == b""


def test_a_client_that_does_not_read_costs_little_memory():
    with Sim() as sim, HttpClient(sim.address, receive_buffer=4096) as client:
        client.request("POST", "/api/generate", body_of(num_predict=1 << 20))
        spent = [0]
        def rests():  # it has written as much as it is going to
            spent.append(open(f"/proc/{sim.process.pid}/stat").read().split()[13:15])
            return len(spent) > 10 and spent[-1] == spent[-5]
        wait_until(rests, "it stops writing", step_s=0.02)
        status = open(f"/proc/{sim.process.pid}/status").read()
        assert int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) < 128 * 1024
        assert client.head().status == 200
        assert [client.chunk()[-2:] for _ in range(1000)] == [b"}\n"] * 1000
        client.close()
        sim.wait_stats(cancelled=1)


# --- parts apart -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", [*NATIVE, *V1])
def test_parts_apart_are_the_same_parts(echo, path):
    more = {"max_tokens": 5} if path in V1 else {"options": {"num_predict": 5}}
    plain = echo.ask("POST", path, request_of(path, stream=True, **more))
    for gap in (0, 1):
        options = {**more.get("options", {}), "sim_gap_ms": gap}
        apart = echo.ask("POST", path, request_of(path, stream=True, **{**more, "options": options}))
        assert (apart.body, apart.chunks) == (plain.body, plain.chunks)


def test_a_gap_takes_its_time():
    with Sim("--gap", "20") as sim:
        began = time.monotonic()
        with HttpClient(sim.address) as client:
            client.request("POST", "/api/generate", body_of(num_predict=5))
            client.head()
            client.chunk()
            assert time.monotonic() - began < 5
            client.finish(type(sim.ask("GET", "/"))(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
        assert time.monotonic() - began >= 0.1
        began = time.monotonic()
        sim.generate(options={"num_predict": 5, "sim_gap_ms": 0})
        assert time.monotonic() - began < 5


def test_a_client_that_leaves_between_parts_is_counted():
    with Sim("--gap", "1000") as sim:
        for leave in (HttpClient.close, HttpClient.reset, HttpClient.half_close):
            with HttpClient(sim.address) as client:
                client.request("POST", "/api/generate", body_of())
                client.head()
                before = sim.stats()["cancelled"]
                leave(client)
                sim.wait_stats(cancelled=before + 1, connections=1)


# --- profile seed ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def seed():
    with Sim("--profile", "seed") as sim:
        yield sim


@pytest.mark.parametrize("items", [1, 8, 32])
def test_seed_costs_what_its_formula_says(seed, items):
    began = time.monotonic()
    answer = seed.ask("POST", "/api/embed", {"model": "m", "input": ["a"] * items}).json()
    cost = 0.0272 + 0.00136 * items
    assert time.monotonic() - began >= cost
    assert answer["total_duration"] == round(cost * 1e9)


def test_seed_computes_one_call_at_a_time():
    with Sim("--profile", "seed", "--call-us", "300000") as sim:
        clients = [HttpClient(sim.address) for _ in range(3)]
        for client in clients:
            client.request("POST", "/api/generate", body_of())
        sim.wait_stats(slots_busy=1, waiting=2)
        took = [client.response("POST").lines()[-1]["total_duration"] for client in clients]
        assert took[0] == 301360000 < took[1] < took[2]
        for client in clients:
            client.close()


# --- profile llm -----------------------------------------------------------------------------------------------------
FAST = ["--profile", "llm", "--jitter-percent", "0", "--load-ms", "50", "--decode-us", "1000", "--decode-slot-us", "0",
        "--prompt-us", "10"]


def test_a_model_loads_at_its_first_call_and_goes_when_told():
    with Sim(*FAST) as sim:
        assert sim.loaded() == []
        last = sim.generate(options={"num_predict": 10})
        assert (last["load_duration"], last["eval_count"]) == (50_000_000, 10)
        assert (last["prompt_eval_duration"], last["eval_duration"]) == (10_000, 9_000_000)
        assert sim.loaded() == ["m:latest"]
        assert sim.generate()["load_duration"] == 0
        assert sim.ask("GET", "/api/ps").json()["models"][0]["context_length"] == 4096
        assert sim.ask("POST", "/api/generate", {"model": "m", "keep_alive": 0}).json()["done_reason"] == "unload"
        assert sim.loaded() == []
        assert sim.ask("POST", "/api/chat", {"model": "m", "messages": []}).json()["done_reason"] == "load"
        assert sim.loaded() == ["m:latest"]
        assert sim.stats()["loads"] == 2


def test_two_models_with_memory_for_one_evict_each_other():
    with Sim(*FAST, "--models", "a,b", "--memory-mib", "6000") as sim:
        for _ in range(3):
            for model in ("a", "b"):
                assert sim.generate(model=model, options={"num_predict": 1})["load_duration"] == 50_000_000
                assert sim.loaded() == [f"{model}:latest"]
        assert (sim.stats()["loads"], sim.stats()["evictions"]) == (6, 5)


def test_keep_alive_is_over_by_itself():
    with Sim(*FAST) as sim:
        sim.generate(keep_alive="10ms", options={"num_predict": 1})
        wait_until(lambda: not sim.loaded(), "it is unloaded")
        assert sim.stats()["expiries"] == 1


def test_slots_bound_what_is_computed_and_a_client_that_leaves_frees_one():
    with Sim(*FAST, "--slots", "2", "--decode-us", "50000", "--context", "100000") as sim:
        clients = [HttpClient(sim.address) for _ in range(3)]
        for client in clients[:2]:
            client.request("POST", "/api/generate", body_of(num_predict=10000))
            client.head()
        clients[2].request("POST", "/api/generate", body_of(num_predict=1))
        sim.wait_stats(slots_busy=2, waiting=1)
        clients[0].close()
        sim.wait_stats(cancelled=1, waiting=0)
        assert len(clients[2].response("POST").lines()) == 2
        assert sim.stats()["slots_busy"] == 1
        for client in clients[1:]:
            client.close()
        sim.wait_stats(cancelled=2, slots_busy=0, connections=1)


def test_the_queue_for_loads_is_bounded():
    with Sim(*FAST, "--load-ms", "60000", "--queue", "2") as sim:
        clients = [HttpClient(sim.address) for _ in range(2)]
        for client in clients:
            client.request("POST", "/api/generate", body_of())
        sim.wait_stats(waiting=2)
        response = sim.ask("POST", "/api/generate", body_of())
        assert response.status == 503
        assert response.json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}
        for client in clients:
            client.close()
        sim.wait_stats(waiting=0, cancelled=2, refused=1)


def test_the_next_turn_of_a_chat_is_in_the_prompt_cache():
    with Sim(*FAST, "--tokens", "64") as sim:
        messages, cached = [], []
        for turn in range(4):
            messages.append({"role": "user", "content": f"question {turn} " + "x" * 400})
            parts = sim.ask("POST", "/api/chat", {"model": "m", "messages": messages}).lines()
            messages.append({"role": "assistant", "content": words(parts)})
            cached.append(sim.stats()["cached_tokens"])
        stats = sim.stats()
        assert cached[0] == 0 and cached == sorted(cached)
        # Each turn reads its own question (105 tokens and a block's rest) and little else.
        assert stats["prompt_tokens"] - stats["cached_tokens"] < 4 * 135
        sim.ask("POST", "/api/chat", {"model": "m", "messages": [{"role": "user", "content": "y" * 400}]})
        assert sim.stats()["cached_tokens"] == cached[-1]


def test_the_same_prompt_has_the_same_answer_and_another_seed_another():
    texts = []
    for seed in ("1", "1", "2"):
        with Sim(*FAST, "--seed", seed) as sim:
            texts.append(words(sim.ask("POST", "/api/generate", body_of(num_predict=20)).lines()))
            assert words(sim.ask("POST", "/api/generate", body_of("other", num_predict=20)).lines()) != texts[-1]
    assert texts[0] == texts[1] != texts[2]


# --- faults ----------------------------------------------------------------------------------------------------------
def fault(sim, name, path="/api/generate", **more):
    return sim.ask("POST", path, {**request_of(path, **more), "options": {"num_predict": 5}}, [("X-Sim-Fault", name)])


@pytest.fixture(scope="module", params=["echo", "llm"])
def faulty(request):
    with Sim(*(FAST if request.param == "llm" else [])) as sim:
        yield sim


def raw(sim, name, stream=True):
    """All bytes of an answer, and whether the connection was reset in the end."""
    with HttpClient(sim.address) as client:
        body = {**body_of(num_predict=5), "stream": stream}
        client.request("POST", "/api/generate", body, [("X-Sim-Fault", name)])
        data = b""
        try:
            while piece := client.sock.recv(65536):
                data += piece
        except ConnectionResetError:
            return data, True
        return data, False


def test_refuse(faulty):
    assert fault(faulty, "refuse").status == 503
    response = fault(faulty, "refuse:429", "/v1/chat/completions")
    assert (response.status, response.json()["error"]["type"]) == (429, "api_error")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name,by_reset", [("close", False), ("reset:0", True)])
def test_nothing_at_all(faulty, stream, name, by_reset):
    assert raw(faulty, name, stream) == (b"", by_reset)


@pytest.mark.parametrize("name,parts", [("close:2", 2), ("reset", 1), ("reset:5", 5)])
def test_a_stream_that_breaks_off(faulty, name, parts):
    data, by_reset = raw(faulty, name)
    assert data.count(b'"done":false') == parts and b'"done":true' not in data and not data.endswith(b"0\r\n\r\n")
    assert by_reset == name.startswith("reset")


def test_an_answer_in_one_piece_that_breaks_off(faulty):
    for name in ("reset", "close:1", "cut"):
        data, _ = raw(faulty, name, stream=False)
        head, body = data.split(b"\r\n\r\n")
        assert int(re.search(rb"Content-Length: (\d+)", head)[1]) // 2 == len(body)


def test_cut(faulty):
    response = fault(faulty, "cut:3")
    assert response.complete and [part["done"] for part in response.lines()] == [False] * 3
    response = fault(faulty, "cut:0")
    assert response.complete and response.body == b""


def test_garbage(faulty):
    assert raw(faulty, "garbage") == (b"\x16\x03\x01 this is no HTTP\r\n\r\n", False)
    data, _ = raw(faulty, "garbage:2")
    assert data.count(b'"done":false') == 2 and data.endswith(b"no HTTP\r\n\r\n")


def test_hang(faulty):
    for name, parts in (("hang", 0), ("hang:2", 2)):
        before = faulty.stats()["cancelled"]
        with HttpClient(faulty.address) as client:
            client.request("POST", "/api/generate", body_of(num_predict=5), [("X-Sim-Fault", name)])
            if parts:
                client.head()
            assert [len(client.chunk()) > 0 for _ in range(parts)] == [True] * parts
            client.sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.sock.recv(1)
        if parts:
            faulty.wait_stats(cancelled=before + 1, connections=1)


def test_drip(faulty):
    began = time.monotonic()
    with HttpClient(faulty.address) as client:
        client.request("POST", "/api/generate", {**body_of(num_predict=1), "stream": False},
                       [("X-Sim-Fault", "drip:1")])
        response = client.response("POST")
        assert response.complete and response.json()["done"] is True
        assert time.monotonic() - began >= len(response.body) * 0.001
        client.request("POST", "/api/generate", body_of(num_predict=2))  # the connection is still good
        assert len(client.response("POST").lines()) == 3


def test_a_body_can_ask_for_a_fault(faulty):
    assert faulty.ask("POST", "/api/generate", body_of(sim_fault="refuse:418")).status == 418
    response = faulty.ask("POST", "/api/generate", body_of(sim_fault="refuse:x"))
    assert response.status == 400 and "expected one of refuse hang" in response.json()["error"]
    assert fault(faulty, "x").status == 400


def test_every_third_call_fails():
    with Sim("--fault", "refuse@every 3", "--fault", "refuse:500@every 2") as sim:
        statuses = [sim.ask("POST", "/api/generate", body_of()).status for _ in range(6)]
        assert statuses == [200, 500, 503, 500, 200, 503]
        assert sim.ask("GET", "/api/tags").status == 200
        assert sim.stats()["faults"] == 4


# --- start and end ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_calls_under_way(by):
    with Sim(*FAST, "--load-ms", "60000") as sim, HttpClient(sim.address) as client, HttpClient(sim.address) as hung:
        client.request("POST", "/api/generate", body_of())
        hung.request("POST", "/api/generate", body_of(), [("X-Sim-Fault", "hang")])
        sim.wait_stats(waiting=1, faults=1)
        sim.stop(by)
        assert client.closed() == b""


def run(*args):
    return subprocess.run([os.environ["MCPGATE_BIN"], "sim", *args], capture_output=True, text=True, timeout=20)


def test_a_port_that_is_taken(echo):
    result = run("--http", "%s:%d" % echo.address)
    assert (result.returncode, result.stdout) == (3, "")
    assert f"is in use by mcpgate (pid {echo.process.pid}); use --http ADDR" in result.stderr


@pytest.mark.parametrize("args,said", [
    (["--profile", "x"], "--profile: expected echo, seed or llm, not 'x'"),
    (["--http", "x"], "--http: "),
    (["--models", "a,,b"], "--models: expected names"),
    (["--models", ""], "--models: expected names"),
    (["--fault", "x"], "--fault: expected one of refuse hang close reset garbage cut error drip"),
    (["--gap", "-1"], "--gap: expected milliseconds"),
    (["--slots", "x"], "--slots: expected a whole number up to 4096"),
    (["extra"], "expected no argument, not 'extra'")])
def test_wrong_usage(args, said):
    result = run(*args)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("mcpgate") and said in result.stderr and result.stderr.count("\n") == 1


def test_slots_can_be_changed_while_it_runs():
    with Sim("--profile", "llm", "--slots", "4", "--load-ms", "0") as sim:
        assert sim.ask("POST", "/sim/slots", {"slots": 2}).json() == {"slots": 2}
        assert sim.stats()["slots"] == 2
        for wrong in ({"slots": 0}, {"slots": 5}, {"slots": "2"}, {}, []):
            assert sim.ask("POST", "/sim/slots", wrong).status == 400
        assert sim.stats()["slots"] == 2
    with Sim() as echo:
        assert echo.ask("POST", "/sim/slots", {"slots": 1}).status == 400  # it has none
