#!/bin/sh
# Makes the root file system of an image: some files of this Debian, the libraries that they are linked to, and nothing else.
# Usage: image-root.sh FOLDER FILE...     (FOLDER is not there yet; FILEs are absolute)
set -eu
root=$1
shift

# A file at its own path, each link on the way to it included.
add() {
  path=$(cd "$(dirname "$1")" && pwd -P)/$(basename "$1")
  if [ -e "$root$path" ] || [ -L "$root$path" ]; then return; fi
  cp --archive --parents "$path" "$root"
  if [ -L "$path" ]; then
    target=$(readlink "$path")
    case $target in /*) add "$target" ;; *) add "$(dirname "$path")/$target" ;; esac
    return
  fi
  # Scanners of images read the packages there, and their licences come with them; bookworm knows /usr/lib/... as /lib/...
  for package in $(dpkg-query --search "$path" "${path#/usr}" 2> /dev/null | cut --delimiter=: --fields=1); do
    dpkg-query --status "$package" > "$root/var/lib/dpkg/status.d/$package"
    cp --archive --parents --dereference "/usr/share/doc/$package/copyright" "$root"
  done
}

mkdir -p "$root/dev" "$root/etc/ssl/certs" "$root/proc" "$root/run" "$root/sys" "$root/usr" "$root/var/lib/dpkg/status.d"
mkdir --mode=1777 "$root/tmp"
mkdir --mode=0700 "$root/root"
ln -s /run "$root/var/run"
for folder in /bin /sbin /lib /lib64; do
  [ ! -L "$folder" ] || cp --archive "$folder" "$root"
done
# Some bases lack the one or the other.
for file in /etc/nsswitch.conf /usr/local/LICENSE; do
  [ ! -e "$file" ] || add "$file"
done
for file in /etc/passwd /etc/group /etc/os-release "$@"; do
  add "$file"
  for library in $(ldd "$file" 2> /dev/null | grep --only-matching '/[^ ]*'); do add "$library"; done
done
