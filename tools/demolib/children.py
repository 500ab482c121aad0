# SPDX-License-Identifier: Apache-2.0
"""The processes the demo starts: each with a log of its own, all stopped at the end, last first."""
import ctypes
import os
import pathlib
import signal
import subprocess
import tempfile
import time

STOP_S = 5


class Children:
    def __init__(self, log_dir, keep):
        self.log_dir, self.keep, self.running = log_dir, keep, []
        try:
            log_dir.mkdir(parents=True, exist_ok=True)
            writable = os.access(log_dir, os.W_OK)
        except OSError:
            writable = False
        if not writable:  # a checkout that belongs to another user
            self.log_dir = pathlib.Path(tempfile.mkdtemp(prefix="mcpgate-demo."))
        self.libc = ctypes.CDLL(None)
        self.folders = []

    def folder(self):
        """An empty one that goes when all of them have ended."""
        self.folders.append(tempfile.TemporaryDirectory(prefix="mcpgate-demo."))
        return pathlib.Path(self.folders[-1].name)

    def die_with_parent(self):
        PR_SET_PDEATHSIG = 1
        self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def ignore_interrupt(self):
        self.die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def start(self, name, command):
        """Its own session: Ctrl-C reaches the demo alone, which then stops all in order."""
        out, err = fresh(self.log_dir / f"{name}.out"), fresh(self.log_dir / f"{name}.log")
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=err, start_new_session=True,
                                   preexec_fn=None if self.keep else self.die_with_parent)
        child = Child(process, out, err)
        self.running.append(child)
        return child

    def foreground(self, command):
        """One that has the terminal; returns its status. Ctrl-C is for the demo, which then stops it: a
        Python that gets it while it starts would show a traceback."""
        child = Child(subprocess.Popen([str(c) for c in command], preexec_fn=self.ignore_interrupt))
        self.running.append(child)
        status = child.process.wait()
        self.done(child)
        return status

    def run(self, command):
        """A short-lived one whose output is read here; it is in the list while it runs."""
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                                   start_new_session=True, preexec_fn=self.die_with_parent)
        child = Child(process)
        self.running.append(child)
        return child

    def done(self, child):
        self.running.remove(child)

    def stop(self):
        while self.running:
            child = self.running.pop()
            child.stop()
        while self.folders:
            self.folders.pop().cleanup()


def fresh(path):
    """A new file; one of this name that another run still writes to is left to it."""
    path.unlink(missing_ok=True)
    return open(path, "w+", encoding="utf-8", errors="replace")


def text_of(file):
    return os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")


class Child:
    def __init__(self, process, out=None, err=None):
        self.process, self.out, self.err = process, out, err

    def alive(self):
        return self.process.poll() is None

    def lines(self):
        """What it has printed so far, whole lines only."""
        return text_of(self.out).split("\n")[:-1]

    def last_words(self):
        text = text_of(self.err).strip() or text_of(self.out).strip()
        return text.splitlines()[-1] if text else f"status {self.process.returncode}, no output"

    def kill(self):
        """As a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if not self.alive():
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for(check, deadline_s, tick=lambda: None, step_s=0.05):
    """The first true result of check(), else None at the deadline."""
    end = time.monotonic() + deadline_s
    while not (result := check()):
        if time.monotonic() > end:
            return None
        tick()
        time.sleep(step_s)
    return result
