# SPDX-License-Identifier: Apache-2.0
"""The Wireshark dissector, as tshark runs it on captures made here."""
import json
import pathlib
import re
import struct
import subprocess

import pytest

from capture import Capture
from mcp_client import HEARTBEAT, REQUEST, RESPONSE, encode

SCRIPT = pathlib.Path("tools/wireshark/mcp.lua")
HELLO, WELCOME, ACK, CREDIT, CANCEL, GOAWAY, CHUNK = range(0x10, 0x17)
FIELDS = ["frame.number", "_ws.col.Protocol", "_ws.col.Info", "mcp1.opcode", "mcp1.session", "mcp1.length", "json.key",
          "json.value.string", "mcp1.credit", "mcp1.crc32c", "_ws.expert.message", "_ws.malformed"]
ASK = encode(REQUEST, 1, b'{"model":"llama3:8b","prompt":"Hello"}')
TOLD = encode(RESPONSE, 1, b'{"response":"Hi","done":true}')


def tshark(capture, folder, *args):
    """The packets that are MCP: their fields, lists where there are several frames."""
    path = capture.write(folder / "capture.pcap")
    select = [word for name in FIELDS for word in ("-e", name)]
    run = subprocess.run(["tshark", "-n", "-X", f"lua_script:{SCRIPT}", "-r", path, "-Y", "mcp1", "-T", "json", *select, *args],
                         capture_output=True, text=True, timeout=60, check=False)
    noise = [line for line in run.stderr.splitlines() if "Running as user" not in line and line.strip()]
    assert run.returncode == 0 and not noise, run
    return [packet["_source"]["layers"] for packet in json.loads(run.stdout)]


def connection(port=8080, **options):
    capture = Capture(**options)
    return capture, capture.connect(40000, port)


def test_opcodes_are_those_of_the_table():
    table = re.findall(r"^WIRE_OPCODE\((\w+), (0x[0-9a-f]+)", pathlib.Path("src/wire/opcode.def").read_text(), re.M)
    mine = re.findall(r"\[(0x[0-9a-f]{2})\] = \"([A-Z]+)\"", SCRIPT.read_text())
    assert [(name, byte) for byte, name in mine] == table


@pytest.mark.parametrize("port", [8080, 31234])
def test_header_and_payload(tmp_path, port):
    capture, tcp = connection(port)
    tcp.client(ASK)
    tcp.server(TOLD)
    ask, told = tshark(capture, tmp_path)
    assert ask["_ws.col.Protocol"] == ["MCP"] and ask["_ws.col.Info"] == ["REQUEST(1)"]
    assert (ask["mcp1.opcode"], ask["mcp1.session"], ask["mcp1.length"]) == (["0x01"], ["1"], ["38"])
    assert ask["json.key"] == ["model", "prompt"] and ask["json.value.string"] == ["llama3:8b", "Hello"]
    assert told["mcp1.opcode"] == ["0x02"] and told["json.key"] == ["response", "done"]


def test_frames_across_segments_and_several_in_one(tmp_path):
    capture, tcp = connection()
    three = ASK + encode(HEARTBEAT, 9, b"xy") + ASK
    for at in range(0, len(three), 40):
        tcp.client(three[at:at + 40])
    packets = tshark(capture, tmp_path)
    frames = [(opcode, session) for packet in packets
              for opcode, session in zip(packet.get("mcp1.opcode", []), packet.get("mcp1.session", []))]
    assert frames == [("0x01", "1"), ("0x03", "9"), ("0x01", "1")]
    assert not any("_ws.expert.message" in packet or "_ws.malformed" in packet for packet in packets)


def test_one_byte_to_a_segment(tmp_path):
    capture, tcp = connection()
    for byte in ASK:
        tcp.client(bytes([byte]))
    assert [packet["json.value.string"] for packet in tshark(capture, tmp_path) if "mcp1.opcode" in packet] == [
        ["llama3:8b", "Hello"]]


@pytest.mark.parametrize("data, message", [
    (b"\x02" + ASK[1:], "The version is not 1"), (b"\x02\x03", "The version is not 1"),
    (encode(0x7f, 1, b"x"), "The opcode is not known")])
def test_what_is_wrong_is_said(tmp_path, data, message):
    capture, tcp = connection()
    tcp.client(data)
    (packet,) = tshark(capture, tmp_path)
    assert message in packet["_ws.expert.message"]


def test_http_on_the_port_stays_http(tmp_path):
    capture, tcp = connection()
    tcp.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert tshark(capture, tmp_path) == []


def test_what_was_negotiated(tmp_path):
    def with_crc(frame):
        head = struct.pack(">BBII", *frame[:2], int.from_bytes(frame[2:6], "big"), len(frame) - 10 + 4)
        return head + frame[10:] + b"\xde\xad\xbe\xef"
    capture, tcp = connection()
    tcp.client(encode(HELLO, 0, b'{"versions":[1],"features":["chunk","credit","crc32c"]}'))
    tcp.server(encode(WELCOME, 0, b'{"version":1,"features":["chunk","credit","crc32c"]}'))
    tcp.client(with_crc(encode(CREDIT, 1, b"\0\1\0\0")))
    tcp.client(with_crc(encode(CHUNK, 1, ASK[10:30])) + with_crc(encode(CHUNK, 2, b"other")) +
               with_crc(encode(CHUNK, 2)))
    tcp.client(with_crc(encode(REQUEST, 1, ASK[30:])))
    tcp.client(with_crc(encode(CANCEL, 1)))
    tcp.client(encode(CANCEL, 1))
    for arguments in [(), ("-2",)]:
        hello, welcome, credit, chunks, request, cancel, bad = tshark(capture, tmp_path, *arguments)
        assert "mcp1.crc32c" not in hello and "mcp1.crc32c" not in welcome
        assert hello["json.key"] == ["versions", "features"] and credit["mcp1.credit"] == ["65536"]
        assert chunks["mcp1.opcode"] == ["0x16"] * 3 and "json.key" not in chunks
        assert request["json.value.string"] == ["llama3:8b", "Hello"]
        assert cancel["mcp1.crc32c"] == ["0xdeadbeef"]
        assert bad["_ws.expert.message"] == ["There is no room for the CRC that was agreed on"]
        assert not any("_ws.malformed" in packet for packet in (hello, welcome, credit, chunks, request, cancel))
