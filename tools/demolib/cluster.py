# SPDX-License-Identifier: Apache-2.0
"""What demo-cluster reads of the gateway, and its table."""
import os
import shlex

from demolib import show


def events(told):
    """Of a page of /admin/requests/ID; the last request of this id, as it began last."""
    found = told.get("requests") or []
    return found[-1].get("events", []) if found else []


def node_of(told):
    """The node that answers, once it has begun to."""
    nodes = [event.get("node") for event in events(told) if event["event"] in ("head", "first_part")]
    return nodes[-1] if nodes else None


def was_moved(told):
    return any(event["event"] == "unreached" for event in events(told))


def shown(command):
    """As one would type it; the addresses and the key belong to this run alone."""
    words = [str(word) for word in command]
    return shlex.join([os.path.basename(words[0]), *words[1:words.index("--admin")]])


def quantile(values, fraction):
    """The least value that so large a part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else None


HEAD = ("tenant", "class", "asked", "answered", "cut", "failed", "moved", "waited p50", "p99", "first p50", "p99")


def row(tenant, moved):
    seen = [s for s in tenant.requests() if s.over]
    answered = [s for s in seen if s.error is None]
    cut = [s for s in seen if s.cut]
    waits, firsts = [s.waited_s for s in answered], [s.first_s for s in answered]
    after = f" ({', '.join(str(s.parts) for s in cut)} parts)" if cut else ""
    times = [show.duration(quantile(values, part) or 0) if values else "-" for values in (waits, firsts) for part in (0.5, 0.99)]
    return (tenant.name, tenant.priority, str(len(seen)), str(len(answered)), f"{len(cut)}{after}",
            str(len(seen) - len(answered) - len(cut)), str(sum(moved(s) for s in seen)), *times)


def table(tenants, moved):
    """Its lines. moved(seen): whether the gateway sent this request to more than one node."""
    rows = [HEAD, *(row(tenant, moved) for tenant in tenants)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEAD))]
    return ["  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(r, widths))).rstrip()
            for r in rows]
