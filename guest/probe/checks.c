/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What operations that end in an interrupt have in common: what is expected, what came, and a CPU that sleeps. */
#include "probe.h"

#define LESSONS		8
#define LONG_SLEEP	200000		/* by when CPU 1 sleeps in any case, if KVM does not poll (kvm.halt_poll_ns=0) */

const u8 vectors[VECTORS] = { 0x41, 0x5e, 0x63, 0x74, 0x8a, 0x97, 0xb0, 0xec };

/* What the checks compare with: interrupts that each CPU must have taken, never read back from it. */
static struct cpu *target;
static u32 expected_vector;
static u64 expected[2];

enum fault fault;
u64 delay;

/* The faults are for tests of the checks: each must end in a FAIL. None is in an act()'s way. */
void expect(struct cpu *cpu, u32 vector)
{
	target = cpu;
	expected_vector = vector ^ (fault == FAULT_VECTOR);
	expected[cpu - cpus] += 1 + (fault == FAULT_LOST);
	if (fault == FAULT_SURPLUS)
		wrmsr(MSR_X2APIC_SELF_IPI, vector);
}

bool arrived(void)
{
	return target->taken >= expected[target - cpus];
}

bool settled(void)
{
	return cpus[0].taken == expected[0] && cpus[1].taken == expected[1];
}

/* Spins with interrupts enabled. */
void await(void)
{
	u64 limit = rdtsc() + TIMEOUT;

	while (!arrived() && rdtsc() < limit)
		;
}

static void forget(void)
{
	expected[0] = cpus[0].taken;
	expected[1] = cpus[1].taken;
}

void begin(const struct options *options, u64 default_delay)
{
	delay = options->delay ? options->delay : default_delay;
	fault = options->fault;
	forget();
}

void check(void)
{
	if (!arrived()) {
		fail(&tally.lost, "lost: vector=%u cpu=%u", (u64)expected_vector, (u64)(target - cpus));
		forget();
	} else if (!settled() || target->vector != expected_vector) {
		fail(&tally.wrong, "wrong: expected vector=%u cpu=%u, got vector=%u, surplus cpu0=%u cpu1=%u",
		     (u64)expected_vector, (u64)(target - cpus), (u64)target->vector, cpus[0].taken - expected[0],
		     cpus[1].taken - expected[1]);
		forget();
	}
}

/* Interrupts beyond those that were asked for, after the last operation. */
void check_surplus(void)
{
	spin(SETTLE);
	if (!settled())
		fail(&tally.wrong, "surplus: cpu0=%u cpu1=%u", cpus[0].taken - expected[0], cpus[1].taken - expected[1]);
	forget();
}

/* CPU 1 is about to halt; the hypervisors below need time to put it to sleep. */
static void await_sleep(void)
{
	u64 limit = rdtsc() + TIMEOUT;

	while (!cpus[1].asleep && rdtsc() < limit)
		;
	spin(delay);
}

/* The TSCs of both CPUs are in step, or the handler's can't be between two readings of ours. */
u64 until_taken(u64 start)
{
	u64 taken = cpus[1].tsc, end = rdtsc();

	if (fault == FAULT_EARLY)
		start += TIMEOUT;
	if (!arrived())
		return 0;
	if (taken < start || taken > end)
		fail(&tally.wrong, "TSCs out of step: raised %u, taken %u, seen %u", start, taken, end);
	return taken - start;
}

struct waking wake(void (*raise)(void))
{
	struct waking waking;
	u64 start = rdtsc();

	raise();
	await();
	waking.round_trip = rdtsc() - start;
	waking.latency = until_taken(start);
	await_sleep();
	return waking;
}

static void raise_any(void)
{
	send_ipi(1, vectors[0]);
}

/* To put CPU 1 to sleep takes the hypervisors about as long as to wake it up, which is less than its round trip. */
static u64 time_to_sleep(void)
{
	u64 quickest = TIMEOUT;

	for (int i = 0; i < LESSONS; i++) {
		struct waking waking;

		expect(&cpus[1], vectors[0]);
		waking = wake(raise_any);
		check();
		if (waking.round_trip < quickest)
			quickest = waking.round_trip;
	}
	return quickest * 3 / 2;
}

const char *prepare_asleep(const struct options *options)
{
	begin(&(struct options){ 0 }, LONG_SLEEP);
	await_sleep();
	begin(options, time_to_sleep());
	return NULL;
}
