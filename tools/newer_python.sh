#!/bin/sh
# newer_python.sh FOLDER: a newer CPython than Debian 12's beside it, unpacked from Debian's unstable suite into FOLDER.
# Prints the path of a virtual environment's Python; FOLDER/include is to be in the compiler's path for extensions. Nothing
# outside of FOLDER is touched. Needs apt-get, dpkg, gcc, and patchelf in PATH. Does nothing when it is there.
set -eu

version=3.14
mkdir -p "$1"
folder=$(cd "$1" && pwd)
root=$folder/root
arch=$(gcc -print-multiarch)
python=$root/usr/bin/python$version

if [ ! -x "$folder/venv/bin/python" ]; then
    mirror=$(sed -n 's/^URIs: *\([^ ]*debian\)\/*$/\1/p; s/^deb *\(\[[^]]*\] *\)\{0,1\}\([^ ]*debian\)\/* .*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
    test -n "$mirror" || { echo "newer_python.sh: no Debian archive in /etc/apt/sources.list" >&2; exit 1; }
    mkdir -p "$folder/state/lists/partial" "$folder/cache/archives/partial" "$folder/etc" "$root"
    : >"$folder/state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" \
        >"$folder/etc/sources.list"
    apt="apt-get -q -y -o Dir::State=$folder/state -o Dir::State::status=$folder/state/status
        -o Dir::Cache=$folder/cache -o Dir::Etc::sourcelist=$folder/etc/sources.list -o Dir::Etc::sourceparts=-
        -o APT::Sandbox::User=root -o APT::Install-Recommends=false"
    # shellcheck disable=SC2086 # a list of words
    $apt update >&2
    # shellcheck disable=SC2086
    $apt install --download-only "python$version" "python$version-dev" "python$version-venv" >&2
    for package in "$folder"/cache/archives/*.deb; do
        case ${package##*/} in
        gcc* | cpp* | g++* | binutils* | libgcc-1*-dev* | libstdc++-*-dev* | lib*san* | make* | dpkg* | perl*) ;;
        *) dpkg -x "$package" "$root" ;;
        esac
    done
    loader=$(find "$root/usr/lib" "$root/usr/lib64" -name 'ld-linux-*.so.*' 2>/dev/null | head -n 1)
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$root/usr/lib/$arch" "$python"
    mkdir -p "$folder/include/$arch"
    ln -sfn "$root/usr/include/$arch/python$version" "$folder/include/$arch/python$version" # not its C library's headers
    rm -rf "$folder/venv"
    "$python" -m venv --without-pip "$folder/venv" >&2
    PYTHONPATH=$(echo "$root"/usr/share/python-wheels/pip-*.whl) "$folder/venv/bin/python" -m pip install -q pip >&2
fi
"$folder/venv/bin/python" -c "import ssl, sqlite3, ctypes" >&2
echo "$folder/venv/bin/python"
