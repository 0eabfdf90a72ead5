//! Finds the names in an expression, and how much work it can make.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};

/// The most levels of an expression's tree: each takes stack during the evaluation.
pub(super) const MAX_DEPTH: usize = 64;
/// The most unknown names of one expression that are reported: each is looked for in the ids of all
/// steps.
const MAX_UNKNOWN: usize = 20;
/// The names of types, which are values in CEL.
pub(super) const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The findings about an expression.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Whether the expression names `input`.
    pub(super) input: bool,
    /// Whether the expression names `output`.
    pub(super) output: bool,
    /// Whether the expression names `thread`.
    pub(super) thread: bool,
    /// The steps that the expression names by their ids.
    pub(super) steps: BTreeSet<String>,
    /// The steps that the expression names as `steps['id']`; all steps, if it computes the id.
    pub(super) indexed: BTreeSet<String>,
    /// The depth to which macros nest; `in` inside a macro counts as one.
    pub(super) nesting: usize,
    /// The number of operators, names and values.
    pub(super) nodes: usize,
}

impl Survey {
    /// Surveys an expression; the errors name the things that it must not name. With `over_output`,
    /// it may name the output that it judges.
    pub(super) fn of(
        expr: &IdedExpr,
        visible: &BTreeSet<&str>,
        over_output: bool,
    ) -> Result<Self, Vec<String>> {
        let mut walk = Walk {
            visible,
            over_output,
            survey: Self::default(),
            bound: Vec::new(),
            faults: BTreeSet::new(),
            unknown: BTreeSet::new(),
            names_all_steps: false,
            too_deep: false,
        };
        let nesting = walk.expr(expr, 0, 0);
        if walk.too_deep {
            return Err(vec![format!("a condition is nested at most {MAX_DEPTH} levels deep")]);
        }
        if !walk.faults.is_empty() {
            return Err(walk.faults.into_iter().collect());
        }
        Ok(Self { nesting, ..walk.survey })
    }
}

struct Walk<'a> {
    visible: &'a BTreeSet<&'a str>,
    over_output: bool,
    survey: Survey,
    /// The variables of the enclosing macros.
    bound: Vec<&'a str>,
    faults: BTreeSet<String>,
    /// The names that nothing here has.
    unknown: BTreeSet<&'a str>,
    /// Whether the expression names the steps as a whole.
    names_all_steps: bool,
    too_deep: bool,
}

impl<'a> Walk<'a> {
    /// Walks an expression at `depth`, inside `macros` macros, and returns how deep macros nest in
    /// it.
    fn expr(&mut self, ided: &'a IdedExpr, depth: usize, macros: usize) -> usize {
        if depth > MAX_DEPTH {
            self.too_deep = true;
            return 0;
        }
        self.survey.nodes += 1;
        let below = depth + 1;
        match &ided.expr {
            Expr::Unspecified | Expr::Literal(_) => 0,
            Expr::Ident(name) => {
                self.name(name);
                0
            }
            Expr::Select(select) => {
                if self.is_steps(&select.operand) {
                    self.indexed(&select.field);
                    return 0;
                }
                self.member(&select.operand, &select.field);
                self.expr(&select.operand, below, macros)
            }
            Expr::Call(call) => {
                if let (operators::INDEX, [of, index]) = (call.func_name.as_str(), &*call.args)
                    && self.is_steps(of)
                    && let Expr::Literal(LiteralValue::String(id)) = &index.expr
                {
                    self.indexed(id.inner());
                    return 0;
                }
                let own = usize::from(call.func_name == operators::IN && macros > 0);
                let parts = call.args.iter().chain(call.target.as_deref());
                own + self.all(parts, below, macros)
            }
            Expr::List(list) => self.all(list.elements.iter(), below, macros),
            Expr::Map(map) => self.entries(map.entries.iter().map(|e| &e.expr), below, macros),
            Expr::Struct(made) => self.entries(made.entries.iter().map(|e| &e.expr), below, macros),
            Expr::Comprehension(made) => {
                let range = self.expr(&made.iter_range, below, macros);
                let before = self.bound.len();
                self.bound.push(&made.iter_var);
                self.bound.extend(made.iter_var2.as_deref());
                self.bound.push(&made.accu_var);
                let body = [&made.accu_init, &made.loop_cond, &made.loop_step, &made.result];
                let inner = self.all(body.into_iter(), below, macros + 1);
                self.bound.truncate(before);
                range.max(inner + 1)
            }
        }
    }

    fn all(
        &mut self,
        parts: impl Iterator<Item = &'a IdedExpr>,
        depth: usize,
        macros: usize,
    ) -> usize {
        parts.map(|part| self.expr(part, depth, macros)).max().unwrap_or(0)
    }

    fn entries(
        &mut self,
        entries: impl Iterator<Item = &'a EntryExpr>,
        depth: usize,
        macros: usize,
    ) -> usize {
        entries
            .map(|entry| match entry {
                EntryExpr::StructField(field) => self.expr(&field.value, depth, macros),
                EntryExpr::MapEntry(entry) => {
                    self.expr(&entry.key, depth, macros).max(self.expr(&entry.value, depth, macros))
                }
            })
            .max()
            .unwrap_or(0)
    }

    fn name(&mut self, name: &'a str) {
        if self.bound.contains(&name) {
            return;
        }
        match name.trim_start_matches('.') {
            "input" => self.survey.input = true,
            "thread" => self.survey.thread = true,
            // Before a step with the id `output`, which `steps['output']` finds.
            "output" if self.over_output => self.survey.output = true,
            "steps" if self.names_all_steps => {}
            "steps" => {
                self.names_all_steps = true;
                self.survey.indexed.extend(self.visible.iter().map(|id| (*id).to_owned()));
            }
            id if self.visible.contains(id) => {
                self.survey.steps.insert(id.to_owned());
            }
            name if TYPES.contains(&name) || name.starts_with('@') => {}
            name => self.unknown(name),
        }
    }

    fn unknown(&mut self, name: &'a str) {
        if self.unknown.len() == MAX_UNKNOWN || !self.unknown.insert(name) {
            return;
        }
        let hyphened = self.visible.iter().find(|id| id.split('-').any(|part| part == name));
        let hint = match hyphened {
            Some(id) if id.contains('-') => format!("; write steps['{id}']"),
            _ => String::new(),
        };
        let output = if self.over_output { ", output" } else { "" };
        self.faults.insert(format!(
            "{name:?} is not known here: there are input, thread{output} and the steps this one depends on{hint}"
        ));
    }

    fn is_steps(&self, expr: &IdedExpr) -> bool {
        matches!(&expr.expr, Expr::Ident(name) if name == "steps") && !self.bound.contains(&"steps")
    }

    fn indexed(&mut self, id: &str) {
        if self.visible.contains(id) {
            self.survey.indexed.insert(id.to_owned());
        } else {
            self.faults.insert(format!("this step does not depend on {id:?}"));
        }
    }

    /// Checks `step.member` and `thread.member`.
    fn member(&mut self, of: &IdedExpr, member: &str) {
        let Expr::Ident(name) = &of.expr else { return };
        if self.bound.contains(&name.as_str()) || (self.over_output && name == "output") {
            return;
        }
        if self.visible.contains(name.as_str()) && !matches!(member, "output" | "status") {
            self.faults.insert(format!("{name}.{member}: a condition sees output and status"));
        }
        if name == "thread" && member != "id" {
            self.faults.insert(format!("thread.{member}: of a thread, only thread.id"));
        }
    }
}
