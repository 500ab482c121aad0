# SPDX-License-Identifier: Apache-2.0
"""The same text continued three times: by mcpgate generate over MCP, and by curl over HTTP."""
import codecs
import dataclasses
import json
import os
import selectors
import shlex
import time

STALL_S = 300  # a model that must be loaded from a slow disk first
MCP_HEADER_BYTES = 10


class RunFailed(Exception):
    """One line that says what went wrong."""


@dataclasses.dataclass
class Request:
    model: str
    prompt: str
    raw: bool  # continue the text as it is, without the model's chat template
    max_tokens: int = 96
    temperature: float = 0.7
    seed: int = 7


@dataclasses.dataclass
class Run:
    """What the client saw; times from its start."""
    first_s: float | None = None
    last_s: float | None = None
    tokens: int = 0  # the model's own count where it tells one
    pieces: int = 0
    bytes: int = 0

    @property
    def tokens_per_s(self):
        if self.pieces < 2 or self.last_s <= self.first_s:
            return None
        return (self.tokens - 1) / (self.last_s - self.first_s)


def mcp_command(binary, address, request):
    return [binary, "generate", "--host", address, "--model", request.model, "--json",
            *(["--raw"] if request.raw else []), "--max-tokens", str(request.max_tokens),
            "--option", f"temperature={request.temperature}", "--option", f"seed={request.seed}", request.prompt]


def curl_command(url, body):
    # -q: not the user's .curlrc; proxies of the environment are not for loopback.
    return ["curl", "-q", "-sS", "-N", "--noproxy", "*", "--fail-with-body", url, "-d",
            json.dumps(body, ensure_ascii=False)]


def generate_command(address, request):
    body = {"model": request.model, "prompt": request.prompt, **({"raw": True} if request.raw else {}),
            "options": {"num_predict": request.max_tokens, "temperature": request.temperature,
                        "seed": request.seed}}
    return curl_command(f"http://{address}/api/generate", body)


def chat_command(address, request):
    body = {"model": request.model, "messages": [{"role": "user", "content": request.prompt}],
            "max_tokens": request.max_tokens, "temperature": request.temperature, "seed": request.seed,
            "stream": True, "stream_options": {"include_usage": True}}
    return curl_command(f"http://{address}/v1/chat/completions", body)


def shown(command):
    """The command as one would type it, a long body shortened."""
    words = [os.path.relpath(command[0]) if os.path.isabs(command[0]) else command[0], *command[1:]]
    text = shlex.join(str(w) for w in words)
    return text if len(text) <= 400 else text[:397] + "..."


# --- reading answers: text of a line, whether it ends the answer, the model's token count --------
def error_text(error):
    return error.get("message", json.dumps(error)) if isinstance(error, dict) else str(error)


def read_native(line):
    part = json.loads(line)
    if part.get("error"):
        raise RunFailed(error_text(part["error"]))
    return (part.get("thinking") or "") + (part.get("response") or ""), bool(part.get("done")), part.get("eval_count")


def read_sse(line):
    if not line.startswith("data:"):
        return "", False, None
    data = line[5:].strip()
    if data == "[DONE]":
        return "", True, None
    chunk = json.loads(data)
    if chunk.get("error"):
        raise RunFailed(error_text(chunk["error"]))
    text = ""
    for choice in (chunk.get("choices") or [])[:1]:
        delta = choice.get("delta") or {}
        text = (delta.get("reasoning") or delta.get("reasoning_content") or "") + (delta.get("content") or "")
    return text, False, (chunk.get("usage") or {}).get("completion_tokens")


def lines_of(child):
    """(time, line) as they come from the child's stdout; time runs from now."""
    begin = time.monotonic()
    decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
    with selectors.DefaultSelector() as selector:
        selector.register(child.process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(STALL_S):
                raise RunFailed(f"nothing came for {STALL_S} s")
            data = child.process.stdout.read(65536)
            now = time.monotonic() - begin
            rest += decoder.decode(data, final=not data)
            *whole, rest = rest.split("\n")
            for line in whole:
                yield now, line
            if not data:
                if rest:
                    yield now, rest
                return


def follow(child, read, emit, mcp=False):
    """Reads the child's answer to its end, handing each piece of text to emit. Returns the Run."""
    run, done, counted, other = Run(), False, None, []
    for now, line in lines_of(child):
        size = len(line.encode())
        run.bytes += MCP_HEADER_BYTES + size if mcp else size + 1
        if not line.strip():
            continue
        try:
            text, ends, count = read(line)
        except (ValueError, AttributeError):
            other.append(line)
            continue
        done, counted = done or ends, counted if count is None else count
        if text:
            run.first_s = now if run.first_s is None else run.first_s
            run.last_s = now
            run.pieces += 1
            emit(text)
    stderr = child.process.stderr.read().decode(errors="replace").strip()
    status = child.process.wait()
    child.process.stdout.close()
    child.process.stderr.close()
    if status != 0 or not done:
        words = stderr.splitlines() or other or [f"status {status}"]
        raise RunFailed(words[-1] if status != 0 else f"the answer ended without its last part {words[-1:]}")
    run.tokens = run.pieces if counted is None else counted
    return run
