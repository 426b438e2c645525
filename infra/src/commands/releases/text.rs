//! Releases as a table of 80 columns.

use std::fmt::Write as _;

use super::Listed;
use crate::report::text::clean;
use crate::ui::Style;
use deploy::releases::ReleaseOutcome;

/// Characters of a version that are shown.
const VERSION: usize = 16;

/// Releases, newest first: what each changed stands below it.
pub fn render(releases: &[Listed], style: Style) -> String {
    let head =
        format!("{:>7}  {:<11}  {:<VERSION$}  {:<17}  {}", "release", "environment", "version", "when", "result");
    let mut text = format!("{}\n", style.dim(&head));
    for release in releases {
        let record = &release.record;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>7}  {}  {:<VERSION$}  {:<17}  {}",
            record.number,
            style.environment(record.color, &format!("{:<11}", record.color.as_str())),
            shortened(&clean(&record.version)),
            record.began.strftime("%Y-%m-%d %H:%MZ").to_string(),
            result(release, style),
        );
        if let Some(reason) = &record.reason {
            let _ = writeln!(text, "{}{}", " ".repeat(9), style.dim(&style.wrapped(&clean(reason), 9)));
        }
        if let Some(changed) = release.changed.as_deref().filter(|changed| !changed.is_empty()) {
            let said = format!("changes {}", changed.join(", "));
            let _ = writeln!(text, "{}{}", " ".repeat(9), style.dim(&style.wrapped(&clean(&said), 9)));
        }
    }
    if releases.is_empty() {
        text.push_str("no releases yet\n");
    }
    text
}

fn result(release: &Listed, style: Style) -> String {
    match (release.record.outcome, release.current) {
        (_, true) => style.good("running"),
        (Some(ReleaseOutcome::Deployed), false) => "replaced".to_owned(),
        (Some(bad), false) => style.bad(bad.as_str()),
        (None, false) => style.warn("not finished"),
    }
}

/// A long version, shortened in the middle: its start and end are most distinctive.
fn shortened(version: &str) -> String {
    let characters: Vec<char> = version.chars().collect();
    if characters.len() <= VERSION {
        return version.to_owned();
    }
    let half = (VERSION - 1) / 2;
    let begin: String = characters[..VERSION - 1 - half].iter().collect();
    let end: String = characters[characters.len() - half..].iter().collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::color::Color;

    use super::*;
    use deploy::releases::ReleaseRecord;

    fn release(number: u64, version: &str, outcome: Option<ReleaseOutcome>) -> Listed {
        let record = ReleaseRecord {
            schema: 1,
            number,
            id: String::new(),
            color: if number.is_multiple_of(2) { Color::Blue } else { Color::Green },
            version: version.to_owned(),
            image: "app@sha256:0".to_owned(),
            settings: serde_json::json!({}),
            by: "ada".to_owned(),
            tool: "0.1.0".to_owned(),
            began: "2026-11-28T10:00:00Z".parse::<Timestamp>().unwrap(),
            ended: None,
            outcome,
            reason: None,
        };
        Listed { record, current: false, changed: None }
    }

    #[test]
    fn releases_fit_eighty_columns_whatever_their_version() {
        let mut current = release(4, "0123456789abcdef0123456789abcdef01234567", Some(ReleaseOutcome::Deployed));
        current.current = true;
        current.changed = Some(vec!["app.size".to_owned(), "environment.DB_URL".to_owned()]);
        let mut failed = release(3, "3", Some(ReleaseOutcome::RolledBack));
        failed.record.reason = Some("the app exited with code 1".to_owned());
        let all = [current, failed, release(2, "2", None), release(1, "1", Some(ReleaseOutcome::Deployed))];
        let text = render(&all, Style::PLAIN);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }
}
