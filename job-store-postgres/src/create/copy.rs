//! Rows in the binary form of `COPY`: per row the number of fields, per field its length and its bytes.

use sqlx::PgConnection;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const END: i16 = -1;
const NULL: i32 = -1;

/// How much is sent at once.
const PIECE: usize = 256 * 1024;

pub(super) struct Copy {
    data: Vec<u8>,
    rows: usize,
}

impl Copy {
    pub(super) fn new() -> Self {
        let mut data = SIGNATURE.to_vec();
        // Flags, and the length of an extension of the header.
        data.extend_from_slice(&[0; 8]);
        Self { data, rows: 0 }
    }

    pub(super) fn row(&mut self, fields: i16) {
        self.rows += 1;
        self.data.extend_from_slice(&fields.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.data.extend_from_slice(&length.to_be_bytes());
        self.data.extend_from_slice(value);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Text behind a byte that says which version of the form it is.
    pub(super) fn jsonb(&mut self, value: &str) {
        let length = i32::try_from(value.len() + 1).unwrap_or(i32::MAX);
        self.data.extend_from_slice(&length.to_be_bytes());
        self.data.push(1);
        self.data.extend_from_slice(value.as_bytes());
    }

    pub(super) fn bigint(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn integer(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn smallint(&mut self, value: i16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.bytes(&[u8::from(value)]);
    }

    pub(super) fn nullable<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => put(self, value),
            None => self.data.extend_from_slice(&NULL.to_be_bytes()),
        }
    }

    /// Sends the rows, if there are any.
    pub(super) async fn send(
        mut self,
        connection: &mut PgConnection,
        statement: &'static str,
    ) -> Result<(), sqlx::Error> {
        if self.rows == 0 {
            return Ok(());
        }
        self.data.extend_from_slice(&END.to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
        for piece in self.data.chunks(PIECE) {
            copy.send(piece).await?;
        }
        copy.finish().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_lengths_and_bytes() {
        let mut copy = Copy::new();
        let header = copy.data.len();
        copy.row(3);
        copy.text("é");
        copy.nullable(None, Copy::bigint);
        copy.jsonb("{}");
        assert_eq!(header, 19);
        assert_eq!(
            copy.data[header..],
            [0, 3, 0, 0, 0, 2, 0xc3, 0xa9, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3, 1, b'{', b'}']
        );
    }
}
