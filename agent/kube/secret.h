/* A small file whose content is kept and read again when the file changes: the token (rotated every hour), the CA. */
#pragma once

#include "gleaner/base.h"

#include <sys/types.h>
#include <time.h>

struct kube_secret {
	const char *path; /* borrowed */
	struct buf text;
	dev_t device;
	ino_t inode;
	struct timespec changed; /* of the content that is in text */
};

void kube_secret_init(struct kube_secret *secret, const char *path);
/* Overwrites the text before it is freed. */
void kube_secret_done(struct kube_secret *secret);
/* Makes text what the file holds now, NUL-terminated. ret_changed may be NULL. On failure the old text is gone. 0, -errno with err. */
int kube_secret_read(struct kube_secret *secret, bool *ret_changed, struct error *err);
/* Both, for a request; err names the option. */
int kube_secrets_read(struct kube_secret *token, struct kube_secret *ca, struct error *err);
/* "Authorization: Bearer ..." of a token that was read, NUL-terminated. out should be secret. 0 or out->failed. */
int kube_secret_header(const struct kube_secret *token, struct buf *out);
