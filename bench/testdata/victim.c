// A process that pilot is measured on.
//
//	victim MIB PAGES THREADS CONNECTIONS PORT
//
// It has so much memory, in pages of "small" or "huge" size, or as the
// kernel likes ("plain"), all of them written, so many more threads, which wait, and connections with itself, or
// with a port on this host if that is not 0. Told
// "fork N" it forks N times and prints how long fork(2) took, in nanoseconds.
// With "plain" pages it makes mappings all the time, and "gap 0" tells how long that
// took at the most.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void touch(size_t size, const char *pages)
{
	const size_t align = 2 << 20;
	char *p = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(p != MAP_FAILED, "mmap");
	p = (char *)(((uintptr_t)p + align - 1) & ~(align - 1));
	if (!strcmp(pages, "huge"))
		must(!madvise(p, size, MADV_HUGEPAGE), "madvise");
	if (!strcmp(pages, "small"))
		must(!madvise(p, size, MADV_NOHUGEPAGE), "madvise");
	for (size_t i = 0; i < size; i += 4096)
		p[i] = i >> 12 | 1;
}

static void *wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static volatile uint64_t gap;

// beat makes and fills mappings all the time, and notes the longest that took.
static void *beat(void *arg)
{
	for (;;) {
		uint64_t began = now();
		char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(p != MAP_FAILED, "mmap");
		for (int i = 0; i < 65536; i += 4096)
			p[i] = 1;
		munmap(p, 65536);
		uint64_t took = now() - began;
		if (took > gap)
			gap = took;
		usleep(200);
	}
	return arg;
}

// connect_to makes n connections with this process, or with who listens on port.
static void connect_to(int port, int n)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	socklen_t len = sizeof a;
	int l = -1;
	if (!port) {
		l = socket(AF_INET, SOCK_STREAM, 0);
		must(!bind(l, (void *)&a, sizeof a) && !listen(l, 128) && !getsockname(l, (void *)&a, &len), "listen");
	}
	while (n--) {
		int c = socket(AF_INET, SOCK_STREAM, 0);
		must(c >= 0 && !connect(c, (void *)&a, sizeof a) && (port || accept(l, NULL, NULL) >= 0), "connect");
	}
}

int main(int argc, char **argv)
{
	must(argc == 6, "arguments");
	struct rlimit most;
	must(!getrlimit(RLIMIT_NOFILE, &most), "getrlimit");
	most.rlim_cur = most.rlim_max;
	must(!setrlimit(RLIMIT_NOFILE, &most), "setrlimit");
	touch((size_t)atol(argv[1]) << 20, argv[2]);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = atoi(argv[3]); i > 0; i--) {
		pthread_t t;
		must(!pthread_create(&t, &attr, wait_for_ever, NULL), "pthread_create");
	}
	if (!strcmp(argv[2], "plain")) {
		pthread_t t;
		must(!pthread_create(&t, &attr, beat, NULL), "pthread_create");
	}
	connect_to(atoi(argv[5]), atoi(argv[4]));
	puts("ready");
	fflush(stdout);
	char what[8];
	for (int n; scanf("%7s %d", what, &n) == 2;) {
		if (!strcmp(what, "gap")) {
			printf("%llu\n", (unsigned long long)gap);
			fflush(stdout);
			gap = 0;
			continue;
		}
		while (n--) {
			uint64_t began = now();
			pid_t pid = fork();
			if (!pid)
				_exit(0);
			uint64_t took = now() - began;
			must(pid > 0, "fork");
			waitpid(pid, NULL, 0);
			printf("%llu\n", (unsigned long long)took);
			fflush(stdout);
		}
	}
	return 0;
}
