#!/bin/bash
# Makes version 1 and 2 of an image with buildah, of files of this machine: make.sh KIND FOLDER writes FOLDER/KIND-{1,2}.tar.
# Prints "missing: PROGRAM" and ends with 3 if this machine lacks something.
set -euo pipefail
kind=$1 folder=$2
here=$(dirname "$(readlink -f "$0")")
context=$folder/context-$kind
root=$context/root

missing() {
  echo "missing: $1"
  exit 3
}

need() {
  command -v "$1" > /dev/null || missing "$1"
}

# A root file system with these files and the shared libraries that they need.
root_of() {
  mkdir -p "$root"/{etc,run,tmp,usr/{bin,lib,lib64,sbin}}
  local libraries link
  for link in bin lib lib64 sbin; do ln -s "usr/$link" "$root/$link"; done
  libraries=$({ ldd "$@" 2> /dev/null || true; } | sed -n 's/^\t\(.* => \)\?\(\/[^ ]*\) (.*/\2/p' | sort -u)
  # shellcheck disable=SC2086
  cp --dereference --parents "$@" $libraries "$root"
  printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\n' > "$root/etc/passwd"
  printf 'root:x:0:\nwww-data:x:33:\n' > "$root/etc/group"
}

need buildah
need busybox
mkdir -p "$context"
cp -r "$here/$kind/." "$context"
case $kind in
  python)
    python=$(readlink -f /usr/bin/python3)
    name=$(basename "$python")
    packages=("$name-minimal" "lib$name-minimal" "lib$name-stdlib")
    listed=$(dpkg --listfiles "${packages[@]}" 2> /dev/null) || missing "the Debian packages ${packages[*]}"
    mapfile -t files < <(grep -E '^/usr/(bin|lib)/' <<< "$listed" | while read -r file; do
      # The service needs none of these, and copying them takes time.
      case $file in */distutils/* | */ensurepip/* | */lib2to3/* | */pydoc_data/* | */unittest/*) continue ;; esac
      if [ -f "$file" ]; then echo "$file"; fi
    done)
    root_of "${files[@]}" "$(command -v busybox)"
    ln -s "$name" "$root/usr/bin/python3"
    ln -s busybox "$root/usr/bin/sh"
    ;;
  node)
    need node
    node=$(readlink -f "$(command -v node)")
    root_of "$node"
    [ -e "$root/usr/bin/node" ] || ln -s "$node" "$root/usr/bin/node"
    # Debian keeps modules of Node outside of its program.
    for module in acorn acorn-walk cjs-module-lexer undici; do
      if [ -d "/usr/share/nodejs/$module" ]; then cp -r --parents "/usr/share/nodejs/$module" "$root"; fi
    done
    ;;
  busybox)
    root_of "$(command -v busybox)"
    ln -s busybox "$root/usr/bin/sh"
    ;;
  go)
    need go
    need gcc
    # Static, with the packages that Go brings as they are: compiling them again takes longer.
    (cd "$context" && GO111MODULE=off GOFLAGS= GOCACHE=$folder/go-cache go build \
      -ldflags '-s -w -linkmode external -extldflags -static' -o service main.go) 2> "$folder/go.log" \
      || { cat "$folder/go.log" >&2 && exit 1; }
    ;;
  nginx)
    nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || missing nginx
    root_of "$nginx"
    mkdir -p "$root/var/log/nginx" "$root/var/lib/nginx"
    ln -s /dev/stdout "$root/var/log/nginx/access.log"
    ln -s /dev/stderr "$root/var/log/nginx/error.log"
    ;;
esac

build() {
  buildah --storage-driver vfs --root "$folder/store-$kind" --runroot "$folder/run-$kind" "$@"
}
if [ "$kind" = python ]; then
  # Each of its steps is a layer.
  build bud --quiet --isolation chroot --layers --tag localhost/base:1 --file "$context/Base" "$context" > /dev/null
fi
for version in 1 2; do
  build bud --quiet --isolation chroot --layers=false --build-arg "V=$version" --tag "localhost/$kind:$version" "$context" > /dev/null
  # The registries of this world have images of both formats and of both compressions.
  case $kind in
    node | python) build push --quiet --compression-format zstd "localhost/$kind:$version" "oci-archive:$folder/$kind-$version.tar:t" ;;
    busybox) build push --quiet "localhost/$kind:$version" "docker-archive:$folder/$kind-$version.tar:shop:$version" ;;
    *) build push --quiet "localhost/$kind:$version" "oci-archive:$folder/$kind-$version.tar:t" ;;
  esac
done
