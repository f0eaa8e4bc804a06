/* Clocks, durations, sizes, random numbers. */
#include "gleaner/base.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static uint64_t clock_read(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t system_mono_ns(void *arg)
{
	(void)arg;
	return clock_read(CLOCK_MONOTONIC);
}

static uint64_t system_wall_ns(void *arg)
{
	(void)arg;
	return clock_read(CLOCK_REALTIME);
}

struct clock clock_system(void)
{
	return (struct clock){system_mono_ns, system_wall_ns, NULL};
}

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
	{"y", 365 * 24 * 3600 * NS_PER_SEC},
	{"w", 7 * 24 * 3600 * NS_PER_SEC},
	{"d", 24 * 3600 * NS_PER_SEC},
	{"h", 3600 * NS_PER_SEC},
	{"m", 60 * NS_PER_SEC},
	{"s", NS_PER_SEC},
	{"ms", NS_PER_MS},
};

/* Takes the leading decimal digits off. */
static int take_number(struct span *text, uint64_t *ret_value)
{
	size_t digits = 0;
	while (digits < text->len && text->ptr[digits] >= '0' && text->ptr[digits] <= '9')
		digits++;
	int result = span_to_u64(span_of(text->ptr, digits), ret_value);
	*text = span_of(text->ptr + digits, text->len - digits);
	return result;
}

int duration_parse(struct span text, uint64_t *ret_ns)
{
	uint64_t total = 0;
	size_t next_unit = 0;
	if (span_eq(text, SPAN("0"))) {
		*ret_ns = 0;
		return 0;
	}
	if (text.len == 0)
		return -EINVAL;
	while (text.len > 0) {
		uint64_t number;
		int result = take_number(&text, &number);
		if (result < 0)
			return result;
		size_t letters = 0;
		while (letters < text.len && text.ptr[letters] >= 'a' && text.ptr[letters] <= 'z')
			letters++;
		while (next_unit < ARRAY_SIZE(duration_units) &&
			!span_eq(span_of(text.ptr, letters), span_str(duration_units[next_unit].name)))
			next_unit++;
		if (next_unit == ARRAY_SIZE(duration_units))
			return -EINVAL;
		if (__builtin_mul_overflow(number, duration_units[next_unit].ns, &number) ||
			__builtin_add_overflow(total, number, &total))
			return -ERANGE;
		next_unit++;
		text = span_of(text.ptr + letters, text.len - letters);
	}
	if (total > INT64_MAX) /* Prometheus' limit, 292 years; and the sum of two does not overflow */
		return -ERANGE;
	*ret_ns = total;
	return 0;
}

struct duration_text duration_format(uint64_t ns)
{
	struct duration_text out = {""};
	size_t at = 0;
	for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
		uint64_t unit = duration_units[i].ns, number = ns / unit;
		/* Years and weeks only when they come out even, as Prometheus prints. */
		if (number == 0 || (i < 2 && ns % unit != 0))
			continue;
		at += (size_t)snprintf(out.text + at, sizeof(out.text) - at, "%llu%s", (unsigned long long)number,
			duration_units[i].name);
		ns -= number * unit;
	}
	if (at == 0)
		snprintf(out.text, sizeof(out.text), "0s");
	return out;
}

int bytes_parse(struct span text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGTPE";
	uint64_t number;
	int result = take_number(&text, &number);
	if (result < 0)
		return result;
	unsigned shift = 0;
	const char *unit = text.len > 0 ? memchr(units, text.ptr[0], sizeof(units) - 1) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		text = span_of(text.ptr + 1, text.len - 1);
		if (text.len > 0 && text.ptr[0] == 'i')
			text = span_of(text.ptr + 1, text.len - 1);
		if (!span_eq(text, SPAN("B")))
			return -EINVAL;
	} else if (text.len > 0 && !span_eq(text, SPAN("B"))) {
		return -EINVAL;
	}
	if (number > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = number << shift;
	return 0;
}

/* splitmix64: turns any seed into a good state. */
static uint64_t split_mix(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void rng_init(struct rng *rng, uint64_t seed)
{
	rng->state[0] = split_mix(&seed);
	rng->state[1] = split_mix(&seed);
}

/* xoroshiro128+ (Blackman, Vigna): jitter needs no more. */
uint64_t rng_next(struct rng *rng)
{
	uint64_t a = rng->state[0], b = rng->state[1], result = a + b;
	b ^= a;
	rng->state[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
	rng->state[1] = (b << 37) | (b >> 27);
	return result;
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)rng_next(rng) * bound) >> 64);
}
