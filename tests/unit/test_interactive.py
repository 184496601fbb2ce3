# SPDX-License-Identifier: GPL-2.0-or-later
"""`dvhbuild boot`'s shells, joined to pipes and to a terminal."""

import os
import sys
from types import SimpleNamespace

import pytest
from test_agent import FakeAgent, ready

from dvhbuild.frames import Frame, Type
from dvhbuild.hub import Hub
from dvhbuild.interactive import interact


@pytest.mark.parametrize("more", [False, True])
def test_a_reader_who_leaves_ends_the_shell_and_nothing_fails(monkeypatch, more):
    """Whether or not there is more to be typed."""
    answers = {
        Type.EXEC: lambda frame: (Frame(Type.DATA, frame.channel, b"said"), Frame(Type.DATA, frame.channel, b"more")),
        Type.CLOSE: lambda frame: (Frame(Type.CLOSE, frame.channel),),
    }
    typed, typing = os.pipe()
    read, written = os.pipe()
    os.close(read)
    if not more:
        os.close(typing)
    with Hub() as hub, os.fdopen(typed) as stdin, os.fdopen(written, "w") as stdout, monkeypatch.context() as patch:
        fake = FakeAgent(hub, answers)
        nest = SimpleNamespace(top=SimpleNamespace(agent=ready(hub, fake), number=1), machine=SimpleNamespace(hub=hub))
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)
        with pytest.raises(BrokenPipeError):
            interact(nest)
        assert hub.failure is None
    assert Type.CLOSE in [frame.type for frame in fake.got]
    if more:
        os.close(typing)
