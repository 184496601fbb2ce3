/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COM1: output by the FIFO, input by IRQ 4, so that the CPU halts while it waits; and QEMU's debug port. */
#include "probe.h"

#define COM1		0x3f8
#define COM1_IRQ	4
#define FIFO_SIZE	16

enum { DATA = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5 };
#define LSR_DATA	0x01
#define LSR_EMPTY	0x20

#define DEBUG_PORT	0xe9

static bool has_debug_port;
static u32 room;	/* bytes that the transmit FIFO surely still takes */

void serial_init(void)
{
	outb(COM1 + IER, 0);
	outb(COM1 + LCR, 0x80);		/* divisor: 115,200 baud */
	outb(COM1 + DATA, 1);
	outb(COM1 + IER, 0);
	outb(COM1 + LCR, 0x03);		/* 8N1 */
	outb(COM1 + FCR, 0x07);		/* FIFOs on and empty, interrupt at the first byte */
	outb(COM1 + MCR, 0x0b);		/* DTR, RTS, OUT2: interrupt line on */
	has_debug_port = inb(DEBUG_PORT) == DEBUG_PORT;
}

/* Not before the local APIC is on: it would lose the edge, and no other would follow. */
void serial_listen(void)
{
	ioapic_route(COM1_IRQ, VEC_INPUT);
	outb(COM1 + IER, 0x01);		/* received data only */
}

/* Until the UART is empty, otherwise its line stays high and no further edge comes; 0xff is of a port that is not there. */
void serial_irq(void)
{
	u8 status;

	inb(COM1 + IIR);
	while ((status = inb(COM1 + LSR)) & LSR_DATA && status != 0xff)
		hear(inb(COM1 + DATA));
}

void serial_write(const char *text, size_t length)
{
	for (; length--; text++) {
		if (has_debug_port)
			outb(DEBUG_PORT, *text);
		/* One look at the status for 16 bytes; a reader that went away must not hang us. */
		if (!room) {
			for (u64 start = rdtsc(); !(inb(COM1 + LSR) & LSR_EMPTY); )
				if (rdtsc() - start > TIMEOUT)
					break;
			room = FIFO_SIZE;
		}
		room--;
		outb(COM1 + DATA, *text);
	}
}
