/* For the tests of this module: what a real kubelet sent over its Pods API. */
#pragma once

#include "pods.h"
#include "test.h"

enum captured_type { CAPTURED_ADDED = 1, CAPTURED_MODIFIED, CAPTURED_DELETED, CAPTURED_SYNCED };
struct captured_event {
	enum captured_type type;
	struct buf pod;
};

static inline enum captured_type captured_type_of(struct span word)
{
	return span_eq(word, SPAN("ADDED"))      ? CAPTURED_ADDED
	       : span_eq(word, SPAN("MODIFIED")) ? CAPTURED_MODIFIED
	       : span_eq(word, SPAN("DELETED"))  ? CAPTURED_DELETED
						 : CAPTURED_SYNCED;
}

static inline void captured_base64(struct span text, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned count = 0;
	for (size_t i = 0; i < text.len && text.ptr[i] != '='; i++) {
		bits = bits << 6 | (uint32_t)(strchr(digits, text.ptr[i]) - digits);
		count += 6;
		if (count >= 8) {
			count -= 8;
			buf_char(out, (char)(bits >> count & 0xff));
		}
	}
}

/* The events of golden/kubernetes-1.37/podsapi_watch.txt; returns how many. */
static inline size_t captured_read(struct captured_event *events, size_t max)
{
	struct span text = test_file("golden/kubernetes-1.37/podsapi_watch.txt"), rest = text, line;
	size_t count = 0;
	while (span_next(&rest, '\n', &line) && line.len > 0) {
		struct span word;
		assert_true(count < max);
		span_next(&line, ' ', &word);
		events[count].type = captured_type_of(word);
		buf_init(&events[count].pod, 1 << 20);
		captured_base64(line, &events[count++].pod);
	}
	test_file_free(text);
	return count;
}

static inline void captured_free(struct captured_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_done(&events[i].pod);
}
