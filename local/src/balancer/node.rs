//! A node of the load balancer. It uses the rules that it last applied, and applies changes in their order, each after
//! its delay. A load balancer has a node with an address in each zone:
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/how-elastic-load-balancing-works.html>. It must not
//! know targets: registration and health are the same for all nodes at once.

use super::routes::{Listening, Plan};
use crate::rule::next_id;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of nodes.
pub(super) const NODES: usize = 2;

/// A node without a lag follows a change within this time.
const FOLLOWS_WITHIN_MS: u64 = 300;

/// The lag of the last node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Lag {
    /// Assigned when it is set.
    pub(crate) id: u64,
    /// The lag after the response of the API. With 0, no node lags.
    pub(crate) ms: u64,
}

impl Lag {
    pub(super) fn new(ms: u64) -> Self {
        Self { id: next_id(), ms }
    }
}

/// The delay of a node for a change: random for every node and change, unless a lag is set.
pub(super) fn delay(lag: Option<&Lag>, node: usize) -> Duration {
    let ms = match lag {
        Some(lag) if lag.ms == 0 || node + 1 == NODES => lag.ms,
        _ => uuid::Uuid::new_v4().as_u64_pair().1 % FOLLOWS_WITHIN_MS,
    };
    Duration::from_millis(ms)
}

/// The rules of a node, and the changes that it has yet to apply.
#[derive(Debug, Default)]
pub(super) struct Node {
    plan: Plan,
    coming: VecDeque<(Instant, Plan)>,
}

impl Node {
    /// The rules that are in effect.
    pub(super) fn plan(&self) -> &[Arc<Listening>] {
        &self.plan
    }

    /// Receives the current plan, to apply it at `due` and after earlier plans. Adds and removes listeners at once.
    /// Returns when it applies the rest, if there is any.
    pub(super) fn hear(&mut self, plan: &Plan, due: Instant) -> Option<Instant> {
        for known in self.coming.iter_mut().map(|(_, plan)| plan).chain([&mut self.plan]) {
            let as_known = |new: &Arc<Listening>| known.iter().find(|old| old.arn == new.arn).unwrap_or(new).clone();
            *known = plan.iter().map(as_known).collect();
        }
        if self.coming.back().map_or(&self.plan, |(_, newest)| newest) == plan {
            return None;
        }
        let due = self.coming.back().map_or(due, |(earlier, _)| due.max(*earlier));
        self.coming.push_back((due, plan.clone()));
        Some(due)
    }

    /// Applies pending changes at `due` at the latest.
    pub(super) fn hurry(&mut self, due: Instant) {
        for (own, _) in &mut self.coming {
            *own = due.min(*own);
        }
    }

    /// Applies the changes that are due. Returns whether there were any.
    pub(super) fn apply(&mut self, now: Instant) -> bool {
        let due = self.coming.iter().take_while(|(due, _)| *due <= now).count();
        let last = self.coming.drain(..due).next_back();
        let applied = last.is_some();
        if let Some((_, plan)) = last {
            self.plan = plan;
        }
        applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::model::State;
    use crate::balancer::routes::plan;
    use serde_json::json;

    /// Listeners on these ports, each with a fixed response of this status.
    fn listeners(all: &[(u16, u16)]) -> Plan {
        let state: State = serde_json::from_value(json!({
            "LoadBalancers": [{"LoadBalancerArn": "lb", "DNSName": "lb.example"}],
            "Listeners": all.iter().map(|(port, _)| {
                json!({"ListenerArn": port.to_string(), "LoadBalancerArn": "lb", "Port": port})
            }).collect::<Vec<_>>(),
            "Rules": all.iter().map(|(port, status)| json!({
                "ListenerArn": port.to_string(), "Priority": "default", "IsDefault": true,
                "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status}}],
            })).collect::<Vec<_>>(),
            "TargetGroups": [],
        }))
        .unwrap();
        plan(&state)
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn node(begin: &Plan) -> (Node, Instant) {
        let (mut node, now) = (Node::default(), Instant::now());
        assert_eq!(node.hear(begin, now + SECOND), None, "new listeners are there at once");
        assert_eq!(node.plan, *begin);
        (node, now)
    }

    #[test]
    fn a_change_is_applied_once_its_delay_is_over() {
        let (old, new) = (listeners(&[(80, 201)]), listeners(&[(80, 202)]));
        let (mut node, now) = node(&old);
        assert_eq!(node.hear(&new, now + SECOND), Some(now + SECOND));
        assert!(!node.apply(now + Duration::from_millis(999)));
        assert_eq!(node.plan, old);
        assert!(node.apply(now + SECOND));
        assert_eq!(node.plan, new);
        assert!(!node.apply(now + 2 * SECOND), "nothing is left");
    }

    #[test]
    fn changes_are_applied_in_order_even_where_a_later_one_is_due_earlier() {
        let [first, second, third] = [201, 202, 203].map(|status| listeners(&[(80, status)]));
        let (mut node, now) = node(&first);
        node.hear(&second, now + 2 * SECOND);
        assert_eq!(node.hear(&third, now + SECOND), Some(now + 2 * SECOND));
        assert!(!node.apply(now + SECOND));
        assert!(node.apply(now + 2 * SECOND));
        assert_eq!(node.plan, third);
    }

    #[test]
    fn what_changes_nothing_waits_for_nothing() {
        let old = listeners(&[(80, 201)]);
        let (mut node, now) = node(&old);
        assert_eq!(node.hear(&old, now + SECOND), None);
    }

    #[test]
    fn listeners_come_and_go_at_once_while_changes_of_others_wait() {
        let (mut node, now) = node(&listeners(&[(80, 201), (81, 201)]));
        node.hear(&listeners(&[(80, 202), (81, 202)]), now + SECOND);
        assert_eq!(node.hear(&listeners(&[(80, 202), (82, 202)]), now + 2 * SECOND), None);
        assert_eq!(node.plan, listeners(&[(80, 201), (82, 202)]));
        assert!(node.apply(now + SECOND));
        assert_eq!(node.plan, listeners(&[(80, 202), (82, 202)]));
    }

    #[test]
    fn what_waits_can_be_hurried_but_not_put_off() {
        let (mut node, now) = node(&listeners(&[(80, 201)]));
        node.hear(&listeners(&[(80, 202)]), now + 2 * SECOND);
        node.hurry(now + 3 * SECOND);
        node.hurry(now + SECOND);
        assert!(node.apply(now + SECOND));
    }

    #[test]
    fn only_the_last_node_lags_as_somebody_wants_and_none_means_none() {
        let (long, none) = (Lag { id: 1, ms: 90_000 }, Lag { id: 1, ms: 0 });
        let most = Duration::from_millis(FOLLOWS_WITHIN_MS);
        assert_eq!(delay(Some(&long), NODES - 1), 90 * SECOND);
        assert!(delay(Some(&long), 0) < most);
        assert_eq!([delay(Some(&none), 0), delay(Some(&none), NODES - 1)], [Duration::ZERO; NODES]);
        let random: std::collections::BTreeSet<_> = (0..100).map(|_| delay(None, 0)).collect();
        assert!(random.len() > 1 && random.iter().all(|delay| *delay < most), "{random:?}");
    }
}
