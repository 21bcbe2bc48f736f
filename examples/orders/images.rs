//! Pictures: CPU work in a pool of processes, each with one picture at a time.

use std::io::{Cursor, ErrorKind};
use std::time::Duration;

use aint_queue::{Context, FailedFn, Job, JobError};
use image::{ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};

use crate::mails::{About, SendMail};
use crate::order::{CompleteOrder, Order};
use crate::shop::{FileName, Shop, publish};

/// Names of the rendered sizes, and the edge of the square in pixels that each fits into.
pub const SIZES: [(&str, u32); 2] = [("thumb", 64), ("preview", 256)];

#[derive(Serialize, Deserialize)]
pub struct ResizePicture {
    pub order: Order,
    pub picture: FileName,
}

impl Job for ResizePicture {
    const NAME: &'static str = "resize_picture";
    /// Decoding is quick. A longer run indicates a hostile picture, which must not block the pool.
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(20));

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let shop = ctx.state::<Shop>();
        let bytes = match std::fs::read(shop.upload(&self.picture)) {
            Ok(bytes) => bytes,
            // The upload may still be in progress, so a retry helps; see `retry_after`.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err("it is not uploaded yet".into()),
            Err(error) => return Err(error.into()),
        };
        // The reader has limits: a small file that claims huge dimensions is an error and exhausts no memory.
        let picture = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png)
            .decode()
            // Final: the file does not change between attempts.
            .map_err(|error| JobError::never(format!("{} is no picture: {error}", self.picture.0)))?;
        for (n, (size, pixels)) in (1..).zip(SIZES) {
            let mut png = Cursor::new(Vec::new());
            picture.thumbnail(pixels, pixels).write_to(&mut png, ImageFormat::Png)?;
            publish(&shop.picture(self.order.number, size, &self.picture), png.get_ref())?;
            ctx.progress(100.0 * f64::from(n) / SIZES.len() as f64);
        }
        CompleteOrder::check(self.order, ctx)
    }

    /// The backoff of the channel protects remote services. A local file can be checked again soon.
    fn retry_after(_: &JobError, ctx: &Context) -> Option<Duration> {
        Some(Duration::from_millis(500) * ctx.attempt())
    }

    /// The order stays incomplete, so the customer gets a mail.
    fn failed() -> Option<FailedFn<Self>> {
        Some(|job, _, ctx| {
            // The mail has a text for customers; `queue:failed` has the error of the decoder.
            let about = About::BrokenPicture { picture: job.picture };
            SendMail { order: job.order.number, to: job.order.customer, about }.push(ctx).wait()?;
            Ok(())
        })
    }
}
