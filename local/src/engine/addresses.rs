//! Loopback addresses for the tasks (as with `awsvpc`, each task has its own) and for the second node of the load
//! balancer, from a range that no other instance uses.

use super::OUTSIDE_HOST;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};

/// Second octets of 127.64.0.0/10; every instance uses one.
const RANGES: std::ops::RangeInclusive<u8> = 64..=127;

/// The UDP port at the first address of a range that its instance holds. It is never read.
const CLAIM_PORT: u16 = 4566;

/// The last two octets of the first address for tasks.
const FIRST_TASK: u16 = 2;
const LAST_TASK: u16 = 0xfffe;

/// The addresses of one instance: 127.X.0.1 for the load balancer, 127.X.0.2 to 127.X.255.254 for tasks.
#[derive(Debug)]
pub(crate) struct AddressPool {
    range: u8,
    /// The first two octets of the addresses of tasks, and the last two of the first and of the last one.
    tasks: ([u8; 2], u16, u16),
    next: u16,
    taken: BTreeMap<String, Ipv4Addr>,
    /// Held while this instance runs; the kernel releases it when the process ends.
    _claim: Option<UdpSocket>,
}

impl AddressPool {
    /// Reserves the first range that no instance on this machine uses.
    pub(crate) fn claim() -> Result<Self> {
        for range in RANGES {
            // A socket at the address itself needs no file that another user could replace or lock.
            if let Ok(claim) = UdpSocket::bind((Ipv4Addr::new(127, range, 0, 1), CLAIM_PORT)) {
                return Ok(Self::new(range, Some(claim)));
            }
        }
        Err(Error::new("every loopback range of 127.64.0.0/10 is in use by another local cloud")
            .hint("stop some of them: local-cloud down --state DIR"))
    }

    fn new(range: u8, claim: Option<UdpSocket>) -> Self {
        let tasks = ([127, range], FIRST_TASK, LAST_TASK);
        Self { range, tasks, next: FIRST_TASK, taken: BTreeMap::new(), _claim: claim }
    }

    /// The same with addresses for tasks in the network of a container engine.
    #[must_use]
    pub(super) fn of_outside(self) -> Self {
        let [a, b, c, d] = OUTSIDE_HOST.octets();
        let first = u16::from_be_bytes([c, d + 8]);
        Self { tasks: ([a, b], first, u16::from_be_bytes([c, 254])), next: first, ..self }
    }

    /// The address of the second node of the load balancer. The first node has 127.0.0.1, which people expect.
    pub(crate) const fn second_node(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.range, 0, 1)
    }

    /// The address of a task: the same for all its containers. A released address is reused last, so that a client that
    /// still knows the old task does not reach the new one.
    pub(crate) fn of(&mut self, task: &str) -> Option<Ipv4Addr> {
        if let Some(address) = self.taken.get(task) {
            return Some(*address);
        }
        for _ in 0..u16::MAX {
            let [high, low] = self.next.to_be_bytes();
            let ([a, b], first, last) = self.tasks;
            self.next = if self.next >= last { first } else { self.next + 1 };
            let address = Ipv4Addr::new(a, b, high, low);
            if !matches!(low, 0 | 255) && !self.taken.values().any(|taken| *taken == address) {
                self.taken.insert(task.to_owned(), address);
                return Some(address);
            }
        }
        None
    }

    /// Releases the address of a task.
    pub(crate) fn release(&mut self, task: &str) {
        self.taken.remove(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_one_task_share_an_address_and_tasks_do_not() {
        let mut pool = AddressPool::new(70, None);
        assert_eq!(pool.of("a"), Some(Ipv4Addr::new(127, 70, 0, 2)));
        assert_eq!(pool.of("a"), pool.of("a"));
        assert_eq!(pool.of("b"), Some(Ipv4Addr::new(127, 70, 0, 3)));
    }

    #[test]
    fn a_released_address_is_not_the_next_one_given() {
        let mut pool = AddressPool::new(70, None);
        let first = pool.of("a");
        pool.release("a");
        assert_ne!(pool.of("b"), first);
    }

    #[test]
    fn addresses_of_tasks_never_end_in_0_or_255_nor_are_the_load_balancers_and_go_round() {
        let mut pool = AddressPool::new(70, None);
        for task in 0..70_000 {
            let name = task.to_string();
            let address = pool.of(&name).unwrap();
            assert!(!matches!(address.octets()[3], 0 | 255) && address != pool.second_node(), "{address}");
            pool.release(&name);
        }
    }

    #[test]
    fn tasks_in_a_container_engine_have_addresses_of_its_network() {
        let mut pool = AddressPool::new(70, None).of_outside();
        let all: Vec<_> = (0..300).map_while(|task| pool.of(&task.to_string())).collect();
        assert_eq!(all.first(), Some(&Ipv4Addr::new(169, 254, 170, 10)));
        assert_eq!(all.last(), Some(&Ipv4Addr::new(169, 254, 170, 254)));
        assert_eq!(pool.second_node(), Ipv4Addr::new(127, 70, 0, 1));
    }

    #[test]
    fn two_instances_get_two_ranges() {
        let (one, two) = (AddressPool::claim().unwrap(), AddressPool::claim().unwrap());
        assert_ne!(one.range, two.range);
    }
}
