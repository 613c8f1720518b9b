# shellcheck shell=bash
# Sourced, in a Debian with the packages installed, as root: sets Cradle up by the steps of docs/install.md, up to where
# its services are started. Leaves `die`, `until_true`, `member`, and the two programs as `cradle` and `device`.
export LC_ALL=C.UTF-8 HOME=/root

readonly module=/usr/lib/softhsm/libsofthsm2.so

die() {
    printf 'cradle: %s\n' "$*" >&2
    tail -n 20 /var/log/cradle-*.log >&2 || true
    exit 1
}

until_true() {
    local end=$((SECONDS + 60))
    until "$@"; do
        ((SECONDS < end)) || die "not after a minute: $*"
        sleep 0.2
    done
}

cradle() {
    command cradle --config /etc/cradle/cradle.ini "$@"
}

device() {
    cradle-device "$@"
}

# member NAME: of the JSON object on standard input
member() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

# --- the database ---
[[ ! -d /var/lib/postgresql/15/main ]] || pg_dropcluster --stop 15 main
pg_createcluster 15 main >/dev/null
pg_ctlcluster 15 main start
umask 077
for role in owner join activation; do
    password=$(openssl rand -hex 24)
    runuser -u postgres -- psql -XqAt >/dev/null <<END
CREATE ROLE cradle_$role LOGIN PASSWORD '$password';
END
    printf '*:*:cradle:cradle_%s:%s\n' "$role" "$password" >"/etc/cradle/credentials/$role.pgpass"
done
runuser -u postgres -- createdb -O cradle_owner cradle
runuser -u postgres -- psql -Xq -c "ALTER SYSTEM SET log_parameter_max_length = 0" -c "SELECT pg_reload_conf()" >/dev/null
# By password, not by the name of the user.
sed -i '1i local cradle cradle_owner,cradle_join,cradle_activation scram-sha-256' /etc/postgresql/15/main/pg_hba.conf
pg_ctlcluster 15 main reload
cat /etc/cradle/credentials/owner.pgpass /etc/cradle/credentials/activation.pgpass >/etc/cradle/credentials/pgpass
mv /etc/cradle/credentials/join.pgpass /etc/cradle/credentials/joinserver/pgpass
mv /etc/cradle/credentials/activation.pgpass /etc/cradle/credentials/activation/pgpass
rm /etc/cradle/credentials/owner.pgpass

# --- the token ---
openssl rand -hex 16 >/etc/cradle/credentials/keyd/pin
install -m 400 -o cradle-keyd /etc/cradle/credentials/keyd/pin /run/cradle-hsm-pin
export SOFTHSM2_CONF=/etc/cradle/softhsm2.conf
runuser -u cradle-keyd -- python3 /usr/share/cradle/token_init.py "$module" cradle /run/cradle-hsm-pin
runuser -u cradle-keyd -- cradle --config /etc/cradle/hsm.ini hsm init --exchange-key-out /var/lib/cradle-keyd/exchange.pem >/dev/null ||
    die "the key ceremony failed"
rm /run/cradle-hsm-pin
install -m 644 /var/lib/cradle-keyd/exchange.pem /etc/cradle/exchange.pem

# --- the schema, and the first client ---
cradle migrate >/dev/null
made=$(cradle admin add --organization Us --role operator)
member client_secret <<<"$made" >/etc/cradle/credentials/client_secret
sed -i "s|^;client_id =.*|client_id = $(member client_id <<<"$made")|; s|^;client_secret_file|client_secret_file|" /etc/cradle/cradle.ini
