// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kvmwindow: what KVM at this level counted and traced of one VM between two moments.
 *
 * The VM's process is frozen while counters are read and tracing is switched, so that what was counted in the window
 * and what was traced in it are equal, not nearly equal. One call does all of it: under emulation each exec counts.
 *
 * A snapshot is lines of text: "kvmwindow 1 COMMAND pid N tsc N", then "vcpuN NAME VALUE" and "debugfs NAME VALUE", and
 * "done LINES" at the end, by which a reader sees that none was lost on the way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cut.h"
#include "freeze.h"
#include "stats.h"
#include "tracefs.h"
#include "util.h"

static const char usage[] =
	"usage: kvmwindow stat PID             print the counters of the VM of process PID\n"
	"       kvmwindow begin PID [KIB]      open a window: print the counters; with KIB, trace into KIB per CPU\n"
	"       kvmwindow end PID [FILE]       close it: print the counters; with FILE, cut the trace into FILE\n"
	"       kvmwindow serve                do all that, a line of standard input each, and besides\n"
	"                 hold PID             print the counters and keep the VM frozen\n"
	"                 release              until this\n";

static struct frozen held;

static void snapshot(const char *command, pid_t pid)
{
	printf("kvmwindow 1 %s pid %d tsc %llu\n", command, pid, (unsigned long long)rdtsc());
	printf("done %d\n", print_stats(pid));
}

static void begin(pid_t pid, unsigned int kilobytes)
{
	struct frozen frozen;

	if (kilobytes)
		trace_prepare(kilobytes);
	freeze(&frozen, pid);
	snapshot("begin", pid);
	if (kilobytes)
		trace_on();
	thaw(&frozen);
}

static void end(pid_t pid, const char *file)
{
	struct frozen frozen;

	freeze(&frozen, pid);
	if (file)
		trace_off();
	snapshot("end", pid);
	thaw(&frozen);
	if (file) {
		trace_finish();
		cut(&frozen, file);
	}
}

/* Returns 0 if there is no such command. */
static int perform(const char *command, pid_t pid, const char *more)
{
	if (pid <= 0)
		return 0;
	if (!strcmp(command, "stat") && !more)
		snapshot("stat", pid);
	else if (!strcmp(command, "begin") && (!more || atoi(more) > 0))
		begin(pid, more ? atoi(more) : 0);
	else if (!strcmp(command, "end"))
		end(pid, more);
	else
		return 0;
	return 1;
}

static int perform_held(const char *command, pid_t pid)
{
	if (!strcmp(command, "hold") && pid > 0 && !held.count) {
		freeze(&held, pid);
		snapshot("hold", pid);
	} else if (!strcmp(command, "release") && held.count) {
		thaw(&held);
		held.count = 0;
		printf("kvmwindow 1 release\n");
	} else {
		return 0;
	}
	return 1;
}

/* A program that is started for each of a thousand windows costs a guest more than what it does there. */
static void serve(void)
{
	static char line[4096], command[16], more[4000];

	while (fgets(line, sizeof(line), stdin)) {
		int pid = 0, words = sscanf(line, "%15s %d %3999s", command, &pid, more);

		line[strcspn(line, "\n")] = 0;
		if (words < 1 || !(perform_held(command, pid) || perform(command, pid, words > 2 ? more : NULL)))
			die("no such command: %s", line);
		if (fflush(stdout))
			die_errno("standard output");
	}
}

int main(int argc, char **argv)
{
	static char text[64 * 1024];

	/* Nothing is printed before the VM runs again: standard output may be a slow line. */
	setvbuf(stdout, text, _IOFBF, sizeof(text));
	if (argc == 2 && !strcmp(argv[1], "serve")) {
		serve();
	} else if (argc < 3 || argc > 4 || !perform(argv[1], atoi(argv[2]), argv[3])) {
		fputs(usage, stderr);
		return 2;
	}
	if (fflush(stdout))
		die_errno("standard output");
	return 0;
}
