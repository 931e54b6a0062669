// A program that checks itself without end, for the kinds of state that a
// tracer can spoil: general and vector registers across calls, system calls
// that were interrupted, signals and masks, timers, connections, files,
// children. Usage: victim DIR. It appends what is wrong to DIR/errors and
// rewrites the rounds of each of its threads in DIR/progress.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <immintrin.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int errors_fd;

static void fail(const char *format, ...) {
	char text[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text - 2, format, args);
	va_end(args);
	if (n > (int)sizeof text - 2) n = sizeof text - 2;
	text[n] = '\n';
	if (write(errors_fd, text, n + 1) < 0) abort();
}

#define MUST(x) ({ __auto_type r_ = (x); if ((long)r_ == -1) { fail("%s: %s", #x, strerror(errno)); abort(); } r_; })

static int64_t now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

#define MS 1000000LL
#define LATE (20000 * MS) // the machine may be busy

// Each thread counts its rounds.
struct worker {
	const char *name;
	void (*round)(void);
	void (*begin)(void);
	pthread_t thread;
	volatile uint64_t rounds;
};

static void nap(int64_t ns) {
	struct timespec left = {ns / 1000000000, ns % 1000000000};
	while (nanosleep(&left, &left) < 0 && errno == EINTR) {}
}

// -- registers --------------------------------------------------------------

// Eight words that depend on each other, in registers for the whole loop.
static uint64_t __attribute__((noinline)) general(uint64_t n) {
	uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
	for (; n; n--) {
		a += b ^ (c << 7), b = (b << 13 | b >> 51) + d, c ^= a * 0x9e3779b97f4a7c15ULL, d += e;
		e ^= f >> 3, f += g * 5, g ^= h << 1, h += a;
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}

static void general_round(void) {
	static uint64_t want;
	uint64_t got = general(150000);
	if (!want) want = got;
	if (got != want) fail("general registers: %#lx, want %#lx", got, want);
	nap(3 * MS);
}

#ifdef __AVX2__
typedef __m256i vec;
#define ADD _mm256_add_epi64
#define XOR _mm256_xor_si256
#define ROT(v, n) _mm256_or_si256(_mm256_slli_epi64(v, n), _mm256_srli_epi64(v, 64 - n))
#define SET(x) _mm256_set_epi64x(x, x + 1, x + 2, x + 3)
#else
typedef __m128i vec;
#define ADD _mm_add_epi64
#define XOR _mm_xor_si128
#define ROT(v, n) _mm_or_si128(_mm_slli_epi64(v, n), _mm_srli_epi64(v, 64 - n))
#define SET(x) _mm_set_epi64x(x, x + 1)
#endif

static uint64_t __attribute__((noinline)) vectors(int n) {
	vec a = SET(1), b = SET(11), c = SET(21), d = SET(31), e = SET(41), f = SET(51), g = SET(61), h = SET(71);
	vec i = SET(81), j = SET(91), k = SET(101), l = SET(111);
	for (; n; n--) {
		a = ADD(a, ROT(b, 7)), b = XOR(b, c), c = ADD(c, d), d = XOR(ROT(d, 13), e), e = ADD(e, f), f = XOR(f, a);
		g = ADD(g, ROT(h, 9)), h = XOR(h, i), i = ADD(i, j), j = XOR(ROT(j, 17), k), k = ADD(k, l), l = XOR(l, g);
	}
	a = XOR(XOR(XOR(a, b), XOR(c, d)), XOR(XOR(e, f), XOR(g, h)));
	a = XOR(XOR(a, i), XOR(XOR(j, k), l));
	uint64_t out[sizeof(vec) / 8], sum = 0;
	memcpy(out, &a, sizeof out);
	for (unsigned x = 0; x < sizeof out / 8; x++) sum = sum * 31 + out[x];
	return sum;
}

static void vectors_round(void) {
	static uint64_t want;
	uint64_t got = vectors(60000);
	if (!want) want = got;
	if (got != want) fail("vector registers: %#lx, want %#lx", got, want);
	nap(3 * MS);
}

// Rounding modes are in the control words of the x87 unit and of SSE.
static void floats_begin(void) { fesetround(FE_UPWARD); }

static void floats_round(void) {
	static double want;
	static long double wantl;
	volatile double three = 3;
	double x = 1;
	long double y = 1;
	for (int i = 0; i < 20000; i++) {
		x = x / three + 1.25, y = y / three + 1.25L;
	}
	if (want == 0) want = x, wantl = y;
	if (x != want || y != wantl) fail("floating point: %a %La, want %a %La", x, y, want, wantl);
	if (fegetround() != FE_UPWARD) fail("rounding mode is %d", fegetround());
	nap(3 * MS);
}

// -- connections and pipes --------------------------------------------------

static int tcp[2], order[2];

static void make_tcp(void) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	int l = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	MUST(bind(l, (struct sockaddr *)&at, size));
	MUST(listen(l, 1));
	MUST(getsockname(l, (struct sockaddr *)&at, &size));
	tcp[0] = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	MUST(connect(tcp[0], (struct sockaddr *)&at, size));
	tcp[1] = MUST(accept4(l, NULL, NULL, SOCK_CLOEXEC));
}

static void transfer(ssize_t (*call)(), int fd, char *buf, size_t n) {
	while (n) {
		ssize_t got = call(fd, buf, n);
		if (got <= 0) {
			fail("descriptor %d: %zd %s", fd, got, strerror(errno));
			abort();
		}
		buf += got, n -= got;
	}
}

static void echo_round(void) {
	char buf[700];
	transfer((ssize_t(*)())read, tcp[1], buf, sizeof buf);
	transfer((ssize_t(*)())write, tcp[1], buf, sizeof buf);
}

static void client_round(void) {
	static uint64_t at;
	char out[700], in[700];
	for (unsigned i = 0; i < sizeof out; i++, at++) out[i] = at ^ (at >> 8) * 7;
	transfer((ssize_t(*)())write, tcp[0], out, sizeof out);
	transfer((ssize_t(*)())read, tcp[0], in, sizeof in);
	if (memcmp(in, out, sizeof in)) fail("echo: the bytes before %lu came back otherwise", at);
	nap(1 * MS);
}

static void sender_round(void) {
	static uint32_t next;
	for (int i = 0; i < 8; i++, next++) transfer((ssize_t(*)())write, order[1], (char *)&next, sizeof next);
	nap(1 * MS);
}

static void receiver_round(void) {
	static uint32_t want;
	uint32_t got;
	transfer((ssize_t(*)())read, order[0], (char *)&got, sizeof got);
	if (got != want) fail("pipe: number %u, want %u", got, want);
	want = got + 1;
}

// -- time -------------------------------------------------------------------

static void measured(const char *what, int64_t start, int64_t asked) {
	int64_t took = now() - start;
	if (took < asked || took > asked + LATE) fail("%s: took %ld ns instead of %ld", what, took, asked);
}

static void sleeper_round(void) {
	struct timespec spec = {0, 6 * MS};
	int64_t start = now();
	if (nanosleep(&spec, NULL) < 0) fail("nanosleep: %s", strerror(errno));
	measured("nanosleep", start, 6 * MS);

	start = now();
	int n = poll(NULL, 0, 5);
	if (n != 0) fail("poll: %d %s", n, strerror(errno));
	measured("poll", start, 5 * MS);

	int64_t until = now() + 4 * MS;
	spec.tv_sec = until / 1000000000, spec.tv_nsec = until % 1000000000;
	if ((n = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &spec, NULL))) fail("clock_nanosleep: %s", strerror(n));
	measured("clock_nanosleep", until, 0);
}

static int ticks;

static void ticker_begin(void) {
	struct itimerspec spec = {{0, 5 * MS}, {0, 5 * MS}};
	ticks = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	MUST(timerfd_settime(ticks, 0, &spec, NULL));
}

static void ticker_round(void) {
	static int64_t began, fired;
	if (!began) began = now();
	uint64_t n;
	if (read(ticks, &n, sizeof n) != sizeof n) {
		fail("timerfd: %s", strerror(errno));
		return;
	}
	fired += n;
	int64_t most = (now() - began) / (5 * MS) + 2;
	if (fired > most || fired < most - LATE / (5 * MS)) fail("timerfd: fired %ld times, at most %ld", fired, most);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn;

static void turns(int mine) {
	pthread_mutex_lock(&mutex);
	while (turn != mine) pthread_cond_wait(&turned, &mutex);
	turn = !mine;
	pthread_cond_signal(&turned);
	pthread_mutex_unlock(&mutex);
}
static void ping_round(void) { turns(0), nap(1 * MS); }
static void pong_round(void) { turns(1); }

// -- files ------------------------------------------------------------------

static int journal;

static void journal_round(void) {
	static uint64_t next, first;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 8};
	if (fcntl(journal, F_SETLKW, &lock) < 0) fail("lock: %s", strerror(errno));
	if (write(journal, &next, sizeof next) != sizeof next) fail("append: %s", strerror(errno));
	uint64_t got;
	off_t at = (next - first) * sizeof next;
	if (pread(journal, &got, sizeof got, at) != sizeof got || got != next) fail("file: %lu at %ld, want %lu", got, at, next);
	next++;
	if (lseek(journal, 0, SEEK_END) != (off_t)((next - first) * sizeof next)) fail("file: wrong size");
	if (next - first == 512) MUST(ftruncate(journal, 0)), first = next;
	lock.l_type = F_UNLCK;
	if (fcntl(journal, F_SETLK, &lock) < 0) fail("unlock: %s", strerror(errno));
	nap(3 * MS);
}

// -- signals ----------------------------------------------------------------

static volatile uint64_t alarms, numbered;
static pthread_t main_thread;
static __thread sigset_t own_mask;
static __thread stack_t own_stack;
static __thread pid_t own_tid;

static void on_alarm(int sig) { (void)sig, alarms++; }

static void on_number(int sig, siginfo_t *info, void *context) {
	(void)sig, (void)context;
	uint64_t got = (uint64_t)info->si_value.sival_ptr;
	if (got != numbered + 1) fail("signal %lu came after %lu", got, numbered);
	numbered = got;
}

static void numbers_round(void) {
	static uint64_t sent;
	union sigval value = {.sival_ptr = (void *)(sent + 1)};
	if (sent - numbered < 32) {
		if (pthread_sigqueue(main_thread, SIGRTMIN + 3, value)) fail("pthread_sigqueue: %s", strerror(errno));
		else sent++;
	}
	static uint64_t seen;
	static int64_t when;
	if (numbered != seen || !when) seen = numbered, when = now();
	if (now() - when > LATE) fail("signal %lu of %lu never came", numbered + 1, sent), when = now();
	nap(1 * MS);
}

static void thread_state(const char *name) {
	sigset_t mask;
	stack_t stack;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	if (memcmp(&mask, &own_mask, 8)) fail("%s: signal mask %#lx, want %#lx", name, *(long *)&mask, *(long *)&own_mask);
	sigaltstack(NULL, &stack);
	if (stack.ss_sp != own_stack.ss_sp || stack.ss_size != own_stack.ss_size || stack.ss_flags != own_stack.ss_flags)
		fail("%s: alternate stack %p+%zu %d, want %p+%zu %d", name, stack.ss_sp, stack.ss_size, stack.ss_flags,
		     own_stack.ss_sp, own_stack.ss_size, own_stack.ss_flags);
	if (syscall(SYS_gettid) != own_tid) fail("%s: tid %ld, want %d", name, syscall(SYS_gettid), own_tid);
	char comm[17] = "";
	prctl(PR_GET_NAME, comm);
	if (strcmp(comm, name)) fail("%s: name %s", name, comm);
}

// -- children ---------------------------------------------------------------

static volatile int chlds, wrong_chld;
static volatile pid_t child;

static void on_child(int sig, siginfo_t *info, void *context) {
	(void)sig, (void)context;
	chlds++;
	if (child && info->si_pid != child) wrong_chld = info->si_pid;
}

static void children_round(void) {
	static int born;
	int status, code = born % 100;
	sigset_t block, old;
	sigemptyset(&block), sigaddset(&block, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &block, &old);
	pid_t pid = MUST(fork());
	if (pid == 0) _exit(code);
	child = pid, born++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pid_t got;
	while ((got = wait4(-1, &status, 0, NULL)) < 0 && errno == EINTR) {}
	if (got != pid || !WIFEXITED(status) || WEXITSTATUS(status) != code) fail("wait4: %d status %#x, want %d code %d", got, status, pid, code);
	got = wait4(-1, &status, WNOHANG, NULL);
	if (got != -1 || errno != ECHILD) fail("wait4: a stranger %d", got);
	for (int64_t start = now(); chlds < born && now() - start < LATE;) nap(1 * MS);
	if (chlds != born || wrong_chld) fail("SIGCHLD: %d for %d children, stranger %d", chlds, born, wrong_chld), chlds = born, wrong_chld = 0;
	nap(60 * MS);
}

// -- all --------------------------------------------------------------------

static struct worker workers[] = {
	{"general", general_round}, {"vectors", vectors_round}, {"floats", floats_round, floats_begin},
	{"echo", echo_round}, {"client", client_round}, {"sender", sender_round}, {"receiver", receiver_round},
	{"sleeper", sleeper_round}, {"ticker", ticker_round, ticker_begin}, {"ping", ping_round}, {"pong", pong_round},
	{"journal", journal_round}, {"numbers", numbers_round}, {"children", children_round},
};
#define WORKERS (sizeof workers / sizeof *workers)

static void *run(void *arg) {
	struct worker *w = arg;
	int index = w - workers;
	prctl(PR_SET_NAME, w->name);
	// Nobody but main takes alarms; each has a mask of its own.
	sigemptyset(&own_mask);
	sigaddset(&own_mask, SIGALRM);
	if (strcmp(w->name, "children")) sigaddset(&own_mask, SIGCHLD);
	sigaddset(&own_mask, SIGRTMIN + 4 + index);
	pthread_sigmask(SIG_SETMASK, &own_mask, NULL);
	own_stack = (stack_t){.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};
	MUST(sigaltstack(&own_stack, NULL));
	own_tid = syscall(SYS_gettid);
	if (w->begin) w->begin();
	for (;; w->rounds++) {
		w->round();
		thread_state(w->name);
	}
	return NULL;
}

static int open_in(const char *dir, const char *name, int flags) {
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return MUST(open(path, flags | O_CREAT | O_CLOEXEC, 0644));
}

int main(int argc, char **argv) {
	if (argc != 2) return 2;
	errors_fd = open_in(argv[1], "errors", O_WRONLY | O_APPEND);
	int progress = open_in(argv[1], "progress", O_WRONLY);
	journal = open_in(argv[1], "journal", O_RDWR | O_APPEND);
	main_thread = pthread_self();
	make_tcp();
	MUST(pipe2(order, O_CLOEXEC));

	struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &act, NULL);
	act = (struct sigaction){.sa_sigaction = on_number, .sa_flags = SA_RESTART | SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGRTMIN + 3, &act, NULL);
	act = (struct sigaction){.sa_sigaction = on_child, .sa_flags = SA_RESTART | SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGCHLD, &act, NULL);
	sigset_t mask;
	sigemptyset(&mask), sigaddset(&mask, SIGCHLD);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	for (unsigned i = 0; i < WORKERS; i++) pthread_create(&workers[i].thread, NULL, run, &workers[i]);
	struct itimerval each = {{0, 7000}, {0, 7000}};
	setitimer(ITIMER_REAL, &each, NULL);

	uint64_t seen = 0;
	for (int64_t when = now();;) {
		nap(5 * MS);
		if (alarms != seen) seen = alarms, when = now();
		if (now() - when > LATE) fail("no SIGALRM for %ld ms", LATE / MS), when = now();
		char text[WORKERS * 24 + 1];
		int n = 0;
		for (unsigned i = 0; i < WORKERS; i++) n += snprintf(text + n, sizeof text - n, "%-11s %11lu\n", workers[i].name, workers[i].rounds);
		if (pwrite(progress, text, n, 0) != n) fail("progress: %s", strerror(errno));
	}
}
