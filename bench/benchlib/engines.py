# SPDX-License-Identifier: Apache-2.0
"""What computes embeddings behind the gateway: the simulator with what a call costs, or a real engine."""
import contextlib
import dataclasses
import pathlib
import subprocess
import sys

from benchlib.servers import Failed, Server

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Engine:
    what: str  # for people
    model: str = "m:latest"
    simulated: bool = True
    call_ms: float = 0  # 0: not known
    item_ms: float = 0
    words: int = 0  # of every other client's texts; 0: all are short
    options: tuple = ()  # the simulator's


ENGINES = {
    "seed": Engine("one call at a time of 27.2 ms + 1.36 ms per input", call_ms=27.2, item_ms=1.36,
                   options=("--profile", "seed")),
    "pads": Engine("one call at a time of 5 ms + 10 us per token, each input as long as the longest; every other "
                   "client's has 400 words", words=400,
                   options=("--slots", "1", "--call-us", "5000", "--prompt-us", "10", "--pads", "1")),
    "llama": Engine("llama.cpp, gemma3:270m, one thread, 4 slots", "gemma3:270m", simulated=False),
    "ollama": Engine("Ollama 0.17.4, a small BERT with random weights, one thread", "tinyembed", simulated=False),
}


def start_llama(stack, folder):
    subprocess.run([ROOT / "tools/engine/fetch"], check=True, stdout=sys.stderr)
    server = Server(folder, "llama", [ROOT / "tools/engine/serve", "--parallel", "4", "--threads", "1",
                                      "--embeddings"], banner=rb"^engine listening on .*\n")
    stack.callback(server.stop)
    return server.lines[-1].split()[3].removeprefix("http://")


def start_ollama(stack):
    sys.path[:0] = [str(ROOT / "tests/lib"), str(ROOT / "tests/ollama")]
    from real import BINARY, Ollama
    if not BINARY.exists():
        raise Failed("no Ollama: make test-ollama builds one")
    server = stack.enter_context(Ollama())
    server.create(ENGINES["ollama"].model)
    return server.url.removeprefix("http://")


@contextlib.contextmanager
def running(bench, name):
    """Its address."""
    with contextlib.ExitStack() as stack:
        if name == "llama":
            yield start_llama(stack, bench.folder)
        elif name == "ollama":
            yield start_ollama(stack)
        else:
            sim = Server(bench.folder, f"sim-{name}", [bench.build / "mcpgate", "sim", "--http", "127.0.0.1:0",
                                                       *ENGINES[name].options], banner=rb"^ready$")
            stack.callback(sim.stop)
            yield sim.address(r"http\s+")
