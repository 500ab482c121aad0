# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of mcpgate (MCPGATE_BIN) against a scripted MCP server (mcp_server.py)."""
import os
import subprocess

from http_bytes import DEADLINE_S

BIN = os.path.abspath(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"))
MODELS = {"models": [
    {"name": "bert:latest", "model": "bert:latest", "size": 45960996, "digest": "c" * 64,
     "modified_at": "2020-01-01T00:00:00Z", "capabilities": ["embedding"]},
    {"name": "llama3:8b", "model": "llama3:8b", "size": 4661224676, "digest": "365c0bd3c000" + "0" * 52,
     "modified_at": "2020-01-01T00:00:00.123456789+02:00", "capabilities": ["completion"]}]}


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MCPGATE_") and k != "NO_COLOR"}
    return kept | {"TERM": "xterm", "LC_ALL": "C"} | more


def run(*args, server=None, stdin="", **env):
    if server:
        env["MCPGATE_HOST"] = server.address
    return subprocess.run([BIN, *args], input=stdin, env=environment(**env), text=True,
                          capture_output=True, timeout=DEADLINE_S, check=False)


def good(*args, **options):
    """Standard output of a run that ends well and says nothing else."""
    result = run(*args, **options)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def bad(status, *args, **options):
    """The error line of a run that fails."""
    result = run(*args, **options)
    assert result.returncode == status, result
    assert result.stderr.startswith("mcpgate") and result.stderr.endswith("\n"), result
    return result.stderr.removesuffix("\n")


def op_of(request):
    return request.get("mcp", {}).get("op", "")


def answers(*parts, **by_op):
    """A handler: `parts` for a request without an op, one part for each op."""
    by_op = {"list": MODELS} | by_op

    def answer(exchange):
        for part in [by_op[op_of(exchange.request)]] if op_of(exchange.request) else parts:
            exchange.part(part)
    return answer


def says(*words, chat=False):
    """Parts of a streamed answer."""
    parts = [{"message": {"role": "assistant", "content": word}} if chat else {"response": word}
             for word in words]
    return [part | {"done": False} for part in parts] + [{"done": True, "done_reason": "stop"}]
