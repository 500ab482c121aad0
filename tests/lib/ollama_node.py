# SPDX-License-Identifier: Apache-2.0
"""A node that answers as Ollama does: in the shapes a real one was recorded with (tests/fixtures/ollama, v0.17.4),
and where 0.33 is documented to differ, as that."""
import json

from node import Node, answer, encode_json, head_of, ndjson, sse

VERSION = "0.33.0"
DIGEST = "sha256:" + "a1" * 32
CREATED = "2026-11-22T12:00:00.123456789Z"
TOKENS = ["The", " quick", " \u4f60\u597d", " \N{FOX FACE}."]
COUNTS = {"total_duration": 4935886791, "load_duration": 534986708, "prompt_eval_count": 26,
          "prompt_eval_duration": 107345000, "eval_count": len(TOKENS), "eval_duration": 4289432000}
USAGE = {"prompt_tokens": 26, "completion_tokens": 4, "total_tokens": 30}
DETAILS = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
           "parameter_size": "8.0B", "quantization_level": "Q4_0"}
PROGRESS = [{"status": "pulling manifest"},
            {"status": "pulling " + DIGEST[7:19], "digest": DIGEST, "total": 2142590208, "completed": 241970},
            {"status": "verifying sha256 digest"}, {"status": "writing manifest"}, {"status": "success"}]
CREATION = [{"status": "using existing layer " + DIGEST}, {"status": "writing manifest"}, {"status": "success"}]
PLAIN = "text/plain; charset=utf-8"


def generate_parts(model, tokens=TOKENS):
    parts = [{"model": model, "created_at": CREATED, "response": t, "done": False} for t in tokens]
    return parts + [{"model": model, "created_at": CREATED, "response": "", "done": True,
                     "done_reason": "stop", "context": [1, 2, 3], **COUNTS}]


def chat_parts(model, tokens=TOKENS):
    def message(text):
        return {"role": "assistant", "content": text}
    parts = [{"model": model, "created_at": CREATED, "message": message(t), "done": False} for t in tokens]
    return parts + [{"model": model, "created_at": CREATED, "message": message(""), "done": True,
                     "done_reason": "stop", **COUNTS}]


def openai_chunk(model, **choice):
    return {"id": "chatcmpl-42", "object": "chat.completion.chunk", "created": 1795348800, "model": model,
            "system_fingerprint": "fp_ollama", "choices": [{"index": 0, **choice}]}


def openai_chat_events(model, tokens=TOKENS):
    events = [openai_chunk(model, delta={"role": "assistant", "content": t}, finish_reason=None) for t in tokens]
    return events + [openai_chunk(model, delta={"role": "assistant", "content": ""}, finish_reason="stop"),
                     b"data: [DONE]"]


def openai_text_chunk(model, *choices):
    return {"id": "cmpl-42", "object": "text_completion", "created": 1795348800, "choices": list(choices),
            "model": model, "system_fingerprint": "fp_ollama"}


def openai_text_events(model, tokens=TOKENS):
    def event(text, reason):
        return openai_text_chunk(model, {"text": text, "index": 0, "finish_reason": reason})
    return [event(t, None) for t in tokens] + [event("", "stop"), b"data: [DONE]"]


def with_usage(body, events, last, in_each=False):
    """Where the request asks for it, the counts in an event of their own before [DONE]."""
    if not body.get("stream_options", {}).get("include_usage"):
        return events
    parts = [{**event, "usage": dict.fromkeys(USAGE, 0)} for event in events[:-1]] if in_each else events[:-1]
    return [*parts, {**last, "usage": USAGE}, events[-1]]


def typed(kind, **members):
    """An event with a name of its own, as Anthropic's API and /v1/responses have them."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}".encode()


def anthropic_events(model, tokens=TOKENS):
    start = {"id": "msg_42", "type": "message", "role": "assistant", "model": model, "content": [],
             "usage": {"input_tokens": 26, "output_tokens": 0}}
    return [typed("message_start", message=start),
            typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *[typed("content_block_delta", index=0, delta={"type": "text_delta", "text": t}) for t in tokens],
            typed("content_block_stop", index=0),
            typed("message_delta", delta={"stop_reason": "end_turn"},
                  usage={"input_tokens": 26, "output_tokens": len(tokens)}),
            typed("message_stop")]


def responses_response(model, status="completed", output=(), usage=None):
    """What /v1/responses answers, and its first and last events carry."""
    return {"id": "resp_42", "object": "response", "created_at": 1795348800,
            "completed_at": 1795348801 if usage else None, "status": status, "incomplete_details": None, "model": model,
            "previous_response_id": None, "instructions": None, "output": list(output), "error": None, "tools": [],
            "tool_choice": "auto", "truncation": "disabled", "parallel_tool_calls": True,
            "text": {"format": {"type": "text"}}, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0,
            "top_logprobs": 0, "temperature": 1, "reasoning": None, "usage": usage, "max_output_tokens": None,
            "max_tool_calls": None, "store": False, "background": False, "service_tier": "default", "metadata": {},
            "safety_identifier": None, "prompt_cache_key": None}


RESPONSES_USAGE = {"input_tokens": 26, "output_tokens": 4, "total_tokens": 30,
                   "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}


def responses_events(model, tokens=TOKENS):
    response = responses_response(model, "in_progress")
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    done = {**part, "text": "".join(tokens)}
    item = {"id": "msg_42", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    whole = {**item, "status": "completed", "content": [done]}
    where = {"item_id": "msg_42", "output_index": 0, "content_index": 0}
    events = [
        ("response.created", {"response": response}), ("response.in_progress", {"response": response}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.content_part.added", {**where, "part": part}),
        *[("response.output_text.delta", {**where, "delta": t, "logprobs": []}) for t in tokens],
        ("response.output_text.done", {**where, "text": done["text"], "logprobs": []}),
        ("response.content_part.done", {**where, "part": done}),
        ("response.output_item.done", {"output_index": 0, "item": whole}),
        ("response.completed", {"response": responses_response(model, output=[whole], usage=RESPONSES_USAGE)})]
    return [typed(kind, **members, sequence_number=i) for i, (kind, members) in enumerate(events)]


def v1(body, status=200, reason="OK"):
    """The translating half of Ollama: no charset, and a newline at the end."""
    return answer(encode_json(body) + b"\n", status, "application/json", reason=reason)


def missing(path, model):
    message = f"model '{model}' not found"
    if path.startswith("/v1/"):
        error = {"message": message, "type": "not_found_error"}
        body = {"error": {**error, "param": None, "code": None}}
        if path == "/v1/messages":
            body = {"type": "error", "error": error, "request_id": "req_42"}
        return v1(body, 404, "Not Found")
    if path in ("/api/embed", "/api/embeddings"):
        message = f'model "{model}" not found, try pulling it first'
    return answer({"error": message}, 404, reason="Not Found")


class OllamaNode(Node):
    def __init__(self, *models, **options):
        self.models = list(models) or ["llama3:8b", "m:latest"]
        super().__init__(**options)

    def has(self, model):
        return model in self.models or f"{model}:latest" in self.models

    def answers_of(self, request):
        method, path = request.method, request.path
        exact = self.plain_answer(method, path)
        if exact is not None:
            return exact
        if path.startswith("/v1/models/"):
            if not self.has(path[11:]):
                return missing(path, path[11:])
            return v1({"id": path[11:], "object": "model", "created": 1795348800, "owned_by": "library"})
        if path.startswith("/api/blobs/"):
            return [head_of(content_type=None)] if method == "HEAD" else answer(
                status=201, content_type=None, reason="Created")
        if path.startswith("/api/user/keys/"):
            return answer({"error": "unauthorized", "signin_url": "https://example.com/connect"}, 401)
        if method == "POST" and path in MODEL_ANSWERS:
            return self.model_answer(request)
        if path in MODEL_ANSWERS:
            return answer(b"405 method not allowed", 405, "text/plain", headers=[("Allow", "POST")],
                          reason="Method Not Allowed")
        return answer(b"404 page not found", 404, "text/plain", reason="Not Found")

    def plain_answer(self, method, path):
        if method == "OPTIONS":
            return [b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Methods: GET,POST\r\n"
                    b"Access-Control-Allow-Origin: *\r\n\r\n"]
        plain = {
            "/": (b"Ollama is running", PLAIN),
            "/api/version": ({"version": VERSION}, None),
            "/api/status": ({"cloud": {"disabled": True, "source": "env"}}, None),
            "/api/tags": ({"models": [self.listed(m) for m in self.models]}, None),
            "/api/ps": ({"models": [{
                "name": m, "model": m, "size": 6654289920, "digest": DIGEST[7:], "details": DETAILS,
                "expires_at": CREATED, "size_vram": 5137025024, "context_length": 4096}
                for m in self.models]}, None),
            "/api/experimental/model-recommendations": ({"recommendations": []}, None),
        }
        if (method, path) == ("GET", "/v1/models"):
            return v1({"object": "list", "data": [{"id": m, "object": "model", "created": 1795348800,
                                                   "owned_by": "library"} for m in self.models]})
        if method in ("GET", "HEAD") and path in plain:
            body, kind = plain[path]
            script = answer(body, **({"content_type": kind} if kind else {}))
            head, _ = script[0].split(b"\r\n\r\n", 1)
            return script if method == "GET" else [head + b"\r\n\r\n"]
        if (method, path) in (("POST", "/api/copy"), ("DELETE", "/api/delete")):
            return answer(content_type=None)
        if method == "POST" and path in ("/api/me", "/api/signout"):
            return answer({"error": "unauthorized", "signin_url": "https://example.com/connect"}, 401)
        if method == "POST" and path.startswith("/api/experimental/"):
            return answer({"results": []})
        if (method, path) == ("POST", "/v1/audio/transcriptions"):
            return answer({"text": "hello"})
        return None

    def listed(self, model):
        return {"name": model, "model": model, "modified_at": CREATED, "size": 3825819519, "digest": DIGEST[7:],
                "details": DETAILS, "capabilities": ["completion"]}

    def model_answer(self, request):
        body = request.json()
        model = body.get("model") or body.get("name")
        makes_it = request.path in ("/api/pull", "/api/push", "/api/create")
        if not makes_it and not self.has(model):
            return missing(request.path, model)
        default = request.path.startswith("/api/") and request.path not in ("/api/embed", "/api/embeddings")
        return MODEL_ANSWERS[request.path](model, body, body.get("stream", default))


def loaded(part, body):
    """One plain object, streaming or not, without counts."""
    kept = {key: part[key] for key in ("model", "created_at", "response", "message", "done") if key in part}
    return answer({**kept, "done_reason": "unload" if body.get("keep_alive") == 0 else "load"})


def answer_generate(model, body, streams):
    parts = generate_parts(model)
    if body.get("prompt", "") == "":
        return loaded(parts[-1], body)
    return ndjson(*parts) if streams else answer({**parts[-1], "response": "".join(TOKENS)})


def answer_chat(model, body, streams):
    parts = chat_parts(model)
    if not body.get("messages"):
        return loaded(parts[-1], body)
    whole = {**parts[-1], "message": {"role": "assistant", "content": "".join(TOKENS)}}
    return ndjson(*parts) if streams else answer(whole)


def answer_embed(model, body, streams):
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    return answer({"model": model, "embeddings": [[0.1, -0.25, 1e-05] for _ in inputs],
                   "total_duration": 14143917, "load_duration": 1019500, "prompt_eval_count": 8})


def answer_embeddings(model, body, streams):
    return answer({"embedding": [0.5670403838157654, 0.009260174818336964]})


def answer_show(model, body, streams):
    return answer({"modelfile": "FROM x\n", "template": "{{ .Prompt }}", "details": DETAILS,
                   "model_info": {"general.architecture": "llama"},
                   "tensors": [{"name": "token_embd.weight", "type": "F32", "shape": [64, 313]}],
                   "capabilities": ["completion"], "modified_at": CREATED})


def answer_progress(model, body, streams):
    return ndjson(*PROGRESS) if streams else answer(PROGRESS[-1], content_type="application/json")


def answer_create(model, body, streams):
    return ndjson(*CREATION) if streams else answer(CREATION[-1], content_type="application/json")


def answer_v1_chat(model, body, streams):
    if streams:
        last = {**openai_chunk(model), "choices": []}
        return sse(*with_usage(body, openai_chat_events(model), last))
    return v1({"id": "chatcmpl-42", "object": "chat.completion", "created": 1795348800, "model": model,
               "system_fingerprint": "fp_ollama",
               "choices": [{"index": 0, "message": {"role": "assistant", "content": "".join(TOKENS)},
                            "finish_reason": "stop"}],
               "usage": USAGE})


def answer_v1_text(model, body, streams):
    if streams:
        return sse(*with_usage(body, openai_text_events(model), openai_text_chunk(model), in_each=True))
    return v1({"id": "cmpl-42", "object": "text_completion", "created": 1795348800, "model": model,
               "system_fingerprint": "fp_ollama",
               "choices": [{"text": "".join(TOKENS), "index": 0, "finish_reason": "stop"}],
               "usage": USAGE})


def answer_v1_embeddings(model, body, streams):
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vector = "zczMPQAAgL4=" if body.get("encoding_format") == "base64" else [0.1, -0.25]
    return v1({"object": "list", "data": [{"object": "embedding", "embedding": vector, "index": i}
                                          for i in range(len(inputs))],
               "model": model, "usage": {"prompt_tokens": 8, "total_tokens": 8}})


EVENTS_HEADERS = [("Cache-Control", "no-cache"), ("Connection", "keep-alive")]


def answer_v1_messages(model, body, streams):
    if streams:
        return sse(*anthropic_events(model), headers=EVENTS_HEADERS)
    return v1({"id": "msg_42", "type": "message", "role": "assistant", "model": model,
               "content": [{"type": "text", "text": "".join(TOKENS)}], "stop_reason": "end_turn",
               "usage": {"input_tokens": 26, "output_tokens": 4}})


def answer_v1_responses(model, body, streams):
    if streams:
        return sse(*responses_events(model), headers=EVENTS_HEADERS)
    content = [{"type": "output_text", "text": "".join(TOKENS), "annotations": [], "logprobs": []}]
    message = {"id": "msg_42", "type": "message", "status": "completed", "role": "assistant", "content": content}
    return v1(responses_response(model, output=[message], usage=RESPONSES_USAGE))


MODEL_ANSWERS = {
    "/api/generate": answer_generate, "/api/chat": answer_chat, "/api/embed": answer_embed,
    "/api/embeddings": answer_embeddings, "/api/show": answer_show, "/api/pull": answer_progress,
    "/api/push": answer_progress, "/api/create": answer_create, "/v1/chat/completions": answer_v1_chat,
    "/v1/completions": answer_v1_text, "/v1/embeddings": answer_v1_embeddings,
    "/v1/messages": answer_v1_messages, "/v1/responses": answer_v1_responses,
}
