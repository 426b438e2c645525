//! Limits of the account that a deployment would run into. Those that may not be read are not worth an alarm.

use aws_sdk_elasticloadbalancingv2::types::Limit;

use super::{Check, Health};
use deploy::Cloud;
use stack::Settings;

/// What a stack adds to what an account has.
const BALANCERS: Need = Need {
    what: "quota: load balancers",
    limit: "application-load-balancers",
    adds: 1,
    todo: "delete one, or request an increase in Service Quotas (Elastic Load Balancing: Application Load Balancers per Region)",
};
const TARGET_GROUPS: Need = Need {
    what: "quota: target groups",
    limit: "target-groups",
    adds: 2,
    todo: "delete some, or request an increase in Service Quotas (Elastic Load Balancing: Target Groups per Region)",
};

/// Concurrent executions that a new account has; the function needs one, and whatever else runs there some.
const FEW_EXECUTIONS: i32 = 10;

struct Need {
    what: &'static str,
    /// The limit's name.
    limit: &'static str,
    /// How many a new stack adds.
    adds: usize,
    todo: &'static str,
}

/// Looks at every limit. A `new` stack adds to what there is, one that exists has its share already.
pub(super) async fn run(settings: &Settings, cloud: &Cloud, new: bool) -> Vec<Check> {
    let limits = async { cloud.elbv2.describe_account_limits().send().await.ok()?.limits };
    let (limits, balancers, target_groups, functions, vcpus) =
        tokio::join!(limits, load_balancers(cloud), target_groups(cloud), functions(cloud), vcpus(cloud));
    let limits = limits.unwrap_or_default();
    vec![
        BALANCERS.check(&limits, balancers, new),
        TARGET_GROUPS.check(&limits, target_groups, new),
        of_functions(functions),
        of_vcpus(vcpus, settings),
    ]
}

impl Need {
    fn check(&self, limits: &[Limit], there: Option<usize>, new: bool) -> Check {
        let limit = limits.iter().find(|limit| limit.name() == Some(self.limit));
        let most = limit.and_then(|limit| limit.max()?.parse::<usize>().ok());
        let (Some(there), Some(most)) = (there, most) else {
            return Check::new(self.what, Health::Unknown, "cannot be read");
        };
        let found = format!("{there} of {most} in use");
        if new && there + self.adds > most {
            let adds = self.adds;
            return Check::new(self.what, Health::Bad, format!("{found}, a new stack adds {adds}")).todo(self.todo);
        }
        Check::good(self.what, found)
    }
}

async fn load_balancers(cloud: &Cloud) -> Option<usize> {
    let mut pages = cloud.elbv2.describe_load_balancers().into_paginator().send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        let of_kind = |kind: &str| kind == "application";
        let page = page.ok()?;
        let balancers = page.load_balancers().iter();
        count += balancers.filter(|it| it.r#type().is_none_or(|kind| of_kind(kind.as_str()))).count();
    }
    Some(count)
}

async fn target_groups(cloud: &Cloud) -> Option<usize> {
    let mut pages = cloud.elbv2.describe_target_groups().into_paginator().send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += page.ok()?.target_groups().len();
    }
    Some(count)
}

/// The concurrent executions of functions, and how many of them are not reserved.
async fn functions(cloud: &Cloud) -> Option<(i32, Option<i32>)> {
    let limit = cloud.lambda.get_account_settings().send().await.ok()?.account_limit?;
    Some((limit.concurrent_executions, limit.unreserved_concurrent_executions))
}

fn of_functions(limit: Option<(i32, Option<i32>)>) -> Check {
    const WHAT: &str = "quota: functions";
    const TODO: &str = "request an increase in Service Quotas (AWS Lambda: Concurrent executions)";
    match limit {
        None => Check::new(WHAT, Health::Unknown, "cannot be read"),
        Some((0, _)) => Check::new(WHAT, Health::Bad, "this account cannot run any function").todo(TODO),
        Some((most, Some(0))) => {
            Check::new(WHAT, Health::Bad, format!("{most} concurrent executions, all reserved for specific functions"))
                .todo("reduce the reserved concurrency of other functions, or request an increase in Service Quotas")
        }
        Some((most, _)) if most < FEW_EXECUTIONS => {
            Check::new(WHAT, Health::Warning, format!("only {most} concurrent executions")).todo(TODO)
        }
        Some((most, _)) => Check::good(WHAT, format!("{most} concurrent executions")),
    }
}

/// The vCPU quota of on-demand Fargate tasks: the value of the account, or else the default.
async fn vcpus(cloud: &Cloud) -> Option<f64> {
    const SERVICE: &str = "fargate";
    const CODE: &str = "L-3032A538";
    let set = cloud.quotas.get_service_quota().service_code(SERVICE).quota_code(CODE).send().await;
    let quota = match set {
        Ok(answer) => answer.quota,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_resource_exception()) => {
            let default = cloud.quotas.get_aws_default_service_quota().service_code(SERVICE).quota_code(CODE);
            default.send().await.ok()?.quota
        }
        Err(_) => None,
    };
    quota?.value
}

/// What others run in the account is not counted: it comes and goes.
fn of_vcpus(most: Option<f64>, settings: &Settings) -> Check {
    const WHAT: &str = "quota: Fargate vCPUs";
    const TODO: &str = "request an increase in Service Quotas (AWS Fargate: Fargate On-Demand vCPU resource count)";
    let Some(most) = most else { return Check::new(WHAT, Health::Unknown, "cannot be read") };
    // Two environments, and during a deployment one of them twice.
    let takes = |tasks: u16| 3.0 * f64::from(tasks) * f64::from(settings.app.size.cpu()) / 1024.0;
    let least = takes(settings.app.count.get());
    let found = format!("{most} vCPUs, of which this stack uses up to {least} during a deployment");
    if least > most {
        return Check::new(WHAT, Health::Bad, found).todo(TODO);
    }
    match settings.autoscaling.max.map(|max| takes(max.get())) {
        Some(scaled) if scaled > most => {
            Check::new(WHAT, Health::Warning, format!("{found}, and {scaled} with autoscaling.max")).todo(TODO)
        }
        _ => Check::good(WHAT, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(balancers: &str) -> Vec<Limit> {
        vec![Limit::builder().name("application-load-balancers").max(balancers).build()]
    }

    #[test]
    fn a_new_stack_must_fit_into_what_is_left() {
        assert_eq!(BALANCERS.check(&limits("50"), Some(49), true).health, Health::Good);
        let full = BALANCERS.check(&limits("50"), Some(50), true);
        assert_eq!(full.health, Health::Bad);
        assert!(full.todo.is_some_and(|todo| todo.contains("Service Quotas")));
        assert_eq!(BALANCERS.check(&limits("50"), Some(50), false).health, Health::Good, "it is one of them");
    }

    #[test]
    fn a_limit_that_may_not_be_read_is_no_alarm() {
        assert_eq!(TARGET_GROUPS.check(&limits("50"), Some(2), true).health, Health::Unknown);
        assert_eq!(BALANCERS.check(&limits("50"), None, true).health, Health::Unknown);
        assert_eq!(of_functions(None).health, Health::Unknown);
    }

    #[test]
    fn tasks_that_fargate_would_not_start_are_found() {
        let settings = |text: &str| Settings::parse(text).unwrap();
        let default = settings("");
        let good = of_vcpus(Some(6.0), &default);
        assert_eq!(
            (good.health, good.found.as_str()),
            (Health::Good, "6 vCPUs, of which this stack uses up to 1.5 during a deployment")
        );
        assert_eq!(of_vcpus(Some(1.0), &default).health, Health::Bad);
        let scaled = of_vcpus(Some(6.0), &settings("[autoscaling]\nmax = 20"));
        assert_eq!(scaled.health, Health::Warning);
        assert!(scaled.found.ends_with("and 15 with autoscaling.max") && scaled.todo.is_some(), "{}", scaled.found);
        assert_eq!(of_vcpus(None, &default).health, Health::Unknown);
    }

    #[test]
    fn an_account_that_lets_no_function_run_is_found() {
        for limit in [(0, None), (1000, Some(0))] {
            let check = of_functions(Some(limit));
            assert_eq!(check.health, Health::Bad, "{limit:?}");
            assert!(check.todo.is_some(), "{limit:?}");
        }
        assert_eq!(of_functions(Some((5, None))).health, Health::Warning);
        assert_eq!(of_functions(Some((10, Some(10)))).health, Health::Good);
    }
}
