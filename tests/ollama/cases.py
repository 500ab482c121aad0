# SPDX-License-Identifier: Apache-2.0
"""What is asked of Ollama, directly and through the gateway: each route, its errors, and calls that change things.

SCENARIOS is {name: cases}; the cases of one are asked in their order, first directly, then through the gateway.
"""
import hashlib

import cases_answers
from asks import EMBED, GENERATING, MODEL, PROMPT, case, named, post
from compare import Case
from http_bytes import encode_json
from real import CACHE

LOCAL_PAGE = (("Origin", "http://localhost:3000"),)
FOREIGN_PAGE = (("Origin", "http://page.example"),)
PREFLIGHT = (("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type,authorization"))
NOWHERE = "127.0.0.1:1/nobody/nothing"  # a registry that refuses the connection
NEVER = "sha256:" + hashlib.sha256(b"never").hexdigest()
MIB = 1 << 20


def zstd_of(body):
    """One frame of one raw block."""
    data = encode_json(body)
    assert len(data) < 256
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data


def multipart(**fields):
    begin = "--edge\r\nContent-Disposition: form-data; name="
    parts = [f'{begin}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    return "".join([*parts, f'{begin}"file"; filename="a.wav"\r\n\r\nRIFF\r\n--edge--\r\n']).encode()


# --- routes and methods -------------------------------------------------------------------------------
ROUTES = [Case(f"{method} {path}", method, path) for method, path in (
    ("GET", "/"), ("HEAD", "/"), ("GET", "/api/version"), ("HEAD", "/api/version"), ("GET", "/api/status"),
    ("GET", "/api/tags"), ("HEAD", "/api/tags"), ("GET", "/api/tags?x=1"), ("GET", "/v1/models"),
    ("GET", "/v1/models/" + MODEL), ("GET", "/v1/models/TINY"), ("GET", "/v1/models/gemma3%3A270m"),
    ("GET", "/v1/models/nope"), ("GET", "/v1/models/a/b"), ("POST", "/api/me"), ("POST", "/api/signout"),
    ("DELETE", "/api/user/keys/abc"), ("GET", "/api/experimental/model-recommendations"),
    ("GET", "/api/experimental/aliases"), ("POST", "/api/experimental/web_search"),
    ("POST", "/api/experimental/web_fetch"),
    # no such method
    ("POST", "/"), ("POST", "/api/version"), ("PUT", "/api/tags"), ("DELETE", "/api/tags"), ("HEAD", "/api/ps"),
    ("GET", "/api/generate"), ("HEAD", "/api/generate"), ("PATCH", "/api/chat"), ("GET", "/api/delete"),
    ("GET", "/api/blobs/" + NEVER), ("HEAD", "/v1/models"), ("GET", "/v1/chat/completions"), ("TRACE", "/api/tags"),
    # no such path
    ("GET", "/nope"), ("HEAD", "/nope"), ("POST", "/nope"), ("GET", "/api"), ("GET", "/api/nope"), ("GET", "/v1"),
    ("GET", "/metrics"), ("GET", "/health"), ("GET", "/API/tags"), ("POST", "/v1/messages/count_tokens"),
    # not written as they should be
    ("GET", "/api/tags/"), ("POST", "/api/generate/"), ("GET", "//api/tags"), ("GET", "/v1/models/"),
    ("GET", "/api/%74ags"), ("GET", "/api/./tags"), ("GET", "/api/../api/tags"))]

GREETING = {"model": MODEL, "prompt": PROMPT, "options": {"temperature": 0, "seed": 1, "num_predict": 3}}
HTTP = [
    *(Case(f"HTTP/1.0: {what}", method, path, body, version="HTTP/1.0") for what, method, path, body in (
        ("GET /", "GET", "/", None), ("GET /api/tags", "GET", "/api/tags", None),
        ("HEAD /api/tags", "HEAD", "/api/tags", None), ("stream", "POST", "/api/generate", GREETING),
        ("no stream", "POST", "/api/generate", GREETING | {"stream": False}),
        ("unknown model", "POST", "/api/chat", {"model": "nope"}))),
    *(Case(f"Connection: close, {what}", "POST", "/api/generate", body, (("Connection", "close"),)) for what, body in (
        ("stream", GREETING), ("no stream", GREETING | {"stream": False}), ("unknown model", {"model": "nope"}))),
    Case("Expect", "POST", "/api/generate", GREETING, (("Expect", "100-continue"),)),
    Case("absolute form", "GET", "http://localhost/api/tags"),
    Case("zstd", "POST", "/v1/responses",
         zstd_of({"model": MODEL, "input": PROMPT, "temperature": 0, "max_output_tokens": 3}),
         (("Content-Encoding", "zstd"),)),
    Case("gzip that is none", "POST", "/api/generate", GREETING, (("Content-Encoding", "gzip"),)),
    *(Case(f"multipart, {model}", "POST", "/v1/audio/transcriptions", multipart(model=model, language="en"),
           (("Content-Type", "multipart/form-data; boundary=edge"),)) for model in (MODEL, "nope")),
]

BROWSER = [
    Case("preflight", "OPTIONS", "/api/generate", headers=LOCAL_PAGE + PREFLIGHT),
    Case("preflight of a foreign page", "OPTIONS", "/api/generate", headers=FOREIGN_PAGE + PREFLIGHT),
    Case("preflight of /", "OPTIONS", "/", headers=LOCAL_PAGE + PREFLIGHT),
    Case("preflight of /v1", "OPTIONS", "/v1/chat/completions", headers=LOCAL_PAGE + PREFLIGHT),
    Case("preflight of no path", "OPTIONS", "/nope", headers=LOCAL_PAGE + PREFLIGHT),
    Case("OPTIONS without Origin", "OPTIONS", "/api/generate"),
    Case("OPTIONS of all", "OPTIONS", "*"),
    *(Case(f"{what} page: {method} {path}", method, path, body, headers)
      for what, headers in (("local", LOCAL_PAGE), ("foreign", FOREIGN_PAGE))
      for method, path, body in (("GET", "/", None), ("GET", "/api/tags", None), ("GET", "/nope", None),
                                 ("GET", "/api/generate", None), ("POST", "/api/generate", {"model": "nope"}),
                                 ("POST", "/api/chat", b"{"), ("GET", "/v1/models", None))),
    *(Case(f"Host {host}: GET {path}", "GET", path, host=host)
      for host in ("localhost", "page.example", "page.localhost", "127.0.0.1:1") for path in ("/", "/api/tags")),
]


# --- bodies -------------------------------------------------------------------------------------------
WITH_BODY = GENERATING + ("/api/embed", "/api/embeddings", "/v1/embeddings", "/api/show", "/api/create", "/api/copy",
                          "/api/pull", "/api/push")
ASK = b'"prompt":"x","input":"x","max_tokens":4,"messages":[{"role":"user","content":"x"}]'
BODIES = {
    "no body": None, "empty body": b"", "only blanks": b"  \n", "no JSON": b"{bad", "cut JSON": b'{"model":"x"',
    "an array": b"[]", "null": b"null", "a string": b'"x"', "a number": b"3", "an empty object": b"{}",
    "model is a number": b'{"model":3}', "model is null": b'{"model":null}', "model is empty": b'{"model":""}',
    "bytes before it": b'\xef\xbb\xbf{"model":"nope"}',
}
UNKNOWN_BODIES = {
    "no model": b"{" + ASK + b"}", "unknown model": b'{"model":"nope",' + ASK + b"}",
    "unknown model, stream": b'{"model":"nope","stream":true,' + ASK + b"}",
    "unknown model, no stream": b'{"model":"nope","stream":false,' + ASK + b"}",
    "name that is none": b'{"model":"a b!",' + ASK + b"}",
    "bytes behind it": b'{"model":"nope",' + ASK + b"} and more",
    "model twice": b'{"model":"' + MODEL.encode() + b'","model":"nope",' + ASK + b"}",
    "Model": b'{"Model":"nope",' + ASK + b"}",
    "stream is a string": b'{"model":"nope","stream":"yes",' + ASK + b"}",
    "stream is null": b'{"model":"nope","stream":null,' + ASK + b"}",
    "not UTF-8": b'{"model":"nope","x":"x\xff",' + ASK + b"}",
    "control character": b'{"model":"nope","x":"a\x01b",' + ASK + b"}",
    "half a surrogate": b'{"model":"nope","x":"\\ud800",' + ASK + b"}",
}
CHANGING = ("/api/create", "/api/pull", "/api/push")  # a model that is not there is no error to them

BODY_CASES = [Case(f"{path}: {what}", "POST", path, body) for path in WITH_BODY for what, body in BODIES.items()] + [
    Case(f"{path}: {what}", "POST", path, body)
    for path in WITH_BODY if path not in CHANGING for what, body in UNKNOWN_BODIES.items()] + [
    Case(f"{path}: as text/plain", "POST", path, UNKNOWN_BODIES["unknown model"], (("Content-Type", "text/plain"),))
    for path in GENERATING] + [
    Case(f"/api/delete: {what}", "DELETE", "/api/delete", body) for what, body in {
        **BODIES, "unknown model": b'{"model":"nope"}', "unknown name": b'{"name":"nope"}',
        "name that is none": b'{"model":"a b"}'}.items()] + [
    Case("/api/generate: 20 MiB", "POST", "/api/generate", b'{"model":"nope","prompt":"' + b"x" * (20 * MIB) + b'"}'),
    Case("/api/generate: chunked", "POST", "/api/generate", b'12\r\n{"model":  "nope"}\r\n0\r\n\r\n',
         (("Transfer-Encoding", "chunked"),)),
    Case("/api/show: gzip wanted", "POST", "/api/show", {"model": MODEL}, (("Accept-Encoding", "gzip"),)),
]


# --- what is and what changes -------------------------------------------------------------------------
def blob():
    """A model nobody else has: `tiny` of another name."""
    data = (CACHE / "tiny.gguf").read_bytes().replace(b"tiny", b"tony", 1)
    return "sha256:" + hashlib.sha256(data).hexdigest(), data


def changes():
    digest, data = blob()
    at = "/api/blobs/" + digest
    return named("blobs", [
        case("HEAD of none", "HEAD", at), case("wrong digest", "POST", at, b"other"), case("still none", "HEAD", at),
        case("created", "POST", at, data), case("is there", "POST", at, data), case("HEAD", "HEAD", at),
        case("no digest", "POST", "/api/blobs/none", b"other"), case("HEAD of no digest", "HEAD", "/api/blobs/none"),
        post("model of it", "/api/create", model="fromblob", files={"x.gguf": digest}),
        post("which answers", "/api/generate", model="fromblob", prompt=PROMPT, stream=False,
             options={"temperature": 0, "num_predict": 3}, keep_alive=0),
        post("shown", "/api/show", model="fromblob"),
        case("model deleted", "DELETE", "/api/delete", {"model": "fromblob"}), case("blob gone", "HEAD", at),
    ]) | named("create", [
        post("from", "/api/create", model="made", **{"from": MODEL}, system="Be brief.",
             parameters={"temperature": 0.5}),
        post("shown", "/api/show", model="made"),
        case("in the list", "GET", "/v1/models/made"),
        post("again, no stream", "/api/create", model="made", stream=False, **{"from": MODEL}),
        post("with a template", "/api/create", model="made", stream=False, **{"from": MODEL},
             template="Q: {{ .Prompt }}", license="none", messages=[{"role": "user", "content": "hi"}]),
        post("bad template", "/api/create", model="made", stream=False, **{"from": MODEL}, template="{{ .Prompt"),
        post("from nothing", "/api/create", model="made2"),
        post("from what is not there", "/api/create", model="made2", stream=False, **{"from": NOWHERE}),
        post("of a blob that is not there", "/api/create", model="made2", files={"x.gguf": NEVER}),
        post("of an unknown quantization", "/api/create", model="made2", **{"from": MODEL}, quantize="q9"),
        post("bad name", "/api/create", model="a b", **{"from": MODEL}),
        case("deleted", "DELETE", "/api/delete", {"model": "made"}),
        case("deleted again", "DELETE", "/api/delete", {"model": "made"}),
    ]) | named("copy", [
        post("of none", "/api/copy", source="nope", destination="x"), post("to no name", "/api/copy", source=MODEL),
        post("to a bad name", "/api/copy", source=MODEL, destination="a b"),
        post("ok", "/api/copy", source=MODEL, destination="copied"), post("shown", "/api/show", model="copied"),
        post("answers", "/api/generate", model="copied", prompt=PROMPT, options={"temperature": 0, "num_predict": 2},
             keep_alive=0),
        case("deleted", "DELETE", "/api/delete", {"name": "copied"}),
        case("deleted again", "DELETE", "/api/delete", {"model": "copied"}),
        post("asked when deleted", "/api/generate", model="copied", prompt=PROMPT),
    ]) | named("registry", [
        post("pull", "/api/pull", model=NOWHERE, insecure=True),
        post("pull, no stream", "/api/pull", model=NOWHERE, insecure=True, stream=False),
        post("pull over http", "/api/pull", model="http://" + NOWHERE),
        post("push of none", "/api/push", model=NOWHERE, insecure=True),
        post("push of none, no stream", "/api/push", model=NOWHERE, insecure=True, stream=False),
        post("push of no user", "/api/push", model=MODEL),
    ]) | named("residence", [
        post("not at first", "/api/generate", model=MODEL, keep_alive=0),
        post("load", "/api/generate", model=MODEL),
        post("load, stream", "/api/generate", model=MODEL, stream=True),
        post("load, no stream", "/api/generate", model=MODEL, stream=False),
        post("load by chat", "/api/chat", model=MODEL),
        post("load by no messages", "/api/chat", model=MODEL, messages=[]), case("ps", "GET", "/api/ps"),
        post("for a minute", "/api/generate", model=MODEL, keep_alive="1m"),
        post("for no time that is one", "/api/generate", model=MODEL, keep_alive="soon"),
        post("unload", "/api/generate", model=MODEL, keep_alive=0),
        post("unload, stream", "/api/generate", model=MODEL, keep_alive=0, stream=True),
        post("unload by text", "/api/generate", model=MODEL, keep_alive="0"),
        post("unload by chat", "/api/chat", model=MODEL, messages=[], keep_alive=0),
        post("unload none", "/api/generate", model="nope", keep_alive=0),
        post("ask and unload", "/api/generate", model=MODEL, prompt=PROMPT, keep_alive=0, stream=False,
             options={"temperature": 0, "num_predict": 2}),
    ]) | named("show", [
        post("model", "/api/show", model=MODEL), post("name", "/api/show", name=MODEL),
        post("verbose", "/api/show", model=MODEL, verbose=True), post("TINY", "/api/show", model=MODEL.upper()),
        post("library", "/api/show", model="registry.ollama.ai/library/" + MODEL),
        post("an embedder", "/api/show", model=EMBED), post("unknown", "/api/show", model="nope"),
        post("with options", "/api/show", model=MODEL, options={"num_ctx": 64}),
    ])


def single(cases):
    found = {case.name: [case] for case in cases}
    assert len(found) == len(cases), "two cases of one name"
    return found


SCENARIOS = single(ROUTES + HTTP + BROWSER + BODY_CASES + cases_answers.CASES) | changes()
