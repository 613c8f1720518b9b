#!/bin/bash
# In a bare Debian with the packages installed: sets Cradle up by the steps of docs/install.md, starts
# what the units would start, as the units would (users, credentials, sockets of the key processes), has
# devices join, and looks at what removing the packages leaves. Run by scripts/package --try as root.
set -euo pipefail

# shellcheck source=scripts/lib/package_setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/package_setup.sh"
readonly keyd_host=/usr/libexec/cradle/cradle-keyd-host

# --- what systemd does: credentials, sockets, users ---
# credential UNIT USER NAME FILE
credential() {
    install -d -m 500 -o "$2" "/run/credentials/$1"
    install -m 400 -o "$2" "$4" "/run/credentials/$1/$3"
}
mkdir -p /run/credentials
chmod 755 /run/credentials
for service in joinserver activation; do
    credential "cradle-keyd@$service.service" cradle-keyd pin /etc/cradle/credentials/keyd/pin
    credential "cradle-$service.service" cradle "${service}_pgpass" "/etc/cradle/credentials/$service/pgpass"
done

pids=()
# start NAME USER COMMAND...
start() {
    local name=$1 user=$2
    shift 2
    setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs --bounding-set=-all "$@" >"/var/log/cradle-$name.log" 2>&1 </dev/null &
    pids+=($!)
}

for service in joinserver activation; do
    install -d -m 755 -o cradle-keyd "/run/cradle-keyd/$service"
    start "keyd-$service" cradle-keyd "$keyd_host" --config "/etc/cradle/keyd-$service.ini" \
        --set "host.socket=/run/cradle-keyd/$service/keyd.sock"
    until_true test -S "/run/cradle-keyd/$service/keyd.sock"
    start "$service" cradle "/usr/bin/cradle-$service" --config "/etc/cradle/$service.ini"
done
answers() {
    curl -sf -o /dev/null "http://127.0.0.1:$1/readyz"
}
until_true answers 8080
until_true answers 8081

# --- the first join ---
readonly near=/root far=/root exchange=/etc/cradle/exchange.pem
# shellcheck source=scripts/lib/first_join.sh
. "$(dirname "${BASH_SOURCE[0]}")/first_join.sh"

# --- who may read what ---
for file in /etc/cradle/credentials/keyd/pin /var/lib/cradle-keyd/tokens "/run/credentials/cradle-keyd@joinserver.service/pin"; do
    if runuser -u cradle -- test -r "$file"; then
        die "the services' user can read $file"
    fi
done
keyds=$(pgrep -u cradle-keyd -x cradle-keyd | wc -l)
((keyds > 0)) || die "no key process runs as cradle-keyd"
if pgrep -u cradle -x cradle-keyd >/dev/null; then
    die "a key process runs as the services' user"
fi
others=$(find /etc/cradle/credentials /var/lib/cradle-keyd /run/credentials -type f -perm /077 ! -name exchange.pem)
[[ -z $others ]] || die "open to others: $others"
for service in joinserver activation; do
    [[ -s /var/lib/cradle/$service.witness ]] || die "$service keeps no witness of its database"
done
echo "$keyds key processes run as cradle-keyd; the services' user can read neither PIN nor token"

# --- the end, an upgrade, and away with it ---
for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}"
    wait "${pids[i]}" || die "process ${pids[i]} ended with status $?"
done
before=$(find /var/lib/cradle-keyd/tokens -type f -exec sha256sum {} + | sort | sha256sum)
export DEBIAN_FRONTEND=noninteractive
dpkg -i /opt/cradle/*.deb >/root/dpkg.log 2>&1 || die "the upgrade failed: $(tail -n 3 /root/dpkg.log)"
grep -q '^client_id' /etc/cradle/cradle.ini || die "the upgrade has changed the configuration"
dpkg --purge cradle cradle-device >/root/purge.log 2>&1 || die "purging failed: $(tail -n 3 /root/purge.log)"
after=$(find /var/lib/cradle-keyd/tokens -type f -exec sha256sum {} + | sort | sha256sum)
[[ $before == "$after" && -s /etc/cradle/credentials/keyd/pin ]] || die "the token or its PIN has not stayed"
others=$(find /etc/cradle /var/lib/cradle-keyd -type f -perm /077 ! -name exchange.pem)
[[ -z $others ]] || die "purging left what others may read: $others"
echo "upgraded and purged: configuration gone, token and PIN kept, nothing open to others"
pg_ctlcluster 15 main stop -m fast
pg_dropcluster 15 main
rm -rf /etc/cradle /var/lib/cradle /var/lib/cradle-keyd /run/credentials /run/cradle-keyd
