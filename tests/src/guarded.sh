# A copy of this machine's files, kept in memory, with ufw and firewalld in it, which are not installed.
# NPT_ROOT: an empty directory. NPT_FIREWALLS: their files.
set -e
root=$NPT_ROOT
mount -t tmpfs npt "$root"
mkdir "$root/upper" "$root/work" "$root/all"
cp -a "$NPT_FIREWALLS/." "$root/upper/"
mount -t overlay npt -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/all"
cd "$root/all"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs run
mount --bind /dev dev
mkdir -p run/dbus run/lock run/netns
# What their packages' scripts do. Who may ask firewalld is a question for desktops.
mkdir -p etc/ufw
cp usr/share/ufw/ufw.conf usr/share/ufw/iptables/*.rules etc/ufw/
rm -f usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service
exec chroot . dbus-daemon --system --nofork --nopidfile
