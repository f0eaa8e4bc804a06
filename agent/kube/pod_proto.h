/* v1.Pod as protobuf, as the kubelet's Pods API sends it. Only what struct kube_pod has is looked at; of the rest (environment
 * variables, volumes, managedFields) nothing is kept. No error quotes a byte of it.
 */
#pragma once

#include "pods.h"

/* One pod as a list of one, with one reference; host_ip as in kube_pods_parser_host_ip. Memory: some ten times the kept strings.
 *   returns  0; -EBADMSG (no protobuf, a string that is no UTF-8, no uid, namespace or name),
 *            -ENOMEM; all with err */
int kube_pod_decode(struct span bytes, struct span host_ip, struct kube_pods **ret_one, struct error *err);
/* metadata.uid, borrowed from bytes: all that a deleted pod has for sure. 0, -EBADMSG. */
int kube_pod_decode_uid(struct span bytes, struct span *ret_uid);

/* ---- protobuf, field by field ---------------------------------------------------- */

struct proto_field {
	uint32_t number;
	bool is_bytes;
	uint64_t value;    /* of a number */
	struct span bytes; /* of a string or message */
};
/* Takes one field off the front of *message. 1, 0 at its end, -EBADMSG. */
int proto_next(struct span *message, struct proto_field *ret_field);
