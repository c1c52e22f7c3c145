//! From a YAML document to a valid [`Response`], with everything that is wrong with it.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::{About, Approval, Grace, Quarantine, Response, Role, Rung};
use crate::domain::{
    alert::labels::Matchers,
    base::id::{PlaybookName, ResponseName},
    rules::{
        codes,
        document::Head,
        expr::{Expr, Schema, Template},
        playbook::{
            model::Arg,
            parse::{condition, digest, literal},
        },
        vocabulary,
        yaml::{
            Kind, Node, locate,
            read::{Bounds, Fields, Names, Sink, count, duration, list, text, texts, word},
        },
    },
};

mod guards;

/// Everything up to a week: what is longer is a mistyped unit.
pub(super) const SPAN: Bounds<Duration> = Duration::ZERO..=Duration::from_hours(7 * 24);
/// A grace window below a second, or samples more often, measures jitter.
const GRACE: Bounds<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// Samples of one grace.
const SAMPLES: Bounds<u32> = 2..=1000;
/// Context lasts as long as the longest usual `group_interval`, several times.
const MEMORY: Duration = Duration::from_mins(30);
/// Twice the usual `repeat_interval` of 4 h, and 5 minutes.
const STALE_AFTER: Duration = Duration::from_mins(485);

/// Where the names stand that are checked across files.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The response's own name.
    pub name: Range<usize>,
    /// Each entry of `inhibits`.
    pub inhibits: Vec<Range<usize>>,
    /// `quarantine`.
    pub quarantine: Option<Range<usize>>,
    /// Each rung: its playbook, and each parameter in `with`.
    pub rungs: Vec<RungPlaces>,
}

/// Where a rung's names stand.
#[derive(Clone, Debug, Default)]
pub struct RungPlaces {
    /// The playbook's name.
    pub playbook: Range<usize>,
    /// Values by parameter name.
    pub with: BTreeMap<String, Range<usize>>,
}

/// Reads the spec of a response. `document` is the text it came from.
///
/// The result may be there although problems were reported; it must not be used then.
pub fn response(
    head: &Head<'_>,
    document: &str,
    sink: &mut Sink<'_>,
) -> (Option<Response>, Places) {
    let mut places = Places { name: head.name_span.clone(), ..Places::default() };
    let response = read(head, document, sink, &mut places);
    (response, places)
}

fn read(
    head: &Head<'_>,
    document: &str,
    sink: &mut Sink<'_>,
    places: &mut Places,
) -> Option<Response> {
    let mut fields = Fields::of(head.spec, sink)?;
    let words = About::ALL.map(About::label);
    let about = fields.need("about", sink).and_then(|node| word(node, &words, sink));
    let about = about.and_then(About::parse);
    let subject = fields.get("subject").and_then(|node| subject(node, about, sink));
    let subject = subject.unwrap_or_else(|| vec!["cluster".to_owned()]);
    let signals = fields.need("signals", sink).map(|node| signals(node, sink)).unwrap_or_default();
    let when = fields.need("when", sink);
    let memory = fields.get("memory").and_then(|node| duration(node, &SPAN, sink));
    let stale_after = fields.get("stale_after").and_then(|node| duration(node, &SPAN, sink));
    let grace = fields.need("grace", sink).and_then(|node| grace(node, sink));
    let confirm = fields.need("confirm", sink);
    let inhibits = fields.get("inhibits").map(|node| inhibits(node, sink, places));
    let quarantine = fields.entry("quarantine");
    let guards = fields.get("guards").and_then(|node| guards::read(node, sink));
    let ladder = fields.need("ladder", sink);
    let approval = fields.get("approval").and_then(|node| approval(node, sink));
    fields.finish(sink);

    let names = || signals.keys().map(String::as_str);
    let labels = || subject.iter().map(String::as_str);
    let trigger = vocabulary::trigger_schema(names(), labels());
    let schema = vocabulary::response_schema(names(), labels());
    let when = when.and_then(|node| condition(node, &trigger, sink));
    let confirm = confirm.and_then(|node| condition(node, &schema, sink));
    places.quarantine = quarantine.map(|(key, _)| key.span.clone());
    let quarantine = quarantine.and_then(|(_, node)| self::quarantine(node, &schema, sink));
    let ladder = ladder.map(|node| rungs(node, &schema, sink, places));
    Some(Response {
        name: ResponseName::from(head.name.as_str()),
        description: head.description.clone(),
        about: about?,
        subject,
        signals,
        when: when?,
        memory: memory.unwrap_or(MEMORY),
        stale_after: stale_after.unwrap_or(STALE_AFTER),
        grace: grace?,
        confirm: confirm?,
        inhibits: inhibits.unwrap_or_default(),
        quarantine,
        guards: guards.unwrap_or_default(),
        ladder: ladder?,
        approval: approval.unwrap_or_default(),
        text: document.to_owned(),
        digest: digest(document),
    })
}

fn subject(node: &Node, about: Option<About>, sink: &mut Sink<'_>) -> Option<Vec<String>> {
    let labels = texts(node, sink)?;
    let is_label = |name: &String| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(bad) = labels.iter().find(|name| !is_label(name)) {
        sink.add(&codes::BAD_NAME, &node.span, format!("`{bad}` is no label name"));
    }
    if !labels.iter().any(|name| name == "cluster") {
        let message = "`cluster` is missing among the subject's labels";
        let help = "every incident is about one cluster: write [cluster, …]";
        sink.add_help(&codes::OUT_OF_RANGE, &node.span, message, help);
    }
    if about == Some(About::Node) && labels.iter().all(|name| name == "cluster") {
        let message = "no label among the subject's names the node this is about";
        let help = "write [cluster, node], or whichever label of these alerts holds the node";
        sink.add_help(&codes::OUT_OF_RANGE, &node.span, message, help);
    }
    Some(labels)
}

fn signals(node: &Node, sink: &mut Sink<'_>) -> BTreeMap<String, Vec<Matchers>> {
    let Some(mut fields) = Fields::of(node, sink) else { return BTreeMap::new() };
    let pairs = fields.rest();
    if pairs.is_empty() {
        sink.add(&codes::OUT_OF_RANGE, &node.span, "at least one signal was expected here");
    }
    let mut signals = BTreeMap::new();
    for (key, value) in pairs {
        Names::Snake.check(&key.name, &key.span, sink);
        let items = match &value.kind {
            Kind::Seq(items) => items.as_slice(),
            Kind::Scalar(..) | Kind::Map(_) => std::slice::from_ref(value),
        };
        let all: Vec<_> = items.iter().filter_map(|item| matchers(item, sink)).collect();
        signals.insert(key.name.clone(), all);
    }
    signals
}

/// Alertmanager matchers in a text; the problem is placed inside it.
pub fn matchers(node: &Node, sink: &mut Sink<'_>) -> Option<Matchers> {
    let source = text(node, sink)?;
    match Matchers::parse(source) {
        Ok(matchers) => Some(matchers),
        Err(error) => {
            let span = locate(sink.text(), node, &(error.at..error.at + 1));
            let help = "write Alertmanager matchers, as {alertname=~\"etcd.*\", pod=\"\"}";
            sink.add_help(&codes::BAD_MATCHER, &span, error.message, help);
            None
        }
    }
}

fn grace(node: &Node, sink: &mut Sink<'_>) -> Option<Grace> {
    let mut fields = Fields::of(node, sink)?;
    let hold = fields.need("for", sink).and_then(|node| duration(node, &GRACE, sink));
    let samples = fields.need("samples", sink).and_then(|node| count(node, &SAMPLES, sink));
    let gap = fields.need("max_gap", sink);
    let max_gap = gap.and_then(|node| duration(node, &GRACE, sink));
    fields.finish(sink);
    let grace = Grace { hold: hold?, samples: samples?, max_gap: max_gap? };
    if grace.max_gap > grace.hold {
        let message = "`max_gap` is longer than the grace itself: two samples would be enough";
        sink.add(&codes::OUT_OF_RANGE, &gap?.span, message);
    }
    Some(grace)
}

fn inhibits(node: &Node, sink: &mut Sink<'_>, places: &mut Places) -> Vec<ResponseName> {
    let mut names = Vec::new();
    for item in list(node, sink).unwrap_or_default() {
        if let Some(name) = Names::Kebab.read(item, sink) {
            places.inhibits.push(item.span.clone());
            names.push(ResponseName::from(name));
        }
    }
    names
}

fn quarantine(node: &Node, schema: &Schema, sink: &mut Sink<'_>) -> Option<Quarantine> {
    let mut fields = Fields::of(node, sink)?;
    let until = fields.need("until", sink).and_then(|node| condition(node, schema, sink));
    let at_least = fields.get("at_least").and_then(|node| duration(node, &SPAN, sink));
    let most = fields.need("at_most", sink);
    let at_most = most.and_then(|node| duration(node, &SPAN, sink));
    fields.finish(sink);
    let at_least = at_least.unwrap_or(Duration::ZERO);
    if let (Some(at_most), Some(node)) = (at_most, most)
        && at_most < at_least
    {
        sink.add(&codes::OUT_OF_RANGE, &node.span, "`at_most` is shorter than `at_least`");
    }
    Some(Quarantine { until: until?, at_least, at_most: at_most? })
}

fn approval(node: &Node, sink: &mut Sink<'_>) -> Option<Approval> {
    let mut fields = Fields::of(node, sink)?;
    let mut approval = Approval::default();
    let words = Role::ALL.map(Role::label);
    let role = fields.get("role").and_then(|node| word(node, &words, sink)).and_then(Role::parse);
    approval.role = role.unwrap_or(approval.role);
    let timeout = fields.get("timeout").and_then(|node| duration(node, &GRACE_OF_APPROVAL, sink));
    approval.timeout = timeout.unwrap_or(approval.timeout);
    fields.finish(sink);
    Some(approval)
}

/// An approval rests on evidence that ages: never valid for more than a day.
const GRACE_OF_APPROVAL: Bounds<Duration> = Duration::from_secs(10)..=Duration::from_hours(24);

fn rungs(node: &Node, schema: &Schema, sink: &mut Sink<'_>, places: &mut Places) -> Vec<Rung> {
    let items = list(node, sink).unwrap_or_default();
    items.iter().filter_map(|item| rung(item, schema, sink, places)).collect()
}

fn rung(node: &Node, schema: &Schema, sink: &mut Sink<'_>, places: &mut Places) -> Option<Rung> {
    let mut fields = Fields::of(node, sink)?;
    let playbook = fields.need("playbook", sink);
    let after = fields.get("after").and_then(|node| duration(node, &SPAN, sink));
    let when = fields.get("when").map(|node| condition(node, schema, sink));
    let with = fields.get("with");
    fields.finish(sink);
    let playbook = playbook?;
    let name = Names::Kebab.read(playbook, sink)?;
    let mut place = RungPlaces { playbook: playbook.span.clone(), ..RungPlaces::default() };
    let mut params = BTreeMap::new();
    if let Some(mut fields) = with.and_then(|node| Fields::of(node, sink)) {
        for (key, value) in fields.rest() {
            place.with.insert(key.name.clone(), value.span.clone());
            params.extend(param(value, schema, sink).map(|arg| (key.name.clone(), arg)));
        }
    }
    let when: Option<Expr> = match when {
        Some(read) => Some(read?),
        None => None,
    };
    places.rungs.push(place);
    let after = after.unwrap_or(Duration::ZERO);
    Some(Rung { playbook: PlaybookName::from(name), after, when, with: params })
}

fn param(node: &Node, schema: &Schema, sink: &mut Sink<'_>) -> Option<Arg> {
    if let Some(source) = node.as_str() {
        let compiled = Template::compile(source, schema);
        let template = compiled.map_err(|problems| sink.expression(node, problems)).ok()?;
        return Some(Arg::Template(template));
    }
    let value = literal(node);
    if value.is_none() {
        sink.wanted(node, "a parameter's value");
    }
    value.map(Arg::Literal)
}
