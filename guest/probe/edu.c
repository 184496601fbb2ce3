/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that interrupts: QEMU's edu sends its MSI when a register is written, and asks for nothing else. */
#include "probe.h"

#define EDU_ID		0x11e81234
#define EDU_RAISE	0x60

/* Where a firmware that assigns no BARs leaves it to us. */
#define FREE_MMIO	0xfe100000

static volatile u32 *edu_raise;
static u32 edu_vector;

static const char *prepare_edu(const struct options *options)
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
	return prepare_asleep(options);
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

const struct op halt_wake_device = {
	.name = "halt-wake-device", .prepare = prepare_edu, .before = before_edu, .act = act_halt_wake_device,
	.after = check, .finish = check_surplus,
};
