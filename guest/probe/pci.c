/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI by its configuration ports, bus 0: devices, their BARs and MSI; and the ICH9's power-management base. */
#include "probe.h"

#define PCI_ADDRESS	0xcf8
#define PCI_DATA	0xcfc
#define PCI_DEVICE(n)	((n) << 3)	/* on bus 0, function 0 */
#define PCI_BAR(n)	(0x10 + 4 * (n))
#define PCI_COMMAND	0x04
#define PCI_ENABLE	7		/* ports, memory, bus master */
#define PCI_CAPABILITIES 0x34

#define MSIX		0x11
#define MSIX_ENABLE	(1u << 31)
#define MSIX_MASK_ALL	(1u << 30)
#define MSIX_TABLE	4
#define MSIX_MASK	1		/* of an entry */

#define MSI		5
#define MSI_ENABLE	(1u << 16)
#define MSI_ADDRESS	4		/* of 64 bits */
#define MSI_DATA	12

#define ICH9_LPC	(31u << 3)
#define ICH9_LPC_ID	0x29188086
#define ICH9_PMBASE	0x40
#define ICH9_ACPI_CTRL	0x44
#define ICH9_ACPI_EN	0x80

u32 pci_read(u32 bdf, u32 offset)
{
	outl(PCI_ADDRESS, 1u << 31 | bdf << 8 | offset);
	return inl(PCI_DATA);
}

static void pci_write(u32 bdf, u32 offset, u32 value)
{
	outl(PCI_ADDRESS, 1u << 31 | bdf << 8 | offset);
	outl(PCI_DATA, value);
}

u16 pm_base(void)
{
	u32 base;

	if (pci_read(ICH9_LPC, 0) != ICH9_LPC_ID)
		return 0;
	base = pci_read(ICH9_LPC, ICH9_PMBASE) & 0xff80;
	if (!base) {
		base = 0x600;
		pci_write(ICH9_LPC, ICH9_PMBASE, base | 1);
	}
	pci_write(ICH9_LPC, ICH9_ACPI_CTRL, pci_read(ICH9_LPC, ICH9_ACPI_CTRL) | ICH9_ACPI_EN);
	return base;
}

/* The last one: what a stack gives comes behind what every probe has (dvhbuild/guests.py). */
u32 pci_find(u32 id)
{
	for (u32 device = 31; device > 0; device--) {
		if (pci_read(PCI_DEVICE(device), 0) == id)
			return PCI_DEVICE(device);
	}
	return 0;
}

void pci_enable(u32 bdf)
{
	pci_write(bdf, PCI_COMMAND, PCI_ENABLE);
}

u32 pci_bar(u32 bdf, u32 n, u32 mask, u32 fallback)
{
	if (!(pci_read(bdf, PCI_BAR(n)) & mask))
		pci_write(bdf, PCI_BAR(n), fallback);
	return pci_read(bdf, PCI_BAR(n)) & mask;
}

u32 pci_capability(u32 bdf, u32 id, u32 after)
{
	u32 at = after ? pci_read(bdf, after) >> 8 & 0xfc : pci_read(bdf, PCI_CAPABILITIES) & 0xfc;

	while (at && (pci_read(bdf, at) & 0xff) != id)
		at = pci_read(bdf, at) >> 8 & 0xfc;
	return at;
}

static u32 msi_address(u32 cpu)
{
	return 0xfee00000 | cpu << 12;
}

bool pci_msi(u32 bdf, u32 cpu, u32 vector)
{
	u32 at = pci_capability(bdf, MSI, 0);

	if (!at)
		return false;
	pci_write(bdf, at + MSI_ADDRESS, msi_address(cpu));
	pci_write(bdf, at + MSI_ADDRESS + 4, 0);
	pci_write(bdf, at + MSI_DATA, vector);
	pci_write(bdf, at, pci_read(bdf, at) | MSI_ENABLE);
	return true;
}

bool pci_msix(u32 bdf, u32 cpu, u32 vector, u32 fallback)
{
	u32 at = pci_capability(bdf, MSIX, 0), where;
	volatile u32 *entry;

	if (!at)
		return false;
	where = pci_read(bdf, at + MSIX_TABLE);
	entry = (u32 *)(u64)(pci_bar(bdf, where & 7, ~0xfu, fallback) + (where & ~7u));
	entry[3] = MSIX_MASK;	/* else it need not be looked at again */
	entry[0] = msi_address(cpu);
	entry[1] = 0;
	entry[2] = vector;
	entry[3] = 0;
	pci_write(bdf, at, (pci_read(bdf, at) & ~MSIX_MASK_ALL) | MSIX_ENABLE);
	return true;
}
