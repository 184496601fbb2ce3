/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the loader's 32-bit PVH entry, or from a SIPI, to 64-bit C; and the
 * 256 interrupt stubs.
 */
#include "layout.h"

	.section .note.pvh, "a", @note
	.balign	4
	.long	4			# bytes of the name
	.long	8			# bytes of the entry's address; QEMU reads 8
	.long	18			# XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.quad	start

	.section .text.boot, "ax"
	.code32
	.globl	start
start:
	cli
	cld
	lgdt	gdt_pointer

	/* Identity map of the first 4 GiB: RAM, IOAPIC and PCI windows. */
	mov	$pd, %ebx
	mov	$0x83, %eax		# present, writable, 2 MiB
	mov	$2048, %ecx
1:	mov	%eax, (%ebx)
	add	$0x200000, %eax
	add	$8, %ebx
	loop	1b
	movl	$pdpt + 3, pml4
	movl	$pd + 0x0003, pdpt
	movl	$pd + 0x1003, pdpt + 8
	movl	$pd + 0x2003, pdpt + 16
	movl	$pd + 0x3003, pdpt + 24
	xor	%edi, %edi		# index of this CPU

enter_long:
	mov	$0x20, %eax		# PAE
	mov	%eax, %cr4
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx	# EFER
	rdmsr
	bts	$8, %eax		# LME
	wrmsr
	mov	$0x80000031, %eax	# PG, NE, ET, PE; caches on
	mov	%eax, %cr0
	ljmp	$GDT_CODE64, $long_start

ap_start32:
	mov	$GDT_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$1, %edi
	jmp	enter_long

	.code64
long_start:
	mov	$GDT_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	imul	$STACK_SIZE, %edi, %eax
	lea	stacks + STACK_SIZE(%rax), %rsp
	call	cpu_start
2:	cli
	hlt
	jmp	2b

	/* Copied to TRAMPOLINE, where the SIPI starts CPU 1 in real mode. */
	.code16
	.globl	trampoline, trampoline_end
trampoline:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + (3f - trampoline)
	mov	$0x11, %eax		# ET, PE
	mov	%eax, %cr0
	ljmpl	$GDT_CODE32, $ap_start32
3:	.word	gdt_end - gdt - 1
	.long	gdt
trampoline_end:

	.code64
	.text
	/* 16 bytes each: the vector, and a zero where the CPU pushes no error code. */
	.globl	stubs
	.balign	16
stubs:
vector = 0
	.rept	256
	.balign	16
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
	push	$0
	.endif
	push	$vector
	jmp	common
vector = vector + 1
	.endr

	/* Leaves struct frame on the stack; the TSC is read before anything else. */
common:
	push	%rax
	push	%rdx
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	push	%rcx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	mov	%rax, %rsi
	mov	%rsp, %rdi
	cld
	call	trap
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rcx
	pop	%rdx
	pop	%rax
	add	$16, %rsp
	iretq

	.section .rodata
	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	# GDT_CODE32
	.quad	0x00cf93000000ffff	# GDT_DATA
	.quad	0x00af9b000000ffff	# GDT_CODE64
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.bss
	.balign	4096
pml4:	.skip	4096
pdpt:	.skip	4096
pd:	.skip	4 * 4096
stacks:	.skip	2 * STACK_SIZE

	.section .note.GNU-stack, "", @progbits
