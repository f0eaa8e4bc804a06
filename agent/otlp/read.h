/* What the readers share: a request unpacked by protobuf-c, and numbers as text. */
#pragma once

#include "gleaner/otlp.h"

#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"

/* All that protobuf-c allocates for one request; ended at once. */
struct reading {
	struct arena arena;
	ProtobufCAllocator allocator;
	bool out_of_memory;
	const Otlp__ExportMetricsServiceRequest *request; /* lives in the arena */
};

/* 0, -EBADMSG, -ENOMEM. reading_end is called either way. Cost: about 1 us and 1 KiB a point. */
int reading_begin(struct reading *reading, struct span request);
void reading_end(struct reading *reading);

/* An allocator for protobuf-c that takes from reading->arena. */
void reading_init(struct reading *reading, size_t message_len);

/* -EBADMSG or -ENOMEM after an unpack that gave NULL. */
int reading_error(const struct reading *reading);

struct otlp_counts reading_counts(const struct reading *reading);
size_t metric_points(const Otlp__Metric *metric);

static inline struct span span_pb(ProtobufCBinaryData data)
{
	return span_of((const char *)data.data, data.len);
}

/* As many of 15 to 17 digits as it takes to read back the same double; +Inf, -Inf, NaN as Prometheus writes them. */
struct double_text {
	char text[32];
};
struct double_text double_shortest(double value);

void buf_hex(struct buf *out, struct span bytes);
