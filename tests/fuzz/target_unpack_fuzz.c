// links: target
/* A packed job (first byte j) or target (any other). What unpacks must pack to the same bytes: nothing may be read that was not there. */
#include "gleaner/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct buf *packed, struct span input)
{
	if (packed->failed || !span_eq(buf_view(packed), input))
		abort();
}

static void run_job(struct span input)
{
	struct target_job *job = NULL;
	struct buf packed;
	if (target_job_unpack(input, &job) < 0)
		return;
	buf_init(&packed, 16 << 20);
	target_job_pack(job, &packed);
	check_same(&packed, input);
	buf_done(&packed);
	target_job_unref(job);
}

static void run_target(struct span input)
{
	struct target_global_options global = {.scrape_interval_ns = NS_PER_SEC, .scrape_timeout_ns = NS_PER_SEC};
	struct target_job_options options = {.job_name = "fuzz"};
	struct target_job *job = NULL;
	struct target *target = NULL;
	struct buf packed;
	if (target_job_new(&options, &global, &job, NULL) < 0)
		abort();
	buf_init(&packed, 16 << 20);
	if (target_unpack(input, job, &target) == 0) {
		target_pack(target, &packed);
		check_same(&packed, input);
	}
	buf_done(&packed);
	target_unref(target);
	target_job_unref(job);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct span input = span_of((const char *)data + 1, size - 1);
	if (data[0] == 'j')
		run_job(input);
	else
		run_target(input);
	return 0;
}
