#include "exporters.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASKED = 60, WARM_UP = 5, PORT = 18100, NGINX_PORT = 18099, ARGUMENTS = 8 };

/* One exporter; its own port is PORT, all files are in the folder that it starts in. */
struct exporter {
	const char *name, *package;
	const char *argv[ARGUMENTS];
	bool closes; /* the server ends every connection */
};

static const struct exporter exporters[] = {
	{"node_exporter", "prometheus-node-exporter", {"prometheus-node-exporter", "--web.listen-address=:18100"},
		false},
	{"prometheus", "prometheus",
		{"prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
			"--web.listen-address=:18100", "--web.console.templates=.", "--web.console.libraries=."},
		false},
	{"pushgateway", "prometheus-pushgateway", {"prometheus-pushgateway", "--web.listen-address=:18100"}, false},
	{"nginx-exporter", "prometheus-nginx-exporter",
		{"prometheus-nginx-exporter", "-nginx.scrape-uri=http://127.0.0.1:18099/stub_status",
			"-web.listen-address=:18100"},
		false},
	{"python client", "python3-prometheus-client",
		{"/usr/bin/python3", "-c",
			"import prometheus_client as p, time\n"
			"g = p.Gauge('samples', 'a thousand', ['number'])\n"
			"for i in range(1000): g.labels(i).set(i)\n"
			"p.start_http_server(18100); time.sleep(1e6)"},
		true},
};

static const struct exporter nginx = {
	"nginx", "nginx-light", {"nginx", "-p", ".", "-c", "nginx.conf", "-e", "error.log"}, false};

static const char nginx_conf[] =
	"daemon off; master_process off; pid nginx.pid; events { worker_connections 64; }\n"
	"http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; "
	"scgi_temp_path s;\n"
	"server { listen 18099; location = /stub_status { stub_status; } } }\n";

/* ---- processes ------------------------------------------------------------------------------------------ */

static void become(const struct netns *netns, const char *folder, const struct exporter *exporter)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setns(netns->fd, CLONE_NEWNET) < 0 || chdir(folder) < 0 || !freopen("out.log", "w", stdout) ||
		dup2(1, 2) < 0)
		_exit(126);
	execvp(exporter->argv[0], (char *const *)(uintptr_t)exporter->argv);
	_exit(127);
}

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
}

static bool listens(const struct netns *netns, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = netns_socket(netns, AF_INET, 0);
	assert_true(fd >= 0);
	bool answered = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
	close(fd);
	return answered;
}

static pid_t start(const struct netns *netns, const char *folder, const struct exporter *exporter, uint16_t port)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		become(netns, folder, exporter);
	for (int i = 0; i < 600 && !listens(netns, port); i++) {
		if (waitpid(child, NULL, WNOHANG) == child)
			fail_msg("%s ended", exporter->name);
		poll(NULL, 0, 50);
	}
	return child;
}

static void stop(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	char name[300];
	if (program[0] == '/')
		return access(program, X_OK) == 0;
	for (const char *at = path; at && *at;) {
		size_t len = strcspn(at, ":");
		snprintf(name, sizeof(name), "%.*s/%s", (int)len, at, program);
		if (access(name, X_OK) == 0)
			return true;
		at += len + (at[len] == ':');
	}
	return false;
}

const char *exporters_missing(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(exporters); i++)
		if (!in_path(exporters[i].argv[0]))
			return exporters[i].package;
	return in_path(nginx.argv[0]) ? NULL : nginx.package;
}

/* ---- a scrape ------------------------------------------------------------------------------------------- */

static const char request[] = "GET /metrics HTTP/1.1\r\nHost: exporter\r\nAccept-Encoding: gzip\r\n\r\n";

/* How much of the answer is there: all of it? */
static bool is_whole(const char *answer, size_t size)
{
	const char *body = memmem(answer, size, "\r\n\r\n", 4);
	if (!body)
		return false;
	body += 4;
	const char *length = memmem(answer, (size_t)(body - answer), "Content-Length: ", 16);
	if (length)
		return size - (size_t)(body - answer) >= strtoul(length + 16, NULL, 10);
	/* Chunks end with an empty one; what has neither ends with the connection. */
	return memmem(answer, (size_t)(body - answer), "chunked", 7) && memcmp(answer + size - 5, "0\r\n\r\n", 5) == 0;
}

/* Bytes of the answer. */
static size_t ask(int fd)
{
	static char answer[4 << 20];
	size_t size = 0;
	assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
	while (!is_whole(answer, size)) {
		ssize_t got = recv(fd, answer + size, sizeof(answer) - size, 0);
		assert_true(got >= 0);
		if (got == 0)
			break;
		size += (size_t)got;
	}
	assert_true(size > 200 && memcmp(answer, "HTTP/1.", 7) == 0 && memcmp(answer + 8, " 200", 4) == 0);
	return size;
}

struct sums {
	double t, c, t2, c2, process, process_ns, idle_cpu, idle_ns;
	struct cost_history history;
};

static void scrape(
	struct bench *bench, pid_t pid, bool new_connection, int *fd, struct sums *sums, struct result *result)
{
	struct cost_slot slot;
	struct clocked clocked = {.pid = pid};
	uint64_t idle_cpu = process_cpu_ns(pid), idle = now_ns();
	poll(NULL, 0, bench->gap_ms);
	clocked.before_cpu_ns = process_cpu_ns(pid);
	clocked.before_ns = now_ns();
	if (new_connection) {
		close(*fd);
		*fd = connect_measured(bench, PORT);
	}
	cost_open(&bench->cost, MEASURE_SLOT, PORT, now_ns());
	size_t bytes = ask(*fd);
	poll(NULL, 0, SETTLE_MS);
	bool recognised = cost_close(&bench->cost, MEASURE_SLOT, &slot);
	poll(NULL, 0, PROCESS_SETTLE_MS);
	clocked.after_cpu_ns = process_cpu_ns(pid);
	clocked.after_ns = now_ns();
	sums->process += (double)(clocked.after_cpu_ns - clocked.before_cpu_ns);
	sums->process_ns += (double)(clocked.after_ns - clocked.before_ns);
	sums->idle_cpu += (double)(clocked.before_cpu_ns - idle_cpu);
	sums->idle_ns += (double)(clocked.before_ns - idle);
	if (!recognised)
		return;
	result->recognised++;
	result->exact_bytes += slot.tx_bytes == bytes && slot.rx_bytes == sizeof(request) - 1;
	result->right_pid += (pid_t)slot.tgid == pid;
	sums->t += (double)slot.thread.cpu_at_send_ns;
	sums->c += (double)(slot.thread.cpu_at_send_ns + slot.causal.cpu_at_send_ns);
	sums->t2 += (double)slot.thread.cpu_ns;
	sums->c2 += (double)(slot.thread.cpu_ns + slot.causal.cpu_ns);
	remember(bench, &sums->history, &slot, &clocked, new_connection);
}

/* The truth is what the process burnt from before the first request to after the last one's tail, nothing left out. */
static struct result run_once(struct bench *bench, pid_t pid, bool new_connections)
{
	struct sums sums = {0}, warm_up = {0};
	struct result result = {.scrapes = ASKED}, ignored = {0};
	int fd = connect_measured(bench, PORT);
	for (int i = 0; i < WARM_UP; i++)
		scrape(bench, pid, new_connections, &fd, &warm_up, &ignored);
	uint64_t before = process_cpu_ns(pid);
	for (int i = 0; i < ASKED; i++)
		scrape(bench, pid, new_connections, &fd, &sums, &result);
	double truth = (double)(process_cpu_ns(pid) - before);
	close(fd);
	const double values[FIGURES] = {
		[TRUTH_US] = truth / ASKED / 1e3,
		[T] = 100 * (sums.t / truth - 1),
		[C] = 100 * (sums.c / truth - 1),
		[T2] = 100 * (sums.t2 / truth - 1),
		[C2] = 100 * (sums.c2 / truth - 1),
		[PU] = 100 * (sums.process / truth - 1),
		[PU_B] = 100 * ((sums.process - sums.idle_cpu * sums.process_ns / sums.idle_ns) / truth - 1),
		[X_TRUTH_US] = NAN,
		[X] = NAN,
	};
	memcpy(result.value, values, sizeof(values));
	judge_estimate(&sums.history, truth / ASKED, &result);
	result.high = result.high_wrong =
		0; /* a median of 15 against the mean of 60, some of which collected garbage */
	cost_history_done(&sums.history);
	cost_history_done(&warm_up.history);
	return result;
}

static void measure(struct bench *bench, const struct exporter *exporter, pid_t pid, bool new_connections)
{
	struct result results[3];
	const struct row row = {.name = exporter->name,
		.with = new_connections ? "close" : "",
		.bars = {{T, -100, 3, -100, 10}, {PU, -3, 100, -10, 100}},
		.bar_count = 2};
	for (size_t i = 0; i < ARRAY_SIZE(results); i++)
		results[i] = run_once(bench, pid, new_connections);
	struct result middle = middle_of(results, ARRAY_SIZE(results));
	print_row(bench, &row, &middle);
}

void exporters_measure(struct bench *bench)
{
	char folder[] = "/tmp/gleaner-exporters-XXXXXX";
	bench->gap_ms = 1; /* their truth is of the whole run, gaps too */
	assert_non_null(mkdtemp(folder));
	write_file(folder, "prometheus.yml", "global: {}\n");
	write_file(folder, "nginx.conf", nginx_conf);
	pid_t web = start(&bench->netns, folder, &nginx, NGINX_PORT);
	for (size_t i = 0; i < ARRAY_SIZE(exporters); i++) {
		pid_t pid = start(&bench->netns, folder, &exporters[i], PORT);
		if (!exporters[i].closes)
			measure(bench, &exporters[i], pid, false);
		measure(bench, &exporters[i], pid, true);
		stop(pid);
	}
	stop(web);
	pid_t child = fork();
	if (child == 0) {
		execlp("rm", "rm", "-r", folder, (char *)NULL);
		_exit(127);
	}
	waitpid(child, NULL, 0);
}
