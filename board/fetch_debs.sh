# Sourced by make_bundle.sh: Debian packages of any suite and architecture, downloaded by an apt with a root folder of
# its own. This machine's own apt and dpkg are not changed.

distribution() { # SUITE
    case $1 in jammy | noble) echo ubuntu ;; *) echo debian ;; esac
}

mirror_for() ( # SUITE: lines of "URI suite components", from --mirror or else from this machine's own sources
    name=$(distribution "$1")
    case $name in ubuntu) parts="main universe" uri=$ubuntu_mirror ;; *) parts=main uri=$debian_mirror ;; esac
    # shellcheck disable=SC2016 # apt's own form, not the shell's
    uri=${uri:-$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sort -u | grep -m 1 "/$name/\$" || true)}
    [ -n "$uri" ] || refuse "$1: this machine's apt has no mirror of it; name one that ends in /$name: --mirror URI"
    uri=${uri%/}
    echo "$uri $1 $parts"
    case $name in
    ubuntu) echo "$uri $1-updates $parts" && echo "$uri $1-security $parts" ;;
    *) echo "$uri-security $1-security $parts" ;;
    esac
)

fetch_debs() ( # ROOT SUITE ARCH PACKAGE ...: with their dependencies, into ROOT/var/cache/apt/archives
    root=$1 suite=$2 deb_arch=$3
    shift 3
    ring=$(distribution "$suite")
    keys=/usr/share/keyrings/$ring-archive-keyring.gpg
    [ -e "$keys" ] ||
        refuse "$keys: missing, apt cannot check $suite without it: apt-get install $ring-keyring or $ring-archive-keyring"
    if [ ! -e "$root/var/lib/dpkg/status" ]; then
        mkdir -p "$root/etc/apt/apt.conf.d" "$root/etc/apt/preferences.d" "$root/etc/apt/trusted.gpg.d" \
            "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial" "$root/var/lib/dpkg"
        mirror_for "$suite" >"$root/mirrors"
        while read -r line; do echo "deb [arch=$deb_arch signed-by=$keys] $line"; done \
            <"$root/mirrors" >"$root/etc/apt/sources.list"
        : >"$root/var/lib/dpkg/status" # as if nothing were installed: all dependencies are downloaded
        own_apt update ||
            refuse "$suite for $arch: its package lists cannot be downloaded from $(head -n 1 "$root/mirrors")"
    fi
    own_apt install --yes --download-only "$@" && exit 0
    [ "$suite" = bullseye ] || refuse "$suite for $arch: cannot be fetched: one of $*"
    say "bullseye is past its end of life, and bullseye-security lacks packages that it lists: trying without it"
    rm -f "$root"/var/cache/apt/archives/*.deb
    sed -i /-security/d "$root/etc/apt/sources.list"
    own_apt update
    own_apt install --yes --download-only "$@" ||
        refuse "$suite for $arch: cannot be fetched: one of $*"
)

own_apt() {
    apt-get -qq -o Dir="$root" -o Dir::State::status="$root/var/lib/dpkg/status" -o Debug::NoLocking=1 \
        -o APT::Architecture="$deb_arch" -o APT::Architectures="$deb_arch" -o APT::Sandbox::User="$(id -un)" \
        -o APT::Install-Recommends=false -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o APT::Update::Error-Mode=any "$@" >&2 </dev/null
}

index_debs() ( # FOLDER: make it a repository for apt
    cd "$1"
    for file in *%3a*.deb; do # apt would read this as a colon, and not find the file
        [ ! -e "$file" ] || mv "$file" "$(echo "$file" | sed 's/_[0-9]*%3a/_/')"
    done
    for file in *.deb; do
        dpkg-deb --field "$file"
        echo "Filename: ./$file"
        echo "Size: $(stat -c %s "$file")"
        echo "SHA256: $(sha256sum <"$file" | cut -d ' ' -f 1)"
        echo
    done >Packages
)
