/* What a message must look like before anybody looks into it. */
#include "gleaner/wire.h"

#include <errno.h>

enum wire_direction { TO_SCRAPER, TO_CORE };

struct wire_shape {
	size_t fixed;
	size_t tail_max;
	enum wire_direction direction;
};

static const struct wire_shape shapes[WIRE_TYPE_COUNT] = {
	[WIRE_SETTINGS] = {sizeof(struct wire_settings), 0, TO_SCRAPER},
	[WIRE_JOB] = {sizeof(struct wire_job), 4u << 20, TO_SCRAPER},
	[WIRE_JOB_GONE] = {sizeof(struct wire_job), 0, TO_SCRAPER},
	[WIRE_TARGET] = {sizeof(struct wire_target), 4u << 20, TO_SCRAPER},
	[WIRE_TARGET_GONE] = {sizeof(struct wire_key), 0, TO_SCRAPER},
	[WIRE_SCRAPE_NOW] = {sizeof(struct wire_key), 0, TO_SCRAPER},
	[WIRE_SOCKET] = {sizeof(struct wire_socket), 512, TO_SCRAPER},
	[WIRE_STOP] = {0, 0, TO_SCRAPER},
	[WIRE_HEARTBEAT] = {sizeof(struct wire_heartbeat), 0, TO_CORE},
	[WIRE_DIAL] = {sizeof(struct wire_key), 0, TO_CORE},
	[WIRE_INGEST] = {sizeof(struct wire_key), 0, TO_CORE},
	[WIRE_RECORD] = {sizeof(struct wire_record), WIRE_MAX - sizeof(struct wire_record), TO_CORE},
	[WIRE_SCRAPED] = {sizeof(struct wire_scraped), 512, TO_CORE},
	[WIRE_STOPPED] = {0, 0, TO_CORE},
	[WIRE_FETCH] = {sizeof(struct wire_key), 0, TO_CORE},
	[WIRE_PACE] = {sizeof(struct wire_pace), 0, TO_SCRAPER},
	[WIRE_COST_MAP] = {sizeof(struct wire_cost_map), 0, TO_SCRAPER},
	[WIRE_COST] = {sizeof(struct wire_cost), 0, TO_CORE},
	[WIRE_SLOT_CLOSED] = {sizeof(struct wire_slot), 0, TO_CORE},
};

size_t wire_fixed_size(enum wire_type type)
{
	return shapes[type].fixed;
}

static int check_record(const struct wire_record *record, size_t tail_len, struct error *err)
{
	if (record->codec > 2)
		return error_set(err, EBADMSG, "record: unknown codec %u", record->codec);
	if (record->points == 0 || tail_len == 0)
		return error_set(err, EBADMSG, "record: empty");
	if (record->t_min_ns > record->t_max_ns)
		return error_set(err, EBADMSG, "record: time range ends before it begins");
	return 0;
}

static int check_scraped(const struct wire_scraped *scraped, struct error *err)
{
	if (scraped->up > 1)
		return error_set(err, EBADMSG, "scraped: up is %u", scraped->up);
	size_t len = strnlen(scraped->reason, sizeof(scraped->reason));
	if (len == sizeof(scraped->reason))
		return error_set(err, EBADMSG, "scraped: reason does not end");
	for (size_t i = 0; i < len; i++) {
		if (scraped->reason[i] != '_' && (scraped->reason[i] < 'a' || scraped->reason[i] > 'z'))
			return error_set(err, EBADMSG, "scraped: reason is no lower-case word");
	}
	return 0;
}

static int check_cost(const struct wire_cost *cost, struct error *err)
{
	if (cost->measured > 1 || cost->new_connection > 1)
		return error_set(err, EBADMSG, "cost: a flag is neither 0 nor 1");
	if (cost->process_after_ns < cost->process_before_ns || cost->read_after_ns < cost->read_before_ns)
		return error_set(err, EBADMSG, "cost: a clock runs backwards");
	return 0;
}

static int check_cost_map(const struct wire_cost_map *map, struct error *err)
{
	if (map->part > WIRE_COST_SHARED || map->map == 0 || map->processes > 1)
		return error_set(err, EBADMSG, "cost map: part %u of map %u", map->part, map->map);
	return 0;
}

int wire_check(enum wire_type type, bool from_scraper, const void *fixed, size_t fixed_and_tail_len, bool has_fd,
	struct error *err)
{
	if ((unsigned)type >= WIRE_TYPE_COUNT || type < WIRE_SETTINGS)
		return error_set(err, EBADMSG, "unknown message type %u", (unsigned)type);
	const struct wire_shape *shape = &shapes[type];
	if ((shape->direction == TO_CORE) != from_scraper)
		return error_set(err, EBADMSG, "message type %u goes the other way", (unsigned)type);
	if (fixed_and_tail_len < shape->fixed || fixed_and_tail_len - shape->fixed > shape->tail_max)
		return error_set(err, EBADMSG, "message type %u with %zu bytes", (unsigned)type, fixed_and_tail_len);
	bool wants_fd =
		type == WIRE_COST_MAP || (type == WIRE_SOCKET && ((const struct wire_socket *)fixed)->error == 0);
	if (wants_fd != has_fd)
		return error_set(
			err, EBADMSG, "message type %u with%s a descriptor", (unsigned)type, has_fd ? "" : "out");
	if (type == WIRE_RECORD)
		return check_record(fixed, fixed_and_tail_len - shape->fixed, err);
	if (type == WIRE_SCRAPED)
		return check_scraped(fixed, err);
	if (type == WIRE_COST)
		return check_cost(fixed, err);
	if (type == WIRE_COST_MAP)
		return check_cost_map(fixed, err);
	return 0;
}
