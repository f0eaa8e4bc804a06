// links: export spool http otlp codec
/* What a gateway answers: the first byte chooses the status and the content type, the rest is Retry-After and the body. */
#include "../../agent/export/verdict.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned statuses[] = {200, 202, 400, 404, 429, 500, 503, 302};
	static const char *const types[] = {"application/x-protobuf", "application/json", "text/plain", ""};
	if (size == 0)
		return 0;
	struct http_response response = {.failure = data[0] & 0x80 ? HTTP_BODY_LIMIT : HTTP_OK,
		.status = statuses[data[0] & 7],
		.content_type = span_str(types[data[0] >> 3 & 3])};
	struct span body = span_of((const char *)data + 1, size - 1);
	struct judgement judgement;
	verdict_judge(&response, body, &judgement);
	if (judgement.rejected_points > 0 && judgement.verdict != VERDICT_DELIVERED)
		abort();
	if (verdict_retry_after_ns(body, UINT64_C(1700000000) * NS_PER_SEC) > 600 * NS_PER_SEC)
		abort();
	return 0;
}
