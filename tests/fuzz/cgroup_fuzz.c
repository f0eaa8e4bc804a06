// links: probe
/* Names of cgroups are a pod's bytes. What comes out is always a UID of one of the two kinds, and hex. */
#include "gleaner/probe.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cgroup_name name;
	if (!cgroup_name_parse(span_of((const char *)data, size), &name))
		return 0;
	size_t uid = strlen(name.pod_uid), container = strlen(name.container_id);
	if ((uid != 36 && uid != 32) || (container != 0 && container != 64))
		abort();
	if (strspn(name.pod_uid, "0123456789abcdef-") != uid ||
		strspn(name.container_id, "0123456789abcdef") != container)
		abort();
	return 0;
}
