//! Pictures: work for the processor, in a pool of processes, one picture each at a time.

use std::io::{Cursor, ErrorKind};
use std::time::Duration;

use aint_queue::{Context, FailedFn, Job, JobError};
use image::{ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};

use crate::mails::{About, SendMail};
use crate::order::{CompleteOrder, Order};
use crate::shop::{FileName, Shop, publish};

/// What is made of a picture: it fits into a square of so many pixels.
pub const SIZES: [(&str, u32); 2] = [("thumb", 64), ("preview", 256)];

#[derive(Serialize, Deserialize)]
pub struct ResizePicture {
    pub order: Order,
    pub picture: FileName,
}

impl Job for ResizePicture {
    const NAME: &'static str = "resize_picture";
    /// Decoding is quick; a picture that takes longer is an attack, and the pool has others to serve.
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(20));

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let shop = ctx.state::<Shop>();
        let bytes = match std::fs::read(shop.upload(&self.picture)) {
            Ok(bytes) => bytes,
            // The upload may still be on its way: worth another attempt, see `retry_after`.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err("it is not uploaded yet".into()),
            Err(error) => return Err(error.into()),
        };
        // The reader has limits, so a small file that says it is huge costs an error, not the memory of the machine.
        let picture = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png)
            .decode()
            // No attempt will make a picture of it.
            .map_err(|error| JobError::never(format!("{} is no picture: {error}", self.picture.0)))?;
        for (n, (size, pixels)) in (1..).zip(SIZES) {
            let mut png = Cursor::new(Vec::new());
            picture.thumbnail(pixels, pixels).write_to(&mut png, ImageFormat::Png)?;
            publish(&shop.picture(self.order.number, size, &self.picture), png.get_ref())?;
            ctx.progress(100.0 * f64::from(n) / SIZES.len() as f64);
        }
        CompleteOrder::look(self.order, ctx)
    }

    /// The channel's backoff is for a partner that should be left alone. Here, nobody minds that we look again soon.
    fn retry_after(_: &JobError, ctx: &Context) -> Option<Duration> {
        Some(Duration::from_millis(500) * ctx.attempt())
    }

    /// The order will not be complete: its customer must hear of it.
    fn failed() -> Option<FailedFn<Self>> {
        Some(|job, _, ctx| {
            // In words of ours: what the decoder said is for `queue:failed`.
            let about = About::BrokenPicture { picture: job.picture };
            SendMail { order: job.order.number, to: job.order.customer, about }.push(ctx).wait()?;
            Ok(())
        })
    }
}
