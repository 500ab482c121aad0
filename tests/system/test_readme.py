# SPDX-License-Identifier: Apache-2.0
"""What the README and docs/mcp.md show can be typed as it stands: their blocks run in the order they
stand, against the embedded engine, in a network of their own, where the default ports are free. Lines
that cannot run here are listed with the reason. README.zh-CN.md has the same blocks (check_docs.py).
Configurations shown are right, commands and errors those of the program."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

from engine import TOOLS, die_with_parent
from own_network import in_own_network

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
MCP = (ROOT / "docs/mcp.md").read_text(encoding="utf-8")
BINARY = os.path.abspath(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"))
NOT_RUN = {
    "make build": "installs as root, from the network; each run of the tests begins with it",
    "make demo ": "the same; test_demo.py is about it, and CI runs it on a bare Debian 13",
    "make demo-cluster": "the same, and test_demo_cluster.py",
    "OLLAMA_HOST=127.0.0.1:11435 ollama run": "Ollama's client, which `make test-ollama` builds and runs",
}
# A terminal for the engine, one for the tour, and one for `serve`, where Ctrl-C ends the gateway before
# the next is started. All end with this one at the latest.
SCRIPT = r"""
set -u
setpriv --pdeathsig KILL "$1/serve" --port 11434 --threads 1 >engine.out 2>&1 &
for _ in $(seq 600); do grep -q 'engine listening' engine.out && break; sleep 0.1; done
mkfifo serves
exec 3<>serves
{ setpriv --pdeathsig KILL bash -eu tour.sh </dev/null >tour.out 2>tour.err; echo $? >tour.status; echo end >&3; } &
number=0 gateway=
while read -r options <&3; do
    [ -z "$gateway" ] || { kill -INT $gateway; wait $gateway; echo $? >serve.$number.status; }
    [ "$options" != end ] || break
    number=$((number + 1))
    (trap - INT; exec setpriv --pdeathsig KILL "$2" $options >serve.$number.out 2>serve.$number.err) &
    gateway=$!
done
"""
# build/release/mcpgate of the tour: has `serve` run in its terminal, and waits until it is ready.
PROGRAM = """#!/bin/bash
if [ "$1" != serve ]; then exec "{binary}" "$@"; fi
number=$(($(cat number 2>/dev/null || echo 0) + 1))
echo $number >number
echo "$*" >serves
for _ in $(seq 600); do
    if grep -q '^ready' serve.$number.out 2>/dev/null; then exit; fi
    sleep 0.1
done
exit 1
"""


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def is_run(line):
    return not line.startswith(tuple(NOT_RUN))


def tour():
    """All blocks in their order; behind the first program of the README that of docs/mcp.md."""
    steps, programs = [], ["readme", "mcp"]
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S):
        if language == "sh":
            steps += [line for line in text.splitlines() if is_run(line)]
        else:
            assert language == "python", f"nothing runs a block of {language}"
            steps += [f'"$PYTHON" {name}.py >{name}.out' for name in programs]
    return "\n".join([*steps, "echo the tour is over", ""])


class Result:
    def __init__(self, folder):
        self.folder = folder

    def __getitem__(self, name):
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(name="result", scope="module")
def run_all(tmp_path_factory):
    subprocess.run([TOOLS / "fetch"], check=True)  # of no effect where `make test` runs the tests
    folder = tmp_path_factory.mktemp("readme")
    program = folder / "build/release/mcpgate"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM.format(binary=BINARY))
    program.chmod(0o755)
    (folder / "tour.sh").write_text(tour())
    (folder / "readme.py").write_text(*blocks(README, "python"))
    (folder / "mcp.py").write_text(*blocks(MCP, "python"))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MCPGATE_", "OLLAMA_", "OPENAI_"))}
    subprocess.run(in_own_network("bash", "-c", SCRIPT, "bash", str(TOOLS), BINARY),
                   cwd=folder, env=env | {"PYTHON": sys.executable}, check=True, timeout=200,
                   preexec_fn=die_with_parent)
    return Result(folder)


def test_each_line_runs_or_has_a_reason():
    lines = "".join(blocks(README, "sh")).splitlines()
    left_out = [line for line in lines if not is_run(line)]
    assert len(left_out) == len(NOT_RUN) == 4
    assert all(reason and any(line.startswith(start) for line in left_out) for start, reason in NOT_RUN.items())
    assert len(lines) > 25


def test_the_gateway_prints_what_is_shown(result):
    shown = re.search(r"^    mcpgate \d.*?^    ready$", README, re.M | re.S)[0].replace("\n    ", "\n").strip()
    shown, kinds = re.subn(r"up \(.*?\)", "up (KIND)", shown)
    assert kinds == 1
    assert re.sub(r"up \(.*?\)", "up (KIND)", result["serve.1.out"]) == shown + "\n"
    assert (result["serve.1.status"], result["serve.2.status"]) == ("0\n", "0\n"), result["serve.1.err"]


def test_the_tour(result):
    assert result["tour.status"] == "0\n", result["tour.err"]
    out = result["tour.out"]
    for part in ("gemma3:270m  ", '"done":true', '"object":"chat.completion"', "  the answer is complete\n", "gateway  ok\n",
                 "mcpgate_exchanges_total{", '"object":"list"', '{"status":"reloaded","changed":["limits.max_body"]}',
                 '\n  - url: "http://10.0.0.6:11434"\n'):
        assert part in out, part
    assert out.endswith("the tour is over\n")
    assert "http   listening on 0.0.0.0:11435\n" in result["serve.2.out"]
    assert "key=alice" in result["serve.2.err"]


@pytest.mark.parametrize("name", ["readme", "mcp"])
def test_the_programs(result, name):
    assert len(result[f"{name}.out"].strip()) > 20, result["tour.err"]


@pytest.mark.parametrize("page", ["configuration", "operations"])
def test_configurations(page, tmp_path):
    text = blocks((ROOT / f"docs/{page}.md").read_text(encoding="utf-8"), "yaml")[0]
    files = [tmp_path / "mcpgate.yaml", *(tmp_path / name for name in re.findall(r"\w+\.key\b", text))]
    for number, file in enumerate(files):
        file.write_text(f"key-{number}\n" if number else text)
        file.chmod(0o600)
    run = subprocess.run([BINARY, "check-config", "-c", files[0]], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_commands_of_the_readme_exist(text):
    """Those in the text, too: every `make X` and every option of serve."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"\bmake ([a-z]+)", text)) <= set(targets)
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--port"}:
        assert f"`{option}" in page, option


def test_the_errors_are_those_of_the_program():
    shown = re.findall(r"^\*\*`(.+?)`\*\*", README, re.M)
    assert len(shown) == 5
    assert shown == re.findall(r"^\*\*`(.+?)`\*\*", CHINESE, re.M)
    sources = [*(ROOT / "src").rglob("*.c"), ROOT / "tools/deps"]
    text = "".join(re.sub(r'"\s*"', "", file.read_text()) for file in sources)  # strings over two lines
    changing = r"[\d.]+:\d+|llama-server \(pid \d+\)|unknown_model: |'x'"
    for piece in (piece.strip() for error in shown for piece in re.split(changing, error)):
        assert piece in text, piece
