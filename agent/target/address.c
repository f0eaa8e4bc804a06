/* Addresses: what `__address__` may look like, and what belongs to this host. Names are never resolved here. */
#include "gleaner/target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_';
}

static bool host_valid(struct span host, bool is_ipv6)
{
	struct target_address ignored;
	if (is_ipv6)
		return target_address_parse(host, 0, &ignored) == 0;
	for (size_t i = 0; i < host.len; i++)
		if (!is_host_char(host.ptr[i]))
			return false;
	return host.len > 0;
}

int target_address_split(struct span address, struct span *ret_host, uint16_t *ret_port, struct error *err)
{
	struct span host = address, port = SPAN_NONE;
	const char *colon = address.len ? memrchr(address.ptr, ':', address.len) : NULL;
	bool brackets = address.len > 0 && address.ptr[0] == '[';
	bool bare_ipv6 = !brackets && colon && memchr(address.ptr, ':', (size_t)(colon - address.ptr));
	if (colon && !bare_ipv6 && (!brackets || colon[-1] == ']')) {
		host.len = (size_t)(colon - address.ptr);
		port = span_of(colon + 1, address.len - host.len - 1);
	}
	if (brackets && host.len > 2 && host.ptr[host.len - 1] == ']')
		host = span_of(host.ptr + 1, host.len - 2);
	uint64_t number = 0;
	bool port_valid = !port.ptr || (span_to_u64(port, &number) == 0 && number > 0 && number <= UINT16_MAX);
	if (!port_valid || !host_valid(host, brackets || bare_ipv6))
		return error_set(
			err, EINVAL, "`%s` is not an address, host:port is expected", escape_bytes(address).text);
	*ret_host = host;
	*ret_port = (uint16_t)number;
	return 0;
}

int target_address_parse(struct span host, uint16_t port, struct target_address *ret_address)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	char text[INET6_ADDRSTRLEN];
	struct target_address address = {.port = port};
	if (span_eq_nocase(host, SPAN("localhost")))
		host = SPAN("127.0.0.1");
	if (host.len == 0 || host.len >= sizeof(text) || memchr(host.ptr, '\0', host.len))
		return -EINVAL;
	memcpy(text, host.ptr, host.len);
	text[host.len] = '\0';
	if (inet_pton(AF_INET, text, address.bytes) != 1) {
		if (inet_pton(AF_INET6, text, address.bytes) != 1)
			return -EINVAL;
		address.is_ipv6 = memcmp(address.bytes, mapped, sizeof(mapped)) != 0;
		if (!address.is_ipv6) {
			memmove(address.bytes, address.bytes + 12, 4);
			memset(address.bytes + 4, 0, 12);
		}
	}
	*ret_address = address;
	return 0;
}

bool target_address_same_host(const struct target_address *a, const struct target_address *b)
{
	return a->is_ipv6 == b->is_ipv6 && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static bool is_interface_address(const struct ifaddrs *entry, const struct target_address *address)
{
	struct target_address own = {.is_ipv6 = address->is_ipv6};
	if (!entry->ifa_addr || !(entry->ifa_flags & IFF_UP) ||
		entry->ifa_addr->sa_family != (address->is_ipv6 ? AF_INET6 : AF_INET))
		return false;
	if (address->is_ipv6)
		memcpy(own.bytes, &((const struct sockaddr_in6 *)(const void *)entry->ifa_addr)->sin6_addr, 16);
	else
		memcpy(own.bytes, &((const struct sockaddr_in *)(const void *)entry->ifa_addr)->sin_addr, 4);
	return target_address_same_host(&own, address);
}

bool target_address_is_local(const struct target_address *address)
{
	static const unsigned char loopback[16] = {[15] = 1};
	bool link_local = address->is_ipv6 && address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
	if (address->is_ipv6 ? memcmp(address->bytes, loopback, 16) == 0 : address->bytes[0] == 127)
		return true;
	struct ifaddrs *list = NULL;
	if (link_local || getifaddrs(&list) < 0)
		return false;
	bool found = false;
	for (const struct ifaddrs *entry = list; entry && !found; entry = entry->ifa_next)
		found = is_interface_address(entry, address);
	freeifaddrs(list);
	return found;
}
