#include "choice.h"

#include "test.h"

/* A line of a story: at `at_s` seconds somebody says something; then it is known who is asked (a letter each) and who is used. */
struct line {
	double at_s;
	char who; /* p, k, a; ' ': nobody, time has passed */
	enum { ANSWERS, TRANSIENT, REFUSED, ABSENT } word;
	const char *asked; /* "pk" */
	char used;         /* '-': nobody */
	double wake_s;     /* 0: none */
};

static void tell(const struct line *lines, size_t count)
{
	static const char names[] = "pka-";
	struct kube_choice choice;
	kube_choice_init(&choice, 3);
	assert_int_equal(kube_choice_decide(&choice, 0), 0);
	for (size_t i = 0; i < count; i++) {
		const struct line *line = &lines[i];
		uint64_t now_ns = (uint64_t)(line->at_s * 1e9);
		size_t who = line->who == ' ' ? 0 : (size_t)(strchr(names, line->who) - names);
		if (line->who != ' ' && line->word == ANSWERS)
			kube_choice_answered(&choice, who, now_ns);
		else if (line->who != ' ')
			kube_choice_failed(&choice, who,
				line->word == TRANSIENT ? KUBE_FAILURE_TRANSIENT
				: line->word == REFUSED ? KUBE_FAILURE_REFUSED
							: KUBE_FAILURE_ABSENT,
				now_ns);
		uint64_t wake_ns = kube_choice_decide(&choice, now_ns);
		char asked[4] = "";
		for (size_t j = 0, len = 0; j < 3; j++)
			if (choice.slots[j].asked)
				asked[len++] = names[j];
		if (strcmp(asked, line->asked) != 0 || names[choice.used] != line->used ||
			wake_ns != (uint64_t)(line->wake_s * 1e9))
			fail_msg("line %zu: asked \"%s\", used %c, wake %.1f", i + 1, asked, names[choice.used],
				(double)wake_ns / 1e9);
	}
}

#define TELL(...)                                                                                                      \
	do {                                                                                                           \
		static const struct line lines[] = {__VA_ARGS__};                                                      \
		tell(lines, ARRAY_SIZE(lines));                                                                        \
	} while (0)

static void best_one_is_used_and_nobody_else_asked(void **state)
{
	(void)state;
	TELL({1, 'p', ANSWERS, "p", 'p', 0}, {500, 'p', ANSWERS, "p", 'p', 0});
}

static void one_that_cannot_gives_way_at_once(void **state)
{
	(void)state;
	TELL({1, 'p', ABSENT, "pk", '-', 0}, {2, 'k', REFUSED, "pka", '-', 0}, {3, 'a', ANSWERS, "pka", 'a', 0});
}

static void one_that_is_starting_is_waited_for(void **state)
{
	(void)state;
	TELL({1, 'p', TRANSIENT, "p", '-', 6}, {3, 'p', TRANSIENT, "p", '-', 6}, {4, 'p', ANSWERS, "p", 'p', 0});
	TELL({1, 'p', TRANSIENT, "p", '-', 6}, {6, ' ', TRANSIENT, "pk", '-', 0}, {7, 'k', ANSWERS, "pk", 'k', 0});
}

static void better_one_takes_over_as_it_answers(void **state)
{
	(void)state;
	TELL({1, 'p', ABSENT, "pk", '-', 0}, {2, 'k', REFUSED, "pka", '-', 0}, {3, 'a', ANSWERS, "pka", 'a', 0},
		{60, 'k', ANSWERS, "pk", 'k', 0}, {61, 'p', ABSENT, "pk", 'k', 0}, {90, 'p', ANSWERS, "p", 'p', 0});
}

static void short_outage_changes_nothing(void **state)
{
	(void)state;
	TELL({1, 'p', ANSWERS, "p", 'p', 0}, {10, 'p', TRANSIENT, "p", 'p', 40}, {11, 'p', ABSENT, "p", 'p', 40},
		{12, 'p', ANSWERS, "p", 'p', 0});
}

/* The API server is away for a minute: the kubelet says 401, and the API server nothing. Both come back. */
static void outage_of_the_api_server_does_not_flap(void **state)
{
	(void)state;
	TELL({1, 'p', ABSENT, "pk", '-', 0}, {2, 'k', ANSWERS, "pk", 'k', 0}, {20, 'k', REFUSED, "pk", 'k', 50},
		{50, 'k', REFUSED, "pka", 'k', 0}, {51, 'a', TRANSIENT, "pka", 'k', 0},
		{70, 'a', ANSWERS, "pka", 'k', 82}, {78, 'k', ANSWERS, "pk", 'k', 0});
}

static void one_that_stays_away_is_replaced(void **state)
{
	(void)state;
	TELL({1, 'p', ANSWERS, "p", 'p', 0}, {10, 'p', TRANSIENT, "p", 'p', 40}, {40, ' ', ABSENT, "pk", 'p', 0},
		{41, 'k', ANSWERS, "pk", 'p', 53}, {53, ' ', ABSENT, "pk", 'k', 0}, {99, 'p', ANSWERS, "p", 'p', 0});
}

static void nobody_answering_leaves_the_last_one(void **state)
{
	(void)state;
	TELL({1, 'p', ABSENT, "pk", '-', 0}, {2, 'k', ANSWERS, "pk", 'k', 0}, {10, 'k', TRANSIENT, "pk", 'k', 40},
		{40, ' ', ABSENT, "pka", 'k', 0}, {41, 'a', ABSENT, "pka", 'k', 0}, {9999, 'a', ABSENT, "pka", 'k', 0});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(best_one_is_used_and_nobody_else_asked),
		cmocka_unit_test(one_that_cannot_gives_way_at_once),
		cmocka_unit_test(one_that_is_starting_is_waited_for),
		cmocka_unit_test(better_one_takes_over_as_it_answers),
		cmocka_unit_test(short_outage_changes_nothing),
		cmocka_unit_test(outage_of_the_api_server_does_not_flap),
		cmocka_unit_test(one_that_stays_away_is_replaced),
		cmocka_unit_test(nobody_answering_leaves_the_last_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
