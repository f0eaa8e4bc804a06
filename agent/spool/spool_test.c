/* spool against a reference that is too simple to be wrong: an array of what is queued. */
#include "gleaner/spool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "test.h"

enum { MODEL_MAX = 4096 };

static struct spool *new_spool(uint64_t max_bytes, struct test_clock *time)
{
	struct spool_options options = {.max_bytes = max_bytes, .max_age_ns = 6 * 3600 * NS_PER_SEC};
	struct spool *spool = NULL;
	assert_int_equal(spool_new(&options, test_clock(time), &spool), 0);
	return spool;
}

static struct test_clock noon(void)
{
	return (struct test_clock){.mono_ns = 5 * NS_PER_SEC, .wall_ns = UINT64_C(1795516800) * NS_PER_SEC};
}

static int push(struct spool *spool, const char *body, uint32_t points, uint64_t t_max_ns)
{
	struct spool_record record = {
		.codec = CODEC_GZIP,
		.points = points,
		.t_min_ns = t_max_ns,
		.t_max_ns = t_max_ns,
		.uncompressed_bytes = 10 * strlen(body),
		.body = span_str(body),
	};
	return spool_push(spool, &record);
}

static struct spool_stats stats_of(const struct spool *spool)
{
	struct spool_stats stats;
	spool_stats(spool, &stats);
	return stats;
}

static void assert_conserved(const struct spool *spool)
{
	struct spool_stats stats = stats_of(spool);
	uint64_t records = stats.delivered_records + stats.queued_records;
	uint64_t points = stats.delivered_points + stats.queued_points;
	for (size_t i = 0; i < SPOOL_DROP_COUNT; i++) {
		records += stats.dropped_records[i];
		points += stats.dropped_points[i];
	}
	assert_int_equal(stats.committed_records, records);
	assert_int_equal(stats.committed_points, points);
}

static bool readable(const struct spool *spool)
{
	struct pollfd poll_fd = {.fd = spool_fd(spool), .events = POLLIN};
	return poll(&poll_fd, 1, 0) == 1;
}

/* What one record costs beyond its body, measured, since it is the spool's own business. */
static uint64_t overhead(void)
{
	struct test_clock time = noon();
	struct spool *spool = new_spool(UINT64_C(1) << 20, &time);
	assert_int_equal(push(spool, "", 0, time.wall_ns), 0);
	uint64_t bytes = stats_of(spool).queued_bytes;
	spool_free(spool);
	return bytes;
}

static void records_come_out_oldest_first_as_they_went_in(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	assert_int_equal(push(spool, "first", 3, time.wall_ns), 0);
	assert_int_equal(push(spool, "second", 4, time.wall_ns), 0);

	struct spool_record record;
	assert_int_equal(spool_peek(spool, &record), 1);
	assert_true(span_eq(record.body, SPAN("first")));
	assert_int_equal(record.points, 3);
	assert_int_equal(record.codec, CODEC_GZIP);
	assert_int_equal(record.uncompressed_bytes, 50);
	assert_int_equal(record.t_max_ns, time.wall_ns);
	uint64_t first = record.id;
	assert_int_equal(spool_peek(spool, &record), 1);
	assert_true(span_eq(record.body, SPAN("second")));
	assert_true(record.id > first);
	assert_int_equal(spool_peek(spool, &record), 0);
	assert_conserved(spool);
	spool_free(spool);
}

static void released_record_goes_back_to_its_place(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	push(spool, "first", 1, time.wall_ns);
	push(spool, "second", 1, time.wall_ns);
	struct spool_record first, second, again;
	spool_peek(spool, &first);
	spool_peek(spool, &second);
	spool_release(spool, second.id);
	spool_release(spool, first.id);
	assert_int_equal(spool_peek(spool, &again), 1);
	assert_int_equal(again.id, first.id);
	spool_free(spool);
}

static void descriptor_is_readable_exactly_while_records_wait(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	struct spool_record record;
	assert_false(readable(spool));
	push(spool, "a", 1, time.wall_ns);
	push(spool, "b", 1, time.wall_ns);
	assert_true(readable(spool));
	spool_peek(spool, &record);
	assert_true(readable(spool));
	spool_peek(spool, &record);
	assert_false(readable(spool));
	spool_release(spool, record.id);
	assert_true(readable(spool));
	spool_close(spool);
	assert_false(readable(spool));
	spool_free(spool);
}

static void at_the_ceiling_the_oldest_go_but_not_those_in_flight(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(3 * (overhead() + 5), &time);
	struct spool_record flying, record;
	push(spool, "aaaaa", 1, time.wall_ns);
	spool_peek(spool, &flying);
	push(spool, "bbbbb", 10, time.wall_ns);
	push(spool, "ccccc", 100, time.wall_ns);
	push(spool, "ddddd", 1000, time.wall_ns);

	assert_true(span_eq(flying.body, SPAN("aaaaa")));
	assert_int_equal(stats_of(spool).dropped_records[SPOOL_DROP_SIZE], 1);
	assert_int_equal(stats_of(spool).dropped_points[SPOOL_DROP_SIZE], 10);
	assert_int_equal(spool_peek(spool, &record), 1);
	assert_true(span_eq(record.body, SPAN("ccccc")));
	assert_conserved(spool);
	spool_free(spool);
}

static void record_that_cannot_fit_is_refused_counted_and_costs_no_other(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(overhead() + 5, &time);
	push(spool, "fits.", 1, time.wall_ns);
	assert_int_equal(push(spool, "too long", 7, time.wall_ns), -EMSGSIZE);
	assert_int_equal(stats_of(spool).dropped_points[SPOOL_DROP_SIZE], 7);
	assert_int_equal(stats_of(spool).queued_records, 1);
	assert_conserved(spool);

	struct spool_record record;
	spool_peek(spool, &record); /* now nothing may go to make room */
	assert_int_equal(push(spool, "fits.", 2, time.wall_ns), -EMSGSIZE);
	assert_int_equal(stats_of(spool).dropped_records[SPOOL_DROP_SIZE], 2);
	assert_conserved(spool);
	spool_free(spool);
}

static void record_older_than_max_age_is_never_handed_out(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	struct spool_record record;
	push(spool, "friday", 5, time.wall_ns);
	time.wall_ns += 6 * 3600 * NS_PER_SEC;
	push(spool, "later", 6, time.wall_ns);
	assert_int_equal(stats_of(spool).queued_records, 2);
	time.wall_ns += 1;
	assert_int_equal(spool_peek(spool, &record), 1);
	assert_true(span_eq(record.body, SPAN("later")));
	assert_int_equal(stats_of(spool).dropped_points[SPOOL_DROP_AGE], 5);
	assert_conserved(spool);
	spool_free(spool);
}

static void clock_set_back_drops_nothing(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	struct spool_record record;
	push(spool, "from the future", 1, time.wall_ns + 9 * 3600 * NS_PER_SEC);
	assert_int_equal(spool_peek(spool, &record), 1);
	spool_free(spool);
}

static void partial_success_splits_the_points(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	struct spool_record record;
	push(spool, "a", 10, time.wall_ns);
	push(spool, "b", 10, time.wall_ns);
	spool_peek(spool, &record);
	spool_ack(spool, record.id, 4);
	spool_peek(spool, &record);
	spool_ack(spool, record.id, UINT64_MAX); /* a gateway may say anything */
	struct spool_stats stats = stats_of(spool);
	assert_int_equal(stats.delivered_records, 2);
	assert_int_equal(stats.delivered_points, 6);
	assert_int_equal(stats.dropped_records[SPOOL_DROP_REJECTED], 0);
	assert_int_equal(stats.dropped_points[SPOOL_DROP_REJECTED], 14);
	assert_conserved(spool);
	spool_free(spool);
}

static void id_that_is_not_in_flight_changes_nothing(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	struct spool_record record;
	push(spool, "a", 10, time.wall_ns);
	spool_peek(spool, &record);
	spool_release(spool, record.id);
	spool_ack(spool, record.id, 0);
	spool_drop(spool, record.id, SPOOL_DROP_REFUSED);
	spool_release(spool, record.id + 1);
	assert_int_equal(stats_of(spool).queued_records, 1);
	assert_conserved(spool);
	spool_free(spool);
}

static void close_counts_what_is_left_in_flight_or_not(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(1 << 20, &time);
	struct spool_record record;
	push(spool, "a", 1, time.wall_ns);
	push(spool, "b", 2, time.wall_ns);
	spool_peek(spool, &record);
	assert_int_equal(stats_of(spool).oldest_t_max_ns, time.wall_ns);
	spool_close(spool);
	struct spool_stats stats = stats_of(spool);
	assert_int_equal(stats.dropped_records[SPOOL_DROP_SHUTDOWN], 2);
	assert_int_equal(stats.dropped_points[SPOOL_DROP_SHUTDOWN], 3);
	assert_int_equal(stats.queued_bytes, 0);
	assert_int_equal(stats.oldest_t_max_ns, 0);
	assert_conserved(spool);
	spool_free(spool);
}

static void every_drop_reason_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(spool_drop_name(SPOOL_DROP_SIZE), "size");
	for (enum spool_drop reason = 0; reason < SPOOL_DROP_COUNT; reason++)
		assert_non_null(spool_drop_name(reason));
}

/* ---- the model ----------------------------------------------------------------------- */

struct model_record {
	uint64_t id, t_max_ns, bytes;
	uint32_t points;
	unsigned char fill; /* every byte of the body */
	bool in_flight;
	const char *body; /* where the spool lent it, while in flight */
};
struct model {
	struct model_record items[MODEL_MAX]; /* oldest first */
	size_t count;
	uint64_t max_bytes, max_age_ns, overhead, next_id;
	uint64_t committed, delivered, dropped[SPOOL_DROP_COUNT]; /* points */
};

static void model_remove(struct model *model, size_t i)
{
	model->count--;
	memmove(&model->items[i], &model->items[i + 1], (model->count - i) * sizeof(model->items[0]));
}

static size_t model_oldest_waiting(const struct model *model)
{
	size_t i = 0;
	while (i < model->count && model->items[i].in_flight)
		i++;
	return i;
}

static uint64_t model_bytes(const struct model *model, bool in_flight_only)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < model->count; i++)
		bytes += in_flight_only && !model->items[i].in_flight ? 0 : model->items[i].bytes;
	return bytes;
}

static void model_drop_waiting(struct model *model, enum spool_drop reason)
{
	size_t i = model_oldest_waiting(model);
	model->dropped[reason] += model->items[i].points;
	model_remove(model, i);
}

static void model_drop_aged(struct model *model, uint64_t now)
{
	for (size_t i; (i = model_oldest_waiting(model)) < model->count;) {
		if (now < model->items[i].t_max_ns || now - model->items[i].t_max_ns <= model->max_age_ns)
			return;
		model_drop_waiting(model, SPOOL_DROP_AGE);
	}
}

static void step_push(struct model *model, struct spool *spool, struct rng *rng, uint64_t now)
{
	static char body[6000];
	struct model_record made = {
		.id = model->next_id++,
		.t_max_ns = now - rng_below(rng, 10) * NS_PER_SEC,
		.points = (uint32_t)rng_below(rng, 8192),
		.fill = (unsigned char)rng_next(rng),
	};
	size_t len = rng_below(rng, 50) == 0 ? 6000 : rng_below(rng, 1000);
	memset(body, made.fill, len);
	made.bytes = len + model->overhead;
	struct spool_record record = {.points = made.points, .t_max_ns = made.t_max_ns, .body = {body, len}};

	model->committed += made.points;
	bool fits = model_bytes(model, true) + made.bytes <= model->max_bytes;
	assert_int_equal(spool_push(spool, &record), fits ? 0 : -EMSGSIZE);
	if (!fits) {
		model->dropped[SPOOL_DROP_SIZE] += made.points;
		return;
	}
	model_drop_aged(model, now);
	while (model_bytes(model, false) + made.bytes > model->max_bytes)
		model_drop_waiting(model, SPOOL_DROP_SIZE);
	assert_true(model->count < MODEL_MAX);
	model->items[model->count++] = made;
}

static void step_peek(struct model *model, struct spool *spool, uint64_t now)
{
	struct spool_record record;
	model_drop_aged(model, now);
	size_t i = model_oldest_waiting(model);
	assert_int_equal(spool_peek(spool, &record), i < model->count);
	if (i == model->count)
		return;
	assert_int_equal(record.id, model->items[i].id);
	assert_int_equal(record.points, model->items[i].points);
	assert_int_equal(record.body.len + model->overhead, model->items[i].bytes);
	model->items[i].in_flight = true;
	model->items[i].body = record.body.ptr;
}

/* Ends the flight of a random record, in one of the three ways. */
static void step_land(struct model *model, struct spool *spool, struct rng *rng)
{
	size_t i = model->count > 0 ? rng_below(rng, model->count) : 0;
	if (i == model->count || !model->items[i].in_flight)
		return;
	struct model_record *item = &model->items[i];
	for (size_t at = 0; at < item->bytes - model->overhead; at++)
		assert_int_equal((unsigned char)item->body[at], item->fill);
	uint64_t way = rng_below(rng, 4);
	if (way == 0) {
		spool_release(spool, item->id);
		item->in_flight = false;
	} else if (way == 1) {
		spool_drop(spool, item->id, SPOOL_DROP_REFUSED);
		model->dropped[SPOOL_DROP_REFUSED] += item->points;
		model_remove(model, i);
	} else {
		uint64_t rejected = way == 2 ? 0 : rng_below(rng, 2 * (uint64_t)item->points + 1);
		spool_ack(spool, item->id, rejected);
		rejected = rejected < item->points ? rejected : item->points;
		model->delivered += item->points - rejected;
		model->dropped[SPOOL_DROP_REJECTED] += rejected;
		model_remove(model, i);
	}
}

static void assert_same(const struct model *model, const struct spool *spool)
{
	struct spool_stats stats = stats_of(spool);
	uint64_t points = 0;
	for (size_t i = 0; i < model->count; i++)
		points += model->items[i].points;
	assert_int_equal(stats.committed_points, model->committed);
	assert_int_equal(stats.delivered_points, model->delivered);
	assert_memory_equal(stats.dropped_points, model->dropped, sizeof(model->dropped));
	assert_int_equal(stats.queued_records, model->count);
	assert_int_equal(stats.queued_points, points);
	assert_int_equal(stats.queued_bytes, model_bytes(model, false));
	assert_true(stats.queued_bytes <= model->max_bytes);
	assert_int_equal(readable(spool), model_oldest_waiting(model) < model->count);
	assert_conserved(spool);
}

static void ten_thousand_random_steps_agree_with_the_model(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct model *model = calloc(1, sizeof(*model));
	*model = (struct model){.overhead = overhead(), .next_id = 1, .max_age_ns = 20 * NS_PER_SEC};
	model->max_bytes = 5000 + model->overhead;
	struct spool_options options = {.max_bytes = model->max_bytes, .max_age_ns = model->max_age_ns};
	struct spool *spool = NULL;
	assert_int_equal(spool_new(&options, test_clock(&time), &spool), 0);
	struct rng rng;
	rng_init(&rng, 20261124);

	for (size_t step = 0; step < 10000; step++) {
		switch (rng_below(&rng, 8)) {
		case 0 ... 2:
			step_push(model, spool, &rng, time.wall_ns);
			break;
		case 3 ... 4:
			step_peek(model, spool, time.wall_ns);
			break;
		case 5 ... 6:
			step_land(model, spool, &rng);
			break;
		default:
			time.wall_ns += rng_below(&rng, 3) * NS_PER_SEC;
		}
		assert_same(model, spool);
	}
	for (size_t reason = 0; reason < SPOOL_DROP_SHUTDOWN; reason++)
		assert_true(model->dropped[reason] > 0); /* the walk met every case */
	assert_true(model->delivered > 0);
	spool_free(spool);
	free(model);
}

/* ---- threads, memory ------------------------------------------------------------------- */

enum { THREAD_RECORDS = 5000 };

/* Returns what is wrong, or NULL. Every seventh record is sent back once before it is delivered. */
static void *export_thread(void *arg)
{
	struct spool *spool = arg;
	uint64_t last = 0;
	for (size_t delivered = 0; delivered < THREAD_RECORDS;) {
		struct pollfd poll_fd = {.fd = spool_fd(spool), .events = POLLIN};
		poll(&poll_fd, 1, -1);
		for (struct spool_record record; spool_peek(spool, &record);) {
			if (record.id % 7 == 0 && record.id != last) {
				spool_release(spool, record.id);
			} else if (record.id < last) {
				return "out of order";
			} else {
				spool_ack(spool, record.id, 0);
				delivered++;
			}
			last = record.id;
		}
	}
	return NULL;
}

static void two_threads_share_it(void **state)
{
	(void)state;
	struct test_clock time = noon();
	struct spool *spool = new_spool(UINT64_C(64) << 20, &time);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, export_thread, spool), 0);
	for (size_t i = 0; i < THREAD_RECORDS; i++)
		assert_int_equal(push(spool, "body", 3, time.wall_ns), 0);
	void *complaint = NULL;
	pthread_join(thread, &complaint);
	assert_null(complaint);
	assert_int_equal(stats_of(spool).delivered_points, 3 * THREAD_RECORDS);
	assert_conserved(spool);
	spool_free(spool);
}

static int fill_a_little(void *arg)
{
	struct spool_options options = {.max_bytes = 1 << 20, .max_age_ns = NS_PER_SEC};
	struct spool *spool = NULL;
	int result = spool_new(&options, test_clock(arg), &spool);
	for (size_t i = 0; result == 0 && i < 3; i++)
		result = push(spool, "body", 1, ((struct test_clock *)arg)->wall_ns);
	if (spool)
		assert_conserved(spool);
	spool_free(spool);
	return result;
}

static void memory_that_runs_out_is_reported(void **state)
{
	(void)state;
	struct test_clock time = noon();
	test_out_of_memory(fill_a_little, &time);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_out_oldest_first_as_they_went_in),
		cmocka_unit_test(released_record_goes_back_to_its_place),
		cmocka_unit_test(descriptor_is_readable_exactly_while_records_wait),
		cmocka_unit_test(at_the_ceiling_the_oldest_go_but_not_those_in_flight),
		cmocka_unit_test(record_that_cannot_fit_is_refused_counted_and_costs_no_other),
		cmocka_unit_test(record_older_than_max_age_is_never_handed_out),
		cmocka_unit_test(clock_set_back_drops_nothing),
		cmocka_unit_test(partial_success_splits_the_points),
		cmocka_unit_test(id_that_is_not_in_flight_changes_nothing),
		cmocka_unit_test(close_counts_what_is_left_in_flight_or_not),
		cmocka_unit_test(every_drop_reason_has_a_name),
		cmocka_unit_test(ten_thousand_random_steps_agree_with_the_model),
		cmocka_unit_test(two_threads_share_it),
		cmocka_unit_test(memory_that_runs_out_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
