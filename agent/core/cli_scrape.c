/* `gleaner scrape URL|FILE`: one body through stages 4 to 7 of the way of a scrape, in this process.
 *
 *  1. A target is made as discovery would, from a job with all defaults.
 *  2. The body comes from the file, or by the scraper's own fetch.
 *  3. scrape_ingest turns it into batches, --repeat times; what the last one sealed is printed as text or OTLP/JSON.
 *  4. Standard error gets counts, bytes and time of each stage. The first time is cold (every series is new), the others warm.
 *
 * Only this host is scraped, as everywhere. A body that fails brings `up 0`, the reason, and exit status 1.
 */
#include "cli.h"

#include "percent.h"
#include "settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BODY_MAX_BYTES   ((size_t)1 << 30)
#define OUTPUT_MAX_BYTES ((size_t)1 << 31)
#define REPEAT_MAX       1000000

struct scrape_command {
	const char *source; /* URL or FILE */
	bool json;
	uint64_t repeat;
	struct clock clock;
	struct arena arena;

	struct scrape_options options;
	struct target_job *job;
	struct target *target;
	struct scrape_body body;
	struct scrape_fetch_result fetch;
	struct loop *loop; /* while a URL is fetched */

	struct codec *codec;
	bool printing;
	struct buf printed, compressed;
	uint64_t requests, request_bytes, compressed_bytes, points, compress_ns; /* of the last round */
};

/* ---- 1: the target ------------------------------------------------------------------------- */

static const char *no_environment(const char *name)
{
	(void)name;
	return NULL;
}

/* The defaults of a table, and what a line or two of YAML say. */
static int load_options(
	struct scrape_command *command, const char *text, const struct option_table *table, void *ret_object)
{
	struct config_input input = {
		.name = "gleaner scrape", .text = span_str(text), .get_environment = no_environment};
	struct config_problems problems;
	return config_load(&input, table, &command->arena, ret_object, &problems);
}

static bool is_url(const char *source)
{
	return strncmp(source, "http://", 7) == 0 || strncmp(source, "https://", 8) == 0;
}

/* name=value of a query as the label __param_name. */
static int put_param(struct scrape_command *command, struct labels_builder *labels, struct span part, struct error *err)
{
	struct span encoded_name, name, value;
	struct span encoded_value = part;
	span_next(&encoded_value, '=', &encoded_name);
	int result = percent_decode(encoded_name, true, &command->arena, &name);
	if (result == 0)
		result = percent_decode(encoded_value, true, &command->arena, &value);
	if (result == -EINVAL)
		return error_set(err, EINVAL, "query: %s: %% without two hexadecimal digits", escape_bytes(part).text);
	if (result < 0)
		return result;
	struct buf label;
	buf_init(&label, 65536);
	buf_str(&label, "__param_");
	result = buf_span(&label, name);
	if (result == 0 && labels_builder_get(labels, buf_view(&label)).len > 0)
		result = error_set(err, EINVAL, "query parameter %s stands twice", escape_bytes(name).text);
	if (result == 0)
		result = labels_set(labels, buf_view(&label), value);
	buf_done(&label);
	return result;
}

/* The labels that make the URL again. */
static int put_url(struct scrape_command *command, struct labels_builder *labels, struct span url, struct error *err)
{
	struct span scheme, address, path, query = url;
	span_next(&query, ':', &scheme);
	query = span_of(query.ptr + 2, query.len - 2); /* the slashes, which is_url has seen */
	span_next(&query, '?', &address);
	const char *slash = memchr(address.ptr, '/', address.len);
	path = slash ? span_of(slash, address.len - (size_t)(slash - address.ptr)) : SPAN("/metrics");
	address.len -= slash ? path.len : 0;
	labels_set(labels, SPAN("__scheme__"), scheme);
	labels_set(labels, SPAN("__address__"), address);
	labels_set(labels, SPAN("__metrics_path__"), path);
	struct span part;
	int result = 0;
	while (result == 0 && span_next(&query, '&', &part))
		result = part.len > 0 ? put_param(command, labels, part, err) : 0;
	return result < 0 ? result : labels->failed;
}

static int make_target(struct scrape_command *command, struct error *err)
{
	struct target_global_options global;
	struct target_job_options job;
	struct labels_builder labels;
	labels_builder_init(&labels, &command->arena);
	int result = load_options(command, "", &scrape_options_table, &command->options);
	if (result == 0)
		result = load_options(command, "", &target_global_table, &global);
	if (result == 0)
		result = load_options(command, "job_name: gleaner-scrape", &target_job_table, &job);
	if (result == 0)
		result = target_job_new(&job, &global, &command->job, err);
	if (result < 0)
		return result;
	if (is_url(command->source)) {
		result = put_url(command, &labels, span_str(command->source), err);
	} else {
		labels_set(&labels, SPAN("__address__"), SPAN("localhost"));
		labels_set(&labels, SPAN("instance"), span_str(command->source));
		result = labels.failed;
	}
	if (result < 0)
		return result;
	result = target_new(command->job, TARGET_STATIC, SPAN("gleaner scrape"), labels_builder_view(&labels),
		&command->target, NULL, err);
	if (result == 0)
		return error_set(err, EINVAL, "expected http://HOST:PORT/PATH");
	return result < 0 ? result : 0;
}

/* ---- 2: the body --------------------------------------------------------------------------- */

/* An OpenMetrics body must end in # EOF, and text never needs to: a good guess where no Content-Type came with it. */
static const char *guess_content_type(struct span body)
{
	return span_ends_with(span_trim(body), SPAN("# EOF")) ? "application/openmetrics-text; version=1.0.0"
							      : "text/plain; version=0.0.4";
}

static int read_file(struct scrape_command *command, struct error *err)
{
	struct buf *bytes = &command->body.bytes;
	int result = file_read(command->source, bytes, err);
	if (result == -ENOENT && strchr(command->source, ':'))
		return error_set(err, ENOENT, "no such file, and a URL begins with http:// or https://");
	char *padding = result == 0 ? buf_reserve(bytes, EXPO_PADDING) : NULL;
	if (result == 0 && !padding)
		return bytes->failed;
	if (result < 0)
		return result;
	memset(padding, 0, EXPO_PADDING);
	command->body.wire_bytes = bytes->len;
	command->fetch.ok = true;
	snprintf(command->body.content_type, sizeof(command->body.content_type), "%s",
		guess_content_type(buf_view(bytes)));
	return 0;
}

static void fetched(void *arg, const struct scrape_fetch_result *result)
{
	struct scrape_command *command = arg;
	command->fetch = *result;
	loop_stop(command->loop);
}

static int fetch_on(struct scrape_command *command, struct http *http, struct error *err)
{
	struct scrape_fetch *fetch;
	int result = scrape_fetch_new(http, NULL, &fetch);
	if (result < 0)
		return result;
	result = scrape_fetch_start(fetch, command->target, -1, command->options.max_body_bytes,
		command->target->timeout_ns, &command->body, fetched, command, err);
	if (result == 0)
		result = loop_run(command->loop);
	scrape_fetch_free(fetch);
	return result;
}

static int fetch_url(struct scrape_command *command, struct error *err)
{
	const struct target *target = command->target;
	struct target_address address;
	if (target_address_parse(target->host, target->port, &address) < 0 || !target_address_is_local(&address))
		return error_set(err, EACCES,
			"%s is no address of this host; gleaner scrapes its own node only: use 127.0.0.1, localhost or "
			"an IP "
			"address of this host",
			escape_bytes(target->host).text);
	struct http_options http_options = {.max_connections = 1, .dials = true};
	struct http *http = NULL;
	int result = loop_new(&command->loop);
	if (result == 0)
		result = http_new(command->loop, http_options, &http);
	if (result == 0)
		result = fetch_on(command, http, err);
	http_free(http);
	loop_free(command->loop);
	return result;
}

static void report_body(const struct scrape_command *command)
{
	fprintf(stderr, "%-10s %zu bytes (%" PRIu64 " on the wire), %s", "body", command->body.bytes.len,
		command->body.wire_bytes,
		command->body.content_type[0] ? escape_bytes(span_str(command->body.content_type)).text
					      : "no Content-Type");
	if (command->fetch.total_ns > 0)
		fprintf(stderr, ", in %" PRIu64 " ns", command->fetch.total_ns);
	fputc('\n', stderr);
}

/* ---- 3: body -> batches ---------------------------------------------------------------------- */

static int sealed(void *arg, const struct otlp_request *request)
{
	struct scrape_command *command = arg;
	uint64_t start_ns = clock_mono(&command->clock);
	buf_reset(&command->compressed);
	int result = codec_compress(command->codec, request->body, &command->compressed);
	command->compress_ns += clock_mono(&command->clock) - start_ns;
	command->requests++;
	command->request_bytes += request->body.len;
	command->compressed_bytes += command->compressed.len;
	command->points += request->points;
	if (result < 0 || !command->printing)
		return result;
	result = command->json ? otlp_json(request->body, &command->printed)
			       : otlp_text(request->body, &command->printed);
	if (result == 0 && command->json)
		result = buf_char(&command->printed, '\n');
	return result;
}

static int ingest_once(struct scrape_command *command, struct scrape_target *scrape_target, struct otlp_batch *batch,
	uint64_t time_ns, struct scrape_outcome *ret_outcome)
{
	struct scrape_input input = {
		.ok = command->fetch.ok,
		.body_limit_hit = command->fetch.body_limit_hit,
		.body = buf_view(&command->body.bytes),
		.content_type = span_str(command->body.content_type),
		.time_ns = time_ns,
		.duration_ns = command->fetch.total_ns,
	};
	command->requests = command->request_bytes = command->compressed_bytes = command->points =
		command->compress_ns = 0;
	int result = scrape_ingest(scrape_target, &input, batch, &command->clock, ret_outcome);
	return result == 0 ? otlp_batch_seal(batch) : result;
}

static void report_round(const char *name, const struct scrape_outcome *outcome)
{
	const struct series_result *series = &outcome->series;
	fprintf(stderr, "%-10s ingest %" PRIu64 " ns", name, outcome->ingest_ns);
	if (series->samples > 0)
		fprintf(stderr, " (%.1f ns/sample)", (double)outcome->ingest_ns / (double)series->samples);
	fprintf(stderr,
		", report %" PRIu64 " ns; lines: %" PRIu64 " as last time, %" PRIu64 " moved, %" PRIu64 " parsed\n",
		outcome->report_ns, series->hits, series->moved, series->misses);
}

static int ingest_all(struct scrape_command *command, struct scrape_target *scrape_target, struct otlp_batch *batch,
	struct scrape_outcome *ret_outcome)
{
	uint64_t interval_ns = command->target->interval_ns, now_ns = clock_wall(&command->clock);
	struct scrape_outcome best = {.ingest_ns = UINT64_MAX};
	int result = 0;
	for (uint64_t left = command->repeat; left > 0 && result == 0; left--) {
		command->printing = left == 1;
		result = ingest_once(command, scrape_target, batch, now_ns - (left - 1) * interval_ns, ret_outcome);
		if (result == 0 && left == command->repeat)
			report_round("first", ret_outcome);
		else if (ret_outcome->ingest_ns < best.ingest_ns)
			best = *ret_outcome;
	}
	if (result == 0 && command->repeat > 1)
		report_round("fastest", &best);
	return result;
}

static int ingest(struct scrape_command *command, struct scrape_outcome *ret_outcome)
{
	const struct otlp_batch_limits limits = {.max_points = (uint32_t)command->options.batch_points,
		.max_bytes = (size_t)command->options.batch_bytes};
	struct series_store *store = NULL;
	struct otlp_batch *batch = NULL;
	struct scrape_target scrape_target = {0};
	int result = codec_new(CODEC_GZIP, &command->codec);
	if (result == 0)
		result = series_store_new(command->options.series_memory_bytes, &store);
	if (result == 0)
		result = otlp_batch_new(limits, sealed, command, &batch);
	if (result == 0) {
		result = scrape_target_init(&scrape_target, command->target, NULL, store, &command->options);
		if (result == 0) {
			result = ingest_all(command, &scrape_target, batch, ret_outcome);
			scrape_target_done(&scrape_target);
		}
	}
	otlp_batch_free(batch);
	series_store_free(store);
	codec_free(command->codec);
	return result;
}

/* ---- 4: the report ----------------------------------------------------------------------------- */

static void report(const struct scrape_command *command, const struct scrape_outcome *outcome)
{
	const struct series_result *series = &outcome->series;
	fprintf(stderr, "%-10s %" PRIu64 " samples, %" PRIu64 " kept, %" PRIu64 " data points, %" PRIu64 " stale\n",
		"series", series->samples, series->samples_kept, series->points, series->stale_points);
	for (size_t i = 0; i < SERIES_DROP_COUNT; i++) {
		if (series->dropped[i] > 0)
			fprintf(stderr, "%-10s %" PRIu64 " %s\n", "dropped", series->dropped[i],
				series_drop_name((enum series_drop)i));
	}
	fprintf(stderr,
		"%-10s %" PRIu64 " data points in %" PRIu64 " requests, %" PRIu64 " bytes; gzip %" PRIu64
		" bytes in %" PRIu64 " ns (%.1f ns/point)\n",
		"OTLP", command->points, command->requests, command->request_bytes, command->compressed_bytes,
		command->compress_ns,
		command->points > 0 ? (double)command->compress_ns / (double)command->points : 0.0);
}

static int scrape(struct scrape_command *command, struct error *err)
{
	struct scrape_outcome outcome = {0};
	int result = make_target(command, err);
	if (result == 0)
		result = is_url(command->source) ? fetch_url(command, err) : read_file(command, err);
	if (result < 0)
		return result;
	report_body(command);
	result = ingest(command, &outcome);
	if (result < 0)
		return result;
	report(command, &outcome);
	if (cli_print(STDOUT_FILENO, &command->printed) != 0)
		return error_set(err, EIO, "the output cannot be written");
	if (!outcome.up)
		return error_set(err, EBADMSG, "up is 0: %s",
			command->fetch.ok ? outcome.error.text : command->fetch.error.text);
	return 0;
}

static int run(struct scrape_command *command)
{
	struct error err = {0};
	command->clock = clock_system();
	arena_init(&command->arena, 16 << 20);
	buf_init(&command->body.bytes, BODY_MAX_BYTES);
	buf_init(&command->printed, OUTPUT_MAX_BYTES);
	buf_init(&command->compressed, OUTPUT_MAX_BYTES);
	int result = scrape(command, &err);
	if (result < 0)
		fprintf(stderr, "gleaner scrape: %s: %s\n", command->source,
			err.text[0] ? err.text : strerror(-result));
	buf_done(&command->compressed);
	buf_done(&command->printed);
	buf_done(&command->body.bytes);
	target_unref(command->target);
	target_job_unref(command->job);
	arena_done(&command->arena);
	return result < 0 ? 1 : 0;
}

int cli_scrape(const struct cli_command *about, int argc, char **argv)
{
	struct scrape_command command = {.repeat = 1};
	const char *value;
	int flag;
	while ((flag = cli_next(about, argc, argv, &value)) > 0) {
		struct span text = span_str(value);
		if (flag == 'f' && !span_eq(text, SPAN("text")) && !span_eq(text, SPAN("json")))
			return cli_misused(about, "--format is text or json, not %s", escape_bytes(text).text);
		if (flag == 'f')
			command.json = span_eq(text, SPAN("json"));
		else if (span_to_u64(text, &command.repeat) < 0 || command.repeat < 1 || command.repeat > REPEAT_MAX)
			return cli_misused(about, "--repeat is a number from 1 to %d, not %s", REPEAT_MAX,
				escape_bytes(text).text);
	}
	if (flag < 0)
		return 2;
	if (argc - cli_rest() != 1)
		return cli_misused(about, argc == cli_rest() ? "which URL or file?" : "one URL or file at a time");
	command.source = argv[cli_rest()];
	return run(&command);
}
