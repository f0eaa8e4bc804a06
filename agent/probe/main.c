/* `gleaner probe`: options, the report of --check, and the way into serving. */
#include "load.h"
#include "sandbox.h"
#include "serve.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_DEGRADED = 3 };

struct options {
	bool check, strict;
	int fd; /* -1 */
	const char *path;
	unsigned peer_uid;
	char off[512]; /* ",name,name," */
};

static int usage(void)
{
	fputs("usage: gleaner probe --check | --fd N | --listen PATH [--peer-uid UID] [--off PROGRAM]... [--strict]\n",
		stderr);
	return EXIT_USAGE;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	return span_to_u64(span_str(text), ret_number) == 0 && *ret_number <= max;
}

/* 0, or the exit status. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"check", no_argument, NULL, 'c'},
		{"fd", required_argument, NULL, 'f'},
		{"listen", required_argument, NULL, 'l'},
		{"off", required_argument, NULL, 'o'},
		{"peer-uid", required_argument, NULL, 'u'},
		{"strict", no_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	*options = (struct options){.fd = -1, .peer_uid = getuid(), .off = ","};
	uint64_t number;
	optind = 0; /* glibc: start anew */
	for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (c == 'c') {
			options->check = true;
		} else if (c == 's') {
			options->strict = true;
		} else if (c == 'l') {
			options->path = optarg;
		} else if (c == 'f' && parse_number(optarg, 1 << 20, &number)) {
			options->fd = (int)number;
		} else if (c == 'u' && parse_number(optarg, UINT32_MAX - 1, &number)) {
			options->peer_uid = (unsigned)number;
		} else if (c == 'o' && strlen(options->off) + strlen(optarg) + 2 < sizeof(options->off)) {
			strcat(strcat(options->off, optarg), ",");
		} else {
			return usage();
		}
	}
	int ways = options->check + (options->fd >= 0) + (options->path != NULL);
	return optind == argc && ways == 1 ? 0 : usage();
}

/* Programs that are not there; the two that only stand in for others do not count while those are. */
static size_t missing(const struct probe_hello *hello)
{
	size_t count = 0;
	for (size_t i = 0; i < hello->program_count; i++) {
		const char *name = hello->programs[i].name;
		bool spare = hello->byte_counts && (strcmp(name, "on_recv2") == 0 || strcmp(name, "on_send2") == 0);
		count += hello->programs[i].state != PROBE_ATTACHED && !spare;
	}
	return count;
}

static void print_report(const struct probe_hello *hello)
{
	for (size_t i = 0; i < hello->program_count; i++) {
		const struct probe_program *program = &hello->programs[i];
		printf("%-12s %-11s %s%s", program->name, probe_state_name(program->state), program->reason,
			program->error ? "" : "\n");
		if (program->error)
			printf(" (%s)\n", strerror(program->error));
	}
	fflush(stdout);
}

/* A listening socket at the path, or -errno. A socket that an earlier loader left there is replaced. */
static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	struct stat there;
	if (lstat(path, &there) == 0 && S_ISSOCK(there.st_mode))
		unlink(path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Who may come in is decided by SO_PEERCRED; the mode only lets the peer's uid reach the question. */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0666) < 0 || listen(fd, 4) < 0) {
		int result = -errno;
		close(fd);
		return result;
	}
	return fd;
}

static int fail(const char *what, int result)
{
	fprintf(stderr, "gleaner probe: %s: %s\n", what, strerror(-result));
	return EXIT_FAILURE;
}

static int serve(const struct options *options, const struct loaded *loaded)
{
	struct cost cost = {0};
	int fds[4], listener = -1;
	size_t count = load_fds(loaded, fds);
	int result = load_hello(loaded)->cost ? cost_map(fds[count - 2], fds[count - 1], &cost) : 0;
	if (result < 0)
		return fail("map the cost slots", result);
	if (options->path && (listener = listen_at(options->path)) < 0)
		return fail(options->path, listener);
	memory_forget_start();
	result = probe_sandbox_enter();
	if (result < 0)
		return fail("give up privileges", result);
	result = options->path ? serve_all(loaded, &cost, listener, options->peer_uid)
			       : serve_peer(loaded, &cost, options->fd);
	cost_unmap(&cost);
	return result < 0 ? fail("serve", result) : EXIT_SUCCESS;
}

int probe_main(int argc, char **argv)
{
	struct options options;
	int status = parse(argc, argv, &options);
	if (status != 0)
		return status;
	struct loaded *loaded;
	int result = load_all(options.off, &loaded);
	if (result < 0)
		return fail("load", result);
	size_t absent = missing(load_hello(loaded));
	if (options.check || (options.strict && absent > 0)) {
		print_report(load_hello(loaded));
		status = absent > 0 ? EXIT_DEGRADED : EXIT_SUCCESS;
	} else {
		status = serve(&options, loaded);
	}
	load_free(loaded);
	return status;
}
