/* What the ServiceAccount may do: SelfSubjectAccessReview, one rule after the other, and the missing ones as YAML. */
#include "call.h"

#include <errno.h>
#include <stdlib.h>

#define PATH "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

struct kube_review {
	struct kube_api *api;
	const struct kube_rule *rules;
	size_t count, next;
	bool *missing;
	void (*done)(void *arg, const bool *missing, const struct error *err);
	void *arg;
	struct kube_call *call;
};

/* ---- asking ------------------------------------------------------------------------- */

static void put_member(struct buf *out, const char *name, const char *value)
{
	if (!value || !value[0])
		return;
	buf_printf(out, ",\"%s\":", name);
	buf_json(out, span_str(value));
}

static void put_review(struct buf *out, const struct kube_rule *rule)
{
	buf_str(out, "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SelfSubjectAccessReview\",\"spec\":"
		     "{\"resourceAttributes\":{\"verb\":");
	buf_json(out, span_str(rule->verb));
	put_member(out, "group", rule->group);
	put_member(out, "resource", rule->resource);
	put_member(out, "subresource", rule->subresource);
	put_member(out, "namespace", rule->namespace_);
	buf_str(out, "}}}");
}

static void on_answer(void *arg, const struct kube_api_answer *answer);

static int ask(struct kube_review *review, struct error *err)
{
	struct buf body;
	buf_init(&body, 65536);
	put_review(&body, &review->rules[review->next]);
	int r = body.failed ? error_set(err, ENOMEM, "out of memory")
			    : kube_call_new(review->api, PATH, buf_view(&body), on_answer, review, &review->call, err);
	buf_done(&body);
	return r;
}

static void on_answer(void *arg, const struct kube_api_answer *answer)
{
	struct kube_review *review = arg;
	struct error err = answer->error;
	const struct json *status = json_get(answer->object, "status");
	kube_call_free(review->call);
	review->call = NULL;
	if (!err.text[0] && !status)
		error_set(&err, EBADMSG, "an answer without a status");
	if (!err.text[0]) {
		review->missing[review->next++] = !json_boolean(status, "allowed", false);
		if (review->next < review->count && ask(review, &err) == 0)
			return;
	}
	if (err.text[0])
		error_wrap(&err, EIO, "access review");
	review->done(review->arg, err.text[0] ? NULL : review->missing, &err);
}

int kube_api_may(struct kube_api *api, const struct kube_rule *rules, size_t count,
	void (*done)(void *arg, const bool *missing, const struct error *err), void *arg,
	struct kube_review **ret_review, struct error *err)
{
	if (count == 0)
		return error_set(err, EINVAL, "access review: no rules");
	struct kube_review *review = calloc(1, sizeof(*review));
	bool *missing = calloc(count, sizeof(*missing));
	if (!review || !missing) {
		free(review);
		free(missing);
		return error_set(err, ENOMEM, "access review: out of memory");
	}
	*review = (struct kube_review){
		.api = api, .rules = rules, .count = count, .missing = missing, .done = done, .arg = arg};
	int r = ask(review, err);
	if (r < 0) {
		kube_review_free(review);
		return error_wrap(err, -r, "access review");
	}
	*ret_review = review;
	return 0;
}

void kube_review_free(struct kube_review *review)
{
	if (!review)
		return;
	kube_call_free(review->call);
	free(review->missing);
	free(review);
}

/* ---- what is missing, as YAML ---------------------------------------------------------- */

static struct span text(const char *s)
{
	return s ? span_str(s) : SPAN("");
}

static bool same_namespace(const struct kube_rule *a, const struct kube_rule *b)
{
	return span_eq(text(a->namespace_), text(b->namespace_));
}

static bool same_resource(const struct kube_rule *a, const struct kube_rule *b)
{
	return same_namespace(a, b) && span_eq(text(a->group), text(b->group)) &&
	       span_eq(text(a->resource), text(b->resource)) && span_eq(text(a->subresource), text(b->subresource));
}

/* The first of the missing rules that agree with rules[at]. */
static bool is_first(const struct kube_rule *rules, const bool *missing, size_t at,
	bool (*agree)(const struct kube_rule *a, const struct kube_rule *b))
{
	for (size_t i = 0; i < at; i++)
		if (missing[i] && agree(&rules[i], &rules[at]))
			return false;
	return missing[at];
}

static void put_rule(const struct kube_rule *rules, const bool *missing, size_t count, size_t at, struct buf *out)
{
	const struct kube_rule *rule = &rules[at];
	buf_str(out, "- apiGroups: [");
	buf_json(out, text(rule->group));
	buf_printf(out, "]\n  resources: [\"%s%s%s\"]\n  verbs: [", rule->resource,
		text(rule->subresource).len > 0 ? "/" : "", rule->subresource ? rule->subresource : "");
	for (size_t i = at; i < count; i++)
		if (missing[i] && same_resource(&rules[i], rule))
			buf_printf(out, "%s\"%s\"", i == at ? "" : ", ", rules[i].verb);
	buf_str(out, "]\n");
}

/* Quoted: a namespace may be called 123, or null. */
static void put_text(struct buf *out, const char *key, const char *value)
{
	buf_str(out, key);
	buf_json(out, span_str(value));
	buf_char(out, '\n');
}

static void put_role(
	const struct kube_rule *rules, const bool *missing, size_t count, size_t at, const char *name, struct buf *out)
{
	const char *namespace_ = rules[at].namespace_;
	buf_printf(out, "apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata:\n  name: %s\n",
		namespace_ ? "Role" : "ClusterRole", name);
	if (namespace_)
		put_text(out, "  namespace: ", namespace_);
	buf_str(out, "rules:\n");
	for (size_t i = at; i < count; i++)
		if (same_namespace(&rules[i], &rules[at]) && is_first(rules, missing, i, same_resource))
			put_rule(rules, missing, count, i, out);
}

int kube_rules_yaml(const struct kube_rule *rules, const bool *missing, size_t count, const char *name, struct buf *out)
{
	bool any = false;
	for (size_t i = 0; i < count; i++) {
		if (!is_first(rules, missing, i, same_namespace))
			continue;
		buf_str(out, any ? "---\n" : "");
		put_role(rules, missing, count, i, name, out);
		any = true;
	}
	return out->failed;
}
