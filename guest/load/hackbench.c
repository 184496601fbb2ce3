// SPDX-License-Identifier: GPL-2.0-or-later
/* A scheduler stress after the manner of hackbench, but each message goes to the other CPU: the scheduler spares IPIs. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

static void exchange(int in, int out, unsigned int loops, bool first)
{
	char token = 0;

	for (unsigned int i = 0; i < loops; i++) {
		if (first && write(out, &token, 1) != 1)
			die("write: %m");
		if (read(in, &token, 1) != 1)
			die("read: %m");
		if (!first && write(out, &token, 1) != 1)
			die("write: %m");
	}
}

static pid_t start(int cpu, int in, int out, unsigned int loops, bool first)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %m");
	if (!pid) {
		pin(cpu);
		exchange(in, out, loops, first);
		_exit(0);
	}
	return pid;
}

void exchange_between_cpus(unsigned int pairs, unsigned int loops)
{
	pid_t pids[2 * pairs];
	int status;

	for (unsigned int i = 0; i < pairs; i++) {
		int there[2], back[2];

		if (pipe(there) || pipe(back))
			die("pipe: %m");
		pids[2 * i] = start(0, back[0], there[1], loops, true);
		pids[2 * i + 1] = start(1, there[0], back[1], loops, false);
		close(there[0]);
		close(there[1]);
		close(back[0]);
		close(back[1]);
	}
	for (unsigned int i = 0; i < 2 * pairs; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			die("a process failed: status %#x", status);
}

void hackbench(unsigned int pairs, unsigned int loops)
{
	exchange_between_cpus(pairs, loops);
	printf("hackbench: %u pairs, %u messages each\n", pairs, 2 * loops);
}
