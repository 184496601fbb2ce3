/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of text, to and from the console that there is: QEMU's virtconsole, else the serial port. */
#include "probe.h"

static volatile char input[256];
static volatile u8 head;	/* written by the interrupt handler */
static u8 tail;			/* both wrap with the buffer */

static char output[256];
static size_t waiting;		/* of the output: a line goes out at once */

void hear(char c)
{
	input[head++] = c;
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
	output[waiting++] = c;
	if (c != '\n' && waiting < sizeof(output))
		return;
	if (!console_write(output, waiting))
		serial_write(output, waiting);
	waiting = 0;
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
