/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's virtconsole: a line costs a nested guest one exit to its QEMU, where the serial port has one for each character. */
#include "probe.h"

#define CONSOLE_ID	0x10431af4

enum { INPUT, OUTPUT, QUEUES };

static volatile struct queue queues[QUEUES];
static volatile u16 *bells[QUEUES];
static volatile char input[64];
static u16 seen;
static bool usable;

static void offer_input(void)
{
	virtio_offer(&queues[INPUT], 0);
	*bells[INPUT] = INPUT;
}

bool console_listen(void)
{
	static struct virtio device;
	u32 bdf = pci_find(CONSOLE_ID);

	if (!bdf || virtio_begin(&device, bdf, 0, VEC_INPUT))
		return false;
	for (u16 number = INPUT; number < QUEUES; number++)
		bells[number] = virtio_queue(&device, number, &queues[number], number == INPUT);
	virtio_buffer(&queues[INPUT], 0, input, sizeof(input), QUEUE_WRITE);
	virtio_ready(&device);
	offer_input();
	return usable = true;
}

bool console_irq(void)
{
	if (!usable || queues[INPUT].used.index == seen)
		return usable;
	for (u32 i = 0; i < queues[INPUT].used.ring[seen % QUEUE_SIZE].length; i++)
		hear(input[i]);
	seen++;
	offer_input();
	return true;
}

/* The text must stay as it is until the device has read it. */
bool console_write(const char *text, size_t length)
{
	if (!usable)
		return false;
	virtio_buffer(&queues[OUTPUT], 0, (void *)text, length, 0);
	virtio_offer(&queues[OUTPUT], 0);
	*bells[OUTPUT] = OUTPUT;
	for (u64 start = rdtsc(); queues[OUTPUT].used.index != queues[OUTPUT].available.index; )
		if (rdtsc() - start > TIMEOUT)
			return usable = false;
	return true;
}
