# SPDX-License-Identifier: GPL-2.0-or-later
"""What a workload's programs say is understood, and so is what L0 saw of them."""

from types import SimpleNamespace

import pytest
from test_trace import BEGIN, CPUID, END, HLT, IO, Guest, bracketed

from dvhbuild import workloads
from dvhbuild.errors import GuestError, UserError
from dvhbuild.stack import load_stack
from dvhbuild.work import WORKS

WORK = {work.name: work for work in WORKS}

CLOCK = "clock: begin=1000 end=59031528\n"

ROUND_TRIPS = """\
LOCAL_SEND_CALLS=500
REMOTE_RECV_CALLS=500
REMOTE_SEND_CALLS=500
LOCAL_RECV_CALLS=500
LOCAL_BYTES_SENT=500
REMOTE_BYTES_RECVD=500
REMOTE_BYTES_SENT=500
LOCAL_BYTES_RECVD=500
"""
STREAM = """\
LOCAL_SEND_CALLS=512
REMOTE_RECV_CALLS=72
REMOTE_SEND_CALLS=0
LOCAL_RECV_CALLS=0
LOCAL_BYTES_SENT=8388608
REMOTE_BYTES_RECVD=8388608
REMOTE_BYTES_SENT=0
LOCAL_BYTES_RECVD=0
"""
MAERTS = """\
LOCAL_SEND_CALLS=0
REMOTE_RECV_CALLS=0
REMOTE_SEND_CALLS=512
LOCAL_RECV_CALLS=124
LOCAL_BYTES_SENT=0
REMOTE_BYTES_RECVD=0
REMOTE_BYTES_SENT=8388608
LOCAL_BYTES_RECVD=8388608
"""
HACKBENCH = """\
Running in process mode with 2 groups using 10 file descriptors each (== 20 tasks)
Each sender will pass 200 messages of 100 bytes
clock: begin=500 end=4547167
Time: 0.001
"""
AB = """\
Server Software:        Apache/2.4.71
Server Hostname:        10.0.1.3
Server Port:            80

Document Path:          /page
Document Length:        4096 bytes

Concurrency Level:      4
Time taken for tests:   0.013 seconds
Complete requests:      20
Failed requests:        0
Total transferred:      86460 bytes
HTML transferred:       81920 bytes
Requests per second:    1501.50 [#/sec] (mean)
"""
MEMCACHED = "clock: begin=1 end=33593965\n400 answers are right\n"

GOOD = [
    ("hackbench", 10000, HACKBENCH),
    ("tcp-rr", 500, ROUND_TRIPS),
    ("tcp-stream", 512, STREAM),
    ("tcp-maerts", 512, MAERTS),
    ("memcached", 400, MEMCACHED),
    ("apache", 20, AB),
]


@pytest.mark.parametrize(("name", "count", "said"), GOOD)
def test_transactions_that_were_right(name, count, said):
    WORK[name].check(said, count)


@pytest.mark.parametrize(("name", "count", "said"), GOOD[1:])
def test_another_number_of_them(name, count, said):
    with pytest.raises(ValueError, match=f"not {count + 1}|not .*{(count + 1) * 4096}|tells no result"):
        WORK[name].check(said, count + 1)


@pytest.mark.parametrize(("name", "count", "said"), GOOD)
def test_a_program_that_says_nothing(name, count, said):
    with pytest.raises(ValueError, match="not told|no result|no time"):
        WORK[name].check("", count)


@pytest.mark.parametrize(
    ("name", "count", "said", "change", "why"),
    [
        ("tcp-rr", 500, ROUND_TRIPS, ("REMOTE_BYTES_RECVD=500", "REMOTE_BYTES_RECVD=499"), "RECVD is 499, not 500"),
        ("tcp-stream", 512, STREAM, ("RECVD=8388608", "RECVD=8372224"), "REMOTE_BYTES_RECVD is 8372224, not 8388608"),
        ("tcp-maerts", 512, MAERTS, ("RECVD=8388608", "RECVD=8372224"), "LOCAL_BYTES_RECVD is 8372224, not 8388608"),
        ("apache", 20, AB, ("Failed requests:        0", "Failed requests:        1"), "Failed requests is 1, not 0"),
        ("apache", 20, AB, ("Length:        4096", "Length:        300"), "Document Length is 300, not 4096"),
        ("apache", 20, AB, ("HTML transferred:       81920", "HTML transferred:       81919"), "transferred is 81919"),
        ("apache", 20, AB, ("Failed", "Non-2xx responses:      20\nFailed"), "answers that are not pages"),
    ],
)
def test_a_transaction_that_was_wrong(name, count, said, change, why):
    assert change[0] in said
    with pytest.raises(ValueError, match=why):
        WORK[name].check(said.replace(*change), count)


def test_commands_have_their_numbers():
    said = {name: work.command.format(count=work.count, address="10.0.1.3") for name, work in WORK.items()}
    assert "-l -1000 " in said["tcp-rr"]
    assert "-l -$((1024 * 16384)) " in said["tcp-stream"]
    assert "--loops $((40000 / 50)) " in said["hackbench"]
    assert all("{" not in command for command in said.values())


class Fake:
    """An agent that says what it was given; it remembers what it was asked."""

    def __init__(self, said):
        self.said = said
        self.asked = []

    def check(self, command, timeout=0):
        self.asked.append(command)
        return self.said


def nest(*said):
    levels = [SimpleNamespace(agent=Fake(text)) for text in said]
    return SimpleNamespace(levels=levels, top=levels[-1])


def test_l0_runs_the_client_of_a_server_and_a_guest_what_has_none():
    guest = workloads._Guest(nest(ROUND_TRIPS + CLOCK, "", HACKBENCH), 2)
    assert guest._run(WORK["tcp-rr"], 500) == (1000, 59031528)
    assert guest._run(WORK["hackbench"], 10000) == (500, 4547167)
    assert [len(level.agent.asked) for level in guest.nest.levels] == [1, 0, 1]
    assert "-H 10.0.1.3 " in guest.nest.levels[0].agent.asked[0]


def test_a_wrong_transaction_ends_the_run():
    guest = workloads._Guest(nest(ROUND_TRIPS + CLOCK, ""), 1)
    with pytest.raises(GuestError, match=r"L1: netperf: LOCAL_SEND_CALLS is 500, not 501"):
        guest._run(WORK["tcp-rr"], 501)


def test_a_program_without_a_clock_is_refused():
    guest = workloads._Guest(nest(ROUND_TRIPS), 0)
    with pytest.raises(GuestError, match="no clock is told"):
        guest._run(WORK["tcp-rr"], 500)


def test_what_a_client_does_to_start_up_does_not_count():
    steps = Guest().l1(IO, HLT, CPUID, IO).timeline().steps
    tsc = [step.event.tsc for step in steps]
    assert workloads.between(steps, tsc[1], tsc[4]) == steps[1:5]
    assert workloads.between(steps, tsc[1] + 1, tsc[4] - 1) == steps[2:4]


def test_a_guest_without_a_network_is_refused():
    other = SimpleNamespace(stack=load_stack("base-2cpu"))
    with pytest.raises(UserError, match="base-2cpu: L2 has no network"):
        next(workloads.perform(other, 2, "off"))


def test_what_lies_between_markers_counts_and_nothing_else():
    timeline = bracketed(lambda guest: guest.l2(CPUID).served(HLT)).timeline()
    exits, entries = workloads.figures(workloads.between_markers(timeline, 2), 2)
    assert exits == {"L2:CPUID": 1, "L2:HLT": 1, "L1:VMREAD": 1, "L1:VMRESUME": 1}
    assert entries == 2


def test_at_level_1_no_entry_is_of_another_level():
    timeline = Guest().l1(IO, HLT, CPUID).timeline()
    assert workloads.figures(timeline.steps, 1) == ({"L1:IO_INSTRUCTION": 1, "L1:HLT": 1, "L1:CPUID": 1}, 0)


@pytest.mark.parametrize("pairs", [0, 2])
def test_markers_that_are_not_one_pair(pairs):
    guest = Guest().resume()
    for _ in range(pairs):
        guest.served(IO, BEGIN).served(IO, END)
    with pytest.raises(GuestError, match=f"L2: {pairs} pairs of markers"):
        workloads.between_markers(guest.l2(HLT).timeline(), 2)
