/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operations. Each act() reads the TSC around what it names, so that
 * neither markers nor checks are part of its ticks.
 */
#include "probe.h"

#define FAR_FUTURE	(1ull << 40)	/* 5 min at 3.5 GHz: beyond every run */
#define EXPIRY_DELAY	40000		/* more than it costs L2 to program the timer */
#define HALTED_DELAY	1000000		/* more than KVM's halt_poll_ns of 200 us at 3.5 GHz */
#define LESSONS		20		/* timers after which KVM has learned how late they are */
#define SETTLE		100000		/* ticks in which a surplus interrupt would come */

#define ELCR1		0x4d0
#define PM_TIMER	8		/* from the power-management base */

/* Of several priority classes, and none of the probe's own. */
static const u8 vectors[] = { 0x41, 0x5e, 0x63, 0x74, 0x8a, 0x97, 0xb0, 0xec };

/* What the checks compare with: interrupts that each CPU must have taken, never read back from it. */
static struct cpu *target;
static u32 expected_vector;
static u64 expected[2];

static enum fault fault;
static u64 deadline, delay;
static u32 timer_vector;
static bool vary;

/* The faults are for tests of the checks: each must end in a FAIL. None is in an act()'s way. */
static void expect(struct cpu *cpu, u32 vector)
{
	target = cpu;
	expected_vector = vector ^ (fault == FAULT_VECTOR);
	expected[cpu - cpus] += 1 + (fault == FAULT_LOST);
	if (fault == FAULT_SURPLUS)
		wrmsr(MSR_X2APIC_SELF_IPI, vector);
}

static bool arrived(void)
{
	return target->taken >= expected[target - cpus];
}

/* Spins with interrupts enabled. */
static void await(void)
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

static void start(const struct options *options, u64 default_delay)
{
	delay = options->delay ? options->delay : default_delay;
	fault = options->fault;
	forget();
}

static void check(void)
{
	if (!arrived()) {
		fail(&tally.lost, "lost: vector=%u cpu=%u", (u64)expected_vector, (u64)(target - cpus));
		forget();
	} else if (cpus[0].taken != expected[0] || cpus[1].taken != expected[1] || target->vector != expected_vector) {
		fail(&tally.wrong, "wrong: expected vector=%u cpu=%u, got vector=%u, surplus cpu0=%u cpu1=%u",
		     (u64)expected_vector, (u64)(target - cpus), (u64)target->vector, cpus[0].taken - expected[0],
		     cpus[1].taken - expected[1]);
		forget();
	}
}

/* Interrupts beyond those that were asked for, after the last operation. */
static void check_surplus(void)
{
	spin(SETTLE);
	if (cpus[0].taken != expected[0] || cpus[1].taken != expected[1])
		fail(&tally.wrong, "surplus: cpu0=%u cpu1=%u", cpus[0].taken - expected[0], cpus[1].taken - expected[1]);
	forget();
}

/* cpuid */

static u64 act_cpuid(void)
{
	u32 regs[4];
	u64 start = rdtsc();

	cpuid(0, regs);
	return rdtsc() - start;
}

/* vmcall */

static bool is_amd;

static const char *prepare_vmcall(const struct options *options)
{
	u32 regs[4];

	(void)options;
	cpuid(0x40000000, regs);
	if (regs[1] != 0x4b4d564b)	/* "KVMK" */
		return "no KVM";
	cpuid(0, regs);
	is_amd = regs[1] == 0x68747541;	/* "Auth" */
	return NULL;
}

/* A number that KVM does not know: it answers -KVM_ENOSYS. */
static u64 act_vmcall(void)
{
	u64 start, end, result = 0xffff;

	start = rdtsc();
	if (is_amd)
		asm volatile("vmmcall" : "+a"(result) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory");
	else
		asm volatile("vmcall" : "+a"(result) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory");
	end = rdtsc();
	if (result != (u64)-1000)
		fail(&tally.wrong, "hypercall returned %x", result);
	return end - start;
}

/* timers */

static const char *prepare_timer(const struct options *options)
{
	static size_t next;
	u32 regs[4];

	cpuid(1, regs);
	if (!(regs[2] & 1u << 24))
		return "no TSC-deadline timer";
	start(options, EXPIRY_DELAY);
	vary = options->vary;
	timer_vector = vectors[next++ % ARRAY_SIZE(vectors)];
	wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
	return NULL;
}

/* One vector for a whole run, unless asked for: to change it costs an exit of its own. */
static void next_vector(u64 i)
{
	if (!vary)
		return;
	timer_vector = vectors[i % ARRAY_SIZE(vectors)];
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
		rehearse(act_timer_expiry, LESSONS);
		rehearse(act_timer_immediate, 2);
		rehearse(act_timer_expiry, LESSONS);
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

static u64 act_timer_expiry_halted(void)
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

static void before_timer_lvtt(u64 i)
{
	kind = i % LVTT_KINDS;
	timer_vector = vectors[i % ARRAY_SIZE(vectors)];
	wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | timer_vector);
	if (kind == LVTT_VECTOR)
		timer_vector = vectors[(i + 1) % ARRAY_SIZE(vectors)];
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
	else if (cpus[0].taken != expected[0])
		check_surplus();
}

/* IPIs */

static u32 ipi_vector;

static const char *prepare_ipi(const struct options *options)
{
	set_mode(MODE_SPIN);
	start(options, 0);
	return NULL;
}

/* CPU 1 is about to halt; the hypervisors below need time to put it to sleep, and poll at first. */
static void await_sleep(void)
{
	u64 limit = rdtsc() + TIMEOUT;

	while (!cpus[1].asleep && rdtsc() < limit)
		;
	spin(delay);
}

static const char *prepare_ipi_halted(const struct options *options)
{
	start(options, HALTED_DELAY);
	await_sleep();
	return NULL;
}

static const char *prepare_ipi_self(const struct options *options)
{
	start(options, 0);
	return NULL;
}

static void before_ipi(u64 i)
{
	ipi_vector = vectors[i % ARRAY_SIZE(vectors)];
	expect(&cpus[1], ipi_vector);
}

static void before_ipi_self(u64 i)
{
	ipi_vector = vectors[i % ARRAY_SIZE(vectors)];
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

/* An operation ends when CPU 1 sleeps again, or the next one would have a part of its HLT. */
static u64 act_ipi_halted(void)
{
	u64 ticks = act_ipi();

	await_sleep();
	return ticks;
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

/* ports */

static u64 act_port_kernel(void)
{
	u64 start, end;
	u8 value;

	start = rdtsc();
	value = inb(ELCR1);
	end = rdtsc();
	if (value == 0xff)
		fail(&tally.wrong, "nothing answers at port %x", (u64)ELCR1);
	return end - start;
}

static u16 pm_timer;
static u32 pm_first, pm_last;

static const char *prepare_port_user(const struct options *options)
{
	u16 base = pm_base();

	(void)options;
	if (!base)
		return "no ICH9 power management";
	pm_timer = base + PM_TIMER;
	pm_first = pm_last = inl(pm_timer);
	return NULL;
}

static u64 act_port_user(void)
{
	u64 start, end;

	start = rdtsc();
	pm_last = inl(pm_timer);
	end = rdtsc();
	return end - start;
}

static void finish_port_user(void)
{
	if (pm_first == pm_last)
		fail(&tally.wrong, "the PM timer stands still at %x", (u64)pm_last);
}

#define OP(ident, ...) static const struct op ident = { __VA_ARGS__ }

OP(op_cpuid, .name = "cpuid", .act = act_cpuid);
OP(op_vmcall, .name = "vmcall", .prepare = prepare_vmcall, .act = act_vmcall);
OP(op_timer_program, .name = "timer-program", .prepare = prepare_timer, .before = next_vector,
   .act = act_timer_program, .finish = finish_timer_program);
OP(op_timer_immediate, .name = "timer-immediate", .prepare = prepare_timer, .before = before_timer,
   .act = act_timer_immediate, .after = after_timer, .finish = finish_timer);
OP(op_timer_expiry, .name = "timer-expiry", .prepare = prepare_timer_expiry, .before = before_timer,
   .act = act_timer_expiry, .after = after_timer, .finish = finish_timer);
OP(op_timer_expiry_halted, .name = "timer-expiry-halted", .prepare = prepare_timer_halted, .before = before_timer,
   .act = act_timer_expiry_halted, .after = after_timer, .finish = finish_timer_halted);
OP(op_timer_lvtt, .name = "timer-lvtt", .prepare = prepare_timer, .before = before_timer_lvtt,
   .act = act_timer_lvtt, .after = after_timer_lvtt, .finish = finish_timer);
OP(op_ipi, .name = "ipi", .prepare = prepare_ipi, .before = before_ipi, .act = act_ipi, .after = check,
   .finish = finish_ipi);
OP(op_ipi_send, .name = "ipi-send", .prepare = prepare_ipi, .before = before_ipi, .act = act_ipi_send,
   .after = after_ipi_send, .finish = finish_ipi);
OP(op_ipi_halted, .name = "ipi-halted", .prepare = prepare_ipi_halted, .before = before_ipi, .act = act_ipi_halted,
   .after = check, .finish = check_surplus);
OP(op_ipi_self, .name = "ipi-self", .prepare = prepare_ipi_self, .before = before_ipi_self, .act = act_ipi_self,
   .after = check, .finish = check_surplus);
OP(op_port_kernel, .name = "port-kernel", .act = act_port_kernel);
OP(op_port_user, .name = "port-user", .prepare = prepare_port_user, .act = act_port_user,
   .finish = finish_port_user);

const struct op *const ops[] = {
	&op_cpuid, &op_vmcall,
	&op_timer_program, &op_timer_immediate, &op_timer_expiry, &op_timer_expiry_halted, &op_timer_lvtt,
	&op_ipi, &op_ipi_send, &op_ipi_halted, &op_ipi_self,
	&op_port_kernel, &op_port_user, &doorbell_mmio, &doorbell_pio,
};

const size_t ops_count = ARRAY_SIZE(ops);
