# SPDX-License-Identifier: Apache-2.0
"""Capture files, made by hand: TCP connections as packets.

    capture = Capture()
    tcp = capture.connect(40000, 8080)        # with its handshake
    tcp.client(b"...")                        # one segment; tcp.server(b"...") the other way
    capture.write(path)                       # pcap; kind="pcapng" for the other format
"""
import ipaddress
import pathlib
import struct

ETHERNET, RAW = 1, 101
FIN, SYN, PUSH, ACK = 1, 2, 8, 16


class Tcp:
    def __init__(self, capture, client_port, server_port, ipv6, seq):
        self.capture, self.ports, self.ipv6 = capture, (client_port, server_port), ipv6
        self.seq = [seq, seq ^ 0x5a5a5a5a]

    def segment(self, to_server, data=b"", flags=PUSH | ACK, seq=None, cut=0):
        """One packet; `seq` instead of the next one, `cut` bytes of it left out by the capture."""
        mine, theirs = (0, 1) if to_server else (1, 0)
        tcp = struct.pack(">HHIIBBHHH", self.ports[mine], self.ports[theirs],
                          (self.seq[mine] if seq is None else seq) & 0xffffffff, self.seq[theirs] & 0xffffffff,
                          5 << 4, flags, 65535, 0, 0) + data
        if seq is None:
            self.seq[mine] += len(data) + bool(flags & (SYN | FIN))
        self.capture.packet(self.ip(to_server, tcp), cut)

    def ip(self, to_server, tcp):
        names = ("fd00::1", "fd00::2") if self.ipv6 else ("10.0.0.1", "10.0.0.2")
        ends = [ipaddress.ip_address(name).packed for name in (names if to_server else names[::-1])]
        if self.ipv6:
            return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + b"".join(ends) + tcp
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + b"".join(ends) + tcp

    def client(self, data, **options):
        self.segment(True, data, **options)

    def server(self, data, **options):
        self.segment(False, data, **options)

    def handshake(self):
        self.segment(True, flags=SYN)
        self.segment(False, flags=SYN | ACK)
        self.segment(True, flags=ACK)


class Capture:
    def __init__(self, link=ETHERNET, vlan=False):
        self.link, self.vlan, self.packets = link, vlan, []

    def connect(self, client_port, server_port, ipv6=False, handshake=True, seq=0xfffffff0):
        """A connection; its sequence numbers wrap around soon."""
        tcp = Tcp(self, client_port, server_port, ipv6, seq)
        if handshake:
            tcp.handshake()
        return tcp

    def packet(self, ip, cut=0):
        kind = b"\x86\xdd" if ip[0] >> 4 == 6 else b"\x08\x00"
        ethernet = bytes(12) + (b"\x81\x00\x00\x07" if self.vlan else b"") + kind
        data = (ethernet if self.link == ETHERNET else b"") + ip
        self.packets.append((data[:len(data) - cut], len(data)))

    def pcap(self):
        head = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, self.link)
        return head + b"".join(struct.pack("<IIII", 1700000000, i * 1000, len(data), length) + data
                               for i, (data, length) in enumerate(self.packets))

    def pcapng(self):
        def block(kind, body):
            size = len(body) + 12
            return struct.pack("<II", kind, size) + body + struct.pack("<I", size)
        blocks = [block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1)),
                  block(1, struct.pack("<HHI", self.link, 0, 262144))]
        for i, (data, length) in enumerate(self.packets):
            us = 1700000000 * 1000000 + i * 1000
            body = struct.pack("<IIIII", 0, us >> 32, us & 0xffffffff, len(data), length)
            blocks.append(block(6, body + data + bytes(-len(data) % 4)))
        return b"".join(blocks)

    def write(self, path, kind="pcap"):
        pathlib.Path(path).write_bytes(getattr(self, kind)())
        return str(path)
