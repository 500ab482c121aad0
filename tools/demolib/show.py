# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: colour on a terminal only, tokens as they come, the table."""
import os
import shutil
import sys
import textwrap
import time

TTY = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"  # it can rewrite a line
COLOUR = TTY and not os.environ.get("NO_COLOR")
WIDTH_MAX = 100


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def bold(text):
    return paint("1", text)


def dim(text):
    return paint("2", text)


def green(text):
    return paint("32", text)


def line(text=""):
    print(text, flush=True)


def paragraph(text):
    """Broken between words on a terminal, one line elsewhere."""
    if sys.stdout.isatty():
        width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
        text = textwrap.fill(text, max(width - 1, 20), break_long_words=False, break_on_hyphens=False)
    line(text)


def warn(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def harmless(text, spared=""):
    """Text of a peer or a model, without what would move the user's terminal."""
    return "".join(c if c in spared or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def token(text):
    sys.stdout.write(harmless(text, "\n\t"))
    sys.stdout.flush()


class Waiting:
    """"what  1.2 s", rewritten in place on a terminal until the end of the with block."""

    def __init__(self, what):
        self.what, self.begin = what, time.monotonic()

    def __enter__(self):
        return self

    def tick(self):
        if TTY:
            print(f"\r{self.what}  {time.monotonic() - self.begin:.1f} s\033[K", end="", flush=True)

    def __exit__(self, *_):
        if TTY:
            print("\r\033[K", end="", flush=True)


# --- numbers ----------------------------------------------------------------------------------
def duration(seconds):
    if seconds is None:
        return "-"
    if seconds < 1e-6:
        return "<1 us"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.{1 if seconds < 0.01 else 0}f} ms"
    return f"{seconds:.2f} s"


def size(count):
    if count is None:
        return "-"
    return f"{count} B" if count < 1000 else f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def rate(value):
    return "-" if value is None else f"{value:.1f}"


def table(rows):
    """The lines of the table. rows: (name, Run or None, (p50, p99) or None)."""
    head = [("", "first", "tokens", "", "", "added", "added"),
            ("", "token", "per s", "tokens", "bytes", "p50", "p99")]
    body = []
    for name, run, added in rows:
        if run is None:
            body.append((name, *["-"] * 6))
            continue
        p50, p99 = added or (None, None)
        body.append((name, duration(run.first_s), rate(run.tokens_per_s), str(run.tokens), size(run.bytes),
                     duration(p50), duration(p99)))
    widths = [max(len(r[i]) for r in head + body) for i in range(7)]
    lines = []
    for row in head + body:
        cells = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return lines
