//! Reads the few series that count out of a member's metrics page.

use crate::domain::{base::id::EtcdId, etcd::evidence::MetricsView};

/// What the page says; a series that is not there is `None`.
pub(crate) fn view(page: &str) -> MetricsView {
    let mut view = MetricsView { member_id: None, revision: None, has_leader: None, learner: None };
    for line in page.lines().filter(|line| line.starts_with("etcd_")) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        match name {
            "etcd_server_id" if value == "1" => {
                view.member_id = label(series, "server_id").and_then(EtcdId::parse);
            }
            "etcd_debugging_mvcc_current_revision" => view.revision = whole(value),
            "etcd_server_has_leader" => view.has_leader = Some(value == "1"),
            "etcd_server_is_learner" => view.learner = Some(value == "1"),
            _ => {}
        }
    }
    view
}

fn label<'s>(series: &'s str, name: &str) -> Option<&'s str> {
    let (_, rest) = series.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

/// A whole number that may be written as `1.000501e+06`.
pub(crate) fn whole(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    // Above 2^53 a float skips whole numbers, and would be compared as if it did not.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_member_is_read() {
        let page = "# HELP etcd_server_id x\n# TYPE etcd_server_id gauge\netcd_server_id{server_id=\"854aeda7ca0c43cd\"} 1\n\
            etcd_debugging_mvcc_current_revision 1.000501e+06\netcd_server_has_leader 0\netcd_server_is_learner 0\n\
            go_goroutines 9\n";
        let view = view(page);
        assert_eq!(view.member_id, EtcdId::parse("854aeda7ca0c43cd"));
        assert_eq!(
            (view.revision, view.has_leader, view.learner),
            (Some(1_000_501), Some(false), Some(false))
        );
    }

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        for (text, number) in [
            ("7", Some(7)),
            ("1e+09", Some(1_000_000_000)),
            ("NaN", None),
            ("1e+300", None),
            ("x", None),
        ] {
            assert_eq!(whole(text), number, "{text}");
        }
    }
}
