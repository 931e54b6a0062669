// A process whose longest stop can be read from a file while it runs.
//
//	victim BEAT MODE [ARG]...
//
// A thread looks at the monotonic clock every 200 us and keeps the longest gap
// between two looks in the file BEAT, which is shared memory. It has real-time
// priority where it may, so that the gaps are stops and not a busy processor.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// What the test reads, see beat_test.go.
struct beat {
	volatile uint64_t count, last, worst, reset, ready, work, bad, generation;
	char why[192];
};

static struct beat *beat;
static char **args;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void nap(long us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};
	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static void fail(const char *what)
{
	if (!__sync_fetch_and_add(&beat->bad, 1))
		snprintf(beat->why, sizeof beat->why, "%s (%s)", what, strerror(errno));
}

static void check(int ok, const char *what)
{
	if (!ok) {
		fail(what);
		perror(what);
		exit(1);
	}
}

static void start(void *(*run)(void *), void *arg)
{
	pthread_t t;
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&a, 64 << 10);
	int err = pthread_create(&t, &a, run, arg);
	errno = err;
	check(!err, "pthread_create");
	pthread_attr_destroy(&a);
}

static void *heart(void *unused)
{
	struct sched_param p = {.sched_priority = 1};
	pthread_setschedparam(pthread_self(), SCHED_FIFO | SCHED_RESET_ON_FORK, &p);
	for (;; nap(200)) {
		uint64_t t = now();
		if (beat->reset) {
			beat->worst = 0;
			beat->last = 0;
			beat->reset = 0;
		}
		if (beat->last && t - beat->last > beat->worst)
			beat->worst = t - beat->last;
		beat->last = t;
		beat->count++;
	}
	return unused;
}

// ---- threads

static void *waiter(void *arg)
{
	int p[2];
	char c;
	switch ((intptr_t)arg % 4) {
	case 0: // for ever in a read
		check(!pipe(p), "pipe");
		for (;;)
			if (read(p[0], &c, 1) < 0 && errno != EINTR)
				fail("read");
	case 1: // now and then
		for (;;) {
			nap(50000);
			__sync_fetch_and_add(&beat->work, 1);
		}
	default:
		for (;;)
			pause();
	}
	return 0;
}

static void *child(void *arg)
{
	// Every thread makes the next one, and ends.
	start(child, arg);
	__sync_fetch_and_add(&beat->work, 1);
	return 0;
}

// ---- exec

static void *become(void *arg)
{
	nap(atol(args[3]) * 1000);
	beat->generation++;
	execv("/proc/self/exe", args);
	check(0, "execv");
	return arg;
}

// ---- connections: byte number i of a stream is a function of i

static unsigned char at(uint64_t i) { return i ^ (i >> 8) * 7; }

static struct sockaddr_in address(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static int listener(const char *port)
{
	struct sockaddr_in a = address(port);
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	check(!bind(l, (void *)&a, sizeof a), "bind");
	check(!listen(l, 4096), "listen");
	return l;
}

static int dial(const char *port)
{
	struct sockaddr_in a = address(port);
	int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(c >= 0, "socket");
	check(!connect(c, (void *)&a, sizeof a), "connect");
	return c;
}

// echo sends back what comes in on n connections.
static void echo(const char *port, int n)
{
	int l = listener(port), poll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN};
	beat->ready = 1;
	for (int i = 0; i < n; i++) {
		int c = accept4(l, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
		check(c >= 0, "accept");
		e.data.fd = c;
		check(!epoll_ctl(poll, EPOLL_CTL_ADD, c, &e), "epoll_ctl");
	}
	beat->ready = 2;
	for (char buf[4096];;) {
		if (epoll_wait(poll, &e, 1, -1) < 1)
			continue;
		ssize_t got = read(e.data.fd, buf, sizeof buf);
		if (got <= 0 && errno != EAGAIN)
			fail("echo: read");
		if (got > 0 && write(e.data.fd, buf, got) != got)
			fail("echo: write");
	}
}

// ask uses n connections in turn.
static void ask(const char *port, int n)
{
	int *c = calloc(n, sizeof *c);
	uint64_t *sent = calloc(n, sizeof *sent);
	for (int i = 0; i < n; i++)
		c[i] = dial(port);
	for (beat->ready = 2;; beat->work++) {
		int i = beat->work % n;
		unsigned char buf[64], back[64];
		for (int k = 0; k < 64; k++)
			buf[k] = at(sent[i]++);
		if (write(c[i], buf, 64) != 64)
			fail("ask: write");
		if (recv(c[i], back, 64, MSG_WAITALL) != 64)
			fail("ask: read");
		else if (memcmp(buf, back, 64))
			fail("ask: wrong bytes");
	}
}

// sip reads streams that are fuller than it is fast.
static void *sip(void *arg)
{
	int c = (intptr_t)arg;
	unsigned char buf[16384];
	for (uint64_t got = 0;; nap(1000)) {
		ssize_t n = read(c, buf, sizeof buf);
		if (n <= 0) {
			fail("sip: read");
			return 0;
		}
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != at(got++)) {
				fail("sip: wrong byte");
				return 0;
			}
		__sync_fetch_and_add(&beat->work, n);
	}
}

static void *gush(void *arg)
{
	int c = (intptr_t)arg;
	unsigned char buf[16384];
	for (uint64_t sent = 0;;) {
		for (int i = 0; i < (int)sizeof buf; i++)
			buf[i] = at(sent + i);
		for (size_t done = 0; done < sizeof buf;) {
			ssize_t n = write(c, buf + done, sizeof buf - done);
			if (n <= 0) {
				fail("gush: write");
				return 0;
			}
			done += n;
		}
		sent += sizeof buf;
		__sync_fetch_and_add(&beat->work, 1);
	}
}

int main(int argc, char **argv)
{
	args = argv;
	int fd = open(argv[1], O_RDWR | O_CREAT, 0644);
	check(fd >= 0 && !ftruncate(fd, 4096), "beat file");
	beat = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	start(heart, 0);
	const char *mode = argv[2], *arg = argc > 3 ? argv[3] : "";
	int n = argc > 4 ? atoi(argv[4]) : 0;
	if (!strcmp(mode, "threads")) {
		for (long i = 0; i < atol(arg); i++)
			start(waiter, (void *)i);
	} else if (!strcmp(mode, "storm")) {
		start(child, 0);
	} else if (!strcmp(mode, "vfork")) {
		// The caller is in uninterruptible sleep until its child ends.
		for (beat->ready = 2;; nap(3000)) {
			pid_t p = vfork();
			if (!p) {
				usleep(atol(arg) * 1000);
				_exit(0);
			}
			check(p > 0 && waitpid(p, 0, 0) == p, "vfork");
			beat->work++;
		}
	} else if (!strcmp(mode, "exec")) {
		start(waiter, (void *)2);
		beat->ready = 2;
		if (beat->generation % 2)
			start(become, 0);
		else
			become(0);
	} else if (!strcmp(mode, "exit")) {
		for (long i = 0; i < 20; i++)
			start(waiter, (void *)i);
		while (!beat->count)
			nap(100);
		beat->ready = 2;
		nap(atol(arg));
		exit(0);
	} else if (!strcmp(mode, "slow")) { // to read: descriptors and shared memory
		for (long i = 0; i < atol(arg); i++)
			check(eventfd(i, EFD_CLOEXEC) >= 0, "eventfd");
		memset(mmap(0, 60 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 1, 60 << 20);
		start(waiter, (void *)1);
	} else if (!strcmp(mode, "big")) { // to fork
		size_t size = atol(arg) << 20;
		char *m = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		madvise(m, size, MADV_NOHUGEPAGE);
		memset(m, 1, size);
		start(waiter, (void *)1);
	} else if (!strcmp(mode, "echo")) {
		echo(arg, n);
	} else if (!strcmp(mode, "ask")) {
		ask(arg, n);
	} else if (!strcmp(mode, "sip")) {
		int l = listener(arg);
		beat->ready = 1;
		for (int i = 0; i < n; i++)
			start(sip, (void *)(intptr_t)accept4(l, 0, 0, SOCK_CLOEXEC));
	} else if (!strcmp(mode, "gush")) {
		for (int i = 0; i < n; i++)
			start(gush, (void *)(intptr_t)dial(arg));
	}
	beat->ready = 2;
	for (;;)
		pause();
}
