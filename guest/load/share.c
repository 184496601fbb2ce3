// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A task among others on CPU 0: how far it gets, and how late it is when it wakes up. An ordinary one, no real-time
 * task: whatever else has that CPU goes by the scheduler's rules.
 */
#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { CPU = 0, OTHER_CPU = 1, CHUNK = 1000 };

/* Three ticks of a CPU at HZ=250: whoever has it has gone to sleep, and the tick has stopped. */
enum { PAUSE = 12000000 /* ns */ };

static void sleep_till(int64_t wake)
{
	struct timespec until = { .tv_sec = wake / SECOND, .tv_nsec = wake % SECOND };
	int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);

	if (error)
		die("clock_nanosleep: %s", strerror(error));
}

void spin_for(uint64_t milliseconds)
{
	int64_t end;
	uint64_t loops = 0, tsc;

	pin(CPU);
	end = now() + (int64_t)milliseconds * 1000000;
	tsc = rdtsc();
	while (now() < end) {
		for (unsigned int i = 0; i < CHUNK; i++)
			__asm__ volatile("");
		loops += CHUNK;
	}
	report_total("linux-spin", loops, rdtsc() - tsc);
}

void wake_by_timer(uint64_t count)
{
	uint64_t *late = results_of(count), early = 0;
	struct clocks begin;

	pin(CPU);
	begin = read_clocks();
	for (uint64_t i = 0; i < count; i++) {
		int64_t wake = now() + PAUSE, woken;

		sleep_till(wake);
		woken = now();
		early += woken < wake;
		late[i] = woken < wake ? 0 : (uint64_t)(woken - wake);
	}
	to_ticks(late, count, &begin);
	report("linux-nap", late, count, early);
	free(late);
}

static void write_times(int pipe, uint64_t count)
{
	int64_t time;

	pin(OTHER_CPU);
	for (uint64_t i = 0; i < count; i++) {
		sleep_till(now() + PAUSE);
		time = now();
		if (write(pipe, &time, sizeof(time)) != sizeof(time))
			die("write: %m");
	}
}

void wake_by_pipe(uint64_t count)
{
	uint64_t *late = results_of(count);
	struct clocks begin = read_clocks();
	int ends[2], status;
	pid_t writer;
	int64_t time;

	if (pipe(ends))
		die("pipe: %m");
	writer = fork();
	if (writer < 0)
		die("fork: %m");
	if (!writer) {
		write_times(ends[1], count);
		_exit(0);
	}
	close(ends[1]);
	pin(CPU);
	for (uint64_t i = 0; i < count; i++) {
		if (read(ends[0], &time, sizeof(time)) != sizeof(time))
			die("read: %m");
		late[i] = (uint64_t)(now() - time);
	}
	if (waitpid(writer, &status, 0) != writer || status)
		die("the writer failed: status %#x", status);
	to_ticks(late, count, &begin);
	report("linux-pipe", late, count, 0);
	free(late);
}

void move_batch(uint64_t count)
{
	struct sched_param parameters = { .sched_priority = 0 };
	uint64_t *late = results_of(count);
	struct clocks begin = read_clocks();

	if (sched_setscheduler(0, SCHED_BATCH, &parameters))
		die("SCHED_BATCH: %m");
	for (uint64_t i = 0; i < count; i++) {
		int64_t moved;

		pin(OTHER_CPU);
		sleep_till(now() + PAUSE);
		moved = now();
		pin(CPU);
		late[i] = (uint64_t)(now() - moved);
	}
	to_ticks(late, count, &begin);
	report("linux-batch", late, count, 0);
	free(late);
}

void wait_for_readers(uint64_t count)
{
	uint64_t *took = results_of(count);

	pin(OTHER_CPU);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t tsc = rdtsc();

		if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
			die("membarrier: %m");
		took[i] = rdtsc() - tsc;
	}
	report("linux-rcu", took, count, 0);
	free(took);
}
