# SPDX-License-Identifier: Apache-2.0
"""A network of a command's own, in which every port is free: loopback alone."""
import os
import sys

BEGIN = r"""
import fcntl, os, socket, struct, sys
with socket.socket() as s:  # SIOCSIFFLAGS, IFF_UP; iproute2 may not be there
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def in_own_network(*command):
    """The command line that runs it there."""
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
    return [*unshare, sys.executable, "-c", BEGIN, *command]
