# SPDX-License-Identifier: Apache-2.0
"""An MCP server that answers as it is told, for tests of clients: of the base profile, or one that takes
the features `offers` (JSON, without a CRC).

    def answer(exchange):
        exchange.part({"response": "hi", "done": exchange.request["prompt"] != ""})

    with McpServer(answer) as server:
        server.address          # "127.0.0.1:PORT"
        server.requests         # all that came, as objects
        server.heartbeats       # (session, payload)
        server.cancelled        # sessions of CANCEL frames
"""
import contextlib
import json
import os
import socket
import threading

from http_bytes import DEADLINE_S
from mcp_client import HEADER, HEARTBEAT, REQUEST, RESPONSE, encode

HELLO, WELCOME, ACK, CANCEL = 0x10, 0x11, 0x12, 0x14


class Exchange:
    """What a handler gets: the request, and ways to answer it."""

    def __init__(self, connection, session, payload):
        self.connection, self.session = connection, session
        self.request = json.loads(payload)
        self.gone = connection.gone

    def part(self, body):
        self.connection.send(encode(RESPONSE, self.session, json.dumps(body).encode()))

    def ack(self, **body):
        self.connection.send(encode(ACK, self.session, json.dumps(body).encode()))

    def error(self, code, text, **more):
        self.part({"error": text, "code": code, "retryable": False, "done": True} | more)

    def wait_gone(self):
        assert self.gone.wait(DEADLINE_S), "the client did not close"


class Connection:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.gone = threading.Event()  # the client has closed
        self.lock = threading.Lock()

    def send(self, data):
        with self.lock, contextlib.suppress(OSError):
            self.sock.sendall(data)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def serve(self):
        rest = b""
        with contextlib.suppress(OSError):  # a reset is an end like any other
            while data := self.sock.recv(1 << 16):
                rest = self.take_frames(rest + data)
        self.gone.set()
        with self.lock:
            self.sock.close()

    def take_frames(self, data):
        """Handles whole frames, returns what is left."""
        while len(data) >= HEADER.size:
            _, opcode, session, length = HEADER.unpack_from(data)
            end = HEADER.size + length
            if len(data) < end:
                break
            self.take(opcode, session, data[HEADER.size:end])
            data = data[end:]
        return data

    def take(self, opcode, session, payload):
        if opcode == HEARTBEAT:
            self.server.heartbeats.append((session, payload))
            self.send(encode(HEARTBEAT, session, payload))
        elif opcode == REQUEST:
            exchange = Exchange(self, session, payload)
            self.server.requests.append(exchange.request)
            self.server.start(lambda: self.server.handler(exchange))
        elif opcode == HELLO:
            self.greet(json.loads(payload))
        elif opcode == CANCEL:
            self.server.cancelled.append(session)
            body = {"error": "cancelled", "code": "cancelled", "retryable": False, "done": True}
            self.send(encode(RESPONSE, session, json.dumps(body).encode()))

    def greet(self, hello):
        if self.server.offers is None:
            body = {"error": "opcode 0x10 is not known here", "code": "bad_request", "retryable": False,
                    "done": True}
            self.send(encode(RESPONSE, 0, json.dumps(body).encode()))
            return
        body = {"version": 1, "codec": "json", "heartbeat_ms": 30000, "max_frame": 1 << 24,
                "features": [f for f in hello["features"] if f in self.server.offers], "window": hello["window"],
                "max_sessions": 100, "server": "a test", "connection": len(self.server.connections)}
        self.send(encode(WELCOME, 0, json.dumps(body).encode()))


class McpServer:
    """Gives each request to `handler(exchange)` in a thread of its own."""

    def __init__(self, handler=lambda exchange: None, unix_path=None, offers=None):
        self.handler = handler
        self.offers = offers  # None: HELLO is not known
        self.requests, self.heartbeats, self.connections = [], [], []
        self.cancelled = []
        self.threads, self.failures = [], []  # failures: what handlers raised
        if unix_path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(os.fspath(unix_path))
            self.listener.listen()
            self.address = f"unix:{unix_path}"
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def start(self, work):
        def run():
            try:
                work()
            except BaseException as failure:  # raised again by __exit__, in the test's own thread
                self.failures.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return  # closed
            connection = Connection(self, sock)
            self.connections.append(connection)
            self.start(connection.serve)

    def __enter__(self):
        self.start(self.accept)
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.connections):
            connection.close()
        for thread in list(self.threads):
            thread.join(DEADLINE_S)
        if kind is None and self.failures:
            raise self.failures[0]
