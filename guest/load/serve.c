// SPDX-License-Identifier: GPL-2.0-or-later
/* The other end of a network: in the background, a process for each connection. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

static void send_back(int fd)
{
	char data[256];
	ssize_t n;

	while ((n = recv(fd, data, sizeof(data), 0)) > 0)
		send_all(fd, data, (size_t)n);
}

static void check_blocks(int fd)
{
	static uint64_t block[BLOCK_WORDS];

	for (;;) {
		uint64_t sum;

		receive_all(fd, block, sizeof(block));
		sum = checksum(block, BLOCK_WORDS);
		send_all(fd, &sum, sizeof(sum));
	}
}

static void send_blocks(int fd)
{
	static uint64_t block[BLOCK_WORDS];

	for (;;) {
		uint64_t n;

		receive_all(fd, &n, sizeof(n));
		make_block(block, n);
		send_all(fd, block, sizeof(block));
	}
}

static const struct service {
	uint16_t port;
	void (*serve)(int fd);
} services[] = {
	{ ECHO_PORT, send_back },
	{ STREAM_PORT, check_blocks },
	{ MAERTS_PORT, send_blocks },
};

enum { SERVICES = sizeof(services) / sizeof(*services) };

static int listen_at(uint16_t port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) || bind(fd, (struct sockaddr *)&any, sizeof(any)) ||
	    listen(fd, 8))
		die("port %d: %m", port);
	return fd;
}

static void answer(const struct service *service, int listening)
{
	int fd = accept(listening, NULL, NULL);

	if (fd >= 0 && !fork()) {
		service->serve(fd);
		_exit(0);
	}
	close(fd);
}

void serve(void)
{
	struct pollfd polled[SERVICES];

	for (size_t i = 0; i < SERVICES; i++)
		polled[i] = (struct pollfd){ .fd = listen_at(services[i].port), .events = POLLIN };
	signal(SIGCHLD, SIG_IGN);
	if (daemon(0, 0))
		die("daemon: %m");
	while (poll(polled, SERVICES, -1) > 0)
		for (size_t i = 0; i < SERVICES; i++)
			if (polled[i].revents)
				answer(&services[i], polled[i].fd);
}
