#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run in a guest whose MSIs are posted: disks and a network under load while interrupts move from CPU to CPU. Prints TAP.
#
# A lost interrupt is not made good by the next one: virtio devices interrupt once for each time that the driver has asked
# them to, and who waits here for a disk or a ping does nothing else. AHCI's driver tries again after 30 s, and says so.

root=${ROOT:-}		# another one, for a test of this script itself
peer=10.0.0.2
operations=${1:-10000}
seconds=${2:-400}	# for the operations of a phase
disks=${3:-vda sda}
idle=${4:-none}		# devices that nothing here loads, as in /proc/interrupts: a regular expression
n=0
failed=

# result STATUS NAME: a line of TAP
result() {
	n=$((n + 1))
	if [ "$1" != 0 ]; then
		failed=yes
		printf "not "
	fi
	echo "ok $n $2"
}

# begin NAME COMMAND...: in the background
begin() {
	name=$1
	shift
	rm -f $name.status
	("$@" >$name.out 2>&1; echo $? >$name.status) &
	begun="$begun $name"
}

# Wait for all that has begun. What hangs may do so in the kernel, where nothing can end it.
finish() {
	left=$((seconds * 10))
	for name in $begun; do
		until [ -s $name.status ] || [ $left = 0 ]; do
			sleep 0.1	# on Bochs, a second takes a minute
			left=$((left - 1))
		done
		sed 's/^/# /' $name.out
		if [ -s $name.status ]; then
			result $(cat $name.status) $name
		else
			result 1 "$name: not done after $seconds s"
		fi
	done
	begun=
}

# What may be posted, as /proc/interrupts has it: number, counts of both CPUs, domain and device, ..., name
msis() {
	grep IR-PCI-MSI $root/proc/interrupts
}

# The format of each entry of the IOMMU's table, and its device
entries() {
	awk '/^(Remapped|Posted) Interrupt/ { format = tolower($1) } $2 ~ /^..:..\..$/ { print format, $2 }' \
		$root/sys/kernel/debug/iommu/intel/ir_translation_struct
}

# Move all that the kernel lets us: it keeps those of a virtio disk's queues on a CPU each.
move() {
	moves=0
	trap 'echo $moves >moves; exit' TERM
	while :; do
		for mask in 1 2; do
			for irq in $movable; do
				echo $mask 2>/dev/null >$root/proc/irq/$irq/smp_affinity && moves=$((moves + 1))
			done
		done
	done
}

# read_all DISK: on the CPU that `dvhload read` is not on
read_all() {
	for i in 1 2 3; do
		taskset 2 dd if=$root/dev/$1 bs=4k iflag=direct 2>/dev/null | cmp - data || return 1
	done
}

cd $root/run || exit 1
echo 1..18

for disk in $disks; do
	dd if=$root/dev/$disk of=data bs=1M 2>/dev/null
	[ "$(sha256sum <data)" = "$(cat sum)  -" ]
	result $? "$disk holds what was written there"
done

movable=
for irq in $(msis | sed 's/:.*//'); do
	echo 3 2>/dev/null >$root/proc/irq/$irq/smp_affinity && movable="$movable $irq"
done
move &
mover=$!

# One at a time for each device
begin ping dvhload ping $operations $peer
for disk in $disks; do
	begin $disk dvhload read $operations $root/dev/$disk data
done
finish

# Many, if all is well so far
if [ -z "$failed" ]; then
	begin echo dvhload echo $operations $peer
	begin stream dvhload stream $operations $peer
	begin maerts dvhload maerts $operations $peer
	for disk in $disks; do
		begin $disk-again dvhload read $operations $root/dev/$disk data
		begin $disk-all read_all $disk
	done
	finish
fi

kill $mover
wait $mover
moves=$(cat moves)
echo "# $moves moves of interrupts$movable; how many came to CPU 0 and 1, notifications, and the IOMMU's entries:"
msis | sed 's/^/#/'
grep PMN: $root/proc/interrupts | sed 's/^/#/'
entries | sed 's/^/# /'

[ "$moves" -ge $operations ]
result $? "interrupts were moved"

msis | awk -v least=$((operations / 100)) -v idle="$idle" '
	/-config/ || $0 ~ idle { next }
	/-req/ && $2 + $3 >= least { next }
	$2 < least || $3 < least { bad = 1 }
	END { exit bad || NR < 10 }'
result $? "each interrupt came to its CPUs"

awk -v least=$operations '/PMN:/ { fine = $2 >= least && $3 >= least } END { exit !fine }' $root/proc/interrupts
result $? "each CPU was notified"

entries >entries
for device in $(msis | sed 's/.*-0000:\([^ ]*\).*/\1/' | sort -u); do
	grep -q "posted $device" entries && ! grep -q "remapped $device" entries || echo $device
done >not-posted
[ ! -s not-posted ] && grep -q posted entries
result $? "all MSIs are posted"

# Lost packets that were sent again. A CPU of the host's that is busy elsewhere may cost a few.
for where in "" "nsenter -t $(cat peer) -n"; do
	$where awk '$1 == "TcpExt:" { for (i = 2; i <= NF; i++) if ($i ~ /^[A-Z]/) name[i] = $i
		else if (name[i] == "TCPTimeouts") print $i }' $root/proc/net/netstat
done >timeouts
echo "# TCP timeouts, at both ends:" $(cat timeouts)
awk -v most=$((operations / 1000)) '{ n += $1 } END { exit n > most || NR != 2 }' timeouts
result $? "TCP did not time out"

dmesg | grep -E 'No irq handler|nobody cared|[Tt]imeout|timed out|[Ll]ost|frozen|exception|handling fault|INTR-REMAP' >complaints
sed 's/^/# /' complaints
[ ! -s complaints ]
result $? "the kernel does not complain"
