# SPDX-License-Identifier: Apache-2.0
"""What Ollama answers directly against what comes through the gateway, field by field.

A field is "status", "framing", "header NAME", "newline" (at the end) or a path into the body as "body.error", or
"body[].created" (of every line of NDJSON, every event of a stream, every element of an array). docs/differences.md
lists those that differ.
"""
import base64
import fnmatch
import json
import pathlib
import re
import struct
import typing

from http_bytes import Closed, HttpClient

LIST = pathlib.Path(__file__).resolve().parents[2] / "docs/differences.md"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Case(typing.NamedTuple):
    name: str
    method: str
    path: str
    body: object = None  # bytes as they are, anything else as JSON; None: no body
    headers: tuple = ()
    host: str = None  # instead of the address that is asked
    version: str = "HTTP/1.1"


# --- what is never the same ---------------------------------------------------------------------------
def time_of(key, value):
    if key in ("created_at", "modified_at", "expires_at") and isinstance(value, str) and TIME.fullmatch(value):
        return "<time>"
    if key in ("created", "created_at", "completed_at") and isinstance(value, int) and value > 1_700_000_000:
        return "<seconds>"
    return value


def duration_of(key, value):
    return "<duration>" if (key or "").endswith("_duration") and isinstance(value, int) else value


def id_of(key, value):
    """The beginning stays (chatcmpl-, resp_, msg_), but for a request's: that is the gateway's own."""
    if key == "request_id" and isinstance(value, str):
        return "<id>"
    if key in ("id", "item_id", "call_id") and isinstance(value, str):
        return re.sub(r"^((?:chatcmpl|cmpl|call|resp|req|msg|rs|fc)[-_])[0-9a-z_]+$", r"\1<id>", value)
    return value


def number_of(key, value):
    """Three places after the point; an embedding in base64 is many of those."""
    if isinstance(value, float):
        return round(value, 3) + 0.0
    if key == "embedding" and isinstance(value, str):
        data = base64.b64decode(value)
        return [round(number, 3) + 0.0 for number in struct.unpack(f"<{len(data) // 4}f", data)]
    return value


def parameters_of(key, value):
    """Ollama writes the parameters of a model in any order."""
    return sorted(value.split("\n")) if key in ("parameters", "modelfile") and isinstance(value, str) else value


def models_of(key, value):
    """Those that are loaded are listed by the second in which they will be unloaded, else in any order."""
    if key == "models" and isinstance(value, list) and all("expires_at" in model for model in value):
        return sorted(value, key=lambda model: model["name"])
    return value


RULES = {"times": time_of, "durations": duration_of, "ids": id_of, "numbers": number_of, "parameters": parameters_of,
         "models": models_of}
GO_CHUNKS_BEYOND = 2048  # bytes of a body
ADDED = ("x-request-id", "server-timing", "x-mcpgate-ignored", "x-mcpgate-queue-position", "x-mcpgate-queue-depth",
         "x-mcpgate-queue-wait")
HEADER_RULES = {"date": lambda value: "<date>", "content-length": lambda value: "<length>" if value != "0" else value}


def normal(value, key=None):
    for rule in RULES.values():
        value = rule(key, value)
    if isinstance(value, dict):
        return {name: normal(inner, name) for name, inner in value.items()}
    return [normal(inner) for inner in value] if isinstance(value, list) else value


# --- one answer ---------------------------------------------------------------------------------------
def json_or_text(data):
    try:
        return normal(json.loads(data))
    except ValueError:
        return data.decode("utf-8", "backslashreplace")


def event_of(block):
    lines = [line.partition(b": ") for line in block.split(b"\n")]
    return {name.decode(): json_or_text(value) for name, _, value in lines}


def body_of(response):
    kind, body = response.get("Content-Type") or "", response.body
    if kind.startswith("application/x-ndjson"):
        return [json_or_text(line) for line in body.split(b"\n")]
    if kind.startswith("text/event-stream"):
        return [event_of(block) for block in body.split(b"\n\n")]
    if kind.startswith("application/json"):
        return json_or_text(body)
    return body.decode("utf-8", "backslashreplace")


def observe(address, case):
    """All the fields of the answer at `address`."""
    with HttpClient(address, timeout_s=120) as client:
        data = client.bytes_of(case.method, case.path, case.body, case.headers, case.version)
        if case.host is not None:
            data = re.sub(rb"\r\nHost: [^\r]*", b"\r\nHost: " + case.host.encode(), data, count=1)
        client.method = case.method
        try:
            client.send(data)
            response = client.response()
        except (Closed, OSError) as error:
            return {"status": f"no answer: {type(error).__name__}"}
    fields = {"status": " ".join(response.first[1:]), "framing": response.framing if response.complete else "broken"}
    names = response.names()
    if abs(len(response.body) - GO_CHUNKS_BEYOND) < 64 and response.complete:  # times are of different lengths
        fields["framing"] = "<either>"
        names -= {"content-length", "transfer-encoding"}
    for name in names:
        values = [HEADER_RULES.get(name, str)(value) for value in response.all(name)]
        fields[f"header {name}"] = values[0] if len(values) == 1 else values
    fields["newline"] = response.body[-1:] == b"\n"
    fields["body"] = body_of(response)
    return fields


# --- two answers --------------------------------------------------------------------------------------
def compare(direct, through):
    """What differs between two that were observed."""
    found = differing(direct, through)
    for name in ADDED:
        if f"header {name}" not in direct:
            found.pop(f"header {name}", None)
    return found


def differing(direct, through, field=""):
    """{field: (direct, through)}, one entry for all elements of an array."""
    if type(direct) is type(through):
        if isinstance(direct, dict):
            return differing_members(direct, through, field)
        if isinstance(direct, list) and len(direct) == len(through):
            found = {}
            for one, other in zip(direct, through):
                found = differing(one, other, f"{field}[]") | found
            return found
    return {} if direct == through else {field: (direct, through)}


def differing_members(direct, through, field):
    found = {}
    for name in direct.keys() | through.keys():
        path = f"{field}.{name}" if field else name
        if name in direct and name in through:
            found |= differing(direct[name], through[name], path)
        else:
            found[path] = (direct.get(name), through.get(name))
    if field and not found and list(direct) != list(through):
        found[f"{field} (order)"] = (list(direct), list(through))
    return found


# --- the list of what differs -------------------------------------------------------------------------
def alternatives(pattern):
    """`a{b,c}d` is abd and acd."""
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    inside, _, after = rest.partition("}")
    return [before + one + end for one in inside.split(",") for end in alternatives(after)]


def patterns_of(cell):
    return [one for pattern in re.findall(r"`([^`]+)`", cell) for one in alternatives(pattern)]


class Listed(typing.NamedTuple):
    line: int
    cases: list  # patterns
    fields: list

    def covers(self, name):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.cases)

    def names(self, field):
        return any(fnmatch.fnmatchcase(field, literal_brackets(pattern)) for pattern in self.fields)


def literal_brackets(pattern):
    return pattern.replace("[", "[[]")


def read_list(text=None):
    """The rows of the tables whose first column is "Asked"."""
    rows, inside = [], False
    for number, line in enumerate((text or LIST.read_text()).splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == "Asked":
            inside = True
        elif inside and set(line) - set("|-: "):
            assert len(cells) == 5 and all(cells), f"docs/differences.md:{number}: five cells, none empty"
            rows.append(Listed(number, patterns_of(cells[0]), patterns_of(cells[1])))
    return rows


def unlisted(name, found, rows):
    """What differs in the case and is in no row."""
    rows = [row for row in rows if row.covers(name)]
    return {field: both for field, both in found.items() if not any(row.names(field) for row in rows)}


def stale(row, found_of):
    """What the row says that is not so: `found_of` is {case: what differs in it}."""
    covered = [name for name in found_of if row.covers(name)]
    for pattern in row.cases:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in covered):
            yield f"docs/differences.md:{row.line}: no case is named {pattern!r}"
    for name in covered:
        for pattern in row.fields:
            if not any(fnmatch.fnmatchcase(field, literal_brackets(pattern)) for field in found_of[name]):
                yield f"docs/differences.md:{row.line}: {pattern!r} does not differ in {name!r}"
