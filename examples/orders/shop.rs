//! State shared by all handlers: the paths of the shop's files, and how files are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::images::SIZES;
use crate::order::Order;

/// Directory of the shop: `ORDERS_DATA`, or `data` in the working directory of the master.
pub struct Shop {
    data: PathBuf,
}

impl Shop {
    /// Runs once in each worker. On an error no worker of the channel starts, no job runs, and `queue:status` shows the
    /// cause; otherwise each job would fail separately.
    pub fn open() -> io::Result<Self> {
        let data = std::env::var_os("ORDERS_DATA").map_or_else(|| "data".into(), PathBuf::from);
        for kind in ["uploads", "invoices", "pictures", "outbox", "complaints"] {
            fs::create_dir_all(data.join(kind))?;
        }
        Ok(Self { data })
    }

    /// Path of a picture sent by the customer.
    pub fn upload(&self, picture: &FileName) -> PathBuf {
        self.data.join("uploads").join(&picture.0)
    }

    pub fn invoice(&self, order: u64) -> PathBuf {
        self.data.join(format!("invoices/{order}.html"))
    }

    pub fn picture(&self, order: u64, size: &str, picture: &FileName) -> PathBuf {
        self.data.join(format!("pictures/{order}-{size}-{}", picture.0))
    }

    /// Path of a sent mail.
    pub fn mail(&self, name: &str) -> PathBuf {
        self.data.join(format!("outbox/{name}.eml"))
    }

    /// Path of a note for the staff.
    pub fn complaint(&self, order: u64) -> PathBuf {
        self.data.join(format!("complaints/{order}.txt"))
    }

    pub fn has_all_of(&self, order: &Order) -> bool {
        let pictures = order.prints.iter().all(|print| {
            SIZES.iter().all(|(size, _)| self.picture(order.number, size, &print.picture).exists())
        });
        pictures && self.invoice(order.number).exists()
    }
}

/// Writes a file completely or not at all, even if the worker or the machine dies.
///
/// Jobs take an existing file as done work, so a file under its final name must be complete. The next run overwrites a
/// `.part` file left by a killed run.
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_added_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    // The content is on disk before the rename, and the rename is on disk before the job is done.
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(path.parent().expect("every file has a parent directory"))?.sync_all()
}

/// File name that cannot leave its directory: `../../etc/passwd` is refused.
///
/// Deserialising a payload validates the name, so no handler can forget the check. A job with an invalid name fails for
/// good, and its error names the field.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct FileName(pub String);

impl TryFrom<String> for FileName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(format!("{name:?} is not the name of a picture: at most 64 of a-z 0-9 - _ ."));
        }
        Ok(Self(name))
    }
}
