/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// How many; 0 is taken as 20, more than 200 as 200.
    pub limit: u32,
    /// [`Page::next`] of the page before.
    pub after: Option<String>,
}

impl PageRequest {
    pub fn limit(&self) -> i64 {
        if self.limit == 0 { 20 } else { i64::from(self.limit.min(200)) }
    }
}

/// A part of a list, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// What to ask for next; none at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Of one row more than was asked for, if there are that many.
    pub(crate) fn of(mut rows: Vec<T>, limit: i64, id: impl Fn(&T) -> String) -> Self {
        let more = rows.len() as i64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = rows.last().filter(|_| more).map(id);
        Self { data: rows, next }
    }
}

impl PageRequest {
    /// The id behind which the page begins, empty for the first page.
    pub(crate) fn cursor<T: std::str::FromStr + ToString>(&self) -> Result<String, crate::StoreError> {
        let Some(after) = &self.after else { return Ok(String::new()) };
        let id =
            after.parse::<T>().map_err(|_| crate::StoreError::Cursor(after.chars().take(80).collect()))?;
        Ok(id.to_string())
    }
}
