# Sourced by every script of this folder: where things are, and how to get into a node.
# shellcheck disable=SC2034
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../../tools/lib/common.sh"
C=${GLEANER_CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/gleaner-cluster}
BIN=$C/bin
IMAGES=$C/images # archives that are imported at every `up`
RUN=$C/run       # state of the running cluster, removed by `down`
LOGS=$C/logs     # logs, kept until the next `up`
KUBECONFIG_ADMIN=$RUN/pki/admin.kubeconfig
case $C in
/var/* | /run/* | /proc/* | /sys/*) die "GLEANER_CLUSTER_DIR must not be under /var, /run, /proc or /sys" ;;
esac

node_name() { # 0 -> node-a
	local letters=abcdefghij
	echo "node-${letters:$1:1}"
}
node_ip() { echo "192.168.77.$(($1 + 2))"; }
node_cidr() { echo "10.85.$1.0/24"; }

CG=gleaner-cluster-$(printf %s "$C" | cksum | cut -d' ' -f1) # name of this cluster's cgroups, one per node: $CG-node-a

start_time() { awk '{sub(/^.*\) /, ""); print $20}' "/proc/$1/stat" 2>/dev/null || true; }

# node_pid NODE: host pid of the node's pid 1, only if it is still the process that `up` started.
node_pid() {
	local pid started
	[ -s "$RUN/nodes/$1/init.pid" ] || {
		echo "no running node $1" >&2
		return 1
	}
	read -r pid started <"$RUN/nodes/$1/init.pid"
	[ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] || {
		echo "node $1 is not running" >&2
		return 1
	}
	echo "$pid"
}

# in_node NODE CMD...: runs CMD in the node's mount, net, pid, uts and ipc namespaces, in the caller's folder.
in_node() {
	local pid
	pid=$(node_pid "$1") || return 1
	shift
	nsenter -t "$pid" -m -n -p -u -i env -C "$PWD" KUBECONFIG="$KUBECONFIG_ADMIN" PATH="$BIN:$PATH" "$@"
}

# All cgroup v1 hierarchies of the host as "mountpoint options-name", none on a pure v2 host.
cg1() { awk '$3 == "cgroup" { n = split($2, a, "/"); print $2, a[n] }' /proc/mounts; }
