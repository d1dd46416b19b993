#!/bin/bash
# preload.sh ROOT ARCHIVE…: OCI archives into the containerd store of the system at ROOT, by its own containerd,
# so that no node spends time on it. Runs in a mount namespace of its own: whatever ends it, no mount is left.
set -euo pipefail
if [ -z "${PRELOAD_UNSHARED:-}" ]; then PRELOAD_UNSHARED=1 exec unshare --mount --propagation private "$0" "$@"; fi

root=$1
shift
for dir in proc sys dev; do mount --rbind "/$dir" "$root/$dir"; done
mount -t tmpfs tmpfs "$root/run"

log=$root/run/containerd.log
chroot "$root" /usr/bin/containerd --log-level warn > "$log" 2>&1 &
containerd=$!
trap 'kill "$containerd" 2> /dev/null || true; wait "$containerd" || true' EXIT

ctr() { chroot "$root" /usr/bin/ctr --namespace k8s.io "$@"; }
for archive in "$@"; do
  cp "$archive" "$root/run/archive.tar"
  tries=100
  until ctr images import /run/archive.tar > "$root/run/import.log" 2>&1; do
    tries=$((tries - 1))
    if [ $tries -eq 0 ] || ! kill -0 "$containerd"; then
      echo "containerd did not take $archive:" >&2
      cat "$root/run/import.log" "$log" >&2
      exit 1
    fi
    sleep 0.1
  done
done
# as the kubelet's own pulls are, and never collected: a node could not get them back
for name in $(ctr images list --quiet); do
  ctr images label "$name" io.cri-containerd.image=managed io.cri-containerd.pinned=pinned > /dev/null
done
