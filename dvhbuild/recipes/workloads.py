# SPDX-License-Identifier: GPL-2.0-or-later
"""What the workloads run, of Debian's packages: programs, Apache's module and configuration, the page it serves."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.packages import Packages
from dvhbuild.process import output, run
from dvhbuild.recipes import programs
from dvhbuild.recipes.common import recipe_digest
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_text

PACKAGES = ("rt-tests", "netperf", "memcached", "apache2-bin", "apache2-utils")
PROGRAMS = ("bin/hackbench", "bin/netserver", "bin/netperf", "bin/memcached", "sbin/apache2", "bin/ab")
MODULES = ("mod_mpm_event.so", "mod_authz_core.so")

WHERE = "/dvh/workloads"
"""Where the guests have it."""

CLOCKS = {"bin/hackbench": "hackbench-clock.so", "bin/netperf": "client-clock.so", "bin/ab": "client-clock.so"}
"""What is preloaded to say when transactions begin and end: guest/load."""

PAGE_SIZE = 4096
"""Bytes of the page."""

_APACHE = f"""\
ServerName guest
ServerRoot {WHERE}
PidFile /run/apache2.pid
ErrorLog /run/apache2.log
DocumentRoot {WHERE}/htdocs
LoadModule mpm_event_module {WHERE}/mod_mpm_event.so
LoadModule authz_core_module {WHERE}/mod_authz_core.so
Listen 80
User www-data
Group www-data
# Two processes from the start to the end, whatever the load: none is started while something is measured.
StartServers 2
ServerLimit 2
ThreadsPerChild 8
MaxRequestWorkers 16
MinSpareThreads 1
MaxSpareThreads 16
"""


@dataclass(frozen=True)
class WorkloadsRecipe:
    """PROGRAMS of `packages`, which bring their own loader and libraries."""

    packages: Packages
    name: str = "workloads"

    def inputs(self) -> Mapping[str, str]:
        files = "".join(f"{name} {digest}\n" for name, digest in sorted(self.packages.files.items()))
        return {"packages": digest_text(files), "recipe": recipe_digest(__file__, programs.__file__)}

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/workloads, which guests have as WHERE, and `out`/bin with a script for each program."""
        log = settings.logs / "build-workloads.log"
        tree, made = out / "tree", out / "workloads"
        (made / "htdocs").mkdir(parents=True)
        (out / "bin").mkdir()
        with step(settings.reporter, "unpack what the workloads run", log):
            for path in self.packages.paths:
                run(["dpkg-deb", "--extract", path, tree], reporter=settings.reporter, log=log)
        for program in PROGRAMS:
            found = parts(tree, tree / "usr" / program, settings)
            programs.copy(found, made)
            options = ("--preload", f"{WHERE}/{CLOCKS[program]}") if program in CLOCKS else ()
            programs.write_script(out / program.replace("sbin", "bin"), found[0], found, WHERE, *options)
        programs.copy((tree / "usr/lib/apache2/modules" / name for name in MODULES), made)
        (made / "apache2.conf").write_text(_APACHE)
        (made / "htdocs/page").write_bytes(page())
        shutil.rmtree(tree)


def page() -> bytes:
    """What Apache serves: lines of text, no two of them alike."""
    return b"".join(b"line %10d\n" % number for number in range(PAGE_SIZE // 16))


def parts(tree: Path, program: Path, settings: Settings) -> tuple[Path, ...]:
    """`program`, its loader and libraries, all of them from `tree`; raises HostError if one is missing."""
    loader = next((path for path in tree.rglob("ld-linux-x86-64.so.2") if not path.is_symlink()), None)
    if not loader or not program.is_file():
        raise HostError(f"{program.name if loader else 'the loader'}: not in the packages {', '.join(PACKAGES)}")
    where = ":".join(str(tree / part / "lib/x86_64-linux-gnu") for part in (".", "usr"))
    said = output([loader, "--library-path", where, "--list", program], reporter=settings.reporter)
    found = programs.libraries(program, said, "see what the packages depend on")
    for path in found:
        if not path.is_relative_to(tree):
            raise HostError(f"{program.name}: {path.name} is not in the packages, but on this machine")
    return (program, *found)
