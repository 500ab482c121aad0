# SPDX-License-Identifier: Apache-2.0
"""Clients of demo-cluster: a tenant keeps so many requests going, each by a thread, and notes what it saw."""
import dataclasses
import http.client
import json
import threading
import time

ANSWER_S = 120  # a busy machine, a model on one thread
AGAIN_S = 0.2


@dataclasses.dataclass
class Seen:
    """One request, as its client saw it."""
    id: str
    begun: float
    parts: int = 0
    waited_s: float = 0.0  # for a slot, as the gateway says
    first_s: float | None = None
    over: bool = False
    error: str | None = None

    @property
    def cut(self):
        return self.error is not None and self.parts > 0


class Tenant:
    def __init__(self, name, priority, at_once, pause_s, tokens, prompts):
        self.name, self.priority, self.at_once = name, priority, at_once
        self.pause_s, self.tokens, self.prompts = pause_s, tokens, prompts
        self.key = f"{name}-key"
        self.seen, self.lock = [], threading.Lock()
        self.enough = threading.Event()
        self.threads = []

    def start(self, address, model):
        for _ in range(self.at_once):
            thread = threading.Thread(target=self.work, args=(address, model), daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self):
        """No new questions; those that run go on."""
        self.enough.set()

    def running(self):
        return any(thread.is_alive() for thread in self.threads)

    def requests(self):
        with self.lock:
            return list(self.seen)

    def answered(self):
        return sum(seen.over and seen.error is None for seen in self.requests())

    def work(self, address, model):
        """What was not answered is asked again, as a person or a job would."""
        prompt = None
        while not self.enough.is_set() or prompt:
            with self.lock:
                number = len(self.seen) + 1
                seen = Seen(f"{self.name}-{number}", time.monotonic())
                self.seen.append(seen)
            prompt = prompt or self.prompts[number % len(self.prompts)]
            try:
                self.ask(address, model, prompt, seen)
            except (OSError, http.client.HTTPException, ValueError) as error:
                seen.error = str(error) or type(error).__name__
            seen.over = True
            if seen.error is None:
                prompt = None
            self.enough.wait(max(self.pause_s, AGAIN_S) if seen.error else self.pause_s)

    def ask(self, address, model, prompt, seen):
        body = {"model": model, "prompt": prompt, "raw": True, "options": {"num_predict": self.tokens, "temperature": 0.8}}
        connection = http.client.HTTPConnection(address, timeout=ANSWER_S)
        try:
            connection.request("POST", "/api/generate", json.dumps(body), {
                "Authorization": f"Bearer {self.key}", "X-Request-Id": seen.id, "Content-Type": "application/json"})
            response = connection.getresponse()
            seen.waited_s = int(response.headers.get("X-Mcpgate-Queue-Wait", 0)) / 1000
            done = False
            while line := response.readline():
                part = json.loads(line)
                if part.get("error"):
                    seen.error = str(part["error"])
                    return
                seen.first_s = seen.first_s or time.monotonic() - seen.begun
                seen.parts += 1
                done = part.get("done", False)
            if not done:
                seen.error = "the answer ended without its last part"
        finally:
            connection.close()
