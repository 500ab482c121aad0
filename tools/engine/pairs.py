# SPDX-License-Identifier: Apache-2.0
"""Requests that tools/engine/record --pairs records at once and as a stream."""
CHAT, COMPLETIONS, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"
PROMPT = "The capital of France is"
SAID = [{"role": "user", "content": PROMPT}]
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "weather of a city"}
TOOLS = [{"type": "function", "function": {**WEATHER, "parameters": CITY}}]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
ASKED = [{"role": "user", "content": CALL}] * 2  # the model says after it
THINKS = 'root ::= "I think\\n</think>\\n\\nHello" " you"'

PLAIN = {
    "chat": (CHAT, {"messages": SAID, "max_tokens": 4}),
    "chat-n2": (CHAT, {"messages": SAID, "max_tokens": 3, "n": 2}),
    "chat-empty": (CHAT, {"messages": SAID, "max_tokens": 4, "stop": [" the"]}),
    "chat-stop": (CHAT, {"messages": SAID, "max_tokens": 9, "stop": ["capital of"]}),
    "chat-progress": (CHAT, {"messages": SAID, "max_tokens": 3, "return_progress": True, "timings_per_token": True}),
    "completions": (COMPLETIONS, {"prompt": PROMPT, "max_tokens": 4}),
    "completions-n2": (COMPLETIONS, {"prompt": PROMPT, "max_tokens": 3, "n": 2}),
    "completions-array": (COMPLETIONS, {"prompt": ["a", "b", "c"], "max_tokens": 2}),
    "completions-stop": (COMPLETIONS, {"prompt": "1 2 3 4 5", "max_tokens": 30, "stop": ["8"]}),
    "completions-utf8": (COMPLETIONS, {"prompt": "日本の首都は", "max_tokens": 12}),
    "completions-logprobs": (COMPLETIONS, {"prompt": PROMPT, "max_tokens": 3, "logprobs": 2}),
    "messages": (MESSAGES, {"messages": SAID, "max_tokens": 4}),
    "messages-empty": (MESSAGES, {"messages": SAID, "max_tokens": 4, "stop_sequences": [" the"]}),
    "responses": (RESPONSES, {"input": PROMPT, "max_output_tokens": 4}),
    "responses-empty": (RESPONSES, {"input": PROMPT, "max_output_tokens": 4, "stop": [" the"]}),
}
TALKING = {
    "chat-thinking": (CHAT, {"messages": SAID, "max_tokens": 40, "grammar": THINKS}),
    "chat-thinking-only": (CHAT, {"messages": SAID, "max_tokens": 4}),
    "chat-tool": (CHAT, {"messages": ASKED, "max_tokens": 30, "tools": TOOLS, "logit_bias": [[954, -100.0]]}),
    "chat-tools": (CHAT, {"messages": ASKED, "max_tokens": 60, "tools": TOOLS}),
    "messages-thinking": (MESSAGES, {"messages": SAID, "max_tokens": 4}),
    "messages-tools": (MESSAGES, {"messages": ASKED, "max_tokens": 60, "tools": [{**WEATHER, "input_schema": CITY}]}),
    "responses-thinking": (RESPONSES, {"input": PROMPT, "max_output_tokens": 4}),
    "responses-tools": (RESPONSES, {"input": CALL + "\n" + CALL, "max_output_tokens": 60,
                                    "tools": [{"type": "function", **WEATHER, "parameters": CITY}]}),
}


def streamed(path, body):
    usage = {"stream_options": {"include_usage": True}} if path in (CHAT, COMPLETIONS) else {}
    return {**body, "stream": True, **usage}
