# SPDX-License-Identifier: Apache-2.0
"""What models answer, on each face: whole and streamed, thinking, calling tools, embedding, and what they refuse.

At temperature 0 and with few tokens, so that both times the same is said.
"""
from asks import EMBED, MESSAGES, MODEL, PROMPT, THINK_MODEL, TOOLS_MODEL, post

OPTIONS = {"temperature": 0, "seed": 1, "num_predict": 3}
PNG = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
LONG = "word " * 3000
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean", "enum": [True]}}, "required": ["a"]}
PARAMETERS = {"type": "object", "properties": {"done": {"type": "boolean"}}, "required": ["done"]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "the weather",
                                           "parameters": PARAMETERS}}]
# Nothing else can be said than this call.
CALL = {"type": "object", "required": ["name", "arguments"], "properties": {
    "name": {"type": "string", "enum": ["get_weather"]},
    "arguments": {"type": "object", "required": ["done"], "properties": {"done": {"type": "boolean", "enum": [True]}}}}}
CALL_OPTIONS = {"temperature": 0, "seed": 1, "num_predict": 300}


def named(path, asks, **common):
    """Cases of one path: `asks` is {name: its body}."""
    return [post(f"{path}: {name}", path, **common | body) for name, body in asks.items()]


def streams(body):
    return {"stream": body | {"stream": True}, "no stream": body | {"stream": False}}


# --- Ollama's own -------------------------------------------------------------------------------------
NATIVE = {
    "default": {}, "no stream": {"stream": False}, "another spelling": {"model": "TINY:Latest"},
    "library": {"model": "library/tiny:latest"}, "registry": {"model": "registry.ollama.ai/library/tiny"},
    "https": {"model": "https://registry.ollama.ai/library/tiny"}, "blanks": {"model": " tiny "},
    "digest": {"model": "tiny@sha256:abc"}, "colon": {"model": "tiny:"}, "slash": {"model": "/tiny"},
    "long name": {"model": "t" * 400}, "another host": {"model": "hf.example/x/y"},
    "cloud": {"model": "gpt-oss:120b-cloud"},
    "json": {"format": "json", "stream": False}, "schema": {"format": SCHEMA, "options": OPTIONS | {"num_predict": 40}},
    "unknown format": {"format": "yaml"}, "logprobs": {"logprobs": True, "top_logprobs": 2},
    "21 logprobs": {"logprobs": True, "top_logprobs": 21}, "think": {"think": True}, "think high": {"think": "high"},
    "option of a wrong type": {"options": {"temperature": "hot"}}, "unknown option": {"options": OPTIONS | {"bogus": 1}},
    "options no object": {"options": [1]}, "stop": {"options": OPTIONS | {"num_predict": 8, "stop": ["cat", "t"]}},
    "long": {"options": OPTIONS | {"num_predict": 60}}, "stream is a number": {"stream": 1},
    "rendered only": {"_debug_render_only": True}, "keep_alive of a wrong type": {"keep_alive": []},
}
GENERATE = NATIVE | {
    "raw": {"raw": True}, "suffix": {"suffix": "end"}, "context": {"context": [1, 2, 3]},
    "template": {"template": "Q: {{ .Prompt }}"}, "bad template": {"template": "{{ .Prompt"},
    "system": {"system": "Be brief."},
    "letters": {"prompt": "H\u00e9 \U0001f600 \u4f60\u597d"}, "images": {"images": [PNG]},
    "no image": {"images": ["%%"]},
    "too long": {"prompt": LONG, "truncate": False}, "an embedder": {"model": EMBED},
    "prompt is a number": {"prompt": 3},
}
CHAT = NATIVE | {
    "unknown role": {"messages": [{"role": "robot", "content": "x"}]}, "tools, which it has none of": {"tools": TOOLS},
    "history": {"messages": [{"role": "system", "content": "Be brief."}, *MESSAGES,
                             {"role": "assistant", "content": "there"}, {"role": "user", "content": "go on"}]},
    "images": {"messages": [MESSAGES[0] | {"images": [PNG]}]}, "messages no array": {"messages": "x"},
    "content is a number": {"messages": [{"role": "user", "content": 3}]}, "an embedder": {"model": EMBED},
    "too long": {"messages": [{"role": "user", "content": LONG}], "truncate": False},
}
EMBEDDING = {
    "one": {"input": "hello"}, "three": {"input": ["hello", "world", "x"]}, "fewer dimensions": {"dimensions": 8},
    "nothing": {"input": ""}, "empty list": {"input": []}, "number": {"input": 3},
    "text and number": {"input": ["a", 3]},
    "too long": {"input": LONG * 3, "truncate": False}, "cut": {"input": LONG * 3}, "stream": {"stream": True},
    "unknown, as a list": {"model": "nope", "input": ["a"]}, "keep_alive": {"keep_alive": "1h"},
}
CASES = named("/api/generate", GENERATE, model=MODEL, prompt=PROMPT, options=OPTIONS)
CASES += named("/api/chat", CHAT, model=MODEL, messages=MESSAGES, options=OPTIONS)
CASES += named("/api/embed", EMBEDDING, model=EMBED, input="hello")
CASES += named("/api/embeddings", {"one": {"prompt": "hello"}, "nothing": {"prompt": ""}, "no prompt": {},
                                   "number": {"prompt": 3}, "unknown one": {"model": "nope", "prompt": "x"}},
                                   model=EMBED)
for path, ask in (("/api/generate", {"prompt": PROMPT}), ("/api/chat", {"messages": MESSAGES})):
    CASES += named(path, {f"thinking, {name}": body for name, body in streams({}).items()},
                   model=THINK_MODEL, think=True, options=OPTIONS, **ask)
CASES += named("/api/chat", {f"call, {name}": body for name, body in streams({"format": CALL}).items()},
               model=TOOLS_MODEL, messages=MESSAGES, tools=TOOLS, options=CALL_OPTIONS)
CASES += named("/api/chat", {"call in the history": {"messages": MESSAGES + [
    {"role": "assistant", "content": "",
    "tool_calls": [{"function": {"name": "get_weather", "arguments": {"done": True}}}]},
    {"role": "tool", "content": "sunny", "tool_name": "get_weather"}]}}, model=TOOLS_MODEL, tools=TOOLS, options=OPTIONS)


# --- OpenAI's -----------------------------------------------------------------------------------------
V1 = {"temperature": 0, "seed": 1, "max_tokens": 3}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
V1_CHAT = streams({}) | {
    "usage": USAGE, "logprobs": {"logprobs": True, "top_logprobs": 2}, "no messages": {"messages": []},
    "messages is null": {"messages": None}, "json": {"response_format": {"type": "json_object"}},
    "schema": {"max_tokens": 40,
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    "content is a number": {"messages": [{"role": "user", "content": 3}]},
    "content of parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]},
    "image": {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}}]}]},
    "image elsewhere": {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}]}]},
    "tools, which it has none of": {"tools": TOOLS}, "effort": {"reasoning_effort": "high"}, "stop": {"stop": ["cat"]},
    "another spelling": {"model": "Tiny"}, "an embedder": {"model": EMBED},
    "temperature is a string": {"temperature": "hot"},
    "what it does not know": {"n": 2, "logit_bias": {}, "user": "me", "tool_choice": "auto", "bogus": 1},
    "long": {"max_tokens": 60, "stream": True},
}
CASES += named("/v1/chat/completions", V1_CHAT, model=MODEL, messages=MESSAGES, **V1)
CASES += [post("/v1/chat/completions: with a key", "/v1/chat/completions", (("Authorization", "Bearer ollama"),),
               model=MODEL, messages=MESSAGES, **V1)]
CASES += named("/v1/chat/completions",
               {f"call, {name}": body for name, body in (streams({}) | {"usage": USAGE}).items()},
               model=TOOLS_MODEL, messages=MESSAGES, tools=TOOLS, temperature=0, seed=1,
               response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": CALL}})
CASES += named("/v1/chat/completions", {f"thinking, {name}": body for name, body in streams({}).items()},
               model=THINK_MODEL, messages=MESSAGES, reasoning_effort="high", **V1)
CASES += named("/v1/completions", streams({}) | {
    "usage": USAGE, "array": {"prompt": ["a"]}, "nothing": {"prompt": ""}, "stop": {"stop": ["cat"], "stream": True},
    "logprobs": {"logprobs": 1}, "suffix": {"suffix": "end"}, "an embedder": {"model": EMBED}},
    model=MODEL, prompt=PROMPT, **V1)
CASES += named("/v1/embeddings", {
    "one": {"input": "hello"}, "base64": {"input": ["hello", "x"], "encoding_format": "base64"}, "no input": {},
    "unknown encoding": {"input": "hello", "encoding_format": "hex"}, "nothing": {"input": ""},
    "tokens": {"input": [[1, 2]]}, "fewer dimensions": {"input": "hello", "dimensions": 8}}, model=EMBED)
RESPONSES = {"model": MODEL, "input": PROMPT, "temperature": 0, "max_output_tokens": 3}
FUNCTION = {"type": "function", "name": "get_weather", "parameters": PARAMETERS}
CASES += named("/v1/responses", streams({}) | {
    "list": {"input": MESSAGES}, "earlier response": {"previous_response_id": "resp_1"}, "no input": {"input": None},
    "tools, which it has none of": {"tools": [FUNCTION]}, "instructions": {"instructions": "Be brief."},
    "call": {"model": TOOLS_MODEL, "stream": True, "max_output_tokens": 100, "tools": [FUNCTION],
             "text": {"format": {"type": "json_schema", "name": "x", "schema": CALL}}},
    "thinking": {"model": THINK_MODEL, "reasoning": {"effort": "high"}, "stream": True}}, **RESPONSES)
CASES += [post("/v1/images/generations: asked", "/v1/images/generations", model="nope", prompt="x"),
          post("/v1/audio/transcriptions: as JSON", "/v1/audio/transcriptions", model=MODEL)]


# --- Anthropic's --------------------------------------------------------------------------------------
ANTHROPIC = {"model": MODEL, "messages": MESSAGES, "temperature": 0, "max_tokens": 3}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
CASES += named("/v1/messages", streams({}) | {
    "no max_tokens": {"max_tokens": None}, "max_tokens below 0": {"max_tokens": -1}, "no messages": {"messages": None},
    "system": {"system": "Be brief."}, "stop": {"stop_sequences": ["cat"], "max_tokens": 20},
    "tools, which it has none of": {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
    "tools": {"model": TOOLS_MODEL, "stream": True, "tools": [{"name": "get_weather", "input_schema": PARAMETERS}]},
    "thinking, which it does not": THINKING, "an embedder": {"model": EMBED},
    **{f"thinking, {name}": {"model": THINK_MODEL} | THINKING | body for name, body in streams({}).items()}},
    **ANTHROPIC)
CASES += [post("/v1/messages: with a key", "/v1/messages", (("x-api-key", "k"), ("anthropic-version", "2023-06-01")),
               **ANTHROPIC)]
