# SPDX-License-Identifier: Apache-2.0
"""A scripted model node on a socket of its own: exact bytes out, every request noted, faults on demand.

    node = OllamaNode("llama3:8b")
    node.next("/api/generate", ndjson({"response": "a", "done": False}, gate, {"done": True}))
    node.next("/api/chat", [CLOSE])          # the connection ends without an answer
    node.always("/api/ps", answer({"models": []}))
    request = node.wait_request("/api/generate")   # .method .target .headers .body .connection

A script is a list of steps done one after the other for one request: bytes are written; CLOSE, RESET,
HANG; a Gate is waited at; a function gets the connection. In the place of a list may be a function that
makes it from the request. After the last step the connection stays open
for the next request. What is answered without a script is in answers_of().
"""
import json
import socket
import threading
import time

from http_bytes import Closed, Head, Reader, encode_json, read_chunk, read_head, reset, wait_until

JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
DATE = "Sun, 22 Nov 2026 12:00:00 GMT"


# --- scripts --------------------------------------------------------------------------------------
class Gate:
    """The node waits here until the test opens it, or the peer leaves. `reached` is set on the way."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def open(self):
        self.opened.set()

    def wait_reached(self):
        wait_until(self.reached.is_set, "the node got to the gate")

    def __call__(self, connection):
        self.reached.set()
        while not self.opened.wait(0.003):
            connection.check_peer()


def CLOSE(connection):
    """FIN, and nothing more is read."""
    raise Closed("by the script")


def RESET(connection):
    connection.reset()
    raise Closed("by the script")


def HANG(connection):
    """Silence until the peer leaves."""
    while True:
        connection.check_peer()
        time.sleep(0.003)


def pause(seconds):
    """A script that is slow on purpose; it still sees the peer leave."""
    def step(connection):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.check_peer()
            time.sleep(min(0.003, seconds))
    return step


def head_of(status=200, content_type=JSON, headers=(), length=None, chunked=False, reason="OK"):
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Date: {DATE}")
    lines += [f"Content-Length: {length}"] if length is not None else []
    lines += ["Transfer-Encoding: chunked"] if chunked else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(body=b"", status=200, content_type=JSON, headers=(), reason="OK"):
    data = encode_json(body)
    return [head_of(status, content_type, headers, len(data), reason=reason) + data]


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"


def ndjson(*items, status=200, headers=()):
    """A stream as Ollama writes it, an object per chunk; steps between the objects are done there."""
    parts = [encode_json(item) + b"\n" if isinstance(item, (dict, bytes)) else item for item in items]
    return stream(*parts, content_type=NDJSON, status=status, headers=headers)


def sse(*events, status=200, headers=()):
    """Events are whole blocks without their blank line, as bytes, or objects for `data:`."""
    def block(event):
        if isinstance(event, dict):
            return b"data: " + encode_json(event) + b"\n\n"
        return event + b"\n\n" if isinstance(event, bytes) else event
    return stream(*map(block, events), content_type=SSE, status=status, headers=headers)


def stream(*parts, content_type, status=200, headers=(), end=LAST_CHUNK):
    steps = [head_of(status, content_type, headers, chunked=True)]
    steps += [chunk(part) if isinstance(part, bytes) else part for part in parts]
    return steps + [end]


def rechunked(data, size, content_type=NDJSON):
    """The same body cut into chunks of `size` bytes, whatever the parts are."""
    cut = [chunk(data[i:i + size]) for i in range(0, len(data), size)]
    return [head_of(200, content_type, chunked=True) + b"".join(cut) + LAST_CHUNK]


def in_writes_of(script, size=1):
    """The same bytes, `size` of them in each write."""
    steps = []
    for step in script:
        if isinstance(step, bytes):
            steps += [step[i:i + size] for i in range(0, len(step), size)]
        else:
            steps.append(step)
    return steps


def flood(part, limit=None):
    """Writes `part` as chunks until the peer leaves, or `limit` times."""
    def step(connection):
        data, count = chunk(part), 0
        while limit is None or count < limit:
            connection.write(data)
            count += 1
    return step


# --- the node -------------------------------------------------------------------------------------
class Request(Head):
    def __init__(self, raw, connection):
        super().__init__(raw)
        self.method, self.target, self.version = self.first
        self.path = self.target.split("?")[0]
        self.connection, self.body, self.chunks = connection, b"", None
        self.whole = threading.Event()  # its body came to the end

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.method} {self.target} on {self.connection.number}>"


class Connection:
    """One accepted connection and the thread that serves it."""

    def __init__(self, node, sock, number):
        self.node, self.sock, self.number = node, sock, number
        self.reader, self.sent = Reader(sock), 0  # bytes written for the latest request
        self.gone = threading.Event()  # the peer left
        self.over = threading.Event()  # nothing is left of it
        self.thread = threading.Thread(target=self.run, daemon=True)

    def write(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.gone.set()
            raise Closed(str(error)) from None
        self.sent += len(data)

    def check_peer(self):
        """Raises Closed once the peer has closed, or the node is stopped."""
        if self.node.stopping.is_set():
            raise Closed("the node is stopped")
        try:
            if self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                self.gone.set()
                raise Closed("end of stream")
        except BlockingIOError:
            pass
        except OSError as error:
            self.gone.set()
            raise Closed(str(error)) from None

    def wait_gone(self, deadline_s=5):
        assert self.gone.wait(deadline_s), f"the gateway keeps connection {self.number} open"

    def reset(self):
        reset(self.sock)

    def read_body(self, request):
        if request.get("Transfer-Encoding") == "chunked":
            request.chunks = []
            while data := read_chunk(self.reader):
                request.chunks.append(data)
            request.body = b"".join(request.chunks)
        elif request.get("Content-Length"):
            self.read_length(request, int(request.get("Content-Length")))
        request.whole.set()

    def read_length(self, request, length):
        if length < 1 << 20:
            request.body = self.reader.exactly(length)
            return
        kept = bytearray()  # uploads: no quadratic joining
        while len(kept) < length:
            if not self.reader.held:
                self.reader.more()
            data, self.reader.held = self.reader.held, b""
            kept += data
        request.body = bytes(kept[:length])
        self.reader.held = bytes(kept[length:])

    def run(self):
        try:
            while True:
                request = Request(read_head(self.reader).raw, self)
                self.sent = 0
                script = self.node.note(request)
                if not isinstance(script, Early):
                    self.read_body(request)
                if script is None:
                    script = self.node.answers_of(request)
                for step in script(request) if callable(script) else script:
                    if isinstance(step, bytes):
                        self.write(step)
                    else:
                        step(self)
        except Closed as why:
            if str(why) != "by the script":
                self.gone.set()
        finally:
            self.sock.close()
            self.over.set()


class Early(list):
    """A script that begins as soon as the request's head is there; the body is not read."""


class Node:
    """What every kind of node has. Subclasses say what is answered without a script."""

    def __init__(self, start=True):
        self.requests, self.polls = [], []  # what clients wanted; what the gateway itself asks
        self.lock = threading.Lock()
        self.connections, self.scripts, self.defaults = [], {}, {}
        self.stopping, self.acceptor = threading.Event(), None
        self.bind(0)
        if start:
            self.start()

    def bind(self, port):
        """Connections are refused until start(), but the port is ours."""
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        """Also after stop(), at the same port."""
        self.stopping.clear()
        self.listener.listen(64)
        self.acceptor = threading.Thread(target=self.accept, args=[self.listener], daemon=True)
        self.acceptor.start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                connection = Connection(self, sock, len(self.connections) + 1)
                self.connections.append(connection)
            connection.thread.start()

    def stop(self):
        """Refuses from now on, and closes what is open."""
        self.stopping.set()
        if self.acceptor is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.acceptor.join()
            self.acceptor = None
        self.listener.close()
        self.bind(self.port)
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.thread.join(10)
            assert not connection.thread.is_alive(), "a thread of the scripted node hangs"

    def close(self):
        self.stop()
        self.listener.close()

    # what comes
    def note(self, request):
        is_poll = request.get("X-Mcpgate-Probe") is not None
        with self.lock:
            (self.polls if is_poll else self.requests).append(request)
            queued = self.scripts.get(("poll " if is_poll else "") + request.path)
            if queued:
                return queued.pop(0)
            return self.defaults.get(("poll " if is_poll else "") + request.path)

    def answers_of(self, request):
        raise NotImplementedError

    # what the test says
    def next(self, path, *scripts, polls=False):
        """The next requests of this path are answered so, one script each. `polls`: the gateway's own."""
        with self.lock:
            self.scripts.setdefault(("poll " if polls else "") + path, []).extend(scripts)

    def always(self, path, script, polls=False):
        self.defaults[("poll " if polls else "") + path] = script

    def forget(self):
        """Between tests: requests, and scripts that were not used."""
        with self.lock:
            left = {path: queued for path, queued in self.scripts.items() if queued}
            self.requests.clear()
            self.scripts.clear()
            self.defaults.clear()
        return left

    # what the test sees
    def of(self, path):
        with self.lock:
            return [request for request in self.requests if request.path == path]

    def wait_request(self, path, count=1):
        """The `count`-th request of that path since the last forget()."""
        wait_until(lambda: len(self.of(path)) >= count, lambda: f"{count} of {path} in {self.requests}")
        request = self.of(path)[count - 1]
        assert request.whole.wait(20), "its body does not come to the end"
        return request

    def open_connections(self):
        with self.lock:
            return [c for c in self.connections if not c.over.is_set()]

    def wait_polls(self, more):
        have = len(self.polls)
        wait_until(lambda: len(self.polls) >= have + more, "the gateway polls the node")

