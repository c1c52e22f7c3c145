//! A playbook resolved for one run: text, parameters and targets fixed, stored with the run.
//!
//! Editing YAML never changes a run in flight: the stored text is parsed again, never the file.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::{
    base::{
        id::{ClusterName, HostName, MemberName, PlaybookName},
        time::{format_duration, parse_duration},
    },
    inventory::Cluster,
    rules::{
        action::Catalogue,
        diagnostic::{Diagnostic, Severity},
        document::{self, DocumentKind},
        expr::Value,
        playbook::{
            model::{Param, ParamType, Playbook},
            parse,
        },
        yaml::{documents, read::Sink},
    },
};

/// What a run is going to do, fixed at dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The playbook's name.
    pub playbook: PlaybookName,
    /// The cluster it repairs.
    pub cluster: ClusterName,
    /// The playbook's document.
    pub text: String,
    /// SHA-256 of [`Plan::text`], hex.
    pub digest: String,
    /// Parameters by name; those without a value are missing.
    #[serde(with = "values")]
    pub params: BTreeMap<String, Value>,
    /// The members a hole may name, in inventory order.
    pub members: Vec<MemberName>,
    /// The hosts a hole may name, by name.
    pub hosts: Vec<HostName>,
}

impl Plan {
    /// Fixes a playbook for a cluster. The errors are for people, one per wrong parameter.
    pub fn new(
        playbook: &Playbook,
        mut given: BTreeMap<String, Value>,
        inventory: &Cluster,
    ) -> Result<Self, Vec<String>> {
        let mut plan = Self {
            playbook: playbook.name.clone(),
            cluster: inventory.name.clone(),
            text: playbook.text.clone(),
            digest: playbook.digest.clone(),
            params: BTreeMap::new(),
            members: inventory.etcd.members.iter().map(|member| member.name.clone()).collect(),
            hosts: inventory.hosts.keys().cloned().collect(),
        };
        let mut wrong = Vec::new();
        for param in &playbook.params {
            match plan.param(param, given.remove(&param.name)) {
                Ok(Some(value)) => drop(plan.params.insert(param.name.clone(), value)),
                Ok(None) => {}
                Err(why) => wrong.push(why),
            }
        }
        wrong.extend(
            given.keys().map(|name| format!("{} has no parameter `{name}`", plan.playbook)),
        );
        if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
    }

    fn param(&self, param: &Param, given: Option<Value>) -> Result<Option<Value>, String> {
        let Some(value) = given else {
            if param.required {
                return Err(format!("`{}` must be given", param.name));
            }
            return Ok(param.default.clone());
        };
        let value = param.accept(value)?;
        let known = value.as_str().is_none_or(|name| match param.ty {
            ParamType::Member => self.members.iter().any(|member| member.as_str() == name),
            ParamType::Host => self.hosts.iter().any(|host| host.as_str() == name),
            // The inventory of hosts knows no nodes.
            ParamType::Node => false,
            ParamType::String
            | ParamType::Int
            | ParamType::Bool
            | ParamType::Duration
            | ParamType::List => true,
        });
        if known {
            return Ok(Some(value));
        }
        let name = value.as_str().unwrap_or_default();
        Err(format!("`{}`: {} has no {} {name:?}", param.name, self.cluster, param.ty.label()))
    }

    /// The playbook, read again from the stored text.
    ///
    /// Fails where the text was written for another catalogue or version than this one.
    pub fn playbook(&self, catalogue: &Catalogue) -> Result<Playbook, Vec<Diagnostic>> {
        let file = format!("plan of {}", self.playbook);
        let mut sink = Sink::new(&file, &self.text);
        let (documents, found) = documents(&self.text);
        for (code, span, message, help) in found {
            sink.push(code, &span, message, help);
        }
        let root = documents.first().map(|document| &document.root);
        let head = root.and_then(|root| document::head(root, &mut sink));
        let playbook = head
            .filter(|head| head.kind == DocumentKind::Playbook)
            .and_then(|head| parse::playbook(&head, &self.text, catalogue, &mut sink));
        let found = sink.finish();
        let failed = found.iter().any(|found| found.severity == Severity::Error);
        playbook.filter(|_| !failed).ok_or(found)
    }
}

/// Parameters as JSON. A duration is `{"duration": "5m"}`, as JSON has none.
mod values {
    use super::{
        BTreeMap, Deserialize, Deserializer, Serialize, Serializer, Value, format_duration,
        parse_duration,
    };

    pub(super) fn serialize<S: Serializer>(
        values: &BTreeMap<String, Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let json = |value: &Value| match value {
            Value::Duration(millis) => {
                let span = std::time::Duration::from_millis(u64::try_from(*millis).unwrap_or(0));
                serde_json::json!({ "duration": format_duration(span) })
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Double(_)
            | Value::Str(_)
            | Value::Time(_)
            | Value::List(_)
            | Value::Map(_) => value.to_json(),
        };
        let all: BTreeMap<_, _> = values.iter().map(|(name, value)| (name, json(value))).collect();
        all.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, Value>, D::Error> {
        let all = BTreeMap::<String, serde_json::Value>::deserialize(from)?;
        all.into_iter().map(|(name, json)| Ok((name, value(&json)?))).collect()
    }

    fn value<E: super::de::Error>(json: &serde_json::Value) -> Result<Value, E> {
        let read = match json.get("duration").and_then(serde_json::Value::as_str) {
            Some(text) => parse_duration(text)
                .ok()
                .and_then(|span| i64::try_from(span.as_millis()).ok())
                .map(Value::Duration),
            None => Value::from_json(json),
        };
        read.ok_or_else(|| E::custom(format!("{json} is no parameter's value")))
    }
}
