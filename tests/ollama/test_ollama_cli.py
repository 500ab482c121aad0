# SPDX-License-Identifier: Apache-2.0
"""The `ollama` command with OLLAMA_HOST at the gateway prints and does what it does with its own server."""
import re

import pytest

from real import BINARY
from terminal import Terminal

NOWHERE = "127.0.0.1:1/nobody/nothing"
MODELFILE = """FROM {of}
SYSTEM Be brief.
PARAMETER temperature 0
PARAMETER seed 1
PARAMETER num_predict 6
"""


@pytest.fixture(scope="module", autouse=True)
def spoken(ollama, the_gateway):
    """`cli`, which says the same each time; made through the gateway, which then knows it at once."""
    assert create(ollama, the_gateway.url, "cli", "tiny")[0] == 0
    yield
    assert ollama.command("rm", "cli")[0] == 0


def create(ollama, url, name, of):
    path = ollama.folder / "Modelfile"
    path.write_text(MODELFILE.format(of=of))
    return ollama.command("create", name, "-f", str(path), host=url)


def plain(text):
    """Without what moves on a terminal, times and rates."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)
    text = re.sub(r"[\u2800-\u28ff]\s*", "", text)  # what turns while one waits
    units = "(second|minute|hour|day|week|month)s?"
    text = re.sub(rf"Less than a second|About an? {units}|\d+ {units}", "<time>", text)
    text = re.sub(r"[\d.]+(\u00b5s|ms|s)\b", "<duration>", text)
    return re.sub(r"[\d.]+ tokens/s", "<rate>", text)


def outcome(ollama, url, *args, **options):
    status, out, errors = ollama.command(*args, host=url, **options)
    lines = plain(out).split("\n")
    if args[0] in ("show", "ps"):  # the parameters come in any order, and so do those of one second
        lines.sort()
    return status, lines, sorted(set(re.split(r"\s{2,}|\n", plain(errors))))


SAME = {
    "list": ["list"], "list of some": ["list", "tinyt"], "show": ["show", "cli"],
    **{f"show {what}": ["show", "cli", f"--{what}"]
       for what in ("modelfile", "parameters", "system", "template", "license", "verbose")},
    "show none": ["show", "nope"], "run": ["run", "cli", "Once upon a time"],
    "run, json": ["run", "cli", "Once upon a time", "--format", "json"],
    "run, verbose": ["run", "cli", "Once upon a time", "--verbose"],
    "run, for a while": ["run", "cli", "Once upon a time", "--keepalive", "10m", "--nowordwrap"],
    "run, embedding": ["run", "tinyembed", "a cat"],
    "run none": ["run", NOWHERE, "x", "--insecure"], "ps": ["ps"], "stop none": ["stop", "nope"],
    "rm none": ["rm", "nope"], "cp none": ["cp", "nope", "x"], "pull": ["pull", NOWHERE, "--insecure"],
    "push": ["push", NOWHERE, "--insecure"],
    "no such command": ["walk"],
}
FAILING = {"show none", "run none", "stop none", "rm none", "cp none", "pull", "push", "no such command"}


@pytest.mark.parametrize("name", SAME)
def test_it_prints_the_same(ollama, gateway, name):
    through = outcome(ollama, gateway.url, *SAME[name])
    assert through == outcome(ollama, ollama.url, *SAME[name])
    assert (through[0] != 0) == (name in FAILING), through


def test_run_reads_standard_input(ollama, gateway):
    asked = ["run", "cli"], {"stdin": "Once upon a time\n"}
    through = outcome(ollama, gateway.url, *asked[0], **asked[1])
    assert through == outcome(ollama, ollama.url, *asked[0], **asked[1])
    assert through[0] == 0 and through[1][0]


def test_models_are_made_copied_asked_stopped_and_removed(ollama, gateway):
    def listed():
        return {line.split()[0] for line in ollama.command("list", host=gateway.url)[1].splitlines()[1:]}

    def running():
        return {line.split()[0] for line in ollama.command("ps", host=gateway.url)[1].splitlines()[1:]}

    before = listed()
    assert create(ollama, gateway.url, "made", "tinyembed")[0] == 0
    assert ollama.command("cp", "made", "copied", host=gateway.url)[0] == 0
    assert listed() == before | {"made:latest", "copied:latest"}
    assert ollama.command("run", "cli", "Once upon a time", host=gateway.url)[0] == 0
    loaded = running()
    assert loaded
    for model in loaded:
        assert ollama.command("stop", model, host=gateway.url)[0] == 0
    assert not running()
    assert ollama.command("rm", "made", "copied", host=gateway.url)[0] == 0
    assert listed() == before


def test_a_model_file_is_imported(ollama, gateway):
    """260 MB, of which Ollama has none yet: the upload goes through the gateway."""
    of = re.search(r"^FROM (\S+)", ollama.command("show", "gemma3:270m", "--modelfile")[1], re.M)[1]
    with open(of, "rb") as file, open(ollama.folder / "big.gguf", "wb") as copy:
        copy.write(file.read().replace(b"gemma", b"jemma", 1))  # another digest
    status, _, errors = create(ollama, gateway.url, "imported", "./big.gguf")
    assert status == 0, errors
    assert "imported:latest" in ollama.command("list", host=gateway.url)[1]
    assert ollama.command("rm", "imported", host=gateway.url)[0] == 0
    (ollama.folder / "big.gguf").unlink()


def test_run_on_a_terminal(ollama, gateway):
    environment = ollama.environment(gateway.url) | {"TERM": "xterm"}
    with Terminal([BINARY, "run", "cli"], environment, timeout=60) as terminal:
        terminal.expect(">>> ")
        terminal.type("Once upon a time\r")
        said = plain(terminal.expect(">>> "))
        assert re.search(r"[a-z]{2}", said.replace("Once upon a time", "")), said
        terminal.type("/show info\r")
        terminal.expect("Parameters")
        terminal.type("/bye\r")
        assert terminal.wait() == 0
    gateway.wait_access(lambda line: line.get("path") == "/api/chat" and line["code"] == "ok")
