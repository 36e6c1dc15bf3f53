# shellcheck shell=bash
# What scripts need that take packages from Debian without installing them; to be sourced.

debian_mirror() { # print the address of the Debian mirror that this machine is set up to use
    grep -hoE '^(URIs:|deb) .*' /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
        grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1
}

# apt_apart DIRECTORY KIND SUITE: set the array "apt" to an apt-get that knows only KIND (deb or deb-src) of SUITE,
# keeps all its state in DIRECTORY, and takes no package for installed.
apt_apart() {
    mkdir -p "$1"/{lists,cache/archives}/partial
    touch "$1/status"
    echo "$2 [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $3 main" >"$1/sources.list"
    apt=(apt-get -qq -o "Dir::State::Lists=$1/lists" -o "Dir::State::status=$1/status" -o "Dir::Cache=$1/cache"
        -o "Dir::Etc::SourceList=$1/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Acquire::Languages=none
        -o Acquire::Retries=3 -o APT::Install-Recommends=false -o APT::Sandbox::User=)
    "${apt[@]}" update
}
