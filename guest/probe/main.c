/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot, and the commands. */
#include "probe.h"

#define DEBUG_EXIT	0x501	/* QEMU's isa-debug-exit, if it is there */
#define PM1_CONTROL	4
#define PM1_SLEEP_S5	0x2000

/* Ends the guest by whatever means there is; the last needs QEMU's -no-reboot. */
void stop(u32 code)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) none = { 0, 0 };
	u16 base = pm_base();

	cli();
	if (code)
		outb(DEBUG_EXIT, code);
	if (base) {
		outw(base + PM1_CONTROL, PM1_SLEEP_S5);
		spin(TIMEOUT / 16);
	}
	asm volatile("lidt %0\n\tint3" : : "m"(none));
	__builtin_unreachable();
}

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* The next word of *line, which it ends with a zero; empty at the end of the line. */
static char *word(char **line)
{
	char *start, *end;

	for (start = *line; *start == ' '; start++)
		;
	for (end = start; *end && *end != ' '; end++)
		;
	*line = *end ? end + 1 : end;
	*end = '\0';
	return start;
}

static bool number(const char *text, u64 *value)
{
	*value = 0;
	if (!*text)
		return false;
	for (; *text >= '0' && *text <= '9' && *value < UINT32_MAX; text++)
		*value = *value * 10 + (u64)(*text - '0');
	return !*text;
}

static const struct op *find_op(const char *name)
{
	for (size_t i = 0; i < ops_count; i++)
		if (equal(ops[i]->name, name))
			return ops[i];
	return NULL;
}

/* The part behind the prefix, or an empty string. */
static const char *behind(const char *text, const char *prefix)
{
	for (; *prefix; prefix++, text++)
		if (*text != *prefix)
			return "";
	return text;
}

static bool parse_option(const char *option, struct options *options)
{
	static const char *const faults[] = {
		[FAULT_LOST] = "fault=lost", [FAULT_SURPLUS] = "fault=surplus", [FAULT_VECTOR] = "fault=vector",
		[FAULT_EARLY] = "fault=early",
	};

	if (equal(option, "mark"))
		return options->mark = MARK_PORT;
	if (equal(option, "mark=msr"))
		return options->mark = MARK_MSR;
	if (equal(option, "vary"))
		return options->vary = true;
	for (options->fault = FAULT_LOST; options->fault < ARRAY_SIZE(faults); options->fault++)
		if (equal(option, faults[options->fault]))
			return true;
	options->fault = FAULT_NONE;
	return number(behind(option, "delay="), &options->delay);
}

static void command_run(char *line)
{
	struct options options = { 0 };
	const char *name = word(&line);
	const struct op *op = find_op(name);

	if (!op) {
		print("probe: error unknown op %s\n", name);
		return;
	}
	if (!number(word(&line), &options.count) || !options.count || options.count > MAX_OPS) {
		print("probe: error op=%s the number of operations is 1 to %u\n", name, (u64)MAX_OPS);
		return;
	}
	for (const char *option = word(&line); *option; option = word(&line)) {
		if (!parse_option(option, &options)) {
			print("probe: error op=%s unknown option %s\n", name, option);
			return;
		}
	}
	run(op, &options);
}

static void command_list(void)
{
	print("probe: ops");
	for (size_t i = 0; i < ops_count; i++)
		print(" %s", ops[i]->name);
	print("\n");
}

/* The PIT has been left ticking by the firmware, and KVM would keep a timer for it: mode 5 never fires. */
static void silence_legacy(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	outb(0x43, 0x3a);
	outb(0x40, 0);
	outb(0x40, 0);
}

void cpu_start(u32 index)
{
	char line[128], *rest, *command;

	if (index == 0) {
		silence_legacy();
		serial_init();
	}
	cpu_init(index);
	if (index != 0)
		cpu1_loop();
	if (!console_listen())
		serial_listen();
	start_cpu1();
	sti();
	print("probe: ready cpus=%u version=%u\n", (u64)ARRAY_SIZE(cpus), (u64)PROTOCOL_VERSION);
	for (;;) {
		read_line(line, sizeof(line));
		rest = line;
		command = word(&rest);
		if (equal(command, "run"))
			command_run(rest);
		else if (equal(command, "list"))
			command_list();
		else if (equal(command, "crash"))
			asm volatile("ud2");
		else if (equal(command, "off"))
			stop(0);
		else if (*command)
			print("probe: error unknown command %s\n", command);
	}
}
