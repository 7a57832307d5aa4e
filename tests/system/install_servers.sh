#!/bin/sh
# Install what the tests need and this machine lacks: Redis (7 or newer), PostgreSQL, MariaDB,
# Chromium, Node.js (18 or newer), coturn, wrk and a Korean font. Debian and Ubuntu by apt-get, macOS by Homebrew.
# REDIS_SERVER names another server for the tests than redis-server, as valkey-server.
# When everything is there, nothing is run and nothing is printed.
set -eu

say() { printf '%s\n' "install_servers: $*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

redis_major() {
	"${REDIS_SERVER:-redis-server}" --version 2>/dev/null | sed -n 's/.*v=\([0-9]*\)\..*/\1/p'
}

have_redis() {
	have "${REDIS_SERVER:-redis-server}" && [ "$(redis_major)" -ge 7 ] 2>/dev/null
}

# Debian keeps the server out of PATH; Homebrew keeps a versioned formula out of it too.
have_postgres() {
	have postgres && have initdb && return 0
	for bin in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
		[ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && return 0
	done
	return 1
}

# Debian keeps this server out of the PATH of everybody but root.
have_mariadb() {
	have mariadbd || [ -x /usr/sbin/mariadbd ] || [ -x /opt/homebrew/bin/mariadbd ]
}

have_chromium() {
	if [ -n "${CHROMIUM:-}" ]; then
		[ -x "$CHROMIUM" ] || die "CHROMIUM=$CHROMIUM is not an executable file"
		return 0
	fi
	have chromium || have chromium-browser || have google-chrome ||
		[ -x "/Applications/Chromium.app/Contents/MacOS/Chromium" ] ||
		[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}

# `node --test`, which runs the JavaScript SDK's tests, came with Node.js 18; npm brings the compiler
# that checks its types.
have_node() {
	have npm && have node && [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -ge 18 ] 2>/dev/null
}

# The OpenID provider that sign-in is tested against: a certified one, kept beside the project.
have_openid_provider() {
	[ -f build/openid/node_modules/oidc-provider/package.json ]
}

have_coturn() {
	have turnserver
}

# `make bench-api` asks with it.
have_wrk() {
	have wrk
}

# macOS ships a Korean font. Without fontconfig's tool, the directory of Debian's package tells.
have_korean_font() {
	[ "$(uname -s)" = Darwin ] && return 0
	if have fc-list; then
		[ -n "$(fc-list :lang=ko family)" ]
	else
		[ -d /usr/share/fonts/opentype/noto ] || [ -d /usr/share/fonts/truetype/nanum ]
	fi
}

missing() {
	have_redis || printf ' redis'
	have_postgres || printf ' postgresql'
	have_mariadb || printf ' mariadb'
	have_chromium || printf ' chromium'
	have_node || printf ' node'
	have_coturn || printf ' coturn'
	have_wrk || printf ' wrk'
	have_korean_font || printf ' korean-font'
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "needs root to install:$wanted; run as root, or install sudo, or install them by hand"
	fi
}

# Ubuntu calls the browser chromium-browser (a snap); Debian calls it chromium.
apt_chromium() {
	if [ -n "$(apt-cache search --names-only '^chromium$')" ]; then
		echo chromium
	else
		echo chromium-browser
	fi
}

# Debian has valkey from 13 on and in bookworm-backports, Ubuntu from 24.10 on.
apt_redis() {
	case ${REDIS_SERVER:-redis-server} in
	redis-server | valkey-server) echo "${REDIS_SERVER:-redis-server}" ;;
	*) die "REDIS_SERVER=$REDIS_SERVER is not there and is no package" ;;
	esac
}

install_by_apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q || say "apt-get update failed; going on with the lists at hand"
	packages=
	for name in $wanted; do
		case $name in
		redis) packages="$packages $(apt_redis)" ;;
		postgresql) packages="$packages postgresql" ;;
		mariadb) packages="$packages mariadb-server" ;;
		chromium) packages="$packages $(apt_chromium)" ;;
		node) packages="$packages nodejs npm" ;;
		coturn) packages="$packages coturn" ;;
		wrk) packages="$packages wrk" ;;
		korean-font) packages="$packages fonts-noto-cjk" ;;
		esac
	done
	# shellcheck disable=SC2086 — a list of names
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages ||
		die "apt-get could not install:$packages"
}

install_by_brew() {
	for name in $wanted; do
		case $name in
		redis) if [ "${REDIS_SERVER:-}" = valkey-server ]; then brew install valkey; else brew install redis; fi ;;
		postgresql) brew install postgresql@17 ;;
		mariadb) brew install mariadb ;;
		chromium) brew install --cask chromium ;;
		node) brew install node ;;
		coturn) brew install coturn ;;
		wrk) brew install wrk ;;
		esac || die "brew could not install $name"
	done
}

install_missing() {
	say "missing:$wanted"
	if have apt-get; then
		install_by_apt
	elif have brew; then
		install_by_brew
	else
		die "knows apt-get (Debian, Ubuntu) and brew (macOS) only; install by hand:$wanted"
	fi
	wanted=$(missing)
	[ -z "$wanted" ] || die "still missing after the installation:$wanted (Redis must be 7 or newer, Node.js 18; CHROMIUM=/path names another browser)"
}

wanted=$(missing)
[ -z "$wanted" ] || install_missing

# 8 is the last major version for Node.js 18 and 20.
have_openid_provider || npm install --silent --no-audit --no-fund --prefix build/openid oidc-provider@8.8.1 ||
	die "npm could not install oidc-provider"
