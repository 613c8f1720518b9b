# shellcheck shell=bash
# The private PostgreSQL cluster: a Unix socket only, a password for everyone.
#
# PostgreSQL refuses to run as root, or as a number that has no name. For root it therefore runs in a
# user namespace in which root is postgres, a user whom Debian's package makes; where that is not
# possible (a chroot, a folder root reaches only by privilege) it runs as that user himself, who
# cannot enter a private home: the cluster is then below /var/lib/cradle.

readonly outside_clusters=/var/lib/cradle
readonly database=cradle
readonly start_seconds=60
readonly pg_namespace=(unshare --user --map-user=postgres --map-group=postgres)

pg_as=()
pg_owner=

# cluster_open: finds or chooses the data folder, as whom to run it, and the socket's folder.
cluster_open() {
    local version=
    ((EUID != 0)) || id -u postgres >/dev/null 2>&1 ||
        die "For root PostgreSQL runs as the user postgres, and there is none: install Debian's package postgresql."
    if [[ -e $state/cluster ]]; then
        pgdata=$(<"$state/cluster")
    elif ((EUID != 0)) || namespace_works; then
        pgdata=$state/pg
    else
        pgdata=$outside_clusters/$(short_hash "$state")/data
    fi
    pg_owner=$EUID
    if [[ $pgdata != "$state/pg" ]]; then
        ((EUID == 0)) || state_broken "its database $pgdata belongs to root"
        pg_as=(setpriv --reuid=postgres --regid=postgres --init-groups)
        pg_owner=$(id -u postgres)
    elif ((EUID == 0)); then
        namespace_works ||
            die "The database in $state was made where user namespaces work, and they do not here: run it there, or begin anew with --fresh."
        pg_as=("${pg_namespace[@]}")
    fi
    [[ ! -e $pgdata/PG_VERSION ]] || version=$(<"$pgdata/PG_VERSION")
    postgresql_find "$version"
    sockets_open
}

# Sets sockets, the folder of the database's socket: short, since a socket's name is, and therefore
# in /tmp, where somebody else may have taken its usual name.
sockets_open() {
    local before=
    sockets=/tmp/cradle-$EUID-$(short_hash "$state")
    [[ ! -r $state/sockets ]] || before=$(<"$state/sockets")
    if [[ $before =~ ^/tmp/cradle-[A-Za-z0-9-]+$ ]]; then
        sockets=$before
    fi
    if ! sockets_take; then
        if ! sockets=$(mktemp -d /tmp/cradle-XXXXXXXXXX) || ! sockets_take; then
            die "A folder for the database's socket cannot be made in /tmp: make room there."
        fi
        printf '%s\n' "$sockets" >"$state/sockets.new"
        mv -f "$state/sockets.new" "$state/sockets"
    fi
}

# Makes the folder, or takes it as it is; false when it is another's.
sockets_take() {
    mkdir -m 700 "$sockets" 2>/dev/null || true
    if ((pg_owner != EUID)) && [[ ! -L $sockets && -d $sockets && -O $sockets ]]; then
        chown "$pg_owner" "$sockets"
    fi
    [[ ! -L $sockets && -d $sockets && $(stat -c '%u %a' "$sockets") == "$pg_owner 700" ]]
}

namespace_works() {
    "${pg_namespace[@]}" test -w "$state" 2>/dev/null
}

# cluster_make: a new cluster, there whole or not at all.
cluster_make() {
    local password folder=${pgdata%/*} log=$state/log/initdb.log
    rm -rf -- "$pgdata.new" "$pgdata"
    # First: who removes a state folder goes by it (state_empty, clusters.py), also where this ends in the middle.
    printf '%s\n' "$pgdata" >"$state/cluster"
    if [[ $folder != "$state" ]]; then
        rm -rf -- "$folder"
        (umask 022 && mkdir -p "$outside_clusters")
        mkdir -m 700 "$folder"
        chown "$pg_owner" "$folder"
    fi
    password=$(random_hex 24)
    secret_write "$state/pgpass-postgres" "*:*:*:postgres:$password"
    secret_write "$folder/first-password" "$password"
    chown "$pg_owner" "$folder/first-password"
    step "$log" "Making the database failed" env -C / "${pg_as[@]}" "$pgbin/initdb" -D "$pgdata.new" \
        --username=postgres --pwfile="$folder/first-password" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 --data-checksums
    rm -f -- "$folder/first-password"
    printf "include_if_exists 'cradle.conf'\n" >>"$pgdata.new/postgresql.conf"
    printf 'local all all scram-sha-256\n' >"$pgdata.new/pg_hba.conf"
    mv "$pgdata.new" "$pgdata"
}

# memory_kib: the memory of this machine, or what a control group that this runs in leaves of it (a container's is seen at
# the root of its own hierarchy).
memory_kib() {
    local kib=1048576 groups=/proc/self/cgroup controllers group folder file bytes
    [[ ! -r /proc/meminfo ]] || read -r _ kib _ </proc/meminfo
    [[ -r $groups ]] || groups=/dev/null
    while IFS=: read -r _ controllers group; do
        case $controllers in
        '') folder=/sys/fs/cgroup file=memory.max ;;
        memory) folder=/sys/fs/cgroup/memory file=memory.limit_in_bytes ;;
        *) continue ;;
        esac
        group=${group%/}
        while :; do
            if { bytes=$(<"$folder$group/$file"); } 2>/dev/null && [[ $bytes =~ ^[0-9]{1,18}$ ]] && ((bytes / 1024 < kib)); then
                kib=$((bytes / 1024))
            fi
            [[ -n $group ]] || break
            group=${group%/*}
        done
    done <"$groups"
    printf '%s\n' "$kib"
}

# The settings, written at each start; where the disk is full, those of the start before are kept. An
# answered join must survive a power cut, and no key may reach a log: statements and their parameters
# are never written there. A quarter of the memory is for pages: to read one that is not there costs a
# system call and a checksum, even where the kernel has it.
cluster_settings() {
    local compression=on kib buffers_mb
    kib=$(memory_kib)
    buffers_mb=$((kib / 4096 < 8192 ? kib / 4096 : 8192))
    if ldd "$pgbin/postgres" | grep liblz4 >/dev/null; then
        compression=lz4
    fi
    if { cat >"$pgdata/cradle.conf.new" && chown "$pg_owner" "$pgdata/cradle.conf.new" &&
        mv -f "$pgdata/cradle.conf.new" "$pgdata/cradle.conf"; } <<END 2>/dev/null; then
listen_addresses = ''
unix_socket_directories = '$sockets'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = $compression
min_wal_size = '1GB'
max_wal_size = '4GB'
shared_buffers = '${buffers_mb}MB'
log_statement = none
log_min_duration_statement = -1
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_line_prefix = '%m [%p] %q%u '
logging_collector = off
END
        return 0
    fi
    rm -f -- "$pgdata/cradle.conf.new"
    [[ -s $pgdata/cradle.conf ]] || die "$pgdata/cradle.conf cannot be written: make room there."
    say "$pgdata/cradle.conf cannot be written: PostgreSQL starts with what it says."
}

# Processes whose working folder is the cluster: the postmaster and its backends.
cluster_processes() {
    local entry here
    here=$(cd "$pgdata" && pwd -P)
    for entry in /proc/[0-9]*; do
        if [[ $(readlink "$entry/cwd" 2>/dev/null) == "$here" ]]; then
            printf '%s\n' "${entry#/proc/}"
        fi
    done
}

cluster_deserted() {
    [[ -z $(cluster_processes) ]]
}

# After a kill -9, of the postmaster or of the run that had started it, its backends may still be
# ending, and its pid file names a number that may be another's by now. The state folder is locked,
# so whoever still works in the cluster is a left-over.
cluster_clear() {
    local left
    if ! until_true 5 cluster_deserted; then
        mapfile -t left <<<"$(cluster_processes)"
        kill -QUIT "${left[@]}" 2>/dev/null || true
        until_true 10 cluster_deserted ||
            die "The database $pgdata is still in use by process ${left[0]}: end it, then try again."
    fi
    if [[ -d /proc/self ]]; then
        rm -f -- "$pgdata/postmaster.pid"
    fi
}

cluster_start() {
    cluster_clear
    cluster_settings
    service_launch postgres INT env -C / "${pg_as[@]}" -- "$pgbin/postgres" -D "$pgdata"
}

cluster_ready() {
    "$pgbin/pg_isready" -q -h "$sockets" -t 2
}

# conninfo ROLE: a libpq connection string.
conninfo() {
    printf "host=%s dbname=%s user=%s passfile='%s'" "$sockets" "$database" "$1" "$state/pgpass-$1"
}

# The superuser; SQL on standard input.
superuser() {
    "$pgbin/psql" -XqAt -v ON_ERROR_STOP=1 \
        "host=$sockets dbname=$1 user=postgres passfile='$state/pgpass-postgres'"
}

# database_make: the roles and the empty database.
database_make() {
    local role password sql
    # A statement that fails is written to the server's log, with the password in it.
    sql="SET log_min_error_statement = 'panic';"
    for role in cradle_owner cradle_join cradle_activation; do
        password=$(random_hex 24)
        secret_write "$state/pgpass-$role" "*:*:*:$role:$password"
        sql+="CREATE ROLE $role LOGIN PASSWORD '$password';"
    done
    superuser postgres <<<"$sql" || die "Making the database roles failed: see $state/log/postgres.log."
    superuser postgres <<<"CREATE DATABASE $database OWNER cradle_owner TEMPLATE template0;
        REVOKE ALL ON DATABASE $database FROM PUBLIC;
        GRANT CONNECT ON DATABASE $database TO cradle_join, cradle_activation;" ||
        die "Making the database failed: see $state/log/postgres.log."
}
