/* What stands above the data points: resource attributes, scopes, heads of metrics. Encoded once, copied into requests. */
#include "gleaner/otlp.h"

#include "encode.h"

#include <errno.h>

enum {
	RESOURCE_ATTRIBUTES = 1,
	SCOPE_NAME = 1,
	SCOPE_VERSION = 2,
	SCOPE_ATTRIBUTES = 3,
	METRIC_NAME = 1,
	METRIC_DESCRIPTION = 2,
	METRIC_UNIT = 3,
	METRIC_METADATA = 12,
};

int otlp_resource_attribute(struct buf *resource, struct span key, struct span value)
{
	return encode_key_value(resource, RESOURCE_ATTRIBUTES, key, value);
}

/* proto3: an empty string is the same as none, and shorter. */
static void string_field(struct buf *out, unsigned field, struct span value)
{
	if (value.len == 0)
		return;
	char *at = buf_reserve(out, bytes_field_size(value.len));
	if (at)
		out->len = (size_t)(put_bytes_field(at, field, value) - out->ptr);
}

int otlp_metric_head(struct buf *out, struct span name, struct span description, struct span unit, struct span type)
{
	string_field(out, METRIC_NAME, name);
	string_field(out, METRIC_DESCRIPTION, description);
	string_field(out, METRIC_UNIT, unit);
	if (type.len > 0)
		encode_key_value(out, METRIC_METADATA, SPAN("prometheus.type"), type);
	return out->failed;
}

int otlp_scope(struct buf *out, struct span name, struct span version, struct span scope_attributes)
{
	string_field(out, SCOPE_NAME, name);
	string_field(out, SCOPE_VERSION, version);
	/* The run is one of a resource; in a scope the field has another number. */
	struct field field;
	int result;
	while ((result = field_next(&scope_attributes, &field)) == 1) {
		if (field.number != RESOURCE_ATTRIBUTES || field.wire_type != WIRE_BYTES)
			return -EBADMSG;
		char *at = buf_reserve(out, bytes_field_size(field.payload.len));
		if (!at)
			return out->failed;
		out->len = (size_t)(put_bytes_field(at, SCOPE_ATTRIBUTES, field.payload) - out->ptr);
	}
	return result < 0 ? result : out->failed;
}
