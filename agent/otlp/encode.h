/* The protobuf wire format, as far as the writer needs it.
 *
 * A message is a run of fields; a field is a tag (number << 3 | wire type) and a payload:
 *   0 varint        1 eight bytes, little-endian        2 varint length, then that many bytes        5 four bytes
 * The put functions write to memory that is large enough and return where the next byte goes; the size functions say
 * what they will write, so that a whole message is one reservation.
 */
#pragma once

#include "gleaner/base.h"

_Static_assert(
	__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "otlp stores fixed64 and double fields as the host holds them");

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* For field numbers up to 15, whose tags are one byte. */
#define TAG(field, wire_type) ((char)((field) << 3 | (wire_type)))

static inline size_t varint_size(uint64_t value)
{
	return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

static inline char *put_varint(char *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (char)(value | 0x80);
	*at++ = (char)value;
	return at;
}

static inline size_t bytes_field_size(size_t len)
{
	return 1 + varint_size(len) + len;
}

/* The tag and length of a WIRE_BYTES field whose payload the caller writes. */
static inline char *put_bytes_head(char *at, unsigned field, size_t len)
{
	*at++ = TAG(field, WIRE_BYTES);
	return put_varint(at, len);
}

static inline char *put_span(char *at, struct span s)
{
	if (s.len > 0)
		memcpy(at, s.ptr, s.len);
	return at + s.len;
}

static inline char *put_bytes_field(char *at, unsigned field, struct span s)
{
	return put_span(put_bytes_head(at, field, s.len), s);
}

static inline char *put_64_field(char *at, unsigned field, uint64_t value)
{
	*at++ = TAG(field, WIRE_64);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static inline char *put_double_field(char *at, unsigned field, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return put_64_field(at, field, bits);
}

enum { FIELD_64_SIZE = 9 };

/* KeyValue{key, AnyValue{string_value}} as field `field` of some message. */
int encode_key_value(struct buf *out, unsigned field, struct span key, struct span value);

/* One field of a message that was encoded here. */
struct field {
	unsigned number, wire_type;
	struct span whole;   /* with its tag */
	struct span payload; /* of WIRE_BYTES: without the length; else the varint's, 8 or 4 bytes */
};

/* Takes the first field off *message. 1, 0 at its end, -EBADMSG. */
int field_next(struct span *message, struct field *ret_field);
