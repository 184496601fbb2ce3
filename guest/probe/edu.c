/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that interrupts: QEMU's edu sends its MSI when a register is written, and asks for nothing else. */
#include "probe.h"

#define EDU_ID		0x11e81234
#define EDU_RAISE	0x60

/* Where a firmware that assigns no BARs leaves it to us. */
#define FREE_MMIO	0xfe100000

static volatile u32 *edu_raise;
static u32 edu_vector;

static const char *find_edu(void)
{
	static size_t next;
	u32 bdf = pci_find(EDU_ID);

	if (!bdf)
		return "no edu device";
	edu_raise = (u32 *)(u64)(pci_bar(bdf, 0, ~0xfu, FREE_MMIO) + EDU_RAISE);
	pci_enable(bdf);
	edu_vector = vectors[next++ % VECTORS];
	if (!pci_msi(bdf, 1, edu_vector))
		return "the edu device has no MSI";
	return NULL;
}

static const char *prepare_edu_asleep(const struct options *options)
{
	const char *reason = find_edu();

	return reason ? reason : prepare_asleep(options);
}

static const char *prepare_edu_running(const struct options *options)
{
	const char *reason = find_edu();

	begin(options, 0);
	if (!reason)
		set_mode(MODE_SPIN);
	return reason;
}

static void before_edu(u64 i)
{
	(void)i;
	expect(&cpus[1], edu_vector);
}

static void raise_edu(void)
{
	*edu_raise = 1;
}

static u64 act_halt_wake_device(void)
{
	return wake(raise_edu).latency;
}

static u64 act_device_interrupt(void)
{
	u64 start = rdtsc();

	raise_edu();
	await();
	return until_taken(start);
}

static void finish_running(void)
{
	set_mode(MODE_PARK);
	check_surplus();
}

const struct op device_interrupt = {
	.name = "device-interrupt", .prepare = prepare_edu_running, .before = before_edu, .act = act_device_interrupt,
	.after = check, .finish = finish_running,
};

const struct op halt_wake_device = {
	.name = "halt-wake-device", .prepare = prepare_edu_asleep, .before = before_edu, .act = act_halt_wake_device,
	.after = check, .finish = check_surplus,
};
