/* The floor under trenza's engine: the same namespaces, links, addresses and routes as `bench/engine.py` asks for, made
 * by C that knows nothing but this: no plan, no names, no errors but exit(1). What a general program in another language
 * takes beyond it is what its generality costs.
 *
 *   floor star N | floor line N
 *
 * Prints "built FIRST MIDDLE LAST", descriptors of three of its network namespaces, waits for its standard input to end,
 * and exits, which frees everything.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct node {
	int netns, socket, left, right;
};
struct batch {
	char bytes[1 << 16];
	size_t used, last;
	int count;
};
static int home, next_index = 100;
static struct batch batch;

static void check(long result, const char *what) {
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static void *reserve(size_t size) {
	void *start = batch.bytes + batch.used;
	memset(start, 0, NLMSG_ALIGN(size));
	batch.used += NLMSG_ALIGN(size);
	return start;
}

static void *begin(int type, int flags, size_t body) {
	batch.last = batch.used;
	batch.count++;
	struct nlmsghdr *header = reserve(NLMSG_HDRLEN + body);
	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	return NLMSG_DATA(header);
}

static void finish(void) {
	((struct nlmsghdr *)(batch.bytes + batch.last))->nlmsg_len = batch.used - batch.last;
}

static struct rtattr *attribute(int type, const void *data, size_t size) {
	struct rtattr *start = reserve(RTA_LENGTH(size));
	start->rta_type = type;
	start->rta_len = RTA_LENGTH(size);
	if (data)
		memcpy(RTA_DATA(start), data, size);
	return start;
}

static void number(int type, unsigned value) { attribute(type, &value, sizeof value); }

static void close_nest(struct rtattr *nest) { nest->rta_len = batch.bytes + batch.used - (char *)nest; }

/* Sends the batch; only its last message is acknowledged, refusals come for any. */
static void flush_batch(int sock) {
	char answer[8192];
	if (!batch.count)
		return;
	struct nlmsghdr *last = (void *)(batch.bytes + batch.last);
	last->nlmsg_flags |= NLM_F_ACK;
	last->nlmsg_seq = 1;
	check(send(sock, batch.bytes, batch.used, 0), "send");
	for (int acknowledged = 0; !acknowledged;) {
		int size = recv(sock, answer, sizeof answer, 0);
		check(size, "recv");
		for (struct nlmsghdr *one = (void *)answer; NLMSG_OK(one, size); one = NLMSG_NEXT(one, size)) {
			struct nlmsgerr *error = NLMSG_DATA(one);
			errno = -error->error;
			check(error->error, "netlink");
			acknowledged |= one->nlmsg_seq == 1;
		}
	}
	batch.used = batch.count = 0;
}

static void write_here(const char *path, const char *value) {
	int file = open(path, O_WRONLY | O_CLOEXEC);
	if (file < 0)
		return;
	check(write(file, value, strlen(value)), path);
	close(file);
}

static struct node new_node(void) {
	struct node made = {0};
	int one = 1;
	check(unshare(CLONE_NEWNET), "unshare");
	made.netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	check(made.netns, "netns");
	write_here("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
	write_here("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0");
	write_here("/proc/sys/net/bridge/bridge-nf-call-arptables", "0");
	made.socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	check(made.socket, "socket");
	setsockopt(made.socket, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	check(setns(home, CLONE_NEWNET), "setns");
	return made;
}

static void router(struct node *node) {
	check(setns(node->netns, CLONE_NEWNET), "setns");
	write_here("/proc/sys/net/ipv4/ip_forward", "1");
	write_here("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	write_here("/proc/sys/net/ipv4/ip_default_ttl", "255"); /* 64 is not enough for a line of a hundred */
	check(setns(home, CLONE_NEWNET), "setns");
}

/* The settings that trenza gives every NIC, and a bridge's port besides. */
static void family_settings(int index, int plumbing, int up) {
	struct ifinfomsg *link = begin(RTM_NEWLINK, 0, sizeof *link);
	unsigned char none = 1;
	link->ifi_index = index;
	link->ifi_flags = link->ifi_change = up ? IFF_UP : 0;
	struct rtattr *spec = attribute(IFLA_AF_SPEC, 0, 0), *inet = attribute(AF_INET, 0, 0);
	struct rtattr *conf = attribute(IFLA_INET_CONF, 0, 0);
	number(20, 1); /* IPV4_DEVCONF_PROMOTE_SECONDARIES */
	close_nest(conf);
	close_nest(inet);
	if (plumbing) {
		struct rtattr *inet6 = attribute(AF_INET6, 0, 0);
		attribute(IFLA_INET6_ADDR_GEN_MODE, &none, 1);
		close_nest(inet6);
	}
	close_nest(spec);
	finish();
}

static void set_up(int index) {
	struct ifinfomsg *link = begin(RTM_NEWLINK, 0, sizeof *link);
	link->ifi_index = index;
	link->ifi_flags = link->ifi_change = IFF_UP;
	finish();
}

static void one_end(const char *name, int index) {
	unsigned char mac[6] = {2, 0, index >> 24, index >> 16, index >> 8, index};
	attribute(IFLA_IFNAME, name, strlen(name) + 1);
	attribute(IFLA_ADDRESS, mac, 6);
	number(IFLA_MTU, 1500);
	number(IFLA_NUM_TX_QUEUES, 1);
	number(IFLA_NUM_RX_QUEUES, 1);
}

static void new_veth(const char *name, int index, int bridge, const char *peer, int peer_index, int peer_netns) {
	struct ifinfomsg *link = begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *link);
	link->ifi_index = index;
	link->ifi_flags = link->ifi_change = bridge ? IFF_UP : 0;
	one_end(name, index);
	if (bridge)
		number(IFLA_MASTER, bridge);
	struct rtattr *info = attribute(IFLA_LINKINFO, 0, 0);
	attribute(IFLA_INFO_KIND, "veth", 4);
	struct rtattr *data = attribute(IFLA_INFO_DATA, 0, 0), *other = attribute(VETH_INFO_PEER, 0, 0);
	struct ifinfomsg *far = reserve(sizeof *far);
	far->ifi_index = peer_index;
	one_end(peer, peer_index);
	number(IFLA_NET_NS_FD, peer_netns);
	close_nest(other);
	close_nest(data);
	close_nest(info);
	finish();
}

static void new_bridge(const char *name, int index) {
	struct ifinfomsg *link = begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *link);
	unsigned char mac[6] = {2, 1, 0, 0, 0, 1};
	link->ifi_index = index;
	attribute(IFLA_IFNAME, name, strlen(name) + 1);
	attribute(IFLA_ADDRESS, mac, 6);
	struct rtattr *info = attribute(IFLA_LINKINFO, 0, 0);
	attribute(IFLA_INFO_KIND, "bridge", 6);
	close_nest(info);
	finish();
}

static void new_address(int index, unsigned ip, int length) {
	struct ifaddrmsg *address = begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *address);
	address->ifa_family = AF_INET;
	address->ifa_prefixlen = length;
	address->ifa_index = index;
	number(IFA_LOCAL, htonl(ip));
	number(IFA_ADDRESS, htonl(ip));
	finish();
}

static void new_route(unsigned to, int length, unsigned via, int index) {
	struct rtmsg *route = begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *route);
	route->rtm_family = AF_INET;
	route->rtm_dst_len = length;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_type = RTN_UNICAST;
	if (length)
		number(RTA_DST, htonl(to));
	number(RTA_GATEWAY, htonl(via));
	number(RTA_OIF, index);
	finish();
}

/* Makes the kernel act on a change of carrier now, and not when its link watch comes round. */
static void settle(int sock, const char *name) {
	struct ethtool_value value = {.cmd = ETHTOOL_GLINK};
	struct ifreq request = {.ifr_data = (void *)&value};
	snprintf(request.ifr_name, IFNAMSIZ, "%.15s", name);
	ioctl(sock, SIOCETHTOOL, &request);
}

static void star(struct node *nodes, int count) {
	struct node lan = new_node();
	char name[24];
	int bridge = next_index++;
	for (int i = 0; i < count; i++)
		nodes[i] = new_node();
	new_bridge("lan", bridge);
	set_up(1);
	for (int i = 0; i < count; i++) {
		int port = next_index++;
		nodes[i].left = next_index++;
		snprintf(name, sizeof name, "h%d-eth0", i);
		new_veth(name, port, bridge, "eth0", nodes[i].left, nodes[i].netns);
		family_settings(port, 1, 0);
		if (batch.count >= 128)
			flush_batch(lan.socket);
	}
	flush_batch(lan.socket);
	for (int i = 0; i < count; i++) {
		set_up(1);
		family_settings(nodes[i].left, 0, 1);
		new_address(nodes[i].left, 0x0a000001 + i, 16);
		new_route(0, 0, 0x0a00fffe, nodes[i].left);
		flush_batch(nodes[i].socket);
	}
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof name, "h%d-eth0", i);
		settle(lan.socket, name);
		settle(nodes[i].socket, "eth0");
	}
	set_up(bridge);
	flush_batch(lan.socket);
	settle(lan.socket, "lan");
}

static void line(struct node *nodes, int count) {
	for (int i = 0; i < count; i++)
		nodes[i] = new_node();
	for (int i = 0; i < count; i++)
		router(&nodes[i]);
	for (int i = 0; i + 1 < count; i++) {
		nodes[i].right = next_index++;
		nodes[i + 1].left = next_index++;
		new_veth("right", nodes[i].right, 0, "left", nodes[i + 1].left, nodes[i + 1].netns);
		flush_batch(nodes[i].socket);
	}
	for (int i = 0; i < count; i++) {
		unsigned base = 0x0a000000;
		set_up(1);
		if (i) {
			family_settings(nodes[i].left, 0, 1);
			new_address(nodes[i].left, base + 4 * (i - 1) + 2, 30);
		}
		if (i + 1 < count) {
			family_settings(nodes[i].right, 0, 1);
			new_address(nodes[i].right, base + 4 * i + 1, 30);
		}
		for (int other = 0; other + 1 < count; other++)
			if (other < i - 1)
				new_route(base + 4 * other, 30, base + 4 * (i - 1) + 1, nodes[i].left);
			else if (other > i)
				new_route(base + 4 * other, 30, base + 4 * i + 2, nodes[i].right);
		flush_batch(nodes[i].socket);
	}
	for (int i = 0; i < count; i++) {
		settle(nodes[i].socket, "left");
		settle(nodes[i].socket, "right");
	}
}

int main(int argc, char **argv) {
	struct rlimit limit;
	int count = argc == 3 ? atoi(argv[2]) : 0;
	if (count < 2)
		return 2;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct node *nodes = calloc(count, sizeof *nodes);
	if (strcmp(argv[1], "line"))
		star(nodes, count);
	else
		line(nodes, count);
	printf("built %d %d %d\n", nodes[0].netns, nodes[count / 2].netns, nodes[count - 1].netns);
	fflush(stdout);
	while (read(0, &limit, sizeof limit) > 0)
		;
	return 0;
}
