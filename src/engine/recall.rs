//! What is over, whole again: cells keep it in brief, the journal has all of it.

use std::sync::Arc;

use super::Handle;
use crate::{
    domain::{
        base::id::{IncidentId, RunId},
        cell::Cell,
        incident::{Incident, IncidentRecord},
        journal::record::Record,
        run::{apply::apply, event::RunRecord, state::Run},
    },
    store::{Entry, StoreError, StreamName},
};

impl Handle {
    /// The same cell with an incident and its runs, and a run, as whole as they once were. What was
    /// dropped meanwhile stays in brief.
    pub async fn recall(
        &self,
        cell: Arc<Cell>,
        incident: Option<IncidentId>,
        run: Option<RunId>,
    ) -> Result<Arc<Cell>, StoreError> {
        let state = &cell.state;
        let incident = incident.and_then(|id| state.incidents.get(&id));
        let of_incident = incident.into_iter().flat_map(|one| one.runs.iter().map(|(id, ..)| *id));
        let runs = run.into_iter().chain(of_incident).filter_map(|id| state.runs.get(&id));
        let runs: Vec<&Run> = runs.filter(|run| run.is_summary()).collect();
        let incident = incident.filter(|incident| incident.is_summary());
        if incident.is_none() && runs.is_empty() {
            return Ok(cell);
        }
        let stream = StreamName::Cluster(cell.name().clone());
        let mut whole = state.clone();
        if let Some(brief) = incident {
            let entries = self.store.read_at(&stream, brief.places.clone()).await?;
            if let Some(incident) = incident_of(brief, &entries) {
                whole.incidents.insert_mut(brief.id, incident);
            }
        }
        for brief in runs {
            let entries = self.store.read_at(&stream, brief.places.clone()).await?;
            if let Some(run) = run_of(brief, &entries) {
                whole.runs.insert_mut(brief.id, run);
            }
        }
        let mut cell = Cell::clone(&cell);
        cell.state = whole;
        Ok(Arc::new(cell))
    }
}

fn incident_of(brief: &Incident, entries: &[Entry]) -> Option<Incident> {
    let mut whole: Option<Incident> = None;
    for entry in entries {
        let record = Record::decode(&entry.kind, entry.ver, &entry.body).ok()?;
        let Record::Incident(IncidentRecord { event, .. }) = record else { return None };
        match &mut whole {
            Some(incident) => incident.apply(&event, entry.at),
            None => whole = Some(Incident::open(brief.id, &event, entry.at)?),
        }
    }
    whole.map(|whole| Incident { places: brief.places.clone(), ..whole })
}

fn run_of(brief: &Run, entries: &[Entry]) -> Option<Run> {
    let mut whole: Option<Run> = None;
    for entry in entries {
        let record = Record::decode(&entry.kind, entry.ver, &entry.body).ok()?;
        let Record::Run(RunRecord { event, .. }) = record else { return None };
        match &mut whole {
            Some(run) => apply(run, &event, entry.at).ok()?,
            None => whole = Some(Run::start(brief.id, &event, entry.at)?),
        }
    }
    let mut whole = whole?;
    whole.places.clone_from(&brief.places);
    Some(whole)
}
