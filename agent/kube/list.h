/* A list of objects as it streams in: one object at a time becomes a tree, the rest goes by. */
#pragma once

#include "gleaner/json.h"

struct kube_list_reader;
/* max_bytes: of the whole text; item_bytes: of one object's tree. item: called for each element of `items`; it dies with the call. NULL: it
 * is larger than item_bytes and left out. */
int kube_list_reader_new(size_t max_bytes, size_t item_bytes, void (*item)(void *arg, const struct json *object),
	void *arg, struct kube_list_reader **ret_reader);
void kube_list_reader_free(struct kube_list_reader *reader); /* NULL is fine */
/* 0; -EBADMSG, -EMSGSIZE, -ENOMEM. */
int kube_list_reader_feed(struct kube_list_reader *reader, struct span piece, struct error *err);
/* The list's resourceVersion, valid until the reader is freed; -EBADMSG for what is no whole list. */
int kube_list_reader_end(struct kube_list_reader *reader, struct span *ret_resource_version, struct error *err);
