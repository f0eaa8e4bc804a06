# Sourced: the real OpenTelemetry Collector, made by its own builder from tests/interop/collector/builder.yaml.
# Kept in the cache under a name that holds the manifest's hash: a changed manifest is a new build.

# need_collector: sets `collector`, the binary.
need_collector() {
	local manifest=$root/tests/interop/collector/builder.yaml version tree go
	collector=$cache/collector-$(sha256sum "$manifest" | cut -c 1-12)
	[ ! -x "$collector" ] || return 0
	need_go
	version=$(sed -n 's/^ *version: *"\(.*\)"/\1/p' "$manifest")
	tree=$cache/collector-build
	say "building the OpenTelemetry Collector $version with $("$go" version | cut -d ' ' -f 3); 4 to 6 minutes on 2 cores, once"
	rm -rf "$tree"
	mkdir -p "$tree" "$cache/log"
	with_progress "fetching the builder" "$cache/log/collector-builder.log" \
		collector_go install "go.opentelemetry.io/collector/cmd/builder@v$version"
	sed "s#^  output_path:.*#  output_path: $tree/out#" "$manifest" >"$tree/builder.yaml"
	with_progress "building the Collector" "$cache/log/collector.log" \
		collector_env "$tree/bin/builder" --config "$tree/builder.yaml"
	mv "$tree/out/otelcol" "$collector"
	# Only the binary is kept: modules and build cache are some gigabytes.
	collector_go clean -modcache
	rm -rf "$tree" "$cache/go"
}

collector_env() {
	env PATH="$(dirname "$go"):$PATH" GOPATH="$cache/go" GOMODCACHE="$cache/go/mod" GOCACHE="$cache/go/build" \
		GOBIN="$tree/bin" GOFLAGS=-buildvcs=false GOTOOLCHAIN=local CGO_ENABLED=0 "$@"
}

collector_go() {
	collector_env "$go" "$@"
}
