# SPDX-License-Identifier: Apache-2.0
"""What the README and docs/mcp.md show can be typed as it stands: their blocks run against the embedded
engine in a network of their own, where the default ports are free. Configurations shown are right."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

from engine import TOOLS, die_with_parent

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BINARY = os.path.abspath(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"))
SERVE = "build/release/mcpgate serve\n"
# What a test cannot run: it builds, needs Ollama's client, or has tests of its own.
NOT_RUN = ["make build", "make demo", "make test", "make install", "OLLAMA_HOST=127.0.0.1:11435 ollama run"]
BEGIN = r"""
import fcntl, os, socket, struct, sys
with socket.socket() as s:  # SIOCSIFFLAGS, IFF_UP; iproute2 may not be there
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 1))
os.execvp("bash", ["bash", "-c", *sys.argv[1:]])
"""
# A terminal for the engine, one for the gateway, which end with this one at the latest.
SCRIPT = r"""
set -u
setpriv --pdeathsig KILL "$1/serve" --port 11434 --threads 1 >engine.out 2>&1 &
wait_for() { for _ in $(seq 600); do grep -q "$1" "$2" && return; sleep 0.1; done; cat "$2"; exit 1; }
wait_for 'engine listening' engine.out
setpriv --pdeathsig KILL bash serve.sh >serve.out 2>serve.err &
gateway=$!
wait_for '^ready' serve.out
bash -eu tour.sh </dev/null >tour.out 2>tour.err; echo $? >tour.status
for page in readme mcp; do "$2" $page.py >$page.out 2>$page.err; echo $? >$page.status; done
kill $gateway; wait $gateway; echo $? >serve.status
"""


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def tour():
    """The blocks of shell but the one that starts the gateway, without the lines that cannot be run."""
    lines = "".join(block for block in blocks(README, "sh") if block != SERVE).splitlines()
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in lines), f"not in the README: {start}"
    return "\n".join(line for line in lines if not line.startswith(tuple(NOT_RUN))) + "\n"


class Result:
    def __init__(self, folder):
        self.folder = folder

    def __getitem__(self, name):
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(name="result", scope="module")
def run_all(tmp_path_factory):
    subprocess.run([TOOLS / "fetch"], check=True)  # of no effect where `make test` runs the tests
    folder = tmp_path_factory.mktemp("readme")
    (folder / "build/release").mkdir(parents=True)
    (folder / "build/release/mcpgate").symlink_to(BINARY)
    (folder / "serve.sh").write_text("exec " + SERVE)
    (folder / "tour.sh").write_text(tour())
    (folder / "readme.py").write_text(*blocks(README, "python"))
    (folder / "mcp.py").write_text(*blocks((ROOT / "docs/mcp.md").read_text(encoding="utf-8"), "python"))
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MCPGATE_", "OLLAMA_", "OPENAI_"))}
    subprocess.run([*unshare, sys.executable, "-c", BEGIN, SCRIPT, "bash", str(TOOLS), sys.executable],
                   cwd=folder, env=env, check=True, timeout=200, preexec_fn=die_with_parent)
    return Result(folder)


def test_the_gateway_prints_what_is_shown(result):
    shown = re.search(r"^    mcpgate \d.*?^    ready$", README, re.M | re.S)[0].replace("\n    ", "\n").strip()
    shown, kinds = re.subn(r"up \(.*?\)", "up (KIND)", shown)
    assert kinds == 1
    assert re.sub(r"up \(.*?\)", "up (KIND)", result["serve.out"]) == shown + "\n"
    assert result["serve.status"] == "0\n", result["serve.err"]


def test_the_tour(result):
    assert result["tour.status"] == "0\n", result["tour.err"]
    out = result["tour.out"]
    for part in ("gemma3:270m  ", '"done":true', '"object":"chat.completion"', "\nready\n", "gateway  ok\n",
                 "mcpgate_exchanges_total{"):
        assert part in out, part


@pytest.mark.parametrize("name", ["readme", "mcp"])
def test_the_programs(result, name):
    assert result[f"{name}.status"] == "0\n", result[f"{name}.err"]
    assert len(result[f"{name}.out"].strip()) > 20


@pytest.mark.parametrize("page", ["README.md", "docs/configuration.md"])
def test_configurations(page, tmp_path):
    (text,) = blocks((ROOT / page).read_text(encoding="utf-8"), "yaml")
    files = [tmp_path / "mcpgate.yaml", *(tmp_path / name for name in re.findall(r"\w+\.key\b", text))]
    for number, file in enumerate(files):
        file.write_text(f"key-{number}\n" if number else text)
        file.chmod(0o600)
    run = subprocess.run([BINARY, "check-config", "-c", files[0]], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_links():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_of_the_readme_exist():
    """Those in the text, too: every `make X` and every option of serve."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= set(targets)
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - {"--port"}:
        assert f"`{option}" in page, option
