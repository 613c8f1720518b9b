#!/bin/bash
# install.sh PACKAGE...: installs Debian packages, as root, without questions and without leaving
# anything running: no service is started, and PostgreSQL's packages do not make the cluster of
# their own that they would otherwise make and start (Cradle has a private one). Both wishes are
# files that are there only while this runs. Also read from standard input by sudo, so it stands
# alone.
set -euo pipefail
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/cradle-install.conf
made=()

cleanup() {
    rm -f -- "${made[@]}"
}
trap cleanup EXIT

if [[ ! -e $policy ]]; then
    made+=("$policy")
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
made+=("$no_cluster")
mkdir -p "${no_cluster%/*}"
printf 'create_main_cluster = false\n' >"$no_cluster"

apt() {
    apt-get -y -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# What is there stays: somebody else's packages may not go for ours.
install() {
    apt install --no-install-recommends --no-remove "$@"
}

# The list of packages is fetched only when there is none, or when it turns out to be too old.
if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    apt update
    install "$@"
elif ! install "$@"; then
    apt update
    install "$@"
fi
