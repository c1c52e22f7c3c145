//! The verbs that look into a store's folder: `store check` and `store export`.
//!
//! They judge what is stored as a start would, but go on behind what no start accepts. They change
//! nothing: how to go on is said, and done by people.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{
    Failed,
    out::{Out, clean, complain},
};
use crate::{
    domain::{
        alert::Alert,
        base::time::Time,
        etcd::evidence::Observed,
        journal::{
            record::{DecodeError, Record},
            snapshot::Snapshot,
        },
    },
    engine::chain,
    store::{
        AlertRow, Entry, Inspection, ObservedRow, StoreError, StreamHead, StreamName, inspect,
    },
};

/// Kinds that hold nothing but a person's order. Without one of them the fold is what it would be
/// had the order not been given.
const ORDERS: [&str; 4] = ["paused", "unpaused", "attested", "loss_acknowledged"];

/// What a person can do about the folder as a whole.
const RESTORE: &str = "restore a backup of the folder; or set the folder aside and begin with an \
    empty one: attempts, losses and what people ordered so far are then not known any more";

/// Shows everything that is wrong.
pub(super) fn check(dir: &Path, out: &mut Out) -> Result<(), Failed> {
    let seen = open(dir)?;
    let mut report = Report::new(&seen);
    for problem in seen.problems() {
        report.wrong(out, &format!("the database: {problem}"), RESTORE);
    }
    let heads = report.streams(&seen, out);
    let mut entries = 0_u64;
    seen.entries(|entry| {
        entries += 1;
        report.entry(entry, &heads, out);
    });
    let mut alerts = 0_u64;
    seen.alerts(|row| {
        alerts += 1;
        report.alert(row, out);
    });
    for row in seen.observed() {
        report.observed(row, out);
    }
    let (streams, problems) = (heads.len(), report.problems);
    let written_by = seen.written_by.as_deref().unwrap_or("an unknown version");
    let path = seen.path().display();
    out.line(format!(
        "{path}: {entries} entries in {streams} streams, {alerts} alerts, last written by quorate \
         {written_by}: {}",
        match problems {
            0 => "no problems".into(),
            1 => "1 problem".into(),
            more => format!("{more} problems"),
        }
    ));
    if problems == 0 { Ok(()) } else { Err(Failed::No(String::new())) }
}

/// Prints everything that can be read.
pub(super) fn export(dir: &Path, out: &mut Out) -> Result<(), Failed> {
    let seen = open(dir)?;
    let mut holes = seen.problems().len();
    let mut show = |line: Result<Value, String>| match line {
        Ok(line) => out.line(line),
        Err(hole) => {
            holes += 1;
            complain(hole);
        }
    };
    for head in seen.streams() {
        show(head.map(|head| head_line(&head)));
    }
    seen.entries(|entry| show(entry.map(|entry| entry_line(&entry))));
    seen.alerts(|row| show(row.map(|row| alert_line(&row))));
    for row in seen.observed() {
        show(row.map(|row| {
            json!({"row": "observed", "cluster": row.cluster.as_str(), "body": body(&row.body)})
        }));
    }
    if holes == 0 {
        return Ok(());
    }
    Err(Failed::No(format!("not everything could be read: quorate store check {}", dir.display())))
}

fn open(dir: &Path) -> Result<Inspection, Failed> {
    inspect(dir).map_err(|error| match &error {
        StoreError::Corrupt { .. } => {
            Failed::No(format!("{}\n  way out: {RESTORE}", chain(&error)))
        }
        _ => Failed::No(chain(&error)),
    })
}

/// JSON as what it is; what is none as text.
fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn bytes(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

fn head_line(head: &StreamHead) -> Value {
    json!({
        "row": "stream", "stream": head.stream.to_string(), "n": head.n, "fence": head.fence.0,
        "compacted": head.compacted, "snapshot": head.snapshot.as_deref().map(bytes),
    })
}

fn entry_line(entry: &Entry) -> Value {
    json!({
        "row": "entry", "seq": entry.seq, "stream": entry.stream.to_string(), "n": entry.n,
        "fence": entry.fence.0, "kind": entry.kind, "ver": entry.ver, "at": entry.at.to_string(),
        "body": body(&entry.body),
    })
}

fn alert_line(row: &AlertRow) -> Value {
    json!({"row": "alert", "id": row.id, "body": row.body.as_deref().map(bytes)})
}

/// What is wrong so far, and how to speak of it.
struct Report<'s> {
    seen: &'s Inspection,
    problems: usize,
}

impl<'s> Report<'s> {
    fn new(seen: &'s Inspection) -> Self {
        Self { seen, problems: 0 }
    }

    fn wrong(&mut self, out: &mut Out, what: &str, way_out: &str) {
        self.problems += 1;
        out.line(clean(what));
        out.line(format!("  way out: {}", clean(way_out)));
    }

    fn streams(&mut self, seen: &Inspection, out: &mut Out) -> BTreeMap<StreamName, StreamHead> {
        let mut heads = BTreeMap::new();
        for head in seen.streams() {
            match head {
                Ok(head) => {
                    self.snapshot(&head, out);
                    heads.insert(head.stream.clone(), head);
                }
                Err(error) => self.wrong(out, &format!("a stream: {error}"), RESTORE),
            }
        }
        heads
    }

    fn snapshot(&mut self, head: &StreamHead, out: &mut Out) {
        let Some(bytes) = &head.snapshot else { return };
        if let Err(error) = Snapshot::decode(bytes) {
            let text = format!("{}: its snapshot: {}", head.stream, chain(&error));
            let way_out = "none is needed: the next start reads the entries that it stands for, \
                and makes another";
            self.wrong(out, &text, way_out);
        }
    }

    fn entry(
        &mut self,
        entry: Result<Entry, String>,
        heads: &BTreeMap<StreamName, StreamHead>,
        out: &mut Out,
    ) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(hole) => return self.wrong(out, &hole, RESTORE),
        };
        let place = format!(
            "{} at {} (entry {}, {}, {})",
            entry.stream, entry.n, entry.seq, entry.kind, entry.at
        );
        match heads.get(&entry.stream) {
            Some(head) if entry.n < head.n => {}
            Some(head) => {
                let text = format!("{place}: lies behind the end of its stream at {}", head.n);
                self.wrong(out, &text, RESTORE);
            }
            None => self.wrong(out, &format!("{place}: belongs to no stream"), RESTORE),
        }
        if let Err(error) = Record::decode(&entry.kind, entry.ver, &entry.body) {
            let way_out = self.way_out(&entry, &error);
            self.wrong(out, &format!("{place}: {}", chain(&error)), &way_out);
        }
    }

    /// How to go on in spite of a record that cannot be read.
    fn way_out(&self, entry: &Entry, error: &DecodeError) -> String {
        let written_by = self.seen.written_by.as_deref().unwrap_or("of an unknown version");
        match error {
            DecodeError::Unknown { .. } => format!("start quorate {written_by}, or a later one"),
            DecodeError::Body { .. } | DecodeError::OtherKind { .. }
                if ORDERS.contains(&entry.kind.as_str()) =>
            {
                format!(
                    "it holds only an order of a person. Stop the server, copy the folder, leave \
                     it out with `sqlite3 {} 'DELETE FROM journal WHERE seq = {}'`, start, and \
                     give the order again if it still counts",
                    self.seen.path().display(),
                    entry.seq
                )
            }
            DecodeError::Body { .. } | DecodeError::OtherKind { .. } => RESTORE.into(),
        }
    }

    fn alert(&mut self, row: Result<AlertRow, String>, out: &mut Out) {
        let way_out = "none is needed: it is left out at the start, and its sender repeats it";
        let row = match row {
            Ok(row) => row,
            Err(hole) => return self.wrong(out, &hole, RESTORE),
        };
        let body = row.body.unwrap_or_default();
        if let Err(error) = Alert::from_row(row.id, &body, Time::default()) {
            self.wrong(out, &format!("alert row {}: {}", row.id, chain(&error)), way_out);
        }
    }

    fn observed(&mut self, row: Result<ObservedRow, String>, out: &mut Out) {
        let way_out = "none is needed: the cluster counts as forming until it is seen healthy";
        match row {
            Err(hole) => self.wrong(out, &format!("an observed row: {hole}"), way_out),
            Ok(row) => {
                if let Err(error) = serde_json::from_str::<Observed>(&row.body) {
                    let text = format!("observed row of {}: {error}", row.cluster);
                    self.wrong(out, &text, way_out);
                }
            }
        }
    }
}
