/* A target of discovered labels (semantics 3.2):
 *
 *   1. seed what the job says        2. relabel        3. drop meta labels, default instance
 *   4. read address, scheme, times   5. URL            6. public labels, resource   7. key and content
 *
 * Steps 1-3 work in a scratch arena; the target keeps copies of what it needs, so that it owns no rubbish and outlives the rules.
 * Failure modes: dropped (0), labels that make no target (-EINVAL with err), memory.
 */
#include "labels.h"
#include "pack.h"
#include "url.h"

#include <errno.h>
#include <stdlib.h>

/* A pod's annotations are at most 256 KiB, and stand twice among the labels of each of its targets. */
enum { TARGET_MAX_BYTES = 4 << 20, SCRATCH_MAX_BYTES = 16 << 20, URL_MAX_BYTES = 16 << 10 };

static int check_values(struct labels labels, struct error *err)
{
	for (size_t i = 0; i < labels.count; i++)
		if (!span_is_utf8(labels.items[i].value))
			return error_set(
				err, EINVAL, "label %s: value is not UTF-8", escape_bytes(labels.items[i].name).text);
	return 0;
}

static int read_duration(struct labels labels, struct span name, uint64_t *ret_ns, struct error *err)
{
	struct span text = labels_get(labels, name);
	if (duration_parse(text, ret_ns) < 0)
		return error_set(err, EINVAL, "%.*s: `%s` is not a duration", SPAN_ARGS(name), escape_bytes(text).text);
	if (*ret_ns == 0)
		return error_set(err, EINVAL, "%.*s: 0", SPAN_ARGS(name));
	return 0;
}

static int read_times(struct target *target, struct labels labels, struct error *err)
{
	uint64_t least_ns = target->job->interval_ns;
	if (least_ns > TARGET_LEAST_INTERVAL_NS)
		least_ns = TARGET_LEAST_INTERVAL_NS;
	if (read_duration(labels, SPAN("__scrape_interval__"), &target->interval_ns, err) < 0 ||
		read_duration(labels, SPAN("__scrape_timeout__"), &target->timeout_ns, err) < 0)
		return -EINVAL;
	if (target->interval_ns < least_ns)
		target->interval_ns = least_ns;
	if (target->timeout_ns > target->interval_ns)
		return error_set(err, EINVAL, "__scrape_timeout__: %s is longer than the interval, %s",
			duration_format(target->timeout_ns).text, duration_format(target->interval_ns).text);
	return 0;
}

static int read_place(struct target *target, struct labels labels, bool *ret_explicit_port, struct error *err)
{
	struct span host, scheme = labels_get(labels, SPAN("__scheme__"));
	bool https = span_eq(scheme, SPAN("https"));
	uint16_t port;
	if (!https && !span_eq(scheme, SPAN("http")))
		return error_set(err, EINVAL, "__scheme__: `%s` is not http or https", escape_bytes(scheme).text);
	if (labels_get(labels, SPAN("__unix_socket__")).len > 0)
		return error_set(err, EINVAL, "__unix_socket__: sockets in the file system are not supported");
	if (target_address_split(labels_get(labels, SPAN("__address__")), &host, &port, err) < 0)
		return error_wrap(err, EINVAL, "__address__");
	char *copy = arena_spandup(&target->arena, host);
	if (!copy)
		return -ENOMEM;
	target->host = span_of(copy, host.len);
	target->scheme = https ? SPAN("https") : SPAN("http");
	target->port = port ? port : https ? 443 : 80;
	*ret_explicit_port = port != 0;
	return 0;
}

static int set_url(
	struct target *target, bool explicit_port, struct labels labels, struct arena *scratch, struct error *err)
{
	struct buf url;
	buf_init(&url, URL_MAX_BYTES);
	int result = url_build(target->job, target, explicit_port, labels, scratch, &url);
	if (result == -EMSGSIZE)
		result = error_set(err, EINVAL, "the URL is longer than %d bytes", URL_MAX_BYTES);
	if (result == 0) {
		target->url = span_of(arena_spandup(&target->arena, buf_view(&url)), url.len);
		result = target->url.ptr ? 0 : -ENOMEM;
	}
	buf_done(&url);
	return result;
}

static int set_labels(struct target *target, bool explicit_port, struct labels seeded, struct labels finished)
{
	struct labels_builder public, resource;
	struct span uid = labels_get(seeded, SPAN("__meta_kubernetes_pod_uid"));
	labels_builder_init(&public, &target->arena);
	labels_builder_init(&resource, &target->arena);
	target->pod_uid = span_of(arena_spandup(&target->arena, uid), uid.len);
	if (!target->pod_uid.ptr || labels_public(&public, target->job, finished) < 0 ||
		labels_resource(&resource, target, explicit_port, seeded) < 0)
		return -ENOMEM;
	target->labels = labels_builder_view(&public);
	target->resource = labels_builder_view(&resource);
	return 0;
}

/* Both hashes are the same after a restart: the schedule's phase hangs on the key. */
static int set_hashes(struct target *target, struct span identity)
{
	struct buf bytes;
	buf_init(&bytes, TARGET_PACKED_MAX - 64); /* target_pack puts key and content before the body */
	buf_printf(&bytes, "%d/%zu/", (int)target->origin, target->job->name.len);
	buf_span(&bytes, target->job->name);
	buf_span(&bytes, identity);
	uint64_t key = hash_bytes(buf_view(&bytes), 0);
	int result = bytes.failed;
	buf_reset(&bytes);
	buf_append(&bytes, &target->job->packed, sizeof(target->job->packed));
	if (result == 0)
		result = pack_target_body(target, &bytes);
	target->key = key;
	target->content = hash_bytes(buf_view(&bytes), 0);
	buf_done(&bytes);
	return result;
}

/* Steps 3 to 7. */
static int finish(struct target *target, struct span identity, struct labels_builder *relabelled, struct labels seeded,
	struct error *err)
{
	bool explicit_port = false;
	if (labels_finish(relabelled) < 0)
		return -ENOMEM;
	struct labels labels = labels_builder_view(relabelled);
	int result = check_values(labels, err);
	if (result == 0)
		result = read_place(target, labels, &explicit_port, err);
	if (result == 0)
		result = read_times(target, labels, err);
	if (result == 0)
		result = set_url(target, explicit_port, labels, relabelled->arena, err);
	if (result == 0)
		result = set_labels(target, explicit_port, seeded, labels);
	if (result == 0)
		result = set_hashes(target, identity);
	return result == -EMSGSIZE ? error_set(err, EINVAL, "its labels are too large") : result;
}

/* 1 made, 0 dropped. */
static int build(struct target *target, struct span identity, struct labels discovered, struct arena *scratch,
	size_t *ret_rule, struct error *err)
{
	struct labels_builder builder;
	labels_builder_init(&builder, scratch);
	if (labels_seed(&builder, target->job, discovered) < 0 ||
		labels_copy(&target->arena, labels_builder_view(&builder), &target->discovered) < 0)
		return -ENOMEM;
	size_t rule = TARGET_NO_RULE;
	int kept = relabel_apply(target->job->relabel, &builder, &rule);
	if (kept == 1 && labels_builder_get(&builder, SPAN("__address__")).len == 0)
		kept = 0;
	if (kept == 0 && ret_rule)
		*ret_rule = rule;
	if (kept <= 0)
		return kept;
	int result = finish(target, identity, &builder, target->discovered, err);
	return result < 0 ? result : 1;
}

int target_new(struct target_job *job, enum target_origin origin, struct span identity, struct labels discovered,
	struct target **ret_target, size_t *ret_rule, struct error *err)
{
	struct arena scratch;
	struct target *target = calloc(1, sizeof(*target));
	if (!target)
		return error_set(err, ENOMEM, "out of memory");
	target->refs = 1;
	target->origin = origin;
	target->job = target_job_ref(job);
	arena_init(&target->arena, TARGET_MAX_BYTES);
	arena_init(&scratch, SCRATCH_MAX_BYTES);
	int result = build(target, identity, discovered, &scratch, ret_rule, err);
	/* Rules may be a tenant's: what they blow up costs him his target, and nobody else anything. */
	bool too_large = scratch.full || target->arena.full;
	arena_done(&scratch);
	if (result == -ENOMEM)
		result = too_large ? error_set(err, EINVAL, "relabelling makes its labels too large")
				   : error_set(err, ENOMEM, "out of memory");
	if (result <= 0)
		target_unref(target);
	else
		*ret_target = target;
	return result;
}

struct target *target_ref(struct target *target)
{
	target->refs++;
	return target;
}

void target_unref(struct target *target)
{
	if (!target || --target->refs > 0)
		return;
	target_job_unref(target->job);
	arena_done(&target->arena);
	free(target);
}
