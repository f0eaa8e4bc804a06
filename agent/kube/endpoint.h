/* What the options of kubelet and API server have in common. */
#pragma once

#include "gleaner/base.h"

#define KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"

/* http:// or https://, a host, perhaps a port, and no path: we add it. */
bool kube_is_endpoint(struct span text);
/* `host_ip: ${env:HOST_IP}` is "" where there is no such variable: as if it were not written. */
void kube_unset_empty(const char **text);
