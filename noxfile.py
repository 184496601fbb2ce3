# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2024.4.15"]
# ///
# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's jobs. `python3 noxfile.py -s test-nested` needs nothing but Python and apt: see `bootstrap`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def bootstrap() -> None:
    """Make a private environment for nox below .nox, and go on in it."""
    private = HERE / ".nox" / "bootstrap"
    python = private / "bin" / "python"
    if not (private / "done").exists():
        try:
            import ensurepip  # noqa: F401, PLC0415 - Debian packs it apart
            import venv  # noqa: PLC0415
        except ImportError:
            install_venv()
            os.execv(sys.executable, [sys.executable, __file__, *sys.argv[1:]])
        shutil.rmtree(private, ignore_errors=True)
        venv.create(private, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "nox>=2024.4.15"], check=True)
        (private / "done").touch()
    os.execv(python, [python, "-m", "nox", "--noxfile", __file__, *sys.argv[1:]])


def install_venv() -> None:
    """Install Debian's python3-venv, which the standard library's venv needs."""
    if os.environ.get("DVHBUILD_BOOTSTRAPPED"):
        sys.exit("noxfile.py: this Python has no ensurepip; install python3-venv, or nox, and run it again")
    os.environ["DVHBUILD_BOOTSTRAPPED"] = "1"
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if not shutil.which("apt-get") or (sudo and not shutil.which("sudo")):
        sys.exit("noxfile.py: this Python has no ensurepip; install python3-venv (apt-get as root), and run it again")
    print("noxfile.py: installing python3-venv")
    subprocess.run([*sudo, "apt-get", "-qq", "update"], check=True)
    install = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "--no-install-recommends"]
    subprocess.run([*install, "-y", "python3-venv"], check=True)


try:
    import nox
except ImportError:
    if __name__ != "__main__":
        raise
    bootstrap()

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "tests", "test-kvm", "test-nested", "test-machine"]
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = True

PATIENCE = {"interrupt_timeout": 30, "terminate_timeout": 10}
"""Seconds that an interrupted run may take to end its machines and builds."""

os.environ.setdefault("PYTHONFAULTHANDLER", "1")  # should Python itself crash, it says where

COMPONENTS = ["linux", "qemu", "bochs", "guest"]


def install(session: nox.Session, extra: str = "") -> None:
    session.install("-e", f".[{extra}]" if extra else ".", silent=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, the types and the patches; gets the patched trees' sources, if they are not there."""
    install(session, "lint,test")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("dvhbuild", "doctor", "--install")
    session.run("dvhbuild", "series", "check", **PATIENCE)


@nox.session
def bisectable(session: nox.Session) -> None:
    """Build Linux as of each patch of its series: no failure, no warning (W=1, sparse) that was not there before."""
    install(session)
    session.run("dvhbuild", "doctor", "--install", "--patches")
    session.run("dvhbuild", "series", "bisectable", **PATIENCE)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the unit tests: quick, no build, no network."""
    install(session, "test")
    session.run("dvhbuild", "doctor", "--install", "--patches")
    session.run("pytest", "-n", "auto", *(session.posargs or ["tests/unit"]))


@nox.session
@nox.parametrize("component", COMPONENTS, ids=COMPONENTS)
def build(session: nox.Session, component: str) -> None:
    """Build one component, or take it from the cache."""
    install(session)
    session.run("dvhbuild", "doctor", "--install")
    session.run("dvhbuild", "build", component, *session.posargs, **PATIENCE)


@nox.session(name="test-nested")
def test_nested(session: nox.Session) -> None:
    """Boot L0, L1 and L2 and count what each operation costs: -- [EXPERIMENT...] [--json FILE] [--fresh]."""
    install(session)
    session.run("dvhbuild", "doctor", "--install")
    session.run("dvhbuild", "verify", *session.posargs, **PATIENCE)


@nox.session(name="test-kvm")
def test_kvm(session: nox.Session) -> None:
    """Run the kernel's KVM selftests in L0: -- [TEST...] [--debug] [--list] [--fresh]."""
    install(session)
    session.run("dvhbuild", "doctor", "--install")
    session.run("dvhbuild", "test-kvm", *session.posargs, **PATIENCE)


@nox.session(name="test-qemu")
def test_qemu(session: nox.Session) -> None:
    """Run QEMU's qtests for x86 and a Linux whose MSIs are posted, without KVM: -- [TEST...] [--sanitize] [--list]."""
    install(session)
    session.run("dvhbuild", "doctor", "--install")
    session.run("dvhbuild", "test-qemu", *session.posargs, **PATIENCE)


@nox.session(name="test-machine")
def test_machine(session: nox.Session) -> None:
    """Test the bench on real nested guests: consoles, saved states, and each way to fail."""
    install(session, "test")
    session.run("dvhbuild", "doctor", "--install")
    options = ["-p", "no:randomly", "-n", "auto", "--dist", "loadfile"]  # a file's tests may share a machine
    session.run("pytest", *options, *(session.posargs or ["tests/nested"]), **PATIENCE)


if __name__ == "__main__":
    nox.main()
