# By OpenSSH's server alone: where another one lets the daemon in, nobody gets to this node's pods from outside.
# The node joins with or without; where it does not work out, what was there before stays, and no key.
sshd=/usr/sbin/sshd
user=ironwright-gateway
home=/var/lib/$user
config=/etc/ssh/sshd_config
own=$config.d/$user.conf

# Whether a configuration, as sshd reads it, lets that user forward and do nothing else
heeded() {
  found=$($sshd -T -f "$1" -C user=$user,host=localhost,addr=127.0.0.1 | grep -c -x -F \
    -e 'maxsessions 0' -e 'allowtcpforwarding local' -e 'allowstreamlocalforwarding no' -e "authorizedkeysfile $home/authorized_keys")
  [ "$found" = 4 ]
}

# $1 before all that is there, if anything; in a copy, for its mode and owner
rewrite() {
  cp -p $config $config.new
  if [ -n "$1" ]; then echo "Include $1"; fi > $config.new
  grep -v -x -F "Include $own" $config >> $config.new || [ $? = 1 ]
}

open_road() {
  [ -x $sshd ] || { echo "there is no OpenSSH server"; exit 1; }
  # sshd wants to see it even to read its configuration, and systemd makes it only where sshd runs by itself
  mkdir -p /run/sshd
  if ! grep -q "^$user:" /etc/passwd; then useradd --system --user-group --no-create-home --home-dir $home --shell /usr/sbin/nologin $user; fi
  # no password fits, and unlike "!" it does not lock the account, which keys would be refused for
  usermod --password '*' $user

  # root's files: whoever becomes that user changes nothing of what it may do
  mkdir -p $home $config.d
  chmod 755 $home $config.d
  # *.conf alone is read
  cat > $own.new <<END
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
  chmod 644 $own.new
  rewrite $own.new
  heeded $config.new || { echo "$config does not heed it"; exit 1; }

  mv $own.new $own
  if ! heeded $config; then
    rewrite $own
    mv $config.new $config
  fi
  rm -f $config.new
  printf 'restrict,port-forwarding,command="/bin/false" %s\n' "$IW_PUBLIC_KEY" > $home/authorized_keys
  chmod 644 $home/authorized_keys
  # one that is started for each connection reads it each time
  if [ -s /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; fi
}

# a function that is asked whether it works goes on after an error, one in a substitution does not
set +e
why=$(set -e; open_road 2>&1)
status=$?
set -e
if [ $status = 0 ]; then
  echo true
  exit 0
fi
rm -f $home/authorized_keys
if grep -q -s -x -F "Include $own" $config; then rewrite '' && mv $config.new $config; fi
rm -f $own $own.new $config.new || true
echo "no way to pods of this node: $why" >&2
printf '"%s"\n' "$(printf %s "$why" | tr '\n"\\' " ''" | tr -cd ' -~' | head -c 300)"
