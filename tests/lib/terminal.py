# SPDX-License-Identifier: Apache-2.0
"""A program on a terminal of its own."""
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time

SIZE = (40, 120)  # rows and columns


class Terminal:
    """Runs `argv` with a pseudo-terminal as its controlling one, so that Ctrl-C is a signal."""

    def __init__(self, argv, env=None, timeout=20):
        self.timeout = timeout
        self.seen = ""  # all that was shown so far
        self.at = 0  # what expect() has gone past
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, SIZE)

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env,
                                        preexec_fn=take_terminal, close_fds=True)
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(self.timeout)
        os.close(self.master)

    def read(self, deadline):
        """Adds what comes next to `seen`; False at the end."""
        left = max(0, deadline - time.monotonic())
        if not select.select([self.master], [], [], left)[0]:
            raise TimeoutError(f"only seen: {self.seen!r}")
        try:
            data = os.read(self.master, 4096)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)

    def expect(self, text):
        """Waits until `text` is shown behind what was expected before; returns all up to it."""
        deadline = time.monotonic() + self.timeout
        while (found := self.seen.find(text, self.at)) < 0:
            if not self.read(deadline):
                raise EOFError(f"ended without {text!r}: {self.seen!r}")
        begin, self.at = self.at, found + len(text)
        return self.seen[begin:self.at]

    def type(self, text):
        os.write(self.master, text.encode())

    def wait(self):
        """Reads to the end and returns the exit status."""
        deadline = time.monotonic() + self.timeout
        while self.read(deadline):
            pass
        return self.process.wait(self.timeout)
