/* Checks of configured addresses (see endpoint.h). */
#include "endpoint.h"

bool kube_is_endpoint(struct span text)
{
	size_t scheme = span_starts_with(text, SPAN("https://")) ? 8 : span_starts_with(text, SPAN("http://")) ? 7 : 0;
	if (scheme == 0)
		return false;
	struct span host = span_of(text.ptr + scheme, text.len - scheme);
	if (span_ends_with(host, SPAN("/")))
		host.len--;
	if (host.len == 0)
		return false;
	for (size_t i = 0; i < host.len; i++)
		if (host.ptr[i] <= ' ' || strchr("/?#@%\\\"<>\x7f", host.ptr[i]))
			return false;
	return true;
}

void kube_unset_empty(const char **text)
{
	if (*text && !**text)
		*text = NULL;
}
