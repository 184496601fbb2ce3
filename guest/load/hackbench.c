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

static pid_t start(int in, int out, unsigned int loops, bool first)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %m");
	if (!pid) {
		exchange(in, out, loops, first);
		_exit(0);
	}
	return pid;
}

void hackbench(unsigned int pairs, unsigned int loops)
{
	int status;

	for (unsigned int i = 0; i < pairs; i++) {
		int there[2], back[2];

		if (pipe(there) || pipe(back))
			die("pipe: %m");
		pin(0);
		start(back[0], there[1], loops, true);
		pin(1);
		start(there[0], back[1], loops, false);
		close(there[0]);
		close(there[1]);
		close(back[0]);
		close(back[1]);
	}
	for (unsigned int i = 0; i < 2 * pairs; i++)
		if (wait(&status) < 0 || status)
			die("a process failed: status %#x", status);
	printf("hackbench: %u pairs, %u messages each\n", pairs, 2 * loops);
}
