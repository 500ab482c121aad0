# SPDX-License-Identifier: Apache-2.0
"""The recipe of docs/operations.md for taking over Ollama's port, with a simulated node in Ollama's place and in a
network of its own, where the ports are free. And what is said of the packages is what they are made of."""
import os
import pathlib
import re
import subprocess

from cli import BIN
from engine import die_with_parent
from own_network import in_own_network

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
# First the node has the port, then the gateway; a client that knows nothing asks the same of both.
SCRIPT = r"""
set -eu
mcpgate=$1 moved=$2
wait_for() { for _ in $(seq 300); do ! grep -q "$1" "$2" || return 0; sleep 0.1; done; cat "$2" >&2; exit 1; }
run() { setpriv --pdeathsig KILL "$mcpgate" "${@:2}" >"$1" 2>"$1.err" & pid=$!; wait_for '^ready' "$1"; }
ask() { curl -sS --max-time 20 http://127.0.0.1:11434/api/tags; echo; }
end() { kill "$1"; wait "$1"; }
run node sim --models llama3:8b
before=$(ask)
end $pid
run moved sim --models llama3:8b --http "$moved"
node=$pid
run gateway serve -c mcpgate.yaml
after=$(ask)
printf '%s\n%s\n' "$before" "$after"
end $pid
end $node
"""


def test_the_recipe(tmp_path):
    recipe = re.search(r"^### Taking over port 11434\n(.*?)^##", PAGE, re.M | re.S)[1]
    (config,) = re.findall(r"^```yaml\n(.*?)^```$", recipe, re.M | re.S)
    moved = re.search(r'Environment="OLLAMA_HOST=(\S+)"', recipe)[1]
    (tmp_path / "mcpgate.yaml").write_text(config)
    done = subprocess.run(in_own_network("bash", "-c", SCRIPT, "bash", BIN, moved), cwd=tmp_path, check=False,
                          capture_output=True, text=True, timeout=100, preexec_fn=die_with_parent,
                          env={k: v for k, v in os.environ.items() if not k.startswith("MCPGATE_")})
    assert done.returncode == 0, done.stderr
    before, after = re.sub(r'"[0-9-]+T[0-9:.]+Z"', '"WHEN"', done.stdout).splitlines()
    assert before == after and '"llama3:8b"' in after
    errors = (tmp_path / "gateway.err").read_text()
    assert "runtime error" not in errors and "Sanitizer" not in errors


def test_packages_and_build_agree():
    version = re.search(r"^project\(mcpgate VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1]
    assert (ROOT / "debian/changelog").read_text().startswith(f"mcpgate ({version}) ")
    control = (ROOT / "debian/control").read_text()
    assert f"Package: libmcp{version.split('.')[0]}\n" in control
    needs = re.search(r"^build_packages=\((.*?)\)", (ROOT / "tools/deps").read_text(), re.M | re.S)[1].split()
    needed = {name for name in needs if name not in ("gcc", "libc6-dev", "make")}
    depends = re.search(r"^Build-Depends: (.*?)\n\w", control, re.M | re.S)[1]
    assert set(re.findall(r"(?:^|,\s+)([a-z][a-z0-9.+-]*)", depends)) - {"debhelper-compat"} == needed
