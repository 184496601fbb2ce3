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
	"       kvmwindow end PID [FILE]       close it: print the counters; with FILE, cut the trace into FILE\n";

static void snapshot(const char *command, pid_t pid)
{
	printf("kvmwindow 1 %s pid %d tsc %llu\n", command, pid, (unsigned long long)rdtsc());
	printf("done %d\n", print_stats(pid));
}

static void begin(struct frozen *frozen, pid_t pid, unsigned int kilobytes)
{
	if (kilobytes)
		trace_prepare(kilobytes);
	freeze(frozen, pid);
	snapshot("begin", pid);
	if (kilobytes)
		trace_on();
	thaw(frozen);
}

static void end(struct frozen *frozen, pid_t pid, const char *file)
{
	freeze(frozen, pid);
	if (file)
		trace_off();
	snapshot("end", pid);
	thaw(frozen);
	if (file) {
		trace_finish();
		cut(frozen, file);
	}
}

int main(int argc, char **argv)
{
	static struct frozen frozen;
	static char text[64 * 1024];
	const char *command = argc > 1 ? argv[1] : "", *more = argc > 3 ? argv[3] : NULL;
	pid_t pid = argc > 2 ? atoi(argv[2]) : 0;

	if (pid <= 0 || argc > 4) {
		fputs(usage, stderr);
		return 2;
	}
	/* Nothing is printed before the VM runs again: standard output may be a slow line. */
	setvbuf(stdout, text, _IOFBF, sizeof(text));
	if (!strcmp(command, "stat") && !more) {
		snapshot("stat", pid);
	} else if (!strcmp(command, "begin") && (!more || atoi(more) > 0)) {
		begin(&frozen, pid, more ? atoi(more) : 0);
	} else if (!strcmp(command, "end")) {
		end(&frozen, pid, more);
	} else {
		fputs(usage, stderr);
		return 2;
	}
	if (fflush(stdout))
		die_errno("standard output");
	return 0;
}
