//! When a task may be ended: after nobody is connected to it any more, and no request can still be on its way to it.

use crate::forward::Flights;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// No connection for this long, on top of the requests that were on their way.
const QUIET: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// A connection that stays longer is cut, as a deregistration delay that is over does.
const LIMIT: Duration = Duration::from_secs(5);

/// Waits until a deregistered task at `address` is idle.
///
/// MiniStack's load balancer picks a target and connects afterwards, so a request may have chosen this task just
/// before it was deregistered. All requests come through the forwarders: when those that were under way at
/// the start of the drain have been answered, none can have chosen it. The quiet time covers everybody else.
pub(crate) async fn drain(address: Ipv4Addr, flights: &Flights) {
    let deadline = Instant::now() + LIMIT;
    let mark = flights.mark();
    let mut quiet_since: Option<Instant> = None;
    while Instant::now() < deadline {
        let connected = fs::read_to_string("/proc/net/tcp").is_ok_and(|table| connections_to(&table, address) > 0);
        if connected || flights.any_before(mark) {
            quiet_since = None;
        } else if quiet_since.get_or_insert_with(Instant::now).elapsed() >= QUIET {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tracing::warn!("connections to {address} did not end within {} s", LIMIT.as_secs());
}

/// Counts connections in `/proc/net/tcp` whose own end is `address`: established or being opened.
fn connections_to(table: &str, address: Ipv4Addr) -> usize {
    // The kernel prints the address as a number in the machine's byte order.
    let wanted = format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let counted = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.split_once(':')).map(|(address, _)| address);
        // 01 established, 03 SYN received; a connection in TIME_WAIT or CLOSE_WAIT carries no new request.
        local == Some(wanted.as_str()) && matches!(fields.nth(1), Some("01" | "03"))
    };
    table.lines().skip(1).filter(counted).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_open_connections_of_the_address_count() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0300407F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532 0 1 1 0
   1: 0300407F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000 65532 0 2 1 0
   2: 0100007F:D431 0300407F:1F90 01 00000000:00000000 00:00000000 00000000     0 0 3 1 0
   3: 0300407F:1F90 0100007F:D432 06 00000000:00000000 00:00000000 00000000     0 0 0 1 0
   4: 0400407F:1F90 0100007F:D433 01 00000000:00000000 00:00000000 00000000 65532 0 4 1 0
   5: 0300407F:1F90 0100007F:D434 03 00000000:00000000 00:00000000 00000000     0 0 0 1 0
";
        assert_eq!(connections_to(table, Ipv4Addr::new(127, 64, 0, 3)), 2);
        assert_eq!(connections_to(table, Ipv4Addr::new(127, 64, 0, 9)), 0);
    }

    #[tokio::test]
    async fn a_drain_waits_for_the_requests_that_were_under_way_and_not_for_later_ones() {
        let flights = Flights::default();
        let early = flights.enter();
        let waiting = tokio::spawn({
            let flights = flights.clone();
            async move { drain(Ipv4Addr::new(127, 200, 0, 1), &flights).await }
        });
        tokio::time::sleep(QUIET * 2).await;
        assert!(!waiting.is_finished(), "it must wait for the early request");
        let _later = flights.enter();
        drop(early);
        tokio::time::timeout(LIMIT / 2, waiting).await.unwrap().unwrap();
    }
}
