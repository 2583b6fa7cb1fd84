# packages.sh — the Debian packages that a script of the source tree needs. Sourced by demo.sh and test.sh.
#
#   need_packages PACKAGE...     installs what is missing (as root), or prints the line that does and returns 1 (as anyone else)
#
# Nothing is asked of the network when nothing is missing. On a system without dpkg it says nothing and lets configure find out.
# shellcheck shell=sh

# What building and running all of the project takes.
# shellcheck disable=SC2034
MORPH_BUILD_PACKAGES="gcc g++ libc6-dev make autoconf automake libtool pkg-config libuv1-dev libmsgpack-dev libcmocka-dev \
libjansson-dev libinih-dev libsystemd-dev liblua5.4-dev liblzma-dev xz-utils"

package_is_installed()
{
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

need_packages()
{
    command -v dpkg-query >/dev/null 2>&1 || return 0
    missing=
    for package in "$@"; do
        package_is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "These packages are missing. Please run:" >&2
        echo "    sudo apt-get install -y$missing" >&2
        return 1
    fi
    echo "Installing:$missing"
    # shellcheck disable=SC2086
    packages_install $missing && return 0
    echo "apt-get could not install:$missing" >&2
    return 1
}

# The lists of a fresh machine are empty or old, so they are fetched first; apt's chatter only shows if it fails.
packages_install()
{
    packages_log=$(mktemp)
    if DEBIAN_FRONTEND=noninteractive apt-get update >"$packages_log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$packages_log" 2>&1; then
        rm -f "$packages_log"
        return 0
    fi
    tail -n 20 "$packages_log" >&2
    rm -f "$packages_log"
    return 1
}
