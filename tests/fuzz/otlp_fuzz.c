// links: otlp base
/* The OTLP readers and the walk over own records, fed with anything. */
#include "gleaner/otlp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_OUT = 1 << 20 };

static void read_all(struct span in, struct buf *out)
{
	struct otlp_counts counts;
	struct otlp_response response;
	int result = otlp_count(in, &counts);
	if (otlp_text(in, out) != result && out->failed == 0)
		abort();
	buf_reset(out);
	otlp_json(in, out);
	buf_reset(out);
	otlp_debug(in, OTLP_NORMAL, "T", out);
	buf_reset(out);
	otlp_debug(in, OTLP_DETAILED, "T", out);
	buf_reset(out);
	if (otlp_response_read(in, &response) == 0 && !memchr(response.message, '\0', 257))
		abort();
}

static void walk_as_record(struct span in, struct buf *out)
{
	for (int data = OTLP_GAUGE; data <= OTLP_SUMMARY; data++) {
		buf_reset(out);
		otlp_flagged_record(out, (enum otlp_data)data, in, 1);
		buf_reset(out);
		otlp_record_with_exemplars(out, (enum otlp_data)data, in, NULL, 0);
	}
	buf_reset(out);
	otlp_scope(out, SPAN("n"), SPAN("v"), in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out;
	struct span in = span_of((const char *)data, size);
	buf_init(&out, MAX_OUT);
	read_all(in, &out);
	walk_as_record(in, &out);
	buf_done(&out);
	return 0;
}
