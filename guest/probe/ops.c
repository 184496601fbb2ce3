/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operations. Each act() reads the TSC around what it names, so that
 * neither markers nor checks are part of its ticks.
 */
#include "probe.h"

#define ELCR1		0x4d0
#define PM_TIMER	8		/* from the power-management base */

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

static const struct op op_cpuid = { .name = "cpuid", .act = act_cpuid };
static const struct op op_vmcall = { .name = "vmcall", .prepare = prepare_vmcall, .act = act_vmcall };
static const struct op port_kernel = { .name = "port-kernel", .act = act_port_kernel };
static const struct op port_user = {
	.name = "port-user", .prepare = prepare_port_user, .act = act_port_user, .finish = finish_port_user,
};

const struct op *const ops[] = {
	&op_cpuid, &op_vmcall,
	&timer_program, &timer_immediate, &timer_expiry, &timer_lvtt,
	&ipi, &ipi_send, &ipi_halted, &ipi_self,
	&port_kernel, &port_user, &doorbell_mmio, &doorbell_pio,
	&halt_wake_ipi, &halt_wake_timer, &halt_wake_device,
	&doorbell, &device_interrupt, &disk_interrupt,
};

const size_t ops_count = ARRAY_SIZE(ops);
