# SPDX-License-Identifier: Apache-2.0
"""Completion of mcpgate's command line, asked directly and at Tab in bash, zsh and fish."""
import os
import pathlib
import re
import socket
import subprocess

import pytest

from cli import BIN, answers, bad, environment, good, run
from mcp_server import McpServer
from terminal import Terminal

HEALTH = {"status": "ok", "nodes": [
    {"name": "a", "models": ["llama3:8b", "bert:latest", "x$(reboot)", "a b", "bad\n:files"]},
    {"name": "b", "models": ["llama3:8b"]}]}
MODELS = ["bert:latest", "llama3:8b"]


def words(*line, **options):
    """What may stand for the last word of the line."""
    out = run("completion", "words", "--", *line, **options).stdout
    return [row.split("\t")[0] for row in out.splitlines()]


def test_commands_and_options():
    commands = re.findall(r"^  ([a-z-]+) +\S", good("--help"), re.M)
    assert words("") == [*commands, "--help", "--version"]
    assert words("ch") == ["check-config", "chat"]
    assert words("help", "ch") == ["check-config", "chat"]
    assert words("help", "chat", "") == words("frob", "") == words() == []
    for command in commands:
        options = set(re.findall(r"(--[a-z][a-z-]*)", good(command, "--help"))) - {"--usage"}
        assert set(words(command, "-")) == options
    assert "--mode\tThreads (main-sub)\n" in good("completion", "words", "--", "serve", "--mo")


@pytest.mark.parametrize("line, found", [
    (["serve", "--mode", ""], ["main-sub", "single"]), (["serve", "--backend", "e"], ["epoll"]),
    (["serve", "--backend=e"], ["--backend=epoll"]), (["sim", "--profile", "x"], []),
    (["serve", "-c", ""], [":files"]), (["serve", "--config=/et"], [":files"]),
    (["serve", "--node", ""], []), (["list", "--json=x"], []), (["list", "--frob=x"], []),
    (["list", "--json", "--ho"], ["--host"]), (["completion", ""], ["bash", "zsh", "fish"]),
    (["manual", ""], ["mcpgate", "mcpgate.yaml"])])
def test_values(line, found):
    assert words(*line) == found


def test_models():
    """Those of all nodes, asked of the gateway that the line names; none that could mean more to a shell."""
    with McpServer(answers(health=HEALTH)) as server:
        assert words("show", "", server=server) == MODELS
        assert words("chat", "-m", "ll", server=server) == ["llama3:8b"]
        assert words("chat", "--model=ll", server=server) == ["--model=llama3:8b"]
        for host in (["--host", server.address], [f"--host={server.address}"]):
            assert words("generate", *host, "--key", "secret", "-m", "b", MCPGATE_HOST="127.0.0.1:1") == MODELS[:1]
    assert server.requests[-1]["mcp"] == {"op": "health", "auth": "secret"}


def test_models_without_a_gateway():
    with socket.create_server(("127.0.0.1", 0)) as listener:  # one that says nothing
        assert words("show", "", "--host", "127.0.0.1:%d" % listener.getsockname()[1]) != MODELS
        assert words("show", "--host", "127.0.0.1:%d" % listener.getsockname()[1], "") == []
    assert words("show", "--host", "127.0.0.1:1", "") == []


def test_scripts():
    for shell in ("bash", "zsh", "fish"):
        script = pathlib.Path(f"completion/mcpgate.{shell}")
        assert good("completion", shell) == script.read_text()
        command = [shell, "-n", script] if shell != "fish" else [shell, "--no-execute", script]
        subprocess.run(command, check=True)
    assert bad(2, "completion", "csh") == \
        "mcpgate: expected bash, zsh or fish, not 'csh'; see mcpgate completion --help"
    assert bad(2, "completion") == "mcpgate: expected bash, zsh or fish; see mcpgate completion --help"


# --- in the shells ----------------------------------------------------------------------------------

BEGIN = {
    "bash": (["bash", "--norc", "--noprofile"], "source <(mcpgate completion bash)"),
    "zsh": (["zsh", "-f"], "autoload -Uz compinit && compinit -u -D && source <(mcpgate completion zsh)"),
    "fish": (["fish", "--no-config"], "mcpgate completion fish | source"),
}
# What stands for mcpgate there: it completes, and says what else it was called with.
STAND_IN = """#!/bin/sh
[ "$1" != completion ] || exec "$MCPGATE_REAL" "$@"
echo "called with: $*."
"""


@pytest.mark.parametrize("shell", list(BEGIN))
def test_at_tab(shell, tmp_path):
    argv, begin = BEGIN[shell]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mcpgate").write_text(STAND_IN)
    (tmp_path / "bin/mcpgate").chmod(0o755)
    (tmp_path / "one.yaml").touch()
    (tmp_path / "two words.yaml").touch()
    with McpServer(answers(health=HEALTH)) as server:
        env = environment(MCPGATE_HOST=server.address, MCPGATE_REAL=BIN, HOME=str(tmp_path), LC_ALL="C.UTF-8",
                          XDG_DATA_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path),
                          PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
        with Terminal(argv, env) as terminal:
            terminal.type(f"cd $HOME; {begin}; echo be''gun\n")
            terminal.expect("begun")
            for typed, called in [
                    ("vers", "version"), ("serve --back\tep", "serve --backend epoll"), ("show ll", "show llama3:8b"),
                    ("chat -m llama3:", "chat -m llama3:8b"), ("chat --model=be", "chat --model=bert:latest"),
                    ("serve -c on", "serve -c one.yaml"), ("serve --config=on", "serve --config=one.yaml"),
                    ("serve -c tw", "serve -c two words.yaml")]:
                terminal.type(f"mcpgate {typed}\t\n")
                terminal.expect("called with: ")
                assert terminal.expect(".\n").rstrip(".\n ") == called
