# The image knows how it starts (/usr/lib/ironwright/bootloader DISK ROOT ARGUMENTS); here only the firmware is told.
mount=/mnt/root
mkdir -p $mount
grep -q " $mount " /proc/mounts || mount -t ext4 -o noatime "$IW_ROOT" $mount
made=$(sh $mount/usr/lib/ironwright/bootloader "$IW_DISK" $mount "$IW_ARGUMENTS")
umount $mount

order=
if [ -d /sys/firmware/efi/efivars ]; then
  # entries of an earlier installation first: firmware has little room for them
  for entry in $(efibootmgr | sed -n 's/^Boot\([0-9A-F]*\)\*\{0,1\} ironwright.*/\1/p'); do efibootmgr -q -b "$entry" -B; done
  before=$(efibootmgr | sed -n 's/^BootOrder: //p')
  efibootmgr -q -C -d "$IW_DISK" -p 2 -L ironwright -l '\EFI\BOOT\BOOTX64.EFI'
  # last in the order: the network stays first, so that a release can boot it
  # (installers that put themselves first made servers unreleasable: dsx-ai-factory/infra-controller#884)
  mine=$(efibootmgr | sed -n 's/^Boot\([0-9A-F]*\)\*\{0,1\} ironwright.*/\1/p' | head -n 1)
  [ -n "$mine" ] || { echo "the firmware did not keep the boot entry" >&2; exit 1; }
  order="${before:+$before,}$mine"
  efibootmgr -q -o "$order"
  read=$(efibootmgr | sed -n 's/^BootOrder: //p')
  [ "$read" = "$order" ] || { echo "the firmware's boot order reads back $read, not $order" >&2; exit 1; }
fi
printf '{"order":"%s","made":%s}\n' "$order" "$made"
