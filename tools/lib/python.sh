# Sourced: private Python environments under the cache; nothing is installed for the user or the system.

# new_venv DIR PACKAGE...: a virtual environment with these packages; kept when it was made from the same list.
new_venv() {
	local dir=$1
	shift
	[ "$(cat "$dir/made-of" 2>/dev/null)" = "$*" ] && return
	say "making a Python environment with $* ($dir)"
	rm -rf "$dir"
	mkdir -p "$cache/log"
	/usr/bin/python3 -m venv "$dir"
	with_progress "pip install $*" "$cache/log/pip-$(basename "$dir").log" "$dir/bin/pip" install --disable-pip-version-check "$@"
	echo "$*" >"$dir/made-of"
}

# OpenTelemetry's own decoder of OTLP, for the sink. Sets: otlp_python.
need_otlp_python() {
	new_venv "$cache/otlp-python" opentelemetry-proto==1.45.2
	otlp_python=$cache/otlp-python/bin/python3
}
