# SPDX-License-Identifier: Apache-2.0
"""mcpgate decode: frames out of digits, bytes and captures; what is wrong is named, keys are hidden."""
import json
import os
import pathlib
import re
import struct
import subprocess

import pytest

from capture import RAW, SYN, Capture
from http_bytes import DEADLINE_S
from mcp_client import HEARTBEAT, REQUEST, RESPONSE, encode
from terminal import Terminal

BIN = os.path.abspath(os.environ.get("MCPGATE_BIN", "build/asan/mcpgate"))
HELLO, WELCOME, ACK, CREDIT, CANCEL, GOAWAY, CHUNK = range(0x10, 0x17)
ASK = encode(REQUEST, 1, b'{"model":"llama3:8b","prompt":"Hello"}')
TOLD = encode(RESPONSE, 1, b'{"response":"Hi","done":true}')
ASK_LINE = 'REQUEST   session=1 length=38 {"model":"llama3:8b","prompt":"Hello"}'
TOLD_LINE = 'RESPONSE  session=1 length=29 {"response":"Hi","done":true}'


def decode(*args, stdin=b"", status=0):
    """The lines of standard output."""
    run = subprocess.run([BIN, "decode", *args], input=stdin, capture_output=True, timeout=DEADLINE_S, check=False)
    assert run.returncode == status, run
    assert bool(run.stderr) <= bool(status), run
    return run.stdout.decode().splitlines(), run.stderr.decode()


def test_on_a_terminal_it_says_what_it_waits_for():
    with Terminal([BIN, "decode"], dict(os.environ)) as terminal:
        terminal.expect("digits of frames, such as 01 01 00 00...; Ctrl-D ends them\n")
        terminal.type(ASK.hex() + "\n\x04")
        terminal.expect("REQUEST")
        assert terminal.wait() == 0


def lines(stdin, *args, status=0):
    out, err = decode(*args, stdin=stdin, status=status)
    assert not err
    return [line.strip() for line in out]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def with_crc(opcode, session, payload=b""):
    head = struct.pack(">BBII", 1, opcode, session, len(payload) + 4)
    return head + payload + struct.pack(">I", crc32c(head + payload))


# --- digits and bytes -----------------------------------------------------------------------------
def test_digits_in_many_spellings():
    spelled = [ASK.hex(), ASK.hex(" "), ASK.hex(":").upper(), ", ".join(f"0x{b:02x}" for b in ASK),
               "# a request\n" + ASK.hex("-", 4) + " # and that was it\n"]
    xxd = "\n".join(f"{at:08x}: {ASK[at:at + 16].hex(' ', 2):39}  {'.' * 16}" for at in range(0, len(ASK), 16))
    for text in [*spelled, xxd]:
        assert lines(text.encode()) == ["0 > " + ASK_LINE], text


def test_bytes_as_they_are_from_a_file_or_a_pipe(tmp_path):
    path = tmp_path / "frames"
    path.write_bytes(ASK + TOLD)
    wanted = ["0 > " + ASK_LINE, f"{len(ASK)} < " + TOLD_LINE]
    assert [line.strip() for line in decode(str(path))[0]] == wanted
    assert lines(ASK + TOLD) == lines(ASK + TOLD, "-") == wanted


def test_lines_can_say_who_sends_them():
    text = f"> {ASK.hex()}\n< {TOLD[:8].hex()}\n  {TOLD[8:].hex()}\n> {encode(HEARTBEAT, 7, b'ab').hex()}\n"
    assert lines(text.encode()) == ["0 > " + ASK_LINE, "0 < " + TOLD_LINE,
                                    f"{len(ASK)} > HEARTBEAT session=7 length=2 6162"]


def test_every_vector_is_read():
    for vector in json.loads(pathlib.Path("tests/vectors/wire.json").read_text())["vectors"]:
        run = subprocess.run([BIN, "decode"], input=vector["hex"].encode(), capture_output=True, timeout=DEADLINE_S,
                             check=False)
        assert run.returncode in (0, 1) and not run.stderr, vector
        seen = [line for line in run.stdout.decode().splitlines() if "session=" in line]
        for frame, line in zip(vector["expect"].get("frames", []), seen):
            assert f"session={frame['session_id']} length=" in line, (vector, seen)
        assert len(seen) >= len(vector["expect"].get("frames", [])), (vector, seen)


@pytest.mark.parametrize("text, where", [(b"01 0", "line 1, column 4"), (b"01\n# x\n  01 zz", "line 3, column 6"),
                                         (b"GET / HTTP/1.1", "line 1, column 1")])
def test_what_is_no_digit_is_named(text, where):
    assert f"{where}: expected two hexadecimal digits" in decode(stdin=text, status=1)[1]


# --- what is wrong --------------------------------------------------------------------------------
@pytest.mark.parametrize("data, wanted", [
    (b"\x02" + ASK[1:], r"0 \? ! version 2 is not 1"),
    (ASK + b"\x00\x00", str(len(ASK)) + r" \? ! version 0 is not 1; what follows is not read"),
    (b"POST / HTTP/1.1\r\n\x01", r"0 \? ! version 80 is not 1; this looks like HTTP"),
    (b"\x16\x03\x01", r"0 \? ! version 22 is not 1; this looks like TLS"),
    (ASK[:7], r"0 \? ! the header ends after 7 of 10 bytes"),
    (ASK[:20], r"0 \? ! REQUEST on session 1 ends after 10 of 38 bytes of its payload"),
    (encode(0x7f, 3, b"x"), r"0 \? 0x7f +session=3 length=1 ! opcode 0x7f is not known"),
    (encode(REQUEST, 0, b"{}"), r"0 > REQUEST +session=0 length=2 \{\} ! REQUEST has a session above 0"),
    (encode(REQUEST, 1, b"{"), r"0 > REQUEST +session=1 length=1 ! the payload is not JSON"),
    (encode(HEARTBEAT, 1, b"x" * 65), r"0 \? HEARTBEAT session=1 length=65 (78){64}\.\.\. ! HEARTBEAT has 0 to 64 bytes"),
    (encode(CREDIT, 1, b"xyz"), r"0 > CREDIT +session=1 length=3 ! CREDIT has 4 to 4 bytes"),
])
def test_what_is_wrong_is_named_with_its_offset(data, wanted):
    assert re.fullmatch(wanted, lines(data, status=1)[-1])


def test_a_frame_that_goes_the_wrong_way():
    text = f"< {ASK.hex()}".encode()
    assert lines(text, status=1) == [f"0 < {ASK_LINE} ! REQUEST does not go this way"]


def test_a_file_that_is_not_there():
    assert decode("/nowhere/at-all", status=1)[1].endswith("/nowhere/at-all: No such file or directory\n")


# --- payloads -------------------------------------------------------------------------------------
def test_payloads_are_shortened_and_stay_in_their_line():
    ask = encode(REQUEST, 1, ('{\n "prompt" : "' + "é" * 300 + '"\n}').encode())
    assert lines(ask)[0] == "0 > REQUEST   session=1 length=618 " + '{"prompt":"' + "é" * 74 + "..."
    assert lines(ask, "--length", "5")[0].endswith(' {"pro...')
    assert lines(ask, "-l0")[0].endswith("é" * 300 + '"}')


@pytest.mark.parametrize("key", ['"auth"', '"\\u0061uth"', '"a\\u0075th"', '"Auth"', '"\\u0041UTH"'])
def test_keys_are_hidden(key):
    body = f'{{"model":"m","mcp":{{"op":"list",{key} : "the-\\"private-key","tags":{{"auth":1}}}},"prompt":"\\"auth\\":\\"x\\""}}'
    (line,) = lines(encode(REQUEST, 1, body.encode()), "-l0")
    assert "private" not in line and '"***"' in line and '"tags":{"auth":"***"}' in line
    assert line.endswith('"prompt":"\\"auth\\":\\"x\\""}')
    (line,) = lines(encode(HELLO, 0, f'{{"versions":[1],{key}:"the-private-key"}}'.encode()))
    assert line.startswith("0 > HELLO ") and "private" not in line


@pytest.mark.parametrize("body", [b'{"mcp":{"auth":"the-private-key"}', b'["auth","the-private-key"'])
def test_what_is_not_json_is_not_shown(body):
    (line,) = lines(encode(REQUEST, 1, body), status=1)
    assert "private" not in line and line.endswith("! the payload is not JSON")


# --- what was agreed on ---------------------------------------------------------------------------
def greeting(*features, codec="json"):
    hello = encode(HELLO, 0, json.dumps({"versions": [1], "features": features}).encode())
    welcome = encode(WELCOME, 0, json.dumps({"version": 1, "codec": codec, "features": features}).encode())
    return hello, welcome


def talk(*pairs):
    return "".join(f"{way} {data.hex()}\n" for way, data in pairs).encode()


def test_negotiated_frames():
    hello, welcome = greeting("ack", "cancel", "credit", "goaway")
    seen = lines(talk((">", hello), ("<", welcome), (">", ASK), ("<", encode(ACK, 1, b'{"state":"running"}')),
                      (">", encode(CREDIT, 1, b"\0\1\0\0")), (">", encode(CANCEL, 1)), ("<", encode(GOAWAY, 0, b'{"reason":"drain"}'))))
    assert [line.split()[2] for line in seen] == ["HELLO", "WELCOME", "REQUEST", "ACK", "CREDIT", "CANCEL", "GOAWAY"]
    assert seen[3].endswith('{"state":"running"}') and seen[4].endswith("65536 more bytes")


def test_crcs_are_checked_where_they_were_agreed_on():
    hello, welcome = greeting("crc32c")
    good = with_crc(REQUEST, 1, b"{}")
    bad = good[:-1] + bytes([good[-1] ^ 1])
    seen = lines(talk((">", hello), ("<", welcome), (">", good), ("<", with_crc(RESPONSE, 1, b'{"done":true}')), (">", bad)),
                 status=1)
    assert seen[2].endswith("REQUEST   session=1 length=6 {}") and seen[3].endswith('length=17 {"done":true}')
    assert re.search(r"length=6 \{\} ! its CRC is [0-9a-f]{8}, of what arrived it would be [0-9a-f]{8}$", seen[4])
    assert lines(talk((">", hello), ("<", welcome), (">", encode(CANCEL, 1))), status=1)[2].endswith(
        "! no room for the CRC that was agreed on")


def test_pieces_are_put_together_and_hide_keys_too():
    body = b'{"model":"m","mcp":{"auth":"the-private-key"}}'
    text = b"".join([encode(CHUNK, 1, body[:30]), encode(CHUNK, 2, b"x"), encode(CHUNK, 1, body[30:40]), encode(CHUNK, 2),
                     encode(REQUEST, 1, body[40:]), encode(REQUEST, 2, b"{}")])
    hello, welcome = greeting("chunk")
    seen = lines(talk((">", hello), ("<", welcome), (">", text)))
    assert [line.split(" ", 3)[3].split(" ", 1)[1].strip() for line in seen[2:]] == [
        "session=1 length=30 piece, 30 bytes so far", "session=2 length=1 piece, 1 bytes so far",
        "session=1 length=10 piece, 40 bytes so far", "session=2 length=0 the pieces before it are dropped",
        'session=1 length=6 46 bytes with the pieces before it {"model":"m","mcp":{"auth":"***"}}',
        "session=2 length=2 {}"] or seen
    assert "private" not in "".join(seen)


# --- captures -------------------------------------------------------------------------------------
def shown(capture, *args, status=0, kind="pcap"):
    out, err = decode(*args, stdin=getattr(capture, kind)(), status=status)
    return [re.sub(r"^( +\d+) +\d+\.\d{6} +", r"\1 ", line).strip() for line in out], err


WHOLE = ["# connection 1: 10.0.0.1:40000 > 10.0.0.2:8080", "1 0 > " + ASK_LINE, "1 0 < " + TOLD_LINE]


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.parametrize("options", [{}, {"vlan": True}, {"link": RAW}])
def test_a_capture(options, kind):
    capture = Capture(**options)
    tcp = capture.connect(40000, 8080)
    tcp.client(ASK)
    tcp.server(TOLD)
    assert shown(capture, kind=kind) == (WHOLE, "")


def test_frames_cut_anywhere_and_segments_sent_twice():
    capture = Capture()
    tcp = capture.connect(40000, 8080)
    for at in range(0, len(ASK), 3):
        seq = tcp.seq[0]
        tcp.client(ASK[at:at + 3])
        tcp.client(ASK[at:at + 3], seq=seq)
    tcp.client(ASK[-2:], seq=tcp.seq[0] - 2)
    tcp.client(b"\0", seq=tcp.seq[0] - 1)
    tcp.server(TOLD)
    assert shown(capture) == (WHOLE, "")


def test_time_is_counted_from_the_first_packet():
    capture = Capture()
    capture.connect(40000, 8080).client(ASK)
    assert decode(stdin=capture.pcap())[0][1].startswith("  1      0.003000 ")


def test_the_connections_of_a_capture():
    capture = Capture()
    web = capture.connect(50000, 80)
    first = capture.connect(40000, 8080)
    second = capture.connect(40001, 9999, ipv6=True)
    web.client(b"GET / HTTP/1.1\r\n\r\n")
    second.client(ASK)
    first.client(ASK)
    again = capture.connect(40001, 9999, ipv6=True, seq=77)  # the same ports once more
    again.client(ASK)
    again.server(TOLD)
    seen, _ = shown(capture)
    assert seen == ["# connection 1: [fd00::1]:40001 > [fd00::2]:9999", "1 0 > " + ASK_LINE,
                    "# connection 2: 10.0.0.1:40000 > 10.0.0.2:8080", "2 0 > " + ASK_LINE,
                    "# connection 3: [fd00::1]:40001 > [fd00::2]:9999", "3 0 > " + ASK_LINE, "3 0 < " + TOLD_LINE,
                    "# 1 other TCP connection"]
    assert shown(capture, "-p", "80", status=1)[0] == [
        "# connection 1: 10.0.0.1:50000 > 10.0.0.2:80", "1 0 > ! version 71 is not 1; this looks like HTTP",
        "# 3 other TCP connections"]


def test_a_capture_that_began_later():
    capture = Capture()
    tcp = capture.connect(40000, 8080, handshake=False)
    tcp.server(TOLD)
    tcp.client(ASK)
    assert shown(capture)[0] == [WHOLE[0], WHOLE[2], WHOLE[1]]


def test_what_is_missing_is_said():
    capture = Capture()
    tcp = capture.connect(40000, 8080)
    tcp.client(ASK)
    tcp.client(ASK[10:], seq=tcp.seq[0] + 10)
    tcp.client(ASK)
    tcp.server(TOLD, cut=9)
    seen, _ = shown(capture, status=1)
    assert seen[2:] == [f"1 {len(ASK)} > ! 10 bytes are not here in the capture",
                        "1 0 < ! the capture holds only the beginning of a packet"]


@pytest.mark.parametrize("data, why", [
    (Capture().pcap(), "no MCP connection in this capture"), (Capture(link=147).pcap(), "link type 147 are not read"),
    (b"\xd4\xc3\xb2\xa1" + bytes(10), "truncated")])
def test_a_capture_without_mcp(data, why):
    assert why in decode(stdin=data, status=1)[1]


def test_a_capture_of_noise():
    capture = Capture()
    for size in range(1, 60):
        capture.packet(bytes([0x45] * size))
        capture.packet(bytes([0x60] * size) + b"\x06" * 40)
    tcp = capture.connect(1, 2)
    tcp.segment(True, b"", flags=SYN)
    assert "no MCP connection" in decode(stdin=capture.pcap(), status=1)[1]


def test_without_libpcap_only_captures_are_not_read(tmp_path, monkeypatch):
    (tmp_path / "libpcap.so.0.8").write_bytes(b"")  # found first, and no library
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    _, err = decode(stdin=Capture().pcap(), status=1)
    assert err.endswith("a capture is read by libpcap, which is missing: apt-get install libpcap0.8\n")
    assert lines(ASK.hex().encode()) == ["0 > " + ASK_LINE]
