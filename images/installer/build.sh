#!/bin/bash
# build.sh OUT [vm|hardware]: the installer, a kernel and an initramfs that answers SSH seconds after power-on.
# vm: Debian's cloud kernel and the drivers virtual machines need. hardware: the generic kernel and servers' drivers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../debian.sh
. "$here/../debian.sh"

out=${1:?usage: build.sh OUT [vm|hardware]}
flavour=${2:-vm}
case $flavour in
  vm) kernel_package=linux-image-cloud-amd64 ;;
  hardware) kernel_package=linux-image-amd64 ;;
  *) say "unknown flavour $flavour: expected vm or hardware"; exit 2 ;;
esac

mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
donor=$work/donor
root=$work/root

packages="$kernel_package,busybox-static,dropbear-bin,fdisk,util-linux,e2fsprogs,dosfstools,zstd,lz4,kexec-tools,dmidecode,pciutils,efibootmgr,kmod,iproute2,coreutils,diffutils"
# extract: the packages' files alone; none of their scripts run, nothing of them is configured
debian_root "$donor" extract "$packages"

release=$(basename "$(echo "$donor"/lib/modules/*)")
say "installer: kernel $release"

mkdir -p "$root"/{bin,dev,etc/dropbear,etc/ironwright,mnt,proc,root/.ssh,run,sys,tmp,usr/lib/x86_64-linux-gnu,usr/lib64,usr/sbin,var/log}
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
ln -s usr/sbin "$root/sbin"

# programs, and the libraries the loader says they need; sha256sum and cmp are many times busybox's speed
programs="sfdisk mke2fs mkfs.fat wipefs blkdiscard lsblk blkid zstd lz4 lspci dmidecode efibootmgr lscpu resize2fs e2fsck kexec
  dropbear dropbearkey dropbearconvert kmod ip sha256sum cmp"
for program in $programs; do
  file=
  for dir in usr/sbin usr/bin sbin bin; do
    if [ -e "$donor/$dir/$program" ]; then file=/$dir/$program; break; fi
  done
  [ -n "$file" ] || { say "the packages carry no $program"; exit 1; }
  cp -L "$donor$file" "$root/usr/sbin/$program"
  chroot "$donor" /lib64/ld-linux-x86-64.so.2 --list "$file" | awk '$2 == "=>" { print $3 } $1 ~ /^\/lib/ { print $1 }' >> "$work/libraries"
done
# statically linked busybox loads the resolver from the same directory as everybody
sort -u "$work/libraries" | while read -r library; do cp -L "$donor$library" "$root/usr/lib/x86_64-linux-gnu/"; done
cp -L "$donor"/lib/x86_64-linux-gnu/libresolv.so.2 "$root/usr/lib/x86_64-linux-gnu/"
cp -L "$donor/lib64/ld-linux-x86-64.so.2" "$root/usr/lib64/"
for name in modprobe insmod lsmod depmod rmmod; do ln -s kmod "$root/usr/sbin/$name"; done
ln -s mke2fs "$root/usr/sbin/mkfs.ext4"
cp "$donor/etc/mke2fs.conf" "$root/etc/"

cp "$donor/bin/busybox" "$root/bin/busybox"
chroot "$donor" /bin/busybox --list | grep -vx busybox | while read -r applet; do
  [ -e "$root/usr/sbin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
ln -s bin/busybox "$root/init"

# drivers: those named, those of the directories named, and what they depend on
source=$donor/lib/modules/$release
mkdir -p "$root/usr/lib/modules/$release"
depmod -b "$donor" "$release"
{
  grep -v '^#' "$here/modules.$flavour" | while read -r entry; do
    case $entry in
      '') ;;
      */) if [ -d "$source/kernel/$entry" ]; then find "$source/kernel/$entry" -name '*.ko' -printf '%f\n' | sed 's/\.ko$//'; fi ;;
      *) echo "$entry" ;;
    esac
  done
} | sort -u | while read -r module; do
  # a module that is built in, or absent from this kernel, is no error
  modprobe -d "$donor" -S "$release" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" { print $2 }' || true
done | sort -u | while read -r file; do
  install -D -m 644 "$file" "$root/usr/lib/modules/$release/${file#*"lib/modules/$release/"}"
done
cp "$source"/modules.{order,builtin,builtin.modinfo} "$root/usr/lib/modules/$release/"
depmod -b "$root" "$release"

cp -r "$here/etc/." "$root/etc/"
chmod 755 "$root/etc/ironwright/boot" "$root/etc/ironwright/lease"
chmod 700 "$root/root" "$root/root/.ssh"

find "$root" -exec touch -h -d @0 {} +
( cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --owner 0:0 ) | zstd -q -f -15 -T0 -o "$out/initrd"
cp "$donor/boot/vmlinuz-$release" "$out/vmlinuz"
say "installer: vmlinuz $(stat -c %s "$out/vmlinuz") bytes, initrd $(stat -c %s "$out/initrd") bytes, unpacked $(du -sm "$root" | cut -f1) MiB"
