#!/usr/bin/env bash
# Makes sure that the programs the tests use beside Rust are there, a redis-server and a python3, and prints the
# path of the former. Nothing else: the tests start servers of their own, on private ports, and end them.
#
#   usage:  tests/services.sh
#   env:    REDIS_SERVER   a redis-server (or valkey-server) to use instead of the one on the PATH
#   exit:   0 and the path on stdout; 1 with the reason on stderr
#
# When the program is missing it is installed with apt-get (through sudo unless root). The distribution's own
# service is kept from starting: while the package is set up, a policy-rc.d forbids it, as Debian provides for.
# An older server (below 6.2) is refused here rather than by each test.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

find_server() {
    command -v redis-server || command -v valkey-server
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_server() {
    if ! command -v apt-get >/dev/null; then
        say "services.sh: no redis-server found and no apt-get to install it with:" \
            "install Redis 6.2 or newer, or set REDIS_SERVER to its path"
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
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -q --no-install-recommends redis-server
    } >&2 || installed=no
    if [ "$made_policy" = yes ]; then as_root rm -f "$policy"; fi
    # Nor shall the service come up at the next boot: only its program was asked for.
    if command -v systemctl >/dev/null; then as_root systemctl disable redis-server >/dev/null 2>&1 || true; fi
    if [ "$installed" = no ]; then
        say "services.sh: apt-get could not install redis-server (see above):" \
            "install Redis 6.2 or newer by hand, or set REDIS_SERVER to its path"
        exit 1
    fi
}

if ! command -v python3 >/dev/null; then
    if ! command -v apt-get >/dev/null; then
        say "services.sh: no python3 found and no apt-get to install it with: install Python 3"
        exit 1
    fi
    { as_root apt-get update -q && as_root apt-get install -y -q --no-install-recommends python3-minimal; } >&2 || {
        say "services.sh: apt-get could not install python3 (see above): install Python 3 by hand"
        exit 1
    }
fi

if [ -n "${REDIS_SERVER:-}" ]; then
    server=$(command -v "$REDIS_SERVER") || {
        say "services.sh: REDIS_SERVER names \"$REDIS_SERVER\", which is not a program"
        exit 1
    }
else
    server=$(find_server) || { install_server; server=$(find_server); }
fi

version=$("$server" --version | sed -n 's/.*v=\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
read -r major minor <<<"${version:-0 0}"
if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 2 ]; }; then
    say "services.sh: $server is version $major.$minor; the tests need 6.2 or newer"
    exit 1
fi
printf '%s\n' "$server"
