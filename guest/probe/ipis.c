/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interprocessor interrupts, of CPU 0 to CPU 1 and to itself. */
#include "probe.h"

static u32 ipi_vector;

static const char *prepare_ipi(const struct options *options)
{
	set_mode(MODE_SPIN);
	begin(options, 0);
	return NULL;
}

static const char *prepare_ipi_self(const struct options *options)
{
	begin(options, 0);
	return NULL;
}

static void before_ipi(u64 i)
{
	ipi_vector = vectors[i % VECTORS];
	expect(&cpus[1], ipi_vector);
}

static void before_ipi_self(u64 i)
{
	ipi_vector = vectors[i % VECTORS];
	expect(&cpus[0], ipi_vector);
}

static void finish_ipi(void)
{
	set_mode(MODE_PARK);
	check_surplus();
}

static u64 act_ipi(void)
{
	u64 start = rdtsc();

	send_ipi(1, ipi_vector);
	await();
	return rdtsc() - start;
}

static u64 act_ipi_send(void)
{
	u64 start = rdtsc();

	send_ipi(1, ipi_vector);
	return rdtsc() - start;
}

static void after_ipi_send(void)
{
	await();
	check();
}

static u64 act_ipi_self(void)
{
	u64 start = rdtsc();

	wrmsr(MSR_X2APIC_SELF_IPI, ipi_vector);
	await();
	return rdtsc() - start;
}

static void raise_ipi(void)
{
	send_ipi(1, ipi_vector);
}

static u64 act_ipi_halted(void)
{
	return wake(raise_ipi).round_trip;
}

static u64 act_halt_wake_ipi(void)
{
	return wake(raise_ipi).latency;
}

const struct op ipi = {
	.name = "ipi", .prepare = prepare_ipi, .before = before_ipi, .act = act_ipi, .after = check,
	.finish = finish_ipi,
};

const struct op ipi_send = {
	.name = "ipi-send", .prepare = prepare_ipi, .before = before_ipi, .act = act_ipi_send,
	.after = after_ipi_send, .finish = finish_ipi,
};

const struct op ipi_halted = {
	.name = "ipi-halted", .prepare = prepare_asleep, .before = before_ipi, .act = act_ipi_halted, .after = check,
	.finish = check_surplus,
};

const struct op ipi_self = {
	.name = "ipi-self", .prepare = prepare_ipi_self, .before = before_ipi_self, .act = act_ipi_self,
	.after = check, .finish = check_surplus,
};

const struct op halt_wake_ipi = {
	.name = "halt-wake-ipi", .prepare = prepare_asleep, .before = before_ipi, .act = act_halt_wake_ipi,
	.after = check, .finish = check_surplus,
};
