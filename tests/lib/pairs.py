# SPDX-License-Identifier: Apache-2.0
"""What llama.cpp's server answers to the same request at once and as a stream: the requests of
tools/engine/pairs.py, and the comparison of two answers."""
import importlib.util
import json

from engine import TOOLS
from openai_node import FIXTURES

_spec = importlib.util.spec_from_file_location("engine_pairs", TOOLS / "pairs.py")
requests = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(requests)

PAIRS = requests.PLAIN | requests.TALKING
CLOCKS = {"created", "created_at", "completed_at"}


def request_of(name):
    """The recorded request for one answer."""
    fixture = json.loads((FIXTURES / "pairs" / f"{name}.json").read_text())["request"]
    return fixture["path"], json.loads(fixture["body"])


def lasting(value):
    """An answer without what differs from one to the next: ids, clocks, and how much of the prompt was cached."""
    if isinstance(value, list):
        return [lasting(member) for member in value]
    if not isinstance(value, dict):
        return value
    same = {key: lasting(member) for key, member in value.items()}
    for key in same.keys() & {"id", "call_id"}:
        same[key] = type(same[key]) is str and same[key] != ""
    for key in same.keys() & CLOCKS:
        same[key] = type(same[key]) is int
    if "timings" in same:
        same["timings"] = sorted(same["timings"])
    if "cache_read_input_tokens" in same:
        same["input_tokens"] += same.pop("cache_read_input_tokens")
    return {key: sorted(member) if key.endswith("tokens_details") else member for key, member in same.items()}
