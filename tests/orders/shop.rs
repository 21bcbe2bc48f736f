//! A shop in a directory of its own: the orders, and the files and failures that they must lead to.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use image::{ImageFormat, ImageReader, RgbImage};
use serde_json::{Value, json};

use crate::fixture::{Counts, Fixture, until};

pub const ORDERS: u64 = 30;
/// Orders whose first upload is not a picture.
pub const BROKEN: [u64; 3] = [3, 13, 23];
/// The order whose upload claims in its header a size beyond any memory.
const DECOMPRESSION_BOMB: u64 = 13;
/// The order whose picture arrives late.
const LATE_UPLOAD: u64 = 11;
const CHANNELS: [&str; 4] = ["default", "invoices", "images", "mails"];
/// Width and height of each uploaded picture and of the two pictures made from it.
const SIZES: [[(u32, u32); 3]; 3] = [
    [(320, 160), (64, 32), (256, 128)],
    [(160, 320), (32, 64), (128, 256)],
    [(320, 320), (64, 64), (256, 256)],
];
/// The uploaded pictures as PNG files.
static PICTURES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    SIZES.map(|[(width, height), ..]| {
        let mut png = Cursor::new(Vec::new());
        let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 128]));
        picture.write_to(&mut png, ImageFormat::Png).unwrap();
        png.into_inner()
    })
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedEnd {
    Complete,
    BrokenPicture,
    NoAddress,
}

impl ExpectedEnd {
    pub fn of(number: u64) -> Self {
        match number {
            7 => Self::NoAddress,
            _ if BROKEN.contains(&number) => Self::BrokenPicture,
            _ => Self::Complete,
        }
    }

    /// The file in which an order of this fate ends.
    fn file(self, number: u64) -> String {
        match self {
            Self::Complete => format!("outbox/{number}-complete.eml"),
            Self::BrokenPicture => format!("outbox/{number}-broken-picture.eml"),
            Self::NoAddress => format!("complaints/{number}.txt"),
        }
    }
}

pub struct Shop {
    pub fixture: Fixture,
}

/// The example as cargo builds it: `cargo test` has built it before, `cargo test --test orders` has not.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(|deps| deps.parent()).unwrap();
    let name = profile.file_name().unwrap().to_str().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    for (variable, _) in std::env::vars_os() {
        // Cargo sets variables for the tests of a package. A cargo started with them takes the environment for changed and rebuilds
        // everything.
        let named = variable.to_string_lossy();
        if named.starts_with("CARGO_PKG_") || named.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(variable);
        }
    }
    let built = cargo
        .args(["build", "--quiet", "--example", "orders", "--target-dir"])
        .arg(profile.parent().unwrap())
        .args(["--profile", if name == "debug" { "dev" } else { name }])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success(), "the example is built");
    profile.join("examples/orders")
});

impl Shop {
    pub fn open() -> Self {
        let config = fs::read_to_string("examples/orders/config/aint-queue.toml").unwrap();
        let fixture = Fixture::with_binary(BINARY.clone(), "config/aint-queue.toml", &config);
        fs::create_dir_all(fixture.file("data/uploads")).unwrap();
        Self { fixture }
    }

    /// Stores the uploads of all orders except the late one, and places the orders.
    pub fn place(&self) {
        for number in (1..=ORDERS).filter(|number| *number != LATE_UPLOAD) {
            self.upload(number);
        }
        let line = |number| {
            let headers = json!({ "traceparent": trace(number) });
            let unique = format!("order-{number}");
            json!({ "job": "place_order", "payload": self.order(number), "unique": unique, "headers": headers })
                .to_string()
        };
        self.fixture.push_lines("default", (1..=ORDERS).map(line));
    }

    pub fn upload_late(&self) {
        self.upload(LATE_UPLOAD);
    }

    pub fn order(&self, number: u64) -> Value {
        let at = if ExpectedEnd::of(number) == ExpectedEnd::NoAddress { " at " } else { "@" };
        let prints =
            prints(number).map(|n| json!({ "picture": upload(number, n), "copies": 2, "cents_each": 145 }));
        let prints: Vec<_> = prints.collect();
        json!({ "number": number, "customer": format!("customer-{number}{at}example.com"), "prints": prints })
    }

    /// The number of pictures that the customers sent.
    pub fn pictures(&self) -> u64 {
        (1..=ORDERS).map(|number| prints(number).count() as u64).sum()
    }

    fn upload(&self, number: u64) {
        for n in prints(number) {
            let mut bytes = PICTURES[n].clone();
            if n == 0 && number == DECOMPRESSION_BOMB {
                // Width and height in the header, and its checksum.
                bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
                bytes[29..33].copy_from_slice(&0xe3e6_a7b4_u32.to_be_bytes());
            } else if n == 0 && BROKEN.contains(&number) {
                bytes = b"GIF89a, or so it says".to_vec();
            }
            fs::write(self.fixture.file(&format!("data/uploads/{}", upload(number, n))), bytes).unwrap();
        }
    }

    /// Waits until every order has ended and no job is left.
    pub fn wait(&self) {
        until("every order to end", || {
            let ended =
                |number| self.fixture.file("data").join(ExpectedEnd::of(number).file(number)).exists();
            (1..=ORDERS).all(ended).then_some(())
        });
        // Channels push into each other: the first channel is read again after the channels that push into it.
        until("nothing to be left", || {
            let idle = |channel: &&str| {
                let Counts { waiting, reserved, delayed, .. } = self.fixture.counts(channel);
                waiting + reserved + delayed == 0
            };
            ["default", "invoices", "images", "default", "mails"].iter().all(idle).then_some(())
        });
    }

    /// The names of the files in a directory of the shop.
    pub fn files(&self, dir: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.fixture.file("data").join(dir)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The failed jobs of a channel, as `queue:show` prints them.
    pub fn failed(&self, channel: &str) -> Vec<Value> {
        let failed = self.fixture.json(&["queue:failed", "-t", channel]);
        let show = |job: &Value| self.fixture.json(&["queue:show", &job["id"].to_string(), "-t", channel]);
        failed["jobs"].as_array().unwrap().iter().map(show).collect()
    }

    /// Checks every file that the shop has made, and every failed job.
    pub fn assert_right(&self) {
        let all = |file: fn(u64) -> String| (1..=ORDERS).map(file).collect::<BTreeSet<_>>();
        assert_eq!(self.files("invoices"), all(|number| format!("{number}.html")));
        let mut ends =
            self.files("outbox").into_iter().map(|file| format!("outbox/{file}")).collect::<BTreeSet<_>>();
        ends.extend(self.files("complaints").into_iter().map(|file| format!("complaints/{file}")));
        assert_eq!(ends, all(|number| ExpectedEnd::of(number).file(number)));
        for number in 1..=ORDERS {
            self.assert_texts(number);
            self.assert_pictures(number);
        }

        // An order that runs again after its worker was killed may fail at the same picture once more.
        let images = self.failed("images");
        let pictures: BTreeSet<_> = images.iter().map(|job| job["payload"]["picture"].to_string()).collect();
        assert_eq!(pictures, BROKEN.map(|number| format!("{:?}", upload(number, 0))).into());
        assert!(images.iter().all(|job| failed_for(job, "is no picture")), "{images:?}");
        let mails = self.failed("mails");
        assert!(
            !mails.is_empty() && mails.iter().all(|job| failed_for(job, "customer-7 at example.com")),
            "{mails:?}"
        );
        // The request id survives three jobs in three channels.
        assert_eq!(mails[0]["headers"]["traceparent"], trace(7));
        for channel in CHANNELS {
            let counts = self.fixture.counts(channel);
            assert!(counts.done >= ORDERS - 1, "{channel}: {counts:?}");
        }
    }

    fn assert_texts(&self, number: u64) {
        let read = |file: &str| fs::read_to_string(self.fixture.file("data").join(file)).unwrap();
        let total = 290 * prints(number).count();
        let invoice = read(&format!("invoices/{number}.html"));
        assert!(invoice.contains(&format!("<th>{}.{:02} €</th>", total / 100, total % 100)), "{invoice}");
        let (fate, text) = (ExpectedEnd::of(number), read(&ExpectedEnd::of(number).file(number)));
        let says = match fate {
            ExpectedEnd::Complete => format!("Message-ID: <{number}-complete@shop.example>"),
            ExpectedEnd::BrokenPicture => format!("your picture {}", upload(number, 0)),
            ExpectedEnd::NoAddress => {
                format!("no mail {number}-complete (final): \"customer-{number} at example.com\"")
            }
        };
        let to =
            fate == ExpectedEnd::NoAddress || text.contains(&format!("To: customer-{number}@example.com"));
        assert!(text.contains(&says) && to, "{text}");
    }

    fn assert_pictures(&self, number: u64) {
        for n in prints(number) {
            for (size, expected) in ["thumb", "preview"].iter().zip(&SIZES[n][1..]) {
                let path = self.fixture.file(&format!("data/pictures/{number}-{size}-{}", upload(number, n)));
                if n == 0 && BROKEN.contains(&number) {
                    assert!(!path.exists(), "{path:?}");
                } else {
                    let picture = ImageReader::open(&path).unwrap().decode().unwrap();
                    assert_eq!((picture.width(), picture.height()), *expected, "{path:?}");
                }
            }
        }
    }
}

/// Whether a job has failed for good with this error; its record may also list deaths of its workers.
pub fn failed_for(job: &Value, error: &str) -> bool {
    let says = |noted: &Value| noted["message"].as_str().is_some_and(|message| message.contains(error));
    job["reason"] == "final" && job["errors"].as_array().unwrap().iter().any(says)
}

/// Prints per order: one to three.
fn prints(number: u64) -> std::ops::RangeInclusive<usize> {
    0..=usize::try_from(number % 3).unwrap()
}

fn upload(number: u64, n: usize) -> String {
    format!("{number}-{n}.png")
}

fn trace(number: u64) -> String {
    format!("00-{number:032x}-00f067aa0ba902b7-01")
}
