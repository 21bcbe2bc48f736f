//! Life of an order: its parts are pushed as jobs, and the part that ends last triggers the mail.

use aint_queue::{AsyncJob, Context, JobError, Priority, PushOptions};
use serde::{Deserialize, Serialize};

use crate::images::ResizePicture;
use crate::invoices::RenderInvoice;
use crate::mails::{About, SendMail};
use crate::shop::{FileName, Shop};

/// Order of a customer, part of every payload. In a shop with a database, the number alone would be enough.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    /// Unique in the shop; part of the name of every key and file below.
    pub number: u64,
    /// Mail address. Only the mail job validates it: an invalid address must not stop the prints.
    pub customer: String,
    pub prints: Vec<Print>,
}

/// Paper prints of one picture.
#[derive(Clone, Serialize, Deserialize)]
pub struct Print {
    pub picture: FileName,
    pub copies: u32,
    pub cents_each: u32,
}

/// Pushes everything an order needs.
///
/// The web server pushes this single job and not the parts: one push happens entirely or not at all, so no order has an
/// invoice but lacks pictures.
#[derive(Serialize, Deserialize)]
pub struct PlaceOrder(Order);

impl AsyncJob for PlaceOrder {
    const NAME: &'static str = "place_order";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let Self(order) = self;
        if order.prints.is_empty() {
            // Final: the payload does not change.
            return Err(JobError::never("an order has at least one print"));
        }
        // A run killed halfway starts over. The unique keys keep it from pushing jobs that already wait or run. Jobs that
        // have ended run again, which is harmless: they write the same file once more.
        let once = |what: &str| PushOptions::new().unique(format!("{what}-{}", order.number));
        let invoice = RenderInvoice { order: order.clone() };
        ctx.to("invoices").push_with(&invoice, &once("invoice")).await?;
        for print in &order.prints {
            let picture = ResizePicture { order: order.clone(), picture: print.picture.clone() };
            ctx.to("images").push_with(&picture, &once(&print.picture.0)).await?;
        }
        Ok(())
    }
}

/// Checks whether all parts of an order exist, and if so pushes the mail.
#[derive(Serialize, Deserialize)]
pub struct CompleteOrder(Order);

impl CompleteOrder {
    /// Pushes a check; each part of an order calls this after writing its file, so the last check finds the order complete.
    ///
    /// The key is held until the job *starts*. Parts that end at the same time share one check. A part that ends during a
    /// running check, possibly too late for it, gets another.
    pub fn check(order: Order, ctx: &Context) -> Result<(), JobError> {
        let options = PushOptions::new()
            .unique_until_start(format!("complete-{}", order.number))
            // Complete existing orders before new ones start, so the first customer gets the first mail.
            .priority(Priority::High);
        ctx.to("default").push_with(&Self(order), &options).wait()?;
        Ok(())
    }
}

impl AsyncJob for CompleteOrder {
    const NAME: &'static str = "complete_order";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let Self(order) = self;
        if !ctx.state::<Shop>().has_all_of(&order) {
            // No error, and no wait: the missing part pushes another check.
            return Ok(());
        }
        SendMail { order: order.number, to: order.customer, about: About::Complete }.push(ctx).await?;
        Ok(())
    }
}
