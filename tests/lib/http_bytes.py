# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.x as bytes, for both ends of the tests: nothing is corrected, joined or retried.

    with HttpClient(gateway.http) as client:
        client.request("POST", "/api/generate", {"model": "m", "prompt": "hi"})
        head = client.head()              # status, headers
        client.chunk()                    # the next chunk's data, b"" at the end
        response = client.response()      # or all of it: .body .chunks .complete
"""
import contextlib
import json
import socket
import time

DEADLINE_S = 20  # for anything a test waits for; far more than it takes


class Closed(Exception):
    """The peer closed the connection, or reset it, where more was expected."""


def wait_until(check, what, deadline_s=DEADLINE_S, step_s=0.005):
    """The first true result of check()."""
    end = time.monotonic() + deadline_s
    while not (result := check()):
        assert time.monotonic() < end, f"not within {deadline_s} s: {what() if callable(what) else what}"
        time.sleep(step_s)
    return result


def wait_steady(read, still_s=0.3):
    """Until read() gives the same value for a while; that value."""
    seen, since = read(), time.monotonic()

    def steady():
        nonlocal seen, since
        value = read()
        if value != seen:
            seen, since = value, time.monotonic()
        return time.monotonic() - since > still_s
    wait_until(steady, "output stops")
    return seen


def encode_json(body):
    """Bytes as they are; anything else as compact JSON."""
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def reset(sock):
    """Closes with RST instead of FIN."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


class Reader:
    """Buffered reading of a socket; Closed where it ends too early."""

    def __init__(self, sock):
        self.sock, self.held = sock, b""

    def more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionError as error:
            raise Closed(f"{error} behind {self.held[-200:]!r}") from None
        if not data:
            raise Closed(f"end of stream behind {self.held[-200:]!r}")
        self.held += data

    def until(self, mark):
        """Everything up to and including `mark`."""
        while mark not in self.held:
            self.more()
        at = self.held.index(mark) + len(mark)
        data, self.held = self.held[:at], self.held[at:]
        return data

    def exactly(self, count):
        while len(self.held) < count:
            self.more()
        data, self.held = self.held[:count], self.held[count:]
        return data

    def rest(self):
        """All that comes until the end of the stream; a reset raises Closed."""
        while True:
            try:
                data = self.sock.recv(65536)
            except ConnectionError as error:
                raise Closed(str(error)) from None
            if not data:
                break
            self.held += data
        data, self.held = self.held, b""
        return data


class Head:
    """The first line's three words and the headers, in order, as they came."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0].split(" ", 2)
        self.headers = []
        for line in lines[1:-2]:
            name, colon, value = line.partition(":")
            assert colon, f"no header: {line!r}"
            self.headers.append((name, value.strip()))

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else default

    def names(self):
        return {key.lower() for key, _ in self.headers}


def read_head(reader):
    return Head(reader.until(b"\r\n\r\n"))


def read_chunk(reader):
    """A chunk's data; b"" for the last one."""
    size = int(reader.until(b"\r\n").rstrip(b"\r\n"), 16)
    data = reader.exactly(size)
    assert reader.exactly(2) == b"\r\n", "a chunk does not end where it said"
    return data


class Response(Head):
    """`complete`: the end came as its framing promised. `chunks`: as they were cut, where chunked."""

    def __init__(self, raw):
        super().__init__(raw)
        self.version, self.status = self.first[0], int(self.first[1])
        self.body, self.chunks, self.complete, self.framing = b"", [], False, None

    def json(self):
        return json.loads(self.body)

    def lines(self):
        """The objects of NDJSON."""
        assert self.body.endswith(b"\n"), self.body[-200:]
        return [json.loads(line) for line in self.body.split(b"\n")[:-1]]

    def events(self):
        """The blocks of an event stream, without the blank lines between them."""
        assert self.body.endswith(b"\n\n"), self.body[-200:]
        return self.body.split(b"\n\n")[:-1]


class Connection:
    """A client's side of a TCP connection."""

    def __init__(self, address, timeout_s=DEADLINE_S, receive_buffer=None):
        """`address` is (host, port); a small receive_buffer makes a client that is soon full."""
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout_s)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address, self.reader = address, Reader(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        reset(self.sock)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.sock.sendall(data)

    def send_each_byte(self, data):
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])

    def closed(self):
        """Waits for the end of the connection; what still came before it."""
        try:
            return self.reader.rest()
        except Closed:
            return b""


class HttpClient(Connection):
    method = None  # of the last request

    def bytes_of(self, method, target, body=None, headers=(), version="HTTP/1.1"):
        data = b"" if body is None else encode_json(body)
        lines = [f"{method} {target} {version}", f"Host: {self.address[0]}:{self.address[1]}"]
        names = {name.lower() for name, _ in headers}
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(data)}")
        if body is not None and "content-type" not in names:
            lines.append("Content-Type: application/json")
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data

    def request(self, method, target, body=None, headers=(), version="HTTP/1.1"):
        self.method = method
        self.send(self.bytes_of(method, target, body, headers, version))

    def head(self):
        return Response(read_head(self.reader).raw)

    def chunk(self):
        return read_chunk(self.reader)

    def response(self, method=None):
        response = self.head()
        if response.status == 100:
            response = self.head()
        self.finish(response, method or self.method)
        return response

    def finish(self, response, method="GET"):
        """Reads the body of a response whose head was read."""
        length = response.get("Content-Length")
        try:
            if method == "HEAD" or response.status in (204, 304):
                response.framing = "none"
            elif response.get("Transfer-Encoding") == "chunked":
                assert length is None
                response.framing = "chunked"
                while chunk := self.chunk():
                    response.chunks.append(chunk)
            elif length is not None:
                response.framing = "length"
                response.body = self.reader.exactly(int(length))
            else:
                response.framing = "close"
                response.body = self.reader.rest()
            response.complete = True
        except Closed:
            if response.framing == "length":
                response.body = self.reader.held
        if response.framing == "chunked":
            response.body = b"".join(response.chunks)


def ask(address, method, target, body=None, headers=(), **options):
    """One request on a connection of its own."""
    with HttpClient(address, **options) as client:
        client.request(method, target, body, headers)
        return client.response()
