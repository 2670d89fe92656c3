//! From rows to values.

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::error::StoreError;
use crate::time::Millis;

/// A row of a table, for errors that say where.
pub(super) struct Reader<'r> {
    pub row: &'r AnyRow,
    pub table: &'static str,
}

impl Reader<'_> {
    fn damaged(&self, column: &str, problem: impl std::fmt::Display) -> StoreError {
        let id = self.row.try_get::<String, _>("id").unwrap_or_default();
        StoreError::damaged(self.table, id, format!("{column}: {problem}"))
    }

    pub fn text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub fn optional_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub fn integer(&self, column: &str) -> Result<i64, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T, StoreError> {
        let value = self.integer(column)?;
        T::try_from(value).map_err(|_| self.damaged(column, format!("{value} is out of range")))
    }

    pub fn real(&self, column: &str) -> Result<f64, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub fn optional_real(&self, column: &str) -> Result<Option<f64>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.integer(column)? != 0)
    }

    pub fn time(&self, column: &str) -> Result<Millis, StoreError> {
        self.integer(column).map(Millis)
    }

    pub fn optional_time(&self, column: &str) -> Result<Option<Millis>, StoreError> {
        Ok(self.row.try_get::<Option<i64>, _>(column)?.map(Millis))
    }

    pub fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    pub fn optional_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    /// An id, a key, or anything else that is read from text.
    pub fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        column: &str,
    ) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|e| self.damaged(column, e))
    }

    pub fn optional_parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        column: &str,
    ) -> Result<Option<T>, StoreError> {
        self.optional_text(column)?.map(|text| text.parse().map_err(|e| self.damaged(column, e))).transpose()
    }

    pub fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|e| self.damaged(column, e))
    }

    pub fn optional_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text = self.optional_text(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|e| self.damaged(column, e))).transpose()
    }

    /// A word of a known few.
    pub fn named<T>(&self, column: &str, of_name: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let name = self.text(column)?;
        of_name(&name).ok_or_else(|| self.damaged(column, format!("\"{name}\" is unknown")))
    }

    pub fn sha256(&self, column: &str) -> Result<[u8; 32], StoreError> {
        self.bytes(column)?.try_into().map_err(|_| self.damaged(column, "it has not 32 bytes"))
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|e| StoreError::Config(format!("a value cannot be written as JSON: {e}")))
}

/// Text for LIKE with `ESCAPE '!'` that finds it anywhere, taken literally.
pub(super) fn anywhere(text: &str) -> String {
    let escaped = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{escaped}%")
}
