#!/bin/bash
# compose_up.sh STATE CGROUP: brings docker/compose.yaml of the folder STATE/tree up, with a Docker engine of its own and the
# images of STATE/*.tar, and has devices join: after the first start, after each container was killed, and after the
# engine ended in order and was started again. In name spaces of its own (scripts/image), as root: what is started and
# mounted here ends with it.
set -euo pipefail
export LC_ALL=C.UTF-8
readonly state=$1 cgroup=$2
readonly cradle=10001 services=(postgres joinserver activation)
unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONTEXT
export DOCKER_HOST=unix:///run/docker.sock COMPOSE_PROJECT_NAME=cradle
export COMPOSE_FILE=$state/tree/docker/compose.yaml:$state/override.yaml
cd "$state"

die() {
    printf 'compose_up: %s\n' "$*" >&2
    docker ps -a >&2 || true
    docker-compose logs --no-color --tail 20 >&2 || true
    tail -n 20 "$state"/*.log >&2 || true
    exit 1
}

until_true() {
    local end=$((SECONDS + 90))
    until "$@" >"$state/until.log" 2>&1; do
        ((SECONDS < end)) || die "not after a minute and a half: $*"
        sleep 0.2
    done
}

member() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

engine_start() {
    # Sockets and the engine's own state are gone after a boot.
    rm -rf /run/engine
    # Not with the settings of the machine's own engine.
    echo '{}' >"$state/daemon.json"
    dockerd --config-file "$state/daemon.json" --data-root "$state/engine" --exec-root /run/engine --pidfile /run/engine.pid --host "$DOCKER_HOST" \
        --cgroup-parent "/$cgroup" --ip6tables=false >>"$state/engine.log" 2>&1 &
    engine=$!
    until_true docker info
}

# state_of SERVICE FIELD: of its container, however compose has named it
state_of() {
    docker inspect -f "{{.State.$2}}" "$(docker ps -aq --filter "label=com.docker.compose.service=$1")"
}

healthy() {
    local service
    for service in "${services[@]}"; do
        [[ $(state_of "$service" Health.Status) == healthy ]] || return 1
    done
}

# An engine gives no more than it may take itself.
memlock='' nofile=''
if ! (ulimit -H -l unlimited) 2>/dev/null; then
    echo "this machine may not lock more memory: its own limit stands in for that of compose.yaml"
    memlock="ulimits: {memlock: $(($(ulimit -H -l) * 1024))}"
fi
if ! (ulimit -H -n 65536) 2>/dev/null; then
    echo "this machine may not open more files: its own limit stands in for that of compose.yaml"
    nofile="ulimits: {nofile: $(ulimit -H -n)}, "
fi
# The files of initdb.d take their time: who asks by the socket sees a server that is not there for others yet.
echo 'SELECT pg_sleep(5);' >slow.sql
chmod 644 slow.sql
install -d -o "$cradle" near
cat >override.yaml <<END
services:
  postgres: {volumes: ["$state/slow.sql:/docker-entrypoint-initdb.d/slow.sql:ro"]}
  keyd-joinserver: {$memlock}
  keyd-activation: {$memlock}
  joinserver: {$nofile}
  activation: {${nofile}volumes: ["$state/near:/tmp/try"]}
END

mount -t tmpfs tmpfs /run
engine_start
for image in ./*.tar; do
    docker load -qi "$image" >>"$state/load.log" 2>&1 || die "an image cannot be loaded"
done
docker-compose up -d --no-build >"$state/up.log" 2>&1 || die "compose does not come up"
until_true healthy
curl -sf --cacert tree/docker/secrets.d/tls_certificate -o /dev/null https://localhost:8444/v1/openapi.json ||
    die "the activation service does not answer on its published port"

in_activation() {
    docker-compose exec -T activation "$@"
}
made=$(in_activation cradle --config /etc/cradle/cradle.ini admin add --organization Us --role operator)
{
    cat tree/docker/etc/cradle.ini
    printf '[activation]\nurl = http://127.0.0.1:8080\nclient_id = %s\nclient_secret_file = /tmp/try/client_secret\n' \
        "$(member client_id <<<"$made")"
} >near/cradle.ini
member client_secret <<<"$made" >near/client_secret
chmod 600 near/client_secret
chown -R "$cradle" near
cradle() {
    in_activation cradle --config /tmp/try/cradle.ini "$@"
}
device() {
    docker-compose exec -T joinserver cradle-device "$@"
}
curl() {
    nsenter --net --target "$(state_of activation Pid)" curl "$@"
}
# shellcheck disable=SC2034 # of first_join.sh
near=$state/near far=/tmp/try exchange=$state/engine/volumes/cradle_public/_data/exchange.pem
# shellcheck source=scripts/lib/first_join.sh
. "$state/tree/scripts/lib/first_join.sh"

nonce=0 last=3
# Both services have their keys and the database: one device joins again, another one comes in.
works() {
    join 3 "$app_key" --dev-nonce $((++nonce)) && import $((++last)) "$app_key"
}
# runs_anew SERVICE PID: by another process than that one
runs_anew() {
    local pid
    pid=$(state_of "$1" Pid)
    ((pid > 1 && pid != $2))
}
for service in keyd-joinserver postgres joinserver keyd-activation activation; do
    pid=$(state_of "$service" Pid)
    ((pid > 1)) || die "$service does not run"
    kill -KILL "$pid"
    until_true runs_anew "$service" "$pid"
    until_true healthy
    until_true works
done
echo "joins again after each container was killed"

kill "$engine"
wait "$engine" || die "the engine ended with status $?"
engine_start
until_true healthy
until_true works
echo "joins again after the engine ended and was started again"

docker-compose stop >"$state/stop.log" 2>&1 || die "compose does not stop"
for service in "${services[@]}" keyd-joinserver keyd-activation; do
    status=$(state_of "$service" ExitCode)
    ((status == 0)) || die "$service ended with status $status"
done
kill "$engine"
wait "$engine" || die "the engine ended with status $?"
echo "all ended well"
