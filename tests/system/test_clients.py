# SPDX-License-Identifier: Apache-2.0
"""Clients as their users have them, against the gateway with a real model (llama.cpp's server): curl, PyPI's
ollama, openai and anthropic, npm's ollama."""
import asyncio
import json
import subprocess

import anthropic
import ollama
import openai
import pytest

from clients import MESSAGES, curl, curl_post, environment, node_command, node_environment, npm  # noqa: F401
from engine import die_with_parent
from engine_asks import (COUNT, LONG, MODEL, OVERFLOW, TOKENS, assert_counts, body_of, data_of, text_of,
                         text_of_event, text_of_part)

ENGINE = True
SOON_S = 5  # until a slot is idle; what was asked for takes a minute
OPTIONS = {"num_predict": TOKENS, "temperature": 0}
LONG_OPTIONS = {"num_predict": LONG, "temperature": 0}
UNKNOWN = "model 'other' not found"


# --- curl -----------------------------------------------------------------------------------------
def test_curl_streams_and_takes_whole_answers(gateway):
    status, out = curl_post(gateway.url, "/api/generate", body_of("/api/generate"))
    assert status == 0
    assert_counts("".join(text_of_part(json.loads(line)) for line in out.splitlines()))
    status, out = curl_post(gateway.url, "/v1/chat/completions", body_of("/v1/chat/completions"))
    assert status == 0 and out.endswith("data: [DONE]\n\n")
    events = out.encode().split(b"\n\n")[:-1]
    assert_counts("".join(text_of_event("/v1/chat/completions", data_of(event)) for event in events))
    status, out = curl_post(gateway.url, "/api/chat", body_of("/api/chat", stream=False))
    assert status == 0
    assert_counts(text_of("/api/chat", json.loads(out)))


@pytest.mark.parametrize("options", [["-0"], ["-H", "Expect: 100-continue"], ["--compressed"],
                                     ["-H", "Transfer-Encoding: chunked"]])
def test_curl_in_other_ways(gateway, options):
    status, out = curl_post(gateway.url, "/api/generate", body_of("/api/generate", 3), *options)
    assert status == 0
    assert "".join(text_of_part(json.loads(line)) for line in out.splitlines()) == " 12"


def test_curl_head_and_errors(gateway):
    assert curl("-I", gateway.url + "/")[1].startswith("HTTP/1.1 200 OK\n")
    assert curl(gateway.url + "/")[1] == "Ollama is running"
    status, out = curl_post(gateway.url, "/api/chat", body_of("/api/chat", model="other"), "-w", "%{http_code}")
    assert (status, out) == (0, json.dumps({"error": UNKNOWN}, separators=(",", ":")) + "404")
    assert curl_post(gateway.url, "/api/chat", {"model": "other"}, "-f")[0] == 22


def test_curl_many_requests_on_one_connection(gateway):
    urls = [gateway.url + "/api/version"] * 5
    status, out = curl("-w", "%{num_connects}", *urls)
    assert (status, out) == (0, '{"version":"0.33.0"}1' + '{"version":"0.33.0"}0' * 4)


# --- PyPI ollama --------------------------------------------------------------------------------------
def test_ollama_lists_shows_and_counts(gateway):
    client = ollama.Client(gateway.url)
    (listed,) = client.list().models
    (running,) = client.ps().models
    assert (listed.model, running.model) == (MODEL, MODEL)
    assert listed.size == 246587904 and listed.details.quantization_level == "Q4_K_M"
    assert (running.context_length, running.digest) == (2048, listed.digest)
    shown = client.show(MODEL)
    assert shown.modelinfo["general.parameter_count"] == 268098176
    assert shown.capabilities == ["completion"]


def test_ollama_generates_and_chats(gateway):
    client = ollama.Client(gateway.url)
    whole = client.generate(MODEL, COUNT, options=OPTIONS)
    assert_counts(whole.response)
    assert (whole.done, whole.done_reason, whole.eval_count) == (True, "length", TOKENS)
    parts = list(client.generate(MODEL, COUNT, options=OPTIONS, stream=True))
    assert_counts("".join(part.response for part in parts))
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 5
    assert_counts(client.chat(MODEL, MESSAGES, options=OPTIONS).message.content)
    parts = list(client.chat(MODEL, MESSAGES, options=OPTIONS, stream=True))
    assert_counts("".join(part.message.content for part in parts))
    assert parts[-1].eval_count == TOKENS and parts[-1].total_duration > 0


def test_ollama_embeds(gateway):
    client = ollama.Client(gateway.url)
    assert [len(vector) for vector in client.embed(MODEL, ["red", "blue"]).embeddings] == [640, 640]
    assert len(client.embed(MODEL, "red", dimensions=16).embeddings[0]) == 16
    assert len(client.embeddings(MODEL, "red").embedding) == 640


def test_ollama_raises_with_the_status(gateway):
    client = ollama.Client(gateway.url)
    asks = [(404, UNKNOWN, lambda: client.generate("other", COUNT)),
            (404, UNKNOWN, lambda: list(client.chat("other", MESSAGES, stream=True))),
            (404, 'model "other" not found, try pulling it first', lambda: client.embed("other", "red")),
            (404, UNKNOWN, lambda: client.show("other")),
            (400, "exceeds the available context size", lambda: client.generate(MODEL, OVERFLOW)),
            (400, "exceeds the available context size", lambda: next(client.generate(MODEL, OVERFLOW, stream=True))),
            (501, "it needs an Ollama node", lambda: client.pull("other")),
            (501, "suffix cannot be carried", lambda: client.generate(MODEL, COUNT, suffix="x"))]
    for status, text, request in asks:
        with pytest.raises(ollama.ResponseError) as raised:
            request()
        assert raised.value.status_code == status
        assert text in raised.value.error


def test_ollama_async(gateway):
    async def run():
        async with ollama.AsyncClient(gateway.url) as client:
            answers = await asyncio.gather(*(client.generate(MODEL, COUNT, options=OPTIONS) for _ in range(2)))
            parts = [part async for part in await client.chat(MODEL, MESSAGES, options=OPTIONS, stream=True)]
        return [answer.response for answer in answers] + ["".join(part.message.content for part in parts)]

    for text in asyncio.run(run()):
        assert_counts(text)


# --- PyPI openai ----------------------------------------------------------------------------------------
@pytest.fixture
def open_client(gateway):
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai_lists_models(open_client):
    assert [model.id for model in open_client.models.list()] == [MODEL]


def test_openai_retrieves_a_model(open_client):
    assert open_client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        open_client.models.retrieve("nobody/has:it")


def test_openai_chats(open_client):
    ask = {"model": MODEL, "messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0}
    whole = open_client.chat.completions.create(**ask)
    assert_counts(whole.choices[0].message.content)
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", TOKENS)
    chunks = list(open_client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert_counts("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
    assert chunks[-1].usage.completion_tokens == TOKENS


def test_openai_completes(open_client):
    ask = {"model": MODEL, "prompt": COUNT, "max_tokens": TOKENS, "temperature": 0}
    assert_counts(open_client.completions.create(**ask).choices[0].text)
    chunks = list(open_client.completions.create(**ask, stream=True))
    assert_counts("".join(chunk.choices[0].text for chunk in chunks))
    assert chunks[-1].choices[0].finish_reason == "length"


def test_openai_embeds(open_client):
    answer = open_client.embeddings.create(model=MODEL, input=["red", "blue"])  # asks for base64 by itself
    assert [len(item.embedding) for item in answer.data] == [640, 640]
    floats = open_client.embeddings.create(model=MODEL, input="red", encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(answer.data[0].embedding, abs=1e-3)


def test_openai_responds(open_client):
    ask = {"model": MODEL, "input": COUNT, "max_output_tokens": TOKENS, "temperature": 0}
    assert_counts(open_client.responses.create(**ask).output_text)
    events = list(open_client.responses.create(**ask, stream=True))
    assert_counts("".join(event.delta for event in events if event.type == "response.output_text.delta"))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


@pytest.mark.parametrize("stream", [True, False])
def test_openai_raises_by_status(open_client, stream):
    def ask(model, content):
        return open_client.chat.completions.create(model=model, stream=stream,
                                                   messages=[{"role": "user", "content": content}])
    with pytest.raises(openai.NotFoundError) as raised:
        ask("other", COUNT)
    assert raised.value.body == {"message": UNKNOWN, "type": "not_found_error", "param": None, "code": None}
    with pytest.raises(openai.BadRequestError, match="exceeds the available context size"):
        ask(MODEL, OVERFLOW)


def test_openai_async(gateway):
    async def run():
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="none") as client:
            stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=TOKENS,
                                                          temperature=0, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert_counts(asyncio.run(run()))


# --- PyPI anthropic ---------------------------------------------------------------------------------------
@pytest.fixture
def anthropic_client(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


ANTHROPIC_ASK = {"model": MODEL, "messages": MESSAGES, "max_tokens": TOKENS,
                 "extra_body": {"temperature": 0}}


def test_anthropic_answers(anthropic_client):
    whole = anthropic_client.messages.create(**ANTHROPIC_ASK)
    assert_counts(whole.content[0].text)
    assert (whole.stop_reason, whole.usage.output_tokens) == ("max_tokens", TOKENS)
    with anthropic_client.messages.stream(**ANTHROPIC_ASK) as stream:
        assert_counts("".join(stream.text_stream))
        assert stream.get_final_message().stop_reason == "max_tokens"
    events = list(anthropic_client.messages.create(**ANTHROPIC_ASK, stream=True))
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")


@pytest.mark.parametrize("stream", [True, False])
def test_anthropic_raises_by_status(anthropic_client, stream):
    with pytest.raises(anthropic.NotFoundError) as raised:
        anthropic_client.messages.create(**ANTHROPIC_ASK | {"model": "other"}, stream=stream)
    assert raised.value.body["error"] == {"type": "not_found_error", "message": UNKNOWN}
    assert raised.value.body["type"] == "error" and raised.value.body["request_id"]
    with pytest.raises(anthropic.BadRequestError, match="exceeds the available context size"):
        anthropic_client.messages.create(**ANTHROPIC_ASK | {"messages": [{"role": "user", "content": OVERFLOW}]},
                                         stream=stream)


# --- npm ollama -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("scenario", ["generate", "chat"])
def test_npm_ollama_generates_and_chats(gateway, scenario):
    (whole,) = npm(gateway.url, scenario)
    assert_counts(text_of_part(whole))
    assert (whole["done_reason"], whole["eval_count"]) == ("length", TOKENS)
    parts = npm(gateway.url, scenario + "Stream")
    assert_counts("".join(map(text_of_part, parts)))
    assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 5


def test_npm_ollama_embeds_and_lists(gateway):
    assert [len(vector) for vector in npm(gateway.url, "embed")[0]["embeddings"]] == [640, 640]
    assert len(npm(gateway.url, "embeddings")[0]["embedding"]) == 640
    for scenario in ("list", "ps"):
        assert [model["name"] for model in npm(gateway.url, scenario)[0]["models"]] == [MODEL]
    assert npm(gateway.url, "show")[0]["model_info"]["general.parameter_count"] == 268098176
    assert npm(gateway.url, "version") == [{"version": "0.33.0"}]


def test_npm_ollama_raises_with_the_status(gateway):
    missing = {"raised": "ResponseError", "status": 404, "text": UNKNOWN}
    assert npm(gateway.url, "generate", model="other") == [missing]
    assert npm(gateway.url, "chatStream", model="other") == [missing]
    (raised,) = npm(gateway.url, "generateStream", prompt=OVERFLOW)
    assert raised["status"] == 400 and "exceeds the available context size" in raised["text"]
    assert npm(gateway.url, "pull")[0]["status"] == 501


# --- a client leaves ------------------------------------------------------------------------------------
def leave_curl(url, engine):
    command = ["curl", "-sSN", "-d", json.dumps(body_of("/api/generate", LONG)), url + "/api/generate"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=die_with_parent) as process:
        assert process.stdout.readline()
        engine.wait_busy(1)
        process.terminate()


def leave_ollama(url, engine):
    stream = ollama.Client(url).chat(MODEL, MESSAGES, options=LONG_OPTIONS, stream=True)
    assert next(stream).message.content
    engine.wait_busy(1)
    stream.close()
    engine.wait_busy(0, SOON_S)


def leave_openai(url, engine):
    with openai.OpenAI(base_url=url + "/v1", api_key="none") as client:
        for ask in (lambda: client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True),
                    lambda: client.responses.create(model=MODEL, input=COUNT, stream=True)):
            with ask() as stream:
                assert next(stream)
                engine.wait_busy(1)
            engine.wait_busy(0, SOON_S)


def leave_anthropic(url, engine):
    with anthropic.Anthropic(base_url=url, api_key="none") as client:
        with client.messages.stream(**ANTHROPIC_ASK | {"max_tokens": LONG}) as stream:
            assert next(stream.text_stream)
            engine.wait_busy(1)
        engine.wait_busy(0, SOON_S)


async def cancel(engine, request):
    """Cancels the task that awaits the request's answer; the slot is idle while the client lives on."""
    task = asyncio.create_task(request)
    await asyncio.to_thread(engine.wait_busy, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(engine.wait_busy, 0, SOON_S)


async def read_all(awaitable):
    async for _ in await awaitable:
        pass


def leave_async_ollama(url, engine):
    async def run():
        async with ollama.AsyncClient(url) as client:
            await cancel(engine, read_all(client.generate(MODEL, COUNT, options=LONG_OPTIONS, stream=True)))
            await cancel(engine, client.chat(MODEL, MESSAGES, options=LONG_OPTIONS))
    asyncio.run(run())


def leave_async_openai(url, engine):
    async def run():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none") as client:
            await cancel(engine, read_all(client.completions.create(model=MODEL, prompt=COUNT, max_tokens=LONG,
                                                                    temperature=0, stream=True)))
    asyncio.run(run())


def leave_async_anthropic(url, engine):
    async def run():
        async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as client:
            ask = ANTHROPIC_ASK | {"max_tokens": LONG}
            await cancel(engine, read_all(client.messages.create(**ask, stream=True)))
    asyncio.run(run())


def leave_npm(scenario):
    def leave(url, engine):
        with subprocess.Popen(node_command(url, scenario, LONG), env=node_environment(), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, preexec_fn=die_with_parent) as process:
            assert json.loads(process.stdout.readline())["done"] is False
            engine.wait_busy(0, SOON_S)
            assert process.poll() is None
    return leave


LEAVERS = {"curl": leave_curl, "ollama": leave_ollama, "openai": leave_openai, "anthropic": leave_anthropic,
           "ollama async": leave_async_ollama, "openai async": leave_async_openai,
           "anthropic async": leave_async_anthropic, "npm ollama, all": leave_npm("abortAll"),
           "npm ollama, one": leave_npm("abortOne")}


@pytest.mark.parametrize("name", LEAVERS)
def test_a_client_that_leaves_a_stream_frees_the_slot(gateway, engine, name):
    LEAVERS[name](gateway.url, engine)
    engine.wait_busy(0, SOON_S)
    gateway.wait_idle()
    assert gateway.access()[-1]["code"] == "cancelled"
