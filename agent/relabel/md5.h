/* MD5 (RFC 1321), for the action hashmod only: nothing here is secret. */
#pragma once

#include "gleaner/base.h"

void md5(struct span bytes, unsigned char ret_digest[16]);
