// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's loop.  Nothing wakes it but the host, a process's output or a
 * process's end: every wake-up of a nested guest costs its hypervisors dozens
 * of exits.
 *
 *	init: the kernel's parameters dvh.uplink=, dvh.name=, dvh.files=
 *	by hand: agent --uplink PATH [--name NAME]
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

#define TOKEN_UPLINK 0
#define TOKEN_SIGNAL 1
#define TOKEN_CHANNEL 2
#define MAX_EVENTS 16
/* While a socket that the host wants is not there: ms between two looks. */
#define CONNECT_RETRY 20
#define PROBLEMS_SIZE 512

const char *agent_name = "";
static char problems[PROBLEMS_SIZE];
static int epoll_fd = -1;
static bool is_init;

/* Our own failures: in the kernel's log, and in HELLO if it is still to come. */
void warn(const char *what, const char *name, int error)
{
	size_t used = strlen(problems);
	char line[300];
	int fd, n;

	n = snprintf(line, sizeof(line), "<3>dvh-agent: %s: %s%s%s\n", what, name,
		     error ? ": " : "", error ? strerror(error) : "");
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	snprintf(problems + used, sizeof(problems) - used, "%s", line + 3);
	fd = is_init ? open("/dev/kmsg", O_WRONLY | O_CLOEXEC) : dup(2);
	if (fd < 0)
		return;
	/* There is nowhere left to say that this failed. */
	if (write(fd, line, (size_t)n) < 0)
		errno = 0;
	close(fd);
}

uint32_t channel_token(unsigned int slot, bool out)
{
	return TOKEN_CHANNEL + 2 * slot + out;
}

void watch(int fd, uint32_t token)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = token };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
		warn("cannot watch", "a descriptor", errno);
}

void unwatch(int fd)
{
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* version:2, n:2, n times (id:2, sent:4, received:4), then lines of text */
void send_hello(void)
{
	uint8_t payload[4 + 10 * MAX_CHANNELS + 512 + PROBLEMS_SIZE];
	struct utsname u;
	size_t n = channels_list(payload + 4);
	char *text = (char *)payload + 4 + 10 * n;
	int len;

	uname(&u);
	put16(payload, PROTOCOL_VERSION);
	put16(payload + 2, (uint16_t)n);
	len = snprintf(text, 512 + PROBLEMS_SIZE, "%s\n%s\n%s", u.release, agent_name, problems);
	tx_send(FRAME_HELLO, 0, payload, 4 + 10 * n + (size_t)len);
}

/* The host is gone: nobody reads what was for it. */
void hang_up(void)
{
	if (!is_init)
		exit(0);
	channels_keep(NULL, 0);
	rx_clear();
	tx_clear();
}

static void reap(int signal_fd)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(signal_fd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		channels_child(pid, status);
}

/* Move bytes and frames until none can move. */
static void serve(struct uplink *up)
{
	bool more;

	do {
		struct frame frame;

		more = false;
		while (tx_has_room_for_control() && rx_next(&frame)) {
			channel_frame(&frame);
			more = true;
		}
		if (up->readable && tx_has_room_for_control())
			more |= uplink_read(up);
		more |= channels_pump(up->chunk);
		more |= uplink_write(up);
	} while (more);
}

static void loop(struct uplink *up, int signal_fd)
{
	struct epoll_event events[MAX_EVENTS];

	for (;;) {
		bool waiting;
		int n;

		serve(up);
		waiting = channels_connect();
		uplink_write(up);
		n = epoll_wait(epoll_fd, events, MAX_EVENTS, waiting ? CONNECT_RETRY : -1);
		for (int i = 0; i < n; i++) {
			uint32_t token = events[i].data.u32;

			if (token == TOKEN_UPLINK)
				uplink_event(up, events[i].events);
			else if (token == TOKEN_SIGNAL)
				reap(signal_fd);
			else
				channel_event((token - TOKEN_CHANNEL) / 2, (token - TOKEN_CHANNEL) & 1,
					      events[i].events);
		}
	}
}

static int open_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static const char *arguments(int argc, char **argv)
{
	const char *where = NULL;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--uplink"))
			where = argv[i + 1];
		else if (!strcmp(argv[i], "--name"))
			agent_name = argv[i + 1];
	}
	return where;
}

int main(int argc, char **argv)
{
	static struct uplink up;
	const char *where;
	int signal_fd;

	is_init = getpid() == 1;
	frame_init();
	signal_fd = open_signals();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (is_init)
		boot();
	where = is_init ? boot_param("dvh.uplink") : arguments(argc, argv);
	if (!where || !uplink_open(&up, where)) {
		warn("no uplink", where ? where : "set dvh.uplink=", 0);
		if (!is_init)
			return 2;
		process_console_shell();
	}
	watch(up.fd, TOKEN_UPLINK);
	watch(signal_fd, TOKEN_SIGNAL);
	loop(&up, signal_fd);
}
