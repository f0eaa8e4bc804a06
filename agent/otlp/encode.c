/* The protobuf wire format: key/value pairs, and the walk over fields that were encoded here. */
#include "encode.h"

#include <errno.h>

/*   <field> len | 0a len key | 12 len | 0a len value */
int encode_key_value(struct buf *out, unsigned field, struct span key, struct span value)
{
	size_t any_size = bytes_field_size(value.len);
	size_t pair_size = bytes_field_size(key.len) + bytes_field_size(any_size);
	char *at = buf_reserve(out, bytes_field_size(pair_size));
	if (!at)
		return out->failed;
	at = put_bytes_head(at, field, pair_size);
	at = put_bytes_field(at, 1, key);
	at = put_bytes_head(at, 2, any_size);
	at = put_bytes_field(at, 1, value);
	out->len = (size_t)(at - out->ptr);
	return 0;
}

static bool take_varint(struct span *from, uint64_t *ret_value)
{
	uint64_t value = 0;
	for (size_t i = 0; i < from->len && i < 10; i++) {
		unsigned char byte = (unsigned char)from->ptr[i];
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*from = span_of(from->ptr + i + 1, from->len - i - 1);
			*ret_value = value;
			return true;
		}
	}
	return false;
}

int field_next(struct span *message, struct field *ret_field)
{
	struct span rest = *message, payload;
	uint64_t tag, len = 0;
	if (rest.len == 0)
		return 0;
	if (!take_varint(&rest, &tag) || tag >> 3 == 0 || tag >> 3 >= 1u << 29)
		return -EBADMSG;
	payload.ptr = rest.ptr;
	switch (tag & 7) {
	case WIRE_VARINT:
		if (!take_varint(&rest, &len))
			return -EBADMSG;
		len = (uint64_t)(rest.ptr - payload.ptr);
		rest = span_of(payload.ptr, (size_t)(message->ptr + message->len - payload.ptr));
		break;
	case WIRE_64:
		len = 8;
		break;
	case WIRE_BYTES:
		if (!take_varint(&rest, &len))
			return -EBADMSG;
		payload.ptr = rest.ptr;
		break;
	case WIRE_32:
		len = 4;
		break;
	default:
		return -EBADMSG;
	}
	if (len > rest.len)
		return -EBADMSG;
	payload.len = (size_t)len;
	const char *end = payload.ptr + len;
	*ret_field = (struct field){
		.number = (unsigned)(tag >> 3),
		.wire_type = (unsigned)(tag & 7),
		.whole = span_of(message->ptr, (size_t)(end - message->ptr)),
		.payload = payload,
	};
	*message = span_of(end, (size_t)(message->ptr + message->len - end));
	return 1;
}
