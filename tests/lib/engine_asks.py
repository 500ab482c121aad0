# SPDX-License-Identifier: Apache-2.0
"""What the real engine is asked in tests, on every path: to count on from 11. At temperature 0 it does so until
it is stopped, so that what arrives can be checked word for word, and a long answer does not end by itself."""
import json

from engine import MODEL

COUNT = "1 2 3 4 5 6 7 8 9 10 11"
TOKENS = 12  # of a short answer, " 12 13 14 15": each is a digit or a space
LONG = 1900  # of one that no test waits for, about a minute
NATIVE = ("/api/generate", "/api/chat")
V1 = ("/v1/completions", "/v1/chat/completions", "/v1/messages", "/v1/responses")
OVERFLOW = "word " * 2100  # tokens, in a context of 2048


def counting_from(first):
    """A prompt that goes on with `first`; two digits, and no step to a hundred, are what the model is sure of."""
    return " ".join(map(str, range(first - 11, first)))


def assert_counts(text, first=12):
    """It goes on from `first` without a gap; the last number may be cut."""
    expected = " " + " ".join(map(str, range(first, first + len(text))))
    assert len(text) >= 3 and expected.startswith(text), text


def body_of(path, tokens=TOKENS, stream=True, prompt=COUNT, **more):
    """The request of `path` for `tokens` tokens that follow `prompt`."""
    body = {"model": MODEL, "stream": stream}
    if path in NATIVE:
        body["options"] = {"num_predict": tokens, "temperature": 0}
    else:
        body |= {"max_output_tokens" if path == "/v1/responses" else "max_tokens": tokens, "temperature": 0}
    if path in ("/api/generate", "/v1/completions"):
        body["prompt"] = prompt
    elif path == "/v1/responses":
        body["input"] = prompt
    else:
        body["messages"] = [{"role": "user", "content": prompt}]
    return body | more


def text_of_part(part):
    """The text of a native part."""
    return part["message"]["content"] if "message" in part else part["response"]


def text_of(path, answer):
    """The text of a whole answer."""
    if path in NATIVE:
        return text_of_part(answer)
    if path == "/v1/messages":
        return answer["content"][0]["text"]
    if path == "/v1/responses":
        return answer["output"][0]["content"][0]["text"]
    choice = answer["choices"][0]
    return choice["text"] if path == "/v1/completions" else choice["message"]["content"]


def data_of(event):
    """The object of a server-sent event; None for [DONE]."""
    data = event.split(b"data: ", 1)[1]
    return None if data == b"[DONE]" else json.loads(data)


def text_of_event(path, data):
    """What this event of a stream adds to the text."""
    if path == "/v1/messages":
        return data["delta"]["text"] if data["type"] == "content_block_delta" else ""
    if path == "/v1/responses":
        return data["delta"] if data["type"] == "response.output_text.delta" else ""
    if not data or not data["choices"]:
        return ""
    choice = data["choices"][0]
    return (choice["text"] if path == "/v1/completions" else choice["delta"].get("content")) or ""


def pieces_of(path, response):
    """The pieces of text of a streamed answer, empty ones left out. It must end as its format says."""
    if path in NATIVE:
        parts = response.lines()
        assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]
        pieces = map(text_of_part, parts)
    else:
        events = response.events()
        last = {"/v1/messages": b"event: message_stop\n", "/v1/responses": b"event: response.completed\n"}
        assert events[-1].startswith(last.get(path, b"data: [DONE]")), events[-1]
        pieces = (text_of_event(path, data_of(event)) for event in events)
    return [piece for piece in pieces if piece]
