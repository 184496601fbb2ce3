# SPDX-License-Identifier: GPL-2.0-or-later
"""The workloads' programs in L0, their servers at its own address: what is right passes, what is not is told."""

import pytest

from dvhbuild.lab import bring_up
from dvhbuild.work import WORKS, clock

pytestmark = pytest.mark.nested

WORK = {work.name: work for work in WORKS}
HERE = "10.0.9.1"
"""Not 127.0.0.1: where there is no other address, netperf finds none."""
COUNT = 100

LISTENS = "grep -q ':{port:04X} 00000000:0000 0A' /proc/net/tcp"

LIAR = """#!/bin/sh
while read word rest; do
    case $word in
    set) printf 'STORED\\r\\n' ;;
    get) printf 'VALUE %s 0 1024\\r\\n%s\\r\\nEND\\r\\n' "${rest%?}" "$(yes x | tr -d '\\n' | head -c 1024)" ;;
    esac
done"""
"""A memcached that forgets what was stored."""


@pytest.fixture(scope="module")
def l0(builder, stack, tmp_path_factory):
    """The agent of a Linux that has the programs."""
    directory = tmp_path_factory.mktemp("l0")
    with bring_up(builder, stack.configured("off"), 0, directory, disk=builder.workloads_disk) as nest:
        nest.top.agent.check(f"ifconfig lo {HERE}")
        yield nest.top.agent


def perform(l0, work, count):
    return l0.run(work.command.format(count=count, address=HERE), timeout=300)


@pytest.mark.parametrize("name", WORK)
def test_a_workload_says_what_it_did(l0, name):
    work = WORK[name]
    if work.server:
        listens = LISTENS.format(port=work.port)
        l0.check(f"{listens} || {{ {work.server}\n}} > /dev/null 2>&1; until {listens}; do sleep 0.1; done")
    l0.check(work.proof.format(address=HERE))
    said = perform(l0, work, COUNT).text
    work.check(said, COUNT)
    begin, end = clock(said)
    assert 0 < begin < end


def test_another_page_is_noticed(l0):
    """ab looks at lengths alone; the proof is what has the page in it."""
    l0.check("mkdir /run/www && echo other > /run/www/page && httpd -h /run/www -p 81")
    proof = WORK["apache"].proof.format(address=f"{HERE}:81")
    assert l0.run(proof).status == 1
    said = l0.check(WORK["apache"].command.format(count=COUNT, address=f"{HERE}:81"))
    with pytest.raises(ValueError, match="Document Length is 6"):
        WORK["apache"].check(said, COUNT)


def test_a_wrong_value_is_noticed(l0):
    listens = LISTENS.format(port=WORK["memcached"].port)
    l0.check("cat > /run/liar; chmod +x /run/liar", stdin=LIAR.encode())
    l0.check(f"pkill -f '[m]emcached -d'; while {listens}; do sleep 0.1; done")
    liar = l0.start("exec nc -ll -p 11211 -e /run/liar")
    try:
        l0.check(f"until {listens}; do sleep 0.1; done")
        done = perform(l0, WORK["memcached"], COUNT)
    finally:
        l0.stop(liar)
    assert done.status == 1
    assert "a wrong answer: VALUE" in done.text
