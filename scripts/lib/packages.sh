# shellcheck shell=bash
# Debian packages: which are needed, which are missing, and getting them.

readonly run_packages=(
    gcc libc6-dev meson ninja-build pkg-config python3 openssl curl ca-certificates procps
    postgresql postgresql-client softhsm2
    libmicrohttpd-dev libgnutls28-dev libjansson-dev libpq-dev libp11-kit-dev libssl-dev libinih-dev libcsv-dev
    libcurl4-openssl-dev libqrencode-dev libunbound-dev libgoogle-perftools-dev
)
# shellcheck disable=SC2034 # for scripts/test
readonly test_packages=(
    check clang llvm libclang-rt-dev clang-format gdb shellcheck iproute2 librsvg2-bin zbar-tools
    knot knot-dnsutils knot-dnssecutils prometheus systemd python3-yaml docker-compose
)
# 12 MB to fetch. scripts/fault failover alone installs them; scripts/test uses them where they are.
# shellcheck disable=SC2034 # for scripts/fault
readonly failover_packages=(patroni etcd-server haproxy python3-etcd)
readonly oldest_postgresql=15

# packages_missing NAME...: those that are not installed, one a line.
packages_missing() {
    local name installed
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
    for name in "$@"; do
        grep -qxF "installed $name" <<<"$installed" || printf '%s\n' "$name"
    done
}

# packages_install LOG NAME...: installs what is missing, as root or with sudo.
packages_install() {
    local log=$1 missing command
    shift
    command -v dpkg-query >/dev/null || die "Debian 12 or newer is needed: there is no dpkg here."
    mapfile -t missing <<<"$(packages_missing "$@")"
    [[ -n ${missing[0]} ]] || return 0
    command="apt-get install --no-install-recommends ${missing[*]}"
    if ((EUID == 0)); then
        say "Installing ${#missing[@]} Debian packages ..."
        step "$log" "Installing packages failed: try \`$command\`" \
            bash "$root/scripts/lib/install.sh" "${missing[@]}"
    elif command -v sudo >/dev/null; then
        say "Installing ${#missing[@]} Debian packages with sudo ..."
        # Through standard input: root may be kept out of this folder (NFS). Not a step: sudo
        # may have to ask for a password at the terminal.
        # shellcheck disable=SC2024 # the redirections are meant to be this user's
        if ! sudo bash -s -- "${missing[@]}" <"$root/scripts/lib/install.sh" >"$log" 2>&1; then
            tail -n 30 "$log" >&2
            die "Packages are missing and sudo did not install them: run \`$command\` as root."
        fi
    else
        die "Packages are missing and neither root nor sudo is here: run \`$command\` as root."
    fi
}

# Sets pgbin, the folder of PostgreSQL's programs: those of version $1, or else the newest.
postgresql_find() {
    local wanted=${1:-} folder version best=0
    for folder in /usr/lib/postgresql/*/bin; do
        version=${folder#/usr/lib/postgresql/}
        version=${version%/bin}
        [[ $version =~ ^[0-9]+$ && -x $folder/postgres && -x $folder/initdb ]] || continue
        if [[ -n $wanted ]]; then
            ((version == wanted)) && best=$version
        elif ((version > best)); then
            best=$version
        fi
    done
    if [[ -n $wanted ]] && ((best == 0)); then
        die "The state folder holds a database of PostgreSQL $wanted: install postgresql-$wanted, or begin anew with --fresh."
    fi
    ((best >= oldest_postgresql)) ||
        die "PostgreSQL $oldest_postgresql or newer is needed: install Debian's package postgresql."
    # shellcheck disable=SC2034 # for postgres.sh
    pgbin=/usr/lib/postgresql/$best/bin
}
