/* What a gateway answers. It is another machine's bytes: clamped, cut and escaped before anybody logs them. */
#include "read.h"

#include <stdio.h>

int otlp_response_read(struct span body, struct otlp_response *ret_response)
{
	static const char empty[1];
	struct reading reading;
	struct otlp_response response = {.rejected = 0};
	reading_init(&reading, body.len);
	const Otlp__ExportMetricsServiceResponse *message = otlp__export_metrics_service_response__unpack(
		&reading.allocator, body.len, (const uint8_t *)(body.ptr ? body.ptr : empty));
	int result = message ? 0 : reading_error(&reading);
	if (message && message->partial_success) {
		int64_t rejected = message->partial_success->rejected_data_points;
		struct escaped text = escape_bytes(span_pb(message->partial_success->error_message));
		response.rejected = rejected > 0 ? (uint64_t)rejected : 0;
		snprintf(response.message, sizeof(response.message), "%s", text.text);
	}
	reading_end(&reading);
	if (result == 0)
		*ret_response = response;
	return result;
}
