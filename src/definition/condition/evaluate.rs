//! Evaluates a parsed expression over a thread's data.
//!
//! The evaluator pays for everything that takes time or memory before it does it. It reads data as
//! they are needed: of an input of a megabyte, `input.kind == 'a'` reads through it once and makes
//! one value.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here has no meaning in a condition"
)]

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use cel::IdedExpr;
use cel::common::ast::{
    ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr, operators,
};

use super::calls;
use super::meter::{Meter, Stop};
use super::survey::TYPES;
use super::value::{Key, Value, of_json};
use crate::definition::scan;

/// The data that an expression can name, as text.
#[derive(Debug, Default)]
pub(super) struct Roots<'a> {
    pub(super) input: &'a str,
    pub(super) thread: &'a str,
    pub(super) output: Option<&'a str>,
    /// The steps that the expression names, by their ids: status and output.
    pub(super) steps: BTreeMap<&'a str, (&'static str, &'a str)>,
    /// The ids of those steps that the map `steps` holds.
    pub(super) indexed: Vec<&'a str>,
}

/// A thing that the expression names and that has not been made a value yet.
enum Named<'a> {
    Json(&'a str),
    Word(&'a str),
    Thread,
    Step(&'a str),
    Steps,
}

/// One evaluation of an expression.
pub(super) struct Evaluation<'a> {
    pub(super) roots: &'a Roots<'a>,
    pub(super) meter: &'a Meter,
    /// The variables of the enclosing macros, the innermost last.
    bound: Vec<(&'a str, Value)>,
    /// The values of names in the expression, by the ids of their nodes.
    known: HashMap<u64, Value>,
}

type Answer = Result<Value, Stop>;

impl<'a> Evaluation<'a> {
    pub(super) fn new(roots: &'a Roots<'a>, meter: &'a Meter) -> Self {
        Self { roots, meter, bound: Vec::new(), known: HashMap::new() }
    }

    /// Evaluates an expression. The survey has bounded its depth.
    pub(super) fn value(&mut self, ided: &'a IdedExpr) -> Answer {
        self.meter.spend(1)?;
        match &ided.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => match self.variable(name) {
                Some(value) => Ok(value),
                None => self.name(ided)?.ok_or_else(|| unknown(name)),
            },
            Expr::Select(select) => self.select(ided, select),
            Expr::Call(call) => match (call.func_name.as_str(), &call.target, &*call.args) {
                (operators::LOGICAL_AND, None, [one, two]) => self.both(one, two, false),
                (operators::LOGICAL_OR, None, [one, two]) => self.both(one, two, true),
                (operators::CONDITIONAL, None, [when, then, otherwise]) => {
                    match self.value(when)? {
                        Value::Bool(true) => self.value(then),
                        Value::Bool(false) => self.value(otherwise),
                        other => Err(no_bool(&other)),
                    }
                }
                (operators::NOT_STRICTLY_FALSE, None, [of]) => match self.value(of) {
                    Err(Stop::Spent) => Err(Stop::Spent),
                    Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                    Ok(_) | Err(Stop::Failed(_)) => Ok(Value::Bool(true)),
                },
                (operators::INDEX, None, [of, index]) => {
                    if let Some(value) = self.name(ided)? {
                        return Ok(value);
                    }
                    let of = self.value(of)?;
                    let index = self.value(index)?;
                    calls::index(&of, &index, self.meter)
                }
                (name, target, args) => {
                    let mut values = match target {
                        Some(target) => vec![self.value(target)?],
                        None => Vec::new(),
                    };
                    values.extend(self.all(args)?);
                    calls::call(name, target.is_some(), &values, self.meter)
                }
            },
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(made) => self.comprehension(made),
            Expr::Struct(_) | Expr::Unspecified => {
                Err(Stop::failed("there are no such types here"))
            }
        }
    }

    fn all(&mut self, args: &'a [IdedExpr]) -> Result<Vec<Value>, Stop> {
        args.iter().map(|arg| self.value(arg)).collect()
    }

    fn literal(&self, literal: &LiteralValue) -> Answer {
        Ok(match literal {
            LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
            LiteralValue::Int(number) => Value::Int(*number.inner()),
            LiteralValue::UInt(number) => Value::UInt(*number.inner()),
            LiteralValue::Double(number) => Value::Double(*number.inner()),
            LiteralValue::Null => Value::Null,
            LiteralValue::String(text) => {
                self.meter.copy(text.inner().len())?;
                Value::text(text.inner())
            }
            LiteralValue::Bytes(bytes) => {
                self.meter.copy(bytes.inner().len())?;
                Value::Bytes(Rc::from(bytes.inner()))
            }
        })
    }

    fn variable(&self, name: &str) -> Option<Value> {
        self.bound.iter().rev().find(|(bound, _)| *bound == name).map(|(_, value)| value.clone())
    }

    /// Returns the value of a name, or of a path from one; `None` if it is not a name, or leads
    /// nowhere.
    fn name(&mut self, ided: &'a IdedExpr) -> Result<Option<Value>, Stop> {
        if let Some(known) = self.known.get(&ided.id) {
            return Ok(Some(known.clone()));
        }
        let Some(named) = self.named(ided)? else { return Ok(None) };
        let value = match named {
            Named::Json(text) => of_json(text, self.meter)?,
            Named::Word(word) => match TYPES.iter().find(|name| **name == word) {
                Some(name) if matches!(ided.expr, Expr::Ident(_)) => Value::Type(name),
                _ => Value::text(word),
            },
            Named::Thread => object([("id", Value::text(self.roots.thread))]),
            Named::Step(id) => self.step(id)?,
            Named::Steps => {
                let mut steps = BTreeMap::new();
                for id in &self.roots.indexed {
                    steps.insert(Key::Text(Rc::from(*id)), self.step(id)?);
                }
                Value::Map(Rc::new(steps))
            }
        };
        self.known.insert(ided.id, value.clone());
        Ok(Some(value))
    }

    fn step(&self, id: &str) -> Answer {
        let (status, output) = self.roots.steps.get(id).copied().unwrap_or(("pending", "null"));
        let output = of_json(output, self.meter)?;
        Ok(object([("output", output), ("status", Value::text(status))]))
    }

    fn named(&self, ided: &'a IdedExpr) -> Result<Option<Named<'a>>, Stop> {
        self.meter.spend(1)?;
        match &ided.expr {
            Expr::Ident(name) if self.bound.iter().any(|(bound, _)| bound == name) => Ok(None),
            Expr::Ident(name) => Ok(self.root(name.trim_start_matches('.'))),
            Expr::Select(select) if !select.test => {
                let Some(of) = self.named(&select.operand)? else { return Ok(None) };
                self.member(&of, &select.field)
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [of, index] = &*call.args else { return Ok(None) };
                match &index.expr {
                    Expr::Literal(LiteralValue::String(key)) => {
                        let Some(of) = self.named(of)? else { return Ok(None) };
                        self.member(&of, key.inner())
                    }
                    Expr::Literal(LiteralValue::Int(at)) => {
                        let Some(Named::Json(text)) = self.named(of)? else { return Ok(None) };
                        self.meter.read(text.len())?;
                        let at = usize::try_from(*at.inner()).ok();
                        Ok(at.and_then(|at| scan::items(text).nth(at)).map(Named::Json))
                    }
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn root(&self, name: &'a str) -> Option<Named<'a>> {
        match name {
            "input" => Some(Named::Json(self.roots.input)),
            "thread" => Some(Named::Thread),
            "output" if self.roots.output.is_some() => self.roots.output.map(Named::Json),
            "steps" => Some(Named::Steps),
            id if self.roots.steps.contains_key(id) => Some(Named::Step(id)),
            word if TYPES.contains(&word) => Some(Named::Word(word)),
            _ => None,
        }
    }

    fn member(&self, of: &Named<'a>, field: &'a str) -> Result<Option<Named<'a>>, Stop> {
        Ok(match of {
            Named::Json(text) => {
                self.meter.read(text.len())?;
                scan::member(text, field).map(Named::Json)
            }
            Named::Thread if field == "id" => Some(Named::Word(self.roots.thread)),
            Named::Steps => self.roots.indexed.contains(&field).then_some(Named::Step(field)),
            Named::Step(id) => match (self.roots.steps.get(id), field) {
                (Some((_, output)), "output") => Some(Named::Json(output)),
                (Some((status, _)), "status") => Some(Named::Word(status)),
                _ => None,
            },
            Named::Word(_) | Named::Thread => None,
        })
    }

    fn select(&mut self, ided: &'a IdedExpr, select: &'a SelectExpr) -> Answer {
        if select.test {
            if let Some(of) = self.named(&select.operand)? {
                match of {
                    Named::Json(text) if !text.starts_with('{') => {}
                    _ => return Ok(Value::Bool(self.member(&of, &select.field)?.is_some())),
                }
            }
            let of = self.value(&select.operand)?;
            return calls::has(&of, &select.field, self.meter);
        }
        if let Some(value) = self.name(ided)? {
            return Ok(value);
        }
        let of = self.value(&select.operand)?;
        calls::member(&of, &select.field, self.meter)
    }

    /// Evaluates `&&` or `||`. `absorbs` is the answer that one side gives alone, whatever the
    /// other side is.
    fn both(&mut self, one: &'a IdedExpr, two: &'a IdedExpr, absorbs: bool) -> Answer {
        let one = match self.value(one) {
            Err(Stop::Spent) => return Err(Stop::Spent),
            Ok(Value::Bool(value)) if value == absorbs => return Ok(Value::Bool(absorbs)),
            Ok(Value::Bool(_)) => None,
            Ok(other) => Some(no_bool(&other)),
            Err(failed) => Some(failed),
        };
        match (one, self.value(two)?) {
            (_, Value::Bool(value)) if value == absorbs => Ok(Value::Bool(absorbs)),
            (None, Value::Bool(value)) => Ok(Value::Bool(value)),
            (Some(failed), _) => Err(failed),
            (None, other) => Err(no_bool(&other)),
        }
    }

    fn list(&mut self, list: &'a ListExpr) -> Answer {
        self.meter.make(list.elements.len())?;
        let mut items = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            items.push(self.value(element)?);
        }
        Ok(Value::List(Rc::new(items)))
    }

    fn map(&mut self, map: &'a MapExpr) -> Answer {
        self.meter.make(map.entries.len())?;
        let mut made = BTreeMap::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Stop::failed("there are no such types here"));
            };
            let key = self.value(&entry.key)?;
            let name = key.type_name();
            let key = key.key().ok_or_else(|| Stop::failed(format!("no {name} is a key")))?;
            let value = self.value(&entry.value)?;
            calls::pay_for_key(&key, self.meter)?;
            if made.insert(key, value).is_some() {
                return Err(Stop::failed("a map has a key twice"));
            }
        }
        Ok(Value::Map(Rc::new(made)))
    }

    fn comprehension(&mut self, made: &'a ComprehensionExpr) -> Answer {
        let start = self.value(&made.accu_init)?;
        let range = self.value(&made.iter_range)?;
        let depth = self.bound.len();
        let answer = match &range {
            Value::List(items) => self.folded(made, start, items.iter().cloned()),
            Value::Map(map) => self.folded(made, start, map.keys().map(Value::from)),
            other => Err(Stop::failed(format!("{} has no items", other.type_name()))),
        };
        self.bound.truncate(depth);
        answer
    }

    /// Runs the body of a macro for each item.
    fn folded(
        &mut self,
        made: &'a ComprehensionExpr,
        start: Value,
        items: impl Iterator<Item = Value>,
    ) -> Answer {
        let at = self.bound.len();
        self.bound.push((&made.accu_var, start));
        self.bound.push((&made.iter_var, Value::Null));
        let append = append_of(made);
        let lenient = is_logical(made);
        let mut failed = None;
        for item in items {
            if !matches!(self.value(&made.loop_cond)?, Value::Bool(true)) {
                break;
            }
            self.set(at + 1, item);
            if let Some((guard, list)) = append {
                let wanted = match guard {
                    Some(guard) => self.value(guard)?,
                    None => Value::Bool(true),
                };
                match wanted {
                    Value::Bool(false) => continue,
                    Value::Bool(true) => {}
                    other => return Err(no_bool(&other)),
                }
                let more = self.all(list)?;
                self.meter.make(more.len())?;
                if let Some((_, Value::List(items))) = self.bound.get_mut(at) {
                    Rc::make_mut(items).extend(more);
                }
                continue;
            }
            match self.value(&made.loop_step) {
                // A later item may decide the answer although this one fails.
                Err(Stop::Failed(why)) if lenient => failed = Some(why),
                Ok(Value::Bool(value)) if lenient && failed.is_some() => {
                    if value == absorbing(made) {
                        failed = None;
                        self.set(at, Value::Bool(value));
                    }
                }
                step => {
                    let step = step?;
                    self.set(at, step);
                }
            }
        }
        if let Some(why) = failed {
            return Err(Stop::Failed(why));
        }
        self.value(&made.result)
    }

    fn set(&mut self, at: usize, value: Value) {
        if let Some((_, bound)) = self.bound.get_mut(at) {
            *bound = value;
        }
    }
}

/// Returns the list that the step of a `map` or `filter` appends to its result, and the condition
/// for that.
fn append_of(made: &ComprehensionExpr) -> Option<(Option<&IdedExpr>, &[IdedExpr])> {
    let accu = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if *name == made.accu_var);
    let Expr::Call(call) = &made.loop_step.expr else { return None };
    let (guard, step) = match (call.func_name.as_str(), &*call.args) {
        (operators::CONDITIONAL, [guard, step, otherwise]) if accu(otherwise) => {
            (Some(guard), step)
        }
        _ => (None, &made.loop_step),
    };
    let Expr::Call(call) = &step.expr else { return None };
    match (call.func_name.as_str(), &*call.args) {
        (operators::ADD, [before, IdedExpr { expr: Expr::List(list), .. }])
            if accu(before) && list.optional_indices.is_empty() =>
        {
            Some((guard, &list.elements))
        }
        _ => None,
    }
}

/// Returns whether the step is `@result && …` or `@result || …`, as in `all` and `exists`.
fn is_logical(made: &ComprehensionExpr) -> bool {
    let Expr::Call(call) = &made.loop_step.expr else { return false };
    let folds = matches!(call.args.first().map(|arg| &arg.expr),
        Some(Expr::Ident(name)) if *name == made.accu_var);
    folds && [operators::LOGICAL_AND, operators::LOGICAL_OR].contains(&call.func_name.as_str())
}

fn absorbing(made: &ComprehensionExpr) -> bool {
    matches!(&made.loop_step.expr, Expr::Call(call) if call.func_name == operators::LOGICAL_OR)
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.map(|(key, value)| (Key::Text(Rc::from(key)), value));
    Value::Map(Rc::new(BTreeMap::from(members)))
}

fn unknown(name: &str) -> Stop {
    Stop::failed(format!("{name:?} is not known here"))
}

fn no_bool(value: &Value) -> Stop {
    Stop::failed(format!("true or false is wanted, not {}", value.type_name()))
}
