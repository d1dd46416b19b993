#!/bin/bash
# build.sh OUT BUSYBOX: the images a node carries, as OCI archives: pause.tar and busybox.tar.
# BUSYBOX is a statically linked busybox.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

out=${1:?usage: build.sh OUT BUSYBOX}
busybox=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/pause" "$work/busybox"/{bin,etc,proc,sys,dev,tmp,root}

( cd "$here/pause" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -buildid=" -o "$work/pause/pause" . )
"$here/image.sh" "$out/pause.tar" ironwright.dev/pause:1 "$work/pause" /pause

cp "$busybox" "$work/busybox/bin/busybox"
"$busybox" --list | grep -vx busybox | while read -r applet; do ln -s busybox "$work/busybox/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' > "$work/busybox/etc/passwd"
echo 'root:x:0:' > "$work/busybox/etc/group"
chmod 1777 "$work/busybox/tmp"
"$here/image.sh" "$out/busybox.tar" ironwright.dev/busybox:1 "$work/busybox" /bin/sh
