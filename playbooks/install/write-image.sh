# Download, sha256 and unpacking; the digest decides whether the image is used. The bootloader comes after this step,
# so a bad image is never started.
#
# Pipes are what costs most here (each byte is copied twice more), so an image that fits into memory is fetched there,
# and is then hashed on one CPU while another unpacks it straight onto the partition. A larger one is streamed.
root=$IW_ROOT
work=$(mktemp -d)
# by path: busybox prefers its own applet, which takes half as long again
sha256sum=$(which sha256sum)
if grep -q "^$root " /proc/mounts; then umount "$root"; fi

failed() { # FILE WHAT: notes a failure; a pipe's status is its last command's
  echo "$2" > "$work/failed.$1"
}
unpack() { # onto the root partition, from standard input
  case $IW_FORMAT in
    ext4+lz4) lz4 -dc > "$root" ;;
    ext4+zstd) zstd -dcq > "$root" ;;
    tar+zstd) zstd -dcq | tar -C "$work/root" -xf - ;;
  esac
}
case $IW_FORMAT in
  ext4+lz4 | ext4+zstd) ;;
  tar+zstd)
    mkfs.ext4 -q -F -L ironwright -E lazy_itable_init=1,lazy_journal_init=1 "$root"
    mkdir -p "$work/root"
    mount -t ext4 -o noatime "$root" "$work/root"
    ;;
  *) echo "unknown format $IW_FORMAT" >&2; exit 1 ;;
esac

available=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) * 1024))
if [ $((IW_PACKED_BYTES * 3)) -lt "$available" ]; then
  wget -q -O "$work/image" "$IW_URL" || { echo "the download failed" >&2; exit 1; }
  "$sha256sum" < "$work/image" > "$work/sha256" &
  hasher=$!
  unpack < "$work/image" 2> "$work/unpacking" || failed unpack "unpacking failed: $(tail -n 1 "$work/unpacking")"
else
  mkfifo "$work/copy"
  "$sha256sum" < "$work/copy" > "$work/sha256" &
  hasher=$!
  { wget -q -O - "$IW_URL" || failed download "the download failed"; } |
    { tee "$work/copy" || failed copy "the image's bytes were not all unpacked"; } |
    unpack 2> "$work/unpacking" || failed unpack "unpacking failed: $(tail -n 1 "$work/unpacking")"
fi
wait "$hasher"
got=$(cut -d' ' -f1 "$work/sha256")

if [ -e "$work/failed.download" ]; then cat "$work/failed.download" >&2; exit 1; fi
# a wrong digest explains everything else, and is the daemon's to tell
if [ "$got" = "$IW_SHA256" ]; then
  for failure in "$work"/failed.*; do
    if [ -e "$failure" ]; then cat "$failure" >&2; exit 1; fi
  done
  case $IW_FORMAT in
    ext4+*)
      # resize2fs wants a checked file system; e2fsck says 1 when it mended something
      e2fsck -f -p "$root" > "$work/check" 2>&1 || [ $? -eq 1 ] || { cat "$work/check" >&2; exit 1; }
      resize2fs "$root" > "$work/check" 2>&1 || { cat "$work/check" >&2; exit 1; }
      ;;
  esac
fi
if [ -d "$work/root" ]; then umount "$work/root"; fi
sync
rm -rf "$work"
printf '{"sha256":"%s"}\n' "$got"
