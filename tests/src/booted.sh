# Boots systemd with the units of netpath: in namespaces for everything, on a copy of this machine's files
# that is kept in memory. NPT_DIR: a directory of the caller's, with `etc` (netpath's configuration) and
# `lib` (its state), which outlive a boot. NPT_UNITS, NPT_PROGRAM: what is installed.
set -e
root=$NPT_DIR/root
mkdir -p "$root"
mount -t tmpfs npt "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay npt -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/all"
cd "$root/all"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs run
mount --bind /dev dev
mkdir -p run/netns etc/netpath var/lib/netpath
mount --bind "$NPT_DIR/etc" etc/netpath
mount --bind "$NPT_DIR/lib" var/lib/netpath
touch usr/bin/netpath
mount --bind "$NPT_PROGRAM" usr/bin/netpath
units=etc/systemd/system
# Nothing of this machine is started but what a boot cannot do without.
rm -rf "$units"
mkdir -p "$units"
cp "$NPT_UNITS"/*.service "$units/"
cat > "$units/npt.target" <<T
[Unit]
Requires=basic.target
After=basic.target
Wants=netpath.service netpath-agent.service
T
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-modules-load.service \
	systemd-sysctl.service systemd-tmpfiles-setup-dev.service systemd-remount-fs.service \
	systemd-random-seed.service systemd-binfmt.service dev-hugepages.mount dev-mqueue.mount \
	sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
	sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount dbus.service dbus.socket; do
	ln -sf /dev/null "$units/$unit"
done
export container=npt
exec chroot . "$NPT_SYSTEMD" --system --unit=npt.target --log-target=journal --show-status=0
