//! The networks that hold an address, found by one search among their bounds.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::rules::matcher::atoms::AtomId;
use crate::rules::matcher::marks::Marks;

/// Networks of both families.
#[derive(Debug, Default)]
pub struct Networks {
    v4: Family,
    v6: Family,
}

/// Networks are nested or apart, so the innermost of an address leads to all others.
#[derive(Debug, Default)]
struct Family {
    /// Where the innermost network changes, and to which.
    bounds: Vec<(u128, Option<u32>)>,
    /// Each network's atom and the next larger network.
    nested: Vec<(AtomId, Option<u32>)>,
}

impl Networks {
    /// Takes distinct networks; `None` when there are none.
    pub fn new(networks: &[(IpNet, AtomId)]) -> Option<Self> {
        let range = |network: &IpNet| (number(network.network()), number(network.broadcast()));
        let family = |v4: bool| {
            let own = networks.iter().filter(|(network, _)| network.addr().is_ipv4() == v4);
            Family::new(own.map(|(network, atom)| (range(network), *atom)).collect())
        };
        (!networks.is_empty()).then(|| Self { v4: family(true), v6: family(false) })
    }

    /// Marks each network that holds the address.
    pub fn find(&self, address: IpAddr, marks: &mut Marks) {
        let family = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        family.find(number(address), marks);
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl Family {
    fn new(mut networks: Vec<((u128, u128), AtomId)>) -> Self {
        networks.sort_by_key(|((first, last), _)| (*first, std::cmp::Reverse(*last)));
        let mut out = Self::default();
        let mut open: Vec<(u32, u128)> = Vec::new();
        for ((first, last), atom) in networks {
            while let Some((_, end)) = open.pop_if(|(_, end)| *end < first) {
                out.bound(end.checked_add(1), open.last().map(|(number, _)| *number));
            }
            let number = u32::try_from(out.nested.len()).expect("fewer than four billion networks fit into memory");
            out.nested.push((atom, open.last().map(|(number, _)| *number)));
            out.bound(Some(first), Some(number));
            open.push((number, last));
        }
        while let Some((_, end)) = open.pop() {
            out.bound(end.checked_add(1), open.last().map(|(number, _)| *number));
        }
        out
    }

    /// A later bound at the same address takes the earlier one's place.
    fn bound(&mut self, at: Option<u128>, innermost: Option<u32>) {
        let Some(at) = at else { return };
        self.bounds.pop_if(|(last, _)| *last == at);
        self.bounds.push((at, innermost));
    }

    fn find(&self, address: u128, marks: &mut Marks) {
        let after = self.bounds.partition_point(|(bound, _)| *bound <= address);
        let mut innermost = after.checked_sub(1).and_then(|before| self.bounds[before].1);
        while let Some(number) = innermost {
            let (atom, outer) = self.nested[number as usize];
            marks.add(atom);
            innermost = outer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_that_holds_an_address_is_found_and_no_other() {
        let texts = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.0.0.0/24",
            "10.0.1.0/24",
            "10.255.255.255/32",
            "11.0.0.0/8",
            "255.255.255.255/32",
            "192.0.2.128/25",
            "::/0",
            "2001:db8::/32",
            "2001:db8::1/128",
            "ffff::/16",
        ];
        let networks: Vec<(IpNet, AtomId)> =
            texts.iter().zip(0..).map(|(text, n)| (text.parse().unwrap(), n)).collect();
        let index = Networks::new(&networks).unwrap();
        for address in [
            "0.0.0.0",
            "9.255.255.255",
            "10.0.0.0",
            "10.0.0.255",
            "10.0.1.0",
            "10.0.2.0",
            "10.255.255.255",
            "11.0.0.0",
            "12.0.0.0",
            "192.0.2.127",
            "192.0.2.128",
            "255.255.255.255",
            "::",
            "2001:db8::1",
            "2001:db8::2",
            "2001:db9::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let mut marks = Marks::default();
            marks.reserve(networks.len());
            index.find(address, &mut marks);
            let mut found = marks.all().to_vec();
            found.sort_unstable();
            let expected: Vec<AtomId> =
                networks.iter().filter(|(network, _)| network.contains(&address)).map(|(_, n)| *n).collect();
            assert_eq!(found, expected, "{address}");
        }
    }
}
