/* Not a test: the table of errors for docs/ebpf.md, every architecture at every length of work, kept and new connections, with other
 * clients and with background work. Minutes; on a quiet machine. `tools/bench ebpf` runs it.
 *
 * Every figure is the middle of five runs, a run's is the median of its 50 requests.
 */
#include "exporters.h"
#include "measure.h"

#include <stdio.h>

static const struct {
	const char *name;
	enum truth_mode mode;
} servers[] = {
	{"thread", TRUTH_THREAD},
	{"loop", TRUTH_LOOP},
	{"prefork", TRUTH_PREFORK},
	{"fork", TRUTH_FORK},
	{"sendfile", TRUTH_SENDFILE},
	{"proxy", TRUTH_PROXY},
	{"pool", TRUTH_POOL},
	{"4 workers", TRUTH_WORKERS},
};

static const struct {
	uint32_t work_us;
	unsigned with;
} ways[] = {{200, KEPT}, {500, KEPT}, {2000, KEPT}, {500, CLOSED}, {1000, OTHER_CLIENTS}, {1000, BACKGROUND}};

static void measure(struct bench *bench, const struct scenario *scenario)
{
	struct row row = row_of(scenario);
	struct result result = run_scenario(bench, scenario);
	print_row(bench, &row, &result);
	fflush(stdout);
}

static void measure_all(struct bench *bench)
{
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ways); j++)
			measure(bench,
				&(struct scenario){servers[i].name, servers[i].mode, ways[j].work_us, ways[j].with});
	measure(bench, &(struct scenario){"thread that sleeps", TRUTH_SLEEPING, 500, KEPT});
}

/* What the programs for kernels before 6.3 see: the start of a write instead of its end, no bytes, no hops. */
static void measure_older(struct bench *bench)
{
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++)
		if (servers[i].mode != TRUTH_PROXY)
			measure(bench, &(struct scenario){servers[i].name, servers[i].mode, 500, KEPT});
}

static void set_up(struct bench *bench, const char *const *extra)
{
	bench_start(bench, extra);
	bench->runs = 5;
	bench->gap_ms = 10;
}

static void finish(struct bench *bench)
{
	print_bounds(bench);
	printf("requests that were not recognised: %u\n", bench->unseen);
	bench_stop(bench);
}

int main(void)
{
	struct bench bench;
	int skipped = kernel_ready();
	if (skipped)
		return skipped;
	uint64_t stolen = stolen_ticks();
	print_head();
	set_up(&bench, NULL);
	measure_all(&bench);
	exporters_measure(&bench);
	finish(&bench);
	printf("\nThe same with the programs for kernels before 6.3\n");
	set_up(&bench, (const char *const[]){"--off", "on_recv", NULL});
	print_head();
	measure_older(&bench);
	finish(&bench);
	printf("\nclock ticks that the hypervisor took meanwhile: %llu\n",
		(unsigned long long)(stolen_ticks() - stolen));
	return 0;
}
