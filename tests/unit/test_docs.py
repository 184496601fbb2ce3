# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that README and the documentation tell: each would be understood as it is written. Nothing is run."""

import ast
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from types import ModuleType, SimpleNamespace

import click
import pytest
from markdown_it import MarkdownIt

from dvhbuild import cli, iterate, qtests
from dvhbuild.bench import Job, cases
from dvhbuild.experiments import choose
from dvhbuild.selftests import load_plan
from dvhbuild.settings import ROOT
from dvhbuild.stack import load_stack

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUTSIDE = {"nox"}
"""Programs that none of our steps puts on the PATH."""

CHECKED = {"dvhbuild", "noxfile.py", "pytest", *OUTSIDE}


def snippets(tokens):
    """What is set as code: the text, and whether it is in a sentence, where a command may come without its words."""
    for token in tokens:
        if token.type == "code_inline":
            yield token.content, True
        elif token.type == "code_block" or (token.type == "fence" and token.info.split()[:1] == ["sh"]):
            yield token.content, False
        yield from snippets(token.children or ())


def commands(text):
    """The simple commands in `text`, as words, without assignments before them."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.wordchars += "$,:+%@{}^!"
        words = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                yield words
                words = []
            elif words or not re.match(r"\w+=", word):
                words.append(word)


def told(page):
    """The commands on a page that are to be checked."""
    for text, inline in snippets(MarkdownIt("commonmark").parse(page.read_text())):
        if not any(name in text for name in CHECKED):
            continue
        for words in commands(text):
            program, *rest = words[1:] if words[:1] == ["python3"] else words or [""]
            if program in CHECKED and (rest or not inline):
                yield program, rest, inline


def check(program, words, inline=False):
    """Raise what is wrong with a command."""
    assert program not in OUTSIDE, f"{program}: nobody has it on his PATH: python3 noxfile.py"
    {"dvhbuild": check_dvhbuild, "noxfile.py": check_noxfile, "pytest": check_pytest}[program](words, inline)


def check_dvhbuild(words, inline=False):
    command, context = cli.cli, click.Context(cli.cli, info_name="dvhbuild")
    while isinstance(command, click.Group) and words:
        _, words, _ = command.make_parser(context).parse_args(list(words))
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context, info_name=name)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for parameter in command.params:
                if isinstance(parameter.type, click.Path):
                    patch.setattr(parameter.type, "exists", False)  # it is the reader's
            command.parse_args(context, list(words))
    except click.MissingParameter:
        assert inline
        return
    check_names(command.name, context.params)


def check_names(command, given):
    """Raise what is wrong with the experiments, the stack, the configurations, or the tests that are named."""
    if "stack_name" in given:
        stack = load_stack(given["stack_name"], machine=given.get("machine"))
        if command == "boot":
            assert given["levels"] < len(stack.levels)
            return
        stack = stack.narrowed(given["configs"])
        job = (stack, choose(given["experiments"], stack), given["ops"])
        _ = cases(Job(*job)) if command == "verify" else iterate.plan(*job)
    elif command in ("test-kvm", "test-qemu"):
        plan = load_plan(qtests.LIST) if command == "test-qemu" else load_plan()
        known = (*plan.tests, "posted-msi")
        assert [test for test in given["tests"] if not any(fnmatch(test, pattern) for pattern in known)] == []


def check_noxfile(words, inline=False):
    sessions, usual = noxfile()
    end = words.index("--") if "--" in words else len(words)
    flag, *names = words[:end] or ["-s", *usual]
    assert flag == "-s"
    for name in names:
        assert name in sessions, f"{name}: no such session"
        session = FakeSession(words[end + 1 :])
        sessions[name](session)
        for program, *rest in session.ran:
            if program in CHECKED:
                check(program, rest)


@dataclass
class FakeSession:
    posargs: list[str]
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def install(self, *_, **__): ...

    def run(self, *argv, **_):
        self.ran.append(argv)


def noxfile():
    """The sessions of noxfile.py by name, and the names of those that it has by default."""
    sessions = {}

    def session(function=None, *, name=None):
        if function is None:
            return lambda function: session(function, name=name)
        sessions[name or function.__name__] = function
        return function

    nox = ModuleType("nox")
    nox.session, nox.options = session, SimpleNamespace()
    nox.parametrize = lambda *_, **__: lambda function: function
    nox.Session = object
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "nox", nox)
        runpy.run_path(str(ROOT / "noxfile.py"))
    return sessions, nox.options.sessions


def check_pytest(words, inline=False):
    """pytest's own options aside, the words are files or directories, and perhaps a test of theirs."""
    for word in words:
        if "/" in word:
            path, _, test = word.partition("::")
            assert (ROOT / path).exists(), f"{path}: no such file"
            if test:
                names = [node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")]
                assert test.split("[")[0].split("::")[-1] in names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_are_understood(page):
    for program, words, inline in told(page):
        try:
            check(program, words, inline)
        except Exception as error:
            raise AssertionError(f"{page}: {program} {shlex.join(words)}: {error!r}") from error


def test_the_patches_that_guides_apply_here_do():
    """Those to a Linux tree are seen when the guides are followed (tests/nested/test_guides.py)."""
    texts = [text for page in PAGES for text, _ in snippets(MarkdownIt("commonmark").parse(page.read_text()))]
    patches = [match for text in texts for match in re.findall(r"^git apply (\S+)$", text, re.MULTILINE)]
    assert patches
    for patch in patches:
        subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, check=True)


@pytest.mark.parametrize("program", ["dvhbuild", "noxfile.py"])
def test_there_are_commands_to_check(program):
    assert len([words for page in PAGES for found, words, _ in told(page) if found == program]) > 10


@pytest.mark.parametrize(
    "text",
    [
        "nox -s lint",
        "dvhbuild no-such",
        "dvhbuild --no-such clean",
        "dvhbuild verify --no-such",
        "dvhbuild verify no-such",
        "dvhbuild verify --stack no-such",
        "dvhbuild verify ipi --config no-such",
        "dvhbuild verify port --config dvh",
        "dvhbuild verify --ops 0",
        "dvhbuild verify --machine no-such",
        "dvhbuild verify --json",
        "dvhbuild iterate workloads",
        "dvhbuild boot --levels 7",
        "dvhbuild build no-such",
        "dvhbuild series no-such",
        "dvhbuild series checkout no-such there",
        "dvhbuild series export linux",
        "DVHBUILD_LINUX=~/linux dvhbuild report",
        "dvhbuild test-kvm no-such",
        "dvhbuild test-qemu --debug",
        "cd there && dvhbuild -v clean --no-such",
        "python3 noxfile.py -s no-such",
        "python3 noxfile.py lint",
        "python3 noxfile.py -s test-nested -- no-such",
        "python3 noxfile.py -s test-kvm -- --sanitize",
        "python3 noxfile.py -s test-machine -- tests/nested/test_no_such.py",
        "pytest tests/no_such",
        "pytest tests/unit/test_docs.py::test_no_such",
    ],
)
def test_a_command_that_is_wrong_is_noticed(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(f"Do\n\n```sh\n{text}    # isn't it right?\n```\n")
    ((program, words, inline),) = told(page)
    with pytest.raises((AssertionError, click.UsageError, ValueError)):
        check(program, words, inline)


def test_commands_in_a_sentence_may_be_named_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "`dvhbuild series\nexport` of `dvhbuild` is in `dvhbuild/x.py`, not in `.nox`: `dvhbuild verify --no`"
    )
    good, bad = told(page)
    check(*good)
    with pytest.raises(click.UsageError):
        check(*bad)
