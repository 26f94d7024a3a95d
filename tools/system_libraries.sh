#!/bin/sh
# Libraries of the system that Open3D loads: installed by apt when root, otherwise the line is shown.
set -eu
packages="libusb-1.0-0 libegl1 libgl1 libgomp1 libx11-6 libudev1 libidn2-0"
[ "$(uname -s)" = Linux ] || exit 0
if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "Open3D needs these libraries from your distribution (Debian names): $packages"
    exit 0
fi
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    echo "installing system libraries:$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Open3D needs system libraries; as root: apt-get install$missing"
fi
