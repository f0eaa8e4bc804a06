/* Packing: the tables of the next scrape, in the order in which it will use them.
 *
 * 1. Walk the lines of the body in its order, and with each keep its point, metric, scope and resource, each in the list of its
 *    parent, in first-seen order (D-22).
 * 2. Walk the lists and copy: so the points of a metric stand together, and their records can be emitted in one piece.
 * 3. Copy the lines in the order of the body, with the numbers that their points have now.
 *
 * What no line of the body refers to stays behind.
 */
#include "ingest.h"

#include <errno.h>

/* Children of each parent, in the order they came. All numbers are stored + 1; 0 is none. */
struct level {
	uint32_t *first, *last; /* of each parent */
	uint32_t *next;         /* of each child */
	uint32_t *number;       /* each child's new number */
	bool *kept;
};

struct info_line {
	struct info_line *next;
	uint32_t line;
};

struct pack {
	struct ingest *in;
	const struct view *view;
	struct tables *out;
	struct arena *arena;
	struct level resources, scopes, metrics, points;
	uint32_t *lines, *members, *families; /* new numbers + 1; lines and members: not 0 when kept */
	uint32_t *first_member;               /* of each point, + 1 */
	struct info_line **infos;             /* target_info lines of each resource, the last first */
};

/* ---- 1: what stays, and in which order ----------------------------------------------------------- */

static uint32_t *numbers(struct pack *pack, size_t count)
{
	return arena_alloc(pack->arena, count * sizeof(uint32_t));
}

static bool level_init(struct pack *pack, struct level *level, size_t parents, size_t children)
{
	*level = (struct level){
		.first = numbers(pack, parents),
		.last = numbers(pack, parents),
		.next = numbers(pack, children),
		.number = numbers(pack, children),
		.kept = arena_alloc(pack->arena, children),
	};
	return level->first && level->last && level->next && level->number && level->kept;
}

static bool pack_init(struct pack *pack)
{
	const struct view *view = pack->view;
	arena_reset(pack->arena);
	pack->lines = numbers(pack, view->line_count);
	pack->members = numbers(pack, view->member_count);
	pack->families = numbers(pack, view->family_count);
	pack->first_member = numbers(pack, view->point_count);
	pack->infos = arena_alloc(pack->arena, view->resource_count * sizeof(struct info_line *));
	if (!pack->lines || !pack->members || !pack->families || !pack->first_member || !pack->infos)
		return false;
	for (uint32_t i = view->member_count; i > 0; i--)
		pack->first_member[view->members[i - 1].point] = i;
	return level_init(pack, &pack->resources, 1, view->resource_count) &&
	       level_init(pack, &pack->scopes, view->resource_count, view->scope_count) &&
	       level_init(pack, &pack->metrics, view->scope_count, view->metric_count) &&
	       level_init(pack, &pack->points, view->metric_count, view->point_count);
}

/* False when it was there. */
static bool keep(struct level *level, uint32_t parent, uint32_t child)
{
	if (level->kept[child])
		return false;
	level->kept[child] = true;
	if (level->first[parent] == 0)
		level->first[parent] = child + 1;
	else
		level->next[level->last[parent] - 1] = child + 1;
	level->last[parent] = child + 1;
	return true;
}

static void keep_point(struct pack *pack, uint32_t point)
{
	const struct view *view = pack->view;
	uint32_t metric = view->points[point].metric;
	uint32_t scope = view->metrics[metric].scope;
	uint32_t resource = view->scopes[scope].resource;
	if (keep(&pack->points, metric, point) && keep(&pack->metrics, scope, metric) &&
		keep(&pack->scopes, resource, scope))
		keep(&pack->resources, 0, resource);
}

static int keep_info(struct pack *pack, uint32_t resource, uint32_t line)
{
	struct info_line *info = arena_alloc(pack->arena, sizeof(*info));
	if (!info)
		return -ENOMEM;
	*info = (struct info_line){pack->infos[resource], line};
	pack->infos[resource] = info;
	keep(&pack->resources, 0, resource);
	return 0;
}

static int keep_line(struct pack *pack, uint32_t number)
{
	const struct line *line = &pack->view->lines[number];
	switch (line->role) {
	case ROLE_VALUE:
	case ROLE_START:
		keep_point(pack, line->ref);
		return 0;
	case ROLE_MEMBER:
		pack->members[line->ref] = 1;
		keep_point(pack, pack->view->members[line->ref].point);
		return 0;
	case ROLE_TARGET_INFO:
		return keep_info(pack, line->ref, number);
	case ROLE_META:
	case ROLE_TYPE:
		pack->families[line->ref] = 1;
		return 0;
	default:
		return 0;
	}
}

/* Calls with every line of the body, in its order, once. */
static int for_each_line(struct pack *pack, int (*call)(struct pack *pack, uint32_t line))
{
	const struct buf *runs = &pack->in->store->runs;
	int result = 0;
	memset(pack->lines, 0, pack->view->line_count * sizeof(*pack->lines));
	for (size_t i = 0; i < runs->len / sizeof(struct run) && result == 0; i++) {
		struct run run = ((const struct run *)(const void *)runs->ptr)[i];
		for (uint32_t line = run.first; line < run.first + run.count && result == 0; line++) {
			if (pack->lines[line] == 0)
				result = call(pack, line);
			pack->lines[line] = 1;
		}
	}
	return result;
}

/* A start time whose line is gone must not stay in the record. */
static void forget_start(const struct view *view, uint32_t point)
{
	otlp_store64(view_record_end(view, &view->points[point]) - 26, 0);
}

/* What lines that are gone leave behind. */
static void forget_lines(struct pack *pack)
{
	const struct view *view = pack->view;
	for (uint32_t i = 0; i < view->line_count; i++) {
		const struct line *line = &view->lines[i];
		if (in_seen(pack->in)[i])
			continue;
		if (line->role == ROLE_START)
			forget_start(view, line->ref);
		else if (line->role == ROLE_META || line->role == ROLE_TYPE) /* the others may hold now */
			pack->in->unsettled |= view->families[line->ref].disputed;
	}
}

/* ---- 2: copies ------------------------------------------------------------------------------------- */

static struct text copy_text(struct pack *pack, struct text text)
{
	struct text copy = {0};
	tables_text(pack->out, view_text(pack->view, text), &copy); /* a failure sticks to the buffer */
	return copy;
}

static uint32_t add(struct pack *pack, enum part part, const void *item, size_t size)
{
	struct buf *items = &pack->out->part[part];
	uint32_t number = (uint32_t)(items->len / size);
	buf_append(items, item, size);
	return number + 1;
}

static uint32_t next_number(const struct pack *pack, enum part part, size_t size)
{
	return (uint32_t)(pack->out->part[part].len / size);
}

/* T-14: metadata stays for eleven scrapes without its lines. */
static void copy_families(struct pack *pack)
{
	enum { AGE_MAX = 10 };
	for (uint32_t i = 0; i < pack->view->family_count; i++) {
		struct family family = pack->view->families[i];
		family.age = pack->families[i] ? 0 : family.age + 1;
		if (family.age > AGE_MAX) {
			pack->in->unsettled |= family.used;
			pack->families[i] = 0;
			continue;
		}
		family.name = copy_text(pack, family.name);
		family.help = copy_text(pack, family.help);
		family.unit = copy_text(pack, family.unit);
		pack->families[i] = add(pack, PART_FAMILIES, &family, sizeof(family));
	}
}

/* A record that was encoded in this scrape has no places for members that are gone. Others may, and are told so. */
static void copy_members(struct pack *pack, uint32_t point, uint8_t *flags)
{
	uint32_t first = pack->first_member[point];
	for (uint32_t i = first - 1; first && i < pack->view->member_count; i++) {
		struct member member = pack->view->members[i];
		if (member.point != point)
			break;
		if (!pack->members[i]) {
			*flags |= member.encoded ? POINT_MISSHAPEN : 0;
			continue;
		}
		member.point = pack->points.number[point] - 1;
		pack->members[i] = add(pack, PART_MEMBERS, &member, sizeof(member));
	}
}

static void copy_points(struct pack *pack, uint32_t metric)
{
	struct buf *records = &pack->out->part[PART_RECORDS];
	for (uint32_t next = pack->points.first[metric]; next; next = pack->points.next[next - 1]) {
		struct point point = pack->view->points[next - 1];
		struct span record = view_record(pack->view, &point);
		point.record = (uint32_t)records->len;
		point.metric = pack->metrics.number[metric] - 1;
		buf_span(records, record);
		pack->points.number[next - 1] = next_number(pack, PART_POINTS, sizeof(point)) + 1;
		copy_members(pack, next - 1, &point.flags);
		add(pack, PART_POINTS, &point, sizeof(point));
	}
}

static void copy_metrics(struct pack *pack, uint32_t scope)
{
	for (uint32_t next = pack->metrics.first[scope]; next; next = pack->metrics.next[next - 1]) {
		struct metric metric = pack->view->metrics[next - 1];
		uint32_t number = next_number(pack, PART_METRICS, sizeof(metric));
		metric.name = copy_text(pack, metric.name);
		metric.head = copy_text(pack, metric.head);
		metric.scope = pack->scopes.number[scope] - 1;
		metric.identity = number;
		metric.family = metric.family == NONE ? NONE : pack->families[metric.family] - 1; /* 0 - 1 is NONE */
		metric.first_point = next_number(pack, PART_POINTS, sizeof(struct point));
		pack->metrics.number[next - 1] = number + 1;
		copy_points(pack, next - 1);
		metric.point_count = next_number(pack, PART_POINTS, sizeof(struct point)) - metric.first_point;
		add(pack, PART_METRICS, &metric, sizeof(metric));
	}
}

static void copy_scopes(struct pack *pack, uint32_t resource)
{
	for (uint32_t next = pack->scopes.first[resource]; next; next = pack->scopes.next[next - 1]) {
		struct scope scope = pack->view->scopes[next - 1];
		scope.message = copy_text(pack, scope.message);
		scope.schema_url = copy_text(pack, scope.schema_url);
		scope.resource = pack->resources.number[resource] - 1;
		scope.first_metric = next_number(pack, PART_METRICS, sizeof(struct metric));
		pack->scopes.number[next - 1] = next_number(pack, PART_SCOPES, sizeof(scope)) + 1;
		copy_metrics(pack, next - 1);
		scope.metric_count = next_number(pack, PART_METRICS, sizeof(struct metric)) - scope.first_metric;
		add(pack, PART_SCOPES, &scope, sizeof(scope));
	}
}

/* Reads the labels of a target_info line anew: they are not stored. */
static int add_info(struct pack *pack, struct labels_builder *attributes, uint32_t line)
{
	struct ingest *in = pack->in;
	struct buf *body = &in->store->message;
	struct expo_parser parser;
	struct expo_entry entry;
	struct labels labels;
	buf_reset(body);
	buf_span(body, view_key(pack->view, &pack->view->lines[line]));
	buf_str(body, "1\n");
	size_t len = body->len;
	static const char padding[EXPO_PADDING];
	if (buf_append(body, padding, sizeof(padding)) < 0)
		return body->failed;
	expo_init(&parser, in->parser.format, span_of(body->ptr, len), SIZE_MAX);
	if (expo_next(&parser, &entry) != 1)
		return 0;
	int result = sample_labels(in, &entry, &labels);
	return result > 0 ? resource_add_info(attributes, labels) : result;
}

/* A list is kept the last line first, but a later line overrules an earlier one. */
static struct info_line *in_order(struct info_line *list)
{
	struct info_line *turned = NULL;
	while (list) {
		struct info_line *next = list->next;
		list->next = turned;
		turned = list;
		list = next;
	}
	return turned;
}

static int encode_resource(struct pack *pack, uint32_t number, struct text *ret_run)
{
	const struct resource *resource = &pack->view->resources[number];
	struct labels_builder attributes;
	uint64_t limit = pack->in->target->limits.max_labels;
	labels_builder_init(&attributes, pack->arena);
	int result = 0;
	for (struct info_line *info = in_order(pack->infos[number]); info && result == 0; info = info->next) {
		result = add_info(pack, &attributes, info->line);
		if (result == 0 && attributes.count > limit)
			result = fail_scrape(pack->in, SERIES_LABEL_LIMIT, "more than %llu labels in target_info",
				(unsigned long long)limit);
	}
	struct buf *text = &pack->out->part[PART_TEXT];
	ret_run->at = (uint32_t)text->len;
	if (result == 0)
		result = resource_encode(pack->in->target, &attributes, view_text(pack->view, resource->job),
			view_text(pack->view, resource->instance), text);
	ret_run->len = (uint32_t)text->len - ret_run->at;
	return result;
}

static int copy_resources(struct pack *pack)
{
	int result = 0;
	for (uint32_t next = pack->resources.first[0]; next && result == 0; next = pack->resources.next[next - 1]) {
		struct resource resource = pack->view->resources[next - 1];
		result = encode_resource(pack, next - 1, &resource.run);
		resource.job = copy_text(pack, resource.job);
		resource.instance = copy_text(pack, resource.instance);
		resource.first_scope = next_number(pack, PART_SCOPES, sizeof(struct scope));
		pack->resources.number[next - 1] = next_number(pack, PART_RESOURCES, sizeof(resource)) + 1;
		copy_scopes(pack, next - 1);
		resource.scope_count = next_number(pack, PART_SCOPES, sizeof(struct scope)) - resource.first_scope;
		add(pack, PART_RESOURCES, &resource, sizeof(resource));
	}
	return result;
}

/* ---- 3: lines ------------------------------------------------------------------------------------------ */

static int copy_line(struct pack *pack, uint32_t number)
{
	struct line line = pack->view->lines[number];
	struct buf *keys = &pack->out->part[PART_KEYS];
	struct span key = view_key(pack->view, &line);
	const uint32_t *renumbered[] = {
		[ROLE_VALUE] = pack->points.number,
		[ROLE_MEMBER] = pack->members,
		[ROLE_START] = pack->points.number,
		[ROLE_TARGET_INFO] = pack->resources.number,
		[ROLE_META] = pack->families,
		[ROLE_TYPE] = pack->families,
		[ROLE_COUNT] = NULL,
	};
	line.key = (uint32_t)keys->len;
	if (renumbered[line.role])
		line.ref = renumbered[line.role][line.ref] - 1;
	buf_span(keys, key);
	return buf_append(&pack->out->part[PART_LINES], &line, sizeof(line));
}

static void renumber_exemplars(struct pack *pack)
{
	struct buf *exemplars = &pack->in->store->exemplars;
	struct pending_exemplar *pending = (struct pending_exemplar *)(void *)exemplars->ptr;
	for (size_t i = 0; i < exemplars->len / sizeof(*pending); i++)
		pending[i].point = pack->points.number[pending[i].point] - 1;
}

int pack_tables(struct ingest *in)
{
	struct pack pack = {.in = in, .view = &in->view, .out = &in->store->packed, .arena = &in->store->pack_arena};
	tables_reset(pack.out);
	if (tables_reserve(pack.out, pack.view) < 0 || !pack_init(&pack))
		return -ENOMEM;
	forget_lines(&pack);
	keep(&pack.resources, 0, 0);
	int result = for_each_line(&pack, keep_line);
	if (result < 0)
		return result;
	copy_families(&pack);
	result = copy_resources(&pack);
	if (result == 0)
		result = for_each_line(&pack, copy_line);
	if (result == 0)
		result = tables_failed(pack.out);
	if (result == 0)
		renumber_exemplars(&pack);
	return result;
}
