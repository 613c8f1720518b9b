# shellcheck shell=bash
# Building with meson and ninja.

# Where in a build folder each program is.
declare -rA program_path=(
    [cradle-joinserver]=joinserver/cradle-joinserver
    [cradle-activation]=activation/cradle-activation
    [cradle-keyd]=hsm/cradle-keyd
    [cradle]=cli/cradle
    [cradle-device]=cli/cradle-device
)

# build_configure FOLDER LOG MESON-OPTION...: the build folder, with nothing built.
build_configure() {
    local folder=$1 log=$2
    shift 2
    if [[ -e $folder && ! -w $folder ]]; then
        die "$folder belongs to another user: remove it, then try again."
    fi
    # A build folder that was copied along with the checkout still points at the old place.
    if [[ -e $folder ]] &&
        ! grep -qsF "\"source\": \"$root\"" "$folder/meson-info/meson-info.json"; then
        rm -rf -- "$folder"
    fi
    if [[ ! -f $folder/build.ninja ]]; then
        rm -rf -- "$folder"
        step "$log" "Configuring the build failed" meson setup "$folder" "$root" "$@"
    fi
}

# build_programs FOLDER LOG MESON-OPTION...
build_programs() {
    build_configure "$@"
    step "$2" "Building failed" ninja -C "$1"
}

# program FOLDER NAME: its path.
program() {
    printf '%s/%s' "$1" "${program_path[$2]}"
}

programs_check() {
    local name
    for name in "${!program_path[@]}"; do
        [[ -x $(program "$1" "$name") ]] || die "$(program "$1" "$name") is missing: build it first."
    done
}
