# SPDX-License-Identifier: Apache-2.0
"""The gateway in front of simulated nodes: each profile, each fault, and clients that leave."""
import pytest

from gateway import Gateway
from http_bytes import HttpClient, ask
from mcp_client import McpClient
from sim import Sim, body_of, encoded, words

FAST = ["--profile", "llm", "--jitter-percent", "0", "--load-ms", "20", "--decode-us", "1000", "--decode-slot-us", "0",
        "--prompt-us", "10"]


@pytest.fixture(scope="module", params=["echo", "seed", "llm"])
def sim(request):
    with Sim(*(FAST if request.param == "llm" else ["--profile", request.param])) as running:
        yield running


@pytest.fixture(scope="module")
def the_gateway(sim):
    with Gateway(sim) as running:
        yield running


@pytest.fixture
def gateway(the_gateway, sim):
    """Afterwards neither the gateway nor the node has a call left."""
    yield the_gateway
    the_gateway.wait_idle()
    sim.wait_stats(slots_busy=0, waiting=0)


@pytest.fixture
def mcp(gateway):
    with McpClient(gateway.mcp) as client:
        yield client


def test_it_is_an_ollama_with_its_model(gateway):
    assert any("up (ollama 0.33.0): m:latest" in line for line in gateway.lines)
    assert [model["name"] for model in ask(gateway.http, "GET", "/api/tags").json()["models"]] == ["m:latest"]


def test_a_stream_over_mcp_and_http_is_the_same(gateway, mcp):
    parts = mcp.ask(body_of(num_predict=20))
    lines = ask(gateway.http, "POST", "/api/generate", body_of(num_predict=20)).lines()
    assert len(parts) == len(lines) == 21
    assert words(parts) == words(lines) and len(words(parts)) == 80
    assert parts[-1]["eval_count"] == 20


def test_chat_and_v1_and_embeddings(gateway, mcp):
    messages = [{"role": "user", "content": "a"}]
    parts = mcp.ask({"model": "m", "messages": messages, "options": {"num_predict": 5}})
    events = encoded(ask(gateway.http, "POST", "/v1/chat/completions",
                         {"model": "m", "messages": messages, "stream": True, "max_tokens": 5}).events())
    assert events[-1] == "[DONE]"
    assert "".join(event["choices"][0]["delta"]["content"] for event in events[:-1]) == words(parts)
    (vectors,) = mcp.ask({"model": "m", "input": ["a", "b"]}, single=True)
    assert vectors["embeddings"] == ask(gateway.http, "POST", "/api/embed",
                                        {"model": "m", "input": ["a", "b"]}).json()["embeddings"]


def test_many_sessions_on_one_connection(gateway, mcp):
    for session in range(1, 9):
        mcp.request(session, body_of(f"prompt {session}", num_predict=session))
    for session in range(1, 9):
        assert len(mcp.parts(session)) == session + 1


@pytest.mark.parametrize("name", ["reset:3", "close:3", "cut:3", "garbage:3"])
def test_a_stream_that_breaks_off_is_shown_as_such(gateway, mcp, name):
    parts = mcp.ask(body_of(num_predict=5, sim_fault=name))
    assert [part["done"] for part in parts] == [False] * 3 + [True] and "code" in parts[-1]
    lines = ask(gateway.http, "POST", "/api/generate", body_of(num_predict=5), [("X-Sim-Fault", name)]).lines()
    assert len(lines) == 4 and "error" in lines[-1]


@pytest.mark.parametrize("name,status,code", [
    ("refuse", 503, "queue_full"), ("garbage", 502, "upstream_error"), ("reset:0", 502, "upstream_error"),
    ("close", 502, "upstream_error")])
def test_no_answer_at_all_is_an_error(gateway, mcp, name, status, code):
    assert mcp.error(body_of(sim_fault=name))[0] == code
    assert ask(gateway.http, "POST", "/api/generate", body_of(sim_fault=name)).status == status


def test_an_answer_byte_by_byte_comes_whole(gateway, mcp):
    assert len(mcp.ask(body_of(num_predict=2, sim_fault="drip:0"))) == 3


@pytest.mark.parametrize("name", ["hang", "hang:2"])
@pytest.mark.parametrize("leave", [HttpClient.close, HttpClient.reset])
def test_a_client_that_leaves_is_gone_for_the_node_too(gateway, sim, name, leave):
    before = sim.stats()
    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", body_of(num_predict=5, sim_fault=name))
        sim.wait_stats(faults=before["faults"] + 1)
        leave(client)
        if name == "hang:2":
            sim.wait_stats(cancelled=before["cancelled"] + 1)


def test_a_deadline_ends_a_call_that_hangs(gateway, mcp):
    assert mcp.error({**body_of(sim_fault="hang"), "mcp": {"deadline_ms": 100}})[0] == "deadline_exceeded"


def test_a_slow_model_is_cancelled():
    with Sim(*FAST, "--slots", "1", "--decode-us", "50000") as sim, Gateway(sim) as gateway:
        with McpClient(gateway.mcp) as client:
            client.request(1, body_of(num_predict=4000))
            client.frame(1)
            assert sim.stats()["slots_busy"] == 1
        sim.wait_stats(slots_busy=0, cancelled=1)
        assert len(ask(gateway.http, "POST", "/api/generate", body_of(num_predict=1)).lines()) == 2
