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

static volatile char input[256];
static volatile u8 head;	/* written by the interrupt handler */
static u8 tail;			/* both wrap with the buffer */

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
	ioapic_route(COM1_IRQ, VEC_SERIAL);
	outb(COM1 + IER, 0x01);		/* received data only */
}

/* Until the UART is empty, otherwise its line stays high and no further edge comes. */
void serial_irq(void)
{
	inb(COM1 + IIR);
	while (inb(COM1 + LSR) & LSR_DATA)
		input[head++] = inb(COM1 + DATA);
}

static char read_char(void)
{
	cli();
	while (head == tail) {
		sti_hlt();
		cli();
	}
	sti();
	return input[tail++];
}

void read_line(char *line, size_t size)
{
	size_t length = 0;

	for (;;) {
		char c = read_char();

		if (c == '\n' || c == '\r')
			break;
		if (length < size - 1)
			line[length++] = c;
	}
	line[length] = '\0';
}

static void put_char(char c)
{
	if (has_debug_port)
		outb(DEBUG_PORT, c);
	/* One look at the status for 16 bytes; a reader that went away must not hang us. */
	if (!room) {
		for (u64 start = rdtsc(); !(inb(COM1 + LSR) & LSR_EMPTY); )
			if (rdtsc() - start > TIMEOUT)
				break;
		room = FIFO_SIZE;
	}
	room--;
	outb(COM1 + DATA, c);
}

static void put_number(u64 value, u32 base)
{
	char digits[20];
	size_t i = 0;

	do {
		digits[i++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (i)
		put_char(digits[--i]);
}

void vprint(const char *format, va_list args)
{
	for (; *format; format++) {
		if (*format != '%') {
			put_char(*format);
			continue;
		}
		switch (*++format) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put_char(*s);
			break;
		case 'u':
			put_number(va_arg(args, u64), 10);
			break;
		case 'x':
			put_char('0');
			put_char('x');
			put_number(va_arg(args, u64), 16);
			break;
		}
	}
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprint(format, args);
	va_end(args);
}
