/* Notations of the operator's custom resources that differ from those of the configuration file. */
#pragma once

#include "gleaner/base.h"

/* Duration: as Prometheus', and "" for not set (0). 0, -EINVAL, -ERANGE. */
int grammar_duration(struct span text, uint64_t *ret_ns);
/* ByteSize: "0", or a decimal number, one of K M G T P E, `i`, and B, of which the last is a must; powers of two either way.
 * 0, -EINVAL, -ERANGE. */
int grammar_byte_size(struct span text, uint64_t *ret_bytes);
/* Quantity: a signed decimal number with a suffix (n u m k M G T P E, Ki ... Ei) or exponent. */
bool grammar_is_quantity(struct span text);
