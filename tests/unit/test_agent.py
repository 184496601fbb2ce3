# SPDX-License-Identifier: GPL-2.0-or-later
"""The uplink: its frames, our end against an agent made of a few lines here, and against the real one as a process."""

import os
import shutil
import socket
import struct
import subprocess
import termios
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvhbuild.agent import Agent
from dvhbuild.channel import WINDOW
from dvhbuild.console import Log, StampedFile, Stream
from dvhbuild.errors import GuestError, HostError, UserError
from dvhbuild.frames import INPUT_WINDOW, MAX_PAYLOAD, Decoder, Encoder, Frame, Type
from dvhbuild.hub import Hub
from dvhbuild.lines import Line, PtyLine

SOURCE = Path(__file__).parents[2] / "guest/agent"
OVERHEAD = len(Encoder().encode(Frame(Type.PING)))
HELLO = struct.pack("<HH", 1, 0) + b"6.12.0\nl1\n"

frames = st.builds(
    Frame, st.sampled_from(Type), st.integers(0, 0xFFFF), st.binary(max_size=300) | st.just(bytes(MAX_PAYLOAD))
)
# The magic's first byte begins a frame that may swallow what follows until its check fails: leave it to other tests.
garbage = st.binary(max_size=40).map(lambda data: data.replace(b"\xd5", b""))


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 5 * (MAX_PAYLOAD + OVERHEAD)), max_size=6))
def test_frames_survive_any_split(sent, cuts):
    encoder, decoder = Encoder(), Decoder(0)
    data = b"".join(map(encoder.encode, sent))
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    got = [frame for begin, end in pairwise(edges) for frame in decoder.feed(data[begin:end])]
    assert got == sent
    assert (decoder.garbage, decoder.missing, decoder.partial) == (0, 0, False)


@given(st.lists(st.tuples(garbage, frames), min_size=1, max_size=5), garbage)
def test_garbage_between_frames_is_skipped_and_counted(parts, end):
    encoder, decoder = Encoder(), Decoder(0)
    data = b"".join(noise + encoder.encode(frame) for noise, frame in parts) + end
    assert list(decoder.feed(data)) == [frame for _, frame in parts]
    assert decoder.garbage == sum(len(noise) for noise, _ in parts) + len(end)


@given(frames.filter(lambda frame: frame.type != Type.HELLO), st.data())
def test_a_flipped_bit_is_noticed_and_the_next_frames_are_not_lost(frame, data):
    encoder, decoder = Encoder(), Decoder(0)
    first = bytearray(encoder.encode(frame))
    bit = data.draw(st.integers(0, len(first) * 8 - 1))
    first[bit // 8] ^= 1 << bit % 8
    later = [Frame(Type.DATA, 7, b"later"), Frame(Type.PING)]
    got = list(decoder.feed(bytes(first) + b"".join(map(encoder.encode, later))))
    assert got == later
    assert decoder.garbage >= len(first) - 2
    assert decoder.missing == 1


def test_a_lost_frame_is_noticed():
    encoder, decoder = Encoder(254), Decoder(254)
    sent = [encoder.encode(Frame(Type.DATA, 1, bytes((n,)))) for n in range(5)]
    assert len(list(decoder.feed(b"".join((*sent[:1], *sent[3:]))))) == 3
    assert decoder.missing == 2


def test_a_frame_too_long_is_refused():
    with pytest.raises(HostError, match="at most 4096"):
        Encoder().encode(Frame(Type.DATA, 1, bytes(MAX_PAYLOAD + 1)))


class FakeAgent:
    """A Transport with an agent behind it: `answers` maps a frame type to what to send for such a frame."""

    name = "fake"

    def __init__(self, hub, answers=None, hello=HELLO):
        self.hub = hub
        self.answers = answers or {}
        self.hello = hello
        self.got = []
        self.encoder = Encoder()
        self.decoder = Decoder()

    def attach(self, on_data, on_close):
        self.on_data, self.on_close = on_data, on_close
        if self.hello:
            self.say(Frame(Type.HELLO, 0, self.hello))

    def write(self, data):
        for frame in self.decoder.feed(data):
            self.got.append(frame)
            if answer := self.answers.get(frame.type):
                self.say(*answer(frame))

    def say(self, *sent):
        self.raw(b"".join(map(self.encoder.encode, sent)))

    def raw(self, data):
        self.hub.later(0, lambda: self.on_data(data))

    def close(self): ...


@pytest.fixture
def hub():
    with Hub() as made:
        yield made


def ready(hub, fake, level=1, **options):
    agent = Agent(hub, fake, level=level, **options)
    agent.wait_ready(5)
    return agent


def exits(status, output=b""):
    return lambda frame: (Frame(Type.DATA, frame.channel, output), Frame(Type.EXIT, frame.channel, bytes((0, status))))


def test_a_command_returns_output_and_status(hub, tmp_path):
    fake = FakeAgent(hub, {Type.EXEC: exits(3, b"out\n")})
    record = StampedFile(tmp_path / "commands", lambda: hub.now)
    agent = Agent(hub, fake, level=1, record=record)
    assert agent.wait_ready(5).name == "l1"
    result = agent.run("false it")
    assert (result.text, result.status) == ("out\n", 3)
    assert fake.got[0].payload == struct.pack("<IB", WINDOW, 0) + b"false it"
    assert agent.channels() == ()
    said = (tmp_path / "commands").read_text()
    assert "$ false it\n" in said
    assert "-> status 3" in said


def test_check_names_the_command_its_status_and_its_last_line(hub):
    agent = ready(hub, FakeAgent(hub, {Type.EXEC: exits(2, b"one\nno such disk\n")}))
    with pytest.raises(GuestError, match=r"L1: mount it: failed \(2\): no such disk") as caught:
        agent.check("mount it")
    assert caught.value.tail == ("one", "no such disk")
    agent = ready(hub, FakeAgent(hub, {Type.EXEC: exits(0, b"fine\n")}))
    assert agent.check("mount it") == "fine"


def test_a_command_killed_by_a_signal(hub):
    killed = {Type.EXEC: lambda frame: (Frame(Type.EXIT, frame.channel, bytes((1, 9))),)}
    assert ready(hub, FakeAgent(hub, killed)).run("sleep 1").status == 137


def test_a_command_that_hangs_is_killed_and_its_output_shown(hub, tmp_path):
    fake = FakeAgent(hub, {Type.EXEC: lambda frame: (Frame(Type.DATA, frame.channel, b"so far\n"),)})
    record = StampedFile(tmp_path / "commands", lambda: hub.now)
    agent = ready(hub, fake, 2, record=record)
    with pytest.raises(GuestError, match=r"L2: sleep 9: its end: not after 0.2 s") as caught:
        agent.run("sleep 9", timeout=0.2)
    assert caught.value.tail == ("so far",)
    assert fake.got[-1].type == Type.CLOSE
    assert "so far\n" in (tmp_path / "commands").read_text()


def test_input_waits_for_credit(hub):
    fake = FakeAgent(hub)
    agent = ready(hub, fake)
    channel = agent.start("cat", with_input=True)
    channel.write(bytes(INPUT_WINDOW + 500))
    channel.eof()
    assert sum(len(frame.payload) for frame in fake.got if frame.type == Type.DATA) == INPUT_WINDOW
    assert fake.got[-1].type == Type.DATA
    with pytest.raises(HostError, match="cannot be saved while bytes wait"):
        channel.state()
    fake.say(Frame(Type.WINDOW, channel.id, (4096).to_bytes(4, "little")))
    hub.wait(lambda: fake.got[-1].type == Type.EOF or None, 5, "EOF", level=1)
    assert sum(len(frame.payload) for frame in fake.got if frame.type == Type.DATA) == INPUT_WINDOW + 500


def test_output_is_acknowledged_only_when_somebody_has_taken_it(hub):
    fake = FakeAgent(hub)
    channel = ready(hub, fake).start("cat")
    for _ in range(WINDOW // MAX_PAYLOAD):
        fake.say(Frame(Type.DATA, channel.id, bytes(MAX_PAYLOAD)))
    hub.wait(lambda: not channel.quiescent or None, 5, "data", level=1)
    assert fake.got[-1].type == Type.EXEC
    got = bytearray()
    channel.attach(got.extend, lambda _reason: None)
    hub.wait(lambda: len(got) == WINDOW or None, 5, "data", level=1)
    granted = sum(int.from_bytes(frame.payload, "little") for frame in fake.got if frame.type == Type.WINDOW)
    assert WINDOW // 2 <= granted <= WINDOW


def damage_garbage(fake):
    fake.raw(b"xyz")


def damage_missing(fake):
    fake.encoder.seq += 2
    fake.say(Frame(Type.PONG, 0, bytes(16)))


def damage_report(fake):
    fake.say(Frame(Type.ERROR, 0, b"garbled bytes from the host"))


def damage_stray(fake):
    fake.say(Frame(Type.DATA, 77, b"x"))


def damage_unknown(fake):
    header = b"\x01\xc8\0\0\0\0"  # the frame after HELLO, of type 200
    crc = __import__("binascii").crc_hqx(header, 0xFFFF)
    fake.raw(b"\xd5\x76" + header + bytes((crc & 0xFF,)) + crc.to_bytes(2, "little"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_garbage, "3 bytes garbled"),
        (damage_missing, "2 frames missing"),
        (damage_report, "the agent reports: garbled"),
        (damage_stray, "channel 77, which is not open"),
        (damage_unknown, "unknown type 200"),
        (lambda fake: fake.say(Frame(Type.HELLO, 0, HELLO)), "the level was restarted"),
    ],
)
def test_a_damaged_line_ends_everything(hub, damage, says):
    fake = FakeAgent(hub)
    agent = ready(hub, fake)
    damage(fake)
    with pytest.raises(GuestError, match=says):
        agent.run("true", timeout=5)
    with pytest.raises(GuestError, match=says):
        agent.ping(5)


def test_noise_before_hello_is_no_damage(hub):
    fake = FakeAgent(hub, {Type.EXEC: exits(0)}, hello=None)
    agent = Agent(hub, fake, level=1)
    fake.raw(b"SeaBIOS\r\n")
    fake.encoder.seq = 9
    fake.say(Frame(Type.DATA, 5, b"of an old channel"), Frame(Type.HELLO, 0, HELLO))
    agent.wait_ready(5)
    assert agent.run("true").status == 0


@pytest.mark.parametrize(
    ("hello", "says"),
    [
        (struct.pack("<HH", 9, 0) + b"6.12.0\nl1\n", "version 9 of the protocol"),
        (HELLO + b"dvh-agent: cannot mount dvh.files: /dev/vda: No such device\n", "L1: dvh-agent: cannot mount"),
        (None, "the agent's first word: not after 0.2 s"),
    ],
)
def test_an_agent_that_cannot_be_used(hub, hello, says):
    with pytest.raises(GuestError, match=says):
        Agent(hub, FakeAgent(hub, hello=hello), level=1).wait_ready(0.2)


def test_an_agent_that_goes_ends_what_waits_and_what_comes(hub):
    fake = FakeAgent(hub)
    agent = ready(hub, fake)
    hub.later(0.1, lambda: fake.on_close("exited with status 1"))
    for _ in range(2):
        with pytest.raises(GuestError, match=r"L1: .*exited with status 1"):
            agent.run("true", timeout=30)


def test_a_panic_explains_an_agent_that_goes(hub, tmp_path):
    fake = FakeAgent(hub)
    ours, guest = os.pipe()
    log = Log(hub, Line(hub, ours, "com1"), tmp_path / "l1.log", level=1)
    agent = ready(hub, fake, 1, log=log)
    hub.later(0.1, lambda: fake.on_close("closed by the guest"))
    hub.later(0.3, lambda: os.write(guest, b"Kernel panic - not syncing: test\nKernel Offset: disabled\n"))
    hub.later(0.4, lambda: os.close(guest))
    with pytest.raises(GuestError, match="the kernel panicked") as caught:
        agent.run("true", timeout=30)
    assert caught.value.tail[-1] == "Kernel Offset: disabled"


def test_an_emulator_that_dies_ends_a_command_at_once():
    dead = []
    with Hub(lambda: dead[0] if dead else None) as hub:
        agent = ready(hub, FakeAgent(hub))
        dead.append(HostError("the emulator exited with status 1"))
        begin = time.monotonic()
        with pytest.raises(HostError, match="exited with status 1"):
            agent.run("sleep 1", timeout=60)
        assert time.monotonic() - begin < 3


def test_a_command_too_long_is_the_users_error(hub):
    with pytest.raises(UserError, match="too long for one frame"):
        ready(hub, FakeAgent(hub)).run("x" * MAX_PAYLOAD)


def test_nothing_is_sent_before_the_agent_is_there(hub):
    fake = FakeAgent(hub, hello=None)
    with pytest.raises(HostError, match="the agent is not there yet"):
        Agent(hub, fake, level=1).run("true")
    assert fake.got == []


def test_channel_numbers_are_not_used_twice(hub):
    agent = ready(hub, FakeAgent(hub))
    kept = agent.start("sleep 9")
    agent._uplink._last = 0xFFFE
    numbers = [agent.start("sleep 9").id for _ in range(3)]
    assert numbers == [0xFFFF, 2, 3]
    assert kept.id == 1


# The real agent, as an ordinary process.


@pytest.fixture(scope="session")
def binary(tmp_path_factory):
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler")
    out = tmp_path_factory.mktemp("agent") / "agent"
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([cc, *flags, "-o", out, *SOURCE.glob("*.c")], check=True)
    return out


class Guest:
    """The real agent as a process; `line` is our end of its uplink."""

    def __init__(self, hub, binary, kind):
        self.hub = hub
        if kind == "pty":
            self.line = PtyLine(hub, "pty")
            # As a serial line is when nobody has opened it yet: it echoes, and changes what it passes on.
            fresh = os.openpty()
            termios.tcsetattr(self.line._theirs, termios.TCSANOW, termios.tcgetattr(fresh[1]))
            for end in fresh:
                os.close(end)
            self.process = subprocess.Popen([binary, "--uplink", self.line.path, "--name", "l7"])
        else:
            ours, theirs = socket.socketpair()
            self.line = Line(hub, ours.detach(), "socket")
            with theirs:
                self.process = subprocess.Popen(
                    [binary, "--uplink", f"fd:{theirs.fileno()}"], pass_fds=[theirs.fileno()]
                )
        self.agent = Agent(hub, self.line, level=7)
        self.hello = self.agent.wait_ready(5)

    def stop(self):
        self.line.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(params=["pty", "socket"])
def guest(hub, binary, request):
    made = Guest(hub, binary, request.param)
    yield made
    made.stop()


@pytest.fixture
def agent(guest):
    return guest.agent


def test_real_commands(agent):
    assert agent.run("echo out; echo err >&2; exit 3") == agent.run("printf 'out\\nerr\\n'; exit 3")
    assert agent.run("kill -9 $$").status == 137
    assert agent.run("kill -PIPE $$").status == 141
    assert agent.check("read line; echo got:$line; cat", stdin=b"one\ntwo\n") == "got:one\ntwo"
    assert agent.run("cat").output == b""  # no input is an end of input


def test_real_fetch(agent, tmp_path):
    big = b"kvm_exit: reason HLT rip 0xffffffff81000000\n" * 20_000
    (tmp_path / "trace").write_bytes(big)
    assert agent.fetch(f"cat {tmp_path}/trace") == big
    assert agent.fetch("printf 'no newline'") == b"no newline"
    with pytest.raises(GuestError, match=r"failed \(3\): why") as caught:
        agent.fetch("echo out; echo why >&2; exit 3 # a comment")
    assert caught.value.tail == ("out", "why")
    with pytest.raises(GuestError, match=r"failed \(127\)"):
        agent.fetch("no-such-command")
    with pytest.raises(GuestError, match=r"failed \(2\): .*[Ss]yntax"):
        agent.fetch("echo )")


def test_real_name(hub, binary):
    made = Guest(hub, binary, "pty")
    made.stop()
    assert (made.hello.name, made.hello.release, made.hello.problems) == ("l7", os.uname().release, ())


def test_real_bytes_of_all_values_both_ways(agent):
    data = bytes(range(256)) * 1200
    assert agent.run("cat", stdin=data).output == data


def test_real_input_that_nobody_reads(agent):
    assert agent.run("exec <&-; head -c 3 /dev/zero", stdin=bytes(100_000)).output == bytes(3)


def test_real_megabytes_do_not_hold_up_others(hub, agent):
    got = bytearray()
    flood = agent.start("cat /dev/zero")
    flood.attach(got.extend, lambda _reason: None)
    for _ in range(5):
        begin = time.monotonic()
        assert agent.run("echo quick").text == "quick\n"
        agent.ping(5)
        assert time.monotonic() - begin < 2
        wanted = len(got) + (1 << 20)
        hub.wait(lambda: len(got) > wanted or None, 10, "a megabyte", level=7)  # noqa: B023
    agent.stop(flood)
    assert flood.exit.signal == 15


def test_real_output_waits_for_its_reader(hub, agent):
    flood = agent.start("head -c 1000000 /dev/zero")
    agent.check("sleep 0.2")
    assert flood.exit is None
    got = bytearray()
    flood.attach(got.extend, lambda _reason: None)
    assert agent.wait_exit(flood, 10) == 0
    assert len(got) == 1_000_000


def test_real_daemon_does_not_hold_up_its_parent(agent):
    begin = time.monotonic()
    pid = int(agent.check("sleep 30 & echo $!"))
    assert time.monotonic() - begin < 10
    os.kill(pid, 9)


def test_real_timeout_kills_the_whole_group(hub, agent):
    with pytest.raises(GuestError, match=r"not after 0.3 s") as caught:
        agent.run("sleep 77 & echo $!; wait", timeout=0.3)
    pid = int(caught.value.tail[0])
    end = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)
    hub.wait(lambda: not agent.channels() or None, 5, "the channel's end", level=7)


def test_real_terminal(hub, agent):
    shell = agent.shell(31, 97)
    stream = Stream.of(hub, shell, level=7)
    stream.send("tty; stty size; stty -echo; read x; stty size; echo $x $TERM; exit 5\n")
    stream.expect("/dev/pts/.*31 97\n", 5)
    shell.resize(40, 100)
    stream.send("typed\n")
    assert stream.expect("40 100\n(.*) dumb\n", 5).groups == ("typed",)
    assert agent.wait_exit(shell, 5) == 5


def test_real_terminal_passes_its_last_words_on(hub, agent):
    for _ in range(20):
        got = bytearray()
        shell = agent.shell(24, 80)
        shell.attach(got.extend, lambda _reason: None)
        shell.write(b"exec sh -c 'head -c 3000 /dev/zero; echo end'\n")
        agent.wait_exit(shell, 5)
        assert got.endswith(bytes(3000) + b"end\r\n")


def test_real_socket_that_appears_late(hub, agent, tmp_path):
    path = tmp_path / "late"
    listener = socket.socket(socket.AF_UNIX)

    def listen():
        listener.bind(str(path))
        listener.listen()

    hub.later(0.3, listen)
    channel = agent.connect(str(path), timeout=10, label="late")
    peer, _ = listener.accept()
    assert agent.take("late") is channel
    channel.write(b"to the guest")
    assert peer.recv(100) == b"to the guest"
    got = bytearray()
    channel.attach(got.extend, lambda _reason: None)
    peer.sendall(bytes(500_000))
    peer.close()
    hub.wait(lambda: channel.closed is not None or None, 10, "its end", level=7)
    assert len(got) == 500_000
    listener.close()
    with pytest.raises(HostError, match="no open channel 'late'"):
        agent.take("late")


def test_real_socket_that_never_appears(agent, tmp_path):
    with pytest.raises(GuestError, match=r"L7: .*never: No such file or directory"):
        agent.connect(str(tmp_path / "never"), timeout=0.2)
    with pytest.raises(GuestError, match="File name too long"):
        agent.connect("/" + "x" * 200)


def test_real_agent_through_an_agent(hub, agent, binary, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "l8"))
        listener.listen()
        uplink = agent.connect(str(tmp_path / "l8"), label="l8.agent")
        theirs, _ = listener.accept()
    with theirs:
        inner = subprocess.Popen([binary, "--uplink", f"fd:{theirs.fileno()}"], pass_fds=[theirs.fileno()])
    nested = Agent(hub, uplink, level=8)
    nested.wait_ready(5)
    assert nested.run("cat", stdin=bytes(range(256)) * 500).output == bytes(range(256)) * 500
    assert [len(a.state(5)["channels"]) for a in (nested, agent)] == [0, 1]
    inner.kill()
    inner.wait()
    with pytest.raises(GuestError, match=r"L8: .*closed by the guest"):
        nested.run("true")
    assert agent.run("true").status == 0


def test_real_agent_reports_a_damaged_line(guest):
    guest.line.write(b"garbage")
    with pytest.raises(GuestError, match="L7: the agent reports: garbled bytes from the host"):
        guest.agent.ping(5)


def test_real_agent_reports_a_lost_frame(guest):
    guest.agent._uplink._encoder.seq += 1
    with pytest.raises(GuestError, match="L7: the agent reports: frames from the host are missing"):
        guest.agent.ping(5)


def test_real_agent_takes_up_its_channels(guest):
    kept = guest.agent.start("cat", label="kept", with_input=True)
    echo = bytearray()
    kept.attach(echo.extend, lambda _reason: None)
    kept.write(b"before")
    guest.hub.wait(lambda: echo == b"before" or None, 5, "the echo", level=7)
    guest.agent.start("sleep 78; echo never", label="closed")
    state = guest.agent.state(5)
    assert [channel["label"] for channel in state["channels"]] == ["kept", "closed"]
    state["channels"] = state["channels"][:1]
    with Hub() as hub:
        line = Line(hub, os.dup(guest.line._fd), "again")
        guest.line.close()
        agent = Agent(hub, line, level=7, state=state)
        agent.wait_ready(5)
        again = agent.take("kept")
        got = bytearray()
        again.attach(got.extend, lambda _reason: None)
        again.write(b"after")
        again.eof()
        assert agent.wait_exit(again, 5) == 0
        assert got == b"after"
        assert agent.channels() == ()
        assert agent.run("true").status == 0
        line.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"received": 1}, "kept: bytes were lost between the save and the restore"),
        ({"id": 9}, "kept: was open when the machine was saved, and is closed"),
    ],
)
def test_real_agent_that_is_not_in_the_saved_state(guest, change, says):
    guest.agent.start("cat", label="kept", with_input=True)
    state = guest.agent.state(5)
    state["channels"][0].update(change)
    with Hub() as hub:
        line = Line(hub, os.dup(guest.line._fd), "again")
        guest.line.close()
        with pytest.raises(GuestError, match=says):
            Agent(hub, line, level=7, state=state).wait_ready(5)
        line.close()


def test_real_agent_is_idle_when_idle(guest):
    guest.agent.start("sleep 79")
    guest.agent.ping(5)

    def wakeups():
        status = Path(f"/proc/{guest.process.pid}/status").read_text()
        return [line for line in status.splitlines() if "ctxt_switches" in line]

    time.sleep(0.05)
    before = wakeups()
    time.sleep(0.5)
    assert wakeups() == before


def test_real_agent_without_a_host_is_gone(guest):
    if isinstance(guest.line, PtyLine):
        pytest.skip("a serial line has no end")
    guest.line.close()
    assert guest.process.wait(5) == 0
