//! The verbs that ask a server.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

use super::{
    Failed,
    args::{
        Approve, Attest, Because, OfRun, One, Output, Paging, Pause, Plan, Server, Shown, Verb,
    },
    client::Asker,
    lists,
    out::{Out, clean, complain},
    story,
};
use crate::http::views::{AlertView, Done, Page, PlanView, WhyView};

/// Does one verb.
pub(super) fn ask(verb: Verb, server: &Server, out: &mut Out) -> Result<(), Failed> {
    let asker = Asker::new(server)?;
    match verb {
        Verb::Clusters(one) => {
            show(&asker, "clusters", &one, out, lists::clusters, story::cluster::text)
        }
        Verb::Alerts(alerts) => {
            let (page, shown) = (&alerts.page, &alerts.shown);
            list::<AlertView>(&asker, "alerts", page, shown, out, lists::alerts)
        }
        Verb::Incidents(one) => {
            show(&asker, "incidents", &one, out, lists::incidents, story::incident::text)
        }
        Verb::Runs(one) => show(&asker, "runs", &one, out, lists::runs, story::run::text),
        Verb::Losses(one) => show(&asker, "losses", &one, out, lists::losses, story::loss::text),
        Verb::Why { id, shown } => {
            let json = asker.get(&["why", &id], &[])?;
            print::<WhyView>(json, &shown, out, |view| story::why::text(&view))
        }
        Verb::Plan(plan) => self::plan(&asker, &plan, out),
        Verb::Approve(approve) => self::approve(&asker, &approve, out),
        Verb::Deny(of) => of_run(&asker, "deny", &of, out),
        Verb::Resume(of) => of_run(&asker, "resume", &of, out),
        Verb::Abandon(of) => of_run(&asker, "abandon", &of, out),
        Verb::Ack { loss, because } => {
            order(&asker, &["losses", &loss, "ack"], &body(&because), out)
        }
        Verb::Attest(attest) => self::attest(&asker, &attest, out),
        Verb::Pause(pause) => self::pause(&asker, &pause, out),
        Verb::Unpause { cluster, because } => {
            order(&asker, &["clusters", &cluster, "unpause"], &body(&because), out)
        }
        Verb::Serve(_) | Verb::Check(_) | Verb::Store(_) | Verb::Version | Verb::Child(_) => Ok(()),
    }
}

/// One item with everything about it, or a list.
fn show<T: DeserializeOwned>(
    asker: &Asker,
    kind: &str,
    one: &One,
    out: &mut Out,
    table: impl FnOnce(&[T]) -> String,
    story: impl FnOnce(&T) -> String,
) -> Result<(), Failed> {
    match &one.id {
        None => list(asker, kind, &one.page, &one.shown, out, table),
        Some(id) => {
            let json = asker.get(&[kind, id], &[])?;
            print::<T>(json, &one.shown, out, |view| story(&view))
        }
    }
}

fn list<T: DeserializeOwned>(
    asker: &Asker,
    kind: &str,
    paging: &Paging,
    shown: &Shown,
    out: &mut Out,
    table: impl FnOnce(&[T]) -> String,
) -> Result<(), Failed> {
    let limit = paging.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    let rest = [("after", &paging.after), ("cluster", &paging.cluster), ("state", &paging.state)];
    query.extend(rest.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    let json = asker.get(&[kind], &query)?;
    let next = json.get("next").and_then(Json::as_str).map(str::to_owned);
    print::<Page<T>>(json, shown, out, |page| {
        if page.items.is_empty() { format!("no {kind}\n") } else { table(&page.items) }
    })?;
    if let Some(next) = next.filter(|_| shown.output == Output::Table) {
        complain(format!("there are more: --after {next}"));
    }
    Ok(())
}

fn print<T: DeserializeOwned>(
    json: Json,
    shown: &Shown,
    out: &mut Out,
    text: impl FnOnce(T) -> String,
) -> Result<(), Failed> {
    let unexpected = |what: String| Failed::Unreachable(format!("an unexpected answer: {what}"));
    match shown.output {
        Output::Json => {
            let pretty = serde_json::to_string_pretty(&json);
            out.line(pretty.map_err(|error| unexpected(error.to_string()))?);
        }
        Output::Yaml => {
            let yaml = serde_yaml::to_string(&json);
            out.text(yaml.map_err(|error| unexpected(error.to_string()))?);
        }
        Output::Table => {
            let view = serde_json::from_value(json);
            out.text(text(view.map_err(|error| unexpected(error.to_string()))?));
        }
    }
    Ok(())
}

fn body(because: &Because) -> Json {
    json!({ "reason": because.reason })
}

fn order(asker: &Asker, path: &[&str], body: &Json, out: &mut Out) -> Result<(), Failed> {
    let done = serde_json::from_value::<Done>(asker.post(path, body)?);
    let done =
        done.map_err(|error| Failed::Unreachable(format!("an unexpected answer: {error}")))?;
    out.line(clean(&done.message));
    Ok(())
}

fn of_run(asker: &Asker, verb: &str, of: &OfRun, out: &mut Out) -> Result<(), Failed> {
    order(asker, &["runs", &of.run, verb], &body(&of.because), out)
}

fn approve(asker: &Asker, approve: &Approve, out: &mut Out) -> Result<(), Failed> {
    let mut body = body(&approve.of.because);
    if let Some(digest) = &approve.digest {
        body["digest"] = json!(digest);
    }
    if let Some(max_loss) = approve.max_loss {
        body["max_loss"] = json!(max_loss);
    }
    order(asker, &["runs", &approve.of.run, "approve"], &body, out)
}

fn attest(asker: &Asker, attest: &Attest, out: &mut Out) -> Result<(), Failed> {
    let mut body = body(&attest.because);
    body["member"] = json!(attest.member);
    body["for"] = json!(attest.lasts);
    order(asker, &["clusters", &attest.cluster, "attest"], &body, out)
}

fn pause(asker: &Asker, pause: &Pause, out: &mut Out) -> Result<(), Failed> {
    let mut body = body(&pause.because);
    if let Some(lasts) = &pause.lasts {
        body["for"] = json!(lasts);
    }
    order(asker, &["clusters", &pause.cluster, "pause"], &body, out)
}

fn plan(asker: &Asker, plan: &Plan, out: &mut Out) -> Result<(), Failed> {
    let mut params = Map::new();
    for given in &plan.params {
        let Some((name, value)) = given.split_once('=') else {
            return Err(Failed::Usage(format!("--set {given:?} is no KEY=VALUE")));
        };
        // 3, true and lists are what they look like; all else is text
        let json = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        params.insert(name.into(), json);
    }
    let body = json!({ "playbook": plan.playbook, "cluster": plan.cluster, "params": params });
    let json = asker.post(&["plans"], &body)?;
    print::<PlanView>(json, &plan.shown, out, |view| story::plan::text(&view))
}
