#!/bin/bash
# Under systemd, in a bare Debian with the packages installed: sets Cradle up by the steps of docs/install.md, starts the
# units as it says there, has devices join, restarts and stops each unit under joins, and looks at what systemd gives to
# whom. Run by scripts/package --try (scripts/lib/machine.sh), as root.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
readonly here

# shellcheck source=scripts/lib/package_setup.sh
. "$here/package_setup.sh"

failed() {
    local status=$?
    if ((status != 0)); then
        systemctl --no-pager --full status 'cradle*' >&2 || true
        journalctl --no-pager -n 60 -u 'cradle*' >&2 || true
    fi
}
trap failed EXIT

[[ $(cat /proc/1/comm) == systemd ]] || die "process 1 is not systemd"

# --- TLS, by credentials of each service ---
for service in joinserver activation; do
    folder=/etc/cradle/credentials/$service
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$folder/tls.key" -out "$folder/tls.pem" 2>/dev/null
    sed -i 's/^;certificate/certificate/; s/^;key/key/' "/etc/cradle/$service.ini"
done

# Few devices, that join without end.
printf '\n[join]\ndevice_burst = 0\n' >>/etc/cradle/joinserver.ini

# --- what step 5 of docs/install.md says ---
systemctl -q enable --now cradle-keyd@joinserver.socket cradle-keyd@activation.socket cradle-joinserver.socket \
    cradle-activation.socket cradle-joinserver cradle-activation
for unit in cradle-joinserver cradle-activation cradle-keyd@joinserver cradle-keyd@activation; do
    systemctl -q is-active "$unit" || die "$unit is not active"
done
for port in 8080 8081; do
    curl -sf -o /dev/null "http://127.0.0.1:$port/readyz" || die "systemd says that it is ready, and port $port does not"
done
cp /etc/cradle/credentials/activation/tls.pem /root/tls.pem
curl -sf --cacert /root/tls.pem -o /dev/null https://localhost:8444/v1/openapi.json || die "no answer by TLS"
echo "units started; TLS by keys of LoadCredential"

# --- the first join ---
readonly near=/root far=/root exchange=/etc/cradle/exchange.pem
# shellcheck source=scripts/lib/first_join.sh
. "$here/first_join.sh"

# --- who may read what ---
# credential UNIT NAME OWNER SOURCE: it is there, the same, its owner's and nobody's else
credential() {
    local file=/run/credentials/$1.service/$2
    cmp -s "$file" "$4" || die "$file is not what was to be loaded"
    runuser -u "$3" -- test -r "$file" || die "$3 cannot read $file"
    for other in cradle cradle-keyd nobody; do
        if [[ $other != "$3" ]] && runuser -u "$other" -- test -r "$file"; then
            die "$other can read $file"
        fi
        if runuser -u "$other" -- test -r "$4"; then
            die "$other can read $4"
        fi
    done
}
for service in joinserver activation; do
    credential "cradle-$service" "${service}_pgpass" cradle "/etc/cradle/credentials/$service/pgpass"
    credential "cradle-$service" "${service}_tls.key" cradle "/etc/cradle/credentials/$service/tls.key"
    credential "cradle-keyd@$service" pin cradle-keyd /etc/cradle/credentials/keyd/pin
done
# inside UNIT COMMAND...: in the name spaces of its process, as that process's user
inside() {
    local pid user
    pid=$(systemctl show -p MainPID --value "$1")
    user=$(ps -o user:32= -p "$pid")
    shift
    nsenter -t "$pid" -m setpriv --reuid="$user" --regid="$user" --init-groups "$@" >/dev/null 2>&1
}
for service in joinserver activation; do
    other=activation
    [[ $service == joinserver ]] || other=joinserver
    inside "cradle-$service" test -S "/run/cradle-keyd/$service/keyd.sock" || die "$service does not see its own host"
    for path in "/run/cradle-keyd/$other/keyd.sock" "/run/credentials/cradle-$other.service/${other}_pgpass" \
        "/run/credentials/cradle-keyd@$service.service/pin" /var/lib/cradle-keyd/tokens; do
        if inside "cradle-$service" cat "$path" || inside "cradle-$service" ls "$path"; then
            die "$service reaches $path"
        fi
    done
    if inside "cradle-$service" touch /etc/cradle/probe || inside "cradle-keyd@$service" touch /etc/cradle/probe; then
        die "a unit can write /etc"
    fi
    pid=$(systemctl show -p MainPID --value "cradle-keyd@$service")
    links=$(nsenter -t "$pid" -n ip -o link | wc -l)
    ((links == 1)) || die "the host of $service has a network"
done
echo "credentials are their unit's alone; no service reaches the other's host, PIN or token; hosts have no network"

# --- restarts, and services that stand still, under joins ---
readonly n_devices=8
{
    printf 'dev_eui,join_eui,app_key,mac_version,home_net_id,as_id\n'
    for ((i = 0; i < n_devices; i++)); do
        printf '70b3d57ed20000%02x,%s,%s,1.0.4,%s,our-as\n' "$i" "$join_eui" "$(openssl rand -hex 16)" "$net_id"
    done
} >/root/devices.csv
curl -sf -o /root/import.out -H "Authorization: Bearer $token" -H 'Content-Type: text/csv' --data-binary @/root/devices.csv \
    'http://127.0.0.1:8080/v1/batches/import?format=csv' || die "the import failed"
printf '%s\n' "$ns_token" >/root/ns_token
printf '%s\n' "$ns_kek" >/root/ns_kek
printf '%s\n' "$as_kek" >/root/as_kek
python3 "$here/systemd_joins.py" /root/devices.csv || die "joins under restarts"
systemctl stop cradle-joinserver.socket cradle-activation.socket cradle-joinserver cradle-activation \
    cradle-keyd@joinserver.socket cradle-keyd@activation.socket cradle-keyd@joinserver cradle-keyd@activation
if systemctl -q is-failed 'cradle*'; then
    die "a unit has failed"
fi
echo "all stopped"
