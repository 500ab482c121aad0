# SPDX-License-Identifier: Apache-2.0
"""A real model (llama.cpp's server) through the gateway: its answers and errors in every face."""
import base64
import struct
import threading

import pytest

from engine import Engine
from engine_asks import (COUNT, NATIVE, OVERFLOW, TOKENS, V1, assert_counts, body_of, counting_from, data_of,
                         pieces_of, text_of, text_of_part)
from gateway import Gateway
from http_bytes import HttpClient, ask, wait_until
from mcp_client import McpClient

ENGINE = True
MCP_ASKS = {"generate": body_of("/api/generate"), "generate raw": body_of("/api/generate", raw=True),
            "chat": body_of("/api/chat")}


def of_engine(engine):
    return "127.0.0.1", engine.port


def assert_last(part):
    """The counts and durations of the last native part are the engine's."""
    assert (part["done_reason"], part["eval_count"]) == ("length", TOKENS)
    assert part["prompt_eval_count"] >= 22
    for name in ("total_duration", "prompt_eval_duration", "eval_duration"):
        assert part[name] > 0
    assert part["total_duration"] >= part["eval_duration"]


# --- generate and chat ----------------------------------------------------------------------------
@pytest.mark.parametrize("name", MCP_ASKS)
def test_mcp_streams_a_part_per_token(mcp, name):
    parts = mcp.ask(MCP_ASKS[name])
    assert {part["model"] for part in parts} == {"gemma3:270m"}
    assert len(parts) > TOKENS // 2
    assert_counts("".join(map(text_of_part, parts)))
    assert_last(parts[-1])


@pytest.mark.parametrize("name", MCP_ASKS)
def test_mcp_gives_one_part_where_no_stream_is_wanted(mcp, name):
    (part,) = mcp.ask(MCP_ASKS[name] | {"stream": False})
    assert_counts(text_of_part(part))
    assert_last(part)


@pytest.mark.parametrize("path", NATIVE + V1)
def test_http_streams_a_part_per_token(gateway, path):
    response = ask(gateway.http, "POST", path, body_of(path))
    native = path in NATIVE
    assert response.status == 200 and response.complete
    assert response.get("Content-Type") == ("application/x-ndjson" if native else "text/event-stream")
    pieces = pieces_of(path, response)
    assert len(pieces) > TOKENS // 2
    assert_counts("".join(pieces))
    if native:
        assert_last(response.lines()[-1])
        assert len(response.chunks) == len(response.lines())  # each was sent when it came


@pytest.mark.parametrize("path", NATIVE + V1)
def test_http_gives_one_object_where_no_stream_is_wanted(gateway, path):
    response = ask(gateway.http, "POST", path, body_of(path, stream=False))
    assert response.status == 200
    assert response.get("Content-Type").startswith("application/json")
    assert_counts(text_of(path, response.json()))
    if path in NATIVE:
        assert_last(response.json())


CHANGING = {"id", "item_id", "created", "created_at", "completed_at", "timings", "usage"}


def lasting(value):
    """A JSON value without what differs from one answer to the next."""
    if isinstance(value, dict):
        return {key: lasting(member) for key, member in value.items() if key not in CHANGING}
    return [lasting(member) for member in value] if isinstance(value, list) else value


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", V1)
def test_v1_is_what_the_engine_says(gateway, engine, path, stream):
    through, direct = (ask(address, "POST", path, body_of(path, 8, stream))
                       for address in (gateway.http, of_engine(engine)))
    if stream:
        objects = [[lasting(data_of(event)) for event in response.events()] for response in (through, direct)]
    else:
        objects = [lasting(response.json()) for response in (through, direct)]
    assert objects[0] == objects[1]
    own = {"keep-alive", "date", "x-request-id"}
    assert through.names() - own == direct.names() - own


def test_a_session_continues_with_model_and_options(mcp):
    mcp.ask(body_of("/api/generate", 3))
    (part,) = mcp.ask({"prompt": COUNT, "stream": False, "mcp": {"continue": True}})
    assert (part["model"], part["eval_count"], part["response"]) == ("gemma3:270m", 3, " 12")


def test_stop_and_logprobs_reach_the_engine(mcp):
    ask_whole = body_of("/api/generate", stream=False)
    (part,) = mcp.ask(ask_whole | {"options": {"stop": [" 15"], "temperature": 0}})
    assert (part["response"], part["done_reason"]) == (" 12 13 14", "stop")
    (part,) = mcp.ask(ask_whole | {"logprobs": True, "top_logprobs": 2})
    assert len(part["logprobs"]) == TOKENS
    assert all(entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 2 for entry in part["logprobs"])


def test_an_empty_prompt_loads(gateway, mcp):
    (part,) = mcp.ask({"model": "gemma3:270m", "prompt": ""})
    assert (part["done_reason"], part["response"]) == ("load", "")
    response = ask(gateway.http, "POST", "/api/chat", {"model": "gemma3:270m", "messages": []})
    assert (response.json()["done_reason"], response.json()["done"]) == ("load", True)


# --- embeddings, models ----------------------------------------------------------------------------
def test_embeddings_are_the_engines_in_every_face(gateway, mcp):
    texts = ["The sky is blue.", "Grass is green."]
    (over_mcp,) = mcp.ask({"model": "gemma3:270m", "input": texts}, single=True)
    native = ask(gateway.http, "POST", "/api/embed", {"model": "gemma3:270m", "input": texts}).json()
    floats, packed = (ask(gateway.http, "POST", "/v1/embeddings",
                          {"model": "gemma3:270m", "input": texts, "encoding_format": form}).json()
                      for form in ("float", "base64"))
    given = [over_mcp["embeddings"], native["embeddings"], [item["embedding"] for item in floats["data"]],
             [list(struct.unpack("<640f", base64.b64decode(item["embedding"]))) for item in packed["data"]]]
    for vectors in given:
        assert [len(vector) for vector in vectors] == [640, 640]
        for vector, first in zip(vectors, given[0]):
            assert vector == pytest.approx(first, abs=1e-3)
    assert given[0][0] != pytest.approx(given[0][1], abs=1e-2)
    assert over_mcp["prompt_eval_count"] == floats["usage"]["prompt_tokens"]


def test_one_embedding_and_the_old_operation(gateway, mcp):
    (one,) = mcp.ask({"model": "gemma3:270m", "input": "blue", "dimensions": 8}, single=True)
    assert sum(value * value for value in one["embeddings"][0]) == pytest.approx(1)
    assert len(one["embeddings"][0]) == 8
    body = {"model": "gemma3:270m", "prompt": "blue"}
    (old,) = mcp.ask(body | {"mcp": {"op": "embeddings"}}, single=True)
    assert len(old["embedding"]) == 640
    assert ask(gateway.http, "POST", "/api/embeddings", body).json()["embedding"] == pytest.approx(
        old["embedding"], abs=1e-3)


@pytest.mark.parametrize("op, method, path", [("list", "GET", "/api/tags"), ("show", "POST", "/api/show"),
                                              ("version", "GET", "/api/version"), ("ps", "GET", "/api/ps")])
def test_what_the_engine_has_is_told_alike_over_mcp_and_http(gateway, mcp, op, method, path):
    model = {"model": "gemma3:270m"} if op == "show" else {}
    (over_mcp,) = mcp.ask({**model, "mcp": {"op": op}}, single=True)
    over_http = ask(gateway.http, method, path, model or None)
    assert over_http.status == 200
    answers = [over_mcp, over_http.json()]
    if op == "ps":
        assert all(answer["models"][0].pop("expires_at") for answer in answers)
    assert answers[0] == answers[1]
    if op in ("list", "ps"):
        assert [model["name"] for model in over_mcp["models"]] == ["gemma3:270m"]
        assert over_mcp["models"][0]["details"]["quantization_level"] == "Q4_K_M"
    if op == "show":
        assert over_mcp["model_info"]["general.parameter_count"] == 268098176


def test_v1_models_are_the_engines_own(gateway, engine):
    through, direct = (ask(address, "GET", "/v1/models").json() for address in (gateway.http, of_engine(engine)))
    assert lasting(through) == lasting(direct)


# --- many at once -----------------------------------------------------------------------------------
def test_sessions_of_one_connection_run_at_once_and_do_not_mix(mcp):
    sessions = range(1, 7)  # two more than the engine has slots
    for session in sessions:
        mcp.request(session, body_of("/api/generate", TOKENS + session, prompt=counting_from(12 + 10 * session)))
    frames = [mcp.frame()]
    while sum(frame.json()["done"] for frame in frames) < len(sessions):
        frames.append(mcp.frame())
    order = [frame.session for frame in frames]
    ends = [max(i for i, session in enumerate(order) if session == s) for s in sessions]
    assert sum(order.index(s) < min(ends) for s in sessions) >= 4  # all slots were at work before one ended
    for session in sessions:
        parts = [frame.json() for frame in frames if frame.session == session]
        assert parts[-1]["eval_count"] == TOKENS + session
        assert_counts("".join(map(text_of_part, parts)), 12 + 10 * session)


def test_clients_of_all_faces_run_at_once_and_do_not_mix(gateway, mcp):
    responses, paths = {}, NATIVE + V1

    def run(number, path):
        with HttpClient(gateway.http, timeout_s=60) as client:
            client.request("POST", path, body_of(path, prompt=counting_from(12 + 10 * number)))
            responses[number] = client.response()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(paths, 1)]
    for thread in threads:
        thread.start()
    parts = mcp.ask(body_of("/api/chat", prompt=counting_from(82)))
    for thread in threads:
        thread.join()
    assert_counts("".join(map(text_of_part, parts)), 82)
    for number, path in enumerate(paths, 1):
        assert_counts("".join(pieces_of(path, responses[number])), 12 + 10 * number)


# --- the engine's connections -------------------------------------------------------------------------
def test_the_engine_closing_after_a_hundred_requests_is_not_seen(gateway):
    with HttpClient(gateway.http) as client:
        for _ in range(210):
            client.request("GET", "/v1/models")
            response = client.response()
            assert (response.status, response.get("Connection")) == (200, None)


def connections_to(port):
    """Established TCP connections to 127.0.0.1:port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table]
    return [row for row in rows if row[2] == f"0100007F:{port:04X}" and row[3] == "01"]


def test_the_engine_closing_idle_connections_is_not_seen(gateway, engine, mcp):
    """One of three may live on: the gateway's polls use it, each just before the engine's 5 s are over."""
    def three_at_once():
        for session in (1, 2, 3):
            # equal requests would share one call
            mcp.request(session, body_of("/api/generate", 8, prompt=f"{session}. {COUNT}"))
        return [mcp.parts(session)[-1].json()["eval_count"] for session in (1, 2, 3)]

    evicted = gateway.metric("mcpgate_node_pool_evictions_total")
    assert three_at_once() == [8, 8, 8]
    wait_until(lambda: len(connections_to(engine.port)) <= 1, "the engine closes its idle connections")
    assert gateway.metric("mcpgate_node_pool_evictions_total") >= evicted + 2
    assert three_at_once() == [8, 8, 8]


# --- its errors ---------------------------------------------------------------------------------------
CONTEXT = "request (2102 tokens) exceeds the available context size (2048 tokens), try increasing it"


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_beyond_the_context_is_refused_in_every_face(gateway, engine, mcp, stream):
    for path in NATIVE:
        body = body_of(path, stream=stream, prompt=OVERFLOW)
        (part,) = mcp.ask(body)
        assert part == {"error": CONTEXT, "code": "bad_request", "retryable": False, "done": True}
        response = ask(gateway.http, "POST", path, body)
        assert (response.status, response.json()) == (400, {"error": CONTEXT})
    for path in V1:
        body = body_of(path, stream=stream, prompt=OVERFLOW)
        through, direct = (ask(address, "POST", path, body) for address in (gateway.http, of_engine(engine)))
        assert (through.status, through.body) == (400, direct.body)
        assert through.json()["error"]["type"] == "exceed_context_size_error"


def test_what_the_engine_finds_wrong_keeps_its_text(gateway, mcp):
    body = body_of("/api/generate", format={"type": "nonsense"})
    code, text = mcp.error(body)
    assert code == "bad_request" and "nonsense" in text
    response = ask(gateway.http, "POST", "/api/generate", body)
    assert (response.status, response.json()) == (400, {"error": text})
    response = ask(gateway.http, "POST", "/v1/chat/completions", {"model": "gemma3:270m"})
    assert response.status == 400 and "'messages' is required" in response.json()["error"]["message"]


def test_an_engine_without_embeddings_says_so_in_every_face():
    engine = Engine(parallel=1, embeddings=False)
    try:
        with Gateway(engine) as gateway, McpClient(gateway.mcp) as mcp:
            body = {"model": "gemma3:270m", "input": "blue"}
            code, text = mcp.error(body)
            assert code == "upstream_error" and "does not support embeddings" in text
            response = ask(gateway.http, "POST", "/api/embed", body)
            assert (response.status, response.json()) == (501, {"error": text})
            response = ask(gateway.http, "POST", "/v1/embeddings", body)
            assert (response.status, response.json()["error"]["message"]) == (501, text)
    finally:
        engine.stop()


def test_a_model_the_engine_does_not_list_is_refused_in_every_face(gateway, mcp):
    text = "model 'other' not found"
    for path in NATIVE:
        assert mcp.error(body_of(path, model="other")) == ("unknown_model", text)
        response = ask(gateway.http, "POST", path, body_of(path, model="other"))
        assert (response.status, response.json()) == (404, {"error": text})
    for path in V1:
        response = ask(gateway.http, "POST", path, body_of(path, model="other"))
        error = response.json()["error"]
        assert (response.status, error["type"], error["message"]) == (404, "not_found_error", text)
        assert response.json().get("type") == ("error" if path == "/v1/messages" else None)


@pytest.mark.parametrize("body, text", [
    (body_of("/api/generate", context=[1, 2]), "context cannot be carried by a node of kind openai"),
    ({"model": "gemma3:270m", "mcp": {"op": "pull"}}, "no node supports this operation: it needs an Ollama node"),
])
def test_what_such_a_node_cannot_do_is_said_by_name(gateway, mcp, body, text):
    assert mcp.error(body) == ("unsupported_op", text)
    path = "/api/pull" if "mcp" in body else "/api/generate"
    response = ask(gateway.http, "POST", path, body)
    assert (response.status, response.json()) == (501, {"error": text})
