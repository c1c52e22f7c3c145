//! Declared parameters.

use std::sync::Arc;

use crate::domain::rules::{
    codes,
    expr::{Type, Value},
    playbook::params::{Param, ParamType, Pattern},
    yaml::{
        Key, Kind, Node, ScalarValue,
        read::{Fields, Names, Sink, boolean, int, text, word},
    },
};

/// Reads `params`: a map from name to declaration.
pub(super) fn declared(node: &Node, sink: &mut Sink<'_>) -> Vec<Param> {
    let Some(mut fields) = Fields::of(node, sink) else { return Vec::new() };
    fields.rest().into_iter().filter_map(|(key, node)| param(key, node, sink)).collect()
}

/// The type of the variable `params`.
pub(super) fn record(params: &[Param]) -> Type {
    Type::record_of(
        params.iter().map(|param| (Arc::from(param.name.as_str()), param.ty.variable())),
    )
}

fn param(key: &Key, node: &Node, sink: &mut Sink<'_>) -> Option<Param> {
    Names::Snake.check(&key.name, &key.span, sink);
    let mut fields = Fields::of(node, sink)?;
    let words = ParamType::ALL.map(ParamType::label);
    let ty = fields.need("type", sink).and_then(|node| word(node, &words, sink));
    let ty = ty.and_then(ParamType::parse);
    let required = fields.get("required").and_then(|node| boolean(node, sink)).unwrap_or(false);
    let default = fields.get("default");
    let any = i64::MIN..=i64::MAX;
    let bounds = [fields.entry("min"), fields.entry("max")];
    let pattern = fields.entry("pattern");
    fields.finish(sink);
    let ty = ty?;
    for (key, _) in bounds.iter().flatten().filter(|_| ty != ParamType::Int) {
        sink.add(&codes::BAD_DEFAULT, &key.span, "bounds are for parameters of type `int`");
    }
    let [min, max] = bounds.map(|bound| bound.and_then(|(_, node)| int(node, &any, sink)));
    if let (Some(low), Some(high), Some(node)) = (min, max, bounds[0])
        && low > high
    {
        let message = format!("the smallest value {low} is above the largest {high}");
        sink.add(&codes::BAD_DEFAULT, &node.1.span, message);
    }
    let pattern = pattern.and_then(|(key, node)| {
        if ty != ParamType::String {
            let message = "a pattern is for parameters of type `string`";
            sink.add(&codes::BAD_DEFAULT, &key.span, message);
        }
        compile(node, sink)
    });
    let mut param =
        Param { name: key.name.clone(), ty, required, default: None, min, max, pattern };
    if let Some(node) = default {
        param.default = default_of(&param, node, sink);
    }
    Some(param)
}

fn default_of(param: &Param, node: &Node, sink: &mut Sink<'_>) -> Option<Value> {
    if param.required {
        let message = "a required parameter's default is never used";
        let help = "drop `required` or `default`";
        sink.add_help(&codes::BAD_DEFAULT, &node.span, message, help);
    }
    let checked = literal(node)
        .ok_or_else(|| format!("a {} was expected here", param.ty.label()))
        .and_then(|value| param.accept(value));
    checked.map_err(|message| sink.add(&codes::BAD_DEFAULT, &node.span, message)).ok()
}

/// A value as written; `None` for what no parameter can be.
pub(in crate::domain) fn literal(node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Scalar(ScalarValue::Bool(flag), _) => Some(Value::Bool(*flag)),
        Kind::Scalar(ScalarValue::Int(whole), _) => Some(Value::Int(*whole)),
        Kind::Scalar(ScalarValue::Str(text), _) => Some(Value::Str(text.as_str().into())),
        Kind::Scalar(ScalarValue::Null | ScalarValue::Float(_), _) | Kind::Map(_) => None,
        Kind::Seq(items) => items.iter().map(literal).collect::<Option<Vec<_>>>().map(Value::list),
    }
}

fn compile(node: &Node, sink: &mut Sink<'_>) -> Option<Pattern> {
    let message = |error: regex::Error| {
        error.to_string().lines().last().unwrap_or("bad pattern").trim().to_owned()
    };
    let built = Pattern::new(text(node, sink)?);
    built.map_err(|error| sink.add(&codes::BAD_DEFAULT, &node.span, message(error))).ok()
}
