# SPDX-License-Identifier: Apache-2.0
"""Clients as their users have them, with a real Ollama behind the gateway: those of tests/system/test_clients.py whose
outcome does not depend on the engine, and for all else, that the client gets what it gets from Ollama directly."""
import json

import anthropic
import ollama as pypi_ollama
import openai
import pytest

import compare
from asks import EMBED, MESSAGES, MODEL, PROMPT, TOOLS_MODEL
from cases_answers import CALL, TOOLS
from clients import curl, environment, npm  # noqa: F401  (a fixture)
from test_clients import (  # noqa: F401  (tests and fixtures, run here with the fixtures below)
    anthropic_client, open_client, test_a_client_that_leaves_a_stream_frees_the_slot, test_anthropic_answers,
    test_curl_head_and_errors, test_curl_in_other_ways, test_curl_streams_and_takes_whole_answers,
    test_npm_ollama_generates_and_chats, test_ollama_async, test_ollama_generates_and_chats, test_openai_async,
    test_openai_chats, test_openai_completes, test_openai_responds, test_openai_retrieves_a_model)

OPTIONS = {"temperature": 0, "seed": 1, "num_predict": 4}


@pytest.fixture(scope="module")
def engine(ollama):
    """The real one in its place, with the model loaded."""
    ollama.load("gemma3:270m")
    return ollama


@pytest.fixture
def gateway(the_gateway, engine):
    engine.mark_quiet()
    yield the_gateway
    the_gateway.wait_idle()


# --- the same as directly -----------------------------------------------------------------------------
def data_of(answer):
    """What a client gave, as plain data."""
    if hasattr(answer, "model_dump"):
        return answer.model_dump(mode="json")
    if isinstance(answer, (str, int, float, dict, list, type(None))):
        return answer
    return [data_of(part) for part in answer]


def outcome(ask, url):
    """What it gave or raised, without what is never the same."""
    try:
        return compare.normal(data_of(ask(url)))
    except pypi_ollama.ResponseError as error:
        return "ResponseError", error.status_code, error.error
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return type(error).__name__, error.status_code


def with_ollama(ask):
    return lambda url: ask(pypi_ollama.Client(url))


def with_openai(ask):
    def run(url):
        with openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as client:
            return data_of(ask(client))
    return run


def with_anthropic(ask):
    def run(url):
        with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
            return data_of(ask(client))
    return run


def with_npm(scenario, model=MODEL, prompt=PROMPT):
    return lambda url: npm(url, scenario, model=model, prompt=prompt, tokens=4)


NOT_THERE = "nope"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": CALL}}
CHAT = {"model": MODEL, "messages": MESSAGES, "temperature": 0, "seed": 1, "max_tokens": 4}
ANTHROPIC = {"model": MODEL, "messages": MESSAGES, "max_tokens": 4, "extra_body": {"temperature": 0}}
ASKS = {
    "ollama list": with_ollama(lambda c: c.list()), "ollama ps": with_ollama(lambda c: c.ps()),
    "ollama show": with_ollama(lambda c: c.show(MODEL)),
    "ollama embed": with_ollama(lambda c: c.embed(EMBED, ["a", "cat"])),
    "ollama embed, cut": with_ollama(lambda c: c.embed(EMBED, "cat", dimensions=8)),
    "ollama embeddings": with_ollama(lambda c: c.embeddings(EMBED, "cat")),
    "ollama generate": with_ollama(lambda c: c.generate(MODEL, PROMPT, options=OPTIONS)),
    "ollama generate, stream": with_ollama(lambda c: c.generate(MODEL, PROMPT, options=OPTIONS, stream=True)),
    "ollama call": with_ollama(lambda c: c.chat(TOOLS_MODEL, MESSAGES, tools=TOOLS, format=CALL, stream=True,
                                                options=OPTIONS | {"num_predict": 300})),
    "ollama thinks": with_ollama(lambda c: c.chat("tinythink", MESSAGES, think=True, stream=True, options=OPTIONS)),
    "ollama unknown": with_ollama(lambda c: c.generate(NOT_THERE, PROMPT)),
    "ollama unknown, stream": with_ollama(lambda c: c.chat(NOT_THERE, MESSAGES, stream=True)),
    "ollama show unknown": with_ollama(lambda c: c.show(NOT_THERE)),
    "ollama embed unknown": with_ollama(lambda c: c.embed(NOT_THERE, "x")),
    "ollama delete unknown": with_ollama(lambda c: c.delete(NOT_THERE)),
    "ollama tools of none": with_ollama(lambda c: c.chat(MODEL, MESSAGES, tools=TOOLS)),
    "ollama pull": with_ollama(lambda c: c.pull("127.0.0.1:1/a/b", insecure=True)),
    "ollama create, copy, delete": with_ollama(lambda c: [
        data_of(c.create("sdk", from_=MODEL, system="Be brief.", stream=True)), data_of(c.copy("sdk", "sdk2")),
        data_of(c.show("sdk2")), data_of(c.delete("sdk")), data_of(c.delete("sdk2"))]),
    "openai models": with_openai(lambda c: list(c.models.list())),
    "openai model": with_openai(lambda c: c.models.retrieve("TINY")),
    "openai model unknown": with_openai(lambda c: c.models.retrieve(NOT_THERE)),
    "openai embeddings": with_openai(lambda c: c.embeddings.create(model=EMBED, input=["a", "cat"])),
    "openai chat": with_openai(lambda c: c.chat.completions.create(**CHAT)),
    "openai chat, stream": with_openai(lambda c: c.chat.completions.create(
        **CHAT, stream=True, stream_options={"include_usage": True})),
    "openai call": with_openai(lambda c: c.chat.completions.create(
        model=TOOLS_MODEL, messages=MESSAGES, tools=TOOLS, temperature=0, seed=1, response_format=SCHEMA, stream=True)),
    "openai unknown": with_openai(lambda c: c.chat.completions.create(**CHAT | {"model": NOT_THERE})),
    "openai bad": with_openai(lambda c: c.chat.completions.create(**CHAT | {"messages": []})),
    "openai responses unknown": with_openai(lambda c: c.responses.create(model=NOT_THERE, input=PROMPT, stream=True)),
    "anthropic": with_anthropic(lambda c: c.messages.create(**ANTHROPIC)),
    "anthropic, stream": with_anthropic(lambda c: c.messages.create(**ANTHROPIC, stream=True)),
    "anthropic unknown": with_anthropic(lambda c: c.messages.create(**ANTHROPIC | {"model": NOT_THERE}, stream=True)),
    "anthropic bad": with_anthropic(lambda c: c.messages.create(**ANTHROPIC | {"max_tokens": -1})),
    **{f"npm {scenario}": with_npm(scenario) for scenario in ("list", "show", "ps", "version", "generate",
    "chatStream")},
    "npm embed": with_npm("embed", EMBED), "npm embeddings": with_npm("embeddings", EMBED),
    "npm unknown": with_npm("generate", NOT_THERE), "npm unknown, stream": with_npm("chatStream", NOT_THERE),
    "npm pull": with_npm("pull", "http://127.0.0.1:1/a/b"),
    "curl many on one connection": lambda url: curl("-w", "%{num_connects}", *[url + "/api/version"] * 3),
    "curl --fail": lambda url: curl("-f", "-s", url + "/api/nope", "-o", "/dev/null", "-w", "%{http_code}"),
    "curl -L": lambda url: json.loads(curl("-L", url + "//api/tags")[1]),
}


@pytest.mark.parametrize("name", ASKS)
def test_a_client_gets_the_same_as_directly(ollama, gateway, name):
    assert outcome(ASKS[name], gateway.url) == outcome(ASKS[name], ollama.url)
