# SPDX-License-Identifier: Apache-2.0
"""Clients that are programs of their own, as their users have them: curl and npm's ollama."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

from engine_asks import COUNT, MODEL, TOKENS

ROOT = pathlib.Path(__file__).resolve().parents[2]
MESSAGES = [{"role": "user", "content": COUNT}]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Nothing of the user's own settings."""
    for name in list(os.environ):
        if name.startswith(("OLLAMA_", "OPENAI_", "ANTHROPIC_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def curl(*args):
    """Its exit status and what it printed."""
    run = subprocess.run(["curl", "-sS", "--max-time", "60", *args], capture_output=True, text=True)
    return run.returncode, run.stdout


def curl_post(url, path, body, *args):
    return curl("-N", "-H", "Content-Type: application/json", "-d", json.dumps(body), *args, url + path)


def node_command(url, scenario, tokens=TOKENS, key="", model=MODEL, prompt=COUNT):
    node = pathlib.Path(sys.executable).with_name("node")
    return [node, ROOT / "tests/clients/npm/ollama.js", url, model, prompt, str(tokens), scenario, key]


def node_environment():
    return {**os.environ, "NODE_PATH": str(ROOT / ".cache/npm/node_modules")}


def npm(*args, **more):
    """The values that the scenario printed."""
    run = subprocess.run(node_command(*args, **more), env=node_environment(), capture_output=True, text=True,
                         timeout=60, stdin=subprocess.DEVNULL)
    assert (run.returncode, run.stderr) == (0, "")
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
