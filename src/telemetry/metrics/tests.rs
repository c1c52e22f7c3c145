//! The whole table as a golden list, and pages as a scraper sees them.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use super::*;

fn prod() -> ClusterName {
    "prod".into()
}

fn lost() -> ResponseName {
    "etcd-quorum-lost".into()
}

fn metrics() -> Metrics {
    let metrics = Metrics::new("1.2.3", "abc");
    metrics.set_scrape(Box::new(Scrape::default));
    metrics.declare(&[prod()], &[(lost(), vec!["etcd-rebuild-hosts".into()])]);
    metrics
}

#[track_caller]
fn check(page: &str, line: &str) {
    assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
}

#[test]
fn every_name_type_and_help_is_as_listed() {
    let mut list = String::new();
    for Row { name, kind, help } in rows() {
        writeln!(list, "{name} {kind}: {help}").unwrap();
    }
    assert_eq!(list, include_str!("table.golden"), "the table changed:\n{list}");
}

#[test]
fn the_page_has_only_what_is_listed() {
    let metrics = metrics();
    everything_happens(&metrics);
    let page = metrics.render();
    let own = page.lines().filter_map(|line| line.strip_prefix("# TYPE quorate_"));
    let own: BTreeSet<_> = own.map(|line| format!("quorate_{line}")).collect();
    let listed: BTreeSet<_> = rows().map(|row| format!("{} {}", row.name, row.kind)).collect();
    assert_eq!(own, listed);
    assert!(page.ends_with("# EOF\n"));
    assert!(!page.contains("{}"));
    check(&page, "quorate_build_info{version=\"1.2.3\",revision=\"abc\"} 1.0");
}

#[test]
fn declared_series_exist_at_zero() {
    let page = metrics().render();
    let of = r#"{cluster="prod",response="etcd-quorum-lost""#;
    check(&page, &format!("quorate_repair_skips_total{of},reason=\"no_survivor\"}} 0"));
    check(&page, &format!("quorate_backoff_skips_total{of},kind=\"tolerance\"}} 0"));
    check(&page, &format!("quorate_subjects_refused_total{of}}} 0"));
    check(&page, &format!("quorate_grace_remaining_seconds{of}}} 0.0"));
    check(&page, r#"quorate_data_loss_revisions{cluster="prod",bound="upper"} 0.0"#);
    check(&page, r#"quorate_watch_findings{cluster="prod",kind="zombies"} 0.0"#);
    check(&page, r#"quorate_cluster_verdict{cluster="prod",subject="api",verdict="down"} 0.0"#);
    let attempts = r#"{cluster="prod",playbook="etcd-rebuild-hosts",outcome="parked"}"#;
    check(&page, &format!("quorate_repair_attempts_total{attempts} 0.0"));
    check(&page, r#"quorate_runs_in_state{state="awaiting_approval"} 0.0"#);
    check(&page, r#"quorate_webhook_requests_total{source="alertmanager",code="503"} 0"#);
}

#[test]
fn families_without_series_are_not_printed() {
    let page = Metrics::new("1.2.3", "abc").render();
    for name in ["probe_duration_seconds", "repair_skips", "alerts_active", "last_alert"] {
        assert!(!page.contains(name), "{name} in\n{page}");
    }
}

/// Rows: B18.
#[test]
fn attempts_are_what_the_ledger_says() {
    let metrics = metrics();
    metrics.set_scrape(Box::new(|| Scrape {
        repair_attempts: vec![(prod(), "etcd-rebuild-hosts".into(), "succeeded", 7)],
        ..Scrape::default()
    }));
    let labels = r#"{cluster="prod",playbook="etcd-rebuild-hosts",outcome="succeeded"}"#;
    check(&metrics.render(), &format!("quorate_repair_attempts_total{labels} 7.0"));
}

#[test]
fn a_loss_without_an_upper_bound_is_endless_and_not_0() {
    let metrics = metrics();
    metrics.set_scrape(Box::new(|| Scrape {
        data_loss_possible: vec![prod()],
        data_loss_revisions: vec![(prod(), "lower", Some(0)), (prod(), "upper", None)],
        ..Scrape::default()
    }));
    let page = metrics.render();
    check(&page, r#"quorate_data_loss_revisions{cluster="prod",bound="lower"} 0.0"#);
    check(&page, r#"quorate_data_loss_revisions{cluster="prod",bound="upper"} +Inf"#);
}

#[test]
fn label_values_are_escaped() {
    let metrics = Metrics::new("1\"\\\n", "abc");
    check(&metrics.render(), r#"quorate_build_info{version="1\"\\\n",revision="abc"} 1.0"#);
}

#[test]
fn unusual_answers_share_one_series() {
    let metrics = metrics();
    metrics.webhook("alertmanager", 418, Duration::ZERO, 1);
    metrics.webhook("alertmanager", 599, Duration::ZERO, 1);
    let line = r#"quorate_webhook_requests_total{source="alertmanager",code="other"} 2"#;
    check(&metrics.render(), line);
}

#[test]
fn the_process_is_measured() {
    let page = metrics().render();
    let value = |name: &str| {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("process_cpu_seconds_total ") >= 0.0);
    assert!(value("process_resident_memory_bytes ") > 1e6);
    assert!(value("process_open_fds ") >= 3.0);
    assert!(value("process_start_time_seconds ") > 1.6e9);
}

/// promtool reads the older text format only, where a counter is named with its suffix.
#[test]
fn promtool_finds_nothing() {
    let metrics = metrics();
    everything_happens(&metrics);
    let counters: BTreeSet<_> =
        rows().filter(|row| row.kind == "counter").map(|row| row.name).collect();
    let mut page = String::new();
    for line in metrics.render().lines() {
        let mut words: Vec<_> = line.splitn(4, ' ').map(str::to_owned).collect();
        if words[0] == "#" && words.len() == 4 {
            let counter = counters.contains(&*words[2]) || words[2] == "process_cpu_seconds";
            words[2].push_str(if counter { "_total" } else { "" });
        }
        page.push_str(&words.join(" "));
        page.push('\n');
    }
    let mut promtool = Command::new("promtool");
    let promtool = promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = promtool.unwrap_or_else(|error| panic!("cannot start promtool: {error}"));
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&text));
}

fn everything_happens(metrics: &Metrics) {
    let second = Duration::from_secs(1);
    metrics.webhook("prometheus", 200, second, 1000);
    metrics.alerts_received("firing", 2);
    metrics.alerts_deduplicated(1);
    metrics.alerts_unmatched(1);
    metrics.subject_refused(&prod(), &lost());
    metrics.alerts_invalid(1);
    metrics.alerts_truncated(1);
    metrics.incident_closed(&lost(), "recovered", second);
    metrics.backoff_skip(&prod(), &lost(), "cooldown");
    metrics.repair_skip(&prod(), &lost(), "grace");
    metrics.probe("etcd", "network", "ok", second);
    metrics.evidence_unknown("etcd", "timeout");
    metrics.step("etcd.restore", "done", second);
    metrics.undo("undone");
    metrics.decision(second);
    metrics.store_append(second);
    metrics.config_loaded(Some(Time(1_700_000_000_123)));
    metrics.set_scrape(Box::new(|| Scrape {
        last_alert: Some(Time(1)),
        data_loss_revisions: vec![(prod(), "upper", None)],
        ..Scrape::default()
    }));
}
