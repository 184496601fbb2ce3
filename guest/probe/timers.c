/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC's timer in TSC-deadline mode, of CPU 0. */
#include "probe.h"

#define FAR_FUTURE	(1ull << 40)	/* 5 min at 3.5 GHz: beyond every run */
#define EXPIRY_DELAY	40000		/* more than it costs L2 to program the timer */
#define LVTT_DELAY	400000		/* more than it costs L2 to program it, and LVTT twice, with a tick of L1's between */
#define LESSONS		20		/* timers after which KVM has learned how late they are */

static u64 deadline;
static u32 timer_vector;
static bool vary;

static const char *prepare(const struct options *options, u64 default_delay)
{
	static size_t next;
	u32 regs[4];

	cpuid(1, regs);
	if (!(regs[2] & 1u << 24))
		return "no TSC-deadline timer";
	begin(options, default_delay);
	vary = options->vary;
	timer_vector = vectors[next++ % VECTORS];
	wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
	return NULL;
}

static const char *prepare_timer(const struct options *options)
{
	return prepare(options, EXPIRY_DELAY);
}

/* One vector for a whole run, unless asked for: to change it costs an exit of its own. */
static void next_vector(u64 i)
{
	if (!vary)
		return;
	timer_vector = vectors[i % VECTORS];
	wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
}

static void before_timer(u64 i)
{
	next_vector(i);
	expect(&cpus[0], timer_vector);
}

static void after_timer(void)
{
	if (fault == FAULT_EARLY)
		deadline += TIMEOUT;
	if (arrived() && cpus[0].tsc < deadline)
		fail(&tally.early, "early: deadline=%u taken=%u", deadline, cpus[0].tsc);
	check();
}

static void finish_timer(void)
{
	wrmsr(MSR_TSC_DEADLINE, 0);
	check_surplus();
	wrmsr(MSR_X2APIC_LVTT, LVT_MASKED);
}

static u64 act_timer_program(void)
{
	u64 start = rdtsc();

	deadline = start + FAR_FUTURE;
	wrmsr(MSR_TSC_DEADLINE, deadline);
	return rdtsc() - start;
}

static void finish_timer_program(void)
{
	u64 value = rdmsr(MSR_TSC_DEADLINE);

	if (value != deadline)
		fail(&tally.wrong, "the deadline reads as %u, not %u", value, deadline);
	finish_timer();
}

static u64 act_timer_immediate(void)
{
	deadline = rdtsc();
	wrmsr(MSR_TSC_DEADLINE, deadline);
	await();
	return rdtsc() - deadline;
}

static u64 lateness(void)
{
	return arrived() && cpus[0].tsc > deadline ? cpus[0].tsc - deadline : 0;
}

static u64 act_timer_expiry(void)
{
	deadline = rdtsc() + delay;
	wrmsr(MSR_TSC_DEADLINE, deadline);
	await();
	return lateness();
}

static void rehearse(u64 (*act)(void), u64 times)
{
	for (u64 i = 0; i < times; i++) {
		before_timer(i);
		act();
		after_timer();
	}
}

/*
 * KVM lets a timer expire ahead of its deadline, by as much as it has found timers to be late. It learns from those that
 * are late by at most 10,000 ticks; at first L2's are late by more, and would stay so. Deadlines that are over already
 * bring them within reach: two, as with many more KVM takes what it has learned for nonsense, and starts again.
 */
static const char *prepare_timer_expiry(const struct options *options)
{
	const char *reason = prepare_timer(options);

	if (!reason) {
		u64 wanted = delay;

		delay = EXPIRY_DELAY;
		rehearse(act_timer_expiry, LESSONS);
		rehearse(act_timer_immediate, 2);
		rehearse(act_timer_expiry, LESSONS);
		delay = wanted;
	}
	return reason;
}

static const char *prepare_timer_halted(const struct options *options)
{
	const char *reason = prepare_timer_expiry(options);

	if (!reason)
		set_mode(MODE_WATCH);
	return reason;
}

static u64 act_timer_halted(void)
{
	cli();
	deadline = rdtsc() + delay;
	wrmsr(MSR_TSC_DEADLINE, deadline);
	/* If the interrupt never comes, CPU 1's watchdog ends the HLT. */
	while (!arrived() && rdtsc() < deadline + TIMEOUT) {
		sti_hlt();
		cli();
	}
	sti();
	return lateness();
}

static void finish_timer_halted(void)
{
	set_mode(MODE_PARK);
	finish_timer();
}

/*
 * What LVTT and the APIC's being enabled make of a deadline that is set: for who
 * runs the timer, a hypervisor or the processor, each is a change of hands.
 */
enum lvtt { LVTT_MASK, LVTT_MASK_FOR_A_WHILE, LVTT_VECTOR, LVTT_MODE, LVTT_DISABLE, LVTT_KINDS };

static enum lvtt kind;

/* The deadline must lie beyond what is done to LVTT: one that passes while it is masked is lost, and rightly. */
static const char *prepare_timer_lvtt(const struct options *options)
{
	return prepare(options, LVTT_DELAY);
}

static void before_timer_lvtt(u64 i)
{
	kind = i % LVTT_KINDS;
	timer_vector = vectors[i % VECTORS];
	wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
	if (kind == LVTT_VECTOR)
		timer_vector = vectors[(i + 1) % VECTORS];
	if (kind == LVTT_MASK_FOR_A_WHILE || kind == LVTT_VECTOR)
		expect(&cpus[0], timer_vector);
}

static u64 act_timer_lvtt(void)
{
	deadline = rdtsc() + delay;
	wrmsr(MSR_TSC_DEADLINE, deadline);
	switch (kind) {
	case LVTT_MASK:
		wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | LVT_MASKED | timer_vector);
		break;
	case LVTT_MASK_FOR_A_WHILE:
		wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | LVT_MASKED | timer_vector);
		wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
		break;
	case LVTT_VECTOR:
		wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
		break;
	case LVTT_MODE:
		wrmsr(MSR_X2APIC_LVTT, timer_vector);
		wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
		break;
	default:
		wrmsr(MSR_X2APIC_SVR, VEC_SPURIOUS);
		wrmsr(MSR_X2APIC_SVR, SVR_ENABLE | VEC_SPURIOUS);
	}
	spin(delay + SETTLE);
	return 0;
}

static void after_timer_lvtt(void)
{
	u64 value = rdmsr(MSR_TSC_DEADLINE);

	if (value)
		fail(&tally.wrong, "kind %u: after it has passed, the deadline reads as %u", (u64)kind, value);
	if (kind == LVTT_MASK_FOR_A_WHILE || kind == LVTT_VECTOR)
		after_timer();
	else if (!settled())
		check_surplus();
}

const struct op timer_program = {
	.name = "timer-program", .prepare = prepare_timer, .before = next_vector, .act = act_timer_program,
	.finish = finish_timer_program,
};

const struct op timer_immediate = {
	.name = "timer-immediate", .prepare = prepare_timer, .before = before_timer, .act = act_timer_immediate,
	.after = after_timer, .finish = finish_timer,
};

const struct op timer_expiry = {
	.name = "timer-expiry", .prepare = prepare_timer_expiry, .before = before_timer, .act = act_timer_expiry,
	.after = after_timer, .finish = finish_timer,
};

const struct op timer_lvtt = {
	.name = "timer-lvtt", .prepare = prepare_timer_lvtt, .before = before_timer_lvtt, .act = act_timer_lvtt,
	.after = after_timer_lvtt, .finish = finish_timer,
};

const struct op halt_wake_timer = {
	.name = "halt-wake-timer", .prepare = prepare_timer_halted, .before = before_timer, .act = act_timer_halted,
	.after = after_timer, .finish = finish_timer_halted,
};
