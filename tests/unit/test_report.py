# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: what a page says, and that both its forms say it, whatever the result has and whatever it is called."""

from __future__ import annotations

import itertools
import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from test_result import PICTURE, RESULT, ROW

from dvhbuild import cli, report
from dvhbuild.report.data import mechanisms, paper
from dvhbuild.result import Base, Sequences, write
from dvhbuild.trace import Crossing
from dvhbuild.verdict import Bound, load_bounds

HOLDS = Bound(metric="instructions_p50", max=20_000, why="it should")
BROKEN = Bound(metric="lost", min=5, operation="cpuid", why="so many must be lost")
RELATIVE = Bound(metric="instructions_p50", config="on", relative_to="vm", max=1.5, why="it should")
TIMES, NONE = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
VOID = {"meta", "br", "hr", "img", "link", "input"}


def row(operation, config, level, p50, **changes):
    changes = {"instructions_p90": p50, "instructions_p99": p50, "instructions_max": p50, **changes}
    changes |= {"operation": operation, "config": config, "level": level, "instructions_p50": p50}
    return ROW.model_copy(update={"experiment": operation.split("-")[0], **changes})


def of(*rows, **changes):
    return RESULT.model_copy(update={"rows": rows, **changes})


IPIS = (
    row("ipi", "vm", 1, 1000.0, l0_exits_per_op=1, l1_entries_per_op=0),
    row("ipi", "off", 2, 15000.0, l0_exits_per_op=3, l1_entries_per_op=2),
    row("ipi", "on", 2, 1250.0, l0_exits_per_op=1, l1_entries_per_op=0),
)
TIMERS = tuple(
    row("timer-program", config, level, p50)
    for config, level, p50 in (("vm", 1, 1360.0), ("off", 2, 15504.0), ("on", 2, 979.2))
)
CALLS = (row("vmcall", "base", 1, 1100.0), row("vmcall", "base", 2, 16500.0))
ALL = of(*IPIS, *TIMERS, *CALLS)


class Outline(HTMLParser):
    """Checks that elements close in order; gathers text, headings, attributes, and tables as rows of cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text, self.tables, self.headings = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings.append(data)
        if self.open and self.open[-1] != "tr" and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    @property
    def said(self):
        return " ".join("".join(self.text).split())


def page(result=ALL, bounds=(HOLDS,)):
    return report.build(result, bounds)


def html(result=ALL, bounds=(HOLDS,)):
    return report.html(page(result, bounds))


def markdown(result=ALL, bounds=(HOLDS,)):
    return report.markdown(page(result, bounds))


def tables(text):
    """Tables of Markdown: each a list of lines, each a list of cells; a pipe after a backslash divides nothing."""
    found = []
    for is_table, lines in itertools.groupby(text.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            found.append([[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines])
    return found


def table(text, heading):
    """The first table below a heading."""
    return tables(text[text.index(f"## {heading}") :])[0]


# ---- what is said


def test_the_verdict_is_at_the_top():
    for text in (Outline(html()).said, markdown()):
        assert 0 <= text.index("✓ The only bound holds on 8 rows") < text.index("Each operation in a plain guest")
        assert "The tightest: vmcall at level 2 (base): instructions_p50 is 16,500, bound at most 20,000" in text


def test_a_bound_that_does_not_hold_is_named_at_the_top():
    for text in (Outline(html(RESULT, [HOLDS, BROKEN])).said, markdown(RESULT, [HOLDS, BROKEN])):
        assert "✗ 1 of 2 bounds does not hold" in text
        assert "✓" not in text
        assert "cpuid at level 2 (base): lost is 0, bound at least 5 (so many must be lost)" in text
        assert "All" not in text[: text.index("so many")]


def test_bounds_are_counted_and_not_what_they_are_held_against():
    assert "✓ All 2 bounds hold on 8 rows" in markdown(ALL, [HOLDS, HOLDS.model_copy(update={"max": 1e6})])


def test_a_verdict_about_nothing_is_none():
    for text in (Outline(html(bounds=[])).said, markdown(bounds=[])):
        assert "No bound is for what was measured here" in text
        assert "hold" not in text


def test_a_bound_that_cannot_be_held_against_it_is_told_and_the_others_hold():
    result = of(IPIS[2])
    for text in (Outline(html(result, [HOLDS, RELATIVE])).said, markdown(result, [HOLDS, RELATIVE])):
        assert "The only bound holds on 1 row" in text
        assert "1 could not be held against this result: ipi at level 1 (vm) was not measured" in text


def test_what_dvh_changes():
    (lines,) = [cells for cells in Outline(html()).tables if cells[0][-1] == "off ÷ on"]
    assert lines[2] == ["ipi", "1", "3", "1", "2", "0", "1,000", "15,000", "1,250", f"12.0{TIMES}"]
    assert len(lines) == 4
    assert [cells[0] for cells in lines[2:]] == ["ipi", "timer-program"]
    assert table(markdown(), "What DVH changes")[2] == ["`ipi`", *lines[2][1:]]


def test_an_operation_that_was_not_measured_without_dvh_has_a_dash():
    lines = table(markdown(of(IPIS[2])), "What DVH changes")
    assert lines[2] == ["`ipi`", NONE, NONE, "1", NONE, "0", NONE, NONE, "1,250", NONE]


def test_the_papers_figures():
    """design: 1,575 / 37,733 / 38,743; 4,984 / 48,390 / 13,815; 2,005 / 43,359 / 3,247; 3,273 / 39,456 / 5,116."""
    ratios = [
        (each.theirs.operation, round(each.paper_nested, 2), round(each.paper_dvh, 2)) for each in page().compared
    ]
    assert ratios == [("Hypercall", 23.96, 24.6), ("ProgramTimer", 21.63, 1.62), ("SendIPI", 12.05, 1.56)]
    assert [(each.vm, each.nested, each.dvh) for each in paper().row if each.operation == "DevNotify"] == [
        (4984, 48390, 13815)
    ]


def test_ours_stand_beside_the_papers_as_ratios_to_a_plain_guest():
    lines = table(markdown(), "Beside the paper's Table 3")
    assert lines[2:] == [
        ["Hypercall", "1,575", f"24.0{TIMES}", f"24.6{TIMES}", "1,100", f"15.0{TIMES}", NONE, "`vmcall`"],
        [
            "ProgramTimer",
            "2,005",
            f"21.6{TIMES}",
            f"1.62{TIMES}",
            "1,360",
            f"11.4{TIMES}",
            f"0.72{TIMES}",
            "`timer-program`",
        ],
        ["SendIPI", "3,273", f"12.1{TIMES}", f"1.56{TIMES}", "1,000", f"15.0{TIMES}", f"1.25{TIMES}", "`ipi`"],
    ]
    (ours,) = [cells for cells in Outline(html()).tables if cells[0][1:] == ["the paper", "here"]]
    assert ours[2:] == [[*cells[:-1], cells[-1].strip("`")] for cells in lines[2:]]


def test_the_caveat_stands_with_the_papers_figures_and_only_there():
    for text in (html(), markdown()):
        begin = text.index("How many times more an operation costs")
        assert "understate" in text[begin : text.index("All operations", begin)]
    assert "understate" not in html(RESULT) + markdown(RESULT)


@pytest.mark.parametrize(
    ("operations", "taken"),
    [(["doorbell-mmio"], "doorbell-mmio"), (["doorbell-mmio", "doorbell"], "doorbell"), (["doorbell"], "doorbell")],
)
def test_devnotify_is_the_doorbell_of_a_device_that_l2_is_given_if_there_is_one(operations, taken):
    rows = [row(name, config, level, 1000.0) for name in operations for config, level in (("vm", 1), ("off", 2))]
    assert [(each.theirs.operation, each.ours) for each in page(of(*rows)).compared] == [("DevNotify", taken)]


def test_what_of_the_papers_was_not_measured_is_said():
    assert "Of the paper's Table 3, these were not measured: DevNotify." in page().missing
    for text in (Outline(html()).said, markdown()):
        assert "these were not measured: DevNotify." in text


def test_figures_of_a_clock_that_counts_no_instructions_are_left_out():
    tcg = ALL.model_copy(update={"inputs": ALL.inputs.model_copy(update={"machine": "tcg"}), "idle": (), "tasks": ()})
    for text in (Outline(html(tcg, [])).said, markdown(tcg, [])):
        assert "does not count instructions" in text
        for absent in ("Table 3", "1,360", "p99", "off ÷ on", "distributed"):
            assert absent not in text
        assert "instructions" not in text.replace("does not count instructions", "")
        assert "What DVH changes" in text


def test_each_mechanism_is_shown_by_an_operation_with_its_pictures():
    sections = page().sections
    assert [section.mechanism.name for section in sections] == ["Virtual IPIs", "Virtual timers"]
    (shown,) = sections[0].pictures
    assert [(each.row.config, each.row.level) for each in shown.shown] == [("off", 2), ("on", 2)]
    assert shown.shown[0].together == IPIS[1:]
    assert [each.operation for each in page().others] == ["vmcall"]
    said = Outline(html()).said
    assert said.count("In words") == 5
    assert "Nested, without DVH: 2 exits to L0, 1 entry of L1; 20,480 instructions" in said
    assert "990 of 1,000 operations were this sequence" in said


def test_mechanisms_are_all_four():
    names = [mechanism.name for mechanism in mechanisms()]
    assert names == ["Virtual IPIs", "Virtual timers", "Virtual idle", "Virtual-passthrough"]
    assert [mechanism.operations for mechanism in mechanisms()] == [
        ("ipi",),
        ("timer-program", "timer-expiry"),
        ("halt-wake-ipi",),
        ("doorbell",),
    ]


def test_markdown_tells_what_pictures_show():
    assert "      848  vCPU 0: L2 exits: CPUID\n    7,904  vCPU 0: L0 enters L1\n" in markdown()


def test_operations_stand_together_whatever_the_order_in_which_they_were_measured():
    mixed = of(IPIS[0], TIMERS[0], IPIS[2], CALLS[0], IPIS[1], CALLS[1], TIMERS[1])
    assert [each.operation for each in page(mixed).rows] == ["ipi"] * 3 + ["timer-program"] * 2 + ["vmcall"] * 2
    assert [cells[0] for cells in table(markdown(mixed), "All operations")[2:]] == (
        ["`ipi`"] * 3 + ["`timer-program`"] * 2 + ["`vmcall`"] * 2
    )


def test_distributions_are_shown_and_listed():
    assert "15,744 (700), 15,760 (250)" in markdown(RESULT)
    said = html(RESULT)
    assert re.findall(r'<circle [^>]* r="([^"]*)"', said) == ["4.6", "2.8"]  # areas 70 % and 25 % of a whole one's
    assert "cpuid, base, L2: median 15,748, at most 99,999" in said


def test_other_exits_are_named():
    for text in (Outline(html(RESULT)).said, markdown(RESULT)):
        assert "3 EXTERNAL_INTERRUPT" in text


def test_what_a_transaction_of_a_workload_costs_is_shown():
    (lines,) = [cells for cells in Outline(html()).tables if cells[0][0] == "workload"]
    assert lines[1][:7] == ["tcp-rr", "on", "2", "1,000", "14.5", "0.040", "118,061"]
    assert lines[1][7].startswith("12,500 L2:HLT, 2,000 L2:MSR_WRITE, 4 L1:VMREAD")
    assert table(markdown(), "Workloads")[2] == ["`tcp-rr`", "`on`", *lines[1][2:7]]


def test_idle_levels_and_tasks_are_shown():
    said = html(RESULT)
    for words in ("exits to L0, on, L2: 2.5", "entries of L1, on, L2: 0.4", "instructions of L0, on, L2: 500"):
        assert words in said
    assert "linux-nap, off: median 10, at most 20" in said
    lines = tables(markdown(RESULT)[markdown(RESULT).index("## Idle levels") :])
    assert lines[0][2] == ["`on`", "2", "2.5", "0.4", "0", "500", "3", "10", "15 L2:HLT, 10 L2:MSR_WRITE"]
    assert lines[1][2] == ["`linux-nap`", "`off`", "50", "10", "20", "600"]


# ---- how to run it again


def test_the_commands_that_do_it_again():
    words = "--again cpuid idle-linux workloads --stack base-2cpu --machine bochs --ops 1000"
    assert page(RESULT).commands == (
        "git checkout ffb88a8",
        f"python3 noxfile.py -s test-nested -- {words}",
    )
    assert not page(RESULT).changed


@pytest.mark.parametrize(
    ("measured", "options"),
    [
        (["off"], " --config off"),
        (["dvh", "off"], " --config dvh --config off"),
        (["dvh", "on", "off"], ""),
        ([], ""),
    ],
)
def test_only_the_configurations_that_were_measured_are_again(measured, options):
    configs = {"off": {}, "on": {}, "dvh": {}}
    stack = {**RESULT.inputs.stack, "configs": configs, "measured": measured}
    (_, measure) = page(of(ROW, inputs=RESULT.inputs.model_copy(update={"stack": stack}))).commands
    assert measure.partition("--machine bochs")[2] == f"{options} --ops 1000"


def test_a_checkout_with_changes_and_sources_of_ones_own_are_in_the_commands():
    made_by = RESULT.made_by.model_copy(update={"commit": "ffb88a8-dirty"})
    bases = {
        "linux": Base(version="6.12.80", origin="user's git tree /my trees/linux"),
        "qemu": Base(version="10.0", origin="Debian, qemu.tar.xz"),
    }
    changed = of(
        made_by=made_by, inputs=RESULT.inputs.model_copy(update={"bases": bases}), idle=(), tasks=(), workloads=()
    )
    checkout, measure = page(changed).commands
    assert checkout == "git checkout ffb88a8"
    assert measure.startswith("DVHBUILD_LINUX='/my trees/linux' python3 noxfile.py -s test-nested -- --again --stack")
    for text in (html(changed), markdown(changed)):
        assert "The checkout had changes that no commit has." in text


def test_what_had_been_measured_before_is_said():
    date = RESULT.made_by.date
    known = RESULT.model_copy(update={"measured": (date, date - timedelta(days=1), date + timedelta(seconds=9))})
    for text in (Outline(html(known)).said, markdown(known)):
        assert "1 of 3 parts had been measured before, the first on 2025-11-23 19:00 UTC." in text
    assert "measured before" not in html() + markdown()


def test_all_that_made_it_is_there():
    inputs = RESULT.inputs.model_copy(update={"series": {"linux": ("a1", "b2", "c3")}})
    for text in (Outline(html(of(ROW, inputs=inputs))).said, markdown(of(ROW, inputs=inputs))):
        for words in ("6.12.117-1", "linux-source-6.12", "abc", "Some CPU", "12.5 seconds", '"cpus": 2', "c3"):
            assert words in text
    lines = table(markdown(of(ROW, inputs=inputs)), "What was run")
    assert lines[2] == ["linux", "6.12.117-1", "linux-source-6.12", "3", "c3"]


# ---- the forms


@pytest.mark.parametrize("absent", list(itertools.product([False, True], repeat=5)))
def test_a_result_that_lacks_something_has_no_section_for_it(absent):
    fields = ("rows", "idle", "tasks")
    update = {name: () for name, gone in zip(fields, absent, strict=False) if gone}
    lacking = RESULT.model_copy(update=update | ({"workloads": ()} if absent[4] else {}))
    if absent[3]:
        rows = [each.model_copy(update={"picture": None, "distribution": (), "foreign": {}}) for each in lacking.rows]
        lacking = lacking.model_copy(update={"rows": tuple(rows)})
    outline = Outline(html(lacking))
    headings = {
        "All operations": not absent[0],
        "How instructions are distributed": not absent[0],
        "One operation at a time": not (absent[0] or absent[3]),
        "What else happened meanwhile": not (absent[0] or absent[3]),
        "Idle levels, and L1\N{RIGHT SINGLE QUOTATION MARK}s own tasks": not (absent[1] and absent[2]),
        "Workloads": not absent[4],
        "How to run it again": True,
    }
    assert set(headings) & set(outline.headings) == {heading for heading, there in headings.items() if there}
    anchors = {attributes["href"] for tag, attributes in outline.seen if tag == "a"}
    assert anchors <= {f"#{attributes['id']}" for _, attributes in outline.seen if "id" in attributes}
    text = markdown(lacking)
    assert ("## All operations" in text) == (not absent[0])
    assert ("## Idle levels" in text) == (not (absent[1] and absent[2]))


def test_html_is_one_file_that_fetches_nothing():
    text = html(RESULT)
    fetching = {"script", "link", "img", "iframe", "object", "embed", "source", "base", "form", "image", "use"}
    for tag, attributes in Outline(text).seen:
        assert tag not in fetching
        assert not {"src", "srcset", "xlink:href", "action", "background"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?:", text)


def test_html_is_well_formed_and_its_pictures_are_xml():
    text = html(RESULT)
    Outline(text)
    assert text.startswith("<!doctype html>")
    pictures = re.findall(r"<svg .*?</svg>", text, re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        root = ET.fromstring(picture)
        assert root.get("role") == "img"
        assert root.get("aria-label")
    identifiers = re.findall(r' id="([^"]*)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_tables_have_as_many_cells_in_each_line():
    for lines in tables(markdown(RESULT)) + tables(markdown()):
        assert {len(cells) for cells in lines} == {len(lines[0])}
        assert all(re.fullmatch(r":?-+:?", cell) for cell in lines[1])


HOSTILE = "<script>alert(1)</script>&amp;|x`*_a_*`\n````\n[b](javascript:c)\"'"


def hostile():
    crossings = (*PICTURE.crossings[:1], Crossing(5, 0, "exit", 2, HOSTILE, "own"), *PICTURE.crossings[2:])
    bad = ROW.model_copy(
        update={
            **dict.fromkeys(("experiment", "operation", "config"), HOSTILE),
            "foreign": {HOSTILE: 3},
            "picture": PICTURE.__class__(0, (0,), 20480, crossings),
            "sequences": (Sequences(tokens=(HOSTILE,), count=1),),
        }
    )
    inputs = RESULT.inputs.model_copy(
        update={
            "bases": {HOSTILE: Base(version=HOSTILE, origin=f"user's file {HOSTILE}")},
            "series": {HOSTILE: (HOSTILE,)},
            "digests": {HOSTILE: HOSTILE},
            "stack": {"name": HOSTILE, "description": HOSTILE},
            "kernel_command_lines": (HOSTILE,),
            "host_cpu": HOSTILE,
        }
    )
    made_by = RESULT.made_by.model_copy(update={"commit": HOSTILE, "version": HOSTILE})
    idle = RESULT.idle[0].model_copy(update={"config": HOSTILE, "exits": {HOSTILE: 4}})
    task = RESULT.tasks[0].model_copy(update={"config": HOSTILE, "operation": HOSTILE})
    return of(bad, *IPIS, inputs=inputs, made_by=made_by, idle=(idle,), tasks=(task,))


def test_what_looks_like_html_is_text():
    bounds = [HOLDS, BROKEN.model_copy(update={"why": HOSTILE, "operation": HOSTILE})]
    outline = Outline(html(hostile(), bounds))
    assert not [tag for tag, _ in outline.seen if tag in ("script", "x")]
    assert outline.said.count("<script>alert(1)</script>&amp;|x`*_a_*`") >= 20
    for picture in re.findall(r"<svg .*?</svg>", html(hostile(), bounds), re.DOTALL):
        ET.fromstring(picture)


def test_what_looks_like_markdown_is_text():
    bounds = [HOLDS, BROKEN.model_copy(update={"why": HOSTILE, "operation": HOSTILE})]
    text = markdown(hostile(), bounds)
    for lines in tables(text):
        assert {len(cells) for cells in lines} == {len(lines[0])}
    seen = Outline(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    assert not [tag for tag, _ in seen.seen if tag in ("script", "x", "a")]
    assert seen.said.count("alert(1)") == text.count("alert(1)")
    assert seen.said.count(" ".join(HOSTILE.split())) == 29  # in JSON and for a shell it looks different


# ---- the command line


def run(*words):
    return CliRunner().invoke(cli.cli, [str(word) for word in words])


def test_a_report_is_written_beside_the_result(tmp_path):
    write(RESULT, tmp_path / "one.json")
    done = run("report", tmp_path / "one.json")
    assert (done.exit_code, done.output) == (0, f"report: {tmp_path}/one.html\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "one.json"]
    assert (tmp_path / "one.html").read_text() == html(RESULT, load_bounds())


def test_a_report_is_written_to_the_files_that_are_named(tmp_path):
    write(RESULT, tmp_path / "one.json")
    done = run("report", tmp_path / "one.json", "--markdown", tmp_path / "new" / "two.md")
    assert (done.exit_code, done.output) == (0, f"report: {tmp_path}/new/two.md\n")
    assert not (tmp_path / "one.html").exists()
    assert (tmp_path / "new" / "two.md").read_text() == markdown(RESULT, load_bounds())


def test_a_report_of_broken_bounds_is_no_failure(tmp_path):
    write(of(ROW.model_copy(update={"lost": 7})), tmp_path / "one.json")
    assert run("report", tmp_path / "one.json").exit_code == 0
    assert "lost is 7" in (tmp_path / "one.html").read_text()


def test_what_is_no_result_has_no_report(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps({"version": 1}))
    done = run("report", tmp_path / "one.json")
    assert done.exception.status == 2
    assert "not a result" in str(done.exception)
    assert not (tmp_path / "one.html").exists()
