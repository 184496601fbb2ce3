// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Starts processes, each in a session of its own.  vfork(), because on an
 * emulated processor below two hypervisors each copied page is dear.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"

#define SHELL "/bin/sh"

/* In the child of a vfork(): only system calls, only locals of the caller. */
static void become(char *const argv[], int in, int out, bool tty)
{
	sigset_t none;

	sigemptyset(&none);
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (tty)
		ioctl(0, TIOCSCTTY, 0);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(SHELL, argv);
	_exit(127);
}

static pid_t spawn(const char *command, int in, int out, bool tty)
{
	char *const with[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
	char *const without[] = { (char *)"sh", NULL };
	pid_t pid = vfork();

	if (!pid)
		become(*command ? with : without, in, out, tty);
	return pid;
}

static void close_both(int fds[2])
{
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
}

static int nonblocking(int fd)
{
	return fd < 0 ? 0 : fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* Run a command, its output and errors on one pipe; 0 or the error number. */
int process_start(struct process *p, const char *command, bool with_input)
{
	int input[2] = { -1, -1 }, output[2] = { -1, -1 };
	int error = 0;

	if (pipe2(output, O_CLOEXEC))
		return errno;
	if (with_input) {
		if (pipe2(input, O_CLOEXEC))
			error = errno;
	} else {
		input[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (input[0] < 0)
			error = errno;
	}
	if (!error && (nonblocking(output[0]) || nonblocking(input[1])))
		error = errno;
	if (!error) {
		p->pid = spawn(command, input[0], output[1], false);
		if (p->pid < 0)
			error = errno;
	}
	if (error) {
		close_both(input);
		close_both(output);
		return error;
	}
	close(input[0]);
	close(output[1]);
	p->in = output[0];
	p->out = input[1];
	return 0;
}

/* A pty pair without grantpt(): devpts made the node for root already. */
static int open_pty(int pair[2], uint16_t rows, uint16_t cols)
{
	struct winsize size = { .ws_row = rows, .ws_col = cols };
	int unlock = 0;

	pair[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (pair[0] < 0)
		return errno;
	if (ioctl(pair[0], TIOCSPTLCK, &unlock))
		return errno;
	pair[1] = ioctl(pair[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (pair[1] < 0)
		return errno;
	return ioctl(pair[0], TIOCSWINSZ, &size) ? errno : 0;
}

/* Run a command (or a shell, if it is empty) on a terminal of its own. */
int process_start_pty(struct process *p, const char *command, const char *term,
		      uint16_t rows, uint16_t cols)
{
	int pair[2] = { -1, -1 };
	int error = open_pty(pair, rows, cols);

	if (!error) {
		const char *before = getenv("TERM");

		setenv("TERM", *term ? term : "dumb", 1);
		p->pid = spawn(command, pair[1], pair[1], true);
		if (p->pid < 0)
			error = errno;
		setenv("TERM", before ? before : "dumb", 1);
	}
	if (error) {
		close_both(pair);
		return error;
	}
	close(pair[1]);
	p->in = p->out = pair[0];
	return 0;
}

/* The terminal behind /dev/console, which itself cannot control a session. */
static int open_console(void)
{
	char path[64] = "/dev/";
	size_t used = strlen(path);
	int fd = open("/sys/class/tty/console/active", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, path + used, sizeof(path) - used - 1);

	if (fd >= 0)
		close(fd);
	if (n > 0)
		path[strcspn(path, " \n")] = '\0';
	else
		strcpy(path, "/dev/console");
	return open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* Without an uplink: shells on the console, one after the other, for ever. */
void process_console_shell(void)
{
	for (;;) {
		int fd = open_console();
		pid_t pid = fd < 0 ? -1 : spawn("", fd, fd, true);

		if (pid < 0) {
			warn("cannot start a shell", "on the console", errno);
			for (;;)
				pause();
		}
		close(fd);
		while (waitpid(-1, NULL, 0) != pid)
			;
	}
}
