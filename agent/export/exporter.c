/* The exporter seen from outside: its thread, and what other threads may ask of it.
 *
 * Other threads leave a wish under the lock and write wake_fd; the thread reads the wishes in its loop. So nothing that is
 * asked of it allocates, and a stop cannot fail.
 */
#include "exporter.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOG_INTERVAL_NS (30 * NS_PER_SEC)

/* ---- the thread ------------------------------------------------------------------------ */

static void spool_ready(void *arg, unsigned events)
{
	(void)events;
	deliver_next(arg);
}

static void wait_over(void *arg)
{
	deliver_next(arg);
}

static void stop_now(void *arg)
{
	struct exporter *exporter = arg;
	loop_stop(exporter->loop);
}

static void stop_within(struct exporter *exporter, uint64_t deadline_ns)
{
	loop_timer_set(exporter->stop_timer, deadline_ns);
	if (deadline_ns == 0)
		loop_stop(exporter->loop);
	else
		deliver_last(exporter);
}

static void woken(void *arg, unsigned events)
{
	struct exporter *exporter = arg;
	uint64_t wakes;
	(void)events;
	if (read(exporter->wake_fd, &wakes, sizeof(wakes)) < 0)
		return;
	pthread_mutex_lock(&exporter->lock);
	bool stop = exporter->stop_wanted && !exporter->stopping;
	uint64_t deadline_ns = exporter->stop_deadline_ns;
	pthread_mutex_unlock(&exporter->lock);
	if (stop)
		stop_within(exporter, deadline_ns);
	else
		deliver_next(exporter); /* with the new options at once, whatever wait is on */
}

static void *run(void *arg)
{
	struct exporter *exporter = arg;
	loop_run(exporter->loop);
	if (exporter->call) {
		http_cancel(exporter->call);
		exporter->call = NULL;
		spool_release(exporter->spool, exporter->record.id);
	}
	return NULL;
}

static void wake(struct exporter *exporter)
{
	uint64_t one = 1;
	(void)!write(exporter->wake_fd, &one, sizeof(one)); /* fails only when it is readable already */
}

/* ---- life cycle ------------------------------------------------------------------------- */

static void exporter_free(struct exporter *exporter)
{
	http_free(exporter->http);
	loop_timer_free(exporter->timer);
	loop_timer_free(exporter->stop_timer);
	loop_watch_free(exporter->spool_watch);
	loop_watch_free(exporter->wake_watch);
	loop_free(exporter->loop);
	if (exporter->wake_fd >= 0)
		close(exporter->wake_fd);
	destination_free(exporter->destination);
	destination_free(exporter->pending);
	buf_done(&exporter->response);
	pthread_mutex_destroy(&exporter->lock);
	free(exporter);
}

static int prepare_loop(struct exporter *exporter)
{
	exporter->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (exporter->wake_fd < 0)
		return -errno;
	int result = loop_new(&exporter->loop);
	if (result == 0)
		result = loop_timer_new(exporter->loop, wait_over, exporter, &exporter->timer);
	if (result == 0)
		result = loop_timer_new(exporter->loop, stop_now, exporter, &exporter->stop_timer);
	if (result == 0)
		result = loop_watch_new(
			exporter->loop, exporter->wake_fd, LOOP_READ, woken, exporter, &exporter->wake_watch);
	if (result == 0)
		result = loop_watch_new(exporter->loop, spool_fd(exporter->spool), LOOP_READ, spool_ready, exporter,
			&exporter->spool_watch);
	return result == 0 ? deliver_renew_client(exporter) : result;
}

static int start(struct exporter *exporter, const struct export_options *options, struct error *err)
{
	int result = destination_new(options, &exporter->destination, err);
	if (result < 0)
		return result;
	result = prepare_loop(exporter);
	if (result == 0)
		result = -pthread_create(&exporter->thread, NULL, run, exporter);
	return result < 0 ? error_set(err, -result, "start the export thread: %s", strerror(-result)) : 0;
}

int exporter_start(const struct export_options *options, struct spool *spool, const struct log *log, struct clock clock,
	struct exporter **ret_exporter, struct error *err)
{
	struct exporter *exporter = calloc(1, sizeof(*exporter));
	if (!exporter)
		return error_set(err, ENOMEM, "out of memory");
	*exporter = (struct exporter){.spool = spool,
		.log = log,
		.clock = clock,
		.wake_fd = -1,
		.failure_log.interval_ns = LOG_INTERVAL_NS,
		.refused_log.interval_ns = LOG_INTERVAL_NS,
		.partial_log.interval_ns = LOG_INTERVAL_NS};
	pthread_mutex_init(&exporter->lock, NULL);
	buf_init(&exporter->response, EXPORT_RESPONSE_BYTES);
	rng_init(&exporter->rng, hash_seed());
	int result = start(exporter, options, err);
	if (result < 0) {
		exporter_free(exporter);
		return error_wrap(err, -result, "exporters");
	}
	*ret_exporter = exporter;
	return 0;
}

void exporter_stop(struct exporter *exporter, uint64_t deadline_ns)
{
	pthread_mutex_lock(&exporter->lock);
	exporter->stop_wanted = true;
	exporter->stop_deadline_ns = deadline_ns;
	pthread_mutex_unlock(&exporter->lock);
	wake(exporter);
	pthread_join(exporter->thread, NULL);
	exporter_free(exporter);
}

/* ---- from other threads ------------------------------------------------------------------- */

int exporter_configure(struct exporter *exporter, const struct export_options *options, struct error *err)
{
	struct destination *destination;
	int result = destination_new(options, &destination, err);
	if (result < 0)
		return error_wrap(err, -result, "exporters");
	pthread_mutex_lock(&exporter->lock);
	struct destination *overtaken = exporter->pending;
	exporter->pending = destination;
	pthread_mutex_unlock(&exporter->lock);
	wake(exporter);
	destination_free(overtaken);
	return 0;
}

void exporter_stats(struct exporter *exporter, struct export_stats *ret_stats)
{
	pthread_mutex_lock(&exporter->lock);
	*ret_stats = exporter->stats;
	pthread_mutex_unlock(&exporter->lock);
}
