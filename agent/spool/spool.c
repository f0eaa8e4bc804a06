/* The queue between the core's loop and the export thread, held in memory.
 *
 * Happy path: 1. spool_push commits a record at the young end, 2. spool_peek takes the oldest waiting one in flight,
 * 3. spool_ack counts it delivered and frees it. One list, oldest first; a record in flight stays in its place, so that
 * spool_release has nothing to move.
 *
 * Failure modes: no room - the oldest waiting records go (SPOOL_DROP_SIZE), and what does not fit beside the records in
 * flight is refused and counted; a record too old for the gateway - dropped when a push or a peek meets it; no memory -
 * -ENOMEM, the record was never committed. A searched record is found within the export window's length: all that stands
 * before a record in flight is in flight too, or was released a moment ago.
 */
#include "gleaner/spool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

const struct option_table spool_options_table = {
	.name = "spool",
	.help = "The queue of finished batches between the scraper and the gateway (in memory).",
	.size = sizeof(struct spool_options),
	.options =
		(const struct option[]){
			{.name = "max_bytes",
				.kind = OPTION_BYTES,
				.offset = offsetof(struct spool_options, max_bytes),
				.value = "64MiB",
				.min = 4 << 20, /* one sealed batch, even if it would not compress */
				.help = "Ceiling of the compressed batches held, in bytes; above it the oldest are "
					"dropped and counted."},
			{.name = "max_age",
				.kind = OPTION_DURATION,
				.offset = offsetof(struct spool_options, max_age_ns),
				.value = "6h",
				.min = NS_PER_SEC,
				.help = "A batch whose newest point is older than this is dropped and counted, not "
					"sent."},
			{0},
		},
};

struct entry {
	struct entry *older, *younger;
	struct spool_record record;
	bool in_flight;
	char body[];
};

struct spool {
	pthread_mutex_t mutex;
	struct clock clock;
	struct spool_options options;
	struct entry *oldest, *youngest;
	struct spool_stats stats;
	uint64_t next_id;
	uint64_t waiting_records; /* queued and not in flight: what event_fd tells */
	uint64_t in_flight_bytes;
	int event_fd;
};

const char *spool_drop_name(enum spool_drop reason)
{
	static const char *const names[SPOOL_DROP_COUNT] = {"size", "age", "refused", "rejected", "shutdown"};
	return names[reason];
}

/* ---- all below are called with the mutex held -------------------------------- */

/* What a record counts against the ceiling: an empty body is not free either. */
static uint64_t charge(size_t body_bytes)
{
	return sizeof(struct entry) + body_bytes;
}

/* The descriptor is readable exactly while records wait. An eventfd of our own neither fails nor blocks here. */
static void waiting_changed(struct spool *spool, bool more)
{
	uint64_t one = 1;
	if (more && spool->waiting_records++ == 0)
		(void)!write(spool->event_fd, &one, sizeof(one));
	if (!more && --spool->waiting_records == 0)
		(void)!read(spool->event_fd, &one, sizeof(one));
}

static void set_in_flight(struct spool *spool, struct entry *entry, bool in_flight)
{
	uint64_t bytes = charge(entry->record.body.len);
	entry->in_flight = in_flight;
	spool->in_flight_bytes = in_flight ? spool->in_flight_bytes + bytes : spool->in_flight_bytes - bytes;
	waiting_changed(spool, !in_flight);
}

static void append(struct spool *spool, struct entry *entry)
{
	entry->older = spool->youngest;
	if (spool->youngest)
		spool->youngest->younger = entry;
	else
		spool->oldest = entry;
	spool->youngest = entry;
	spool->stats.queued_records++;
	spool->stats.queued_points += entry->record.points;
	spool->stats.queued_bytes += charge(entry->record.body.len);
	waiting_changed(spool, true);
}

static void unlink_and_free(struct spool *spool, struct entry *entry)
{
	if (entry->in_flight)
		spool->in_flight_bytes -= charge(entry->record.body.len);
	else
		waiting_changed(spool, false);
	*(entry->older ? &entry->older->younger : &spool->oldest) = entry->younger;
	*(entry->younger ? &entry->younger->older : &spool->youngest) = entry->older;
	spool->stats.queued_records--;
	spool->stats.queued_points -= entry->record.points;
	spool->stats.queued_bytes -= charge(entry->record.body.len);
	free(entry);
}

static void count_dropped(struct spool *spool, enum spool_drop reason, uint64_t records, uint64_t points)
{
	spool->stats.dropped_records[reason] += records;
	spool->stats.dropped_points[reason] += points;
}

static void drop_entry(struct spool *spool, struct entry *entry, enum spool_drop reason)
{
	count_dropped(spool, reason, 1, entry->record.points);
	unlink_and_free(spool, entry);
}

static struct entry *find_in_flight(const struct spool *spool, uint64_t id)
{
	struct entry *entry = spool->oldest;
	while (entry && (entry->record.id != id || !entry->in_flight))
		entry = entry->younger;
	return entry;
}

static struct entry *oldest_waiting(const struct spool *spool)
{
	struct entry *entry = spool->oldest;
	while (entry && entry->in_flight)
		entry = entry->younger;
	return entry;
}

static bool too_old(const struct spool *spool, const struct entry *entry)
{
	uint64_t now = clock_wall(&spool->clock);
	return now > entry->record.t_max_ns && now - entry->record.t_max_ns > spool->options.max_age_ns;
}

/* The oldest waiting record that may still be sent, or NULL. */
static struct entry *drop_aged(struct spool *spool)
{
	struct entry *entry;
	while ((entry = oldest_waiting(spool)) && too_old(spool, entry))
		drop_entry(spool, entry, SPOOL_DROP_AGE);
	return entry;
}

/* The caller has made sure that there is enough to drop. */
static void make_room(struct spool *spool, uint64_t bytes)
{
	while (spool->stats.queued_bytes + bytes > spool->options.max_bytes)
		drop_entry(spool, oldest_waiting(spool), SPOOL_DROP_SIZE);
}

/* ---- life cycle ----------------------------------------------------------------- */

int spool_new(const struct spool_options *options, struct clock clock, struct spool **ret_spool)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	if (!spool)
		return -ENOMEM;
	spool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (spool->event_fd < 0) {
		int code = -errno;
		free(spool);
		return code;
	}
	pthread_mutex_init(&spool->mutex, NULL);
	spool->options = *options;
	spool->clock = clock;
	spool->next_id = 1;
	*ret_spool = spool;
	return 0;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	while (spool->oldest)
		unlink_and_free(spool, spool->oldest);
	pthread_mutex_destroy(&spool->mutex);
	close(spool->event_fd);
	free(spool);
}

void spool_close(struct spool *spool)
{
	pthread_mutex_lock(&spool->mutex);
	while (spool->oldest)
		drop_entry(spool, spool->oldest, SPOOL_DROP_SHUTDOWN);
	pthread_mutex_unlock(&spool->mutex);
}

/* ---- verbs ------------------------------------------------------------------------ */

static struct entry *entry_new(const struct spool_record *record)
{
	struct entry *entry = malloc(charge(record->body.len));
	if (!entry)
		return NULL;
	*entry = (struct entry){.record = *record};
	if (record->body.len > 0)
		memcpy(entry->body, record->body.ptr, record->body.len);
	entry->record.body.ptr = entry->body;
	return entry;
}

int spool_push(struct spool *spool, const struct spool_record *record)
{
	uint64_t bytes = charge(record->body.len);
	struct entry *entry = entry_new(record); /* the copy is made outside of the lock */
	if (!entry)
		return -ENOMEM;

	pthread_mutex_lock(&spool->mutex);
	entry->record.id = spool->next_id++;
	spool->stats.committed_records++;
	spool->stats.committed_points += record->points;
	bool fits = spool->in_flight_bytes + bytes <= spool->options.max_bytes;
	if (fits) {
		drop_aged(spool);
		make_room(spool, bytes);
		append(spool, entry);
	} else {
		count_dropped(spool, SPOOL_DROP_SIZE, 1, record->points);
		free(entry);
	}
	pthread_mutex_unlock(&spool->mutex);
	return fits ? 0 : -EMSGSIZE;
}

int spool_fd(const struct spool *spool)
{
	return spool->event_fd;
}

int spool_peek(struct spool *spool, struct spool_record *ret_record)
{
	pthread_mutex_lock(&spool->mutex);
	struct entry *entry = drop_aged(spool);
	if (entry) {
		set_in_flight(spool, entry, true);
		*ret_record = entry->record;
	}
	pthread_mutex_unlock(&spool->mutex);
	return entry != NULL;
}

void spool_ack(struct spool *spool, uint64_t id, uint64_t rejected_points)
{
	pthread_mutex_lock(&spool->mutex);
	struct entry *entry = find_in_flight(spool, id);
	if (entry) {
		/* The number comes from the gateway: it cannot refuse more than it was given. */
		uint64_t points = entry->record.points;
		uint64_t rejected = rejected_points < points ? rejected_points : points;
		spool->stats.delivered_records++;
		spool->stats.delivered_points += points - rejected;
		count_dropped(spool, SPOOL_DROP_REJECTED, 0, rejected);
		unlink_and_free(spool, entry);
	}
	pthread_mutex_unlock(&spool->mutex);
}

void spool_drop(struct spool *spool, uint64_t id, enum spool_drop reason)
{
	pthread_mutex_lock(&spool->mutex);
	struct entry *entry = find_in_flight(spool, id);
	if (entry)
		drop_entry(spool, entry, reason);
	pthread_mutex_unlock(&spool->mutex);
}

void spool_release(struct spool *spool, uint64_t id)
{
	pthread_mutex_lock(&spool->mutex);
	struct entry *entry = find_in_flight(spool, id);
	if (entry)
		set_in_flight(spool, entry, false);
	pthread_mutex_unlock(&spool->mutex);
}

void spool_stats(const struct spool *spool, struct spool_stats *ret_stats)
{
	pthread_mutex_t *mutex = (pthread_mutex_t *)&spool->mutex; /* locking is no change that a reader could see */
	pthread_mutex_lock(mutex);
	*ret_stats = spool->stats;
	ret_stats->oldest_t_max_ns = spool->oldest ? spool->oldest->record.t_max_ns : 0;
	pthread_mutex_unlock(mutex);
}
