#!/bin/bash
# An object store that speaks S3 over HTTPS: OpenStack Swift, all of it on one Debian host, with the
# bucket `backups`. For tests only. It prints the certificate that it shows.
# $1: the address it answers at; $2, $3: a user, whose key is test:<user>, and its secret.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
apt-get -q -y install --no-install-recommends \
    swift swift-proxy swift-account swift-container swift-object memcached openssl >/dev/null
sed -i 's/^-l .*/-l 127.0.0.1/' /etc/memcached.conf
cd /etc/swift
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=$1" -addext "subjectAltName=IP:$1" \
    -keyout s3.key -out s3.crt 2>/dev/null
chown swift s3.key
install -d -o swift /srv/node/one
port=6200
for service in object container account; do
    cat >$service-server.conf <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
mount_check = false
devices = /srv/node
workers = 1
[pipeline:main]
pipeline = $service-server
[app:$service-server]
use = egg:swift#$service
CONF
    swift-ring-builder $service.builder create 4 1 1 >/dev/null # 16 parts, one copy, in one hour
    swift-ring-builder $service.builder add r1z1-127.0.0.1:$port/one 1 >/dev/null
    swift-ring-builder $service.builder rebalance >/dev/null
    port=$((port + 1))
done
cat >proxy-server.conf <<CONF
[DEFAULT]
bind_ip = 0.0.0.0
bind_port = 443
workers = 2
cert_file = /etc/swift/s3.crt
key_file = /etc/swift/s3.key
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_$2 = $3 .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
CONF
mkdir -p /etc/systemd/system/swift-proxy.service.d
printf '[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n' \
    >/etc/systemd/system/swift-proxy.service.d/port.conf
systemctl daemon-reload
systemctl restart memcached swift-object swift-container swift-account swift-proxy
python3 - "$@" <<'PY'
import ssl
import sys
from urllib.request import Request, urlopen

address, user, secret = sys.argv[1:]
trust = ssl.create_default_context(cafile="/etc/swift/s3.crt")
who = {"X-Auth-User": f"test:{user}", "X-Auth-Key": secret}
answer = urlopen(Request(f"https://{address}/auth/v1.0", headers=who), context=trust)
token = {"X-Auth-Token": answer.headers["X-Auth-Token"]}
bucket = f"https://{address}/v1/AUTH_test/backups"
urlopen(Request(bucket, headers=token, method="PUT"), context=trust)
PY
cat s3.crt
