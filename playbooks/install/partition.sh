# IW_DISK gets a GPT with: 1 BIOS boot (for GRUB), 2 EFI system partition, 3 root.
# Before it run disk.sh and consent.sh: it is the disk the inspection saw, and it may be written.
for mounted in $(awk -v disk="$disk" 'index($1, disk) == 1 { print $2 }' /proc/mounts | sort -r); do umount "$mounted"; done

# old file systems and RAID metadata must not come to life again; a disk that cannot discard is overwritten by use
wipefs --quiet --all --force "$disk"
# by path: busybox prefers its own applet, which does not know the option
"$(which blkdiscard)" --force "$disk" 2> /dev/null || true
sfdisk --quiet --no-reread --wipe always --wipe-partitions always "$disk" <<END
label: gpt
label-id: $IW_CLAIM_UID
first-lba: 2048
size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name="ironwright-bios"
size=64MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="ironwright-esp"
type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name="ironwright-root"
END
blockdev --rereadpt "$disk" 2> /dev/null || partprobe "$disk"

case $disk in *[0-9]) part=${disk}p ;; *) part=$disk ;; esac
tries=50
until [ -b "${part}3" ]; do
  tries=$((tries - 1))
  [ $tries -gt 0 ] || { echo "the kernel does not see ${part}3" >&2; exit 1; }
  sleep 0.1
done
mkfs.fat -F 32 -n ESP "${part}2" > /dev/null
printf '{"root":"%s","esp":"%s"}\n' "${part}3" "${part}2"
