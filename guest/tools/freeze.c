// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stop every thread of a VM's process, so that no vCPU is in KVM_RUN while counters are read and tracing is switched.
 *
 * ptrace rather than SIGSTOP: the stop of each thread is waited for instead of polled, the process's parent (a shell
 * with job control, say) hears nothing of it, and if this program dies the kernel lets the VM go on by itself.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "freeze.h"
#include "util.h"

#define DEADLINE 30 /* seconds of this level's time */

static void too_late(int sign)
{
	static const char text[] = "kvmwindow: the VM's threads did not stop\n";

	(void)sign;
	(void)!write(2, text, sizeof(text) - 1);
	_exit(1);
}

static int known(const struct frozen *frozen, pid_t tid)
{
	int i;

	for (i = 0; i < frozen->count; i++)
		if (frozen->tids[i] == tid)
			return 1;
	return 0;
}

static void stop_one(struct frozen *frozen, pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0)) {
		if (errno == ESRCH) /* ended since we saw it */
			return;
		die_errno("cannot stop thread %d", tid);
	}
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) && errno != ESRCH)
		die_errno("cannot stop thread %d", tid);
	if (waitpid(tid, &status, __WALL) != tid)
		die_errno("thread %d", tid);
	if (!WIFSTOPPED(status))
		return;
	if (frozen->count == MAX_THREADS)
		die("process %d has more than %d threads", frozen->pid, MAX_THREADS);
	frozen->tids[frozen->count++] = tid;
}

/* Returns how many threads were new: a thread that still ran may have started another one. */
static int stop_new(struct frozen *frozen)
{
	int before = frozen->count;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", frozen->pid);
	dir = opendir(path);
	if (!dir)
		die_errno("%s", path);
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid && !known(frozen, tid))
			stop_one(frozen, tid);
	}
	closedir(dir);
	return frozen->count - before;
}

void freeze(struct frozen *frozen, pid_t pid)
{
	frozen->pid = pid;
	frozen->count = 0;
	signal(SIGALRM, too_late);
	alarm(DEADLINE);
	while (stop_new(frozen))
		;
	alarm(0);
	if (!frozen->count)
		die("process %d has no threads", pid);
}

void thaw(struct frozen *frozen)
{
	int i;

	for (i = 0; i < frozen->count; i++)
		ptrace(PTRACE_DETACH, frozen->tids[i], 0, 0);
}
