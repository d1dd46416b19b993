#!/bin/bash
# build.sh OUT --kubelet FILE --native FILE --oci DIR [--flavour vm]: the node's operating system as one file system image.
# OUT gets root.ext4.lz4, image.json {file, sha256, format, sizeBytes} and the list of its packages.
# DIR is what images/oci/build.sh made.
#
# The image holds no host key, no machine id, no credential. It makes itself bootable:
# /usr/lib/ironwright/bootloader, run by the install playbook, knows BIOS and UEFI.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../debian.sh
. "$here/../debian.sh"

usage() { say "usage: build.sh OUT --kubelet FILE --native FILE --oci DIR [--flavour vm]"; exit 2; }
out=${1:-}; [ -n "$out" ] || usage
shift
flavour=vm kubelet= native= oci=
while [ $# -gt 0 ]; do
  case $1 in
    --kubelet) kubelet=$2 ;;
    --native) native=$2 ;;
    --oci) oci=$2 ;;
    --flavour) flavour=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[ -f "$kubelet" ] && [ -f "$native" ] && [ -d "$oci" ] || usage
case $flavour in
  vm) kernel_package=linux-image-cloud-amd64 ;;
  *) usage ;;
esac

mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf --one-file-system "$work"' EXIT
root=$work/root
donor=$work/donor

# kernel and GRUB come as files: their package scripts have nothing to do in an image
debian_root "$donor" extract "$kernel_package,grub-common,grub-pc-bin,grub-efi-amd64-bin" &
donor_job=$!
packages=systemd,systemd-sysv,udev,dbus,kmod,iproute2,iptables,openssh-server,containerd,runc,containernetworking-plugins
packages=$packages,busybox-static,ca-certificates,e2fsprogs
debian_root "$root" essential "$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*'
wait "$donor_job"
say "node: packages are unpacked, $(du -sm "$root" | cut -f1) MiB"

# kernel: the vm flavour boots without an initramfs, so it needs its disk's driver built in (NVMe is)
release=$(basename "$(echo "$donor"/lib/modules/*)")
source=$donor/lib/modules/$release
depmod -b "$donor" "$release"
mkdir -p "$root/boot" "$root/usr/lib/modules/$release"
cp "$donor/boot/vmlinuz-$release" "$root/boot/vmlinuz"
grep -v '^#' "$here/modules.vm" | while read -r entry; do
  case $entry in
    '') ;;
    */) if [ -d "$source/kernel/$entry" ]; then find "$source/kernel/$entry" -name '*.ko' -printf '%f\n' | sed 's/\.ko$//'; fi ;;
    *) echo "$entry" ;;
  esac
done | sort -u | while read -r module; do
  # a module that is built in, or absent from this kernel, is no error
  modprobe -d "$donor" -S "$release" --show-depends "$module" 2> /dev/null | awk '$1 == "insmod" { print $2 }' || true
done | sort -u | while read -r file; do
  install -D -m 644 "$file" "$root/usr/lib/modules/$release/${file#*"lib/modules/$release/"}"
done
cp "$source"/modules.{order,builtin,builtin.modinfo} "$root/usr/lib/modules/$release/"
depmod -b "$root" "$release"

# GRUB: one core image a firmware, made here, so that no machine needs the tools. UEFI starts it from the ESP; grub-core.cfg,
# which knows no comments, goes on to the third partition of the same disk. BIOS: the prefix says the same
boot=$root/usr/lib/ironwright/boot
mkdir -p "$boot"
cp "$here/grub-core.cfg" "$donor/core.cfg"
chroot "$donor" /usr/bin/grub-mkimage -O i386-pc -d /usr/lib/grub/i386-pc -p '(,gpt3)/boot/grub' -o /core.img \
  biosdisk part_gpt ext2 normal configfile linux echo serial terminal test sleep reboot
chroot "$donor" /usr/bin/grub-mkimage -O x86_64-efi -d /usr/lib/grub/x86_64-efi -p /boot/grub -c /core.cfg -o /bootx64.efi \
  part_gpt ext2 fat regexp normal configfile linux echo serial terminal test sleep reboot
cp "$donor/usr/lib/grub/i386-pc/boot.img" "$donor/core.img" "$donor/bootx64.efi" "$boot/"

# programs of our own, files laid over
install -m 755 "$kubelet" "$root/usr/bin/kubelet"
install -m 755 "$native" "$root/usr/bin/ironwright-native"
cp -r "$here/files/." "$root/"
chmod 755 "$root"/usr/lib/ironwright/{bootloader,network,lease}

# units: what a node does not need is masked, what it needs is enabled by link
grep -v '^#' "$here/units.masked" | while read -r unit; do [ -z "$unit" ] || ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
rm -rf "$root"/etc/systemd/system/*.wants
# nobody logs in before the daemon does: the bus and the power button's listener come once the node has had time to join
rm -f "$root"/lib/systemd/system/multi-user.target.wants/{dbus,systemd-logind}.service "$root/lib/systemd/system/sockets.target.wants/dbus.socket"
# each generator is a program run before the first unit
for generator in "$root"/lib/systemd/system-generators/*; do
  case ${generator##*/} in systemd-fstab-generator | systemd-debug-generator) ;; *) rm "$generator" ;; esac
done
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
for unit in ironwright-network.service ironwright-modules.service ironwright-late.timer ssh.service containerd.service kubelet.service ironwright-device-plugin.service; do
  ln -s "/etc/systemd/system/$unit" "$root/etc/systemd/system/multi-user.target.wants/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

"$here/preload.sh" "$root" "$oci"/*.tar

# what no node runs
rm -rf "$root"/usr/bin/{ctr,containerd-stress,containerd-shim,containerd-shim-runc-v1,perl*,deb-systemd-*} "$root"/usr/lib/x86_64-linux-gnu/{perl*,libperl*}
rm -rf "$root"/usr/share/{perl*,i18n,zoneinfo,bug,lintian,bash-completion,pixmaps,zsh,common-licenses/*} "$root"/var/cache/* "$root"/var/lib/apt "$root"/var/log/*
rm -rf "$root"/usr/lib/x86_64-linux-gnu/gconv "$root"/usr/lib/udev/hwdb* "$root"/etc/udev/hwdb* "$root"/var/lib/dpkg/info "$root"/var/lib/dpkg/*-old
for plugin in "$root"/usr/lib/cni/*; do case ${plugin##*/} in bridge | host-local | loopback | portmap) ;; *) rm "$plugin" ;; esac; done
# what makes a machine itself is made on the machine
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/hostname "$root"/var/lib/dbus/machine-id "$root"/var/lib/systemd/random-seed "$root"/etc/apt/sources.list
: > "$root/etc/machine-id"
mkdir -p "$root"/etc/{kubernetes,cni/net.d,ironwright} "$root"/boot/{grub,efi} "$root/root/.ssh"
chmod 700 "$root/root/.ssh" "$root/etc/kubernetes"
dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Package} ${Version}\n' > "$root/usr/lib/ironwright/packages"
cp "$root/usr/lib/ironwright/packages" "$out/packages"

# ext4, just large enough: the install playbook grows it to its partition
bytes=$(du -s --apparent-size -B1 "$root" | cut -f1)
inodes=$(( $(find "$root" | wc -l) + 4096 ))
truncate -s $(( bytes + bytes / 10 + 64 * 1024 * 1024 )) "$work/root.ext4"
mke2fs -q -F -t ext4 -L ironwright -b 4096 -N "$inodes" -m 0 -J size=16 -O ^metadata_csum_seed,^orphan_file \
  -E "lazy_itable_init=1,resize=$((1 << 30))" -d "$root" "$work/root.ext4" 2> "$work/mke2fs.log" || { cat "$work/mke2fs.log" >&2; exit 1; }
resize2fs -M "$work/root.ext4" > /dev/null 2>&1
# a higher level takes a minute more and saves 2 %
lz4 -q -f -4 "$work/root.ext4" "$out/root.ext4.lz4"
sha=$(sha256sum < "$out/root.ext4.lz4" | cut -d' ' -f1)
printf '{"file":"root.ext4.lz4","sha256":"%s","format":"ext4+lz4","sizeBytes":%s}\n' "$sha" "$(stat -c %s "$work/root.ext4")" > "$out/image.json"
say "node: $(du -sm "$root" | cut -f1) MiB of files, $(stat -c %s "$work/root.ext4") bytes of ext4, $(stat -c %s "$out/root.ext4.lz4") packed"
