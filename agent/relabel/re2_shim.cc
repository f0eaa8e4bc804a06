/* See re2_shim.h. What RE2 (2022-06) takes but Go refuses is refused here: `\C`, group names used twice or not ASCII. What Go takes but
 * this RE2 does not is rewritten: `(?<name>` to `(?P<name>`. */
#include "re2_shim.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <re2/re2.h>

struct regex {
	RE2 re2;
	std::vector<re2::StringPiece> groups; /* of the last match */

	regex(const std::string &pattern, const RE2::Options &options)
	    : re2(pattern, options), groups(re2.ok() ? re2.NumberOfCapturingGroups() + 1 : 1)
	{
	}
};

/* The length of the bracket expression that begins at `at`, "[^]a[:digit:]\]]" for instance; up to the end when it is not closed. */
static size_t class_length(const std::string &pattern, size_t at)
{
	size_t i = at + 1;
	if (i < pattern.size() && pattern[i] == '^')
		i++;
	if (i < pattern.size() && pattern[i] == ']')
		i++;
	while (i < pattern.size() && pattern[i] != ']') {
		size_t end = pattern.compare(i, 2, "[:") == 0 ? pattern.find(":]", i + 2) : std::string::npos;
		if (end != std::string::npos)
			i = end + 2;
		else
			i += pattern[i] == '\\' ? 2 : 1;
	}
	return std::min(i + 1, pattern.size()) - at;
}

static bool is_name_byte(unsigned char c)
{
	return c < 0x80 && (isalnum(c) || c == '_');
}

/* Go's pattern as RE2 wants it. False when Go would refuse it. */
static bool to_re2(const std::string &pattern, std::string *out, std::string *problem)
{
	for (size_t i = 0; i < pattern.size();) {
		size_t take = 1;
		if (pattern.compare(i, 2, "\\Q") == 0) {
			size_t end = pattern.find("\\E", i + 2);
			take = end == std::string::npos ? pattern.size() - i : end + 2 - i;
		} else if (pattern.compare(i, 2, "\\C") == 0) {
			*problem = "invalid escape sequence: \\C";
			return false;
		} else if (pattern[i] == '\\') {
			take = 2;
		} else if (pattern[i] == '[') {
			take = class_length(pattern, i);
		} else if (pattern.compare(i, 3, "(?<") == 0 && i + 3 < pattern.size() &&
			   is_name_byte(pattern[i + 3])) {
			out->append("(?P<");
			i += 3;
			continue;
		}
		out->append(pattern, i, take);
		i += take;
	}
	return true;
}

static void check_names(const RE2 &re2, std::string *problem)
{
	if (re2.NamedCapturingGroups().size() != re2.CapturingGroupNames().size())
		*problem = "two groups have the same name";
	for (const auto &group : re2.NamedCapturingGroups())
		for (unsigned char c : group.first)
			if (!is_name_byte(c))
				*problem = "invalid named capture: " + group.first;
}

static int refuse(char *reason, size_t reason_size, const std::string &problem)
{
	snprintf(reason, reason_size, "%s", problem.c_str());
	return -EINVAL;
}

static int compile(const std::string &pattern, std::unique_ptr<regex> *ret_regex, std::string *problem)
{
	std::string text;
	if (!to_re2(pattern, &text, problem))
		return -EINVAL;
	RE2::Options options;
	options.set_log_errors(false);
	options.set_dot_nl(true);
	options.set_max_mem(1 << 20);
	auto compiled = std::make_unique<regex>(text, options);
	if (!compiled->re2.ok())
		*problem = compiled->re2.error();
	else
		check_names(compiled->re2, problem);
	if (!problem->empty())
		return -EINVAL;
	*ret_regex = std::move(compiled);
	return 0;
}

int regex_new(const char *pattern, size_t pattern_len, struct regex **ret_regex, char *reason, size_t reason_size)
{
	try {
		std::string problem;
		std::unique_ptr<regex> compiled;
		if (pattern_len > REGEX_MAX_PATTERN)
			return refuse(
				reason, reason_size, "longer than " + std::to_string(REGEX_MAX_PATTERN) + " bytes");
		if (compile(std::string(pattern, pattern_len), &compiled, &problem) < 0)
			return refuse(reason, reason_size, problem);
		*ret_regex = compiled.release();
		return 0;
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	} catch (...) {
		snprintf(reason, reason_size, "cannot be compiled");
		return -EINVAL;
	}
}

void regex_free(struct regex *regex)
{
	delete regex;
}

size_t regex_cost(const struct regex *regex)
{
	enum { CLASS_COST = 256 };
	const std::string &pattern = regex->re2.pattern();
	size_t classes = 0;
	for (size_t i = 0; i + 1 < pattern.size(); i++)
		classes += pattern[i] == '\\' && (pattern[i + 1] | 0x20) == 'p';
	return pattern.size() + classes * CLASS_COST + static_cast<size_t>(regex->re2.ProgramSize());
}

size_t regex_groups(const struct regex *regex)
{
	return regex->groups.size() - 1;
}

size_t regex_group_index(const struct regex *regex, const char *name, size_t name_len)
{
	for (const auto &group : regex->re2.NamedCapturingGroups())
		if (group.first.compare(0, std::string::npos, name, name_len) == 0)
			return group.second;
	return 0;
}

int regex_match(struct regex *regex, const char *text, size_t text_len, size_t groups)
{
	try {
		re2::StringPiece piece(text ? text : "", text_len);
		/* With captures RE2 leaves its automaton out even for what does not match: ask without them first. */
		if (!regex->re2.Match(piece, 0, piece.size(), RE2::ANCHOR_BOTH, nullptr, 0))
			return 0;
		if (groups == 0)
			return 1;
		int count = static_cast<int>(std::min(groups + 1, regex->groups.size()));
		return regex->re2.Match(piece, 0, piece.size(), RE2::ANCHOR_BOTH, regex->groups.data(), count);
	} catch (...) {
		return -ENOMEM;
	}
}

const char *regex_group(const struct regex *regex, size_t group, size_t *ret_len)
{
	const re2::StringPiece &piece = regex->groups[group];
	*ret_len = piece.size();
	return piece.data();
}
