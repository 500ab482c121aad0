# SPDX-License-Identifier: Apache-2.0
"""What the demo reads from mcpgate: the banner of serve, and the histogram of its own time."""
import http.client
import re

RELAY = "mcpgate_relay_seconds"


def read_banner(lines):
    """{"mcp": "127.0.0.1:41234", "http": ..., "admin": ...} once the banner is complete, else None.
    Its last line is "ready", or "not ready" and why."""
    addresses = {}
    for line in lines:
        listening = re.match(r"(mcp|http|admin)\s+listening on (\S+)", line)
        if listening:
            addresses[listening[1]] = listening[2]
        elif re.match(r"(not )?ready\b", line):
            return addresses
    return None


def get(address, path, timeout_s=5, key=None):
    """(status, text) of the admin listener; (0, why) when it does not answer."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def read_histogram(text, name=RELAY):
    """[(le, cumulative count)] of a histogram in Prometheus text, all label sets added up."""
    buckets = {}
    for labels, value in re.findall(rf"^{name}_bucket\{{([^}}]*)\}} (\S+)", text, re.M):
        le = re.search(r'(?:^|,)le="([^"]+)"', labels)
        buckets[float(le[1])] = buckets.get(float(le[1]), 0) + float(value)
    return sorted(buckets.items())


def difference(before, after):
    """What was added between two readings. Empty buckets may be missing from either."""
    def at(reading, le):
        return max((count for bound, count in reading if bound <= le), default=0)

    return [(le, count - at(before, le)) for le, count in after]


def quantile(buckets, fraction):
    """The upper bound of the bucket that holds this quantile; None when nothing was counted."""
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = fraction * buckets[-1][1]
    for le, count in buckets:
        if count >= rank and le != float("inf"):
            return le
    return max((le for le, _ in buckets if le != float("inf")), default=None)
