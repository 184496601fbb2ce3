// SPDX-License-Identifier: GPL-2.0-or-later
/* Work that has an end, of many tasks on all CPUs: how long it takes says what it was given of them. */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { WAITERS = 64, LOCKERS = 4, LOCKS = 100, WAITED_FOR = 1, NOBODY = 2 };

static atomic_int word, waiting;
static uint64_t rounds;

static long futex(int operation, int value, int bits)
{
	return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, bits);
}

static void *wait_long(void *unused)
{
	waiting++;
	while (!word)
		futex(FUTEX_WAIT_BITSET, 0, WAITED_FOR);
	return unused;
}

/* Looks for a waiter that is none of these, the lock of their hash bucket held. */
static void *lock_often(void *unused)
{
	for (uint64_t i = 0; i < rounds * LOCKS; i++)
		if (futex(FUTEX_WAKE_BITSET, 1, NOBODY))
			die("futex: woke somebody, or %m");
	return unused;
}

static void start_thread(pthread_t *thread, void *(*routine)(void *))
{
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 * 1024);
	if (pthread_create(thread, &small, routine, NULL))
		die("no more threads");
}

/* One spinlock of the kernel, nearly always held: a vCPU that is preempted holds it, as a rule, and the others wait. */
void contend(uint64_t count)
{
	pthread_t waiters[WAITERS], lockers[LOCKERS];
	uint64_t tsc;

	rounds = count;
	for (int i = 0; i < WAITERS; i++)
		start_thread(&waiters[i], wait_long);
	while (waiting < WAITERS)
		usleep(1000);
	usleep(1000);
	tsc = rdtsc();
	for (int i = 0; i < LOCKERS; i++)
		start_thread(&lockers[i], lock_often);
	for (int i = 0; i < LOCKERS; i++)
		pthread_join(lockers[i], NULL);
	tsc = rdtsc() - tsc;
	word = 1;
	futex(FUTEX_WAKE_BITSET, WAITERS, WAITED_FOR);
	for (int i = 0; i < WAITERS; i++)
		pthread_join(waiters[i], NULL);
	report_total("linux-lock", count, tsc);
}

static void compute(void)
{
	for (unsigned int i = 0; i < 200000; i++)
		__asm__ volatile("");
}

static void use_memory(void)
{
	size_t size = 32 * 4096;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap: %m");
	memset(memory, 1, size);
	munmap(memory, size);
}

static void nap(void)
{
	usleep(200);
}

static void yield(void)
{
	for (int i = 0; i < 20; i++)
		sched_yield();
}

static void have_child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %m");
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

static void (*const kinds[])(void) = { compute, use_memory, nap, yield, have_child, nap };

enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

/* One process of each kind, wherever the scheduler has room, and a pair that wakes each other up from CPU to CPU. */
void mix(uint64_t count)
{
	uint64_t tsc = rdtsc();
	pid_t pids[KINDS];
	int status;

	for (int kind = 0; kind < KINDS; kind++) {
		pids[kind] = fork();
		if (pids[kind] < 0)
			die("fork: %m");
		if (!pids[kind]) {
			for (uint64_t i = 0; i < count; i++)
				kinds[kind]();
			_exit(0);
		}
	}
	exchange_between_cpus(1, (unsigned int)count);
	for (int kind = 0; kind < KINDS; kind++)
		if (waitpid(pids[kind], &status, 0) != pids[kind] || status)
			die("a process failed: status %#x", status);
	report_total("linux-mix", count, rdtsc() - tsc);
}
