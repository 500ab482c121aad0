# SPDX-License-Identifier: Apache-2.0
"""A DNS server on a free loopback port (UDP and TCP), with records that a test changes while it runs.

    with DnsServer() as dns:
        dns.records["pool.test"] = [("A", "127.0.0.2")]
        dns.records["_o._tcp.pool.test"] = [("SRV", 11434, "a.pool.test")]
        dns.fails = "servfail"                        # or "silent", "nonsense"; None: it answers
        dns.asked                                     # [(name, type)]
        dns.answers.clear()                           # and .set(): questions wait meanwhile
"""
import ipaddress
import socket
import socketserver
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}
SERVFAIL, NXDOMAIN = 2, 3
UDP_BYTES = 512


def write_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def read_name(message, at):
    labels = []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1


def data_of(kind, values):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(values[0]).packed
    if kind == "SRV":
        return struct.pack("!HHH", 0, 0, values[0]) + write_name(values[1])
    return write_name(values[0])


class DnsServer:
    def __init__(self, records=None, ttl=60, along=True):
        """`along`: the addresses of a service's servers are sent with their names."""
        self.records, self.ttl, self.along = dict(records or {}), ttl, along
        self.fails, self.asked, self.by_tcp = None, [], 0
        self.answers = threading.Event()
        self.answers.set()

    def __enter__(self):
        server = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                message, sock = self.request
                answer = server.answer(message)
                if answer is not None:
                    if len(answer) > UDP_BYTES:  # all of it only over TCP
                        answer = answer[:2] + bytes([answer[2] | 2]) + answer[3:6] + b"\0" * 6 + \
                            answer[12:server.question_end(answer)]
                    sock.sendto(answer, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                length = self.rfile.read(2)
                if len(length) == 2:
                    server.by_tcp += 1
                    answer = server.answer(self.rfile.read(struct.unpack("!H", length)[0]))
                    if answer is not None:
                        self.wfile.write(struct.pack("!H", len(answer)) + answer)
        for _ in range(20):  # one port for both
            self.udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Udp)
            try:
                self.tcp = socketserver.ThreadingTCPServer(self.udp.server_address, Tcp)
                break
            except OSError:
                self.udp.server_close()
        for part in (self.udp, self.tcp):
            part.daemon_threads = True
            threading.Thread(target=part.serve_forever, args=(0.05,), daemon=True).start()
        self.address = "%s:%d" % self.udp.server_address
        return self

    def __exit__(self, *_):
        self.answers.set()
        for part in (self.udp, self.tcp):
            part.shutdown()
            part.server_close()

    @staticmethod
    def question_end(message):
        return read_name(message, 12)[1] + 4

    def record(self, name, kind, *values):
        data = data_of(kind, values)
        return write_name(name) + struct.pack("!HHIH", TYPES[kind], 1, self.ttl, len(data)) + data

    def answer(self, message):
        name, at = read_name(message, 12)
        kind = NAMES.get(struct.unpack_from("!H", message, at)[0])
        self.asked.append((name, kind))
        self.answers.wait(20)
        if self.fails == "silent":
            return None
        question = message[12:at + 4]
        code, found, more = 0, [], []
        if self.fails == "servfail":
            code = SERVFAIL
        elif name.lower() not in self.records:
            code = NXDOMAIN
        else:
            found = [(name, *r) for r in self.records[name.lower()] if r[0] in (kind, "CNAME")]
            for alias in [r[2] for r in found if r[1] == "CNAME"]:
                found += [(alias, *r) for r in self.records.get(alias, []) if r[0] == kind]
            for target in [r[3] for r in found if r[1] == "SRV" and self.along]:
                more += [(target, *r) for r in self.records.get(target, [])]
        parts = [self.record(*r) for r in found + more]
        if self.fails == "nonsense":
            parts = [part[:-3] + b"\xff" for part in parts]
        head = message[:2] + struct.pack("!BBHHHH", 0x84 | message[2] & 1, 0x80 | code, 1, len(found), 0, len(more))
        return head + question + b"".join(parts)
