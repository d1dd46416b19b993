# IW_DISKS: one disk a line, "PATH SIZE SERIAL" as the inspection saw it (the serial in base64).
# Exit status 3: a disk is there that the inventory does not know, or one is missing. Nothing was wiped then.
# by path: busybox prefers its own applet of that name, which knows none of the options
blkdiscard=$(which blkdiscard)
unproven() { echo "unproven $1 $2" >&2; exit 3; }
serial_of() { lsblk -dno SERIAL "$1" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//' | tr -d '\n' | base64 | tr -d '\n'; }

known=$(mktemp)
printf '%s\n' "$IW_DISKS" > "$known"
while read -r path size serial; do
  [ -n "$path" ] || continue
  [ -b "$path" ] || unproven "$path" "it is not there any more"
  [ "$(blockdev --getsize64 "$path")" = "$size" ] || unproven "$path" "its size changed"
  [ "$(serial_of "$path")" = "${serial:-}" ] || unproven "$path" "its serial changed"
done < "$known"
for entry in /sys/class/block/*; do
  [ ! -e "$entry/partition" ] && [ -e "$entry/device" ] || continue
  name=${entry##*/}
  case $name in sr* | fd* | mtd* | nvme*c*n*) continue ;; esac
  [ "$(cat "$entry/size")" -gt 0 ] && [ "$(cat "$entry/ro")" = 0 ] || continue
  grep -q "^/dev/$(echo "$name" | tr '!' '/') " "$known" || unproven "/dev/$name" "the inventory does not know it"
done

# a step of an earlier attempt may have left it mounted
for mounted in $(awk '$1 ~ /^\/dev\// { print $2 }' /proc/mounts | sort -r); do umount "$mounted"; done

# boot entries of ours name a disk that holds nothing any more
if [ -d /sys/firmware/efi/efivars ]; then
  for entry in $(efibootmgr | sed -n 's/^Boot\([0-9A-F]*\)\*\{0,1\} ironwright.*/\1/p'); do efibootmgr -q -b "$entry" -B; done
fi

format() { # PATH: an NVMe format with user data erase; `format` without it erases nothing on many drives
  command -v nvme > /dev/null && nvme format "$1" --ses=1 --force > /dev/null 2>&1
}

printf '['
comma=
while read -r path size serial; do
  [ -n "$path" ] || continue
  wipefs --quiet --all --force "$path"
  case $IW_POLICY in
    discard)
      if format "$path"; then
        method=nvme-format
      elif "$blkdiscard" --force "$path" 2> /run/ironwright/discard; then
        method=discard
      else
        unproven "$path" "it cannot discard ($(tail -n 1 /run/ironwright/discard)); its class could say wipe: zero"
      fi
      ;;
    zero)
      # blkdiscard --zeroout lets the device write the zeros itself where it can
      "$blkdiscard" --force --zeroout --step 1G "$path" 2> /run/ironwright/discard || unproven "$path" "$(tail -n 1 /run/ironwright/discard)"
      method=zero
      ;;
    *) echo "unknown policy $IW_POLICY" >&2; exit 1 ;;
  esac
  blockdev --flushbufs "$path"
  printf '%s{"path":"%s","method":"%s"}' "$comma" "$path" "$method"
  comma=,
done < "$known"
printf ']\n'
sync
