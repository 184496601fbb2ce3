/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The probe: performs one operation N times and says what each cost and whether it was right. */
#ifndef PROBE_H
#define PROBE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum {
	PROTOCOL_VERSION = 1,
	MAX_OPS = 20000,	/* operations in one run */
	WARMUP_OPS = 8,		/* performed and checked, but neither recorded nor marked */
	MAX_FAILURES = 3,	/* a run ends after as many, or after the first loss */
};

/* Ticks of the TSC after which an event is lost; 45 s of wall-clock on an emulated Skylake whose CPUs both spin. */
#define TIMEOUT		(1ull << 31)

/*
 * Markers: one-byte OUTs to the interrupt controllers of the PC, which KVM
 * serves in the kernel. In L0's kvm_exit they are IO_INSTRUCTION exits whose
 * qualification (info1) is port << 16, all other bits 0. The values written
 * (all lines edge-triggered, all masked) change nothing, as nobody uses the PICs.
 */
#define MARK_BEGIN		0x4d1	/* ELCR2: the operation starts after this */
#define MARK_END		0x4d0	/* ELCR1: the operation is over before this */
#define MARK_WINDOW_BEGIN	0x0a1	/* PIC2's mask: warm-up is over */
#define MARK_WINDOW_END		0x021	/* PIC1's mask: after the last operation */

/*
 * A nested guest's OUT is the guest hypervisor's, which costs as much as many
 * operations do. KVM on VMX gives its guests this MSR itself, but intercepts it in
 * nested ones whatever their hypervisor says: one exit (MSR_READ) to L0, none to L1.
 */
#define MARK_MSR_INDEX		0x174	/* IA32_SYSENTER_CS: read before and after the operation */

enum mark { MARK_NONE, MARK_PORT, MARK_MSR };

enum vector {
	VEC_NMI = 2,
	VEC_EXCEPTIONS = 32,	/* below: exceptions */
	VEC_WAKE = 0x22,
	VEC_WATCHDOG = 0x23,
	VEC_INPUT = 0x31,
	VEC_SPURIOUS = 0xff,	/* all others belong to the operations */
};

/* What CPU 1 does when it is not in a handler. */
enum mode {
	MODE_PARK,	/* HLT, woken by IPIs only */
	MODE_SPIN,	/* spin with interrupts enabled */
	MODE_WATCH,	/* HLT, and send an NMI to CPU 0 every WATCHDOG_NS */
};

struct cpu {
	struct cpu *self;		/* GS base points here */
	volatile u64 taken;		/* interrupts that belong to operations */
	volatile u64 tsc;		/* TSC when the last of them was taken */
	volatile u32 vector;		/* its vector */
	volatile enum mode mode;	/* wanted by CPU 0 */
	volatile enum mode state;	/* reached by this CPU; -1 before it is up */
	volatile bool asleep;		/* set just before HLT, cleared by every interrupt */
} __attribute__((aligned(64)));

/* Deliberate, to see that the checks notice. */
enum fault { FAULT_NONE, FAULT_LOST, FAULT_SURPLUS, FAULT_VECTOR, FAULT_EARLY };

struct options {
	u64 count;
	u64 delay;	/* ticks; 0: the operation's default */
	enum mark mark;
	bool vary;	/* another timer vector for each operation */
	enum fault fault;
};

struct op {
	const char *name;
	const char *(*prepare)(const struct options *options);	/* why it cannot run, or NULL */
	void (*before)(u64 i);
	u64 (*act)(void);		/* between the markers; returns ticks */
	void (*after)(void);		/* after the end marker: wait, check */
	void (*finish)(void);
};

struct tally {
	u64 lost, early, wrong;
};

/* apic.c */
extern struct cpu cpus[2];
void cpu_init(u32 index);
void start_cpu1(void);
void cpu1_loop(void) __attribute__((noreturn));
void set_mode(enum mode mode);
void ioapic_route(u32 gsi, u32 vector);

/* text.c */
void hear(char c);
void read_line(char *line, size_t size);
void print(const char *format, ...);	/* %s of a string, %u and %x of u64, nothing else */
void vprint(const char *format, va_list args);

/* serial.c */
void serial_init(void);
void serial_listen(void);
void serial_irq(void);
void serial_write(const char *text, size_t length);

/* console.c: false if there is none */
bool console_listen(void);
bool console_irq(void);
bool console_write(const char *text, size_t length);

/* main.c */
void stop(u32 code) __attribute__((noreturn));

/* pci.c: a device is its number on bus 0, shifted as configuration addresses are */
u16 pm_base(void);	/* 0 on a machine without an ICH9 */
u32 pci_find(u32 id);	/* 0 if there is none */
void pci_enable(u32 bdf);
u32 pci_bar(u32 bdf, u32 n, u32 mask, u32 fallback);
u32 pci_read(u32 bdf, u32 offset);
u32 pci_capability(u32 bdf, u32 id, u32 after);	/* the first, or the one after that; 0 if there is none */
bool pci_msi(u32 bdf, u32 cpu, u32 vector);
bool pci_msix(u32 bdf, u32 cpu, u32 vector, u32 fallback);	/* entry 0; its table's BAR must be enabled */

/* virtio.c */
enum { QUEUE_SIZE = 4 };
enum { QUEUE_NEXT = 1, QUEUE_WRITE = 2 };	/* flags of a buffer: there is another part, the device writes to it */

struct queue {
	struct { u64 address; u32 length; u16 flags, next; } descriptors[QUEUE_SIZE];
	struct { u16 flags, index, ring[QUEUE_SIZE]; } available;
	struct { u16 flags, index; struct { u32 id, length; } ring[QUEUE_SIZE]; } used __attribute__((aligned(4)));
} __attribute__((aligned(16)));

struct virtio {
	volatile struct registers *registers;
	u64 notify;
	u32 multiplier;
};

/* Returns why the device cannot be used, or NULL; the vector is that of all queues with interrupts. */
const char *virtio_begin(struct virtio *device, u32 bdf, u32 cpu, u32 vector);
/* Between begin and ready; returns the queue's doorbell. */
volatile u16 *virtio_queue(struct virtio *device, u16 number, volatile struct queue *queue, bool interrupts);
void virtio_ready(struct virtio *device);
void virtio_buffer(volatile struct queue *queue, u16 part, volatile void *address, u32 length, u16 flags);
void virtio_offer(volatile struct queue *queue, u16 part);	/* and then ring its doorbell */

/* checks.c */
enum { VECTORS = 8, SETTLE = 100000 /* ticks in which a surplus interrupt would come */ };

/* What it took to wake CPU 1, in ticks: to the first instruction of its handler, and until we saw that. */
struct waking {
	u64 latency, round_trip;
};

extern const u8 vectors[VECTORS];	/* of several priority classes, and none of the probe's own */
extern enum fault fault;
extern u64 delay;
void begin(const struct options *options, u64 default_delay);
void expect(struct cpu *cpu, u32 vector);
bool arrived(void);	/* all that was expected of the CPU */
bool settled(void);	/* and no more, of both */
void await(void);
void check(void);
void check_surplus(void);
u64 until_taken(u64 start);	/* ticks until CPU 1 took what was raised after `start`; 0 if it did not */
const char *prepare_asleep(const struct options *options);
/* Ends when CPU 1 sleeps again, or its HLT would be the next operation's. */
struct waking wake(void (*raise)(void));

/* timers.c, ipis.c, doorbell.c, edu.c, disk.c */
extern const struct op timer_program, timer_immediate, timer_expiry, timer_lvtt, halt_wake_timer;
extern const struct op ipi, ipi_send, ipi_halted, ipi_self, halt_wake_ipi;
extern const struct op doorbell_mmio, doorbell_pio;
extern const struct op halt_wake_device, device_interrupt;
extern const struct op doorbell, disk_interrupt;

/* ops.c */
extern const struct op *const ops[];
extern const size_t ops_count;

/* run.c */
extern struct tally tally;
void fail(u64 *counter, const char *format, ...);	/* counter: which of the tally's */
void run(const struct op *op, const struct options *options);

/* stats.c */
void stats_reset(u64 ops);
void stats_add(u64 ticks);
void stats_report(const char *op, const struct tally *tally, bool histogram);

static inline u64 rdtsc(void)
{
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (u64)high << 32 | low;
}

static inline u64 rdmsr(u32 msr)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (u64)high << 32 | low;
}

static inline void wrmsr(u32 msr, u64 value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline void cpuid(u32 leaf, u32 regs[4])
{
	asm volatile("cpuid" : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3]) : "a"(leaf), "c"(0) : "memory");
}

/* The port always in DX: the immediate form has another exit qualification. */
static inline void outb(u16 port, u8 value)
{
	asm volatile("outb %%al, %%dx" : : "a"(value), "d"(port) : "memory");
}

static inline u8 inb(u16 port)
{
	u8 value;

	asm volatile("inb %%dx, %%al" : "=a"(value) : "d"(port) : "memory");
	return value;
}

static inline void outw(u16 port, u16 value)
{
	asm volatile("outw %%ax, %%dx" : : "a"(value), "d"(port) : "memory");
}

static inline void outl(u16 port, u32 value)
{
	asm volatile("outl %%eax, %%dx" : : "a"(value), "d"(port) : "memory");
}

static inline u32 inl(u16 port)
{
	u32 value;

	asm volatile("inl %%dx, %%eax" : "=a"(value) : "d"(port) : "memory");
	return value;
}

static inline void cli(void)
{
	asm volatile("cli" : : : "memory");
}

static inline void sti(void)
{
	asm volatile("sti" : : : "memory");
}

/* STI takes effect after HLT has begun, so that no interrupt slips in between. */
static inline void sti_hlt(void)
{
	asm volatile("sti\n\thlt" : : : "memory");
}

static inline void spin(u64 ticks)
{
	u64 start = rdtsc();

	while (rdtsc() - start < ticks)
		;
}

/* x2APIC registers */
#define MSR_APIC_BASE		0x1b
#define MSR_TSC_DEADLINE	0x6e0
#define MSR_X2APIC_TPR		0x808
#define MSR_X2APIC_EOI		0x80b
#define MSR_X2APIC_SVR		0x80f
#define SVR_ENABLE		(1u << 8)
#define MSR_X2APIC_ICR		0x830
#define MSR_X2APIC_LVTT		0x832
#define MSR_X2APIC_LVT0		0x835
#define MSR_X2APIC_LVT1		0x836
#define MSR_X2APIC_TMICT	0x838
#define MSR_X2APIC_TDCR		0x83e
#define MSR_X2APIC_SELF_IPI	0x83f

#define LVTT_DEADLINE		(2u << 17)
#define LVT_MASKED		(1u << 16)

/* Fixed delivery, physical destination; APIC ids are CPU indices, as QEMU gives them to -smp 2. */
static inline void send_ipi(u32 cpu, u32 vector)
{
	wrmsr(MSR_X2APIC_ICR, (u64)cpu << 32 | vector);
}

#endif
