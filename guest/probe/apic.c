/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processors and their interrupts: IDT, traps, x2APIC, IOAPIC, and what CPU 1 does. */
#include "probe.h"

#define MSR_GS_BASE	0xc0000101

#define APIC_BASE_ENABLE	(1u << 11)
#define APIC_BASE_X2APIC	(1u << 10)
#define TDCR_DIVIDE_128		0x0a

#define ICR_NMI			(4u << 8)
#define ICR_INIT		(5u << 8)
#define ICR_STARTUP		(6u << 8)
#define ICR_ASSERT		(1u << 14)

#define IOAPIC			0xfec00000

/* KVM's and QEMU's APIC bus runs at 1 GHz. */
#define WATCHDOG_NS		2000000000u

struct cpu cpus[2] = {
	{ .self = &cpus[0], .state = -1 },
	{ .self = &cpus[1], .state = -1 },
};

extern const u8 stubs[], trampoline[], trampoline_end[];

/* As the stubs in boot.S leave it. */
struct frame {
	u64 r11, r10, r9, r8, rdi, rsi, rcx, rdx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

struct gate {
	u16 offset_low, selector, flags, offset_middle;
	u32 offset_high, reserved;
};

static struct gate idt[256];

static inline struct cpu *this_cpu(void)
{
	struct cpu *cpu;

	asm volatile("mov %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

static void idt_init(void)
{
	for (u32 vector = 0; vector < ARRAY_SIZE(idt); vector++) {
		u64 stub = (u64)(stubs + 16 * vector);

		idt[vector].offset_low = stub;
		idt[vector].selector = GDT_CODE64;
		idt[vector].flags = 0x8e00;	/* present interrupt gate */
		idt[vector].offset_middle = stub >> 16;
		idt[vector].offset_high = stub >> 32;
	}
}

/* The one-shot timer is not the TSC-deadline timer under test, and NMIs are not virtualized as IPIs are. */
static void watchdog_arm(bool on)
{
	wrmsr(MSR_X2APIC_TDCR, TDCR_DIVIDE_128);
	wrmsr(MSR_X2APIC_LVTT, VEC_WATCHDOG);
	wrmsr(MSR_X2APIC_TMICT, on ? WATCHDOG_NS / 128 : 0);
}

static void exception(const struct frame *frame)
{
	u64 cr2;

	asm volatile("mov %%cr2, %0" : "=r"(cr2));
	print("\nprobe: FAIL exception vector=%u error=%x rip=%x rsp=%x cr2=%x cpu=%u\n", frame->vector, frame->error,
	      frame->rip, frame->rsp, cr2, (u64)(this_cpu() - cpus));
	stop(1);
}

void trap(const struct frame *frame, u64 tsc)
{
	struct cpu *cpu = this_cpu();

	/* The watchdog's: it ends a HLT whose loop then looks at the time. */
	if (frame->vector == VEC_NMI && cpus[1].state == MODE_WATCH)
		return;
	if (frame->vector < VEC_EXCEPTIONS)
		exception(frame);

	cpu->asleep = false;
	switch (frame->vector) {
	case VEC_INPUT:
		if (!console_irq())
			serial_irq();
		break;
	case VEC_WAKE:
		break;
	case VEC_WATCHDOG:
		wrmsr(MSR_X2APIC_ICR, ICR_NMI | ICR_ASSERT);
		wrmsr(MSR_X2APIC_TMICT, WATCHDOG_NS / 128);
		break;
	case VEC_SPURIOUS:	/* has no EOI; never ours, so the checks complain */
		cpu->vector = VEC_SPURIOUS;
		cpu->taken++;
		return;
	default:
		cpu->tsc = tsc;
		cpu->vector = frame->vector;
		/* EOI before the acknowledgment: if it exits, that belongs to the operation. */
		wrmsr(MSR_X2APIC_EOI, 0);
		cpu->taken++;
		return;
	}
	wrmsr(MSR_X2APIC_EOI, 0);
}

void cpu_init(u32 index)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) idtr = { sizeof(idt) - 1, (u64)idt };
	u32 regs[4];

	if (index == 0)
		idt_init();
	wrmsr(MSR_GS_BASE, (u64)&cpus[index]);
	asm volatile("lidt %0" : : "m"(idtr));

	cpuid(1, regs);
	if (!(regs[2] & 1u << 21)) {
		print("probe: FAIL boot cpu=%u has no x2APIC\n", (u64)index);
		stop(1);
	}
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
	wrmsr(MSR_X2APIC_SVR, SVR_ENABLE | VEC_SPURIOUS);
	wrmsr(MSR_X2APIC_TPR, 0);
	wrmsr(MSR_X2APIC_LVTT, LVT_MASKED);
	wrmsr(MSR_X2APIC_LVT0, LVT_MASKED);
	wrmsr(MSR_X2APIC_LVT1, LVT_MASKED);
}

static bool wait_for_state(enum mode mode, u64 ticks)
{
	u64 start = rdtsc();

	while (cpus[1].state != mode)
		if (rdtsc() - start > ticks)
			return false;
	return true;
}

void start_cpu1(void)
{
	volatile u8 *page = (u8 *)TRAMPOLINE;

	for (size_t i = 0; i < (size_t)(trampoline_end - trampoline); i++)
		page[i] = trampoline[i];

	wrmsr(MSR_X2APIC_ICR, 1ull << 32 | ICR_INIT | ICR_ASSERT);
	spin(1000000);
	for (int tries = 0; tries < 2; tries++) {
		wrmsr(MSR_X2APIC_ICR, 1ull << 32 | ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12);
		if (wait_for_state(MODE_PARK, TIMEOUT / 2))
			return;
	}
	print("probe: FAIL boot cpu=1 does not start\n");
	stop(1);
}

void cpu1_loop(void)
{
	struct cpu *cpu = &cpus[1];

	for (;;) {
		enum mode mode = cpu->mode;

		if (cpu->state != mode) {
			if (mode == MODE_WATCH || cpu->state == MODE_WATCH)
				watchdog_arm(mode == MODE_WATCH);
			cpu->state = mode;
		}
		/* No PAUSE: pause-loop exits would be counted as the operation's. */
		if (mode == MODE_SPIN) {
			sti();
			while (cpu->mode == MODE_SPIN)
				;
			continue;
		}
		cli();
		if (cpu->mode == mode) {
			cpu->asleep = true;
			sti_hlt();
		}
	}
}

void set_mode(enum mode mode)
{
	cpus[1].mode = mode;
	/* WRMSR to an x2APIC register does not wait for earlier stores. */
	asm volatile("mfence" : : : "memory");
	send_ipi(1, VEC_WAKE);
	if (!wait_for_state(mode, TIMEOUT)) {
		print("probe: FAIL cpu=1 does not answer\n");
		stop(1);
	}
}

/* Edge-triggered, active high, to CPU 0. */
void ioapic_route(u32 gsi, u32 vector)
{
	volatile u32 *select = (u32 *)IOAPIC, *window = (u32 *)(IOAPIC + 0x10);

	*select = 0x11 + 2 * gsi;
	*window = 0;
	*select = 0x10 + 2 * gsi;
	*window = vector;
}
