# One pass: download -> sha256 beside -> unpack -> root partition. The image is used only when the digest is right:
# the bootloader comes after this step, so a bad image is never started.
root=$IW_ROOT
work=$(mktemp -d)
grep -q "^$root " /proc/mounts && umount "$root"

case $IW_FORMAT in
  ext4+lz4) unpack() { lz4 -dc; } ;;
  ext4+zstd) unpack() { zstd -dc -q; } ;;
  tar+zstd) unpack() { zstd -dc -q; } ;;
  *) echo "unknown format $IW_FORMAT" >&2; exit 1 ;;
esac
case $IW_FORMAT in
  ext4+*)
    # past the page cache: the pages would be copied once more, and the memory is needed for pods' images later
    write() { dd of="$root" bs=4M iflag=fullblock oflag=direct conv=notrunc status=none; }
    ;;
  tar+*)
    mkfs.ext4 -q -F -L ironwright -E lazy_itable_init=1,lazy_journal_init=1 "$root"
    mkdir -p "$work/root"
    mount -t ext4 -o noatime "$root" "$work/root"
    write() { tar -C "$work/root" -xf -; }
    ;;
esac

# a pipe's status is its last command's: the others leave theirs in files
mkfifo "$work/copy"
sha256sum < "$work/copy" | cut -d' ' -f1 > "$work/sha256" &
hasher=$!
{ wget -q -O - "$IW_URL" || echo "the download failed" > "$work/download"; } |
  { tee "$work/copy" || echo "the copy failed" > "$work/tee"; } |
  { unpack || echo "unpacking failed" > "$work/unpack"; } |
  write || echo "writing to $root failed" > "$work/write"
wait "$hasher"

got=$(cat "$work/sha256")
printf '{"sha256":"%s"}\n' "$got"
# the digest first: it explains a failed unpacking
if [ "$got" = "$IW_SHA256" ]; then
  for failure in "$work/download" "$work/tee" "$work/unpack" "$work/write"; do
    [ ! -s "$failure" ] || { cat "$failure" >&2; exit 1; }
  done
else
  [ ! -s "$work/download" ] || { cat "$work/download" >&2; exit 1; }
fi

case $IW_FORMAT in
  ext4+*)
    if [ "$got" = "$IW_SHA256" ]; then
      # resize2fs wants a checked file system; e2fsck says 1 when it mended something
      e2fsck -f -p "$root" > "$work/fsck" 2>&1 || [ $? -eq 1 ] || { cat "$work/fsck" >&2; exit 1; }
      resize2fs "$root" > "$work/resize" 2>&1 || { cat "$work/resize" >&2; exit 1; }
    fi
    ;;
  tar+*) umount "$work/root" ;;
esac
rm -rf "$work"
