//! Who wrote a version of a row: PostgreSQL's `xmin`.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// The types `xid` and `xid[]`; the numbers of such types never change.
const XID: Oid = Oid(28);
const XID_ARRAY: Oid = Oid(1011);

/// Of one row, it names one version and no other, also without a lock, until the numbers of transactions come again: after two
/// thousand million of them, or when a standby takes over that lacks the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowWriter(u32);

impl Type<Postgres> for RowWriter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(XID)
    }
}

impl PgHasArrayType for RowWriter {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(XID_ARRAY)
    }
}

impl Encode<'_, Postgres> for RowWriter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for RowWriter {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a writer is only read in its binary form".into());
        }
        Ok(Self(u32::from_be_bytes(value.as_bytes()?.try_into()?)))
    }
}
