# SPDX-License-Identifier: GPL-2.0-or-later
"""The workloads: what each runs, how many transactions that is, and how it is told that each of them was right."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from dvhbuild.recipes.workloads import PAGE_SIZE, WHERE, page

BLOCK = 16384
"""Bytes of a transaction of netperf's streams."""

GROUPS, PAIRS = 2, 5
"""Of hackbench: in each group, so many processes send to as many others, each to all of them."""

REQUESTS_AT_ONCE = 4
"""Of ab."""

_KEY = re.compile(r"^(\w+)=(\S+)$", re.MULTILINE)
_CLOCK = re.compile(r"^clock: begin=(\d+) end=(\d+)$", re.MULTILINE)
_COUNTS = ("LOCAL_SEND_CALLS", "REMOTE_RECV_CALLS", "REMOTE_SEND_CALLS", "LOCAL_RECV_CALLS")
_BYTES = ("LOCAL_BYTES_SENT", "REMOTE_BYTES_RECVD", "REMOTE_BYTES_SENT", "LOCAL_BYTES_RECVD")

Check = Callable[[str, int], None]
"""Raises ValueError if what a program said does not mean that so many transactions were right."""


@dataclass(frozen=True)
class Work:
    """One workload: `count` transactions of `command`, in which `{count}` and the guest's `{address}` are filled in.

    `server` starts the other end in the guest, which then listens at `port`, and L0 runs the command, and before and
    after it `proof`, which has to succeed. Without a server, the guest runs the command alone, and marks what counts.
    """

    name: str
    count: int
    command: str
    check: Check
    server: str = ""
    port: int = 0
    proof: str = "true"


def clock(said: str) -> tuple[int, int]:
    """When the transactions began and ended, in ticks of the TSC of whoever ran the command; raises ValueError if that
    is not told.
    """
    match = _CLOCK.search(said)
    if not match:
        raise ValueError("no clock is told")
    return int(match[1]), int(match[2])


def _whole(said: str, what: str, expected: dict[str, int], pattern: re.Pattern[str] = _KEY) -> None:
    found = dict(pattern.findall(said))
    for name, value in expected.items():
        if found.get(name) != str(value):
            raise ValueError(f"{what}: {name} is {found.get(name, 'not told')}, not {value}")


def check_hackbench(said: str, _count: int) -> None:
    """Hackbench waits until each receiver has read all that is sent to it, and fails if one fails."""
    if not re.search(r"^Time: \d", said, re.MULTILINE):
        raise ValueError("hackbench: no time is told")


def check_round_trips(said: str, count: int) -> None:
    """Each byte that one end sent was received by the other, and as often, both ways."""
    _whole(said, "netperf", dict.fromkeys((*_COUNTS, *_BYTES), count))


def check_stream(said: str, count: int) -> None:
    """L0 sent as many blocks, and the guest received all bytes of them."""
    sent, received, *_ = _BYTES
    _whole(said, "netperf", {"LOCAL_SEND_CALLS": count, sent: count * BLOCK, received: count * BLOCK})


def check_maerts(said: str, count: int) -> None:
    """The guest sent as many blocks, and L0 received all bytes of them."""
    *_, sent, received = _BYTES
    _whole(said, "netperf", {"REMOTE_SEND_CALLS": count, sent: count * BLOCK, received: count * BLOCK})


def check_memcached(said: str, count: int) -> None:
    """The client (guest/load/memcached.c) compares each answer, and ends at the first one that is wrong."""
    if f"\n{count} answers are right\n" not in f"{said}\n":
        raise ValueError("memcached: the client tells no result")


_AB = re.compile(r"^([A-Z][\w -]+):\s+(\d+)(?: bytes)?$", re.MULTILINE)


def check_apache(said: str, count: int) -> None:
    """Each answer is a page, of the length that it should have."""
    expected = {
        "Document Length": PAGE_SIZE,
        "Complete requests": count,
        "Failed requests": 0,
        "HTML transferred": count * PAGE_SIZE,
    }
    _whole(said, "ab", expected, _AB)
    if "Non-2xx responses" in said:
        raise ValueError("ab: there are answers that are not pages")


def _netperf(test: str, length: str, *options: str) -> str:
    keys = ",".join((*_COUNTS, *_BYTES))
    more = " ".join((*options, "-k", keys))
    return f"DVH_CONNECT=2 netperf -H {{address}} -t {test} -l -{length} -P 0 -- {more}"


_NETSERVER = ("netserver -4", 12865)

WORKS = (
    Work(
        "hackbench",
        GROUPS * PAIRS**2 * 800,
        f"hackbench --groups {GROUPS} --fds {PAIRS} --loops $(({{count}} / {GROUPS * PAIRS**2})) --datasize 100",
        check_hackbench,
    ),
    Work("tcp-rr", 1000, _netperf("TCP_RR", "{count}"), check_round_trips, *_NETSERVER),
    Work(
        "tcp-stream",
        1024,
        _netperf("TCP_STREAM", f"$(({{count}} * {BLOCK}))", f"-m {BLOCK}"),
        check_stream,
        *_NETSERVER,
    ),
    Work(
        "tcp-maerts",
        1024,
        _netperf("TCP_MAERTS", f"$(({{count}} * {BLOCK}))", f"-m ,{BLOCK}"),
        check_maerts,
        *_NETSERVER,
    ),
    Work(
        "memcached",
        1000,
        "dvhload memcached {count} {address}",
        check_memcached,
        "memcached -d -u root -m 16 -t 2",
        11211,
    ),
    Work(
        "apache",
        300,
        f"DVH_CONNECT=1 ab -q -n {{count}} -c {REQUESTS_AT_ONCE} http://{{address}}/page",
        check_apache,
        f"""echo www-data:x:33:33::/:/bin/sh >> /etc/passwd && echo www-data:x:33: >> /etc/group &&
            apache2 -f {WHERE}/apache2.conf""",
        80,
        f'[ "$(wget -q -O - http://{{address}}/page | sha256sum)" = "{hashlib.sha256(page()).hexdigest()}  -" ]',
    ),
)
