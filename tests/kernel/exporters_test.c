/* Real exporters: every request is recognised, and what is called a bound of their cost is one. */
#include "exporters.h"

#include <stdio.h>

static void a_real_exporters_cost_lies_between_the_bounds(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, NULL);
	uint64_t stolen = stolen_ticks();
	print_head();
	exporters_measure(&bench);
	assert_int_equal(bench.unseen, 0);
	bool bounded = print_bounds(&bench);
	stolen = stolen_ticks() - stolen;
	if ((bench.missed > 0 || !bounded) && stolen > 0)
		print_message("*** missed in %u rows while the hypervisor took %llu ticks: not judged ***\n",
			bench.missed, (unsigned long long)stolen);
	else
		assert_true(bench.missed == 0 && bounded);
	bench_stop(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_real_exporters_cost_lies_between_the_bounds),
	};
	const char *missing = exporters_missing();
	int skipped = kernel_measures();
	if (skipped == 0 && missing) {
		fprintf(stderr, "\n*** SKIPPED: real exporters are not measured here, it needs the package %s ***\n\n",
			missing);
		return KERNEL_SKIPPED;
	}
	return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
