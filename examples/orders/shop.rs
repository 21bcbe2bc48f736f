//! What all handlers share: where the shop's files are, and how one is written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::images::SIZES;
use crate::order::Order;

/// The shop's directory: `ORDERS_DATA`, or `data` where the master was started.
pub struct Shop {
    data: PathBuf,
}

impl Shop {
    /// Called once in each worker. If it fails, no worker of this channel starts, no job is run, and `queue:status` says
    /// why: better than each job failing by itself.
    pub fn open() -> io::Result<Self> {
        let data = std::env::var_os("ORDERS_DATA").map_or_else(|| "data".into(), PathBuf::from);
        for kind in ["uploads", "invoices", "pictures", "outbox", "complaints"] {
            fs::create_dir_all(data.join(kind))?;
        }
        Ok(Self { data })
    }

    /// What the customer sent.
    pub fn upload(&self, picture: &FileName) -> PathBuf {
        self.data.join("uploads").join(&picture.0)
    }

    pub fn invoice(&self, order: u64) -> PathBuf {
        self.data.join(format!("invoices/{order}.html"))
    }

    pub fn picture(&self, order: u64, size: &str, picture: &FileName) -> PathBuf {
        self.data.join(format!("pictures/{order}-{size}-{}", picture.0))
    }

    /// A mail that is sent.
    pub fn mail(&self, name: &str) -> PathBuf {
        self.data.join(format!("outbox/{name}.eml"))
    }

    /// A note for the people of the shop.
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

/// Writes a file as a whole or not at all, whenever the worker or the machine dies.
///
/// Jobs look at files to know what is done, so a file under its own name must be finished. What a killed run left
/// under the other name is overwritten by the next run.
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_added_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    // On disk before it has its name, and its name on disk before the job counts as done.
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(path.parent().expect("a file is in a directory"))?.sync_all()
}

/// The name of a file, without a way out of its directory: `../../etc/passwd` is none.
///
/// It is checked where a payload is read, so no handler can forget it, and a job with another one fails for good
/// with the place of the mistake.
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
