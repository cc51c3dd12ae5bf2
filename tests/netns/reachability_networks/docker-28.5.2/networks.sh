#!/bin/sh
# Makes a Docker daemon write the rules of this directory: to be run where nothing else of it is, such as
# in a network namespace of its own with an uplink of both families.
#
#   dockerd                          iptables-save > iptables-proxy.rules, ip6tables-save likewise
#   dockerd --userland-proxy=false   iptables-save > iptables-no-proxy.rules, ip6tables-save likewise
#
# Lines that begin with # are taken out. IMAGE is one with a program that does not end, such as busybox.
set -e
image=${1:?IMAGE} command=${2:-"sleep 100000"}
mode=com.docker.network.bridge.gateway_mode
network() {
    name=$1 number=$2
    shift 2
    docker network create --ipv6 --subnet "172.$number.0.0/16" --subnet "fd00:$number::/64" \
        -o "com.docker.network.bridge.name=br-$name" "$@" "$name"
}
container() {
    name=$1 network=$2 number=$3 host=$4
    shift 4
    docker run -d --name "$name" --network "$network" --ip "172.$number.0.$host" \
        --ip6 "fd00:$number::$host" "$@" "$image" $command
}
network nat 20
network routed 21 -o "${mode}_ipv4=routed" -o "${mode}_ipv6=routed"
network internal 22 --internal
network isolated 23 --internal -o "${mode}_ipv4=isolated" -o "${mode}_ipv6=isolated"
network icc-off 24 -o com.docker.network.bridge.enable_icc=false
network other 30
subnet=20
for kind in nat routed internal isolated icc-off; do
    inside=$((100 + 10 * (subnet - 20)))
    ports=
    for protocol in tcp udp; do
        for i in 0 1 2; do
            ports="$ports -p $((inside + i + 7900)):$((inside + i))/$protocol"
        done
        for address in 127.0.0.1 '[::1]'; do
            ports="$ports -p $address:$((inside + 7903)):$((inside + 3))/$protocol"
        done
    done
    container "s-$kind" "$kind" "$subnet" 2 $ports
    container "n-$kind" "$kind" "$subnet" 3
    subnet=$((subnet + 1))
done
container other other 30 2
