/* yaml: the text of a configuration file -> a tree with positions.
 *
 * A tree of our own, built from libfyaml's events, because the file is read more strictly than YAML (no aliases, anchors,
 * tags, second documents or duplicate keys), because every complaint of a file is wanted and not only the first, and
 * because every key needs its line and column. libfyaml's headers are included by yaml.c only.
 */
#pragma once

#include "problem.h"

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
	enum yaml_kind kind;
	bool plain;            /* a scalar without quotes */
	struct span text;      /* of a scalar; as written, nothing expanded */
	unsigned line, column; /* from 1; of a null the key's */
	struct span key;       /* of an entry of a mapping */
	unsigned key_line, key_column;
	struct yaml_node *first, *last, *next; /* children in the order of the file */
	size_t count;                          /* of children */
};

#define YAML_MAX_BYTES ((size_t)1 << 20)
#define YAML_MAX_DEPTH 16
#define YAML_MAX_NODES 100000

/* Reads one document into *ret_root; nodes and their strings live in `arena`. Complaints go to `problems`.
 * The root is NULL for an empty text, and after a syntax error: what a cut-off tree lacks is not to be complained about.
 * 0, or -ENOMEM. */
int yaml_read(struct span text, struct arena *arena, struct problems *problems, struct yaml_node **ret_root);
