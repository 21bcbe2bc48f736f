//! Tells addresses of the public internet from others. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of `address` when it is outside the public internet, for messages.
#[doc(hidden)]
pub fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => not_public_v4(v4),
        IpAddr::V6(v6) => not_public_v6(v6),
    }
}

/// The kind of `address` when no request may go to it, not even one that private addresses are allowed for: services that hand
/// out credentials, and addresses that are no single host of a network.
#[doc(hidden)]
pub fn never_allowed(address: IpAddr) -> Option<&'static str> {
    not_public(address).filter(|kind| {
        ["cloud metadata", "link-local", "multicast", "no host"].iter().any(|never| kind.contains(never))
    })
}

/// The IP address that a URL's host is; `None` for a name.
#[doc(hidden)]
pub fn literal_ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether resolvers would read this host name as an address: `127.1`, `0x7f000001`, `2130706433`.
pub(crate) fn is_numeric_name(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    literal_ip(host).is_none()
        && (digits(last) || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())))
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        // Metadata services of clouds hand credentials to every local client.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => {
            "an address of cloud metadata"
        }
        [0, ..] => "an address of no host",
        [127, ..] => "a loopback address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "a private address of a carrier",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => "a reserved address",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address for documentation",
        [198, 18..=19, ..] => "an address for benchmarks",
        [224..=239, ..] => "a multicast address",
        _ => return None,
    })
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let embedded =
        |high: u16, low: u16| not_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    Some(match address.segments() {
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => "an address of cloud metadata",
        [0, 0, 0, 0, 0, 0, 0, 0] => "an address of no host",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        // An IPv4 address inside an IPv6 one: mapped, translated (NAT64), tunnelled (6to4).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            return embedded(high, low);
        }
        [0x2002, high, low, ..] => return embedded(high, low),
        [0xfc00..=0xfdff, ..] => "a private address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfec0..=0xfeff, ..] => "a private address",
        [0xff00..=0xffff, ..] => "a multicast address",
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => "an address for documentation",
        // Teredo, its neighbours, and everything that is not global unicast.
        [0x2001, 0..=0x01ff, ..] => "a reserved address",
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<&'static str> {
        not_public(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_pass() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.0.1",
            "169.253.0.1",
            "223.255.255.255",
            "198.17.0.1",
            "198.20.0.1",
            "2606:4700:4700::1111",
            "2a00::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ];
        for address in public {
            assert_eq!(kind(address), None, "{address}");
        }
    }

    #[test]
    fn non_public_addresses_are_refused_in_any_notation() {
        let refused = [
            ("loopback", "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::"),
            ("no host", "0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0"),
            (
                "private",
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 fc00::1 fdff::1 fec0::1 ::ffff:10.0.0.1",
            ),
            (
                "metadata",
                "169.254.169.254 fd00:ec2::254 100.100.100.200 168.63.129.16 ::ffff:169.254.169.254 2002:a9fe:a9fe::1",
            ),
            ("link-local", "169.254.0.1 fe80::1 febf::1"),
            ("multicast", "224.0.0.1 239.255.255.255 ff02::1"),
            (
                "reserved",
                "240.0.0.1 255.255.255.255 192.0.0.1 192.88.99.1 ::2 ::127.0.0.1 100::1 64:ff9b:1::1 2001::1 4000::1 5f00::1",
            ),
            ("documentation", "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1"),
            ("benchmarks", "198.18.0.1 198.19.255.255"),
        ];
        for (word, addresses) in refused {
            for address in addresses.split(' ') {
                assert!(
                    kind(address).is_some_and(|kind| kind.contains(word)),
                    "{address}: {:?}",
                    kind(address)
                );
            }
        }
    }

    #[test]
    fn metadata_and_link_local_addresses_are_never_allowed() {
        let never = |text: &str| never_allowed(text.parse().unwrap()).is_some();
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "224.0.0.1",
            "0.0.0.0",
        ] {
            assert!(never(address), "{address}");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "100.64.0.1", "8.8.8.8"] {
            assert!(!never(address), "{address}");
        }
    }

    #[test]
    fn host_is_literal_disguised_number_or_name() {
        assert_eq!(literal_ip("[::1]"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(literal_ip("10.0.0.1"), Some(Ipv4Addr::new(10, 0, 0, 1).into()));
        for name in ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "a.0x7f", "1.2.3.4.5"] {
            assert!(is_numeric_name(name), "{name}");
        }
        for name in ["localhost", "10.example.com", "0xcafe.example", "a1", "10.0.0.1", "[::1]"] {
            assert!(!is_numeric_name(name), "{name}");
        }
    }
}
