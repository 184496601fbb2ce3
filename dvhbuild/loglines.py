# SPDX-License-Identifier: GPL-2.0-or-later
"""What a console's bytes mean: clean text, whole lines, and which of them say that a level is lost."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

MAX_LINE = 4096
"""Characters; a longer line is cut, so that garbage without a newline does not pile up."""

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[PX^_][^\x1b\n]*\x1b\\|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b\n]*\x1b?|[PX^_][^\x1b\n]*\x1b?|[ -/]*)?\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
MAX_ESCAPE = 256
"""Characters; what has not ended by then is no escape sequence but garbage that begins like one."""


class Cleaner:
    """Makes text of bytes, however these are split: no escape sequences, no control characters but newline and tab."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def feed(self, data: bytes) -> str:
        text = self._held + self._decode(data)
        self._held = ""
        if "\x1b" in text:
            end = max((match.end() for match in _ESCAPE.finditer(text)), default=0)
            if (unfinished := _UNFINISHED.search(text, end)) and len(unfinished[0]) <= MAX_ESCAPE:
                self._held = unfinished[0]
                text = text[: unfinished.start()]
            text = _ESCAPE.sub("", text)
        return _CONTROL.sub("", text)


class Lines:
    """Cuts text into lines; `partial` is the one that has not ended."""

    def __init__(self) -> None:
        self.partial = ""

    def feed(self, text: str) -> list[str]:
        *whole, self.partial = (self.partial + text).split("\n")
        while len(self.partial) > MAX_LINE:
            whole.append(self.partial[:MAX_LINE])
            self.partial = self.partial[MAX_LINE:]
        return whole


@dataclass(frozen=True)
class Pattern:
    """A line that means that a level is lost; `kind` is its short name."""

    kind: str
    says: str
    regex: re.Pattern[str]


@dataclass(frozen=True)
class Finding:
    """A line that matched."""

    kind: str
    says: str
    line: str


def _pattern(kind: str, says: str, *regexes: str) -> Pattern:
    return Pattern(kind, says, re.compile("|".join(regexes)))


_STAMP = r"^(?:\[[^]]*\] ?)*"

# No pattern may match what a kernel says of a mere process ("traps: cat[7] general protection fault ip:...").
PATTERNS = (
    _pattern(
        "rootfs", "the kernel found no root file system", r"VFS: (?:Unable to mount root|Cannot open root device)"
    ),
    _pattern("panic", "the kernel panicked", r"Kernel panic - not syncing"),
    _pattern("kasan", "the kernel used memory wrongly", r"BUG: (?:KASAN|KFENCE|KMSAN|KCSAN): "),
    _pattern("soft-lockup", "a CPU is stuck", r"BUG: soft lockup"),
    _pattern("hard-lockup", "a CPU is stuck with interrupts off", r"hard LOCKUP on cpu"),
    _pattern("rcu-stall", "RCU is stalled", r"rcu: INFO: \S+ (?:self-)?detected (?:expedited )?stalls?"),
    _pattern("hung-task", "a task is stuck", r"INFO: task \S+:\d+ (?:<\S+> )?blocked "),
    _pattern(
        "lockdep",
        "the kernel's locking is wrong",
        r"WARNING: (?:possible |inconsistent lock|suspicious RCU|bad unlock|Nested lock|\S+-safe -> )",
        r"WARNING: (?:lock held when returning|held lock freed|bad contention|.* still has locks held)",
        r"INFO: trying to register non-static key",
        r"BUG: (?:sleeping function called|scheduling while atomic|workqueue leaked|MAX_LOCK|Invalid wait context)",
    ),
    _pattern(
        "oops",
        "the kernel oopsed",
        rf"{_STAMP}Oops: ",
        r"BUG: (?:unable to handle|kernel NULL pointer)",
        rf"{_STAMP}general protection fault",
        r"(?:invalid opcode|double fault|stack segment|divide error): \S+ \[#\d",
    ),
    _pattern(
        "bug",
        "the kernel met a bug",
        r"kernel BUG at ",
        rf"{_STAMP}BUG(?: \S+ \(.*\))?: ",
        r"UBSAN: ",
        r"Bad rss-counter state",
    ),
    _pattern("warning", "the kernel warned of a bug", r"WARNING: CPU: \d+ PID: \d+ at "),
    _pattern("oom", "the level ran out of memory", r"Out of memory: Killed process", r"invoked oom-killer"),
    _pattern("init", "the agent did not start", r"Failed to execute /init", r"No working init found"),
    _pattern(
        "kvm", "KVM could not run its guest", r"KVM internal error", r"KVM: entry failed", r"error: kvm run failed"
    ),
    _pattern("triple-fault", "a processor shut down", r"[Tt]riple fault", r"3rd \(\d+\) exception with no resolution"),
    _pattern(
        "no-boot",
        "the BIOS found nothing to boot",
        r"No bootable device",
        r"Boot failed: ",
        r"[Cc]ould not read (?:from )?the boot disk",
        r"Operating system not found",
    ),
    _pattern("emulator", "the emulator gave up", r">>PANIC<<", r": Assertion .* failed\."),
)

_HINTS = (
    "BUG", "panic", "WARNING", "INFO: ", "Oops", "fault", "LOCKUP", "VFS: ", "opcode", "error", "segment", "UBSAN",
    "rss-counter", "emory", "oom", "init", "KVM", "exception", "boot", "Boot", "Operating", ">>PANIC<<", "Assertion",
)  # fmt: skip
"""Each pattern needs one of these words: a cheap look, for consoles of megabytes."""

END = re.compile(r"---\[ end (?:trace|Kernel panic)|Rebooting in \d+ seconds")
"""A line that ends a kernel's report: nothing more that explains it will come."""


class Matcher:
    """Looks for the first line that means failure."""

    def __init__(self) -> None:
        self.finding: Finding | None = None

    def feed(self, line: str) -> Finding | None:
        """Return what `line` says, if it is the first to say that the level is lost."""
        if self.finding or not any(hint in line for hint in _HINTS):
            return None
        for pattern in PATTERNS:
            if pattern.regex.search(line):
                self.finding = Finding(pattern.kind, pattern.says, line.strip())
                return self.finding
        return None
