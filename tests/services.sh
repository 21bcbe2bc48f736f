#!/usr/bin/env bash
# Makes sure that the programs the tests use beside Rust are there, and prints the path of the redis-server: Redis,
# the interpreters that examples/ is written for (php, python3, node) and their Redis clients, curl,
# libfaketime, Prometheus, shells, Chromium and npm, and with npm the packages of tests/dashboard/package.json. Nothing else:
# the tests start servers of their own, on private ports, and end them.
#
#   usage:  tests/services.sh
#   env:    REDIS_SERVER   a redis-server (or valkey-server) to use instead of the one on the PATH
#           CHROMIUM       a Chromium to use instead of the one on the PATH
#   exit:   0 and the path on stdout; 1 with the reason on stderr
#
# What is missing, and only that, is installed by one run of apt-get (through sudo unless root): an interpreter that
# is there already is used, wherever it is from. The distribution's own Redis service is kept from starting: while
# the package is set up, a policy-rc.d forbids it, as Debian provides for. A Redis below 6.2 is refused here rather
# than by each test.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

find_server() { command -v redis-server || command -v valkey-server; }

# The clients are where Debian puts them: its own python3 finds redis-py there, other ones do not, and node is told by
# NODE_PATH. Tests that need one look in the same places.
has_php_redis() { php -r 'exit(extension_loaded("redis") ? 0 : 1);' 2>/dev/null; }
has_python_redis() { /usr/bin/python3 -c 'import redis' 2>/dev/null || python3 -c 'import redis' 2>/dev/null; }
has_node_redis() { NODE_PATH=/usr/share/nodejs node -e 'require("redis")' 2>/dev/null; }

# Tests that step the clock of a program preload it.
has_faketime() { ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1; }

# The browser's driver and rules are kept beside what cargo builds: the folder of the sources gets nothing.
browser_packages=${CARGO_TARGET_DIR:-target}/dashboard-test
has_browser_packages() {
    cmp -s tests/dashboard/package-lock.json "$browser_packages/package-lock.json" &&
        [ -e "$browser_packages/node_modules/.package-lock.json" ]
}

# The Debian packages of what is missing.
missing() {
    [ -n "${REDIS_SERVER:-}" ] || find_server >/dev/null || echo redis-server
    command -v python3 >/dev/null || echo python3-minimal
    command -v php >/dev/null || echo php-cli
    command -v node >/dev/null || echo nodejs
    command -v curl >/dev/null || echo curl
    command -v zsh >/dev/null || echo zsh
    command -v fish >/dev/null || echo fish
    command -v "${CHROMIUM:-chromium}" >/dev/null || echo chromium
    has_browser_packages || command -v npm >/dev/null || echo npm
    has_faketime || echo libfaketime
    command -v prometheus >/dev/null && command -v promtool >/dev/null || echo prometheus
    has_php_redis || echo php-redis
    has_python_redis || echo python3-redis
    has_node_redis || echo node-redis
}

install() {
    if ! command -v apt-get >/dev/null; then
        say "services.sh: missing, and no apt-get to install it with: $*"
        say "services.sh: install these programs by hand; REDIS_SERVER may name a redis-server"
        exit 1
    fi
    local policy=/usr/sbin/policy-rc.d made_policy=no
    if ! [ -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made_policy=yes
    fi
    local installed=yes
    {
        as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    } >&2 || installed=no
    if [ "$made_policy" = yes ]; then as_root rm -f "$policy"; fi
    # Nor shall the service come up at the next boot: only its program was asked for.
    for service in redis-server prometheus; do
        case " $* " in *" $service "*)
            if command -v systemctl >/dev/null; then as_root systemctl disable "$service" >/dev/null 2>&1 || true; fi ;;
        esac
    done
    if [ "$installed" = no ]; then
        say "services.sh: apt-get could not install $* (see above): install them by hand;" \
            "REDIS_SERVER may name a redis-server"
        exit 1
    fi
}

packages=$(missing)
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # one word per package
    install $packages
    still=$(missing | tr '\n' ' ')
    if [ -n "$still" ]; then
        say "services.sh: installed, and not found all the same: $still"
        exit 1
    fi
fi

if ! has_browser_packages; then
    mkdir -p "$browser_packages"
    cp tests/dashboard/package.json tests/dashboard/package-lock.json "$browser_packages/"
    if ! (cd "$browser_packages" && npm ci --ignore-scripts --no-audit --no-fund >&2); then
        rm -f "$browser_packages/package-lock.json"
        say "services.sh: npm could not install the packages of tests/dashboard/package-lock.json into" \
            "$browser_packages (see above)"
        exit 1
    fi
fi

if [ -n "${REDIS_SERVER:-}" ]; then
    server=$(command -v "$REDIS_SERVER") || {
        say "services.sh: REDIS_SERVER names \"$REDIS_SERVER\", which is not a program"
        exit 1
    }
else
    server=$(find_server)
fi

version=$("$server" --version | sed -n 's/.*v=\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
read -r major minor <<<"${version:-0 0}"
if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 2 ]; }; then
    say "services.sh: $server is version $major.$minor; the tests need 6.2 or newer"
    exit 1
fi
printf '%s\n' "$server"
