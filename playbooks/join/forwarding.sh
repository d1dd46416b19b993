# By OpenSSH's server alone: where another one lets the daemon in, nobody gets to this node's pods from outside.
sshd=/usr/sbin/sshd
if [ ! -x $sshd ]; then
  echo "no OpenSSH server: pods of this node are not reached through it" >&2
  exit 0
fi
user=ironwright-gateway
home=/var/lib/$user
config=/etc/ssh/sshd_config

if ! grep -q "^$user:" /etc/passwd; then useradd --system --user-group --no-create-home --home-dir $home --shell /usr/sbin/nologin $user; fi
# no password fits, and unlike "!" it does not lock the account, which keys would be refused for
usermod --password '*' $user

# root's files: whoever becomes that user changes nothing of what it may do
mkdir -p $home $config.d
chmod 755 $home $config.d
printf 'restrict,port-forwarding,command="/bin/false" %s\n' "$IW_PUBLIC_KEY" > $home/authorized_keys
cat > $config.d/$user.conf <<END
Match User $user
  AuthorizedKeysFile $home/authorized_keys
  AuthenticationMethods publickey
  AllowTcpForwarding local
  AllowStreamLocalForwarding no
  AllowAgentForwarding no
  X11Forwarding no
  PermitTunnel no
  PermitTTY no
  MaxSessions 0
  ForceCommand /bin/false
END
chmod 644 $home/authorized_keys $config.d/$user.conf

effective() { $sshd -T -C user=$user,host=localhost,addr=127.0.0.1 | grep -c -x -e 'maxsessions 0' -e 'allowtcpforwarding local'; }
if [ "$(effective)" != 2 ]; then
  { echo "Include $config.d/*.conf"; cat $config; } > $config.new
  chmod 644 $config.new
  mv $config.new $config
fi
[ "$(effective)" = 2 ] || { echo "$config does not heed $config.d/$user.conf" >&2; exit 1; }
# one that is started for each connection reads it each time
if [ -s /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; fi
