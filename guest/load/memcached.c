// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Clients of memcached, each with a connection of its own and a request under way: one SET, then nine GETs, and so on, as
 * memaslap has it. A value says which key it is of and how often that was set, all of it is checked.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum {
	PORT = 11211, CLIENTS = 4, KEYS = 16 /* of each client */, GETS = 9, VALUE_SIZE = 1024,
	PATIENCE = 20000 /* milliseconds of the guest's */
};

struct client {
	int fd;
	unsigned int id, request;
	unsigned int versions[KEYS];
	char answer[2 * VALUE_SIZE], expected[2 * VALUE_SIZE];
	size_t got, due;
};

static int connection_to(const char *address)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (!address || !inet_pton(AF_INET, address, &where.sin_addr))
		die("%s: not an address", address ? address : "nothing");
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    connect(fd, (struct sockaddr *)&where, sizeof(where)))
		die("%s: %m", address);
	return fd;
}

static void make_value(char *value, const struct client *client, unsigned int key)
{
	int length = snprintf(value, VALUE_SIZE, "client %u key %u version %u ", client->id, key, client->versions[key]);

	for (size_t i = (size_t)length; i < VALUE_SIZE; i++)
		value[i] = (char)('a' + (i * 7 + key + client->versions[key]) % 26);
}

/* Each key is set in the first round; later rounds come upon what an earlier one has set. */
static void ask(struct client *client)
{
	unsigned int round = client->request / (1 + GETS), key = round % KEYS, step = client->request % (1 + GETS);
	char request[2 * VALUE_SIZE];
	int length;

	client->request++;
	client->got = 0;
	if (!step) {
		client->versions[key]++;
		length = snprintf(request, sizeof(request), "set %u-%u 0 0 %d\r\n", client->id, key, VALUE_SIZE);
		make_value(request + length, client, key);
		length += VALUE_SIZE;
		memcpy(request + length, "\r\n", 2);
		send_all(client->fd, request, (size_t)length + 2);
		client->due = (size_t)snprintf(client->expected, sizeof(client->expected), "STORED\r\n");
		return;
	}
	/* The keys that were set last, newest first. */
	key = (round - (step - 1) % (round < KEYS ? round + 1 : KEYS)) % KEYS;
	length = snprintf(request, sizeof(request), "get %u-%u\r\n", client->id, key);
	send_all(client->fd, request, (size_t)length);
	length = snprintf(client->expected, sizeof(client->expected), "VALUE %u-%u 0 %d\r\n", client->id, key, VALUE_SIZE);
	make_value(client->expected + length, client, key);
	length += VALUE_SIZE;
	memcpy(client->expected + length, "\r\nEND\r\n", 7);
	client->due = (size_t)length + 7;
}

/* Returns whether an answer is complete; a wrong one may be shorter than the right one, and ends it. */
static bool hear(struct client *client)
{
	ssize_t n = recv(client->fd, client->answer + client->got, client->due - client->got, 0);

	if (n <= 0)
		die("client %u, request %u: %s", client->id, client->request, n ? strerror(errno) : "memcached is gone");
	client->got += (size_t)n;
	if (memcmp(client->answer, client->expected, client->got))
		die("client %u, request %u: a wrong answer: %.40s", client->id, client->request, client->answer);
	return client->got == client->due;
}

static void wait_for_answers(struct pollfd *polled)
{
	int ready = poll(polled, CLIENTS, PATIENCE);

	if (ready < 0)
		die("poll: %m");
	if (!ready)
		die("no answer within %d ms", PATIENCE);
}

void ask_memcached(uint64_t count, const char *address)
{
	static struct client clients[CLIENTS];
	struct pollfd polled[CLIENTS];
	uint64_t asked = 0, answered = 0, tsc;

	for (unsigned int i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){ .fd = connection_to(address), .id = i };
		polled[i] = (struct pollfd){ .fd = clients[i].fd, .events = POLLIN };
	}
	tsc = rdtsc();
	for (; asked < count && asked < CLIENTS; asked++)
		ask(&clients[asked]);
	while (answered < count) {
		wait_for_answers(polled);
		for (unsigned int i = 0; i < CLIENTS; i++) {
			if (!polled[i].revents || !hear(&clients[i]))
				continue;
			answered++;
			if (asked < count) {
				ask(&clients[i]);
				asked++;
			}
		}
	}
	printf("clock: begin=%lu end=%lu\n%lu answers are right\n", tsc, rdtsc(), answered);
}
