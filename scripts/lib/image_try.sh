#!/bin/bash
# image_try.sh ROOT STATE PGBIN: runs what docker/compose.yaml runs, from the root file system of the image (read-only,
# as its users, with its volumes and secrets), and has devices join. PostgreSQL is the machine's. In name spaces of its
# own (scripts/image), as root: what is started and mounted here ends with it.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
readonly here image=$1 state=$2 pgbin=$3
readonly cradle=10001 keyd=10002

die() {
    printf 'image_try: %s\n' "$*" >&2
    tail -n 20 "$state"/*.log >&2 || true
    exit 1
}

until_true() {
    local end=$((SECONDS + 60))
    until "$@"; do
        ((SECONDS < end)) || die "not after a minute: $*"
        sleep 0.2
    done
}

member() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

# volume PATH: a named volume begins with owner and mode of the image's folder
volume() {
    local at=$state/volumes$1
    [[ -d $image$1 ]] || die "the image has no folder $1"
    mkdir -p "$at"
    chown --reference="$image$1" "$at"
    chmod --reference="$image$1" "$at"
    mount --bind "$at" "$image$1"
}

# --- PostgreSQL, as compose's: roles and database by docker/secrets ---
chmod 755 "$state"
install -d -o postgres -m 700 "$state/pg"
(cd / && runuser -u postgres -- "$pgbin/initdb" -D "$state/pg" -A trust --auth-host=scram-sha-256 >/dev/null)
(cd / && runuser -u postgres -- "$pgbin/pg_ctl" -D "$state/pg" -w -l "$state/pg/log" -o "-c unix_socket_directories=$state/pg -c listen_addresses=127.0.0.1 -c log_parameter_max_length=0" start >/dev/null)
(cd / && runuser -u postgres -- psql -h "$state/pg" -Xq) <"$state/secrets/roles.sql"

# --- the container's file system ---
mount --bind "$image" "$image"
mount -t proc proc "$image/proc"
mount --bind /dev "$image/dev"
mount -t tmpfs -o mode=1777 tmpfs "$image/tmp"
printf '127.0.0.1 localhost postgres\n' >"$state/hosts"
chmod 644 "$state/hosts"
touch "$image/etc/hosts"
mount --bind "$state/hosts" "$image/etc/hosts"
mkdir -p "$image/run/secrets"
volume /var/lib/cradle
volume /var/lib/cradle-keyd
volume /var/lib/cradle-public
volume /run/cradle-keyd/joinserver
volume /run/cradle-keyd/activation
mount --bind "$state/secrets" "$image/run/secrets"
mount -o remount,ro,bind "$image"

# as USER COMMAND...: in the container
as() {
    container_of "$1"
    "${container[@]}" "${@:2}"
}

# Sets container, what a command of this user is put behind.
container_of() {
    container=(chroot "$image" setpriv --reuid="$1" --regid="$1" --clear-groups --no-new-privs --bounding-set=-all
        env -i PATH=/usr/bin:/bin SOFTHSM2_CONF=/etc/cradle/softhsm2.conf)
}

if as "$cradle" touch /etc/cradle/probe 2>/dev/null || as "$cradle" touch /var/lib/cradle-keyd/probe 2>/dev/null; then
    die "the root file system can be written"
fi
as "$keyd" sh /usr/share/cradle/setup.sh >"$state/token.log" 2>&1 || die "the token was not made"
as "$cradle" cradle --config /etc/cradle/cradle.ini migrate >"$state/migrate.log" 2>&1 || die "the schema was not made"

pids=()
# start NAME USER COMMAND...
start() {
    container_of "$2"
    "${container[@]}" "${@:3}" >"$state/$1.log" 2>&1 </dev/null &
    pids+=($!)
}
for service in joinserver activation; do
    start "keyd-$service" "$keyd" /usr/libexec/cradle/cradle-keyd-host --config "/etc/cradle/keyd-$service.ini"
    until_true test -S "$state/volumes/run/cradle-keyd/$service/keyd.sock"
    start "$service" "$cradle" "/usr/bin/cradle-$service" --config "/etc/cradle/$service.ini"
done
answers() {
    curl -sf -o /dev/null "http://127.0.0.1:$1/readyz"
}
until_true answers 8080
until_true answers 8081
curl -sf --cacert "$state/secrets/tls_certificate" -o /dev/null https://localhost:8444/v1/openapi.json ||
    die "the activation service does not answer by TLS"

# --- the first join ---
made=$(as "$cradle" cradle --config /etc/cradle/cradle.ini admin add --organization Us --role operator)
near=$image/tmp/try
far=/tmp/try
exchange=$state/volumes/var/lib/cradle-public/exchange.pem
mkdir "$near"
{
    cat "$image/etc/cradle/cradle.ini"
    printf '[activation]\nurl = http://127.0.0.1:8080\nclient_id = %s\nclient_secret_file = /tmp/try/client_secret\n' \
        "$(member client_id <<<"$made")"
} >"$near/cradle.ini"
member client_secret <<<"$made" >"$near/client_secret"
chmod 600 "$near/client_secret"
chown -R "$cradle" "$near"
cradle() {
    as "$cradle" cradle --config /tmp/try/cradle.ini "$@"
}
device() {
    as "$cradle" cradle-device "$@"
}
# shellcheck source=scripts/lib/first_join.sh
. "$here/first_join.sh"

if as "$cradle" cat /run/secrets/pin >/dev/null 2>&1 || as "$cradle" ls /var/lib/cradle-keyd >/dev/null 2>&1; then
    die "the services' user can read the PIN or the token"
fi
for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}"
    wait "${pids[i]}" || die "a process ended with status $?"
done
(cd / && runuser -u postgres -- "$pgbin/pg_ctl" -D "$state/pg" -m fast stop >/dev/null)
echo "all ended well; PIN and token are not the services' to read"
