# Everything that makes this machine itself. Its host key is made here and never leaves it: only the public half is told.
mount=/mnt/root
mkdir -p $mount
grep -q " $mount " /proc/mounts || mount -t ext4 -o noatime "$IW_ROOT" $mount

printf '%s\n' "$IW_HOSTNAME" > $mount/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$IW_HOSTNAME" > $mount/etc/hosts
# empty: systemd makes a new one at the first start
: > $mount/etc/machine-id
rm -f $mount/var/lib/dbus/machine-id $mount/var/lib/systemd/random-seed

mkdir -p $mount/root/.ssh $mount/etc/ssh
chmod 700 $mount/root $mount/root/.ssh
printf '%s\n' "$IW_AUTHORIZED_KEY" > $mount/root/.ssh/authorized_keys
chmod 600 $mount/root/.ssh/authorized_keys

key=$mount/etc/ssh/ssh_host_ed25519_key
rm -f $mount/etc/ssh/ssh_host_*
if [ -x $mount/usr/bin/ssh-keygen ]; then
  chroot $mount /usr/bin/ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
  public=$(cut -d' ' -f1,2 "$key.pub")
else
  dropbearkey -t ed25519 -f /run/ironwright/system_key > /run/ironwright/system_key.txt 2>&1
  dropbearconvert dropbear openssh /run/ironwright/system_key "$key" 2> /dev/null
  public=$(grep -o '^ssh-ed25519 [A-Za-z0-9+/=]*' /run/ironwright/system_key.txt)
  rm -f /run/ironwright/system_key
fi
chmod 600 "$key"
[ -n "$public" ] || { echo "no host key was made" >&2; exit 1; }

umount $mount
sync
printf '{"hostKey":"%s"}\n' "$public"
