# SPDX-License-Identifier: Apache-2.0
"""Requests as nobody should send them, and what becomes of each.

A case is the bytes, the status, and `text`: of what is refused, the end of the line that says why (None: whatever the
parser says); of what is answered, the whole body (None: the node's). `closes`: the framing is no longer known, so the
connection ends. `begun`: its head was fine, so that the error is in the words of Ollama rather than of an HTTP server. `reaches`: the paths the node is asked for. `ollama`: the status that Ollama 0.17.4 gives where it is
another one (None: it waits), because Go reads more leniently than RFC 9112 lets a gateway: what two readers could cut
differently is refused here.
"""
from dataclasses import dataclass

HOST = b"Host: localhost\r\n"
BODY = b'{"model":"m"}'
CHUNKED = b"Transfer-Encoding: chunked"
SAME = object()  # as the gateway


@dataclass
class Case:
    data: bytes
    status: int
    text: str | None = None
    closes: bool = True
    reaches: tuple = ()
    ollama: object = SAME
    begun: bool = False


def get(target=b"/api/version", *headers, method=b"GET", version=b"HTTP/1.1", host=HOST):
    lines = b"".join(header + b"\r\n" for header in headers)
    return method + b" " + target + b" " + version + b"\r\n" + host + lines + b"\r\n"


def post(body, *headers, version=b"HTTP/1.1"):
    return get(b"/api/show", *headers, method=b"POST", version=version) + body


def chunks(body, *headers):
    return post(body, *headers, CHUNKED)


def bad(data, text=None, status=400, **more):
    return Case(data, status, text, **more)


def fine(data, path="/api/version", **more):
    """The node answers, and another request may follow."""
    return Case(data, 200, None, False, (path,), **more)


def show(data, **more):
    return fine(data, "/api/show", **more)  # of a model that a real Ollama does not have: 404


def here(data, status, text, **more):
    """Answered without a node, and another request may follow."""
    return Case(data, status, text, False, **more)


NO_METHOD, NO_PATH = "405 method not allowed", "404 page not found"
FOREIGN = "the Host of this request is not this machine"
VERSION, CODING = "unsupported protocol version", "a Transfer-Encoding other than chunked"
TOO_LONG = "the head is larger than 32768 bytes"

LINES = {
    "no method": bad(b" /api/tags HTTP/1.1\r\n" + HOST + b"\r\n"),
    "one word": bad(b"GET\r\n\r\n"),
    "HTTP/0.9": bad(b"GET /api/version\r\n\r\n"),
    "HTTP/0.9 with headers": bad(b"GET /api/version\r\n" + HOST + b"\r\n"),
    "four words": bad(get(b"/api/version x")),
    "two spaces before the target": bad(get(b" /api/version")),
    "two spaces before the version": bad(get(b"/api/version ")),
    "tabs": bad(b"GET\t/api/version\tHTTP/1.1\r\n" + HOST + b"\r\n"),
    "space behind the version": bad(get(version=b"HTTP/1.1 ")),
    "space before the method": bad(b" " + get()),
    "empty lines before": fine(b"\r\n\r\n" + get(), ollama=400),
    "bare LF before": bad(b"\n" + get()),
    "bare CR before": bad(b"\r" + get()),
    "words": bad(b"what is this\r\n\r\n"),
    "a response": bad(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "TLS": bad(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 200, ollama=None),
    "MCP": bad(bytes.fromhex("0103000000000000000001030000000000000000"), ollama=None),
    "SSH": bad(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "PROXY": bad(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + get()),
    "HTTP/2 preface": bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", VERSION, 505, ollama=400),
    "8-bit method": bad(get(method=b"G\xe9T")),
    "NUL in the method": bad(get(method=b"G\0T")),
    "separator in the method": bad(get(method=b"G@T")),
    "unknown method": here(get(method=b"BREW"), 405, NO_METHOD),
    "unknown method with a body": here(post(BODY, b"Content-Length: 13").replace(b"POST", b"BREW"), 405, NO_METHOD),
    "unknown method in chunks": here(chunks(b"d\r\n" + BODY + b"\r\n0\r\n\r\n").replace(b"POST", b"BREW"), 405,
                                     NO_METHOD),
    "unknown method of no path": here(get(b"/nope", method=b"BREW"), 404, NO_PATH),
    "method in small letters": here(get(method=b"get"), 405, NO_METHOD),
    "method of 5000 bytes": here(get(method=b"M" * 5000), 405, NO_METHOD),
    "TRACE": here(get(method=b"TRACE"), 405, NO_METHOD),
    "wrong method": here(get(b"/api/generate"), 405, NO_METHOD),
    "unknown path": here(get(b"/nope"), 404, NO_PATH),
    "CONNECT": bad(get(b"localhost:443", method=b"CONNECT"), "CONNECT is not supported", 405, ollama=301),
    "RTSP": bad(get(method=b"DESCRIBE", version=b"RTSP/1.0"), "not HTTP"),
    "ICE": bad(get(method=b"SOURCE", version=b"ICE/1.0"), "not HTTP"),
    "http/1.1": bad(get(version=b"http/1.1")),
    "HTTP/1": bad(get(version=b"HTTP/1")),
    "HTTP/1.10": bad(get(version=b"HTTP/1.10")),
    "HTTP/1.2": fine(get(version=b"HTTP/1.2")),
    "HTTP/0.9 by name": bad(get(version=b"HTTP/0.9"), VERSION, 505),
    "HTTP/2.0": bad(get(version=b"HTTP/2.0"), VERSION, 505),
    "HTTP/3.1": bad(get(version=b"HTTP/3.1"), VERSION, 505),
}

TARGETS = {
    "authority": bad(get(b"localhost:80"), ollama=301),
    "asterisk": bad(get(b"*"), "* is for OPTIONS"),
    "asterisk with OPTIONS": here(get(b"*", method=b"OPTIONS"), 404, NO_PATH, ollama=200),
    "absolute": fine(get(b"http://localhost/api/version")),
    "absolute with a port": fine(get(b"http://127.0.0.1:1/api/version")),
    "absolute of another host": here(get(b"http://evil.example/api/version"), 403, FOREIGN),
    "absolute, another Host": fine(get(b"http://localhost/api/version", host=b"Host: evil.example\r\n")),
    "absolute, another host in 1.0": Case(get(b"http://evil.example/api/version", version=b"HTTP/1.0", host=b""), 403,
                                          FOREIGN),
    "absolute with a user": bad(get(b"http://localhost:80@evil.example/api/version"),
                                "a target with a malformed host", ollama=403),
    "absolute without a host": bad(get(b"http:///api/version"), "a target without a host", ollama=200),
    "absolute without a path": here(get(b"http://localhost"), 200, "Ollama is running", ollama=301),
    "absolute of a query": bad(get(b"http://localhost?x=1"), "a target without a path", ollama=301),
    "https": bad(get(b"https://localhost/api/version"), "a target that is neither a path nor http://host/path",
                 ollama=200),
    "without a slash": bad(get(b"api/version")),
    "two slashes and a host": here(get(b"//evil.example/api/version"), 404, NO_PATH, ollama=301),
    "8-bit": bad(get(b"/api/v\xe9rsion"), ollama=404),
    "NUL": bad(get(b"/api/version\0")),
    "control character": bad(get(b"/api/version\x01")),
    "DEL": bad(get(b"/api/version\x7f")),
    "escaped NUL": here(get(b"/api/version%00"), 404, NO_PATH),
    "escaped CR LF": here(get(b"/api/version%0d%0aX:1"), 404, NO_PATH),
    "bad escape": here(get(b"/api/%zz"), 404, NO_PATH, ollama=400),
    "backslash": here(get(b"/api\\version"), 404, NO_PATH),
    "fragment": here(get(b"/api/version#x"), 404, NO_PATH),
    "dots": here(get(b"/api/../api/version"), 404, NO_PATH, ollama=301),
    "30,000 bytes": here(get(b"/" + b"x" * 30000), 404, NO_PATH),
    "40,000 bytes": bad(get(b"/" + b"x" * 40000), TOO_LONG, 431, ollama=404),
}

HEADERS = {
    "head over 32 KiB": bad(get(b"/api/version", b"X: " + b"x" * 33000), TOO_LONG, 431, ollama=200),
    "headers over 32 KiB": bad(get(b"/api/version", *[b"X: " + b"x" * 1000] * 40), TOO_LONG, 431, ollama=200),
    "129 headers": bad(get(b"/api/version", *[b"X: 1"] * 128), "too many headers", 431, ollama=200),
    "128 headers": fine(get(b"/api/version", *[b"X: 1"] * 127)),
    "2 MB of a header": bad(get(b"/api/version", b"X: " + b"x" * 2000000), TOO_LONG, 431),
    "folded": bad(get(b"/api/version", b"X: 1\r\n 2"), ollama=200),
    "folded with a tab": bad(get(b"/api/version", b"X: 1\r\n\t2"), ollama=200),
    "folded into nothing": bad(get(b"/api/version", b"X: 1\r\n "), ollama=200),
    "folded length": bad(post(BODY, b"Content-Length: 1\r\n 3")),
    "space before the first": bad(b"GET /api/version HTTP/1.1\r\n " + HOST + b"\r\n"),
    "bare LF everywhere": bad(get().replace(b"\r\n", b"\n"), ollama=200),
    "bare LF behind the line": bad(get().replace(b"\r\n", b"\n", 1), ollama=200),
    "bare LF behind a header": bad(get(b"/api/version", b"X: 1\nY: 2"), ollama=200),
    "bare LF at the end": bad(get()[:-2] + b"\n", ollama=200),
    "bare CR behind the line": bad(get().replace(b"\r\n", b"\r", 1)),
    "bare CR in a value": bad(get(b"/api/version", b"X: 1\r2")),
    "bare CR behind a header": bad(get(b"/api/version", b"X: 1\rY: 2")),
    "bare CR in a name": bad(get(b"/api/version", b"X\rY: 2")),
    "bare CR at the end": bad(get()[:-2] + b"\rX", ollama=None),
    "CR CR LF": bad(get(b"/api/version", b"X: 1\r")),
    "NUL in a value": bad(get(b"/api/version", b"X: a\0b")),
    "NUL in a name": bad(get(b"/api/version", b"X\0Y: b")),
    "control character in a value": bad(get(b"/api/version", b"X: a\x01b")),
    "DEL in a value": bad(get(b"/api/version", b"X: a\x7fb")),
    "tab and 8-bit in a value": fine(get(b"/api/version", b"X: \xe4\t\xff")),
    "8-bit in a name": bad(get(b"/api/version", b"X\xe4: a")),
    "empty value": fine(get(b"/api/version", b"X:")),
    "empty name": bad(get(b"/api/version", b": a")),
    "no colon": bad(get(b"/api/version", b"what")),
    "space before the colon": bad(get(b"/api/version", b"X : a")),
    "tab before the colon": bad(get(b"/api/version", b"X\t: a")),
    "space before the colon of the length": bad(post(BODY, b"Content-Length : 13")),
    "space before the colon of the coding": bad(post(b"0\r\n\r\n", b"Transfer-Encoding : chunked")),
    "space in a name": bad(get(b"/api/version", b"X Y: a")),
    "parenthesis in a name": bad(get(b"/api/version", b"X(Y): a")),
    "no Host": bad(get(host=b""), "missing required Host header"),
    "no Host in 1.0": Case(get(host=b"", version=b"HTTP/1.0"), 200, None, True, ("/api/version",)),
    "two Hosts": bad(get(b"/api/version", b"Host: localhost"), "more than one Host"),
    "two Hosts in 1.0": bad(get(b"/api/version", b"Host: x", version=b"HTTP/1.0"), "more than one Host"),
    "foreign Host": here(get(host=b"Host: evil.example\r\n"), 403, FOREIGN),
    "empty Host": fine(get(host=b"Host:\r\n")),
    "Host with a list": bad(get(host=b"Host: localhost, evil.example\r\n"), "malformed Host header"),
    "Host with a path": bad(get(host=b"Host: localhost/x\r\n"), "malformed Host header"),
    "Host with a user": bad(get(host=b"Host: 127.0.0.1:1@evil.example\r\n"), "malformed Host header"),
    "8-bit Host": bad(get(host=b"Host: localh\xf6st\r\n"), "malformed Host header"),
    "unknown Expect": bad(post(BODY, b"Content-Length: 13", b"Expect: 200-ok"), "only 100-continue can be expected",
                          417),
    "Upgrade": fine(get(b"/api/version", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")),
    "Connection names the length": show(post(BODY, b"Content-Length: 13", b"Connection: Content-Length"), ollama=404),
    "Connection names Host": fine(get(b"/api/version", b"Connection: Host")),
}

WHOLE = b"d\r\n" + BODY + b"\r\n0\r\n\r\n"
LENGTHS = {
    "coding and length": bad(post(WHOLE, CHUNKED, b"Content-Length: 13"), ollama=404),
    "length and coding": bad(post(WHOLE, b"Content-Length: 13", CHUNKED), ollama=404),
    "length 0 and coding": bad(post(WHOLE, b"Content-Length: 0", CHUNKED), ollama=404),
    "two lengths, equal": bad(post(BODY, b"Content-Length: 13", b"Content-Length: 13"), ollama=404),
    "two lengths": bad(post(BODY, b"Content-Length: 13", b"Content-Length: 12")),
    "list of lengths, equal": bad(post(BODY, b"Content-Length: 13, 13")),
    "list of lengths": bad(post(BODY, b"Content-Length: 13, 12")),
    "empty length": bad(post(BODY, b"Content-Length:")),
    "length with plus": bad(post(BODY, b"Content-Length: +13")),
    "negative length": bad(post(BODY, b"Content-Length: -13")),
    "hexadecimal length": bad(post(BODY, b"Content-Length: 0xd")),
    "length of two words": bad(post(BODY, b"Content-Length: 1 3")),
    "length with a fraction": bad(post(BODY, b"Content-Length: 13.0")),
    "quoted length": bad(post(BODY, b'Content-Length: "13"')),
    "length over 64 bits": bad(post(BODY, b"Content-Length: 18446744073709551629")),
    "length of 20 nines": bad(post(BODY, b"Content-Length: 99999999999999999999")),
    "length with zeros": show(post(BODY, b"Content-Length: 0000000000000000000000013"), ollama=404),
    "unknown coding": bad(post(b"0\r\n\r\n", b"Transfer-Encoding: x-chunked"), CODING, 501),
    "coding before chunked": bad(post(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked"), CODING, 501),
    "coding behind chunked": bad(post(b"0\r\n\r\n", b"Transfer-Encoding: chunked, identity"), ollama=501),
    "chunked twice": bad(chunks(b"0\r\n\r\n", CHUNKED), ollama=501),
    "identity": bad(post(BODY, b"Transfer-Encoding: identity"), CODING, 501),
    "empty coding": bad(post(b"0\r\n\r\n", b"Transfer-Encoding:"), CODING, 501),
    "quoted coding": bad(post(b"0\r\n\r\n", b'Transfer-Encoding: "chunked"'), CODING, 501),
    "coding with a parameter": bad(post(b"0\r\n\r\n", b"Transfer-Encoding: chunked;q=1"), CODING, 501),
    "vertical tab before the coding": bad(post(b"0\r\n\r\n", b"Transfer-Encoding: \x0bchunked")),
    "coding in capitals": show(post(WHOLE, b"TRANSFER-ENCODING: CHUNKED"), ollama=404),
    "coding in 1.0": bad(post(WHOLE, CHUNKED, version=b"HTTP/1.0"), "Transfer-Encoding in HTTP/1.0"),
}

CHUNKS = {
    "extensions": show(chunks(b'd;a=b;c="d;e"\r\n' + BODY + b"\r\n0;z\r\n\r\n"), ollama=404),
    "extension of 32 KiB": bad(chunks(b"d;" + b"a" * 33000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
                               "more than 32768 bytes around a chunk"),
    "NUL in an extension": bad(chunks(b"d;a=\0\r\n" + BODY + b"\r\n0\r\n\r\n"), ollama=404),
    "bare LF behind an extension": bad(chunks(b"d;a\n" + BODY + b"\r\n0\r\n\r\n")),
    "bare CR in an extension": bad(chunks(b"d;a\rb\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "space behind the size": bad(chunks(b"d \r\n" + BODY + b"\r\n0\r\n\r\n"), ollama=404),
    "space before the size": bad(chunks(b" d\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "no size": bad(chunks(b"\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "negative size": bad(chunks(b"-d\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "size with plus": bad(chunks(b"+d\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "size with 0x": bad(chunks(b"0xd\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "letters": bad(chunks(b"zz\r\n")),
    "size over 64 bits": bad(chunks(b"10000000000000000d\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "size with zeros": show(chunks(b"00000000000000000000000d\r\n" + BODY + b"\r\n0\r\n\r\n"), ollama=400),
    "longer than it says": bad(chunks(b"c\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "shorter than it says": bad(chunks(b"e\r\n" + BODY + b"\r\n0\r\n\r\n"), ollama=404),
    "bare LF behind the size": bad(chunks(b"d\n" + BODY + b"\r\n0\r\n\r\n")),
    "bare LF behind the data": bad(chunks(b"d\r\n" + BODY + b"\n0\r\n\r\n"), ollama=404),
    "bare LF behind the last": bad(chunks(b"d\r\n" + BODY + b"\r\n0\n\r\n"), ollama=404),
    "bare CR behind the size": bad(chunks(b"d\r" + BODY + b"\r\n0\r\n\r\n")),
    "bare CR behind the data": bad(chunks(b"d\r\n" + BODY + b"\r0\r\n\r\n"), ollama=404),
    "CR CR LF behind the size": bad(chunks(b"d\r\r\n" + BODY + b"\r\n0\r\n\r\n")),
    "trailers": show(chunks(b"d\r\n" + BODY + b"\r\n0\r\nX-A: 1\r\nHost: evil.example\r\n\r\n"), ollama=404),
    "length in a trailer": bad(chunks(b"d\r\n" + BODY + b"\r\n0\r\nContent-Length: 5\r\n\r\n"), ollama=404),
    "coding in a trailer": bad(chunks(b"d\r\n" + BODY + b"\r\n0\r\n" + CHUNKED + b"\r\n\r\n"), ollama=404),
    "trailer without a colon": bad(chunks(b"d\r\n" + BODY + b"\r\n0\r\nwhat\r\n\r\n"), ollama=404),
    "NUL in a trailer": bad(chunks(b"d\r\n" + BODY + b"\r\n0\r\nX: \0\r\n\r\n"), ollama=404),
    "bare LF in a trailer": bad(chunks(b"d\r\n" + BODY + b"\r\n0\r\nX: 1\n\r\n"), ollama=None),
    "folded trailer": bad(chunks(b"d\r\n" + BODY + b"\r\n0\r\nX: 1\r\n 2\r\n\r\n"), ollama=404),
    "trailer of 32 KiB": bad(chunks(b"d\r\n" + BODY + b"\r\n0\r\nX: " + b"x" * 33000 + b"\r\n\r\n"),
                             "more than 32768 bytes around a chunk", ollama=404),
}
for chunk_case in CHUNKS.values():
    chunk_case.begun = chunk_case.status == 400

# A body nobody asked for is read as one: what stands in it is no request.
HIDDEN = get(b"/api/ps")
BODIES = {
    "length on GET": fine(get(b"/api/version", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN),
    "chunks on GET": fine(get(b"/api/version", CHUNKED) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
    "length on HEAD of no path": here(get(b"/nope", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, 404, NO_PATH),
}

CASES = {f"{group}: {name}": case for group, cases in {
    "line": LINES, "target": TARGETS, "header": HEADERS, "length": LENGTHS, "chunk": CHUNKS, "body": BODIES}.items()
    for name, case in cases.items()}
