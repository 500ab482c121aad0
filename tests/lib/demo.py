# SPDX-License-Identifier: Apache-2.0
"""A run of tools/demo or tools/demo-cluster."""
import contextlib
import os
import pathlib
import subprocess
import time
import uuid

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
NO_OLLAMA = "127.0.0.1:1"
RUN_S = 200


class Marked:
    """An environment by which all that is started with it can be found."""

    def __init__(self, **env):
        self.mark = f"MCPGATE_DEMO_TEST={uuid.uuid4()}"
        name, value = self.mark.split("=")
        # Proxies of the environment are not for loopback: one that answers nothing must not matter.
        self.environment = {**os.environ, "OLLAMA_HOST": NO_OLLAMA, name: value, **env,
                            "http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
        self.environment.pop("NO_COLOR", None)

    def left(self):
        """The processes that carry the mark, apart from zombies, which have no environment."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def assert_nothing_left(self):
        end = time.monotonic() + 10
        while left := self.left():
            assert time.monotonic() < end, [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
            time.sleep(0.02)


class Demo(Marked):
    """In a session of its own. `cwd`: where it is called from."""

    def __init__(self, prefix=(), program="demo", cwd=None, **env):
        super().__init__(**env)
        self.process = subprocess.Popen([*prefix, TOOLS / program], cwd=cwd, env=self.environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)

    def finish(self):
        """(status, stdout, stderr)"""
        out, err = self.process.communicate(timeout=RUN_S)
        return self.process.returncode, out.decode(), err.decode()

    def wait_for_output(self, text):
        seen = b""
        end = time.monotonic() + RUN_S
        while text.encode() not in seen:
            got = os.read(self.process.stdout.fileno(), 4096)
            assert got and time.monotonic() < end, f"no {text!r} in {seen!r}"
            seen += got
