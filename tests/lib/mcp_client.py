# SPDX-License-Identifier: Apache-2.0
"""An MCP client of the base profile as bytes: frames out as they are given, frames in as they come.

    with McpClient(gateway.mcp) as client:
        parts = client.ask({"model": "m", "prompt": "hi"})        # session 1, all parts as objects
        client.request(7, {"model": "m", "prompt": "hi"})
        frame = client.frame()                                    # .opcode .session .payload .json()
"""
import json
import struct

from http_bytes import Connection, encode_json

REQUEST, RESPONSE, HEARTBEAT = 1, 2, 3
HEADER = struct.Struct(">BBII")


def encode(opcode, session, payload=b"", version=1):
    return HEADER.pack(version, opcode, session, len(payload)) + payload


class Frame:
    def __init__(self, version, opcode, session, payload):
        self.version, self.opcode, self.session, self.payload = version, opcode, session, payload

    def json(self):
        return json.loads(self.payload)

    def error(self):
        """(code, text); None where it is no error of the gateway."""
        body = self.json()
        return (body["code"], body["error"]) if "code" in body and "error" in body else None

    def __repr__(self):
        return f"<opcode {self.opcode} session {self.session} {self.payload[:200]!r}>"


class McpClient(Connection):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.waiting = []  # frames of other sessions than the one that was asked for

    def request(self, session, body):
        self.send(encode(REQUEST, session, encode_json(body)))

    def heartbeat(self, session=0, payload=b""):
        self.send(encode(HEARTBEAT, session, payload))

    def read_frame(self):
        version, opcode, session, length = HEADER.unpack(self.reader.exactly(HEADER.size))
        assert version == 1, f"version {version}"
        return Frame(version, opcode, session, self.reader.exactly(length))

    def frame(self, session=None):
        """The next frame, or the next one of `session`; others wait for their turn."""
        for i, frame in enumerate(self.waiting):
            if session is None or frame.session == session:
                return self.waiting.pop(i)
        while True:
            frame = self.read_frame()
            if session is None or frame.session == session:
                return frame
            self.waiting.append(frame)

    def parts(self, session=1, single=False):
        """The frames of an exchange up to its last part, which is its only one where `single`."""
        frames = []
        while True:
            frame = self.frame(session)
            assert frame.opcode == RESPONSE, frame
            frames.append(frame)
            if single or frame.json().get("done") is True:
                return frames

    def ask(self, body, session=1, single=False):
        """One whole exchange; its parts as objects."""
        self.request(session, body)
        return [frame.json() for frame in self.parts(session, single)]

    def error(self, body, session=1):
        """The exchange is refused by one part: its (code, text)."""
        (part,) = self.ask(body, session)
        assert "code" in part, part
        return part["code"], part["error"]

    def ping(self):
        """A heartbeat there and back: all that was sent before was handled."""
        self.heartbeat(0xfffffffe, b"ping")
        frame = self.frame(0xfffffffe)
        assert (frame.opcode, frame.payload) == (HEARTBEAT, b"ping"), frame
