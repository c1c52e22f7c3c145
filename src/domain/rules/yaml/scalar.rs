//! Values of scalars: the only place that calls `serde_yaml`.
//!
//! Each scalar is read by itself from its source text. `serde_yaml` is archived upstream; a successor
//! is exchanged here and nowhere else.

use super::ScalarValue;

/// Reads one scalar as it stands in the file, quotes or block header included.
///
/// `None` where `serde_yaml` sees no scalar there; the caller then keeps the event's text.
pub(super) fn value(source: &str) -> Option<ScalarValue> {
    match serde_yaml::from_str::<serde_yaml::Value>(source).ok()? {
        serde_yaml::Value::Null => Some(ScalarValue::Null),
        serde_yaml::Value::Bool(flag) => Some(ScalarValue::Bool(flag)),
        serde_yaml::Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => ScalarValue::Int(int),
            (None, Some(float)) => ScalarValue::Float(float),
            (None, None) => ScalarValue::Str(source.to_owned()),
        }),
        serde_yaml::Value::String(text) => Some(ScalarValue::Str(text)),
        serde_yaml::Value::Sequence(_)
        | serde_yaml::Value::Mapping(_)
        | serde_yaml::Value::Tagged(_) => None,
    }
}
