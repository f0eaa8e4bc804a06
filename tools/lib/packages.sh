# Sourced: install_packages LIST... brings in the Debian packages of those lists of tools/packages.txt that are missing.
# Says what it does; asks nothing; does nothing when all are there.

package_list() { # NAME: the packages of one list
	awk -v want="[$1]" '/^\[/ { on = $0 == want; next } on && !/^#/ && NF' "$root/tools/packages.txt"
}

# The service of a package must not start by itself: the tests start their own, in their own namespaces.
as_root_quietly() {
	local sudo=()
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "installing packages needs root or sudo; missing: ${missing[*]}"
		sudo=(sudo)
	fi
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 "$@"
}

install_packages() {
	local list package missing=()
	for list in "$@"; do
		for package in $(package_list "$list"); do
			dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
		done
	done
	[ ${#missing[@]} != 0 ] || return 0
	say "installing Debian packages: ${missing[*]}"
	mkdir -p "$cache/log"
	with_progress "apt-get update" "$cache/log/apt-update.log" as_root_quietly apt-get update -q
	with_progress "apt-get install" "$cache/log/apt-install.log" \
		as_root_quietly apt-get install -q -y --no-install-recommends "${missing[@]}"
}
