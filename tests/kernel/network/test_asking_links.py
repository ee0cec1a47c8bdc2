"""What is asked on a link: leases of real servers, owners of addresses, and the frames that pass."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from asking_ground import descriptors, here, netns, running, until
from grounds import ground, star

from trenza.errors import KernelError, UsageError
from trenza.linux import pcapng
from trenza.linux.asking.dhcp import discover
from trenza.linux.asking.echoes import echo_window
from trenza.linux.asking.frames import FrameWatch, write_pcapng
from trenza.linux.asking.owners import Owner, who_has
from trenza.linux.pcapng import Direction
from trenza.model.names import NicName, NodeName, derived_mac

pytestmark = pytest.mark.kernel

ETH0 = NicName("eth0")


def leasing(directory: Path, first: str, *more: str) -> list[str]:
    last = str(ip_address(first) + 9)
    return [
        "dnsmasq", "-d", "-C", "/dev/null", "-u", "root", "--pid-file=", "--no-resolv", "--no-hosts", "-p", "0",
        "-i", "eth0", f"--dhcp-range={first},{last},255.255.0.0,30m", "--no-ping",
        f"--dhcp-leasefile={directory}/leases-{first}", *more,
    ]  # fmt: skip


def test_every_server_on_the_link_offers_a_lease_and_none_is_taken(tmp_path: Path) -> None:
    with ground() as place:
        place.become(star(3))
        h0 = netns(place, "h0")
        place.run("h0", "ip address flush dev eth0")
        assert discover(h0, ETH0, timeout_s=0.3) == ()
        more = ("--dhcp-option=option:router,10.0.0.254", "--dhcp-option=option:dns-server,10.0.0.53,10.0.0.54")
        with running(place, "h1", leasing(tmp_path, "10.0.1.1", *more)):
            until(lambda: discover(h0, ETH0, settle_s=0), "dnsmasq")
            (offer,) = discover(h0, ETH0)
            assert offer.address in {IPv4Address("10.0.1.1") + number for number in range(10)}
            assert (offer.server, offer.netmask) == (IPv4Address("10.0.0.2"), IPv4Address("255.255.0.0"))
            assert offer.router == IPv4Address("10.0.0.254")
            assert offer.dns == (IPv4Address("10.0.0.53"), IPv4Address("10.0.0.54"))
            assert offer.lease_s == 1800
            with running(place, "h2", leasing(tmp_path, "10.0.2.1")):
                until(lambda: len(discover(h0, ETH0)) == 2, "the rogue server")
        assert not (tmp_path / "leases-10.0.1.1").read_text()
        with pytest.raises(KernelError, match="no such device"):
            discover(h0, NicName("eth9"))
        place.run("h0", "ip link set eth0 down")
        with pytest.raises(KernelError, match="network is down"):
            discover(h0, ETH0)


def test_all_who_claim_an_address_are_found() -> None:
    with ground() as place:
        place.become(star(4))
        macs = [derived_mac("lab", f"h{number}", "eth0") for number in range(4)]
        h0, home, fds = netns(place, "h0"), here(), descriptors()
        assert who_has(h0, ETH0, ip_address("10.0.0.2")) == (Owner(macs[1], 3),)
        assert who_has(h0, ETH0, ip_address("10.0.0.77"), timeout_s=0.3) == ()
        for name in ("h1", "h2"):
            place.run(name, "ip address add 10.0.0.77/16 dev eth0; ip -6 address add fd00::77/64 dev eth0 nodad")
        for address in ("10.0.0.77", "fd00::77"):
            both = who_has(h0, ETH0, ip_address(address))
            assert {owner.mac for owner in both} == set(macs[1:3]), address
        place.run("h0", "ip address flush dev eth0")  # a probe, then
        assert {owner.mac for owner in who_has(h0, ETH0, ip_address("10.0.0.77"))} == set(macs[1:3])
        place.run("h0", "ip -6 address add fd00::1/64 dev eth0 nodad")
        assert {owner.mac for owner in who_has(h0, ETH0, ip_address("fd00::77"))} == set(macs[1:3])
        assert (here(), descriptors()) == (home, fds)
        with pytest.raises(KernelError):
            who_has(h0, NicName("eth9"), ip_address("10.0.0.2"))


def test_frames_that_pass_are_recorded_with_their_times() -> None:
    with ground() as place:
        place.become(star(3))
        h0, lan = netns(place, "h0"), netns(place, "lan")
        to = ip_address("10.0.0.2")
        fds = descriptors()
        mac = derived_mac("lab", "h0", "eth0")
        with (
            FrameWatch(lan, NodeName("lan"), NicName("h0-eth0"), "arp or icmp", source=mac) as asked,
            FrameWatch(lan, NodeName("lan"), None, "icmp", destination=ip_address("10.0.0.1")) as answered,
            FrameWatch(lan, NodeName("lan"), NicName("h2-eth0"), "icmp") as elsewhere,
            FrameWatch(h0, NodeName("h0"), ETH0, limit=2) as few,
        ):
            assert echo_window(h0, to, count=5, interval_s=0.01, timeout_s=5).answered == 5
            assert len(answered.frames()) == 2 * 5  # at both ports
            assert few.await_frames(2, timeout_s=5)
        assert descriptors() == fds
        frames = asked.frames()
        assert [frame.data[12:14] for frame in frames] == [b"\x08\x06"] + [b"\x08\x00"] * 5
        assert all(frame.data[6:12].hex(":") == mac and frame.direction is Direction.IN for frame in frames)
        assert [frame.timestamp_ns for frame in frames] == sorted(frame.timestamp_ns for frame in frames)
        assert {frame.interface.nic for frame in answered.frames()} == {"h0-eth0", "h1-eth0"}
        assert elsewhere.frames() == ()
        assert len(few.frames()) == 2
        assert asked.dropped() == 0
        packets = list(pcapng.read(write_pcapng(frames, comment="evidence")))
        assert [(packet.interface.name, packet.data, packet.timestamp_ns) for packet in packets] == [
            ("lan.h0-eth0", frame.data, frame.timestamp_ns) for frame in frames
        ]
        with pytest.raises(UsageError), FrameWatch(h0, NodeName("h0"), ETH0, "nonsense at all"):
            pass
        with pytest.raises(UsageError), FrameWatch(h0, NodeName("h0"), NicName("eth9")):
            pass
        with pytest.raises(KernelError), FrameWatch(9999, NodeName("h0")):
            pass
