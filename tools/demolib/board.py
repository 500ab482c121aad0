# SPDX-License-Identifier: Apache-2.0
"""What happens, line by line, and below it on a terminal the queue as `mcpgate queue` shows it, redrawn in place.
Elsewhere the queue is a line every few seconds."""
import json
import shutil
import subprocess
import time

from demolib import gateway, show

REDRAW_S, LINE_S = 0.5, 3


def summary(page):
    """The page of /admin/queue as one line."""
    nodes = []
    for node in page["nodes"]:
        models = node["models"]
        running, slots = sum(m["running"] for m in models), sum(m.get("slots", 0) for m in models)
        nodes.append(f"{node['name']} {running}/{slots}" if models else f"{node['name']} -")
    waiting = {}
    for request in page["requests"]:
        if request["state"] == "queued":
            waiting[request["tenant"]] = waiting.get(request["tenant"], 0) + 1
    who = "".join(f" {name} {count}" for name, count in sorted(waiting.items()))
    return f"waiting {page['waiting']}{':' if who else ''}{who};  running on {'  '.join(nodes)}"


class Board:
    def __init__(self, binary, admin, key):
        self.command = [binary, "queue", "--admin", admin, "--key", key]
        self.admin, self.key = admin, key
        self.begun, self.drawn = time.monotonic(), 0.0
        self.height = 0  # lines below the last event

    def now(self):
        return time.monotonic() - self.begun

    def event(self, text):
        self.erase()
        show.line(f"{self.now():6.1f} s  {text}")
        self.drawn = 0.0

    def erase(self):
        if self.height:
            print(f"\033[{self.height}F\033[J", end="")
        self.height = 0

    def tick(self):
        if time.monotonic() - self.drawn >= (REDRAW_S if show.TTY else LINE_S):
            self.draw()

    def draw(self):
        if not show.TTY:
            status, text = gateway.get(self.admin, "/admin/queue", key=self.key)
            if status == 200:
                show.line(f"{self.now():6.1f} s  {summary(json.loads(text))}")
        else:
            found = subprocess.run(self.command, capture_output=True, text=True, check=False).stdout
            size = shutil.get_terminal_size()
            lines = [show.dim(show.harmless(text)[:size.columns - 1]) for text in found.splitlines()][:size.lines - 4]
            self.erase()
            show.line("\n".join(lines))
            self.height = len(lines)
        self.drawn = time.monotonic()
