// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A network, with whoever runs `dvhload serve` at the other end: pings; a byte by TCP and its echo, as netperf's TCP_RR
 * has it; blocks of 16 KiB in one direction, as its TCP_STREAM and TCP_MAERTS have them, but with only a few on the way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { WARMUP = 20, CPU = 0, PATIENCE = 20 /* seconds of the guest's */, PING_SIZE = 56, WINDOW = 8 };

static int peer;
static uint64_t number;

void receive_all(int fd, void *data, size_t size)
{
	for (size_t got = 0; got < size; ) {
		ssize_t n = recv(fd, (char *)data + got, size - got, 0);

		if (n <= 0)
			die("lost: %zu of %zu bytes came: %s", got, size, n ? strerror(errno) : "the peer is gone");
		got += (size_t)n;
	}
}

void send_all(int fd, const void *data, size_t size)
{
	for (size_t sent = 0; sent < size; ) {
		ssize_t n = send(fd, (const char *)data + sent, size - sent, MSG_NOSIGNAL);

		if (n < 0)
			die("send: %m");
		sent += (size_t)n;
	}
}

/* Block n has its number in one place, which is another for each, and what earlier ones had in the others. */
void make_block(uint64_t *block, uint64_t n)
{
	block[n % BLOCK_WORDS] = ~n;
}

/* By whole words, so that it costs less than what it checks. */
uint64_t checksum(const uint64_t *words, size_t count)
{
	uint64_t sum = 0xcbf29ce484222325;

	for (size_t i = 0; i < count; i++)
		sum = (sum ^ words[i]) * 0x100000001b3;
	return sum;
}

static void connect_to(const char *address, int type, int protocol, uint16_t port)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval patience = { .tv_sec = PATIENCE };
	int on = 1;

	if (!address || !inet_pton(AF_INET, address, &where.sin_addr))
		die("%s: not an address", address ? address : "nothing");
	peer = socket(AF_INET, type | SOCK_CLOEXEC, protocol);
	if (peer < 0 || setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		die("socket: %m");
	if (type == SOCK_STREAM && setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
		die("TCP_NODELAY: %m");
	if (connect(peer, (struct sockaddr *)&where, sizeof(where)))
		die("%s: %m", address);
}

static void measure(const char *operation, uint64_t (*once)(void), uint64_t count, bool mark)
{
	uint64_t *ticks = results_of(count);

	pin(CPU);
	number = 0;
	repeat(once, ticks, count, WARMUP, mark);
	close(peer);
	report(operation, ticks, count, 0);
	free(ticks);
}

struct ping {
	struct icmphdr head;
	uint64_t data[PING_SIZE / sizeof(uint64_t)];
};

static uint64_t ping_once(void)
{
	struct ping ping = { .head = { .type = ICMP_ECHO } }, answer = { 0 };
	ssize_t size;
	uint64_t start;

	ping.head.un.echo.sequence = htons((uint16_t)++number);
	for (size_t i = 0; i < sizeof(ping.data) / sizeof(*ping.data); i++)
		ping.data[i] = number * i;
	start = rdtsc();
	send_all(peer, &ping, sizeof(ping));
	size = recv(peer, &answer, sizeof(answer), 0);
	start = rdtsc() - start;
	if (size < 0)
		die("ping %lu is lost: %m", number);
	if (size != sizeof(answer) || answer.head.type != ICMP_ECHOREPLY ||
	    answer.head.un.echo.sequence != ping.head.un.echo.sequence || memcmp(ping.data, answer.data, sizeof(ping.data)))
		die("ping %lu: %zd bytes of something else came back", number, size);
	return start;
}

void ping(uint64_t count, bool mark, char **words)
{
	static const char range[] = "/proc/sys/net/ipv4/ping_group_range";
	int fd = open(range, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0 0", 3) != 3)
		die("%s: %m", range);
	close(fd);
	connect_to(words[0], SOCK_DGRAM, IPPROTO_ICMP, 0);
	measure("linux-ping", ping_once, count, mark);
}

static uint64_t echo_once(void)
{
	uint8_t byte = (uint8_t)++number, answer;
	uint64_t start = rdtsc();

	send_all(peer, &byte, sizeof(byte));
	receive_all(peer, &answer, sizeof(answer));
	start = rdtsc() - start;
	if (answer != byte)
		die("echo %lu: %d, not %d", number, answer, byte);
	return start;
}

void echo(uint64_t count, bool mark, char **words)
{
	connect_to(words[0], SOCK_STREAM, 0, ECHO_PORT);
	measure("linux-echo", echo_once, count, mark);
}

/* Blocks to the peer, whose checksums come back WINDOW blocks later. */
static uint64_t stream_once(void)
{
	static uint64_t block[BLOCK_WORDS], expected[WINDOW];
	uint64_t start, answer, *slot = &expected[++number % WINDOW], due = *slot;

	make_block(block, number);
	*slot = checksum(block, BLOCK_WORDS);
	start = rdtsc();
	send_all(peer, block, sizeof(block));
	if (number <= WINDOW)
		return rdtsc() - start;
	receive_all(peer, &answer, sizeof(answer));
	start = rdtsc() - start;
	if (answer != due)
		die("block %lu: its checksum is %lx at the other end, not %lx", number - WINDOW, answer, due);
	return start;
}

void stream(uint64_t count, bool mark, char **words)
{
	connect_to(words[0], SOCK_STREAM, 0, STREAM_PORT);
	measure("linux-stream", stream_once, count, mark);
}

/* Blocks from the peer, each asked for WINDOW blocks before. */
static uint64_t maerts_once(void)
{
	static uint64_t block[BLOCK_WORDS], expected[BLOCK_WORDS];
	uint64_t start, next = ++number + WINDOW;

	start = rdtsc();
	send_all(peer, &next, sizeof(next));
	receive_all(peer, block, sizeof(block));
	start = rdtsc() - start;
	make_block(expected, number);
	if (memcmp(block, expected, sizeof(block)))
		die("block %lu is not what was sent", number);
	return start;
}

void maerts(uint64_t count, bool mark, char **words)
{
	connect_to(words[0], SOCK_STREAM, 0, MAERTS_PORT);
	for (uint64_t first = 1; first <= WINDOW; first++)
		send_all(peer, &first, sizeof(first));
	measure("linux-maerts", maerts_once, count, mark);
}
