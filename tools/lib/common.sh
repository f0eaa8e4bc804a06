# Sourced by the other files here: messages, and the folder for what is fetched or built once.
# Sets: root (of the source tree), cache.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gleaner

say() {
	printf '%s\n' "==> $*" >&2
}

die() {
	printf '%s\n' "${0##*/}: $*" >&2
	exit 1
}

# Runs a command with its output in a file, and says every 15 seconds that it is still at it and what it last wrote.
# On failure shows the end of the output. Usage: with_progress WHAT LOG COMMAND...
with_progress() {
	local what=$1 log=$2 pid start=$SECONDS status=0
	shift 2
	"$@" >"$log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		for _ in {1..15}; do
			kill -0 "$pid" 2>/dev/null || break
			sleep 1
		done
		kill -0 "$pid" 2>/dev/null &&
			say "$what: $((SECONDS - start)) s so far; $(tail -n 1 "$log" 2>/dev/null | cut -c 1-100)"
	done
	wait "$pid" || status=$?
	if [ $status != 0 ]; then
		tail -n 30 "$log" >&2
		die "$what failed (status $status); all of its output: $log"
	fi
	say "$what: done in $((SECONDS - start)) s"
}
