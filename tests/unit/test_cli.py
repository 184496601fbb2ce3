# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: help with examples, and each kind of failure with its line and its exit status."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from minitree import commit, git

from dvhbuild import cli
from dvhbuild.errors import GuestError, HostError, UserError, VerdictError
from dvhbuild.locks import free
from dvhbuild.settings import Settings
from dvhbuild.store import Store

RUN = [sys.executable, "-m", "dvhbuild"]


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "DVHBUILD_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}


def dvhbuild(environ, *words):
    return subprocess.run([*RUN, *words], env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_help_has_examples():
    help_text = CliRunner().invoke(cli.cli, ["--help"]).output
    assert "dvhbuild doctor --install" in help_text
    for command in ("doctor", "sources", "series", "build", "boot", "verify", "compare", "report", "clean"):
        assert CliRunner().invoke(cli.cli, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("bad"), 2),
        (HostError("bad"), 3),
        (GuestError("bad", level=1, tail=("last words",)), 4),
        (VerdictError("bad"), 1),
        (OSError(28, "bad", "dvhbuild"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_failure_has_its_status(monkeypatch, capsys, error, status):
    def fail(**_options):
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == status
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert ("dvhbuild: bad" in said) == (status != 130)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["verify", "no-such"], "no-such: no such experiment"),
        (["verify", "--stack", "no-such"], "no-such.toml: no such stack"),
        (["verify", "--compare", "/no/such.json"], "/no/such.json"),
        (["compare", "/no/such.json", "/no/such.json"], "/no/such.json"),
        (["boot", "--levels", "7"], "--levels 7: the stack base-2cpu ends at L2"),
        (["build", "no-such"], "no-such"),
        (["--no-such"], "no-such"),
    ],
)
def test_bad_input_is_one_line_and_status_2(environ, words, says):
    done = dvhbuild(environ, *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_does_not_exist_is_the_users_error(environ):
    done = dvhbuild({**environ, "DVHBUILD_LINUX": "/no/such/tree"}, "build", "linux")
    assert (done.returncode, "DVHBUILD_LINUX=/no/such/tree: no such file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("command", "path", "program"),
    [
        (RUN, "", shlex.join(RUN)),
        (["bin of mine/dvhbuild"], "", "'bin of mine/dvhbuild'"),
        (["dvhbuild"], "bin of mine", "dvhbuild"),
    ],
)
def test_the_line_that_repeats_a_failure_does(tmp_path, environ, command, path, program):
    script = tmp_path / "bin of mine" / "dvhbuild"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom dvhbuild.start import main\nmain()\n")
    script.chmod(0o755)
    here = {**environ, "PATH": f"{tmp_path / path}:{environ['PATH']}" if path else environ["PATH"]}
    there = {
        **here,
        "DVHBUILD_LINUX": "no such tree",
        "DVHBUILD_CACHE": str(tmp_path / "it's mine"),
        "DVHBUILD_QEMU": "",
    }
    words = shlex.join([*command, "build", "linux"])
    first = subprocess.run(words, shell=True, env=there, cwd=tmp_path, capture_output=True, text=True, check=False)
    (again,) = [line.partition("again: ")[2] for line in first.stderr.splitlines() if "again: " in line]
    assert again.endswith(f"{tmp_path}/it'\"'\"'s mine' DVHBUILD_LINUX='no such tree' {program} build linux")
    del here["DVHBUILD_CACHE"]
    second = subprocess.run(again, shell=True, env=here, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr) == (first.returncode, first.stderr)
    assert "DVHBUILD_LINUX=no such tree: no such file" in second.stderr


def test_series_status_for_programs(environ):
    done = dvhbuild(environ, "series", "status", "--json")
    assert {row["base"] for row in json.loads(done.stdout)} == {"linux", "qemu", "bochs"}


def test_series_status_of_a_checkout(edited):
    _, second, _ = git("rev-list", "--reverse", "refs/dvh/base..HEAD", cwd=edited).split()
    git("reset", "-q", "--hard", second, cwd=edited)
    (edited / "new/file.c").write_text("y\n")
    git("commit", "-qa", "--amend", "--no-edit", cwd=edited)
    commit(edited, "mine", src_main_c=("line 1\n", "one\n"))
    (edited / "VERSION").write_text("changed\n")
    said = CliRunner().invoke(cli.cli, ["series", "status", str(edited)]).stdout
    assert [line.split() for line in said.splitlines()] == [
        ["unchanged", "0001-dit-line-five.patch"],
        ["edited", "0002-add-a-file-whose-subject-is-so-long-that-the-header-.patch"],
        ["added", "0003-mine.patch"],
        ["removed", "0003-edit-two.patch"],
        ["uncommitted", "VERSION"],
    ]
    found = json.loads(CliRunner().invoke(cli.cli, ["series", "status", str(edited), "--json"]).stdout)
    assert (found["base"], found["version"], found["removed"]) == ("tiny", "1.2.3", ["0003-edit-two.patch"])


def test_series_status_of_another_directory_is_the_users_error(environ, tmp_path):
    done = dvhbuild(environ, "series", "status", str(tmp_path))
    assert (done.returncode, f"{tmp_path}: not a checkout of ours" in done.stderr) == (2, True)
    assert "dvhbuild series checkout" in done.stderr


def test_clean_removes_what_was_built_and_keeps_downloads(environ, tmp_path):
    for name in ("store", "downloads"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    assert dvhbuild(environ, "clean").returncode == 0
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["downloads"]
    assert dvhbuild(environ, "clean", "--all").returncode == 0
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_half_result_and_no_lock(tmp_path, sign):
    store = Store(Settings(root=tmp_path, cache=tmp_path))
    script = (
        "import sys, time; from pathlib import Path; from dvhbuild import cli, settings, store\n"
        "class Slow:\n"
        "    name = 'slow'\n"
        "    def inputs(self): return {}\n"
        "    def build(self, out, settings): (out / 'half').touch(); print(flush=True); time.sleep(60)\n"
        "here = Path(sys.argv[1])\n"
        "cli.cli.main = lambda **_: store.Store(settings.Settings(root=here, cache=here)).obtain(Slow())\n"
        "cli.main()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE) as ours:
        ours.stdout.readline()
        (lock,) = (tmp_path / "locks").iterdir()
        with free(store.settings, lock.stem) as ours_now:
            assert not ours_now
        ours.send_signal(sign)
        assert ours.wait(20) == 130
    assert list(store.root.iterdir()) == []
    with free(store.settings, lock.stem) as ours_now:
        assert ours_now


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_its_children(tmp_path, sign):
    script = (
        "import sys; from dvhbuild import cli, process; from dvhbuild.steps import Silent\n"
        "def slow(**_):\n"
        "    with process.running(['sleep', '60'], reporter=Silent()) as child:\n"
        "        print(child.pid, flush=True); child.wait()\n"
        "cli.cli.main = slow; cli.main()\n"
    )
    ours = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child = int(ours.stdout.readline())
    ours.send_signal(sign)
    said = ours.communicate(timeout=20)[1]
    assert ours.returncode == 130
    assert said.strip() == "dvhbuild: interrupted"
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_while_it_is_imported(tmp_path, environ, sign):
    (tmp_path / "click.py").write_text("import time; print(flush=True); time.sleep(30)")
    environ |= {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(RUN, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ours:
        ours.stdout.readline()
        ours.send_signal(sign)
        said = ours.communicate(timeout=20)[1]
    assert (ours.returncode, said) == (130, "dvhbuild: interrupted\n")


def test_what_takes_long_to_import_is_imported_when_it_is_needed():
    script = "import sys; from dvhbuild import cli; print({'distributed', 'watchfiles'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("sign", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_it_was_started_to_ignore_does_not_end_it(sign):
    script = (
        f"import os; from dvhbuild import cli, start; cli.cli.main = lambda **_: os.kill(os.getpid(), {sign})\n"
        "start.main()\n"
    )
    command = [sys.executable, "-c", script]
    for started, status in ((["env", f"--ignore-signal={sign.name}"], 0), ([], 130)):
        assert subprocess.run([*started, *command], check=False, capture_output=True).returncode == status
