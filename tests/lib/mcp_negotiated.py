# SPDX-License-Identifier: Apache-2.0
"""An MCP client that negotiates, as bytes: HELLO with the features a test asks for, CRCs where they are among them.

    with Negotiated(gateway.mcp, "ack", "credit", window=100) as client:
        client.welcome                        # {"version": 1, ...}
        client.credit(1, 50), client.cancel(1), client.chunk(1, b"...")
        frame = client.frame()                # its CRC is checked and taken off
"""
import struct

from http_bytes import encode_json
from mcp_client import HEADER, HEARTBEAT, REQUEST, RESPONSE, Frame, McpClient, encode

HELLO, WELCOME, ACK, CREDIT, CANCEL, GOAWAY, CHUNK = range(0x10, 0x17)
ALL = ("ack", "cancel", "credit", "crc32c", "goaway", "chunk")


def make_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = make_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def with_crc(opcode, session, payload=b""):
    frame = HEADER.pack(1, opcode, session, len(payload) + 4) + payload
    return frame + crc32c(frame).to_bytes(4, "big")


def hello(*features, **members):
    return encode(HELLO, 0, encode_json({"features": list(features), **members}))


class Negotiated(McpClient):
    def __init__(self, address, *features, receive_buffer=None, **members):
        options = {} if receive_buffer is None else {"receive_buffer": receive_buffer}
        super().__init__(address, **options)
        self.crc = False
        self.send(hello(*features, **members))
        frame = self.read_frame()
        assert (frame.opcode, frame.session) == (WELCOME, 0), frame
        self.welcome = frame.json()
        self.crc = "crc32c" in self.welcome.get("features", ())

    def encode(self, opcode, session, payload=b""):
        return (with_crc if self.crc else encode)(opcode, session, payload)

    def send_frame(self, opcode, session, payload=b""):
        self.send(self.encode(opcode, session, payload))

    def request(self, session, body):
        self.send_frame(REQUEST, session, encode_json(body))

    def heartbeat(self, session=0, payload=b""):
        self.send_frame(HEARTBEAT, session, payload)

    def credit(self, session, count):
        self.send_frame(CREDIT, session, struct.pack(">I", count))

    def cancel(self, session):
        self.send_frame(CANCEL, session)

    def chunk(self, session, piece=b""):
        self.send_frame(CHUNK, session, piece)

    def read_frame(self):
        head = self.reader.exactly(HEADER.size)
        version, opcode, session, length = HEADER.unpack(head)
        assert version == 1, f"version {version}"
        payload = self.reader.exactly(length)
        if self.crc:
            payload, crc = payload[:-4], payload[-4:]
            assert crc32c(head + payload).to_bytes(4, "big") == crc, "a CRC is wrong"
        return Frame(version, opcode, session, payload)

    def no_frame(self):
        """Nothing comes on any session until a heartbeat is echoed."""
        self.heartbeat(0xfffffffe, b"nothing")
        frame = self.frame()
        assert (frame.opcode, frame.session, frame.payload) == (HEARTBEAT, 0xfffffffe, b"nothing"), frame

    def answer(self, session=1):
        """The next whole payload of the session, and the lengths of its pieces."""
        pieces = []
        while True:
            frame = self.frame(session)
            assert frame.opcode in (CHUNK, RESPONSE), frame
            pieces.append(frame.payload)
            if frame.opcode == RESPONSE:
                return b"".join(pieces), [len(piece) for piece in pieces]

    def goaway(self):
        """The reason; the connection closes behind it."""
        while (frame := self.frame()).opcode != GOAWAY:
            pass
        assert frame.session == 0
        assert self.closed() == b""
        return frame.json()["reason"]


__all__ = ["ACK", "ALL", "CANCEL", "CHUNK", "CREDIT", "GOAWAY", "HELLO", "RESPONSE", "WELCOME", "Negotiated", "crc32c",
           "hello", "with_crc"]
