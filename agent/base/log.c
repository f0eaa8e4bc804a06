/* The log: one escaped line, one write(2). */
#include "gleaner/base.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void time_format(uint64_t wall_ns, struct time_text *ret_text)
{
	time_t seconds = (time_t)(wall_ns / NS_PER_SEC);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	size_t len = strftime(ret_text->text, sizeof(ret_text->text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret_text->text + len, sizeof(ret_text->text) - len, ".%03uZ",
		(unsigned)(wall_ns % NS_PER_SEC / NS_PER_MS));
}

void log_configure(struct log *log, enum log_level level, enum log_format format)
{
	__atomic_store_n(&log->level, level, __ATOMIC_RELAXED);
	__atomic_store_n(&log->format, format, __ATOMIC_RELAXED);
}

void log_write(const struct log *log, enum log_level level, const char *fmt, ...)
{
	if (!log || level < __atomic_load_n(&log->level, __ATOMIC_RELAXED))
		return;
	char message[2048];
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	if (len < 0)
		return;

	char memory[6 * sizeof(message)]; /* every byte may become \u00xx */
	struct buf line = {.ptr = memory, .cap = sizeof(memory), .max = sizeof(memory)};
	struct time_text now;
	struct clock clock = clock_system();
	time_format(clock_wall(&clock), &now);
	bool json = __atomic_load_n(&log->format, __ATOMIC_RELAXED) == LOG_FORMAT_JSON;
	buf_printf(&line,
		json ? "{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%s\",\"msg\":" : "time=%s level=%s role=%s msg=",
		now.text, level_names[level], log->role);
	buf_json(&line, span_str(message));
	buf_str(&line, json ? "}\n" : "\n");
	size_t done = 0;
	while (!line.failed && done < line.len) {
		ssize_t written = write(log->fd, line.ptr + done, line.len - done);
		if (written < 0 && errno != EINTR)
			return; /* nobody is left to be told */
		done += written > 0 ? (size_t)written : 0;
	}
}

bool log_allowed(struct log_limit *limit, uint64_t now_mono_ns)
{
	if (now_mono_ns < limit->next_ns) {
		limit->suppressed++;
		return false;
	}
	limit->next_ns = now_mono_ns + limit->interval_ns;
	return true;
}

int metrics_family(struct buf *page, const char *name, const char *type, const char *help)
{
	return buf_printf(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

int metrics_sample(struct buf *page, const char *name, const char *labels, double value)
{
	buf_str(page, name);
	if (labels[0])
		buf_printf(page, "{%s}", labels);
	if (isnan(value))
		return buf_str(page, " NaN\n");
	if (isinf(value))
		return buf_str(page, value > 0 ? " +Inf\n" : " -Inf\n");
	return buf_printf(page, value == floor(value) && fabs(value) < 1e15 ? " %.0f\n" : " %.17g\n", value);
}
