/* Credentials of a job's options; and the versions of TLS by name. */
#pragma once

#include "gleaner/target.h"

/* Reads the files. err names the key ("basic_auth.password_file: open /x: ..."), never a value. 0, -EINVAL, -ENOMEM, -errno. */
int target_credentials_new(
	const struct target_job_options *options, struct target_credentials **ret_credentials, struct error *err);
/* Without values: room for those that come over the wire. NULL: no memory. */
struct target_credentials *target_credentials_empty(void);
/* "TLS12" -> 12; NULL or "" -> 0; -EINVAL. */
int credentials_tls_version(const char *name);
