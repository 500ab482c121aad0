# SPDX-License-Identifier: Apache-2.0
"""A real Ollama (tools/ollama/build) of the test's own: its folder, its port, its models.

gemma3:270m  the engine's model, which can count (tools/engine/fetch)
tiny         random weights: answers at once, and what it says means nothing
tinytools    the same, with a template for tools; `format` makes it call one
tinythink    the same, thinking before it speaks
tinyembed    random weights of a BERT
"""
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from http_bytes import ask, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/ollama"
BINARY = pathlib.Path(os.environ.get("OLLAMA_BIN") or CACHE / "bin/ollama")
START_DEADLINE_S = 60
sys.path.insert(0, str(ROOT / "tools/engine"))
import cache  # noqa: E402  (of the engine)

MODELFILES = {
    "gemma3:270m": f"FROM {cache.GGUF}\nPARAMETER num_thread 1\n",  # two that spin are slow where a core is busy
    "tiny": f"FROM {CACHE}/tiny.gguf\nPARAMETER num_thread 1\n",
    "tinyembed": f"FROM {CACHE}/tinyembed.gguf\nPARAMETER num_thread 1\n",
    "tinytools": '''FROM tiny
TEMPLATE """{{- if .Tools }}Tools: {{ .Tools }}
{{ end }}{{- range .Messages }}{{- if eq .Role "user" }}Q: {{ .Content }}
{{ else if eq .Role "assistant" }}A: {{ .Content }}{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", \
"arguments": {{ .Function.Arguments }}}{{ end }}
{{ else if eq .Role "tool" }}T: {{ .Content }}
{{ end }}{{- end }}A:"""
PARAMETER num_predict 200
''',
    "tinythink": '''FROM tiny
TEMPLATE """{{- range .Messages }}{{- if eq .Role "user" }}Q: {{ .Content }}
{{ else if eq .Role "assistant" }}A: {{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}
{{ end }}{{- end }}A:<think>"""
PARAMETER num_predict 12
''',
}


def end_with_parent():
    """In the child: SIGTERM, so that it ends its runners too."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Ollama:
    def __init__(self, **settings):
        self.holder = tempfile.TemporaryDirectory(prefix="mcpgate-ollama-")
        self.folder = pathlib.Path(self.holder.name)
        self.log_path = self.folder / "log"
        self.settings, self.quiet = settings, 0
        try:
            self.address = self.start("127.0.0.1:0")
        except BaseException:
            self.stop()
            raise
        self.url = "http://%s:%d" % self.address

    def start(self, host):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([BINARY, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment(host), preexec_fn=end_with_parent)
        return "127.0.0.1", int(self.wait_log(r"Listening on 127\.0\.0\.1:(\d+)")[1])

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def start_anew(self):
        """Another process, as after an upgrade: the same place and folder, nothing in memory."""
        assert self.start("%s:%d" % self.address) == self.address

    def environment(self, host):
        """Nothing of the user's own settings, nor of a proxy."""
        own = {name: value for name, value in os.environ.items()
               if not name.startswith("OLLAMA_") and not name.lower().endswith("_proxy")}
        return own | {"HOME": str(self.folder), "OLLAMA_MODELS": str(self.folder / "models"), "OLLAMA_HOST": host,
                      "OLLAMA_NUM_PARALLEL": "8", "OLLAMA_KEEP_ALIVE": "1h", "OLLAMA_CONTEXT_LENGTH": "2048",
                      "OLLAMA_DEBUG": "1", "OLLAMA_NO_CLOUD": "1", "NO_COLOR": "1", "TERM": "dumb", **self.settings}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.end()
        self.holder.cleanup()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, pattern, deadline_s=START_DEADLINE_S):
        def found():
            assert self.process.poll() is None, f"it ended: {self.log()[-2000:]}"
            return re.search(pattern, self.log())
        return wait_until(found, lambda: f"{pattern!r} in its log: {self.log()[-2000:]}", deadline_s, 0.05)

    def command(self, *args, host=None, stdin="", timeout_s=300):
        """The `ollama` command, with this server or one at `host`; (status, stdout, stderr)."""
        run = subprocess.run([BINARY, *args], input=stdin, capture_output=True, text=True, timeout=timeout_s,
                             cwd=self.folder, env=self.environment(host or self.url), check=False)
        return run.returncode, run.stdout, run.stderr

    def create(self, *names):
        for name in names:
            path = self.folder / "Modelfile"
            path.write_text(MODELFILES[name])
            status, _, errors = self.command("create", name, "-f", str(path))
            assert status == 0, errors[-2000:]
        self.date_models()

    def date_models(self):
        """An hour apart: Ollama lists the newest first, and those of one second in any order."""
        manifests = sorted(path for path in (self.folder / "models/manifests").rglob("*") if path.is_file())
        for hours, path in enumerate(manifests):
            os.utime(path, (1_790_000_000 + 3600 * hours,) * 2)

    def load(self, model):
        path = "/api/embed" if "embed" in model else "/api/generate"
        assert ask(self.address, "POST", path, {"model": model, "input": ""}, timeout_s=120).status == 200

    def busy(self):
        """How many completions have begun and not ended, by its log; right where nothing else is asked (no loads)."""
        text = self.log()[self.quiet:]
        ended = re.findall(r'^\[GIN\] .*POST +"/(?:api/(?:generate|chat)|v1/[a-z/]+)"', text, re.M)
        return text.count('msg="completion request"') - len(ended)

    def mark_quiet(self):
        """Nothing runs now: busy() counts from here."""
        self.quiet = len(self.log())

    def wait_busy(self, count, deadline_s=20):
        wait_until(lambda: self.busy() == count, lambda: f"{self.busy()} completions run, not {count}", deadline_s, 0.02)
