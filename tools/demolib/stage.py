# SPDX-License-Identifier: Apache-2.0
"""What the demos have in common: the built program, engines, a gateway, and an end that leaves nothing behind."""
import os
import pathlib
import signal
import sys

from demolib import children, gateway, show

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("MCPGATE_BIN") or ROOT / "build/release/mcpgate").absolute()
ENGINE = ROOT / "tools/engine"
ENGINE_MODEL = "gemma3:270m"
LOGS = ROOT / ".cache/demo"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Failed(Exception):
    """One line for the user; none where what failed has said it."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


def build(started):
    """What `make demo` does before. Only here its exit status is tools/deps' own: make's is always 2."""
    if os.access(BINARY, os.X_OK):
        return
    if "MCPGATE_BIN" in os.environ:
        raise Failed(f"{BINARY} is not there; make build")
    for command in ([ROOT / "tools/deps", "demo"], ["make", "--no-print-directory", "-C", ROOT, "build"]):
        status = started.foreground(command)
        if status != 0:
            raise Failed("", status)


def fetch_engine(started, otherwise):
    """`otherwise`: what the user can do where it cannot be had."""
    if started.foreground([ENGINE / "fetch"]) != 0:
        raise Failed(f"the embedded model could not be fetched (above){otherwise}")


def start_engine(started, name="engine", *options):
    """The embedded model behind llama.cpp's server, which loads; see engine_url."""
    return started.start(name, [ENGINE / "serve", *options])


def engine_url(child):
    """Waits until it is loaded."""
    def listening():
        lines = [text for text in child.lines() if text.startswith("engine listening on ")]
        if not lines and not child.alive():
            raise Failed(f"the engine ended: {child.last_words()}")
        return lines and lines[0].split()[3]

    with show.Waiting(f"loading {ENGINE_MODEL} (253 MB)") as waiting:
        url = children.wait_for(listening, 120, waiting.tick)
    if not url:
        raise Failed(f"the engine did not load its model in 120 s; see {child.err.name}")
    return url


def start_gateway(started, *options):
    """On free ports; its addresses once it is ready."""
    any_port = "127.0.0.1:0"
    child = started.start("gateway", [BINARY, "serve", *options, "--mcp", any_port,
                                      "--http", any_port, "--admin", any_port])

    def banner():
        if not child.alive():
            raise Failed(f"mcpgate serve ended: {child.last_words()}")
        return gateway.read_banner(child.lines())

    with show.Waiting("starting the gateway") as waiting:
        addresses = children.wait_for(banner, 20, waiting.tick)
        if not addresses or "mcp" not in addresses:
            raise Failed(f"mcpgate serve printed no address in 20 s; see {child.out.name} and {child.err.name}")
        if "admin" in addresses:
            def ready():
                return gateway.get(addresses["admin"], "/readyz")[0] == 200
            if not children.wait_for(ready, 30, waiting.tick):
                status, text = gateway.get(addresses["admin"], "/readyz")
                raise Failed(f"the gateway does not become ready ({status} {text.strip()}); see {child.err.name}")
    return addresses


def on_signal(number, _frame):
    raise KeyboardInterrupt(number)


def play(act, doc, keep=False):
    """Runs act(started), which returns whether what it started is to go on; the exit status."""
    if len(sys.argv) > 1:
        print(doc.strip())
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    for number in SIGNALS:
        signal.signal(number, on_signal)
    started = children.Children(LOGS, keep)
    kept = False
    try:
        build(started)
        kept = act(started)
        return 0
    except Failed as error:
        if str(error):
            show.warn(str(error))
        return error.status
    except KeyboardInterrupt as interrupt:
        show.line()
        show.warn("stopped")
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        return 128 + number
    finally:
        if not kept:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave anything behind
            started.stop()
