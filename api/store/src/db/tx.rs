//! A transaction that writes, with the messages that go out when it is committed.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction};

use super::signals::Notice;
use super::{Dialect, Store};
use crate::error::StoreError;
use crate::time::Millis;

pub(super) type Bound<'q> = Query<'q, Any, AnyArguments<'q>>;

pub(super) struct Tx<'s> {
    store: &'s Store,
    inner: Transaction<'static, Any>,
    now: Millis,
    notices: Vec<Notice>,
}

impl Store {
    pub(super) async fn begin(&self) -> Result<Tx<'_>, StoreError> {
        let dialect = self.0.dialect;
        let mut inner = self.0.writer.begin_with(dialect.begin()).await?;
        let now: i64 = sqlx::query_scalar(dialect.now()).fetch_one(&mut *inner).await?;
        Ok(Tx { store: self, inner, now: Millis(now), notices: Vec::new() })
    }

    /// One row that is read outside any transaction.
    pub(super) async fn read_one<'q>(
        &self,
        sql: &'q str,
        bind: impl FnOnce(Bound<'q>) -> Bound<'q>,
    ) -> Result<Option<AnyRow>, StoreError> {
        Ok(bind(sqlx::query(sql)).fetch_optional(&self.0.reader).await?)
    }

    pub(super) async fn read_all<'q>(
        &self,
        sql: &'q str,
        bind: impl FnOnce(Bound<'q>) -> Bound<'q>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        Ok(bind(sqlx::query(sql)).fetch_all(&self.0.reader).await?)
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.0.dialect
    }
}

impl Tx<'_> {
    /// When the transaction began, by the clock of the database.
    pub fn now(&self) -> Millis {
        self.now
    }

    pub fn store(&self) -> &Store {
        self.store
    }

    /// How many rows were changed.
    pub async fn run<'q>(
        &mut self,
        sql: &'q str,
        bind: impl FnOnce(Bound<'q>) -> Bound<'q>,
    ) -> Result<u64, StoreError> {
        Ok(bind(sqlx::query(sql)).execute(&mut *self.inner).await?.rows_affected())
    }

    pub async fn one<'q>(
        &mut self,
        sql: &'q str,
        bind: impl FnOnce(Bound<'q>) -> Bound<'q>,
    ) -> Result<Option<AnyRow>, StoreError> {
        Ok(bind(sqlx::query(sql)).fetch_optional(&mut *self.inner).await?)
    }

    pub async fn all<'q>(
        &mut self,
        sql: &'q str,
        bind: impl FnOnce(Bound<'q>) -> Bound<'q>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        Ok(bind(sqlx::query(sql)).fetch_all(&mut *self.inner).await?)
    }

    /// The number in the only column of the only row, e.g. of a COUNT.
    pub async fn count<'q>(
        &mut self,
        sql: &'q str,
        bind: impl FnOnce(Bound<'q>) -> Bound<'q>,
    ) -> Result<i64, StoreError> {
        Ok(bind(sqlx::query(sql)).fetch_one(&mut *self.inner).await?.try_get(0)?)
    }

    /// Told to all who listen once this is committed.
    pub fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.store.dialect() == Dialect::Postgres {
            for notice in &self.notices {
                // Postgres sends it when this is committed, to this process too.
                sqlx::query("SELECT pg_notify($1, $2)")
                    .bind(super::signals::CHANNEL)
                    .bind(notice.to_json())
                    .execute(&mut *self.inner)
                    .await?;
            }
        }
        self.inner.commit().await?;
        if self.store.dialect() == Dialect::Sqlite {
            for notice in self.notices {
                self.store.0.signals.send(notice);
            }
        }
        Ok(())
    }

    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.inner.rollback().await?)
    }
}
