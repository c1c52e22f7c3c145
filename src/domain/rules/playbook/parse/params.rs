//! Declared parameters.

use std::sync::Arc;

use crate::domain::{
    base::time::parse_duration,
    rules::{
        codes,
        expr::{Type, Value},
        playbook::model::{Param, ParamType},
        yaml::{
            Key, Kind, Node, ScalarValue,
            read::{Fields, Names, Sink, boolean, int, text, word},
        },
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

fn compile(node: &Node, sink: &mut Sink<'_>) -> Option<regex::Regex> {
    let anchored = format!("^(?:{})$", text(node, sink)?);
    // As for expressions and matchers: a pattern from a file cannot eat the memory.
    let built = regex::RegexBuilder::new(&anchored).size_limit(64 << 10).build();
    let message = |error: regex::Error| {
        error.to_string().lines().last().unwrap_or("bad pattern").trim().to_owned()
    };
    built.map_err(|error| sink.add(&codes::BAD_DEFAULT, &node.span, message(error))).ok()
}

impl ParamType {
    /// All types, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::String,
        Self::Int,
        Self::Bool,
        Self::Duration,
        Self::List,
        Self::Member,
        Self::Host,
        Self::Node,
    ];

    /// The word in YAML.
    pub fn label(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Member => "member",
            Self::Host => "host",
            Self::Node => "node",
        }
    }

    /// The type that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.label() == word)
    }

    /// The type of the variable `params.NAME`.
    pub fn variable(self) -> Type {
        match self {
            Self::Int => Type::Int,
            Self::Bool => Type::Bool,
            Self::Duration => Type::Duration,
            Self::List => Type::list(Type::Str),
            Self::String | Self::Member | Self::Host | Self::Node => Type::Str,
        }
    }
}

impl Param {
    /// The value as this parameter's type has it, within its bounds; the error is for people.
    ///
    /// Texts are read as what is wanted (`--set bump=5` gives a text). Whether a name is in the
    /// inventory is not checked here.
    pub fn accept(&self, value: Value) -> Result<Value, String> {
        let wrong = || format!("`{}` must be of type {}", self.name, self.ty.label());
        let value = match (self.ty, value) {
            (ParamType::Int, Value::Str(text)) => Value::Int(text.parse().map_err(|_| wrong())?),
            (ParamType::Bool, Value::Str(text)) => Value::Bool(text.parse().map_err(|_| wrong())?),
            (ParamType::Duration, Value::Str(text)) => duration(&text).ok_or_else(wrong)?,
            (ParamType::List, Value::Str(text)) => {
                Value::list(text.split(',').map(|item| Value::Str(item.trim().into())).collect())
            }
            (_, value) => value,
        };
        let fits = match self.ty {
            ParamType::Int => value.as_int().is_some(),
            ParamType::Bool => value.as_bool().is_some(),
            ParamType::Duration => matches!(value, Value::Duration(_)),
            ParamType::List => value
                .as_list()
                .is_some_and(|items| items.iter().all(|item| item.as_str().is_some())),
            ParamType::String | ParamType::Member | ParamType::Host | ParamType::Node => {
                value.as_str().is_some()
            }
        };
        if !fits {
            return Err(wrong());
        }
        if let Some(whole) = value.as_int() {
            if let Some(min) = self.min.filter(|min| whole < *min) {
                return Err(format!("`{}` is {whole}, the smallest allowed is {min}", self.name));
            }
            if let Some(max) = self.max.filter(|max| whole > *max) {
                return Err(format!("`{}` is {whole}, the largest allowed is {max}", self.name));
            }
        }
        if let (Some(pattern), Some(text)) = (&self.pattern, value.as_str())
            && !pattern.is_match(text)
        {
            return Err(format!("`{}` does not match its pattern", self.name));
        }
        Ok(value)
    }
}

fn duration(text: &str) -> Option<Value> {
    let millis = i64::try_from(parse_duration(text).ok()?.as_millis()).ok()?;
    Some(Value::Duration(millis))
}
