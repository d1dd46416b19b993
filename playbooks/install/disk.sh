# Before every step that writes. Names of disks change between boots: IW_DISK must be the disk the inspection saw, by
# serial, WWN and size, and IW_ROOT, where it is given, the root partition that partition.sh made on that very disk.
disk=$IW_DISK
refuse() { echo "$1; nothing was written" >&2; exit 1; }
shown_by_disk() { lsblk -dno "$1" "$disk" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//'; }

[ -b "$disk" ] || refuse "$disk is not there"
serial=$(shown_by_disk SERIAL)
[ "$serial" = "$IW_SERIAL" ] || refuse "$disk has serial '$serial', the inspection saw '$IW_SERIAL'"
wwn=$(shown_by_disk WWN)
[ "$wwn" = "$IW_WWN" ] || refuse "$disk has WWN '$wwn', the inspection saw '$IW_WWN'"
size=$(blockdev --getsize64 "$disk")
[ "$size" = "$IW_SIZE_BYTES" ] || refuse "$disk has $size bytes, the inspection saw $IW_SIZE_BYTES"

# a `!` in sysfs stands for the slash of names like cciss/c0d0
entry=/sys/class/block/$(printf %s "${disk#/dev/}" | tr / '!')
if [ -n "${IW_ROOT:-}" ]; then
  # without it a shell would make a file of that name, in memory
  [ -b "$IW_ROOT" ] || refuse "$IW_ROOT is not there"
  part=$entry/$(printf %s "${IW_ROOT#/dev/}" | tr / '!')
  [ -e "$part/partition" ] || refuse "$IW_ROOT is no partition of $disk"
  grep -qx 'PARTNAME=ironwright-root' "$part/uevent" || refuse "$IW_ROOT is not the root partition that was made"
fi
