//! Snapshots of streams: they come to what the records come to, and nothing is lost around them.

use std::time::Duration;

use super::bed::{Bed, QUORUM, Setup, three};
use crate::{
    domain::{
        base::time::Time,
        inventory::Mode,
        journal::{
            cluster::ClusterState,
            record::Record,
            snapshot::{Rested, Snapshot},
        },
        run::{event::Outcome, state::Run},
    },
    http::views::{IncidentView, Question, RunView, WhyView},
    store::{Entry, Fence, Store, StreamHead, StreamName},
};

fn c1() -> StreamName {
    StreamName::Cluster("c1".into())
}

async fn journal(bed: &Bed) -> Vec<Entry> {
    bed.store.read(&c1(), 0).await.unwrap()
}

async fn head(bed: &Bed) -> StreamHead {
    let heads = bed.store.streams().await.unwrap();
    heads.into_iter().find(|head| head.stream == c1()).unwrap()
}

fn fold(mut state: ClusterState, entries: &[Entry]) -> ClusterState {
    for entry in entries {
        state.next = entry.n;
        let record = Record::decode(&entry.kind, entry.ver, &entry.body).unwrap();
        state.apply(&record, entry.at).unwrap();
    }
    state
}

/// A state with all in brief that is over.
fn brief(mut state: ClusterState) -> ClusterState {
    let Rested { incidents, runs } = Snapshot::of(&state, Time::default()).rested(&state);
    state.keep_in_brief(&incidents, &runs);
    state
}

/// One repair, and an alert afterwards.
async fn repaired() -> Bed {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until_rest(900).await;
    bed.until(300, "it closes", async |bed| bed.closed().await.is_some()).await;
    bed.alert(QUORUM, &[], false).await;
    bed
}

/// Waits for a start's own snapshot to have been taken over.
async fn until_in_brief(bed: &Bed) {
    let is_brief = async |bed: &Bed| bed.runs().await.first().is_some_and(Run::is_summary);
    bed.until(60, "a snapshot", is_brief).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_and_its_tail_come_to_what_all_records_come_to() {
    let bed = repaired().await;
    bed.lose_majority().await;
    bed.pass(120).await;
    let entries = journal(&bed).await;
    let whole = brief(fold(ClusterState::default(), &entries));
    assert!(whole.losses.size() > 0 && whole.incidents.size() > 1 && !whole.watches.is_empty());
    for cut in 0..=entries.len() {
        let (before, tail) = entries.split_at(cut);
        let state = fold(ClusterState::default(), before);
        let at = before.last().map_or(Time::default(), |entry| entry.at);
        let bytes = Snapshot::of(&state, at).encode().unwrap();
        let snapshot = Snapshot::decode(&bytes).unwrap();
        assert_eq!(snapshot.at, at);
        let mut open = before.to_vec();
        open.retain(|entry| snapshot.open.contains(&entry.n));
        assert_eq!(open.len(), snapshot.open.len());
        let open = fold(ClusterState::default(), &open);
        let restored = snapshot.restore(open, state.next);
        assert_eq!(brief(restored.clone()), brief(state), "{cut}");
        assert_eq!(brief(fold(restored, tail)), whole, "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_takes_a_snapshot_and_the_next_reads_no_more_than_that() {
    let bed = repaired().await;
    let before = brief(bed.known(ClusterState::clone).await);
    let bed = bed.crash().await;
    assert_eq!(brief(bed.known(ClusterState::clone).await), before);
    until_in_brief(&bed).await;
    assert_eq!(bed.known(ClusterState::clone).await, before);
    let compacted = head(&bed).await.compacted;
    assert!(compacted > 60);
    // what was over is read from the snapshot: its own records are not there any more
    let places = before.places_of(&before.incidents.keys().copied().collect::<Vec<_>>(), &[]);
    bed.store.drop_entries(&c1(), places).await.unwrap();
    let bed = bed.crash().await;
    assert_eq!(head(&bed).await.compacted, compacted);
    assert_eq!(bed.known(ClusterState::clone).await, before);
}

/// What people are shown of it does not change.
#[tokio::test(start_paused = true)]
async fn what_is_over_is_shown_whole_from_the_journal() {
    let shown = async |bed: &Bed| {
        let (state, run) = (bed.handle.state(), bed.runs().await.swap_remove(0));
        let cell = state.cell("c1").unwrap();
        let (incident, id) = (run.incident, Some(run.id));
        let cell = bed.handle.recall(cell, incident, id).await.unwrap();
        let run = RunView::whole(&cell, cell.state.runs.get(&run.id).unwrap(), Time::default());
        let incident = cell.state.incidents.get(&incident.unwrap()).unwrap();
        let incident = IncidentView::whole(Time::default(), &cell, incident);
        let question = Question::Incident(incident.id);
        let mut about = question.about(state);
        about.cell = Some(cell);
        let why = WhyView::new(state, "x", &question, &about).unwrap();
        let runs = serde_json::to_value(&why.runs).unwrap();
        (serde_json::to_value(run).unwrap(), serde_json::to_value(incident).unwrap(), runs)
    };
    let bed = repaired().await;
    let before = shown(&bed).await;
    assert!(before.0["steps"].as_array().is_some_and(|steps| steps.len() > 10));
    assert!(before.1["timeline"].as_array().is_some_and(|lines| lines.len() > 3));
    let bed = bed.crash().await;
    until_in_brief(&bed).await;
    let after = shown(&bed).await;
    assert_eq!(after.0, before.0);
    assert_eq!(after.1, before.1);
    assert_eq!(after.2[0]["steps"], before.2[0]["steps"]);
}

/// Rows: E22. Killed with a snapshot beneath it, a run goes on as it would without.
#[tokio::test(start_paused = true)]
async fn an_open_run_outlives_snapshots_and_kills() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let asked = bed.until_asked().await;
    let mut bed = bed;
    for _ in 0..3 {
        let state = bed.known(ClusterState::clone).await;
        let n = state.next;
        let snapshot = Snapshot::of(&state, bed.now()).encode().unwrap();
        bed.store.compact(&c1(), n, Fence(u64::MAX), snapshot).await.unwrap();
        bed = bed.crash().await;
        let run = bed.runs().await.swap_remove(0);
        assert_eq!((run.id, run.is_asking()), (asked.id, true));
        assert_eq!(
            (run.plan.clone(), run.steps.clone()),
            (asked.plan.clone(), asked.steps.clone())
        );
        bed.pass(30).await;
    }
    let run = bed.until_asked().await;
    bed.approve(&run, Some(1000)).await.unwrap();
    let run = bed.until_rest(900).await;
    assert_eq!(run.finished.map(|(outcome, ..)| outcome), Some(Outcome::Succeeded));
    assert_eq!(bed.patient.effects_of("etcd.restore"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_read_is_made_anew_from_the_entries() {
    let bed = repaired().await;
    let before = bed.known(ClusterState::clone).await;
    let end = head(&bed).await;
    bed.store.compact(&c1(), end.n - 3, end.fence, b"{\"ver\":1".to_vec()).await.unwrap();
    let bed = bed.crash().await;
    assert_eq!(bed.known(ClusterState::clone).await, before);
    until_in_brief(&bed).await;
    let snapshot = head(&bed).await.snapshot.unwrap();
    assert!(Snapshot::decode(&snapshot).is_ok());
}

/// Rows: B14. What a snapshot holds is dropped in its time like anything else.
#[tokio::test(start_paused = true)]
async fn what_a_snapshot_holds_is_dropped_when_its_time_is_over() {
    let setup = Setup { retention: Duration::from_hours(1), ..Setup::new(Mode::Auto) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until_rest(900).await;
    bed.until(300, "it closes", async |bed| bed.closed().await.is_some()).await;
    bed.alert(QUORUM, &[], false).await;
    let bed = bed.crash().await;
    until_in_brief(&bed).await;
    let entries = journal(&bed).await.len();
    bed.pass(3 * 3600).await;
    assert!(bed.runs().await.is_empty() && bed.incidents().await.is_empty());
    assert!(journal(&bed).await.len() < entries - 60);
    let bed = bed.crash().await;
    bed.pass(2 * 3600).await;
    assert!(bed.runs().await.is_empty() && bed.incidents().await.is_empty());
}
