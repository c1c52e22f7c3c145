//! What operators and functions make of values: checked arithmetic, exact comparison, and a price
//! for all work that grows with its operands.

use std::{cmp::Ordering, sync::Arc};

use super::{
    EvalError, HostOf, Value,
    ast::Op,
    eval::Evaluation,
    tree::{Function, Node},
    value::{order, truncate},
};

impl Evaluation<'_> {
    pub(super) fn binary(
        &mut self,
        node: &Node,
        op: Op,
        x: &Value,
        y: &Value,
    ) -> Result<Value, EvalError> {
        match op {
            Op::Equal => self.same(x, y).map(Value::Bool),
            Op::NotEqual => self.same(x, y).map(|same| Value::Bool(!same)),
            Op::In => self.contains(node, x, y).map(Value::Bool),
            Op::Less => self.compare(node, op, x, y, Ordering::is_lt),
            Op::LessOrEqual => self.compare(node, op, x, y, Ordering::is_le),
            Op::Greater => self.compare(node, op, x, y, Ordering::is_gt),
            Op::GreaterOrEqual => self.compare(node, op, x, y, Ordering::is_ge),
            Op::Add => self.add(node, x, y),
            Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder => calculate(node, op, x, y),
        }
    }

    /// Equality that pays for every part it looks at: values share parts, so that a short
    /// expression can make two that have billions.
    fn same(&mut self, x: &Value, y: &Value) -> Result<bool, EvalError> {
        self.pay(1)?;
        match (x, y) {
            (Value::List(a), Value::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !self.same(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for ((a_key, a), (b_key, b)) in a.iter().zip(b.iter()) {
                    if a_key != b_key || !self.same(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Str(a), Value::Str(b)) => {
                self.pay_for_text(a.len().min(b.len()))?;
                Ok(a == b)
            }
            _ => Ok(x == y),
        }
    }

    fn contains(&mut self, node: &Node, x: &Value, y: &Value) -> Result<bool, EvalError> {
        match (x, y) {
            (_, Value::List(items)) => {
                for item in items.iter() {
                    if self.same(x, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Value::Str(key), Value::Map(entries)) => {
                self.pay_for_text(key.len())?;
                Ok(entries.contains_key(key))
            }
            _ => Err(senseless(node, Op::In, x, y)),
        }
    }

    fn compare(
        &mut self,
        node: &Node,
        op: Op,
        x: &Value,
        y: &Value,
        wanted: fn(Ordering) -> bool,
    ) -> Result<Value, EvalError> {
        if let (Value::Str(a), Value::Str(b)) = (x, y) {
            self.pay_for_text(a.len().min(b.len()))?;
        }
        let order = order(x, y).ok_or_else(|| senseless(node, op, x, y))?;
        Ok(Value::Bool(wanted(order)))
    }

    fn add(&mut self, node: &Node, x: &Value, y: &Value) -> Result<Value, EvalError> {
        match (x, y) {
            (Value::Str(a), Value::Str(b)) => {
                self.pay_for_text(a.len() + b.len())?;
                Ok(Value::str(format!("{a}{b}")))
            }
            (Value::List(a), Value::List(b)) => {
                self.pay(a.len() + b.len())?;
                Ok(Value::list(a.iter().chain(b.iter()).cloned().collect()))
            }
            _ => calculate(node, Op::Add, x, y),
        }
    }

    pub(super) fn call(
        &mut self,
        node: &Node,
        function: Function,
        args: &[Value],
    ) -> Result<Value, EvalError> {
        match function {
            Function::Age => self.age(node, args),
            Function::Quorum => quorum(node, args),
            Function::Size => self.size(node, args),
            Function::String => self.string(node, args),
            Function::Int => int(node, args),
            Function::Double => double(node, args),
            Function::StartsWith => {
                self.texts(node, function, args, |text, part| text.starts_with(part))
            }
            Function::EndsWith => {
                self.texts(node, function, args, |text, part| text.ends_with(part))
            }
            Function::Contains => {
                self.texts(node, function, args, |text, part| text.contains(part))
            }
            Function::HostOf(of) => self.host_of(node, of, args),
        }
    }

    fn age(&mut self, node: &Node, args: &[Value]) -> Result<Value, EvalError> {
        let [Value::Time(since)] = args else { return Err(misused(node, Function::Age, args)) };
        let age = self.world.now().checked_sub(*since);
        age.map(Value::Duration).ok_or_else(|| EvalError::error(&node.span, "overflow"))
    }

    fn size(&mut self, node: &Node, args: &[Value]) -> Result<Value, EvalError> {
        let size = match args {
            [Value::Str(text)] => {
                self.pay_for_text(text.len())?;
                text.chars().count()
            }
            [Value::List(items)] => items.len(),
            [Value::Map(entries)] => entries.len(),
            _ => return Err(misused(node, Function::Size, args)),
        };
        i64::try_from(size).map(Value::Int).map_err(|_| EvalError::error(&node.span, "overflow"))
    }

    fn string(&mut self, node: &Node, args: &[Value]) -> Result<Value, EvalError> {
        if let [Value::Str(text)] = args {
            return Ok(Value::Str(text.clone()));
        }
        let text = args.first().and_then(Value::to_text);
        let text: Arc<str> = text.ok_or_else(|| misused(node, Function::String, args))?.into();
        self.pay_for_text(text.len())?;
        Ok(Value::Str(text))
    }

    fn texts(
        &mut self,
        node: &Node,
        function: Function,
        args: &[Value],
        holds: fn(&str, &str) -> bool,
    ) -> Result<Value, EvalError> {
        let [Value::Str(text), Value::Str(part)] = args else {
            return Err(misused(node, function, args));
        };
        self.pay_for_text(text.len())?;
        Ok(Value::Bool(holds(text, part)))
    }

    fn host_of(&mut self, node: &Node, of: HostOf, args: &[Value]) -> Result<Value, EvalError> {
        let [Value::Str(name)] = args else {
            return Err(misused(node, Function::HostOf(of), args));
        };
        self.world.host_of(of, name).ok_or_else(|| EvalError::Unknown {
            path: format!("hosts.{}({name})", of.method()),
            span: node.span.clone(),
        })
    }
}

fn calculate(node: &Node, op: Op, x: &Value, y: &Value) -> Result<Value, EvalError> {
    type Make = fn(i64) -> Value;
    let (make, a, b): (Make, i64, i64) = match (op, x, y) {
        (_, Value::Int(a), Value::Int(b)) => (Value::Int, *a, *b),
        (_, Value::Double(a), Value::Double(b)) => return decimals(node, op, *a, *b),
        (Op::Add | Op::Subtract, Value::Duration(a), Value::Duration(b))
        | (Op::Subtract, Value::Time(a), Value::Time(b)) => (Value::Duration, *a, *b),
        (Op::Add | Op::Subtract, Value::Time(a), Value::Duration(b))
        | (Op::Add, Value::Duration(a), Value::Time(b)) => (Value::Time, *a, *b),
        _ => return Err(senseless(node, op, x, y)),
    };
    let result = match op {
        Op::Add => a.checked_add(b),
        Op::Subtract => a.checked_sub(b),
        Op::Multiply => a.checked_mul(b),
        Op::Divide | Op::Remainder if b == 0 => {
            return Err(EvalError::error(&node.span, "division by zero"));
        }
        Op::Divide => a.checked_div(b),
        Op::Remainder => a.checked_rem(b),
        Op::Less
        | Op::LessOrEqual
        | Op::Greater
        | Op::GreaterOrEqual
        | Op::Equal
        | Op::NotEqual
        | Op::In => return Err(senseless(node, op, x, y)),
    };
    result.map(make).ok_or_else(|| EvalError::error(&node.span, "overflow"))
}

fn decimals(node: &Node, op: Op, a: f64, b: f64) -> Result<Value, EvalError> {
    Ok(Value::Double(match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::Multiply => a * b,
        Op::Divide => a / b,
        Op::Remainder
        | Op::Less
        | Op::LessOrEqual
        | Op::Greater
        | Op::GreaterOrEqual
        | Op::Equal
        | Op::NotEqual
        | Op::In => return Err(senseless(node, op, &Value::Double(a), &Value::Double(b))),
    }))
}

/// How many of `n` voters are a majority.
fn quorum(node: &Node, args: &[Value]) -> Result<Value, EvalError> {
    match args {
        [Value::Int(voters)] if *voters >= 0 => Ok(Value::Int(voters / 2 + 1)),
        [Value::Int(_)] => Err(EvalError::error(&node.span, "quorum of a negative number")),
        _ => Err(misused(node, Function::Quorum, args)),
    }
}

fn int(node: &Node, args: &[Value]) -> Result<Value, EvalError> {
    let whole = match args {
        [Value::Int(whole)] => Some(*whole),
        [Value::Double(number)] => truncate(*number),
        [Value::Str(text)] => text.parse().ok(),
        _ => return Err(misused(node, Function::Int, args)),
    };
    whole.map(Value::Int).ok_or_else(|| EvalError::error(&node.span, "not a whole number"))
}

fn double(node: &Node, args: &[Value]) -> Result<Value, EvalError> {
    let number = match args {
        [Value::Double(number)] => Some(*number),
        #[expect(clippy::cast_precision_loss, reason = "what a conversion to double is")]
        [Value::Int(whole)] => Some(*whole as f64),
        [Value::Str(text)] => text.parse().ok(),
        _ => return Err(misused(node, Function::Double, args)),
    };
    number.map(Value::Double).ok_or_else(|| EvalError::error(&node.span, "not a number"))
}

fn senseless(node: &Node, op: Op, x: &Value, y: &Value) -> EvalError {
    let message = format!("{} {op} {} has no meaning", x.type_name(), y.type_name());
    EvalError::error(&node.span, message)
}

fn misused(node: &Node, function: Function, args: &[Value]) -> EvalError {
    let types: Vec<_> = args.iter().map(Value::type_name).collect();
    EvalError::error(&node.span, format!("{} of {}", function.name(), types.join(", ")))
}
