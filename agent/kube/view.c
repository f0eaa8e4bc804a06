/* The list that is handed out: the last poll's pods and those that are missing for a moment (see view.h). */
#include "view.h"

void kube_view_done(struct kube_view *view)
{
	kube_pods_unref(view->seen);
	kube_pods_unref(view->published);
	*view = (struct kube_view){0};
}

/* Takes over the reference. Returns whether the listener must hear of it. */
static bool publish(struct kube_view *view, struct kube_pods *pods)
{
	bool changed = !view->published || !kube_pods_equal(view->published, pods);
	kube_pods_unref(view->published);
	view->published = pods;
	return changed;
}

int kube_view_update(struct kube_view *view, struct kube_pods *fresh, uint64_t now_ns, bool *ret_changed)
{
	struct kube_pods *merged;
	/* What the poll before this one lacked already is not in `seen`: missing twice, it is dropped. */
	int r = kube_pods_merge(fresh, view->seen, &merged);
	if (r < 0)
		return r;
	kube_pods_unref(view->seen);
	view->seen = kube_pods_ref(fresh);
	view->absent_since_ns = now_ns;
	*ret_changed = publish(view, merged);
	return 0;
}

uint64_t kube_view_deadline(const struct kube_view *view)
{
	return view->published && view->published != view->seen ? view->absent_since_ns + KUBE_ABSENT_NS : 0;
}

bool kube_view_expire(struct kube_view *view, uint64_t now_ns)
{
	uint64_t deadline = kube_view_deadline(view);
	if (deadline == 0 || now_ns < deadline)
		return false;
	return publish(view, kube_pods_ref(view->seen));
}
