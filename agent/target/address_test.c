#include "gleaner/target.h"
#include "test.h"

#include <errno.h>

static void an_address_is_host_and_port_or_host_alone(void **state)
{
	(void)state;
	static const struct {
		const char *address, *host;
		uint16_t port;
	} good[] = {
		{"10.0.0.1:9100", "10.0.0.1", 9100},
		{"10.0.0.1", "10.0.0.1", 0},
		{"localhost:80", "localhost", 80},
		{"a_b-c.example.com:65535", "a_b-c.example.com", 65535},
		{"[fd00::1]:9100", "fd00::1", 9100},
		{"[fd00::1]", "fd00::1", 0},
		{"fd00::1", "fd00::1", 0}, /* a pod without ports: the bare IP */
		{"::1", "::1", 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct span host = SPAN_NONE;
		uint16_t port = 1;
		struct error err = {""};
		if (target_address_split(span_str(good[i].address), &host, &port, &err) < 0)
			fail_msg("%s", err.text);
		test_assert_text(host, good[i].host);
		assert_int_equal(port, good[i].port);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", ":", ":80", "a:", "a:0", "a:65536", "a:-1", "a:80/metrics", "http://a:80",
		"a/b", "a b", "a?b", "u@a", "[fd00::1", "fd00::1]:80", "[]:80", "[a]:80", "[10.0.0.1]x:80", "fd00::zz",
		"[fe80::1%eth0]:80", "a\nb", "[fd00::1]80", "1:2:3"};
	struct span host = SPAN("untouched");
	uint16_t port = 7;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {""};
		if (target_address_split(span_str(bad[i]), &host, &port, &err) != -EINVAL)
			fail_msg("`%s` is accepted", bad[i]);
		assert_non_null(strstr(err.text, "is not an address, host:port is expected"));
	}
	assert_int_equal(target_address_split(span_of("a\0b", 3), &host, &port, NULL), -EINVAL);
	test_assert_text(host, "untouched");
	assert_int_equal(port, 7);
}

static void only_ip_literals_and_localhost_are_parsed(void **state)
{
	(void)state;
	struct target_address a, b;
	assert_int_equal(target_address_parse(SPAN("10.1.2.3"), 80, &a), 0);
	assert_false(a.is_ipv6);
	assert_memory_equal(a.bytes, "\x0a\x01\x02\x03", 4);
	assert_int_equal(a.port, 80);
	assert_int_equal(target_address_parse(SPAN("::ffff:10.1.2.3"), 81, &b), 0);
	assert_true(
		target_address_same_host(&a, &b)); /* IPv4 in IPv6 is the IPv4 address, and the port does not matter */
	assert_int_equal(target_address_parse(SPAN("LocalHost"), 0, &b), 0);
	assert_memory_equal(b.bytes, "\x7f\0\0\x01", 4);
	assert_int_equal(target_address_parse(SPAN("FD00::1"), 0, &a), 0);
	assert_true(a.is_ipv6);
	assert_false(target_address_same_host(&a, &b));

	static const char *const bad[] = {"", "example.com", "127.1", "0x7f.0.0.1", "127.0.0.01", "2130706433",
		"1.2.3.4.5", "1.2.3", "fe80::1%eth0", "[::1]", ":::", "1.2.3.256", " 127.0.0.1", "127.0.0.1 ",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (target_address_parse(span_str(bad[i]), 0, &a) != -EINVAL)
			fail_msg("`%s` is accepted", bad[i]);
	assert_int_equal(target_address_parse(span_of("127.0.0.1\0x", 11), 0, &a), -EINVAL);
	assert_true(a.is_ipv6); /* untouched */
}

static bool is_local(const char *host)
{
	struct target_address address;
	assert_int_equal(target_address_parse(span_str(host), 0, &address), 0);
	return target_address_is_local(&address);
}

static void loopback_is_local_and_the_rest_of_the_world_is_not(void **state)
{
	(void)state;
	assert_true(is_local("127.0.0.1"));
	assert_true(is_local("127.8.9.10"));
	assert_true(is_local("::1"));
	assert_true(is_local("::ffff:127.0.0.1"));
	assert_true(is_local("localhost"));
	assert_false(is_local("0.0.0.0"));
	assert_false(is_local("::"));
	assert_false(is_local("192.0.2.1")); /* TEST-NET-1 */
	assert_false(is_local("2001:db8::1"));
	assert_false(is_local("fe80::1"));
	assert_false(is_local("::7f00:1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_host_and_port_or_host_alone),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(only_ip_literals_and_localhost_are_parsed),
		cmocka_unit_test(loopback_is_local_and_the_rest_of_the_world_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
