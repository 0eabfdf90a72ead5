//! The long statements: their text and its named parameters.
//!
//! A statement for many rows takes an array for each column. Its text has holes: `{h}` for a table
//! of such arrays, `{h.epoch}` for one of them, `{me}` for a single value. A column's name and
//! values are given in one place; its type follows from the values, its number from the order. The
//! text does not depend on the rows: it is made from an empty batch, and each connection prepares
//! it once.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::{Arguments, Encode, Postgres, Type};

/// A statement and its parameters.
#[derive(Debug, Default)]
pub(super) struct Statement {
    parts: Vec<&'static str>,
    parameters: Vec<Parameter>,
    arguments: PgArguments,
    /// The first value that could not be encoded.
    fault: Option<BoxDynError>,
}

#[derive(Debug)]
struct Parameter {
    /// `None`: a single value.
    table: Option<&'static str>,
    name: &'static str,
    /// Its number and type.
    cast: (usize, PgTypeInfo),
}

impl Statement {
    /// Adds to the text.
    pub(super) fn sql(&mut self, part: &'static str) {
        self.parts.push(part);
    }

    /// Adds a single value.
    pub(super) fn value<'q, T>(&mut self, name: &'static str, value: T)
    where
        T: Encode<'q, Postgres> + Type<Postgres>,
    {
        self.add(None, name, value);
    }

    /// Adds a table, whose columns follow.
    pub(super) const fn table<'r, R>(
        &mut self,
        name: &'static str,
        rows: &'r [R],
    ) -> Columns<'_, 'r, R> {
        Columns { statement: self, table: name, rows }
    }

    /// The text, with every hole filled.
    pub(super) fn text(&self) -> String {
        let mut text = self.parts.concat();
        for parameter in &self.parameters {
            let table = parameter.table.map(|table| format!("{table}.")).unwrap_or_default();
            let hole = format!("{{{table}{}}}", parameter.name);
            text = text.replace(&hole, &parameter.cast());
        }
        for columns in self.parameters.chunk_by(|one, next| one.table == next.table) {
            let Some(table) = columns.first().and_then(|column| column.table) else { continue };
            let arrays: Vec<String> = columns.iter().map(Parameter::cast).collect();
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            let rows = format!("unnest({}) AS {table}({})", arrays.join(", "), names.join(", "));
            text = text.replace(&format!("{{{table}}}"), &rows);
        }
        text
    }

    /// The values in the order of their numbers.
    pub(super) fn arguments(self) -> Result<PgArguments, sqlx::Error> {
        self.fault.map_or(Ok(self.arguments), |fault| Err(sqlx::Error::Encode(fault)))
    }

    fn add<'q, T>(&mut self, table: Option<&'static str>, name: &'static str, value: T)
    where
        T: Encode<'q, Postgres> + Type<Postgres>,
    {
        let cast = (self.parameters.len() + 1, T::type_info());
        self.parameters.push(Parameter { table, name, cast });
        if let Err(fault) = self.arguments.add(value) {
            self.fault.get_or_insert(fault);
        }
    }
}

impl Parameter {
    fn cast(&self) -> String {
        let (place, kind) = &self.cast;
        format!("${place}::{kind}")
    }
}

/// Adds the columns of a table.
#[derive(Debug)]
pub(super) struct Columns<'s, 'r, R> {
    statement: &'s mut Statement,
    table: &'static str,
    rows: &'r [R],
}

impl<'r, R> Columns<'_, 'r, R> {
    /// Adds a column with a value per row.
    pub(super) fn column<'q, T>(self, name: &'static str, of: impl Fn(&'r R) -> T) -> Self
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        let values: Vec<T> = self.rows.iter().map(of).collect();
        self.statement.add(Some(self.table), name, values);
        self
    }

    /// Adds a column with each row's index.
    pub(super) fn numbered(self, name: &'static str) -> Self {
        let places: Vec<i32> = (0..).take(self.rows.len()).collect();
        self.statement.add(Some(self.table), name, places);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_with_numbered_and_typed_parameters() {
        let mut statement = Statement::default();
        statement.value("me", 7_i64);
        let rows = [("a", Some(1_i64), true)];
        statement.table("h", &rows).column("id", |row| row.0).column("at", |row| row.1);
        let table = statement.table("n", &rows).column("on", |row| row.2);
        table.column("text", |row| row.0.as_bytes()).numbered("place");
        statement.sql("SELECT {me} FROM {h} JOIN {n}");
        statement.sql(" WHERE id = ANY({h.id}) AND {me} > 0");
        assert_eq!(
            statement.text(),
            "SELECT $1::INT8 FROM unnest($2::TEXT[], $3::INT8[]) AS h(id, at) \
             JOIN unnest($4::BOOL[], $5::BYTEA[], $6::INT4[]) AS n(on, text, place) \
             WHERE id = ANY($2::TEXT[]) AND $1::INT8 > 0"
        );
        assert_eq!(statement.arguments().unwrap().len(), 6);
    }
}
