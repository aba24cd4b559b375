//! Whether somebody listens on a socket's own address: the role of a connection that is older than the probe.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock, bpf_sock_tuple},
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp},
};

const AF_INET: u32 = 2;
const TCP_LISTEN: u32 = 10;
/// `BPF_F_CURRENT_NETNS`
pub const CURRENT: u64 = u64::MAX;

/// Looks for a listener on the local address and port of a connected socket (kernel 5.2 for `bpf_skc_lookup_tcp`).
#[inline(always)]
pub fn listens(skb: *mut __sk_buff, sk: *mut bpf_sock) -> bool {
    // SAFETY: zero is a tuple: the remote end that nobody has, so that only a listener can match.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    // SAFETY: fields of a full socket, and of a union of integers. One by one and volatile: the verifier allows no
    // pointer into a socket but the socket itself.
    let size = unsafe {
        let port = ((*sk).src_port as u16).to_be();
        if (*sk).family == AF_INET {
            tuple.__bindgen_anon_1.ipv4.daddr = (*sk).src_ip4;
            tuple.__bindgen_anon_1.ipv4.dport = port;
            size_of_val(&tuple.__bindgen_anon_1.ipv4)
        } else {
            tuple.__bindgen_anon_1.ipv6.daddr = [
                (&raw const (*sk).src_ip6[0]).read_volatile(),
                (&raw const (*sk).src_ip6[1]).read_volatile(),
                (&raw const (*sk).src_ip6[2]).read_volatile(),
                (&raw const (*sk).src_ip6[3]).read_volatile(),
            ];
            tuple.__bindgen_anon_1.ipv6.dport = port;
            size_of_val(&tuple.__bindgen_anon_1.ipv6)
        }
    };
    // SAFETY: a tuple of that size; the socket that comes back is released.
    unsafe {
        let found = bpf_skc_lookup_tcp(skb.cast(), &raw mut tuple, size as u32, CURRENT, 0);
        if found.is_null() {
            return false;
        }
        let listens = (*found).state == TCP_LISTEN;
        bpf_sk_release(found.cast());
        listens
    }
}
